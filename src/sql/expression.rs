//! Binding of expressions.

use super::binder::{Binder, NESTING_MAX, cast, too_complex};
use super::jsonb;
use super::operator_calls::qualified_operator;
use super::rows::row_parts;
use super::scope::Scope;
use super::slots::{Slots, SubquerySlot};
use crate::sql::names::{check_not_reserved, fold, function_name};
use crate::sql::types::{data_type, interval_type};
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, Expression, UnaryOperator};
use model::plan::ApplyKind;
use model::types::DataType;
use model::value::Value;
use shards::exec::cast as casts;
use shards::exec::functions::array;
use shards::exec::operators;
use sqlparser::ast::{self, Expr};

impl Binder<'_> {
    /// Binds an expression whose names are those of `scope`.
    pub(super) fn bind(
        &self,
        expression: &Expr,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        self.nested(|| self.bind_node(expression, scope, slots))
            .map_err(|error| self.at_expression(error, expression))
    }

    fn bind_node(
        &self,
        expression: &Expr,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        match expression {
            Expr::Identifier(name) if let Some(function) = called_bare(name) => {
                self.call(function, Vec::new())
            }
            Expr::Identifier(name) => {
                check_not_reserved(name)?;
                scope.resolve(None, &fold(name))
            }
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, name] => scope.resolve(Some(&fold(relation)), &fold(name)),
                [_, relation, name] => scope.resolve(Some(&fold(relation)), &fold(name)),
                _ => Err(SqlError::new(SqlState::SYNTAX_ERROR, "improper qualified name")),
            },
            Expr::Nested(inner) => self.bind(inner, scope, slots),
            Expr::Value(value) => self.bind_value(&value.value),
            Expr::TypedString(typed) => {
                let ast::Value::SingleQuotedString(text) = &typed.value.value else {
                    return Err(unsupported(expression));
                };
                let literal = Expression::literal(text.as_str(), DataType::Unknown);
                self.cast_to(literal, &typed.data_type)
            }
            Expr::Interval(interval) => self.bind_interval(interval, scope, slots),
            Expr::Cast { expr, data_type: target, .. } => {
                let operand = self.bind(expr, scope, slots)?;
                self.cast_to(operand, target)
            }
            Expr::UnaryOp { op, expr } => self.bind_unary(*op, expr, scope, slots),
            Expr::BinaryOp { left, op, right } => self.bind_chain(left, op, right, scope, slots),
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
                let operand = Box::new(self.bind_decided(inner, scope, slots)?);
                let negated = matches!(expression, Expr::IsNotNull(_));
                Ok(Expression::IsNull { operand, negated })
            }
            Expr::IsTrue(inner) => self.bind_truth(inner, Some(true), false, scope, slots),
            Expr::IsNotTrue(inner) => self.bind_truth(inner, Some(true), true, scope, slots),
            Expr::IsFalse(inner) => self.bind_truth(inner, Some(false), false, scope, slots),
            Expr::IsNotFalse(inner) => self.bind_truth(inner, Some(false), true, scope, slots),
            Expr::IsUnknown(inner) => self.bind_truth(inner, None, false, scope, slots),
            Expr::IsNotUnknown(inner) => self.bind_truth(inner, None, true, scope, slots),
            Expr::IsDistinctFrom(left, right) => {
                self.bind_binary(left, BinaryOperator::IsDistinctFrom, right, scope, slots)
            }
            Expr::IsNotDistinctFrom(left, right) => {
                self.bind_binary(left, BinaryOperator::IsNotDistinctFrom, right, scope, slots)
            }
            Expr::Between { expr, negated, low, high } => {
                let low =
                    self.bind_binary(expr, BinaryOperator::GreaterOrEqual, low, scope, slots)?;
                let high =
                    self.bind_binary(expr, BinaryOperator::LessOrEqual, high, scope, slots)?;
                let both = logical(BinaryOperator::And, low, high);
                Ok(if *negated { not(both) } else { both })
            }
            Expr::InList { expr, list, negated } => {
                self.bind_in_list(expr, list, *negated, scope, slots)
            }
            Expr::Like { negated, expr, pattern, escape_char, any: false } => self.bind_like(
                expr,
                pattern,
                escape_char.as_deref(),
                (*negated, false),
                scope,
                slots,
            ),
            Expr::ILike { negated, expr, pattern, escape_char, any: false } => self.bind_like(
                expr,
                pattern,
                escape_char.as_deref(),
                (*negated, true),
                scope,
                slots,
            ),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.bind_case(operand.as_deref(), conditions, else_result.as_deref(), scope, slots)
            }
            Expr::Function(call) => self.bind_function(call, scope, slots),
            Expr::Collate { expr, collation } => {
                check_collation(collation)?;
                self.bind(expr, scope, slots)
            }
            Expr::Array(elements) => self.bind_array(&elements.elem, scope, slots),
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.bind_subscripts(root, access_chain, scope, slots)
            }
            _ => match self.bind_special_function(expression, scope, slots)? {
                Some(bound) => Ok(bound),
                None => self.bind_subquery_expression(expression, scope, slots),
            },
        }
    }

    /// Binds an expression that needs a type but no certain one.
    fn bind_decided(
        &self,
        expression: &Expr,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let bound = self.bind(expression, scope, slots)?;
        Ok(self.decided(bound))
    }

    fn bind_value(&self, value: &ast::Value) -> Result<Expression, SqlError> {
        Ok(match value {
            ast::Value::Number(text, _) => number(text)?,
            ast::Value::SingleQuotedString(text)
            | ast::Value::EscapedStringLiteral(text)
            | ast::Value::UnicodeStringLiteral(text)
            | ast::Value::NationalStringLiteral(text) => {
                Expression::literal(text.as_str(), DataType::Unknown)
            }
            ast::Value::DollarQuotedString(text) => {
                Expression::literal(text.value.as_str(), DataType::Unknown)
            }
            ast::Value::Boolean(value) => Expression::literal(*value, DataType::Bool),
            ast::Value::Null => Expression::Literal(Value::Null, DataType::Unknown),
            ast::Value::Placeholder(text) => self.parameter(text)?,
            other => return Err(SqlError::unsupported(format!("the literal {other}"))),
        })
    }

    fn bind_interval(
        &self,
        interval: &ast::Interval,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let value = self.bind(&interval.value, scope, slots)?;
        let Expression::Literal(Value::Text(text), _) = &value else {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "the value of an interval literal is a string",
            ));
        };
        let literal = Expression::literal(text.as_ref(), DataType::Unknown);
        Ok(cast(literal, interval_type(interval)?, true))
    }

    fn bind_unary(
        &self,
        operator: ast::UnaryOperator,
        operand: &Expr,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        // The most negative integer is the negation of a number that is none.
        if operator == ast::UnaryOperator::Minus
            && let Expr::Value(value) = operand
            && let ast::Value::Number(text, _) = &value.value
        {
            return number(&format!("-{text}"));
        }
        let operand = self.bind(operand, scope, slots)?;
        match operator {
            ast::UnaryOperator::Not => Ok(not(self.condition(operand, "NOT")?)),
            other => self.prefix_operator(&other.to_string(), operand),
        }
    }

    /// A chain of operators leans to the left: `a + b + c` is `(a + b) + c`. It is bound from its
    /// left end, without a level of recursion for each operator.
    fn bind_chain(
        &self,
        left: &Expr,
        operator: &ast::BinaryOperator,
        right: &Expr,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        if let (Some(parts), Some(others)) = (row_parts(left), row_parts(right)) {
            let operator = quantifiable(operator)?;
            let left = self.bind_parts(&parts, scope, slots)?;
            return self.compare_rows(left, operator, self.bind_parts(&others, scope, slots)?);
        }
        let mut chain = vec![(operator, right)];
        let mut first = left;
        while let Expr::BinaryOp { left, op, right } = first {
            // Rows are compared with each other, not with what the chain has made.
            if row_parts(left).is_some() {
                break;
            }
            chain.push((op, right));
            first = left;
        }
        if chain.len() > NESTING_MAX {
            return Err(too_complex());
        }
        let mut bound = self.bind(first, scope, slots)?;
        while let Some((operator, right)) = chain.pop() {
            let right = self.bind(right, scope, slots)?;
            bound = self.bind_operator(bound, operator, right)?;
        }
        Ok(bound)
    }

    /// A cast that is written down.
    fn cast_to(&self, operand: Expression, target: &ast::DataType) -> Result<Expression, SqlError> {
        let target = data_type(target)?;
        match operand {
            Expression::Parameter { data_type: DataType::Unknown, .. } => {
                Ok(self.decide(operand, target))
            }
            _ if !casts::exists(operand.data_type(), target, true) => Err(SqlError::new(
                SqlState::CANNOT_COERCE,
                format!("cannot cast type {} to {target}", operand.data_type()),
            )),
            _ => Ok(self.cast(operand, target, true)),
        }
    }

    pub(super) fn bind_operator(
        &self,
        left: Expression,
        operator: &ast::BinaryOperator,
        right: Expression,
    ) -> Result<Expression, SqlError> {
        use ast::BinaryOperator as Ast;
        if *operator == Ast::StringConcat
            && let Some(name) = array::concatenation(left.data_type(), right.data_type())
        {
            return self.call(name, vec![left, right]);
        }
        if let Some(name) = jsonb::function(operator, &left, &right) {
            return self.call(name, vec![left, right]);
        }
        if let Some(operator) = binary_operator(operator) {
            return self.typed_binary(left, operator, right);
        }
        let (negated, case_insensitive) = match operator {
            Ast::PGLikeMatch => (false, false),
            Ast::PGNotLikeMatch => (true, false),
            Ast::PGILikeMatch => (false, true),
            Ast::PGNotILikeMatch => (true, true),
            Ast::PGRegexMatch => return self.call("textregexeq", vec![left, right]),
            Ast::PGRegexIMatch => return self.call("texticregexeq", vec![left, right]),
            Ast::PGRegexNotMatch => return Ok(not(self.call("textregexeq", vec![left, right])?)),
            Ast::PGRegexNotIMatch => {
                return Ok(not(self.call("texticregexeq", vec![left, right])?));
            }
            Ast::Arrow | Ast::LongArrow if left.data_type() != DataType::Json => {
                return Err(undefined_operator(operator, &left, &right));
            }
            Ast::Arrow if right.data_type().is_integer() => {
                return self.call("json_array_element", vec![left, right]);
            }
            Ast::LongArrow if right.data_type().is_integer() => {
                return self.call("json_array_element_text", vec![left, right]);
            }
            Ast::Arrow => return self.call("json_object_field", vec![left, right]),
            Ast::LongArrow => return self.call("json_object_field_text", vec![left, right]),
            Ast::HashArrow => return self.call("json_extract_path", vec![left, right]),
            Ast::HashLongArrow => return self.call("json_extract_path_text", vec![left, right]),
            Ast::AtArrow => return self.call("arraycontains", vec![left, right]),
            Ast::ArrowAt => return self.call("arraycontained", vec![left, right]),
            Ast::PGOverlap => return self.call("arrayoverlap", vec![left, right]),
            Ast::PGStartsWith => return self.call("starts_with", vec![left, right]),
            Ast::PGCustomBinaryOperator(name) => {
                return self.bind_operator(left, &qualified_operator(name)?, right);
            }
            other => return Err(SqlError::unsupported(format!("the operator {other}"))),
        };
        self.like(left, right, Some('\\'), (negated, case_insensitive))
    }

    fn bind_binary(
        &self,
        left: &Expr,
        operator: BinaryOperator,
        right: &Expr,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        if let (Some(parts), Some(others)) = (row_parts(left), row_parts(right)) {
            let left = self.bind_parts(&parts, scope, slots)?;
            return self.compare_rows(left, operator, self.bind_parts(&others, scope, slots)?);
        }
        let left = self.bind(left, scope, slots)?;
        let right = self.bind(right, scope, slots)?;
        self.typed_binary(left, operator, right)
    }

    /// An operator over bound operands, cast to the types it works on.
    pub(super) fn typed_binary(
        &self,
        left: Expression,
        operator: BinaryOperator,
        right: Expression,
    ) -> Result<Expression, SqlError> {
        if matches!(operator, BinaryOperator::And | BinaryOperator::Or) {
            let clause = if operator == BinaryOperator::And { "AND" } else { "OR" };
            let (left, right) = (self.condition(left, clause)?, self.condition(right, clause)?);
            return Ok(logical(operator, left, right));
        }
        let types = operators::resolve_binary(operator, left.data_type(), right.data_type())?;
        let left = Box::new(self.convert(left, types.left));
        let right = Box::new(self.convert(right, types.right));
        Ok(Expression::Binary { operator, left, right, data_type: types.result })
    }

    /// Casts an operand to the type that the resolution of its operator or function chose.
    pub(super) fn convert(&self, operand: Expression, target: DataType) -> Expression {
        match operand.data_type() {
            from if from == target || from.base() == target => operand,
            DataType::Unknown => self.decide(operand, target),
            _ => self.cast(operand, target, false),
        }
    }

    fn bind_truth(
        &self,
        operand: &Expr,
        value: Option<bool>,
        negated: bool,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let operand = self.bind(operand, scope, slots)?;
        let operand = self.condition(operand, "IS")?;
        let Some(value) = value else {
            return Ok(Expression::IsNull { operand: Box::new(operand), negated });
        };
        let operator = match negated {
            true => BinaryOperator::IsDistinctFrom,
            false => BinaryOperator::IsNotDistinctFrom,
        };
        self.typed_binary(operand, operator, Expression::literal(value, DataType::Bool))
    }

    pub(super) fn bind_in_list(
        &self,
        operand: &Expr,
        list: &[Expr],
        negated: bool,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        if let Some(parts) = row_parts(operand) {
            return self.bind_row_in_list(&parts, list, negated, scope, slots);
        }
        let operand = self.bind(operand, scope, slots)?;
        let list: Vec<Expression> =
            list.iter().map(|item| self.bind(item, scope, slots)).collect::<Result<_, _>>()?;
        let mut types = vec![operand.data_type()];
        types.extend(list.iter().map(Expression::data_type));
        let common = common_comparable(&types)?;
        let operand = Box::new(self.convert(operand, common));
        let list = list.into_iter().map(|item| self.convert(item, common)).collect();
        Ok(Expression::InList { operand, list, negated })
    }

    fn bind_like(
        &self,
        operand: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        (negated, case_insensitive): (bool, bool),
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let escape = match escape {
            None => Some('\\'),
            Some(Expr::Value(value)) => escape_character(&value.value)?,
            Some(other) => return Err(unsupported(other)),
        };
        let operand = self.bind(operand, scope, slots)?;
        let pattern = self.bind(pattern, scope, slots)?;
        self.like(operand, pattern, escape, (negated, case_insensitive))
    }

    fn like(
        &self,
        operand: Expression,
        pattern: Expression,
        escape: Option<char>,
        (negated, case_insensitive): (bool, bool),
    ) -> Result<Expression, SqlError> {
        for side in [&operand, &pattern] {
            let side = side.data_type();
            if !side.is_text() && side != DataType::Unknown {
                return Err(SqlError::new(
                    SqlState::UNDEFINED_FUNCTION,
                    format!("operator does not exist: {side} ~~ text"),
                ));
            }
        }
        Ok(Expression::Like {
            operand: Box::new(self.decided(operand)),
            pattern: Box::new(self.decided(pattern)),
            escape,
            negated,
            case_insensitive,
        })
    }

    fn bind_case(
        &self,
        operand: Option<&Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&Expr>,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let mut branches = Vec::with_capacity(conditions.len());
        for when in conditions {
            let condition = match operand {
                Some(operand) => {
                    self.bind_binary(operand, BinaryOperator::Equal, &when.condition, scope, slots)?
                }
                None => {
                    let condition = self.bind(&when.condition, scope, slots)?;
                    self.condition(condition, "CASE/WHEN")?
                }
            };
            branches.push((condition, self.bind(&when.result, scope, slots)?));
        }
        let otherwise = otherwise.map(|e| self.bind(e, scope, slots)).transpose()?;
        let results = branches.iter().map(|(_, result)| result).chain(&otherwise);
        let types: Vec<DataType> = results.map(Expression::data_type).collect();
        let data_type = operators::common_type("CASE", &types)?;
        let branches = branches
            .into_iter()
            .map(|(condition, result)| (condition, self.convert(result, data_type)))
            .collect();
        let otherwise = otherwise.map(|result| Box::new(self.convert(result, data_type)));
        Ok(Expression::Case { branches, otherwise, data_type })
    }

    /// `EXISTS`, `IN (query)`, `ANY`, `ALL` and scalar subqueries.
    fn bind_subquery_expression(
        &self,
        expression: &Expr,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        match expression {
            Expr::Subquery(query) => {
                let plan = self.bind_subquery(query, scope, slots)?;
                one_column(plan.width(), "subquery must return only one column")?;
                Ok(slots.subquery(SubquerySlot { plan, kind: ApplyKind::Scalar }))
            }
            Expr::Exists { subquery, negated } => {
                let plan = self.bind_subquery(subquery, scope, slots)?;
                let exists = slots.subquery(SubquerySlot { plan, kind: ApplyKind::Exists });
                Ok(if *negated { not(exists) } else { exists })
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let any = self.bind_any(expr, BinaryOperator::Equal, subquery, scope, slots)?;
                Ok(if *negated { not(any) } else { any })
            }
            Expr::AnyOp { left, compare_op, right, .. } => {
                let operator = quantifiable(compare_op)?;
                match unnested(right) {
                    Expr::Subquery(query) => self.bind_any(left, operator, query, scope, slots),
                    array => self.bind_quantified(left, operator, array, false, scope, slots),
                }
            }
            Expr::AllOp { left, compare_op, right } => {
                let operator = quantifiable(compare_op)?;
                match unnested(right) {
                    Expr::Subquery(query) => {
                        Ok(not(self.bind_any(left, negation(operator), query, scope, slots)?))
                    }
                    array => self.bind_quantified(left, operator, array, true, scope, slots),
                }
            }
            other => Err(unsupported(other)),
        }
    }

    fn bind_any(
        &self,
        operand: &Expr,
        operator: BinaryOperator,
        query: &ast::Query,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let operand = self.bind(operand, scope, slots)?;
        let mut plan = self.bind_subquery(query, scope, slots)?;
        one_column(plan.width(), "subquery has too many columns")?;
        let column = plan.types()[0];
        let types = operators::resolve_binary(operator, operand.data_type(), column)?;
        let operand = self.convert(operand, types.left);
        if column != types.right && column.base() != types.right {
            let converted = self.convert(Expression::column(0, column), types.right);
            plan = plan.project(vec![converted]);
        }
        Ok(slots.subquery(SubquerySlot { plan, kind: ApplyKind::Any { operand, operator } }))
    }

    pub(super) fn bind_subquery(
        &self,
        query: &ast::Query,
        scope: &Scope<'_>,
        slots: &Slots,
    ) -> Result<super::logical::Logical, SqlError> {
        if let Some(clause) = slots.refusals.subqueries {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("cannot use subquery in {clause}"),
            ));
        }
        Ok(self.bind_query(query, Some(scope))?.plan)
    }
}

