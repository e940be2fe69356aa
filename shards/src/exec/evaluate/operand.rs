//! What an expression evaluates to inside of another: a column, read in place where it is the
//! batch's, or one value for all rows.

use model::batch::{Column, IntKind};
use model::error::SqlError;
use model::types::DataType;
use model::value::{Value, ValueRef};
use std::borrow::Cow;

pub(super) enum Operand<'a> {
    Column(Cow<'a, Column>),
    Constant(Value),
}

/// Where a typed loop reads from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a, T> {
    Slice(&'a [T]),
    One(T),
}

impl<'a> Operand<'a> {
    pub(super) fn borrowed(column: &'a Column) -> Operand<'a> {
        Operand::Column(Cow::Borrowed(column))
    }

    pub(super) fn owned(column: Column) -> Operand<'a> {
        Operand::Column(Cow::Owned(column))
    }

    pub(super) fn into_column(self, data_type: DataType, rows: usize) -> Column {
        match self {
            Operand::Column(column) => column.into_owned(),
            Operand::Constant(value) => Column::repeat(data_type, &value, rows),
        }
    }

    pub(super) fn get(&self, row: usize) -> ValueRef<'_> {
        match self {
            Operand::Column(column) => column.get(row),
            Operand::Constant(value) => value.as_ref(),
        }
    }

    pub(super) fn value(&self, row: usize) -> Value {
        match self {
            Operand::Column(column) => column.value(row),
            Operand::Constant(value) => value.clone(),
        }
    }

    pub(super) fn is_constant_null(&self) -> bool {
        matches!(self, Operand::Constant(Value::Null))
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Operand::Column(column) => column.is_null(row),
            Operand::Constant(value) => value.is_null(),
        }
    }

    /// The mask of nulls; empty where there is none. Only of typed columns and constants.
    pub(super) fn nulls(&self) -> &[bool] {
        match self {
            Operand::Column(column) => column.nulls(),
            Operand::Constant(_) => &[],
        }
    }

    /// Integers or what is stored as such, with what they stand for.
    pub(super) fn ints(&self) -> Option<(IntKind, Source<'_, i64>)> {
        match self {
            Operand::Column(column) => Some((column.int_kind()?, Source::Slice(column.ints()?))),
            Operand::Constant(Value::Int(v)) => Some((IntKind::Int, Source::One(*v))),
            Operand::Constant(Value::Time(v)) => Some((IntKind::Time, Source::One(*v))),
            Operand::Constant(Value::Timestamp(v)) => Some((IntKind::Timestamp, Source::One(*v))),
            Operand::Constant(Value::Date(v)) => Some((IntKind::Date, Source::One(i64::from(*v)))),
            Operand::Constant(_) => None,
        }
    }

    pub(super) fn floats(&self) -> Option<Source<'_, f64>> {
        match self {
            Operand::Column(column) => column.floats().map(Source::Slice),
            Operand::Constant(Value::Float(v)) => Some(Source::One(*v)),
            Operand::Constant(_) => None,
        }
    }

    /// Whether a cast from one type to the other changes nothing: integers widen in place.
    pub(super) fn keeps_its_form(&self, from: DataType, to: DataType) -> bool {
        from == to && !matches!(to, DataType::Unknown)
            || matches!(from, DataType::Limited(_)) && self.keeps_its_form(from.base(), to)
            || matches!(to, DataType::Limited(limits) if limits.hold(from))
            || matches!(
                (from, to),
                (DataType::Int2 | DataType::Int4, DataType::Int8)
                    | (DataType::Int2, DataType::Int4)
                    | (DataType::Float4, DataType::Float8)
                    | (DataType::Timestamp, DataType::TimestampTz)
                    | (DataType::TimestampTz, DataType::Timestamp)
                    | (DataType::Varchar(_), DataType::Text)
                    | (DataType::Numeric(_), DataType::Numeric(None))
            )
    }

    /// Applies `change` to each value; a constant stays one.
    pub(super) fn map(
        &self,
        data_type: DataType,
        rows: usize,
        mut change: impl FnMut(Value) -> Result<Value, SqlError>,
    ) -> Result<Operand<'a>, SqlError> {
        match self {
            // Where there are no rows nothing may fail.
            Operand::Constant(_) if rows == 0 => Ok(Operand::Constant(Value::Null)),
            Operand::Constant(value) => change(value.clone()).map(Operand::Constant),
            Operand::Column(column) => {
                let mut out = Column::with_capacity(data_type, rows);
                for row in 0..rows {
                    out.push(if column.is_null(row) {
                        Value::Null
                    } else {
                        change(column.value(row))?
                    });
                }
                Ok(Operand::owned(out))
            }
        }
    }

    pub(super) fn null_test(&self, negated: bool, rows: usize) -> Operand<'a> {
        match self {
            Operand::Constant(value) => Operand::Constant(Value::Bool(value.is_null() != negated)),
            Operand::Column(column) => {
                let truths = (0..rows).map(|row| column.is_null(row) != negated).collect();
                Operand::owned(Column::from_bools(truths, Vec::new()))
            }
        }
    }
}

/// Nulls of either; empty where there is none.
pub(super) fn either_null(left: &[bool], right: &[bool]) -> Vec<bool> {
    match (left, right) {
        ([], []) => Vec::new(),
        (nulls, []) | ([], nulls) => nulls.to_vec(),
        (left, right) => left.iter().zip(right).map(|(a, b)| a | b).collect(),
    }
}

/// `f` over two sources; of two constants there is nothing to loop over.
pub(super) fn zip<T: Copy, R>(
    left: Source<'_, T>,
    right: Source<'_, T>,
    mut f: impl FnMut(T, T) -> R,
) -> Vec<R> {
    match (left, right) {
        (Source::Slice(left), Source::Slice(right)) => {
            left.iter().zip(right).map(|(a, b)| f(*a, *b)).collect()
        }
        (Source::Slice(left), Source::One(right)) => left.iter().map(|a| f(*a, right)).collect(),
        (Source::One(left), Source::Slice(right)) => right.iter().map(|b| f(left, *b)).collect(),
        (Source::One(left), Source::One(right)) => vec![f(left, right)],
    }
}
