//! The coordinator of one commit, as a pure state machine: events in, actions out. The driver
//! ([`super::commit`]) carries the actions out and feeds back what happened.
//!
//! ```text
//!             one partition took part          several took part
//!  start ──► CommitOnePhase ──► answer     Prepare to those that were written, StandAside to those
//!                                          that were only read, in parallel
//!                                                │ all voted yes        │ one refused
//!                                                ▼                      ▼
//!                                        Decide at the anchor     Rollback everywhere
//!                                                │ logged               │
//!                                                ▼                      ▼
//!                                        answer the client        answer the client
//!                                                │
//!                                                ▼
//!                              carried out in the participants (finisher.rs)
//! ```
//!
//! Where one was written and others read, the others stand aside first, and then the one commits in
//! one phase. Those that stand aside hold their locks until they hear of the outcome with its
//! timestamp: what was read is changed later than that, or a snapshot between the two would see the
//! change and not the commit.
//!
//! Nothing here is needed for recovery: until the anchor's log holds the decision, a prepared
//! transaction is presumed aborted, and whoever meets one asks the anchor. The coordinator may
//! vanish at any point.

use model::error::SqlError;
use model::id::PartitionId;
use model::time::Timestamp;
use std::collections::BTreeMap;

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A participant answered a prepare.
    Voted {
        /// Who.
        partition: PartitionId,
        /// How.
        vote: Result<Ballot, SqlError>,
    },
    /// A partition that was only read answered: it stands aside, or knows nothing of it any more.
    StoodAside {
        /// Who.
        partition: PartitionId,
        /// Up to which commit timestamp what was read there is kept.
        result: Result<Timestamp, SqlError>,
    },
    /// The single participant answered a one-phase commit.
    CommittedOnePhase(Result<Timestamp, SqlError>),
    /// The anchor answered: the decision it holds, or an error that leaves it unknown.
    Decided(Result<model::command::Outcome, SqlError>),
}

/// A participant's answer to a prepare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ballot {
    /// It is prepared to commit from this timestamp on.
    Yes(Timestamp),
    /// It had written nothing and stands aside: what was read there is kept up to this commit timestamp.
    Aside(Timestamp),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Commit at the only participant.
    CommitOnePhase {
        /// Which.
        partition: PartitionId,
        /// No later than this: what was read elsewhere is kept no longer.
        not_after: Timestamp,
    },
    /// Ask for a vote.
    Prepare {
        /// Whom.
        partition: PartitionId,
        /// Whose log will hold the decision.
        anchor: PartitionId,
    },
    /// Tell a partition that was only read to keep its locks.
    StandAside(PartitionId),
    /// Log the decision.
    Decide {
        /// Where.
        anchor: PartitionId,
        /// The commit timestamp.
        commit: Timestamp,
        /// Everyone who voted yes.
        participants: Vec<PartitionId>,
    },
    /// Tell the client.
    Answer(Result<Timestamp, SqlError>),
    /// Drop what was staged or prepared.
    Rollback(PartitionId),
    /// Carry the decision out in the participants, then let the anchor forget it.
    CarryOut {
        /// Where the decision is.
        anchor: PartitionId,
        /// The commit timestamp.
        commit: Timestamp,
        /// Who prepared.
        participants: Vec<PartitionId>,
    },
    /// Let those that stand aside go.
    Release {
        /// The commit timestamp.
        commit: Timestamp,
        /// Who stands aside.
        readers: Vec<PartitionId>,
    },
}

/// A participant's state as the coordinator knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vote {
    Awaited,
    Yes(Timestamp),
    Aside(Timestamp),
    Refused,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Committing,
    Voting { refusal: Option<SqlError> },
    Deciding { commit: Timestamp },
    Ended,
}

/// One commit.
#[derive(Debug)]
pub struct Coordinator {
    /// Whose log holds the decision; `None` where nothing was written.
    anchor: Option<PartitionId>,
    /// The only one that was written, to commit in one phase once the others stand aside.
    single: Option<PartitionId>,
    /// Of those that were asked.
    votes: BTreeMap<PartitionId, Vote>,
    phase: Phase,
}

