//! Batches: the rows that flow between operators, cores and clients, held by column.
//!
//! A column of integers, dates, times, timestamps, floats or truth values is a vector of its own
//! kind with a mask of its nulls; character strings lie one after the other in one buffer. Every
//! other kind is a vector of [`Value`]. The kind follows from the declared type; a value that
//! does not fit it (which no correct plan produces) turns the column into the general form.

mod archived;

use crate::types::DataType;
use crate::value::{Value, ValueRef};
use rkyv::{Archive, Deserialize, Serialize};

/// How many rows operators aim to put into a batch.
pub const BATCH_ROWS: usize = 1024;

/// In a list of row numbers to take: no row, which gives nulls.
pub const NO_ROW: u32 = u32::MAX;

/// Rows held by column. Every column has as many values as the batch has rows.
#[derive(Debug, Clone, Default, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(bytecheck(verify))]
pub struct Batch {
    rows: usize,
    columns: Vec<Column>,
}

/// What the integers of an integer column stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum IntKind {
    /// `smallint`, `integer`, `bigint`, oids
    Int,
    /// Days since 2000-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 2000-01-01 00:00.
    Timestamp,
}

/// One column of a batch.
#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
#[rkyv(bytecheck(verify))]
pub struct Column {
    data: Data,
    /// Whether each value is null; empty where none is. The value behind a null is the kind's
    /// zero. Not used by the general form.
    nulls: Vec<bool>,
}

#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
enum Data {
    Ints(IntKind, Vec<i64>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
    /// All strings one after the other, and where each ends.
    Texts(String, Vec<u32>),
    Values(Vec<Value>),
}

impl Column {
    /// An empty column for values of `data_type`.
    pub fn with_capacity(data_type: DataType, capacity: usize) -> Column {
        let ints = |kind| Data::Ints(kind, Vec::with_capacity(capacity));
        let data = match data_type {
            DataType::Int2 | DataType::Int4 | DataType::Int8 | DataType::Oid | DataType::Reg(_) => {
                ints(IntKind::Int)
            }
            DataType::Date => ints(IntKind::Date),
            DataType::Time => ints(IntKind::Time),
            DataType::Timestamp | DataType::TimestampTz => ints(IntKind::Timestamp),
            DataType::Limited(limits) => {
                return Column::with_capacity(limits.data_type(), capacity);
            }
            DataType::Float4 | DataType::Float8 => Data::Floats(Vec::with_capacity(capacity)),
            DataType::Bool => Data::Bools(Vec::with_capacity(capacity)),
            DataType::Text
            | DataType::Varchar(_)
            | DataType::Char(_)
            | DataType::Name
            | DataType::InternalChar
            | DataType::Json
            | DataType::Void => Data::Texts(String::new(), Vec::with_capacity(capacity)),
            DataType::Unknown
            | DataType::Numeric(_)
            | DataType::Bytea
            | DataType::TimeTz
            | DataType::Interval
            | DataType::Uuid
            | DataType::Jsonb
            | DataType::Int2Vector
            | DataType::OidVector
            | DataType::Array(_) => Data::Values(Vec::with_capacity(capacity)),
        };
        Column { data, nulls: Vec::new() }
    }

    /// A column of these values.
    pub fn from_values(data_type: DataType, values: Vec<Value>) -> Column {
        let mut column = Column::with_capacity(data_type, values.len());
        for value in values {
            column.push(value);
        }
        column
    }

    /// A column of integers; `nulls` is empty or as long.
    pub fn from_ints(kind: IntKind, values: Vec<i64>, nulls: Vec<bool>) -> Column {
        assert!(nulls.is_empty() || nulls.len() == values.len(), "a mask for every value");
        Column { data: Data::Ints(kind, values), nulls }
    }

    /// A column of floats; `nulls` is empty or as long.
    pub fn from_floats(values: Vec<f64>, nulls: Vec<bool>) -> Column {
        assert!(nulls.is_empty() || nulls.len() == values.len(), "a mask for every value");
        Column { data: Data::Floats(values), nulls }
    }

    /// A column of truth values; `nulls` is empty or as long.
    pub fn from_bools(values: Vec<bool>, nulls: Vec<bool>) -> Column {
        assert!(nulls.is_empty() || nulls.len() == values.len(), "a mask for every value");
        Column { data: Data::Bools(values), nulls }
    }

