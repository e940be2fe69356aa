//! Types of operators: what the operands are cast to and what comes out, as PostgreSQL resolves
//! them. The binder asks; nothing here runs with a statement.

use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, UnaryOperator};
use model::types::{DataType, ElementType, RegKind};

/// How an operator of two operands is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BinarySignature {
    /// What the left operand is cast to.
    pub left: DataType,
    /// What the right operand is cast to.
    pub right: DataType,
    /// The result.
    pub result: DataType,
}

/// The types with which `left operator right` works; 42883 where there is no such operator. An
/// unknown operand (a quoted literal, `NULL`, an untyped parameter) takes the other one's type.
pub fn resolve_binary(
    operator: BinaryOperator,
    left: DataType,
    right: DataType,
) -> Result<BinarySignature, SqlError> {
    use BinaryOperator as B;
    let signature = match operator {
        B::And | B::Or => logical(left, right),
        B::Add | B::Subtract | B::Multiply | B::Divide | B::Modulo => {
            arithmetic(operator, left.base(), right.base())
        }
        B::Power => power(left.base(), right.base()),
        B::Concatenate => concatenation(left, right),
        B::BitAnd | B::BitOr | B::BitXor => integers(left, right),
        B::ShiftLeft | B::ShiftRight => shift(left, right),
        _ => comparison(left, right),
    };
    signature.ok_or_else(|| undefined(operator_symbol(operator), Some(left), right))
}

/// The type an operator of one operand works on, which is also its result.
pub fn resolve_unary(operator: UnaryOperator, operand: DataType) -> Result<DataType, SqlError> {
    let resolved = match (operator, operand) {
        (UnaryOperator::Not, DataType::Bool | DataType::Unknown) => Some(DataType::Bool),
        (UnaryOperator::Negate, DataType::Unknown) => Some(DataType::Float8),
        (UnaryOperator::Negate, span) if span.base() == DataType::Interval => {
            Some(DataType::Interval)
        }
        (UnaryOperator::Negate, number) if number.is_number() => Some(number.base()),
        (UnaryOperator::BitNot, integer) if integer.is_integer() => Some(integer),
        _ => None,
    };
    let symbol = match operator {
        UnaryOperator::Not => "NOT",
        UnaryOperator::Negate => "-",
        UnaryOperator::BitNot => "~",
    };
    resolved.ok_or_else(|| undefined(symbol, None, operand))
}

/// The common type of `CASE` branches, `COALESCE`, `VALUES` columns, set operations and `IN`
/// lists; 42804 where there is none. All unknown makes text.
pub fn common_type(what: &str, types: &[DataType]) -> Result<DataType, SqlError> {
    let mut common: Option<DataType> = None;
    for &candidate in types {
        if candidate == DataType::Unknown {
            continue;
        }
        common = Some(match common {
            None => candidate,
            Some(known) if known == candidate => known,
            Some(known) => promote(known.base(), candidate.base()).ok_or_else(|| {
                SqlError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!("{what} types {known} and {candidate} cannot be matched"),
                )
            })?,
        });
    }
    Ok(common.unwrap_or(DataType::Text))
}

/// Whether an expression of type `from` becomes `to` without being asked: PostgreSQL's implicit
/// casts.
pub fn is_implicit_cast(from: DataType, to: DataType) -> bool {
    let (from, to) = (from.base(), to.base());
    if from == to || from == DataType::Unknown {
        return true;
    }
    if let (Some(from), Some(to)) = (number_rank(from), number_rank(to)) {
        return from <= to;
    }
    match (from, to) {
        (from, to) if from.is_text() && to.is_text() => true,
        // Any integer, and any name of an object, is an oid; texts become `regclass` only.
        (from, to) if to.is_oid() && (from.is_integer() || from.is_oid()) => true,
        (from, DataType::Reg(RegKind::Class)) if from.is_text() => true,
        (DataType::Int2Vector, DataType::Array(ElementType::Int2))
        | (DataType::OidVector, DataType::Array(ElementType::Oid)) => true,
        (DataType::Array(from), DataType::Array(to)) => {
            is_implicit_cast(from.data_type(), to.data_type())
        }
        (DataType::Date, DataType::Timestamp | DataType::TimestampTz)
        | (DataType::Timestamp, DataType::TimestampTz)
        | (DataType::Time, DataType::Interval | DataType::TimeTz) => true,
        _ => false,
    }
}

