//! Statements without a session.

use crate::router::virtual_tables::Outlines;
use crate::router::{Router, RowSink, Statement};
use crate::sql::{SessionSettings, parse, plan};
use crate::txn::Transaction;
use futures::future::{LocalBoxFuture, ready};
use model::batch::Batch;
use model::command::Isolation;
use model::error::SqlError;
use model::value::Value;
use shards::exec::SessionIdentity;
use std::rc::Rc;
use std::sync::Arc;

#[derive(Default)]
struct Rows(Vec<Vec<Value>>);

impl RowSink for Rows {
    fn rows(&mut self, batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        self.0.extend((0..batch.rows()).map(|row| batch.row(row)));
        Box::pin(ready(Ok(())))
    }
}

/// Runs a statement: in a transaction, or as one of its own.
pub(super) async fn run(
    router: &Router,
    text: &str,
    transaction: Option<&mut Transaction>,
) -> Result<Vec<Vec<Value>>, SqlError> {
    let settings = SessionSettings::of_system("phantom");
    let statement = parse(text)?.into_iter().next().expect("a statement");
    let planned = plan(&statement, &router.catalog(), &settings, &Outlines, &[])?;
    let statement = Statement {
        planned: &planned,
        parameters: Arc::from([]),
        now_micros: 0,
        snapshot: None,
        isolation: Isolation::ReadCommitted,
        lock_timeout: None,
        identity: SessionIdentity::default(),
        sequences: Rc::default(),
        presence: None,
        backends: None,
        catalog: None,
    };
    let mut rows = Rows::default();
    router.run(&statement, transaction, &mut rows).await?;
    Ok(rows.0)
}
