//! What a statement gave, all of it.

use crate::{Columns, Error, Event, Row};
use net::message::Report;
use net::rows::RowBatch;
use std::sync::Arc;

/// One statement's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The columns, where the statement yields rows.
    pub columns: Option<Columns>,
    /// The rows.
    pub rows: Vec<Row>,
    /// PostgreSQL's command tag: `INSERT 0 1`.
    pub tag: String,
    /// Rows returned or changed.
    pub affected: u64,
    /// Notices that came with it.
    pub notices: Vec<Arc<Report>>,
}

/// Gathers the events of one answer into outcomes, one a statement.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    done: Vec<Outcome>,
    columns: Option<Columns>,
    rows: Vec<Row>,
    notices: Vec<Arc<Report>>,
}

impl Collector {
    /// For the answer to a prepared statement: its columns are known.
    pub(crate) fn with_columns(columns: &Columns) -> Collector {
        let columns = (!columns.is_empty()).then(|| Arc::clone(columns));
        Collector { columns, ..Collector::default() }
    }

    /// Takes one event.
    pub(crate) fn push(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Columns(columns) => self.columns = Some(columns),
            Event::Rows(batch) => {
                let columns = self.columns.as_ref().ok_or(UNDESCRIBED)?;
                read_rows(columns, &batch, &mut self.rows)?;
            }
            Event::Complete(complete) => self.done.push(Outcome {
                columns: self.columns.take(),
                rows: std::mem::take(&mut self.rows),
                tag: complete.tag,
                affected: complete.rows,
                notices: std::mem::take(&mut self.notices),
            }),
            Event::Notice(report) => self.notices.push(report),
            Event::Prepared(_) => return Err(Error::OutOfPlace("a statement nobody prepared")),
        }
        Ok(())
    }

    /// All outcomes.
    pub(crate) fn finish(self) -> Vec<Outcome> {
        self.done
    }

    /// The only outcome.
    pub(crate) fn finish_one(mut self) -> Result<Outcome, Error> {
        self.done.pop().ok_or(Error::OutOfPlace("an answer without a completed statement"))
    }
}

const UNDESCRIBED: Error = Error::OutOfPlace("rows without a description");

/// Appends the rows of a batch.
///
/// # Errors
/// The batch is malformed, or not as wide as the columns.
pub fn read_rows(columns: &Columns, batch: &RowBatch, rows: &mut Vec<Row>) -> Result<(), Error> {
    if usize::from(batch.columns()) != columns.len() {
        return Err(Error::OutOfPlace("rows that are not as wide as their description"));
    }
    let malformed =
        |cause| net::frame::FrameError::Malformed { kind: net::frame::Kind::Rows, cause };
    let mut reader = batch.reader();
    let mut values = Vec::new();
    rows.reserve(batch.rows() as usize);
    while reader.next_row(&mut values).map_err(malformed)? {
        let owned = values.iter().map(model::value::ValueRef::to_value).collect();
        rows.push(Row::new(Arc::clone(columns), owned));
    }
    Ok(())
}
