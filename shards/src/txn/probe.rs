//! Unique keys that rows are about to claim: whether they are taken.

use super::locks::LockMode;
use super::naming::Locked;
use super::partition::Partition;
use super::store::stored;
use bytes::Bytes;
use model::error::SqlError;
use model::key::object_of;
use model::probe::{Probe, Probed};
use model::schema::Table;
use model::value::Value;
use std::rc::Rc;

impl Partition {
    /// Locks keys in their order, and says what is there. Those that are free stay locked, so that
    /// they can be claimed.
    pub(crate) async fn probe(self: &Rc<Self>, probe: Probe) -> Result<Vec<Probed>, SqlError> {
        let _entered = self.enter(probe.txn, probe.mark)?;
        if probe.keep {
            self.states.borrow_mut().keep_locks(probe.txn);
        }
        let mut probed = Vec::with_capacity(probe.keys.len());
        for key in &probe.keys {
            probed.push(self.probe_key(&probe, key).await?);
            runtime::task::yield_if_due().await;
        }
        self.wait_for_seen(probe.txn).await?;
        Ok(probed)
    }

    async fn probe_key(&self, probe: &Probe, key: &Bytes) -> Result<Probed, SqlError> {
        let (txn, table) = (probe.txn, &*probe.table);
        self.check_room()?;
        let held_before = self.context.locks.borrow().held(self.id, txn).len();
        let locked = Locked::In(table);
        self.lock(txn, key, LockMode::Exclusive, locked, probe.lock_timeout).await?;
        let Some(taken) = self.newest(txn, key).await? else { return Ok(Probed::Free) };
        if let Some(snapshot) = probe.snapshot {
            self.check_unchanged(txn, table, key, snapshot).await?;
        }
        if !probe.keep {
            // Whoever has the key goes on as if nobody had looked.
            self.context.unlock_key(self.id, txn, key, held_before);
        }
        Ok(Probed::Taken(primary_key(table, key, taken)))
    }
}

/// The primary key of the row that is, or has an entry, at a key.
fn primary_key(table: &Table, key: &[u8], taken: Bytes) -> Vec<Value> {
    let stored = stored(taken);
    let row = stored.row();
    let value = |at: usize| row.get(at).map_or(Value::Null, |value| value.to_value());
    match object_of(key) == Some(table.storage) {
        true => table.primary_key.iter().map(|&ordinal| value(ordinal)).collect(),
        false => (0..table.primary_key.len()).map(value).collect(),
    }
}