    /// One value `rows` times.
    pub fn repeat(data_type: DataType, value: &Value, rows: usize) -> Column {
        match (value, Column::with_capacity(data_type, 0).data) {
            (Value::Int(v), Data::Ints(IntKind::Int, _)) => {
                Column::from_ints(IntKind::Int, vec![*v; rows], Vec::new())
            }
            (Value::Float(v), Data::Floats(_)) => Column::from_floats(vec![*v; rows], Vec::new()),
            (Value::Bool(v), Data::Bools(_)) => Column::from_bools(vec![*v; rows], Vec::new()),
            _ => {
                let mut column = Column::with_capacity(data_type, rows);
                (0..rows).for_each(|_| column.push_ref(&value.as_ref()));
                column
            }
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Ints(_, values) => values.len(),
            Data::Floats(values) => values.len(),
            Data::Bools(values) => values.len(),
            Data::Texts(_, ends) => ends.len(),
            Data::Values(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integers behind an integer column, with zeros for nulls.
    pub fn ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Ints(_, values) => Some(values),
            _ => None,
        }
    }

    /// What the integers of an integer column stand for.
    pub fn int_kind(&self) -> Option<IntKind> {
        match &self.data {
            Data::Ints(kind, _) => Some(*kind),
            _ => None,
        }
    }

    /// The floats behind a float column, with zeros for nulls.
    pub fn floats(&self) -> Option<&[f64]> {
        match &self.data {
            Data::Floats(values) => Some(values),
            _ => None,
        }
    }

    /// The truth values behind a column of them, with `false` for nulls.
    pub fn bools(&self) -> Option<&[bool]> {
        match &self.data {
            Data::Bools(values) => Some(values),
            _ => None,
        }
    }

    /// Whether each value is null; empty where none is, or where the column has the general form
    /// (ask [`Column::is_null`]).
    pub fn nulls(&self) -> &[bool] {
        &self.nulls
    }

    /// Whether the value in `row` is null.
    pub fn is_null(&self, row: usize) -> bool {
        match &self.data {
            Data::Values(values) => values[row].is_null(),
            _ => self.nulls.get(row).is_some_and(|null| *null),
        }
    }

    /// About how many bytes of memory the column takes.
    pub fn memory_bytes(&self) -> usize {
        let data = match &self.data {
            Data::Ints(_, values) => values.len() * 8,
            Data::Floats(values) => values.len() * 8,
            Data::Bools(values) => values.len(),
            Data::Texts(text, ends) => text.len() + ends.len() * 4,
            Data::Values(values) => values.iter().map(Value::memory_bytes).sum(),
        };
        data + self.nulls.len()
    }

    /// Appends a value.
    pub fn push(&mut self, value: Value) {
        match (&mut self.data, value) {
            (Data::Values(values), value) => values.push(value),
            (_, value) => self.push_ref(&value.as_ref()),
        }
    }

    /// Appends a value that is read in place.
    pub fn push_ref(&mut self, value: &ValueRef<'_>) {
        let fits = match (&mut self.data, value) {
            (Data::Values(values), value) => {
                values.push(value.to_value());
                return;
            }
            (_, ValueRef::Null) => return self.push_null(),
            (Data::Ints(IntKind::Int, values), ValueRef::Int(v))
            | (Data::Ints(IntKind::Time, values), ValueRef::Time(v))
            | (Data::Ints(IntKind::Timestamp, values), ValueRef::Timestamp(v)) => {
                values.push(*v);
                true
            }
            (Data::Ints(IntKind::Date, values), ValueRef::Date(v)) => {
                values.push(i64::from(*v));
                true
            }
            (Data::Floats(values), ValueRef::Float(v)) => {
                values.push(*v);
                true
            }
            (Data::Bools(values), ValueRef::Bool(v)) => {
                values.push(*v);
                true
            }
            (Data::Texts(text, ends), ValueRef::Text(v)) => {
                match u32::try_from(text.len() + v.len()) {
                    Ok(end) => {
                        text.push_str(v);
                        ends.push(end);
                        true
                    }
                    Err(_) => false,
                }
            }
            _ => false,
        };
        if !fits {
            self.generalize();
            self.push(value.to_value());
        } else if !self.nulls.is_empty() {
            self.nulls.push(false);
        }
    }

    fn push_null(&mut self) {
        let rows = self.len();
        match &mut self.data {
            Data::Ints(_, values) => values.push(0),
            Data::Floats(values) => values.push(0.0),
            Data::Bools(values) => values.push(false),
            Data::Texts(_, ends) => ends.push(ends.last().copied().unwrap_or(0)),
            Data::Values(values) => return values.push(Value::Null),
        }
        self.nulls.resize(rows, false);
        self.nulls.push(true);
    }

    /// Turns the column into the general form.
    fn generalize(&mut self) {
        let values = (0..self.len()).map(|row| self.value(row)).collect();
        self.data = Data::Values(values);
        self.nulls = Vec::new();
    }

    /// A view of the value in `row`.
    pub fn get(&self, row: usize) -> ValueRef<'_> {
        if self.nulls.get(row).is_some_and(|null| *null) {
            return ValueRef::Null;
        }
        match &self.data {
            Data::Ints(IntKind::Int, values) => ValueRef::Int(values[row]),
            // A date column is only ever filled from `i32`s.
            Data::Ints(IntKind::Date, values) => ValueRef::Date(values[row] as i32),
            Data::Ints(IntKind::Time, values) => ValueRef::Time(values[row]),
            Data::Ints(IntKind::Timestamp, values) => ValueRef::Timestamp(values[row]),
            Data::Floats(values) => ValueRef::Float(values[row]),
            Data::Bools(values) => ValueRef::Bool(values[row]),
            Data::Texts(text, ends) => ValueRef::Text(text_at(text, ends, row)),
            Data::Values(values) => values[row].as_ref(),
        }
    }