impl Coordinator {
    /// Starts to commit a transaction that may have written in `participants`, the first of which is
    /// the anchor, and has only read in `readers`. Returns the first actions.
    pub fn start(
        participants: &[PartitionId],
        readers: &[PartitionId],
    ) -> (Coordinator, Vec<Action>) {
        let single = match participants {
            [only] => Some(*only),
            _ => None,
        };
        let prepared = if single.is_some() { &[] } else { participants };
        let asked = prepared.iter().chain(readers);
        let mut coordinator = Coordinator {
            anchor: participants.first().copied(),
            single,
            votes: asked.map(|&partition| (partition, Vote::Awaited)).collect(),
            phase: Phase::Voting { refusal: None },
        };
        if coordinator.votes.is_empty() {
            let actions = coordinator.count_votes();
            return (coordinator, actions);
        }
        let anchor = coordinator.anchor.into_iter();
        let prepares = anchor.flat_map(|anchor| {
            prepared.iter().map(move |&partition| Action::Prepare { partition, anchor })
        });
        let asides = readers.iter().map(|&partition| Action::StandAside(partition));
        (coordinator, prepares.chain(asides).collect())
    }

    /// Whether nothing more is to come.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Takes what happened and says what is to be done. An event that does not belong to the
    /// phase (a repeated answer) changes nothing.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        match (&mut self.phase, event) {
            (Phase::Committing, Event::CommittedOnePhase(result)) => {
                self.phase = Phase::Ended;
                self.answer(result)
            }
            (Phase::Voting { refusal }, Event::Voted { partition, vote }) => {
                let Some(known) = self.votes.get_mut(&partition) else { return Vec::new() };
                if *known != Vote::Awaited {
                    return Vec::new();
                }
                *known = match vote {
                    Ok(Ballot::Yes(at)) => Vote::Yes(at),
                    Ok(Ballot::Aside(not_after)) => Vote::Aside(not_after),
                    Err(error) => {
                        refusal.get_or_insert(error);
                        Vote::Refused
                    }
                };
                self.count_votes()
            }
            (Phase::Voting { refusal }, Event::StoodAside { partition, result }) => {
                let Some(known) = self.votes.get_mut(&partition) else { return Vec::new() };
                if *known != Vote::Awaited {
                    return Vec::new();
                }
                *known = match result {
                    Ok(not_after) => Vote::Aside(not_after),
                    Err(error) => {
                        refusal.get_or_insert(error);
                        Vote::Refused
                    }
                };
                self.count_votes()
            }
            (Phase::Deciding { commit }, Event::Decided(decision)) => {
                let commit = *commit;
                self.decided(commit, decision)
            }
            _ => Vec::new(),
        }
    }

    fn yes_votes(&self) -> Vec<(PartitionId, Timestamp)> {
        let yes = |(&partition, vote): (&PartitionId, &Vote)| match vote {
            Vote::Yes(at) => Some((partition, *at)),
            _ => None,
        };
        self.votes.iter().filter_map(yes).collect()
    }

    fn asides(&self) -> Vec<PartitionId> {
        let asides = self.votes.iter().filter(|(_, vote)| matches!(vote, Vote::Aside(_)));
        asides.map(|(&partition, _)| partition).collect()
    }

    /// The last commit timestamp for which all that stand aside keep what was read there: the leases of
    /// their leaders end then, and others may change it.
    fn not_after(&self) -> Timestamp {
        let limits = self.votes.values().filter_map(|vote| match vote {
            Vote::Aside(not_after) => Some(*not_after),
            _ => None,
        });
        limits.min().unwrap_or(Timestamp::MAX)
    }

    fn abort(&mut self, error: SqlError) -> Vec<Action> {
        self.phase = Phase::Ended;
        let all = self.votes.keys().copied().chain(self.single);
        let mut actions: Vec<Action> = all.map(Action::Rollback).collect();
        actions.push(Action::Answer(Err(error)));
        actions
    }

    /// The end: the client is answered, and those that stand aside go.
    fn answer(&self, result: Result<Timestamp, SqlError>) -> Vec<Action> {
        let readers = self.asides();
        let mut actions = Vec::new();
        match &result {
            Ok(commit) if !readers.is_empty() => {
                actions.push(Action::Release { commit: *commit, readers });
            }
            Ok(_) => {}
            Err(_) => actions.extend(readers.into_iter().map(Action::Rollback)),
        }
        actions.push(Action::Answer(result));
        actions
    }

    fn count_votes(&mut self) -> Vec<Action> {
        if self.votes.values().any(|vote| *vote == Vote::Awaited) {
            return Vec::new();
        }
        let Phase::Voting { refusal } = &mut self.phase else { return Vec::new() };
        if let Some(error) = refusal.take() {
            return self.abort(error);
        }
        let not_after = self.not_after();
        if let Some(partition) = self.single {
            self.phase = Phase::Committing;
            return vec![Action::CommitOnePhase { partition, not_after }];
        }
        let yes = self.yes_votes();
        let (Some(anchor), Some(commit)) = (self.anchor, yes.iter().map(|(_, at)| *at).max())
        else {
            // Everyone only read: there is nothing to decide.
            self.phase = Phase::Ended;
            return self.answer(Ok(Timestamp::ZERO));
        };
        if commit > not_after {
            return self.abort(read_too_long_ago());
        }
        // The anchor stays the one the votes name, even where it had written nothing itself:
        // prepared participants ask it, so its log must hold the decision.
        self.phase = Phase::Deciding { commit };
        let participants = yes.into_iter().map(|(partition, _)| partition).collect();
        vec![Action::Decide { anchor, commit, participants }]
    }

    fn decided(
        &mut self,
        commit: Timestamp,
        decision: Result<model::command::Outcome, SqlError>,
    ) -> Vec<Action> {
        use model::command::Outcome;
        self.phase = Phase::Ended;
        let yes = self.yes_votes();
        match decision {
            Ok(Outcome::Committed(_)) => {
                let participants = yes.into_iter().map(|(partition, _)| partition).collect();
                let mut actions = self.answer(Ok(commit));
                if let Some(anchor) = self.anchor {
                    actions.push(Action::CarryOut { anchor, commit, participants });
                }
                actions
            }
            Ok(Outcome::Aborted) => {
                let mut actions: Vec<Action> =
                    yes.into_iter().map(|(partition, _)| Action::Rollback(partition)).collect();
                actions.extend(self.answer(Err(aborted_by_another())));
                actions
            }
            // In doubt: the participants stay prepared and ask the anchor themselves.
            Err(error) => self.answer(Err(in_doubt(&error))),
        }
    }
}

