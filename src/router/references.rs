//! The other side of foreign keys: what removing or changing a referenced row means for the rows
//! that reference it.

use super::write::Writer;
use futures::future::LocalBoxFuture;
use model::batch::Batch;
use model::command::Isolation;
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::plan::{Access, Change, Exchange, KeyBounds, Modify, Plan, Scan, Target};
use model::schema::{ForeignKey, ReferentialAction, Table};
use model::value::Value;
use shards::exec::open;
use std::sync::Arc;

/// Keys looked for at once.
const KEYS_MAX: usize = 500;

/// An old key and, where the row stays, its new one.
type RemovedKey = (Vec<Value>, Option<Vec<Value>>);

/// Referenced keys that a statement removed.
pub(super) struct Removed {
    table: Arc<Table>,
    /// For each reference to the table: old keys and, where the row stays, its new key.
    keys: Vec<Vec<RemovedKey>>,
}

impl Removed {
    pub(super) fn of(table: &Arc<Table>) -> Removed {
        let keys = vec![Vec::new(); table.referenced_by.len()];
        Removed { table: Arc::clone(table), keys }
    }

    /// Notes deleted rows.
    pub(super) fn note(&mut self, old: &Batch) {
        if self.keys.is_empty() {
            return;
        }
        for row in 0..old.rows() {
            self.note_change(&old.row(row), None);
        }
    }

    /// Notes a row that was deleted or, with `new`, changed.
    pub(super) fn note_change(&mut self, old: &[Value], new: Option<&[Value]>) {
        for (reference, keys) in self.table.referenced_by.iter().zip(&mut self.keys) {
            let of = |row: &[Value]| -> Vec<Value> {
                reference.parent_columns.iter().map(|&ordinal| row[ordinal].clone()).collect()
            };
            let (old, new) = (of(old), new.map(of));
            let same = new.as_ref().is_some_and(|new| old.iter().zip(new).all(|(a, b)| a.same(b)));
            // A NULL references nothing.
            if !same && !old.iter().any(Value::is_null) {
                keys.push((old, new));
            }
        }
    }
}

impl Writer<'_> {
    /// Refuses, or changes the referencing rows as the constraints say.
    pub(super) fn act_on_references(
        &mut self,
        removed: Removed,
    ) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(async move {
            let Removed { table, keys } = removed;
            for (reference, keys) in table.referenced_by.iter().zip(keys) {
                for chunk in keys.chunks(KEYS_MAX) {
                    self.act_on_reference(reference, chunk).await?;
                }
            }
            Ok(())
        })
    }

    async fn act_on_reference(
        &mut self,
        reference: &ForeignKey,
        keys: &[(Vec<Value>, Option<Vec<Value>>)],
    ) -> Result<(), SqlError> {
        let catalog = self.router.catalog_of(self.statement);
        let Some(child) = catalog.table(reference.child) else {
            return Err(SqlError::internal("a reference from a table that does not exist"));
        };
        let (deleted, changed): (Vec<_>, Vec<_>) = keys.iter().partition(|(_, new)| new.is_none());
        if !deleted.is_empty() {
            let old = deleted.iter().map(|(old, _)| old.clone()).collect();
            self.act(reference, child, reference.on_delete, old, None).await?;
        }
        for (old, new) in changed {
            let old = vec![old.clone()];
            self.act(reference, child, reference.on_update, old, new.as_deref()).await?;
        }
        Ok(())
    }

    async fn act(
        &mut self,
        reference: &ForeignKey,
        child: &Arc<Table>,
        action: ReferentialAction,
        keys: Vec<Vec<Value>>,
        new: Option<&[Value]>,
    ) -> Result<(), SqlError> {
        let change = match (action, new) {
            (ReferentialAction::NoAction | ReferentialAction::Restrict, _) => {
                return self.refuse_referenced(reference, child, keys).await;
            }
            (ReferentialAction::Cascade, None) => Change::Delete,
            (ReferentialAction::Cascade, Some(new)) => {
                let types = child.types();
                let literal = |(&ordinal, value): (&usize, &Value)| {
                    (ordinal, Expression::Literal(value.clone(), types[ordinal]))
                };
                let assignments = reference.child_columns.iter().zip(new).map(literal);
                Change::Update { assignments: assignments.collect() }
            }
            (ReferentialAction::SetNull, _) => set(reference, |ordinal| {
                Expression::Literal(Value::Null, child.columns[ordinal].data_type)
            }),
            (ReferentialAction::SetDefault, _) => set(reference, |ordinal| {
                let column = &child.columns[ordinal];
                let null = || Expression::Literal(Value::Null, column.data_type);
                column.default.clone().unwrap_or_else(null)
            }),
        };
        let touches_key = matches!(&change, Change::Update { assignments }
            if assignments.iter().any(|(ordinal, _)| child.primary_key.contains(ordinal)));
        if touches_key {
            return Err(SqlError::unsupported(format!(
                "changing the primary key of \"{}\" through constraint \"{}\"",
                child.name, reference.name
            )));
        }
        let columns = (0..child.columns.len()).collect();
        let scan = Scan { lock: true, ..find(reference, child, keys, columns) };
        let input = Box::new(Plan::Scan(scan));
        let modify = Modify { table: Arc::clone(child), input, change, returning: None };
        let partitions: Vec<_> = self.router.engine().placement().data_partitions().collect();
        let deletes = modify.change == Change::Delete;
        if deletes && !child.referenced_by.is_empty() {
            return Box::pin(self.delete_referenced(&modify, partitions)).await.map(drop);
        }
        let writes = partitions.into_iter().map(|partition| (partition, modify.clone()));
        self.write(writes.collect(), false).await.map(drop)
    }

    /// Fails where a row still references one of the keys.
    async fn refuse_referenced(
        &mut self,
        reference: &ForeignKey,
        child: &Arc<Table>,
        keys: Vec<Vec<Value>>,
    ) -> Result<(), SqlError> {
        let columns = reference.child_columns.clone();
        let scan = Scan { limit: Some(1), ..find(reference, child, keys, columns) };
        let exchange = Exchange {
            fragment: Arc::new(Plan::Scan(scan)),
            target: Target::All,
            merge: Vec::new(),
        };
        // The rows are locked by now: what references them is committed, or waits for us.
        let (reader, now) = (Some(self.transaction.reader()), self.router.engine().now());
        let level = Isolation::ReadCommitted;
        let context = self.router.context(self.statement, now, level, reader, None);
        let mut found = open(&Plan::Exchange(exchange), &context)?;
        let Some(batch) = found.next().await? else { return Ok(()) };
        let catalog = self.router.catalog_of(self.statement);
        let parent = catalog.table(reference.parent);
        let names = reference
            .parent_columns
            .iter()
            .map(|&ordinal| parent.map_or("?", |parent| parent.columns[ordinal].name.as_str()));
        let names: Vec<&str> = names.collect();
        let types = reference.child_columns.iter().map(|&ordinal| child.columns[ordinal].data_type);
        let values: Vec<String> = batch
            .row(0)
            .iter()
            .zip(types)
            .map(|(value, data_type)| value.to_text(data_type))
            .collect();
        Err(SqlError::new(
            SqlState::FOREIGN_KEY_VIOLATION,
            format!(
                "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
                reference.parent_name, reference.name, child.name
            ),
        )
        .detail(format!(
            "Key ({})=({}) is still referenced from table \"{}\".",
            names.join(", "),
            values.join(", "),
            child.name
        ))
        .table(&child.schema, &child.name)
        .constraint(&reference.name))
    }
}

