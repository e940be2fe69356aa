//! Operators by their symbols, and calls of the functions behind operators, casts and orders:
//! `int4pl(1, 2)` is `1 + 2`, `int4('7'::text)` none and `int4(7.5)` the cast.

use super::binder::Binder;
use crate::catalog::postgres::{self, Use};
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, Expression, UnaryOperator};
use model::types::{DataType, oid};
use model::value::Value;
use shards::exec::operators::{self, is_implicit_cast};
use sqlparser::ast;

impl Binder<'_> {
    /// A call of a function that is there as an operator, a cast or an order; `error` where it is
    /// none.
    pub(super) fn call_behind(
        &self,
        name: &str,
        arguments: Vec<Expression>,
        error: SqlError,
    ) -> Result<Expression, SqlError> {
        let given: Vec<DataType> = arguments.iter().map(Expression::data_type).collect();
        let candidates = postgres::functions_named(name).iter().filter_map(|function| {
            let used = postgres::use_of(function)?;
            let types: Vec<Option<DataType>> =
                function.inputs().map(|argument| oid::from_oid(argument.oid, -1)).collect();
            Some((fit(&types, &given)?, *function, types, used))
        });
        let Some((_, function, types, used)) = candidates.max_by_key(|(exact, ..)| *exact) else {
            return Err(error);
        };
        let mut arguments = arguments.into_iter().zip(types).map(|(argument, declared)| {
            match declared.map(unlimited) {
                // A string's own length stays: none is declared.
                Some(DataType::Char(_)) if matches!(argument.data_type(), DataType::Char(_)) => {
                    argument
                }
                Some(DataType::Char(_)) => self.convert(argument, DataType::Text),
                Some(declared) => self.convert(argument, declared),
                None => argument,
            }
        });
        let Some(first) = arguments.next() else { return Err(error) };
        match used {
            Use::Cast(_) => {
                let modifier = match arguments.next().as_ref().map(literal) {
                    None => -1,
                    Some(Some(Value::Int(modifier))) => i32::try_from(*modifier).unwrap_or(-1),
                    Some(_) => {
                        return Err(SqlError::unsupported(format!("{name} with a computed limit")));
                    }
                };
                let target = oid::from_oid(function.result, modifier);
                target.map(|target| self.cast(first, target, true)).ok_or(error)
            }
            Use::Operator(operator) if operator.left == 0 => {
                self.prefix_operator(operator.symbol, first)
            }
            Use::Operator(operator) => {
                let symbol = [operator.symbol.to_owned()];
                match arguments.next() {
                    Some(second) => {
                        self.bind_operator(first, &qualified_operator(&symbol)?, second)
                    }
                    None => Err(error),
                }
            }
            Use::Comparison => match arguments.next() {
                Some(second) => self.comparison(first, second),
                None => Err(error),
            },
        }
    }

    /// -1, 0 or 1: how the first value lies to the second; `NULL` where one of them is.
    fn comparison(&self, left: Expression, right: Expression) -> Result<Expression, SqlError> {
        let mut branches = Vec::with_capacity(3);
        for (operator, answer) in
            [(BinaryOperator::Less, -1), (BinaryOperator::Equal, 0), (BinaryOperator::Greater, 1)]
        {
            let condition = self.typed_binary(left.clone(), operator, right.clone())?;
            branches.push((condition, Expression::literal(answer, DataType::Int4)));
        }
        Ok(Expression::Case { branches, otherwise: None, data_type: DataType::Int4 })
    }

    /// An operator before its operand.
    pub(super) fn prefix_operator(
        &self,
        symbol: &str,
        operand: Expression,
    ) -> Result<Expression, SqlError> {
        let operator = match symbol {
            "-" => UnaryOperator::Negate,
            "~" => UnaryOperator::BitNot,
            "+" => return Ok(operand),
            "@" => return self.call("abs", vec![operand]),
            "|/" | "||/" => {
                let operand = self.convert(operand, DataType::Float8);
                return self.call(if symbol == "|/" { "sqrt" } else { "cbrt" }, vec![operand]);
            }
            other => return Err(SqlError::unsupported(format!("the operator {other}"))),
        };
        let target = operators::resolve_unary(operator, operand.data_type())?;
        let operand = Box::new(self.convert(operand, target));
        Ok(Expression::Unary { operator, operand })
    }
}