/// Position in the chain of implicit casts between numbers.
fn number_rank(data_type: DataType) -> Option<u8> {
    match data_type {
        DataType::Int2 => Some(0),
        DataType::Int4 => Some(1),
        DataType::Int8 => Some(2),
        DataType::Numeric(_) => Some(3),
        DataType::Float4 => Some(4),
        DataType::Float8 => Some(5),
        _ => None,
    }
}

/// The type both become, where an implicit cast leads there.
fn promote(left: DataType, right: DataType) -> Option<DataType> {
    if left != right && (left.is_oid() || right.is_oid()) {
        let oid = |t: DataType| t.is_oid() || t.is_integer();
        return (oid(left) && oid(right)).then_some(DataType::Oid);
    }
    if left.is_text() && right.is_text() {
        return Some(if left == right { left } else { DataType::Text });
    }
    if is_implicit_cast(left, right) {
        return Some(right);
    }
    is_implicit_cast(right, left).then_some(left)
}

fn same(data_type: DataType, result: DataType) -> Option<BinarySignature> {
    Some(BinarySignature { left: data_type, right: data_type, result })
}

fn logical(left: DataType, right: DataType) -> Option<BinarySignature> {
    let truth = |t| matches!(t, DataType::Bool | DataType::Unknown);
    (truth(left) && truth(right)).then_some(())?;
    same(DataType::Bool, DataType::Bool)
}

fn comparison(left: DataType, right: DataType) -> Option<BinarySignature> {
    let operand = match (left.base(), right.base()) {
        (DataType::Unknown, DataType::Unknown) => DataType::Text,
        (DataType::Unknown, known) | (known, DataType::Unknown) => unmodified(known),
        // PostgreSQL compares `char(n)` with other strings as text where either is text, and
        // ignores the padding where both are `char`: widths do not matter then.
        (DataType::Char(_), DataType::Char(_)) => {
            return Some(BinarySignature { left, right, result: DataType::Bool });
        }
        // Float4 with numbers that are not exact in it compares as double precision.
        (DataType::Float4, other) | (other, DataType::Float4)
            if other.is_number() && other != DataType::Float4 =>
        {
            DataType::Float8
        }
        (left, right) => promote(left, right)?,
    };
    same(operand, DataType::Bool)
}

/// A literal compared with a `char(n)` column is not cut to its length.
fn unmodified(data_type: DataType) -> DataType {
    match data_type {
        DataType::Char(_) => DataType::Text,
        other => other,
    }
}

fn arithmetic(
    operator: BinaryOperator,
    left: DataType,
    right: DataType,
) -> Option<BinarySignature> {
    if let Some(signature) = temporal(operator, left, right) {
        return Some(signature);
    }
    let operand = match (left, right) {
        (DataType::Unknown, DataType::Unknown) => return None,
        (DataType::Unknown, known) | (known, DataType::Unknown) => known,
        (DataType::Float4, other) | (other, DataType::Float4) if other != DataType::Float4 => {
            other.is_number().then_some(DataType::Float8)?
        }
        (left, right) => promote(left, right)?,
    };
    let defined = match operator {
        BinaryOperator::Modulo => operand.is_integer() || matches!(operand, DataType::Numeric(_)),
        _ => operand.is_number(),
    };
    defined.then_some(())?;
    same(operand, operand)
}