    /// The value in `row`, owned.
    pub fn value(&self, row: usize) -> Value {
        match &self.data {
            Data::Values(values) => values[row].clone(),
            _ => self.get(row).to_value(),
        }
    }

    /// The values in `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Column {
        fn pick<T: Clone>(values: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|&row| values[row as usize].clone()).collect()
        }
        let data = match &self.data {
            Data::Ints(kind, values) => Data::Ints(*kind, pick(values, rows)),
            Data::Floats(values) => Data::Floats(pick(values, rows)),
            Data::Bools(values) => Data::Bools(pick(values, rows)),
            Data::Texts(text, ends) => return self.take_texts(text, ends, rows),
            Data::Values(values) => Data::Values(pick(values, rows)),
        };
        let nulls = if self.nulls.is_empty() { Vec::new() } else { pick(&self.nulls, rows) };
        Column { data, nulls }
    }

    /// As [`Column::take`], with nulls for [`NO_ROW`].
    pub fn take_or_null(&self, rows: &[u32]) -> Column {
        if !rows.contains(&NO_ROW) {
            return self.take(rows);
        }
        let mut taken = self.empty_like();
        for &row in rows {
            if row == NO_ROW {
                taken.push_ref(&ValueRef::Null);
            } else {
                taken.push_ref(&self.get(row as usize));
            }
        }
        taken
    }

    /// An empty column of the same form.
    fn empty_like(&self) -> Column {
        let data = match &self.data {
            Data::Ints(kind, _) => Data::Ints(*kind, Vec::new()),
            Data::Floats(_) => Data::Floats(Vec::new()),
            Data::Bools(_) => Data::Bools(Vec::new()),
            Data::Texts(..) => Data::Texts(String::new(), Vec::new()),
            Data::Values(_) => Data::Values(Vec::new()),
        };
        Column { data, nulls: Vec::new() }
    }

    /// Appends all values of another column.
    pub fn append(&mut self, other: &Column) {
        let rows = self.len();
        match (&mut self.data, &other.data) {
            (Data::Ints(kind, values), Data::Ints(other, more)) if kind == other => {
                values.extend_from_slice(more);
            }
            (Data::Floats(values), Data::Floats(more)) => values.extend_from_slice(more),
            (Data::Bools(values), Data::Bools(more)) => values.extend_from_slice(more),
            _ => return (0..other.len()).for_each(|row| self.push_ref(&other.get(row))),
        }
        if !self.nulls.is_empty() || !other.nulls.is_empty() {
            self.nulls.resize(rows, false);
            self.nulls.extend_from_slice(&other.nulls);
            self.nulls.resize(rows + other.len(), false);
        }
    }

    /// One string may be taken many times, so that the result can outgrow the buffer's offsets:
    /// it is built value by value.
    fn take_texts(&self, text: &str, ends: &[u32], rows: &[u32]) -> Column {
        let mut taken = Column::with_capacity(DataType::Text, rows.len());
        for &row in rows {
            let row = row as usize;
            if self.is_null(row) {
                taken.push_null();
            } else {
                taken.push_ref(&ValueRef::Text(text_at(text, ends, row)));
            }
        }
        taken
    }
}

fn text_at<'a>(text: &'a str, ends: &[u32], row: usize) -> &'a str {
    let start = if row == 0 { 0 } else { ends[row - 1] as usize };
    &text[start..ends[row] as usize]
}

/// Equal where the values are, whatever form the columns have.
impl PartialEq for Column {
    fn eq(&self, other: &Column) -> bool {
        self.len() == other.len() && (0..self.len()).all(|row| self.value(row) == other.value(row))
    }
}

impl Batch {
    /// A batch of columns of equal length.
    pub fn new(rows: usize, columns: Vec<Column>) -> Batch {
        assert!(columns.iter().all(|column| column.len() == rows), "columns of one length");
        Batch { rows, columns }
    }

