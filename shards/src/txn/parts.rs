//! Ending a transaction that is too large for one command of the log: what it has staged goes there
//! in parts, and the commit or vote that follows is small.
//!
//! Its time is taken when all parts are durable: nobody waits for it before that.

use super::locks::Span;
use super::partition::Partition;
use super::requests::{WRITE_BYTES, accepted, applied};
use super::state::lock_part;
use bytes::Bytes;
use model::command::Command;
use model::error::SqlError;
use model::id::{PartitionId, TxnId};
use model::time::Timestamp;
use runtime::task;

/// Locks are looked at so many at a time, between which other tasks run.
const LOOK_KEYS: usize = 512;

/// A transaction whose parts are on their way. Dropped before its commit or vote is proposed, it is
/// rolled back: whoever waited for it has gone, or its parts did not get into the log.
struct Logging<'a> {
    partition: &'a Partition,
    txn: TxnId,
}

impl Drop for Logging<'_> {
    fn drop(&mut self) {
        let is_logging = self.partition.states.borrow().is_logging(self.txn);
        if is_logging {
            self.partition.abandon(self.txn);
            self.partition.states.borrow_mut().expel(self.txn);
        }
    }
}

impl Partition {
    /// Whether a transaction that staged so much goes through the log in parts.
    pub(super) fn is_large(&self, txn: TxnId, bytes: usize, writes: usize) -> bool {
        let locked = self.context.locked_bytes(self.id, txn);
        bytes + writes * WRITE_BYTES + locked > self.context.options.part_bytes
    }

    /// As [`Partition::commit_one_phase`].
    pub(super) async fn commit_in_parts(
        &self,
        txn: TxnId,
        not_after: Timestamp,
    ) -> Result<Timestamp, SqlError> {
        let _logging = self.log_in_parts(txn, false).await?;
        let room = self.room(0).await?;
        let at = self.commit_time(txn, not_after)?;
        let command = self.states.borrow_mut().commit_staged(txn, at);
        let command = command.map_err(|refusal| self.refuse(txn, refusal))?;
        applied(self.context.log().propose(room, self.id, command).await)?;
        Ok(at)
    }

    /// As [`Partition::prepare`].
    pub(super) async fn prepare_in_parts(
        &self,
        txn: TxnId,
        anchor: PartitionId,
    ) -> Result<Timestamp, SqlError> {
        let _logging = self.log_in_parts(txn, true).await?;
        let room = self.room(0).await?;
        let at = self.context.now();
        let command = self.states.borrow_mut().prepare_staged(txn, at, anchor);
        let command = command.map_err(|refusal| self.refuse(txn, refusal))?;
        accepted(self.context.log().propose(room, self.id, command).await)?;
        Ok(at)
    }

    /// Writes what a transaction has staged to the log, and the locks that must outlive a restart.
    /// Returns when all of it is durable.
    async fn log_in_parts(&self, txn: TxnId, with_locks: bool) -> Result<Logging<'_>, SqlError> {
        let begun = self.states.borrow_mut().begin_logging(txn);
        begun.map_err(|refusal| self.refuse(txn, refusal))?;
        let logging = Logging { partition: self, txn };
        let mut locks = match with_locks {
            true => self.locks_besides_staged(txn).await,
            false => Vec::new(),
        };
        let part_bytes = self.context.options.part_bytes;
        let mut after = None;
        let mut first = true;
        let mut proposals = Vec::new();
        loop {
            let writes = self.states.borrow().staged_part(txn, after.as_ref(), part_bytes);
            let locks = lock_part(&mut locks, part_bytes);
            if writes.is_empty() && locks.is_empty() {
                break;
            }
            after = writes.last().map(|write| write.key.clone()).or(after);
            let command = Command::Stage { txn, first, writes, locks };
            let room = self.room(crate::log::encoded_bytes(&command)).await?;
            proposals.push(self.context.log().propose(room, self.id, command));
            first = false;
        }
        for proposal in proposals {
            accepted(proposal.await)?;
        }
        Ok(logging)
    }

    async fn locks_besides_staged(&self, txn: TxnId) -> Vec<Bytes> {
        let mut kept = Vec::new();
        let mut seen = 0;
        loop {
            let looked = {
                let (states, locks) = (self.states.borrow(), self.context.locks.borrow());
                let held = locks.held(self.id, txn).iter().skip(seen).take(LOOK_KEYS);
                let mut looked = 0;
                for span in held {
                    looked += 1;
                    if let Span::Key(key) = span
                        && states.staged(txn, key).is_none()
                    {
                        kept.push(key.clone());
                    }
                }
                looked
            };
            if looked == 0 {
                return kept;
            }
            seen += looked;
            task::yield_if_due().await;
        }
    }
}
