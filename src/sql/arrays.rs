//! Binding of what SQL's syntax has for arrays: `ARRAY[...]`, subscripts, `ANY` and `ALL`.

use super::binder::Binder;
use super::expression::unsupported;
use super::logical::Logical;
use super::scope::Scope;
use super::slots::{Slots, SubquerySlot};
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, Expression, FunctionReference};
use model::plan::{AggregateCall, AggregateFunction, ApplyKind};
use model::types::DataType;
use model::value::Value;
use shards::exec::functions::array::{self, CONSTRUCTOR, SLICE, SUBSCRIPT};
use shards::exec::operators;
use sqlparser::ast::{AccessExpr, Expr, Subscript};
use std::borrow::Cow;
use std::sync::Arc;

impl Binder<'_> {
    /// `ARRAY[a, b]`, `ARRAY[[a], [b]]`
    pub(super) fn bind_array(
        &self,
        elements: &[Expr],
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let elements: Vec<Expression> =
            elements.iter().map(|e| self.bind(e, scope, slots)).collect::<Result<_, _>>()?;
        self.array_of(elements)
    }

    /// An array of bound elements, converted to their common type.
    fn array_of(&self, elements: Vec<Expression>) -> Result<Expression, SqlError> {
        let types: Vec<DataType> = elements.iter().map(Expression::data_type).collect();
        // Without elements the type is not decided: a cast around it says which.
        if elements.is_empty() {
            return Ok(Expression::literal("{}", DataType::Unknown));
        }
        let element = operators::common_type("ARRAY", &types)?;
        let data_type = match element {
            DataType::Array(_) => Some(element),
            other => other.array(),
        };
        let data_type = data_type.ok_or_else(|| no_array(element))?;
        let arguments = elements.into_iter().map(|e| self.convert(e, element)).collect();
        Ok(call(CONSTRUCTOR, arguments, data_type))
    }

    /// `array[i]`, `array[a:b]`
    pub(super) fn bind_subscripts(
        &self,
        root: &Expr,
        chain: &[AccessExpr],
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let (root, chain) = subscripted(root, chain);
        let array = self.bind(&root, scope, slots)?;
        let data_type = array.data_type();
        if data_type == DataType::Jsonb {
            return self.bind_jsonb_subscripts(array, chain, scope, slots);
        }
        let Some(element) = data_type.element() else {
            if let (DataType::Name, [AccessExpr::Subscript(Subscript::Index { index })]) =
                (data_type, chain)
            {
                let index = self.subscript(index, scope, slots)?;
                return self.call("name byte", vec![array, index]);
            }
            return Err(SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "cannot subscript type {data_type} because it does not support subscripting"
                ),
            ));
        };
        let mut subscripts = Vec::with_capacity(chain.len());
        for access in chain {
            match access {
                AccessExpr::Subscript(subscript) => subscripts.push(subscript),
                AccessExpr::Dot(_) => return Err(unsupported(&root)),
            }
        }
        let is_slice = subscripts.iter().any(|s| matches!(s, Subscript::Slice { .. }));
        let mut arguments = vec![array];
        for subscript in subscripts {
            match subscript {
                // Among slices a plain subscript is an upper bound.
                Subscript::Index { index } if is_slice => {
                    arguments.push(Expression::literal(1, DataType::Int8));
                    arguments.push(self.subscript(index, scope, slots)?);
                }
                Subscript::Index { index } => {
                    arguments.push(self.subscript(index, scope, slots)?);
                }
                Subscript::Slice { lower_bound, upper_bound, stride: None } => {
                    for (bound, open) in [(lower_bound, i64::MIN), (upper_bound, i64::MAX)] {
                        arguments.push(match bound {
                            Some(bound) => self.subscript(bound, scope, slots)?,
                            None => Expression::literal(open, DataType::Int8),
                        });
                    }
                }
                Subscript::Slice { .. } => return Err(unsupported(&root)),
            }
        }
        Ok(match is_slice {
            true => call(SLICE, arguments, element.array().unwrap_or(data_type)),
            false => call(SUBSCRIPT, arguments, element),
        })
    }

    /// `ARRAY(SELECT ...)`
    pub(super) fn bind_array_subquery(
        &self,
        query: &sqlparser::ast::Query,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let plan = self.bind_subquery(query, scope, slots)?;
        let [element] = plan.types()[..] else {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "subquery must return only one column",
            ));
        };
        let data_type = element.array().ok_or_else(|| no_array(element))?;
        let aggregates = vec![AggregateCall {
            function: AggregateFunction::ArrayAgg,
            arguments: vec![Expression::column(0, element)],
            distinct: false,
            filter: None,
            data_type,
        }];
        let plan = Logical::Aggregate { input: Box::new(plan), groups: Vec::new(), aggregates };
        let array = slots.subquery(SubquerySlot { plan, kind: ApplyKind::Scalar });
        // No rows make an empty array.
        let empty = Expression::Literal(Value::array(Vec::new()), data_type);
        self.call("coalesce", vec![array, empty])
    }

    fn subscript(
        &self,
        index: &Expr,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let bound = self.bind(index, scope, slots)?;
        let data_type = bound.data_type();
        if !data_type.is_integer() && data_type != DataType::Unknown {
            return Err(SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                "array subscript must have type integer",
            ));
        }
        Ok(self.convert(bound, DataType::Int4))
    }

    /// `left operator ANY (array)` and `ALL`. Of an `ARRAY[...]` the elements are compared as a
    /// list, which finds keys.
    pub(super) fn bind_quantified(
        &self,
        left: &Expr,
        operator: BinaryOperator,
        right: &Expr,
        all: bool,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let listed = match (operator, all) {
            (BinaryOperator::Equal, false) => Some(false),
            (BinaryOperator::NotEqual, true) => Some(true),
            _ => None,
        };
        if let (Expr::Array(elements), Some(negated)) = (right, listed)
            && !elements.elem.iter().any(|e| matches!(e, Expr::Array(_)))
            && !elements.elem.is_empty()
        {
            return self.bind_in_list(left, &elements.elem, negated, scope, slots);
        }
        let left = self.bind(left, scope, slots)?;
        let right = self.bind(right, scope, slots)?;
        let element = match (right.data_type(), left.data_type()) {
            (DataType::Unknown, DataType::Unknown) => DataType::Text,
            (DataType::Unknown, left) => left,
            (array, _) => array.element().ok_or_else(|| {
                SqlError::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    "op ANY/ALL (array) requires array on right side",
                )
            })?,
        };
        let types = operators::resolve_binary(operator, left.data_type(), element)?;
        let array = types.right.array().ok_or_else(|| no_array(types.right))?;
        let arguments = vec![self.convert(left, types.left), self.convert(right, array)];
        let function = array::quantified(operator, all);
        Ok(Expression::Function { function, arguments, data_type: DataType::Bool })
    }
}

/// What is subscripted, and the subscripts: the parser takes `relation.column[1]` for something
/// inside of `relation`.
pub(super) fn subscripted<'e>(
    root: &'e Expr,
    chain: &'e [AccessExpr],
) -> (Cow<'e, Expr>, &'e [AccessExpr]) {
    let Expr::Identifier(first) = root else { return (Cow::Borrowed(root), chain) };
    let name = |access: &AccessExpr| match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
        _ => None,
    };
    let mut names = vec![first.clone()];
    names.extend(chain.iter().map_while(name));
    match names.len() {
        1 => (Cow::Borrowed(root), chain),
        parts => (Cow::Owned(Expr::CompoundIdentifier(names)), &chain[parts - 1..]),
    }
}

fn call(name: &str, arguments: Vec<Expression>, data_type: DataType) -> Expression {
    Expression::Function { function: FunctionReference(Arc::from(name)), arguments, data_type }
}

fn no_array(element: DataType) -> SqlError {
    SqlError::new(
        SqlState::UNDEFINED_OBJECT,
        format!("could not find array type for data type {element}"),
    )
}
