//! Waits for changes of the schema, and of those for transactions in their tables, as `pg_locks` and
//! its kin show them: as PostgreSQL's locks on relations.

use super::backends::NodeView;
use super::tables::NamedRow;
use crate::catalog::oids;
use crate::router::gates::{GateReport, GateWait, Holder, InTheWay};
use crate::router::presence::Backend;
use model::id::ObjectId;
use model::value::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

impl NodeView {
    /// The waits of a session at the gates; a change has one on each core.
    fn gate_waits<'a>(&'a self, backend: &'a Backend) -> impl Iterator<Item = &'a GateReport> {
        self.gates.iter().filter(|report| match &report.wait {
            GateWait::Enter(holder, _) => *holder == Holder::Session(backend.process),
            GateWait::Close(change, ..) => backend.runs(*change),
        })
    }

    /// Whether a session waits for a change of the schema, or makes one that waits.
    pub(super) fn is_at_gate(&self, backend: &Backend) -> bool {
        self.gate_waits(backend).next().is_some()
    }

    /// The processes that a session waits for at the gates.
    pub(super) fn in_the_way_at_gates(&self, backend: &Backend) -> Vec<u32> {
        let mut processes = Vec::new();
        for report in self.gate_waits(backend) {
            match &report.in_the_way {
                InTheWay::Inside(holders) => {
                    processes.extend(holders.iter().filter_map(|holder| match holder {
                        Holder::Session(process) => Some(*process),
                        // None that could be ended.
                        Holder::Transaction(_) => None,
                    }));
                }
                InTheWay::Changes(changes) => {
                    let is_in_the_way =
                        |other: &&Backend| changes.iter().any(|change| other.runs(*change));
                    let makers = self.backends.iter().filter(is_in_the_way);
                    processes.extend(makers.map(|backend| backend.process));
                }
            }
        }
        processes
    }

    /// A row for each table that a session waits for.
    pub(super) fn gate_rows(&self, now_micros: i64) -> Vec<NamedRow> {
        let mut rows = Vec::new();
        for backend in &self.backends {
            let mut told = BTreeSet::new();
            for report in self.gate_waits(backend) {
                let (tables, mode): (&Arc<[ObjectId]>, _) = match &report.wait {
                    GateWait::Enter(_, tables) => (tables, "AccessShareLock"),
                    GateWait::Close(_, _, tables) => (tables, "AccessExclusiveLock"),
                };
                let waited = i64::try_from(report.waited.as_micros()).unwrap_or(i64::MAX);
                let since = now_micros.saturating_sub(waited);
                let new = tables.iter().filter(|table| told.insert(**table));
                rows.extend(new.map(|table| self.gate_row(backend, *table, mode, since)));
            }
        }
        rows
    }

    fn gate_row(&self, backend: &Backend, table: ObjectId, mode: &str, since: i64) -> NamedRow {
        let oid = |id: ObjectId| Value::Int(i64::from(oids::object(id)));
        let database = self.catalog.database(&backend.database);
        let transaction = backend.transaction.map(|(id, _)| id);
        vec![
            ("locktype", Value::text("relation")),
            ("database", database.map_or(Value::Null, |database| oid(database.id))),
            ("relation", oid(table)),
            ("virtualtransaction", Value::from(transaction.map(|id| id.to_string()))),
            ("pid", Value::Int(i64::from(backend.process))),
            ("mode", Value::text(mode)),
            ("granted", Value::Bool(false)),
            ("fastpath", Value::Bool(false)),
            ("waitstart", Value::Timestamp(since)),
        ]
    }
}
