//! A partition as the state machine of its group: what is decided is applied to it, in the order of the
//! log, on every replica alike.

use super::core_log::CoreLog;
use super::group::Leading;
use super::life::Life;
use super::network::Files;
use super::types::{Batch, LogId, Partitions};
use crate::log::decode_all;
use crate::storage::{Checkpoint, Contents, ReceiveError, Receiver, StorageError};
use futures::future::LocalBoxFuture;
use futures::{Stream, StreamExt};
use model::command::Command;
use model::id::{LogIndex, NodeId, PartitionId, Term};
use openraft::alias::{SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};
use std::io;
use std::rc::Rc;

/// The partitions of a core, as their groups see them.
pub(crate) trait Applier {
    /// Applies the commands of an entry.
    fn apply(
        &self,
        partition: PartitionId,
        index: LogIndex,
        commands: Vec<Command>,
    ) -> LocalBoxFuture<'_, ()>;

    /// A term begins with the entry at `index`: what earlier leaders have left unfinished will never
    /// be finished. `led`: this node leads in it.
    fn term_begins(&self, partition: PartitionId, index: LogIndex, led: Option<Term>);

    /// An entry without commands was applied.
    fn passed(&self, partition: PartitionId, index: LogIndex);

    /// Who leads the group, as far as is known.
    fn led(&self, partition: PartitionId, leading: Leading);

    /// Whether its table files are damaged so that it has opened without them.
    fn is_damaged(&self, partition: PartitionId) -> bool;

    /// The last entry that was applied.
    fn applied(&self, partition: PartitionId) -> LogIndex;

    /// What the log holds of a partition up to `index` is on the disk.
    fn durable(&self, partition: PartitionId, index: LogIndex);

    /// The last entry that the log may let go, with all before it.
    fn needless_to(&self, partition: PartitionId) -> LogIndex;

    /// Keeps the log after `index` for as long as what it gives is held.
    fn hold_log(&self, partition: PartitionId, index: LogIndex) -> Held;

    /// The partition as files.
    fn checkpoint(
        &self,
        partition: PartitionId,
    ) -> LocalBoxFuture<'_, Result<Checkpoint, StorageError>>;

    /// Begins to receive a partition as files, or goes on with it.
    fn receive(
        &self,
        partition: PartitionId,
        contents: Contents,
    ) -> LocalBoxFuture<'_, Result<Receiver, ReceiveError>>;

    /// An entry is applied, and with it all before it in the log as it was decided.
    fn decided(&self, partition: PartitionId, id: LogId);

    /// The partition's files were replaced: what was known besides them counts no more.
    fn replaced(&self, partition: PartitionId);
}

/// Keeps a part of a log.
pub(crate) struct Held(pub(crate) Option<Box<dyn FnOnce()>>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(let_go) = self.0.take() {
            let_go();
        }
    }
}

/// One partition's state machine.
#[derive(Clone)]
pub(crate) struct Machine {
    partition: PartitionId,
    node: NodeId,
    log: CoreLog,
    applier: Rc<dyn Applier>,
    life: Life,
    /// The term that the log knew when this life began: who led up to it has left nothing but what the
    /// log says.
    term_at_start: u64,
    applied: Option<LogId>,
    voters: StoredMembershipOf<Partitions>,
    /// Files were replaced, and the log was not read again to where it was applied: nothing may be built on
    /// that.
    is_torn: bool,
}