/// How many arguments have exactly the declared types; `None` where one of them does not become
/// its own. A type that none has (`anyarray`) is looked at by the operator.
fn fit(declared: &[Option<DataType>], given: &[DataType]) -> Option<usize> {
    if declared.len() != given.len() {
        return None;
    }
    let mut exact = 0;
    for (declared, &given) in declared.iter().zip(given) {
        match declared {
            Some(declared) if *declared == given => exact += 1,
            Some(declared) if !is_implicit_cast(given, *declared) => return None,
            _ => {}
        }
    }
    Some(exact)
}

/// `varchar` without a length is `text`.
fn unlimited(declared: DataType) -> DataType {
    match declared {
        DataType::Varchar(_) => DataType::Text,
        other => other,
    }
}

fn literal(expression: &Expression) -> Option<&Value> {
    match expression {
        Expression::Literal(value, _) => Some(value),
        Expression::Cast { operand, .. } => literal(operand),
        _ => None,
    }
}

/// `OPERATOR(pg_catalog.=)`
pub(super) fn qualified_operator(name: &[String]) -> Result<ast::BinaryOperator, SqlError> {
    use ast::BinaryOperator as Ast;
    let symbol = match name {
        [symbol] => symbol,
        [schema, symbol] if schema.eq_ignore_ascii_case("pg_catalog") => symbol,
        _ => return Err(unknown_operator(name)),
    };
    Ok(match symbol.as_str() {
        "=" => Ast::Eq,
        "<>" | "!=" => Ast::NotEq,
        "<" => Ast::Lt,
        "<=" => Ast::LtEq,
        ">" => Ast::Gt,
        ">=" => Ast::GtEq,
        "+" => Ast::Plus,
        "-" => Ast::Minus,
        "*" => Ast::Multiply,
        "/" => Ast::Divide,
        "%" => Ast::Modulo,
        "^" => Ast::PGExp,
        "&" => Ast::BitwiseAnd,
        "|" => Ast::BitwiseOr,
        "#" => Ast::PGBitwiseXor,
        "<<" => Ast::PGBitwiseShiftLeft,
        ">>" => Ast::PGBitwiseShiftRight,
        "||" => Ast::StringConcat,
        "^@" => Ast::PGStartsWith,
        "~" => Ast::PGRegexMatch,
        "~*" => Ast::PGRegexIMatch,
        "!~" => Ast::PGRegexNotMatch,
        "!~*" => Ast::PGRegexNotIMatch,
        "~~" => Ast::PGLikeMatch,
        "~~*" => Ast::PGILikeMatch,
        "!~~" => Ast::PGNotLikeMatch,
        "!~~*" => Ast::PGNotILikeMatch,
        "@>" => Ast::AtArrow,
        "<@" => Ast::ArrowAt,
        "&&" => Ast::PGOverlap,
        "->" => Ast::Arrow,
        "->>" => Ast::LongArrow,
        "#>" => Ast::HashArrow,
        "#>>" => Ast::HashLongArrow,
        "#-" => Ast::HashMinus,
        "?" => Ast::Question,
        "?|" => Ast::QuestionPipe,
        "?&" => Ast::QuestionAnd,
        _ => return Err(unknown_operator(name)),
    })
}

fn unknown_operator(name: &[String]) -> SqlError {
    SqlError::new(
        SqlState::UNDEFINED_FUNCTION,
        format!("operator does not exist: {}", name.join(".")),
    )
}
