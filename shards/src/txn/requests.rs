//! What a partition answers: a handler a request.

use super::context::timed_out;
use super::partition::{Partition, storage_error};
use super::state::{Phase, Refusal, Returned};
use crate::log::{LogError, Reserved};
use model::command::{Command, Effect, Fragment, Modified, Outcome};
use model::error::{SqlError, SqlState};
use model::id::{LogIndex, Mark, PartitionId, TxnId};
use model::placement::Place;
use model::time::Timestamp;
use runtime::time;
use std::rc::Rc;
use std::time::Duration;

/// What a command costs in the log besides its keys and values, in bytes.
const COMMAND_BYTES: usize = 64;

/// A rollback to a mark takes so many keys back at once, between which other tasks run.
const RETURN_KEYS: usize = 512;

/// What a transaction is told that would commit later than what it has read is kept for.
const READ_LOST: &str = "what the transaction has read may have changed before it could commit";

/// A partition's answer to whether a transaction may commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ballot {
    /// At this timestamp, or later.
    Yes(Timestamp),
    /// It stands aside, and keeps what was read for commits up to this timestamp.
    Aside(Timestamp),
}

/// What a key and its value cost besides themselves.
pub(super) const WRITE_BYTES: usize = 8;

impl Partition {
    /// Runs a change, and commits it at once where that is asked and possible.
    pub(crate) async fn write(
        self: &Rc<Self>,
        fragment: &Fragment,
        commit: bool,
        mark: Option<Mark>,
    ) -> Result<Modified, SqlError> {
        let txn = match fragment.txn {
            Some(txn) => txn,
            None => return Err(SqlError::internal("a change needs a transaction")),
        };
        let changed = {
            let _entered = self.enter(txn, mark)?;
            match self.run_modify(txn, fragment).await {
                // Nothing is told but how many rows there were, or nothing before the commit.
                Ok(modified)
                    if modified.effects.is_empty() && (commit || modified.returning.is_empty()) =>
                {
                    Ok(modified)
                }
                told => self.wait_for_seen(txn).await.and(told),
            }
        };
        let mut modified = match changed {
            Ok(modified) => modified,
            Err(error) => {
                if commit {
                    self.abandon(txn);
                }
                return Err(error);
            }
        };
        if commit && modified.effects.is_empty() {
            modified.committed = Some(self.commit_one_phase(txn, Timestamp::MAX).await?);
        }
        Ok(modified)
    }

    /// Stages what other partitions' changes mean here.
    pub(crate) async fn stage_effects(
        self: &Rc<Self>,
        txn: TxnId,
        effects: Vec<Effect>,
        mark: Option<Mark>,
        lock_timeout: Option<Duration>,
    ) -> Result<(), SqlError> {
        let _entered = self.enter(txn, mark)?;
        for effect in effects {
            if let Err(error) = self.stage_effect(txn, effect, lock_timeout).await {
                self.wait_for_seen(txn).await?;
                return Err(error);
            }
            runtime::task::yield_if_due().await;
        }
        Ok(())
    }

    /// Takes back what a transaction has staged and locked since a mark. Returns whether anything
    /// of it is left here; where nothing is, the partition has forgotten it.
    pub(crate) async fn roll_back_to(
        self: &Rc<Self>,
        txn: TxnId,
        mark: Mark,
    ) -> Result<bool, SqlError> {
        if !self.wait_at_rest(txn).await? {
            return Ok(false);
        }
        let entered = self.states.borrow_mut().enter(txn, time::now());
        entered.map_err(|refusal| self.refuse(txn, refusal))?;
        let entered = self.entered(txn);
        let mut locks = None;
        let kept = loop {
            let returned = self.states.borrow_mut().return_some(txn, mark, RETURN_KEYS, &mut locks);
            match returned {
                Returned::More => runtime::task::yield_if_due().await,
                Returned::To(kept) => break kept,
            }
        };
        if let Some(kept) = kept {
            self.context.unlock_to(self.id, txn, kept).await;
        }
        drop(entered);
        let locked = !self.context.locks.borrow().held(self.id, txn).is_empty();
        if locked || !self.states.borrow().has_staged_nothing(txn) {
            return Ok(true);
        }
        self.wait_for_seen(txn).await?;
        self.end(txn);
        Ok(false)
    }

