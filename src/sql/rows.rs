//! Rows beside rows: `(a, b) = (c, d)`, `(a, b) < (c, d)`, `(a, b) IN ((c, d), ...)`.

use super::binder::Binder;
use super::expression::{logical, not};
use super::scope::Scope;
use super::slots::Slots;
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, Expression};
use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart};

/// The parts of `(a, b)` and `ROW(a, b)`; `None` of anything else.
pub(super) fn row_parts(expression: &Expr) -> Option<Vec<&Expr>> {
    match expression {
        Expr::Tuple(parts) => Some(parts.iter().collect()),
        Expr::Function(call) => {
            let [ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else { return None };
            let FunctionArguments::List(list) = &call.args else { return None };
            if name.quote_style.is_some() || !name.value.eq_ignore_ascii_case("row") {
                return None;
            }
            let part = |argument| match argument {
                &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref part)) => Some(part),
                _ => None,
            };
            list.args.iter().map(part).collect()
        }
        _ => None,
    }
}

impl Binder<'_> {
    /// The parts of a row, bound.
    pub(super) fn bind_parts(
        &self,
        parts: &[&Expr],
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Vec<Expression>, SqlError> {
        parts.iter().map(|part| self.bind(part, scope, slots)).collect()
    }

    /// A comparison of two rows, part by part from the left.
    pub(super) fn compare_rows(
        &self,
        left: Vec<Expression>,
        operator: BinaryOperator,
        right: Vec<Expression>,
    ) -> Result<Expression, SqlError> {
        use BinaryOperator as B;
        if left.len() != right.len() || left.is_empty() {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "unequal number of entries in row expressions",
            ));
        }
        let pairs = left.into_iter().zip(right).rev();
        let strict = match operator {
            B::LessOrEqual => B::Less,
            B::GreaterOrEqual => B::Greater,
            other => other,
        };
        let mut compared: Option<Expression> = None;
        for (left, right) in pairs {
            compared = Some(match (compared, operator) {
                (None, _) => self.typed_binary(left, operator, right)?,
                (Some(rest), B::Equal | B::IsNotDistinctFrom) => {
                    logical(B::And, self.typed_binary(left, operator, right)?, rest)
                }
                (Some(rest), B::NotEqual | B::IsDistinctFrom) => {
                    logical(B::Or, self.typed_binary(left, operator, right)?, rest)
                }
                (Some(rest), _) => {
                    let differs = self.typed_binary(left.clone(), strict, right.clone())?;
                    let equal = self.typed_binary(left, B::Equal, right)?;
                    logical(B::Or, differs, logical(B::And, equal, rest))
                }
            });
        }
        compared.ok_or_else(|| SqlError::internal("a row without parts"))
    }

    /// `row [NOT] IN (rows)`
    pub(super) fn bind_row_in_list(
        &self,
        parts: &[&Expr],
        list: &[Expr],
        negated: bool,
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let row = self.bind_parts(parts, scope, slots)?;
        let mut found: Option<Expression> = None;
        for candidate in list {
            let Some(candidate) = row_parts(candidate) else {
                return Err(SqlError::new(
                    SqlState::UNDEFINED_FUNCTION,
                    "a row is compared with rows only",
                ));
            };
            let candidate = self.bind_parts(&candidate, scope, slots)?;
            let equal = self.compare_rows(row.clone(), BinaryOperator::Equal, candidate)?;
            found = Some(match found {
                Some(found) => logical(BinaryOperator::Or, found, equal),
                None => equal,
            });
        }
        let found =
            found.ok_or_else(|| SqlError::new(SqlState::SYNTAX_ERROR, "IN needs a list"))?;
        Ok(if negated { not(found) } else { found })
    }
}