fn set(reference: &ForeignKey, value: impl Fn(usize) -> Expression) -> Change {
    let assignments = reference.child_columns.iter().map(|&ordinal| (ordinal, value(ordinal)));
    Change::Update { assignments: assignments.collect() }
}

/// A scan of the rows that reference one of the keys, by an index where there is one.
fn find(
    reference: &ForeignKey,
    child: &Arc<Table>,
    keys: Vec<Vec<Value>>,
    columns: Vec<usize>,
) -> Scan {
    let types = child.types();
    let literals: Vec<Vec<Expression>> = keys
        .into_iter()
        .map(|key| {
            let values = key.into_iter().zip(&reference.child_columns);
            values.map(|(value, &ordinal)| Expression::Literal(value, types[ordinal])).collect()
        })
        .collect();
    let leads = |ordinals: Vec<usize>| ordinals.starts_with(&reference.child_columns);
    let index = child.indexes.iter().position(|index| {
        !index.global
            && index.columns.iter().all(|column| !column.descending)
            && leads(index.columns.iter().map(|column| column.ordinal).collect())
    });
    let position = |ordinal: &usize| columns.iter().position(|column| column == ordinal);
    let equal = |row: &Vec<Expression>| {
        let parts = reference.child_columns.iter().zip(row).map(|(ordinal, value)| {
            let column = position(ordinal).unwrap_or_default();
            Expression::Binary {
                operator: model::expression::BinaryOperator::Equal,
                left: Box::new(Expression::column(column, types[*ordinal])),
                right: Box::new(value.clone()),
                data_type: model::types::DataType::Bool,
            }
        });
        crate::sql::logical::conjunction(parts)
    };
    let bounds = KeyBounds { equal: literals.clone(), lower: None, upper: None };
    let (access, filter) = match index {
        Some(index) => (Access::Index { index, bounds }, None),
        None if leads(child.primary_key.clone()) => (Access::PrimaryKey(bounds), None),
        None => {
            let any = literals.iter().filter_map(equal).reduce(|left, right| Expression::Binary {
                operator: model::expression::BinaryOperator::Or,
                left: Box::new(left),
                right: Box::new(right),
                data_type: model::types::DataType::Bool,
            });
            (Access::PrimaryKey(KeyBounds::default()), any)
        }
    };
    Scan {
        table: Arc::clone(child),
        access,
        columns,
        filter,
        reverse: false,
        lock: false,
        limit: None,
    }
}