    /// A batch of rows, each with one value for each of `types`.
    pub fn from_rows(types: &[DataType], rows: &[Vec<Value>]) -> Batch {
        let columns = types
            .iter()
            .enumerate()
            .map(|(index, data_type)| {
                let mut column = Column::with_capacity(*data_type, rows.len());
                rows.iter().for_each(|row| column.push_ref(&row[index].as_ref()));
                column
            })
            .collect();
        Batch { rows: rows.len(), columns }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns, taken out.
    pub fn into_columns(self) -> Vec<Column> {
        self.columns
    }

    /// One row, owned.
    pub fn row(&self, row: usize) -> Vec<Value> {
        self.columns.iter().map(|column| column.value(row)).collect()
    }

    /// The rows with these numbers, in that order.
    pub fn take(&self, rows: &[u32]) -> Batch {
        let columns = self.columns.iter().map(|column| column.take(rows)).collect();
        Batch { rows: rows.len(), columns }
    }

    /// As [`Batch::take`], with rows of nulls for [`NO_ROW`].
    pub fn take_or_null(&self, rows: &[u32]) -> Batch {
        let columns = self.columns.iter().map(|column| column.take_or_null(rows)).collect();
        Batch { rows: rows.len(), columns }
    }

    /// An empty batch with columns of these types.
    pub fn empty(types: &[DataType]) -> Batch {
        let columns = types.iter().map(|t| Column::with_capacity(*t, 0)).collect();
        Batch { rows: 0, columns }
    }

    /// Appends all rows of a batch with as many columns.
    pub fn append(&mut self, other: &Batch) {
        assert_eq!(self.columns.len(), other.columns.len(), "batches of one shape");
        for (column, more) in self.columns.iter_mut().zip(&other.columns) {
            column.append(more);
        }
        self.rows += other.rows;
    }

    /// The columns of both batches, which have as many rows, side by side.
    #[must_use]
    pub fn beside(mut self, right: Batch) -> Batch {
        assert_eq!(self.rows, right.rows, "batches of one length");
        self.columns.extend(right.columns);
        self
    }

    /// About how many bytes of memory the batch takes.
    pub fn memory_bytes(&self) -> usize {
        self.columns.iter().map(Column::memory_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_keeps_values_and_nulls() {
        for (data_type, value) in [
            (DataType::Int4, Value::Int(7)),
            (DataType::Date, Value::Date(-3)),
            (DataType::Time, Value::Time(5)),
            (DataType::TimestampTz, Value::Timestamp(i64::MIN)),
            (DataType::Float8, Value::Float(1.5)),
            (DataType::Bool, Value::Bool(true)),
            (DataType::Text, Value::from("äb")),
            (DataType::Numeric(None), Value::Numeric("1.50".parse().unwrap())),
            (DataType::Uuid, Value::Uuid([9; 16])),
        ] {
            let values = vec![value.clone(), Value::Null, value.clone(), Value::Null];
            let column = Column::from_values(data_type, values.clone());
            let read: Vec<Value> = (0..4).map(|row| column.value(row)).collect();
            assert_eq!(read, values, "{data_type}");
            let taken = column.take(&[3, 2, 2]);
            assert!(taken.is_null(0) && taken.value(1) == value && taken.value(2) == value);
        }
    }

    #[test]
    fn a_value_of_another_kind_generalizes_the_column() {
        let mut column = Column::from_values(DataType::Int4, vec![Value::Int(1), Value::Null]);
        column.push(Value::from("odd"));
        assert_eq!(column.value(0), Value::Int(1));
        assert!(column.is_null(1));
        assert_eq!(column.value(2), Value::from("odd"));
    }

    #[test]
    fn appending_equals_pushing() {
        let half = [Value::Int(1), Value::Null];
        let mut column = Column::from_values(DataType::Int4, vec![Value::Int(7)]);
        column.append(&Column::from_values(DataType::Int4, half.to_vec()));
        column.append(&Column::from_values(DataType::Int4, vec![Value::Int(8)]));
        let expected = [7.into(), 1.into(), Value::Null, 8.into()];
        assert_eq!(column, Column::from_values(DataType::Int4, expected.to_vec()));
        let taken = column.take_or_null(&[0, NO_ROW]);
        assert!(taken.value(0) == Value::Int(7) && taken.is_null(1));
    }

    #[test]
    fn repeating_equals_pushing() {
        for value in [Value::Int(3), Value::Null, Value::from("x")] {
            let repeated = Column::repeat(DataType::Int8, &value, 3);
            assert_eq!(repeated, Column::from_values(DataType::Int8, vec![value; 3]));
        }
    }
}
