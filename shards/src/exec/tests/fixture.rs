//! A partition in memory: no versions, no waiting.

use crate::exec::memory::MemoryAccount;
use crate::exec::{ExecContext, Purpose, RowCursor, RowStore, StoredRow, keys};
use bytes::Bytes;
use futures::future::{FutureExt, LocalBoxFuture, ready};
use model::error::SqlError;
use model::expression::Expression;
use model::id::ObjectId;
use model::key::KeyRange;
use model::schema::{Check, Column, Index, IndexColumn, Placement, Table};
use model::types::DataType;
use model::value::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

#[derive(Default)]
pub struct Memory(RefCell<BTreeMap<Vec<u8>, StoredRow>>);

impl Memory {
    /// A row with its index entries in this partition.
    pub fn put(&self, table: &Table, row: &[Value]) {
        let mut map = self.0.borrow_mut();
        map.insert(keys::row_key(table, row), StoredRow::encode(row));
        for index in table.indexes.iter().filter(|index| !index.global) {
            let key = keys::index_entry_key(table, index, row);
            map.insert(key, keys::index_entry_value(table, row));
        }
    }

    pub fn keys(&self) -> usize {
        self.0.borrow().len()
    }
}

struct Cursor(std::vec::IntoIter<(Bytes, StoredRow)>);

impl RowCursor for Cursor {
    fn next_batch<'a>(
        &'a mut self,
        out: &'a mut Vec<(Bytes, StoredRow)>,
        rows_max: usize,
    ) -> LocalBoxFuture<'a, Result<bool, SqlError>> {
        // Few at a time: operators must not rely on full batches.
        out.extend(self.0.by_ref().take(rows_max.min(3)));
        ready(Ok(self.0.len() > 0)).boxed_local()
    }
}

impl RowStore for Memory {
    fn scan(&self, _purpose: &Purpose, range: KeyRange, reverse: bool) -> Box<dyn RowCursor> {
        let map = self.0.borrow();
        let within = map.iter().filter(|(key, _)| range.contains(key));
        let mut rows: Vec<(Bytes, StoredRow)> =
            within.map(|(key, row)| (Bytes::from(key.clone()), row.clone())).collect();
        if reverse {
            rows.reverse();
        }
        Box::new(Cursor(rows.into_iter()))
    }

    fn get<'a>(
        &'a self,
        _purpose: &'a Purpose,
        key: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Option<StoredRow>, SqlError>> {
        ready(Ok(self.0.borrow().get(key).cloned())).boxed_local()
    }

    fn lock<'a>(
        &'a self,
        _table: &'a Table,
        key: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Option<StoredRow>, SqlError>> {
        ready(Ok(self.0.borrow().get(key).cloned())).boxed_local()
    }

    fn lock_seen<'a>(
        &'a self,
        table: &'a Table,
        key: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Option<StoredRow>, SqlError>> {
        self.lock(table, key)
    }

    fn stage_entry<'a>(
        &'a self,
        _table: &'a Table,
        key: Vec<u8>,
        value: Option<StoredRow>,
    ) -> LocalBoxFuture<'a, Result<(), SqlError>> {
        ready(self.stage(key, value)).boxed_local()
    }

    fn stage(&self, key: Vec<u8>, value: Option<StoredRow>) -> Result<(), SqlError> {
        match value {
            Some(value) => self.0.borrow_mut().insert(key, value),
            None => self.0.borrow_mut().remove(&key),
        };
        Ok(())
    }
}

pub fn context(store: &Rc<Memory>) -> Rc<ExecContext> {
    let mut context = ExecContext::new(Arc::from([]), 0, MemoryAccount::new(64 << 20));
    context.rows = Some(store.clone());
    Rc::new(context)
}

/// Integer column `index` of the input.
pub fn column(index: usize) -> Expression {
    Expression::column(index, DataType::Int4)
}

/// `t (id integer primary key, kind integer, name text not null)` with an index on `kind`, a
/// unique local one on `(name, id)`, a unique global one on `name`, and `check (kind < 100)`.
pub fn table() -> Table {
    let column_of = |name: &str, data_type, nullable| Column {
        name: name.to_owned(),
        data_type,
        nullable,
        default: None,
        missing: Value::Null,
        hidden: false,
        identity: None,
    };
    let index = |id, name: &str, columns: &[usize], unique, global| Index {
        id: ObjectId(id),
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|&ordinal| IndexColumn { ordinal, descending: false })
            .collect(),
        unique,
        constraint: unique,
        global,
    };
    Table {
        storage: ObjectId(100),
        id: ObjectId(100),
        schema: "public".to_owned(),
        name: "t".to_owned(),
        columns: vec![
            column_of("id", DataType::Int4, false),
            column_of("kind", DataType::Int4, true),
            column_of("name", DataType::Text, false),
        ],
        primary_key: vec![0],
        primary_key_name: Some("t_pkey".to_owned()),
        partition_columns: vec![0],
        placement: Placement::Hashed,
        indexes: vec![
            index(101, "t_kind", &[1], false, false),
            index(102, "t_name_id_key", &[2, 0], true, false),
            index(103, "t_name_key", &[2], true, true),
        ],
        checks: vec![Check {
            name: "t_kind_check".to_owned(),
            condition: super::less(column(1), super::int(100)),
            text: "kind < 100".to_owned(),
        }],
        foreign_keys: Vec::new(),
        referenced_by: Vec::new(),
    }
}