    /// Waits until no request of a transaction is in progress: one that was given up may still be.
    /// `false`: it is not known here.
    async fn wait_at_rest(&self, txn: TxnId) -> Result<bool, SqlError> {
        let since = time::now();
        loop {
            let at_rest = self.states.borrow().is_at_rest(txn);
            match at_rest {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(Refusal::Unknown) => return Ok(false),
                Err(refusal) => return Err(self.refuse(txn, refusal)),
            }
            let left = self.context.options.lock_timeout.saturating_sub(since.elapsed());
            if time::timeout(left, self.wait_left(txn)).await.is_err() {
                return Err(timed_out(
                    "A statement of the transaction that was given up still runs",
                    since.elapsed(),
                ));
            }
        }
    }

    /// Commits a transaction that has written here only, not later than `not_after`. Its writes are visible
    /// when it returns.
    ///
    /// Its locks go before that, when its commit has its place in the log: who has waited for a row
    /// need not wait for the disk, and its own commit or vote comes behind this one, in this log.
    pub(crate) async fn commit_one_phase(
        &self,
        txn: TxnId,
        not_after: Timestamp,
    ) -> Result<Timestamp, SqlError> {
        let (bytes, writes) = self.ready_to_end(txn)?;
        self.forget_marks(txn);
        if writes == 0 {
            self.wait_for_seen(txn).await?;
            self.ready_to_end(txn)?;
            self.end(txn);
            return Ok(self.context.now());
        }
        if self.is_large(txn, bytes, writes) {
            self.wait_for_seen(txn).await?;
            return self.commit_in_parts(txn, not_after).await;
        }
        let room = self.room(bytes + writes * WRITE_BYTES).await?;
        let at = self.commit_time(txn, not_after)?;
        let command = self.states.borrow_mut().commit(txn, at);
        let command = command.map_err(|refusal| self.refuse(txn, refusal))?;
        let proposal = self.context.log().propose(room, self.id, command);
        self.context.unlock(self.id, txn);
        applied(proposal.await)?;
        Ok(at)
    }

    /// A fresh timestamp to commit at. One that is too late ends the transaction.
    pub(super) fn commit_time(
        &self,
        txn: TxnId,
        not_after: Timestamp,
    ) -> Result<Timestamp, SqlError> {
        let at = self.context.now();
        if at <= not_after {
            return Ok(at);
        }
        self.abandon(txn);
        Err(SqlError::new(SqlState::SERIALIZATION_FAILURE, READ_LOST)
            .detail("It has taken longer than the lease of a leader that it had read from.")
            .hint("Retry the transaction."))
    }

    /// Keeps the locks of a transaction that has only read here until it is told of the outcome:
    /// what it has read may be changed once it is known at which time the transaction has committed,
    /// and later than that. Returns up to which time they are good: another leader does not know them.
    pub(crate) async fn stand_aside(&self, txn: TxnId) -> Result<Timestamp, SqlError> {
        self.wait_for_seen(txn).await?;
        let (_, writes) = self.ready_to_end(txn)?;
        if writes > 0 {
            return Err(SqlError::internal("a partition stands aside with writes"));
        }
        self.forget_marks(txn);
        let until = self.held_until();
        self.states.borrow_mut().stand_aside(txn, until);
        Ok(until)
    }