/// A number as PostgreSQL reads it: the smallest of integer, bigint and numeric that holds it.
fn number(text: &str) -> Result<Expression, SqlError> {
    if let Ok(value) = text.parse::<i64>() {
        let fits = i32::try_from(value).is_ok();
        let data_type = if fits { DataType::Int4 } else { DataType::Int8 };
        return Ok(Expression::literal(value, data_type));
    }
    let numeric = text.parse().map_err(|_error| {
        SqlError::new(SqlState::SYNTAX_ERROR, format!("\"{text}\" is not a number"))
    })?;
    Ok(Expression::Literal(Value::Numeric(numeric), DataType::Numeric(None)))
}

fn escape_character(value: &ast::Value) -> Result<Option<char>, SqlError> {
    let ast::Value::SingleQuotedString(text) = value else {
        return Err(SqlError::unsupported("an escape that is no string"));
    };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (escape, None) => Ok(escape),
        _ => Err(SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .hint("Escape string must be empty or one character.")),
    }
}

fn binary_operator(operator: &ast::BinaryOperator) -> Option<BinaryOperator> {
    use ast::BinaryOperator as Ast;
    Some(match operator {
        Ast::Plus => BinaryOperator::Add,
        Ast::Minus => BinaryOperator::Subtract,
        Ast::Multiply => BinaryOperator::Multiply,
        Ast::Divide => BinaryOperator::Divide,
        Ast::Modulo => BinaryOperator::Modulo,
        Ast::StringConcat => BinaryOperator::Concatenate,
        Ast::Gt => BinaryOperator::Greater,
        Ast::Lt => BinaryOperator::Less,
        Ast::GtEq => BinaryOperator::GreaterOrEqual,
        Ast::LtEq => BinaryOperator::LessOrEqual,
        Ast::Eq => BinaryOperator::Equal,
        Ast::NotEq => BinaryOperator::NotEqual,
        Ast::And => BinaryOperator::And,
        Ast::Or => BinaryOperator::Or,
        Ast::BitwiseOr => BinaryOperator::BitOr,
        Ast::BitwiseAnd => BinaryOperator::BitAnd,
        Ast::PGBitwiseXor => BinaryOperator::BitXor,
        Ast::PGBitwiseShiftLeft => BinaryOperator::ShiftLeft,
        Ast::PGBitwiseShiftRight => BinaryOperator::ShiftRight,
        Ast::PGExp | Ast::BitwiseXor => BinaryOperator::Power,
        _ => return None,
    })
}

