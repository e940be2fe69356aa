//! The registry of nodes and replicas, by SQL of our own: see [`crate::cluster::registry`].
//!
//! Only the leader of the system partition writes it, and each row only with a greater version than it
//! has: one who leads no more and does not know it yet changes nothing.

use super::Router;
use crate::cluster::registry::{NodeRecord, PartitionRecord, Registry, Unreadable};
use model::error::{SqlError, SqlState};
use model::value::Value;

const NODES: &str = "SELECT id, native, pg, cores, locality, software, starts, wanted, registered, \
    version FROM phantom.node_registry";
const REPLICAS: &str = "SELECT id, voters, learners, version FROM phantom.replicas";
const RECORD_NODE: &str = "INSERT INTO phantom.node_registry \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
    ON CONFLICT (id) DO UPDATE SET native = excluded.native, pg = excluded.pg, \
    cores = excluded.cores, locality = excluded.locality, software = excluded.software, \
    starts = excluded.starts, wanted = excluded.wanted, version = excluded.version \
    WHERE node_registry.version < excluded.version";
const RECORD_REPLICAS: &str = "INSERT INTO phantom.replicas VALUES ($1, $2, $3, $4) \
    ON CONFLICT (id) DO UPDATE SET voters = excluded.voters, learners = excluded.learners, \
    version = excluded.version WHERE replicas.version < excluded.version";

impl Router {
    /// All rows, of which no two are of different moments in a way that matters: each names the
    /// version that it is of.
    ///
    /// # Errors
    /// The system partition cannot be read, or a row is of an unknown form (XX001).
    pub async fn registry(&self) -> Result<Registry, SqlError> {
        let (_, nodes) = self.own(NODES, Vec::new(), None).await?;
        let (_, replicas) = self.own(REPLICAS, Vec::new(), None).await?;
        let nodes = nodes.iter().map(|row| NodeRecord::from_row(row));
        let replicas = replicas.iter().map(|row| PartitionRecord::from_row(row));
        Ok(Registry::new(
            nodes.collect::<Result<Vec<_>, _>>().map_err(corrupted)?,
            replicas.collect::<Result<Vec<_>, _>>().map_err(corrupted)?,
        ))
    }

    /// Writes a node's row, which has the worker look.
    ///
    /// # Errors
    /// Somebody has written a later one (40001), or it cannot be written.
    pub async fn record_node(&self, node: &NodeRecord) -> Result<(), SqlError> {
        self.record(RECORD_NODE, node.to_row()).await?;
        self.wake_worker();
        Ok(())
    }

    /// Writes where a partition's replicas are.
    ///
    /// # Errors
    /// As [`Router::record_node`].
    pub async fn record_replicas(&self, partition: &PartitionRecord) -> Result<(), SqlError> {
        self.record(RECORD_REPLICAS, partition.to_row()).await
    }

    async fn record(&self, text: &'static str, row: Vec<Value>) -> Result<(), SqlError> {
        let (written, _) = self.own(text, row, None).await?;
        match written {
            0 => Err(SqlError::new(
                SqlState::SERIALIZATION_FAILURE,
                "the registry of the cluster has changed since it was read",
            )),
            _ => Ok(()),
        }
    }
}

fn corrupted(error: Unreadable) -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::sql::plan_of_system;

    #[test]
    fn the_statements_fit_the_tables() {
        let catalog = Catalog::bootstrap();
        for text in [NODES, REPLICAS, RECORD_NODE, RECORD_REPLICAS] {
            if let Err(error) = plan_of_system(text, &catalog) {
                panic!("{text}: {error}");
            }
        }
    }
}