    /// Votes to commit, durably; or stands aside, where nothing was written or required here. The anchor
    /// always votes.
    pub(crate) async fn prepare(
        &self,
        txn: TxnId,
        anchor: PartitionId,
    ) -> Result<Ballot, SqlError> {
        let voted = self.states.borrow().vote(txn).map(|vote| (vote.at, vote.index.0 > 0));
        if let Some((at, true)) = voted {
            return Ok(Ballot::Yes(at));
        }
        let (bytes, writes) = self.ready_to_end(txn)?;
        self.forget_marks(txn);
        if self.is_large(txn, bytes, writes) {
            self.wait_for_seen(txn).await?;
            return self.prepare_in_parts(txn, anchor).await.map(Ballot::Yes);
        }
        if writes == 0 && anchor != self.id && !self.states.borrow().requires(txn) {
            self.wait_for_seen(txn).await?;
            self.ready_to_end(txn)?;
            let until = self.held_until();
            self.states.borrow_mut().stand_aside(txn, until);
            return Ok(Ballot::Aside(until));
        }
        let locks = self.locks_besides_writes(txn);
        let lock_bytes = locks.iter().map(|key| key.len() + WRITE_BYTES).sum::<usize>();
        let room = self.room(bytes + writes * WRITE_BYTES + lock_bytes).await?;
        let at = self.context.now();
        let command = self.states.borrow_mut().prepare(txn, at, anchor, locks);
        let command = command.map_err(|refusal| self.refuse(txn, refusal))?;
        accepted(self.context.log().propose(room, self.id, command).await)?;
        Ok(Ballot::Yes(at))
    }

    fn locks_besides_writes(&self, txn: TxnId) -> Vec<bytes::Bytes> {
        let (states, locks) = (self.states.borrow(), self.context.locks.borrow());
        let held = locks.held_keys(self.id, txn);
        held.filter(|key| states.staged(txn, key).is_none()).cloned().collect()
    }

    /// As the anchor: decides to commit, unless the transaction is not prepared here any more.
    pub(crate) async fn decide(
        &self,
        txn: TxnId,
        commit: Timestamp,
        participants: Vec<PartitionId>,
    ) -> Result<Outcome, SqlError> {
        self.context.follow(commit);
        if let Some(outcome) = self.known_outcome(txn) {
            return Ok(outcome);
        }
        let outcome = Outcome::Committed(commit);
        let room = self.room_to_end(COMMAND_BYTES + 4 * participants.len()).await?;
        let command = Command::Decide { txn, outcome, participants, again: false };
        applied(self.context.log().propose(room, self.id, command).await)?;
        Ok(self.states.borrow().decision(txn).map_or(Outcome::Aborted, |known| known.outcome))
    }

    /// What the anchor knows without asking its log: a decision, or that there will be none.
    fn known_outcome(&self, txn: TxnId) -> Option<Outcome> {
        let states = self.states.borrow();
        if let Some(decision) = states.decision(txn) {
            return Some(decision.outcome);
        }
        match states.get(txn).map(|known| &known.phase) {
            Some(Phase::Prepared | Phase::Preparing | Phase::Finishing(_)) => None,
            Some(Phase::Active | Phase::Aside(_) | Phase::Logging | Phase::Committing) | None => {
                Some(Outcome::Aborted)
            }
        }
    }

    /// As a participant: carries an outcome out. Repeats do no harm.
    pub(crate) async fn finish(&self, txn: TxnId, outcome: Outcome) -> Result<(), SqlError> {
        if let Outcome::Committed(at) = outcome {
            self.context.follow(at);
        }
        loop {
            let phase = self.states.borrow().get(txn).map(|known| known.phase.clone());
            match (phase, outcome) {
                (None, Outcome::Aborted) => {
                    self.states.borrow_mut().pardon(txn);
                    return Ok(());
                }
                (None, Outcome::Committed(_)) => return Ok(()),
                (Some(Phase::Aside(_)), _) => {
                    self.end(txn);
                    return Ok(());
                }
                (Some(Phase::Active | Phase::Logging), Outcome::Aborted) => {
                    self.abandon(txn);
                    return Ok(());
                }
                (
                    Some(Phase::Active | Phase::Logging | Phase::Preparing),
                    Outcome::Committed(_),
                ) => {
                    return Err(self.refuse(txn, Refusal::Ending));
                }
                (Some(Phase::Prepared), _) | (Some(Phase::Preparing), Outcome::Aborted) => {
                    let room = self.room_to_end(COMMAND_BYTES).await?;
                    let command = self.states.borrow_mut().finish(txn, outcome);
                    if let Some(command) = command {
                        applied(self.context.log().propose(room, self.id, command).await)?;
                        return Ok(());
                    }
                }
                (Some(Phase::Committing | Phase::Finishing(_)), _) => {
                    self.wait_ended(txn)?.await;
                }
            }
        }
    }