impl Machine {
    /// A partition at the state that its table files and the log before them make: everything up to
    /// the last entry that table files hold is applied.
    ///
    /// # Errors
    /// What cannot be read, or makes no sense.
    pub(super) async fn recover(
        partition: PartitionId,
        node: NodeId,
        log: CoreLog,
        applier: Rc<dyn Applier>,
        life: Life,
    ) -> io::Result<Machine> {
        let durable = applier.applied(partition).0;
        let (purged, last) = log.state(partition);
        // Files that were received hold more than the log that came after them so far.
        let mut reached = last.map_or(0, |last| last.index).min(durable);
        let mut applied = (reached > 0).then(|| log.id_at(partition, reached)).flatten();
        if purged > applied && applier.is_damaged(partition) {
            // Its files will be another replica's, which hold at least that. Its log is whole: until then
            // it votes and follows as before.
            (reached, applied) = (purged.map_or(0, |purged| purged.index), purged);
        }
        if purged > applied {
            let what = format!(
                "table files of partition {partition} end at entry {durable}, and its log begins \
                 after entry {}",
                purged.map_or(0, |purged| purged.index)
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let voters = log.voters_at(partition, reached);
        let voters = voters
            .filter(|_| applied.is_some())
            .map_or_else(StoredMembershipOf::<Partitions>::default, |(id, voters)| {
                StoredMembershipOf::<Partitions>::new(Some(id), voters)
            });
        let term_at_start = log.vote(partition).map_or(0, |vote| vote.leader_id.term);
        let mut machine = Machine {
            partition,
            node,
            log,
            applier,
            life,
            term_at_start,
            applied,
            voters,
            is_torn: false,
        };
        machine.recover_states(reached).await?;
        Ok(machine)
    }

    /// Applies what table files hold: it changes nothing there, and leaves votes and decisions.
    async fn recover_states(&mut self, reached: u64) -> io::Result<()> {
        let mut from = 0;
        while from <= reached {
            let entries =
                self.log.entries(self.partition, from, reached + 1, READ_BYTES_MAX).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            from = last.log_id.index + 1;
            for entry in entries {
                self.apply_entry(entry.log_id, entry.payload).await?;
            }
        }
        Ok(())
    }

    /// Puts files of another replica in the place of this one's, which are damaged, and applies what the log
    /// holds of what was applied: of the rest the files know.
    pub(super) async fn mend(&mut self, receiver: Receiver) -> io::Result<()> {
        let _working = self.life.work()?;
        let (purged, _) = self.log.state(self.partition);
        let holds = receiver.contents().applied_index();
        if holds.0 < purged.map_or(0, |purged| purged.index) {
            let what =
                format!("the files end at entry {holds}, after which the log has no entries");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let installed = receiver.install().await;
        installed.map_err(|error| io::Error::other(error.to_string()))?;
        self.is_torn = true;
        self.applier.replaced(self.partition);
        let reached = self.applied.map_or(0, |applied| applied.index);
        self.recover_states(reached).await?;
        self.is_torn = false;
        Ok(())
    }

    async fn apply_entry(
        &mut self,
        id: LogId,
        payload: EntryPayload<Batch, u64, openraft::EmptyNode>,
    ) -> io::Result<()> {
        let (partition, index) = (self.partition, LogIndex(id.index));
        match payload {
            EntryPayload::Normal(batch) => {
                let commands = decode_all(batch.count, batch.commands).ok_or_else(|| {
                    let what = format!("entry {index} of partition {partition} makes no sense");
                    io::Error::new(io::ErrorKind::InvalidData, what)
                })?;
                self.applier.apply(partition, index, commands).await;
            }
            EntryPayload::Blank => {
                let term = id.committed_leader_id().term;
                let leads = self.log.vote(partition).is_some_and(|vote| {
                    vote.leader_id.term == term
                        && vote.leader_id.voted_for == u64::from(self.node.0)
                });
                let led = (leads && term > self.term_at_start).then_some(Term(term));
                self.applier.term_begins(partition, index, led);
            }
            EntryPayload::Membership(voters) => {
                self.voters = StoredMembershipOf::<Partitions>::new(Some(id), voters);
                self.applier.passed(partition, index);
            }
        }
        // It may have been applied before it was on this disk.
        let durable = self.log.durable(partition).unwrap_or_default();
        self.applier.durable(partition, LogIndex(durable.min(id.index)));
        Ok(())
    }

    fn snapshot(&self) -> SnapshotOf<Partitions, Files> {
        let applied = self.applied.map_or(0, |applied| applied.index);
        // Of damaged files nobody knows how far they reach, but the log has let go for their sake.
        let purged = self.log.state(self.partition).0.map_or(0, |purged| purged.index);
        let needless = self.applier.needless_to(self.partition).0.max(purged).min(applied);
        // The first entry says who takes part and changes nothing: nothing is needless before it is there.
        let last_log_id =
            (needless > 0).then(|| self.log.id_at(self.partition, needless)).flatten();
        let voters = last_log_id.and_then(|_| self.log.voters_at(self.partition, needless));
        let last_membership = voters
            .map_or_else(StoredMembershipOf::<Partitions>::default, |(id, voters)| {
                StoredMembershipOf::<Partitions>::new(Some(id), voters)
            });
        let meta = SnapshotMetaOf::<Partitions> { last_log_id, last_membership };
        SnapshotOf::<Partitions, Files> { meta, snapshot: Files::Own }
    }
}

/// What is read of the log at a time, in bytes.
const READ_BYTES_MAX: usize = 1 << 20;

/// A snapshot is what table files hold already: to make one says only how far the log may be let go.
impl RaftSnapshotBuilder<Partitions> for Machine {
    type SnapshotData = Files;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Partitions, Files>> {
        let _working = self.life.work()?;
        Ok(self.snapshot())
    }
}

impl RaftStateMachine<Partitions> for Machine {
    type SnapshotData = Files;
    type SnapshotBuilder = Machine;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogId>, StoredMembershipOf<Partitions>)> {
        Ok((self.applied, self.voters.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Partitions>>> + Unpin,
    {
        if self.is_torn {
            return Err(io::Error::other(
                "entries are missing before those that are to be applied",
            ));
        }
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let _working = self.life.work()?;
            self.apply_entry(entry.log_id, entry.payload).await?;
            self.applied = Some(entry.log_id);
            self.applier.decided(self.partition, entry.log_id);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Partitions>,
        files: Files,
    ) -> io::Result<()> {
        if let Files::Received(receiver) = files {
            let _working = self.life.work()?;
            let installed = receiver.install().await;
            installed.map_err(|error| io::Error::other(error.to_string()))?;
            self.applier.replaced(self.partition);
            self.applied = meta.last_log_id;
            self.voters = meta.last_membership.clone();
            if let Some(said) = *self.voters.log_id() {
                let base = (said, self.voters.membership().clone());
                self.log.take_base(self.partition, base);
            }
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Partitions, Files>>> {
        let _working = self.life.work()?;
        Ok(Some(self.snapshot()))
    }
}