/// Arithmetic of dates, times and intervals. An unknown operand beside a point in time is an
/// interval when added, and of the same type when subtracted.
fn temporal(operator: BinaryOperator, left: DataType, right: DataType) -> Option<BinarySignature> {
    use BinaryOperator::{Add, Divide, Multiply, Subtract};
    use DataType::{
        Date, Float8, Int2, Int4, Interval, Time, TimeTz, Timestamp, TimestampTz, Unknown,
    };
    let made = |left, right, result| Some(BinarySignature { left, right, result });
    match (operator, left, right) {
        (Add | Subtract, Date, Int2 | Int4) => made(Date, Int4, Date),
        (Add, Int2 | Int4, Date) => made(Int4, Date, Date),
        (Subtract, Date, Date | Unknown) | (Subtract, Unknown, Date) => made(Date, Date, Int4),
        (Add | Subtract, Date, Interval) => made(Timestamp, Interval, Timestamp),
        (Add, Interval, Date) => made(Interval, Timestamp, Timestamp),
        (Add, Date, Time) => made(Timestamp, Interval, Timestamp),
        (Add, Time, Date) => made(Interval, Timestamp, Timestamp),
        (Add, Date, Unknown) => made(Date, Int4, Date),
        (Add | Subtract, t @ (Timestamp | TimestampTz), Interval | Time) => made(t, Interval, t),
        (Add, Interval | Time, t @ (Timestamp | TimestampTz)) => made(Interval, t, t),
        (Add, t @ (Timestamp | TimestampTz), Unknown) => made(t, Interval, t),
        (Subtract, Timestamp | TimestampTz | Date, Timestamp | TimestampTz | Date)
        | (Subtract, Timestamp | TimestampTz, Unknown)
        | (Subtract, Unknown, Timestamp | TimestampTz) => {
            let zoned = left == TimestampTz || right == TimestampTz;
            let operand = if zoned { TimestampTz } else { Timestamp };
            made(operand, operand, Interval)
        }
        (Subtract, Time, Time | Unknown) => made(Time, Time, Interval),
        (Add | Subtract, Time, Interval) => made(Time, Interval, Time),
        (Add, Interval, Time) => made(Interval, Time, Time),
        (Add | Subtract, TimeTz, Interval) => made(TimeTz, Interval, TimeTz),
        (Add, Interval, TimeTz) => made(Interval, TimeTz, TimeTz),
        (Add, Date, TimeTz) | (Add, TimeTz, Date) => made(left, right, TimestampTz),
        (Add | Subtract, Interval, Interval | Unknown) | (Add | Subtract, Unknown, Interval) => {
            made(Interval, Interval, Interval)
        }
        (Multiply | Divide, Interval, number) if number.is_number() || number == Unknown => {
            made(Interval, Float8, Interval)
        }
        (Multiply, number, Interval) if number.is_number() || number == Unknown => {
            made(Float8, Interval, Interval)
        }
        _ => None,
    }
}

fn power(left: DataType, right: DataType) -> Option<BinarySignature> {
    let exact = |t| matches!(t, DataType::Numeric(_));
    let number = |t: DataType| t.is_number() || t == DataType::Unknown;
    (number(left) && number(right)).then_some(())?;
    let inexact = |t| matches!(t, DataType::Float4 | DataType::Float8);
    if (exact(left) || exact(right)) && !inexact(left) && !inexact(right) {
        return same(DataType::Numeric(None), DataType::Numeric(None));
    }
    same(DataType::Float8, DataType::Float8)
}

fn concatenation(left: DataType, right: DataType) -> Option<BinarySignature> {
    if left == DataType::Bytea && matches!(right, DataType::Bytea | DataType::Unknown)
        || left == DataType::Unknown && right == DataType::Bytea
    {
        return same(DataType::Bytea, DataType::Bytea);
    }
    let text = |t: DataType| t.is_text() || t == DataType::Unknown;
    (text(left) || text(right)).then_some(())?;
    same(DataType::Text, DataType::Text)
}

fn integers(left: DataType, right: DataType) -> Option<BinarySignature> {
    let operand = match (left, right) {
        (DataType::Unknown, known) | (known, DataType::Unknown) => known,
        (left, right) => promote(left, right)?,
    };
    operand.is_integer().then_some(())?;
    same(operand, operand)
}

fn shift(left: DataType, right: DataType) -> Option<BinarySignature> {
    let distance = matches!(right, DataType::Int2 | DataType::Int4 | DataType::Unknown);
    (left.is_integer() && distance).then_some(BinarySignature {
        left,
        right: DataType::Int4,
        result: left,
    })
}