fn read_too_long_ago() -> SqlError {
    SqlError::new(
        model::error::SqlState::SERIALIZATION_FAILURE,
        "what the transaction has read may have changed before it could commit",
    )
    .detail("It has taken longer than the lease of a leader that it had read from.")
    .hint("Run the transaction again.")
}

fn aborted_by_another() -> SqlError {
    SqlError::new(
        model::error::SqlState::SERIALIZATION_FAILURE,
        "the transaction was aborted while it committed",
    )
    .detail("A participant that waited for the decision asked for it before it was made.")
    .hint("Run the transaction again.")
}

fn in_doubt(error: &SqlError) -> SqlError {
    SqlError::new(
        model::error::SqlState::STATEMENT_COMPLETION_UNKNOWN,
        "it is not known whether the transaction committed",
    )
    .detail(format!("The decision could not be confirmed: {error}."))
    .hint("It is wholly there or wholly not; read the rows to see which.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::command::Outcome;
    use model::error::SqlState;

    const A: PartitionId = PartitionId(1);
    const B: PartitionId = PartitionId(2);
    const C: PartitionId = PartitionId(3);

    fn yes(partition: PartitionId, at: u64) -> Event {
        Event::Voted { partition, vote: Ok(Ballot::Yes(Timestamp(at))) }
    }

    fn refusal() -> SqlError {
        SqlError::new(SqlState::DISK_FULL, "full")
    }

    #[test]
    fn one_participant_takes_one_phase() {
        let (mut coordinator, actions) = Coordinator::start(&[A], &[]);
        let not_after = Timestamp::MAX;
        assert_eq!(actions, [Action::CommitOnePhase { partition: A, not_after }]);
        let actions = coordinator.step(Event::CommittedOnePhase(Ok(Timestamp(7))));
        assert_eq!(actions, [Action::Answer(Ok(Timestamp(7)))]);
        assert!(coordinator.is_ended());
    }

    #[test]
    fn several_commit_at_the_latest_prepare_and_answer_before_it_is_carried_out() {
        let (mut coordinator, actions) = Coordinator::start(&[A, B], &[]);
        assert_eq!(
            actions,
            [
                Action::Prepare { partition: A, anchor: A },
                Action::Prepare { partition: B, anchor: A }
            ]
        );
        assert!(coordinator.step(yes(B, 9)).is_empty());
        let decide = Action::Decide { anchor: A, commit: Timestamp(9), participants: vec![A, B] };
        assert_eq!(coordinator.step(yes(A, 5)), [decide]);
        let commit = Timestamp(9);
        assert_eq!(
            coordinator.step(Event::Decided(Ok(Outcome::Committed(commit)))),
            [
                Action::Answer(Ok(commit)),
                Action::CarryOut { anchor: A, commit, participants: vec![A, B] }
            ]
        );
        assert!(coordinator.is_ended());
    }

    #[test]
    fn one_refusal_rolls_everyone_back_once_all_have_voted() {
        let (mut coordinator, _) = Coordinator::start(&[A, B, C], &[]);
        let refused = Event::Voted { partition: B, vote: Err(refusal()) };
        assert!(coordinator.step(refused.clone()).is_empty());
        assert!(coordinator.step(refused).is_empty(), "a repeated vote counts once");
        assert!(coordinator.step(yes(A, 1)).is_empty());
        assert_eq!(
            coordinator.step(yes(C, 2)),
            [
                Action::Rollback(A),
                Action::Rollback(B),
                Action::Rollback(C),
                Action::Answer(Err(refusal()))
            ]
        );
    }

    #[test]
    fn participants_that_only_read_drop_out_and_the_anchor_stays() {
        let (mut coordinator, _) = Coordinator::start(&[A, B], &[]);
        coordinator.step(Event::Voted { partition: A, vote: Ok(Ballot::Aside(Timestamp::MAX)) });
        let decide = Action::Decide { anchor: A, commit: Timestamp(3), participants: vec![B] };
        assert_eq!(coordinator.step(yes(B, 3)), [decide]);
    }

    #[test]
    fn an_unknown_decision_is_said_and_nothing_is_rolled_back() {
        let (mut coordinator, _) = Coordinator::start(&[A, B], &[]);
        coordinator.step(yes(A, 1));
        coordinator.step(yes(B, 1));
        let actions = coordinator.step(Event::Decided(Err(refusal())));
        let [Action::Answer(Err(error))] = actions.as_slice() else { panic!("{actions:?}") };
        assert_eq!(error.state(), SqlState::STATEMENT_COMPLETION_UNKNOWN);
    }

    #[test]
    fn a_decision_to_abort_wins() {
        let (mut coordinator, _) = Coordinator::start(&[A, B], &[]);
        coordinator.step(yes(A, 1));
        coordinator.step(yes(B, 1));
        let actions = coordinator.step(Event::Decided(Ok(Outcome::Aborted)));
        assert_eq!(actions[..2], [Action::Rollback(A), Action::Rollback(B)]);
    }

    fn aside(partition: PartitionId) -> Event {
        aside_until(partition, u64::MAX)
    }

    fn aside_until(partition: PartitionId, not_after: u64) -> Event {
        Event::StoodAside { partition, result: Ok(Timestamp(not_after)) }
    }

    #[test]
    fn nobody_commits_later_than_what_was_read_is_kept() {
        let (mut coordinator, _) = Coordinator::start(&[B], &[A, C]);
        coordinator.step(aside_until(A, 20));
        assert_eq!(
            coordinator.step(aside_until(C, 10)),
            [Action::CommitOnePhase { partition: B, not_after: Timestamp(10) }]
        );
        let vote = Ok(Ballot::Aside(Timestamp(10)));
        for (latest, commits) in [(10, true), (11, false)] {
            let (mut coordinator, _) = Coordinator::start(&[A, B, C], &[]);
            coordinator.step(yes(A, 3));
            coordinator.step(Event::Voted { partition: C, vote: vote.clone() });
            let actions = coordinator.step(yes(B, latest));
            if commits {
                let commit = Timestamp(latest);
                assert_eq!(
                    actions,
                    [Action::Decide { anchor: A, commit, participants: vec![A, B] }]
                );
                continue;
            }
            assert_eq!(actions[..3], [A, B, C].map(Action::Rollback));
            let [.., Action::Answer(Err(error))] = actions.as_slice() else {
                panic!("{actions:?}")
            };
            assert_eq!(error.state(), SqlState::SERIALIZATION_FAILURE);
        }
    }

    #[test]
    fn one_that_was_written_commits_in_one_phase_once_the_others_stand_aside() {
        let (mut coordinator, actions) = Coordinator::start(&[B], &[A, C]);
        assert_eq!(actions, [Action::StandAside(A), Action::StandAside(C)]);
        assert!(coordinator.step(aside(C)).is_empty());
        assert!(coordinator.step(aside(C)).is_empty(), "a repeated answer counts once");
        let not_after = Timestamp::MAX;
        assert_eq!(
            coordinator.step(aside(A)),
            [Action::CommitOnePhase { partition: B, not_after }]
        );
        let commit = Timestamp(7);
        assert_eq!(
            coordinator.step(Event::CommittedOnePhase(Ok(commit))),
            [Action::Release { commit, readers: vec![A, C] }, Action::Answer(Ok(commit))]
        );
    }

    #[test]
    fn those_that_stand_aside_hear_of_the_timestamp() {
        let (mut coordinator, _) = Coordinator::start(&[A, B], &[C]);
        coordinator.step(yes(A, 3));
        coordinator.step(aside(C));
        coordinator.step(yes(B, 5));
        let commit = Timestamp(5);
        let actions = coordinator.step(Event::Decided(Ok(Outcome::Committed(commit))));
        assert_eq!(actions[0], Action::Release { commit, readers: vec![C] });
    }

    #[test]
    fn a_partition_that_has_lost_its_locks_ends_the_transaction() {
        let (mut coordinator, _) = Coordinator::start(&[A], &[B, C]);
        coordinator.step(aside(B));
        let lost = Event::StoodAside { partition: C, result: Err(refusal()) };
        assert_eq!(
            coordinator.step(lost),
            [
                Action::Rollback(B),
                Action::Rollback(C),
                Action::Rollback(A),
                Action::Answer(Err(refusal()))
            ]
        );
    }

    #[test]
    fn where_everyone_only_read_nothing_is_logged() {
        let (mut coordinator, actions) = Coordinator::start(&[], &[A]);
        assert_eq!(actions, [Action::StandAside(A)]);
        let commit = Timestamp::ZERO;
        assert_eq!(
            coordinator.step(aside(A)),
            [Action::Release { commit, readers: vec![A] }, Action::Answer(Ok(commit))]
        );
        assert_eq!(Coordinator::start(&[], &[]).1, [Action::Answer(Ok(commit))]);
    }
}
