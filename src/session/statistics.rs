//! `phantom.statistics` and `pg_stat_database`: what has become of transactions.

use super::backends::NodeView;
use super::tables::NamedRow;
use crate::catalog::oids;
use crate::router::statistics::{Counted, Counts};
use model::id::ObjectId;
use model::value::Value;

impl NodeView {
    /// The rows of `phantom.statistics`: one for each core and database that somebody has used there,
    /// and one for each core's own transactions.
    pub(super) fn statistics_rows(&self) -> Vec<NamedRow> {
        self.statistics.iter().filter_map(|counted| self.statistics_row(counted)).collect()
    }

    fn statistics_row(&self, counted: &Counted) -> Option<NamedRow> {
        let database = match counted.database {
            Some(id) => {
                Value::text(self.catalog.databases().find(|(_, known)| known.id == id)?.0.as_str())
            }
            None => Value::Null,
        };
        let Counts { commits, rollbacks, retries, .. } = counted.counts;
        let Counts { serialization_failures, deadlocks, lock_timeouts, damages, .. } =
            counted.counts;
        Some(vec![
            ("core", Value::Int(i64::from(counted.place.core.0))),
            ("database", database),
            ("commits", count(commits)),
            ("rollbacks", count(rollbacks)),
            ("retries", count(retries)),
            ("serialization_failures", count(serialization_failures)),
            ("deadlocks", count(deadlocks)),
            ("lock_timeouts", count(lock_timeouts)),
            ("damages", count(damages)),
        ])
    }

    /// The rows of `pg_stat_database`: one for each database.
    pub(super) fn database_rows(&self) -> Vec<NamedRow> {
        let databases = self.catalog.databases();
        databases.map(|(name, database)| self.database_row(name, database.id)).collect()
    }

    fn database_row(&self, name: &str, id: ObjectId) -> NamedRow {
        let mut all = Counts::default();
        let its = self.statistics.iter().filter(|counted| counted.database == Some(id));
        its.for_each(|counted| all.add(counted.counts));
        let sessions = self.backends.iter().filter(|backend| *backend.database == *name);
        vec![
            ("datid", Value::Int(i64::from(oids::object(id)))),
            ("datname", Value::text(name)),
            ("numbackends", Value::Int(i64::try_from(sessions.count()).unwrap_or(i64::MAX))),
            ("xact_commit", count(all.commits)),
            ("xact_rollback", count(all.rollbacks)),
            ("deadlocks", count(all.deadlocks)),
        ]
    }
}

fn count(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