/// The operator as it is written.
pub fn operator_symbol(operator: BinaryOperator) -> &'static str {
    match operator {
        BinaryOperator::And => "AND",
        BinaryOperator::Or => "OR",
        BinaryOperator::Equal => "=",
        BinaryOperator::NotEqual => "<>",
        BinaryOperator::Less => "<",
        BinaryOperator::LessOrEqual => "<=",
        BinaryOperator::Greater => ">",
        BinaryOperator::GreaterOrEqual => ">=",
        BinaryOperator::IsDistinctFrom => "IS DISTINCT FROM",
        BinaryOperator::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
        BinaryOperator::Add => "+",
        BinaryOperator::Subtract => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::Power => "^",
        BinaryOperator::Concatenate => "||",
        BinaryOperator::BitAnd => "&",
        BinaryOperator::BitOr => "|",
        BinaryOperator::BitXor => "#",
        BinaryOperator::ShiftLeft => "<<",
        BinaryOperator::ShiftRight => ">>",
    }
}

fn undefined(symbol: &str, left: Option<DataType>, right: DataType) -> SqlError {
    if left == Some(DataType::Unknown) && right == DataType::Unknown {
        return SqlError::new(
            SqlState::AMBIGUOUS_FUNCTION,
            format!("operator is not unique: unknown {symbol} unknown"),
        )
        .hint("Could not choose a best candidate operator. You might need to add explicit type casts.");
    }
    let left = left.map_or(String::new(), |left| format!("{left} "));
    SqlError::new(
        SqlState::UNDEFINED_FUNCTION,
        format!("operator does not exist: {left}{symbol} {right}"),
    )
    .hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use BinaryOperator as B;
    use DataType as T;

    #[test]
    fn promotion_follows_postgresql() {
        let numeric = T::Numeric(None);
        for (operator, left, right, operands, result) in [
            (B::Add, T::Int4, T::Int8, T::Int8, T::Int8),
            (B::Add, T::Int2, T::Int2, T::Int2, T::Int2),
            (B::Divide, T::Int4, numeric, numeric, numeric),
            (B::Multiply, numeric, T::Float8, T::Float8, T::Float8),
            (B::Add, T::Float4, T::Int4, T::Float8, T::Float8),
            (B::Add, T::Unknown, T::Int4, T::Int4, T::Int4),
            (B::Power, T::Int4, T::Int4, T::Float8, T::Float8),
            (B::Equal, T::Varchar(10), T::Text, T::Text, T::Bool),
            (B::Equal, T::Unknown, T::Unknown, T::Text, T::Bool),
            (B::Less, T::Date, T::TimestampTz, T::TimestampTz, T::Bool),
            (B::Equal, T::Unknown, T::Date, T::Date, T::Bool),
            (B::Concatenate, T::Int4, T::Text, T::Text, T::Text),
        ] {
            let expected = BinarySignature { left: operands, right: operands, result };
            assert_eq!(resolve_binary(operator, left, right), Ok(expected), "{left} {right}");
        }
    }

    #[test]
    fn points_in_time_and_spans() {
        for (operator, left, right, result) in [
            (B::Subtract, T::Date, T::Date, T::Int4),
            (B::Add, T::Date, T::Int4, T::Date),
            (B::Add, T::Date, T::Interval, T::Timestamp),
            (B::Subtract, T::Timestamp, T::Timestamp, T::Interval),
            (B::Subtract, T::TimestampTz, T::Interval, T::TimestampTz),
            (B::Multiply, T::Int4, T::Interval, T::Interval),
            (B::Add, T::Time, T::Interval, T::Time),
            (B::Add, T::Interval, T::TimeTz, T::TimeTz),
            (B::Add, T::TimeTz, T::Date, T::TimestampTz),
        ] {
            assert_eq!(resolve_binary(operator, left, right).unwrap().result, result);
        }
    }

    #[test]
    fn what_is_not_defined_is_refused() {
        for (operator, left, right) in [
            (B::Add, T::Text, T::Int4),
            (B::Equal, T::Int4, T::Text),
            (B::Modulo, T::Float8, T::Float8),
            (B::And, T::Int4, T::Bool),
            (B::Add, T::Date, T::Date),
            (B::Concatenate, T::Int4, T::Int4),
        ] {
            let error = resolve_binary(operator, left, right).unwrap_err();
            assert_eq!(error.state(), SqlState::UNDEFINED_FUNCTION);
        }
    }
}