    /// Forgets what a transaction has staged here. `false`: it has voted, and its anchor must be
    /// asked.
    pub(crate) async fn rollback(&self, txn: TxnId) -> Result<bool, SqlError> {
        loop {
            let phase = self.states.borrow().get(txn).map(|known| known.phase.clone());
            match phase {
                None => {
                    self.states.borrow_mut().pardon(txn);
                    return Ok(true);
                }
                Some(Phase::Active | Phase::Aside(_) | Phase::Logging) => {
                    self.abandon(txn);
                    return Ok(true);
                }
                Some(Phase::Committing | Phase::Finishing(_)) => self.wait_ended(txn)?.await,
                Some(Phase::Preparing | Phase::Prepared) => return Ok(false),
            }
        }
    }

    /// As the anchor: what was decided? If nothing was, the transaction is aborted now.
    pub(crate) async fn resolve(&self, txn: TxnId) -> Result<Outcome, SqlError> {
        if let Some(decision) = self.states.borrow().decision(txn) {
            return Ok(decision.outcome);
        }
        let undecided = |phase: &Phase| matches!(phase, Phase::Active | Phase::Logging);
        if self.states.borrow().get(txn).is_some_and(|known| undecided(&known.phase)) {
            // Its coordinator must not go on with it as if this had not been answered.
            self.abandon(txn);
            self.states.borrow_mut().expel(txn);
            return Ok(Outcome::Aborted);
        }
        self.finish_undecided(txn).await?;
        Ok(self.states.borrow().decision(txn).map_or(Outcome::Aborted, |known| known.outcome))
    }

    /// Has the log say whether a transaction that is prepared here was decided before this.
    async fn finish_undecided(&self, txn: TxnId) -> Result<(), SqlError> {
        loop {
            let phase = self.states.borrow().get(txn).map(|known| known.phase.clone());
            match phase {
                None | Some(Phase::Active | Phase::Aside(_) | Phase::Logging) => return Ok(()),
                Some(Phase::Finishing(_) | Phase::Committing) => self.wait_ended(txn)?.await,
                Some(Phase::Prepared | Phase::Preparing) => {
                    let room = self.room_to_end(COMMAND_BYTES).await?;
                    let command = self.states.borrow_mut().finish(txn, Outcome::Aborted);
                    if let Some(command) = command {
                        applied(self.context.log().propose(room, self.id, command).await)?;
                        return Ok(());
                    }
                }
            }
        }
    }

    /// As the anchor: forgets a decision that every participant has carried out.
    pub(crate) async fn forget(&self, txn: TxnId) -> Result<(), SqlError> {
        if self.states.borrow().decision(txn).is_none() {
            return Ok(());
        }
        let room = self.room_to_end(COMMAND_BYTES).await?;
        let command = Command::Forget { txn };
        applied(self.context.log().propose(room, self.id, command).await).map(drop)
    }

