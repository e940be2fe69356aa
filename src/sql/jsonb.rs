//! Operators and subscripts of `jsonb`: each is a call of a function.

use super::binder::Binder;
use super::expression::unsupported;
use super::scope::Scope;
use super::slots::Slots;
use model::error::{SqlError, SqlState};
use model::expression::{Expression, FunctionReference};
use model::types::{DataType, ElementType};
use shards::exec::functions::array::CONSTRUCTOR;
use sqlparser::ast::{AccessExpr, BinaryOperator, Subscript};
use std::sync::Arc;

/// The function behind an operator, where one side of it is a `jsonb`; comparisons have none.
pub(super) fn function(
    operator: &BinaryOperator,
    left: &Expression,
    right: &Expression,
) -> Option<&'static str> {
    use BinaryOperator as Ast;
    let (left, right) = (left.data_type(), right.data_type());
    let either = |data_type| matches!(data_type, DataType::Jsonb | DataType::Unknown);
    if left != DataType::Jsonb && !(left == DataType::Unknown && right == DataType::Jsonb) {
        return None;
    }
    Some(match operator {
        Ast::StringConcat if either(right) => "jsonb_concat",
        Ast::AtArrow if either(right) => "jsonb_contains",
        Ast::ArrowAt if either(right) => "jsonb_contained",
        _ if left != DataType::Jsonb => return None,
        Ast::Arrow if right.is_integer() => "jsonb_array_element",
        Ast::LongArrow if right.is_integer() => "jsonb_array_element_text",
        Ast::Arrow => "jsonb_object_field",
        Ast::LongArrow => "jsonb_object_field_text",
        Ast::HashArrow => "jsonb_extract_path",
        Ast::HashLongArrow => "jsonb_extract_path_text",
        Ast::Question => "jsonb_exists",
        Ast::QuestionPipe => "jsonb_exists_any",
        Ast::QuestionAnd => "jsonb_exists_all",
        Ast::Minus => "jsonb_delete",
        Ast::HashMinus => "jsonb_delete_path",
        _ => return None,
    })
}

impl Binder<'_> {
    /// `document['key'][0]`: a path.
    pub(super) fn bind_jsonb_subscripts(
        &self,
        document: Expression,
        chain: &[AccessExpr],
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let mut path = Vec::with_capacity(chain.len());
        for access in chain {
            let index = match access {
                AccessExpr::Subscript(Subscript::Index { index }) => index,
                AccessExpr::Subscript(Subscript::Slice { .. }) => {
                    return Err(SqlError::new(
                        SqlState::DATATYPE_MISMATCH,
                        "jsonb subscript does not support slices",
                    ));
                }
                AccessExpr::Dot(name) => return Err(unsupported(name)),
            };
            let step = self.bind(index, scope, slots)?;
            let data_type = step.data_type();
            let is_text = data_type.is_text() || data_type == DataType::Unknown;
            if !is_text && !matches!(data_type, DataType::Int2 | DataType::Int4) {
                return Err(SqlError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!("subscript type {data_type} is not supported"),
                )
                .hint("jsonb subscript must be coercible to either integer or text."));
            }
            path.push(self.convert(step, DataType::Text));
        }
        let path = Expression::Function {
            function: FunctionReference(Arc::from(CONSTRUCTOR)),
            arguments: path,
            data_type: DataType::Array(ElementType::Text),
        };
        self.call("jsonb_extract_path", vec![document, path])
    }
}