/// 42883
fn undefined_operator(
    operator: &ast::BinaryOperator,
    left: &Expression,
    right: &Expression,
) -> SqlError {
    let (left, right) = (left.data_type(), right.data_type());
    SqlError::new(
        SqlState::UNDEFINED_FUNCTION,
        format!("operator does not exist: {left} {operator} {right}"),
    )
    .hint(
        "No operator matches the given name and argument types. You might need to add explicit \
         type casts.",
    )
}

fn quantifiable(operator: &ast::BinaryOperator) -> Result<BinaryOperator, SqlError> {
    let named = match operator {
        ast::BinaryOperator::PGCustomBinaryOperator(name) => &qualified_operator(name)?,
        other => other,
    };
    binary_operator(named)
        .filter(|operator| operator.is_comparison())
        .ok_or_else(|| SqlError::unsupported(format!("the operator {operator} before ANY or ALL")))
}

/// An expression without the parentheses around it.
pub(super) fn unnested(mut expression: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expression {
        expression = inner;
    }
    expression
}

/// A function that is called without parentheses, which the parser does not know.
fn called_bare(name: &ast::Ident) -> Option<&'static str> {
    let called = |function: &&str| name.value.eq_ignore_ascii_case(function);
    let known = ["current_role", "current_schema"];
    known.into_iter().find(called).filter(|_| name.quote_style.is_none())
}