    /// Writes votes and decisions that lie at `upto` or before it to the log again, so that the log may
    /// let go of what is there.
    pub(crate) async fn carry(&self, upto: LogIndex) -> Result<(), SqlError> {
        let commands = self.states.borrow().to_carry(upto);
        for command in commands {
            let bytes = crate::log::encoded_bytes(&command);
            let room = self.room_to_end(bytes).await?;
            // It may have ended while this waited.
            let txn = txn_of(&command);
            let open = {
                let states = self.states.borrow();
                match command {
                    Command::Prepare { .. } => {
                        states.get(txn).is_some_and(|known| known.phase == Phase::Prepared)
                    }
                    _ => states.decision(txn).is_some(),
                }
            };
            if open {
                applied(self.context.log().propose(room, self.id, command).await)?;
            }
        }
        Ok(())
    }

    /// Rolls back active transactions of which nothing was heard since `before`.
    pub(crate) fn expel_idle(&self, before: runtime::time::Instant) -> usize {
        let idle = self.states.borrow().idle(before);
        for &txn in &idle {
            self.abandon(txn);
            self.states.borrow_mut().expel(txn);
        }
        idle.len()
    }

    /// Ends transactions that stand aside where that is of no use any more: what is written here from now on
    /// is later than their commit. Who was to tell of the outcome may be gone.
    pub(crate) fn end_aside(&self) {
        let over = self.states.borrow().aside_before(self.context.now());
        for txn in over {
            self.end(txn);
        }
    }

    /// Rolls back active transactions of a coordinator that was lost at a time, if they were not heard of
    /// since. How many, and whether requests of others are still being ended.
    pub(crate) fn expel_lost(
        &self,
        coordinator: Place,
        when: runtime::time::Instant,
    ) -> (usize, bool) {
        let (idle, busy) = self.states.borrow().lost(coordinator, when);
        for &txn in &idle {
            self.abandon(txn);
            self.states.borrow_mut().expel(txn);
        }
        (idle.len(), busy)
    }

    /// Drops what a transaction has staged, and its locks.
    pub(super) fn abandon(&self, txn: TxnId) {
        self.end(txn);
    }

    fn ready_to_end(&self, txn: TxnId) -> Result<(usize, usize), SqlError> {
        let ready = self.states.borrow().ready_to_end(txn);
        ready.map_err(|refusal| self.refuse(txn, refusal))
    }

    /// Waits for room in memory and in the log.
    pub(super) async fn room(&self, bytes: usize) -> Result<Reserved, SqlError> {
        self.tree.make_room().await.map_err(storage_error)?;
        self.room_to_end(bytes).await
    }

    /// Waits for room in the log, for what ends or keeps what was voted on. Memory was asked for
    /// its writes before the vote, and a tree that cannot be flushed must not hold up an outcome.
    async fn room_to_end(&self, bytes: usize) -> Result<Reserved, SqlError> {
        Ok(self.context.log().reserve(bytes + COMMAND_BYTES).await?)
    }
}

/// As [`applied`], of what decides nothing by itself: where it is in doubt whether it is in the log, the
/// transaction is not committed all the same.
pub(super) fn accepted(
    answer: Result<Result<LogIndex, LogError>, runtime::sync::Closed>,
) -> Result<LogIndex, SqlError> {
    let answer = answer.map(|answer| {
        answer.map_err(|error| match error {
            LogError::Undecided(why) => LogError::NotLeader(why.to_owned()),
            error => error,
        })
    });
    applied(answer)
}

/// A proposal's answer.
pub(super) fn applied(
    answer: Result<Result<LogIndex, LogError>, runtime::sync::Closed>,
) -> Result<LogIndex, SqlError> {
    match answer {
        Ok(applied) => Ok(applied?),
        Err(_gone) => Err(SqlError::new(
            SqlState::ADMIN_SHUTDOWN,
            "the node stopped before the outcome was known",
        )),
    }
}

fn txn_of(command: &Command) -> TxnId {
    match command {
        Command::Stage { txn, .. }
        | Command::Commit { txn, .. }
        | Command::Prepare { txn, .. }
        | Command::Decide { txn, .. }
        | Command::Finish { txn, .. }
        | Command::Forget { txn } => *txn,
    }
}
