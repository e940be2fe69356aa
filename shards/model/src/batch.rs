//! Batches: the rows that flow between operators, cores and clients, held by column.

use crate::types::DataType;
use crate::value::{Value, ValueRef};

/// How many rows operators aim to put into a batch.
pub const BATCH_ROWS: usize = 1024;

/// Rows held by column. Every column has as many values as the batch has rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    rows: usize,
    columns: Vec<Column>,
}

/// One column of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    values: Vec<Value>,
}

impl Column {
    /// An empty column for values of `data_type`.
    pub fn with_capacity(_data_type: DataType, capacity: usize) -> Column {
        Column { values: Vec::with_capacity(capacity) }
    }

    /// A column of these values.
    pub fn from_values(_data_type: DataType, values: Vec<Value>) -> Column {
        Column { values }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Appends a value.
    pub fn push(&mut self, value: Value) {
        self.values.push(value);
    }

    /// A view of the value in `row`.
    pub fn get(&self, row: usize) -> ValueRef<'_> {
        self.values[row].as_ref()
    }

    /// The value in `row`, owned.
    pub fn value(&self, row: usize) -> Value {
        self.values[row].clone()
    }

    /// The values in `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Column {
        Column { values: rows.iter().map(|&row| self.values[row as usize].clone()).collect() }
    }
}

impl Batch {
    /// A batch of columns of equal length.
    pub fn new(rows: usize, columns: Vec<Column>) -> Batch {
        assert!(columns.iter().all(|column| column.len() == rows), "columns of one length");
        Batch { rows, columns }
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
}