/// Strings compare by their bytes: only the collations that say so exist.
pub(super) fn check_collation(name: &ast::ObjectName) -> Result<(), SqlError> {
    let (schema, collation) = crate::sql::names::relation_name(name)?;
    let known = schema.is_none_or(|schema| schema == "pg_catalog")
        && matches!(collation.as_str(), "C" | "POSIX" | "default" | "ucs_basic");
    if known {
        return Ok(());
    }
    Err(SqlError::new(
        SqlState::UNDEFINED_OBJECT,
        format!("collation \"{collation}\" for encoding \"UTF8\" does not exist"),
    ))
}

fn negation(operator: BinaryOperator) -> BinaryOperator {
    use BinaryOperator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    match operator {
        Equal => NotEqual,
        NotEqual => Equal,
        Less => GreaterOrEqual,
        GreaterOrEqual => Less,
        Greater => LessOrEqual,
        LessOrEqual => Greater,
        other => other,
    }
}

/// The type in which an operand and a list of candidates are compared.
fn common_comparable(types: &[DataType]) -> Result<DataType, SqlError> {
    let mut common = DataType::Unknown;
    for &candidate in types {
        common = match (common, candidate) {
            (DataType::Unknown, other) | (other, DataType::Unknown) => other,
            (left, right) => operators::resolve_binary(BinaryOperator::Equal, left, right)?.left,
        };
    }
    Ok(if common == DataType::Unknown { DataType::Text } else { common })
}

fn one_column(width: usize, message: &'static str) -> Result<(), SqlError> {
    if width == 1 { Ok(()) } else { Err(SqlError::new(SqlState::SYNTAX_ERROR, message)) }
}

/// `NOT x`
pub(super) fn not(operand: Expression) -> Expression {
    Expression::Unary { operator: UnaryOperator::Not, operand: Box::new(operand) }
}

/// `left AND right`, `left OR right`
pub(super) fn logical(operator: BinaryOperator, left: Expression, right: Expression) -> Expression {
    let (left, right) = (Box::new(left), Box::new(right));
    Expression::Binary { operator, left, right, data_type: DataType::Bool }
}

/// An expression that PhantomDB does not know.
pub(super) fn unsupported(expression: &Expr) -> SqlError {
    const SHOWN_MAX: usize = 60;
    let mut text = expression.to_string();
    if let Some((end, _)) = text.char_indices().nth(SHOWN_MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    SqlError::unsupported(format!("the expression {text}"))
}

/// The name of a call's function, without its schema.
pub(super) fn call_name(call: &ast::Function) -> Result<String, SqlError> {
    function_name(&call.name)
}
