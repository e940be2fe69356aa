//! Long texts are parsed and planned on a thread of their own.
//!
//! Planning is computation without a place to pause: a text of some megabytes would keep everyone
//! else on the core waiting for seconds. One long text a core is planned at a time, and none is
//! longer than the node's memory allows: a syntax tree takes many times the bytes of its text.
//! In the simulator, which has no threads, they are planned in place.

use super::Host;
use super::tables::SessionTablesThen;
use crate::catalog::Catalog;
use crate::sql::{ParsedStatement, Planned, SessionSettings, parse, plan};
use model::error::{SqlError, SqlState};
use runtime::sync::Semaphore;
use runtime::thread;
use std::sync::Arc;

/// A text of so many bytes is worth the way to another thread.
const LONG_BYTES: usize = 32 << 10;

/// What a long text turned out to be.
pub(super) enum LongText {
    /// One statement, planned.
    One(Box<Planned>),
    /// Several, each to be planned when those before it have run; or none.
    Several(Vec<ParsedStatement>),
}

/// The turn to plan a long text, and how long it may be. One per core.
pub(super) struct Planner {
    turn: Semaphore,
    text_bytes_max: usize,
}

/// All that planning depends on.
struct Work {
    text: String,
    catalog: Arc<Catalog>,
    scope: SessionSettings,
    tables: SessionTablesThen,
}

impl Planner {
    pub(super) fn new(text_bytes_max: usize) -> Planner {
        Planner { turn: Semaphore::new(1), text_bytes_max }
    }

    /// Refuses a text that is too long to be planned within the node's memory.
    pub(super) fn check(&self, text: &str) -> Result<(), SqlError> {
        if text.len() <= self.text_bytes_max {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("the text has {} bytes", text.len()),
        )
        .detail(format!("With this node's memory a text may have {} bytes.", self.text_bytes_max))
        .hint("Send the rows in several statements, or raise the node's memory."))
    }
}

/// Whether a text is to be planned by [`plan_aside`].
pub(super) fn is_long(text: &str) -> bool {
    text.len() >= LONG_BYTES
}

/// Parses a long text, and plans it where it is one statement.
pub(super) async fn plan_aside(
    host: &Host,
    catalog: Arc<Catalog>,
    text: &str,
    scope: &SessionSettings,
    tables: SessionTablesThen,
) -> Result<LongText, SqlError> {
    let turn = host.planner.turn.acquire(1).await;
    let _turn = turn.map_err(|_closed| SqlError::internal("no turn to plan"))?;
    let work = Arc::new(Work { text: text.to_owned(), catalog, scope: scope.clone(), tables });
    let (tell, told) = flume::bounded(1);
    let aside = work.clone();
    let spawned = thread::spawn("planner", move || {
        // A session that was given up does not want to know.
        let _gone = tell.send(work_on(&aside));
    });
    match spawned {
        Ok(_runs) => told
            .recv_async()
            .await
            .unwrap_or_else(|_panicked| Err(SqlError::internal("planning broke off"))),
        Err(_no_thread) => work_on(&work),
    }
}

fn work_on(work: &Work) -> Result<LongText, SqlError> {
    let statements = parse(&work.text)?;
    match statements.as_slice() {
        [statement] => plan(statement, &work.catalog, &work.scope, &work.tables, &[])
            .map(|planned| LongText::One(Box::new(planned))),
        _ => Ok(LongText::Several(statements)),
    }
}
