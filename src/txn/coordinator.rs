//! The coordinator of one commit, as a pure state machine: events in, actions out. The driver
//! ([`super::commit`]) carries the actions out and feeds back what happened.
//!
//! ```text
//!             one participant wrote            several wrote
//!  start ──► CommitOnePhase ──► answer     Prepare to all, in parallel
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
        /// `Some`: prepared to commit from then on. `None`: it had written nothing and dropped out.
        vote: Result<Option<Timestamp>, SqlError>,
    },
    /// The single participant answered a one-phase commit.
    CommittedOnePhase(Result<Timestamp, SqlError>),
    /// The anchor answered: the decision it holds, or an error that leaves it unknown.
    Decided(Result<model::command::Outcome, SqlError>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Commit at the only participant.
    CommitOnePhase(PartitionId),
    /// Ask for a vote.
    Prepare {
        /// Whom.
        partition: PartitionId,
        /// Whose log will hold the decision.
        anchor: PartitionId,
    },
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
}

/// A participant's state as the coordinator knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vote {
    Awaited,
    Yes(Timestamp),
    ReadOnly,
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
    anchor: PartitionId,
    votes: BTreeMap<PartitionId, Vote>,
    phase: Phase,
}

impl Coordinator {
    /// Starts to commit a transaction that holds state in `participants`, of which there must be
    /// one; the first is the anchor. Returns the first actions.
    pub fn start(participants: &[PartitionId]) -> (Coordinator, Vec<Action>) {
        let anchor =
            *participants.first().expect("a transaction without participants has no commit");
        let votes = participants.iter().map(|&partition| (partition, Vote::Awaited)).collect();
        if let [only] = participants {
            let coordinator = Coordinator { anchor, votes, phase: Phase::Committing };
            return (coordinator, vec![Action::CommitOnePhase(*only)]);
        }
        let prepares =
            participants.iter().map(|&partition| Action::Prepare { partition, anchor }).collect();
        (Coordinator { anchor, votes, phase: Phase::Voting { refusal: None } }, prepares)
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
                vec![Action::Answer(result)]
            }
            (Phase::Voting { refusal }, Event::Voted { partition, vote }) => {
                let Some(known) = self.votes.get_mut(&partition) else { return Vec::new() };
                if *known != Vote::Awaited {
                    return Vec::new();
                }
                *known = match vote {
                    Ok(Some(at)) => Vote::Yes(at),
                    Ok(None) => Vote::ReadOnly,
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

    fn count_votes(&mut self) -> Vec<Action> {
        if self.votes.values().any(|vote| *vote == Vote::Awaited) {
            return Vec::new();
        }
        let Phase::Voting { refusal } = &mut self.phase else { return Vec::new() };
        if let Some(error) = refusal.take() {
            self.phase = Phase::Ended;
            let mut actions: Vec<Action> =
                self.votes.keys().map(|&partition| Action::Rollback(partition)).collect();
            actions.push(Action::Answer(Err(error)));
            return actions;
        }
        let yes = self.yes_votes();
        let Some(commit) = yes.iter().map(|(_, at)| *at).max() else {
            // Everyone only read: there is nothing to decide.
            self.phase = Phase::Ended;
            return vec![Action::Answer(Ok(Timestamp::ZERO))];
        };
        // The anchor stays the one the votes name, even where it had written nothing itself:
        // prepared participants ask it, so its log must hold the decision.
        self.phase = Phase::Deciding { commit };
        let participants = yes.into_iter().map(|(partition, _)| partition).collect();
        vec![Action::Decide { anchor: self.anchor, commit, participants }]
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
                let carry_out = Action::CarryOut { anchor: self.anchor, commit, participants };
                vec![Action::Answer(Ok(commit)), carry_out]
            }
            Ok(Outcome::Aborted) => {
                let mut actions: Vec<Action> =
                    yes.into_iter().map(|(partition, _)| Action::Rollback(partition)).collect();
                actions.push(Action::Answer(Err(aborted_by_another())));
                actions
            }
            // In doubt: the participants stay prepared and ask the anchor themselves.
            Err(error) => vec![Action::Answer(Err(in_doubt(&error)))],
        }
    }
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
        Event::Voted { partition, vote: Ok(Some(Timestamp(at))) }
    }

    fn refusal() -> SqlError {
        SqlError::new(SqlState::DISK_FULL, "full")
    }

    #[test]
    fn one_participant_takes_one_phase() {
        let (mut coordinator, actions) = Coordinator::start(&[A]);
        assert_eq!(actions, [Action::CommitOnePhase(A)]);
        let actions = coordinator.step(Event::CommittedOnePhase(Ok(Timestamp(7))));
        assert_eq!(actions, [Action::Answer(Ok(Timestamp(7)))]);
        assert!(coordinator.is_ended());
    }

    #[test]
    fn several_commit_at_the_latest_prepare_and_answer_before_it_is_carried_out() {
        let (mut coordinator, actions) = Coordinator::start(&[A, B]);
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
        let (mut coordinator, _) = Coordinator::start(&[A, B, C]);
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
        let (mut coordinator, _) = Coordinator::start(&[A, B]);
        coordinator.step(Event::Voted { partition: A, vote: Ok(None) });
        let decide = Action::Decide { anchor: A, commit: Timestamp(3), participants: vec![B] };
        assert_eq!(coordinator.step(yes(B, 3)), [decide]);
    }

    #[test]
    fn an_unknown_decision_is_said_and_nothing_is_rolled_back() {
        let (mut coordinator, _) = Coordinator::start(&[A, B]);
        coordinator.step(yes(A, 1));
        coordinator.step(yes(B, 1));
        let actions = coordinator.step(Event::Decided(Err(refusal())));
        let [Action::Answer(Err(error))] = actions.as_slice() else { panic!("{actions:?}") };
        assert_eq!(error.state(), SqlState::STATEMENT_COMPLETION_UNKNOWN);
    }

    #[test]
    fn a_decision_to_abort_wins() {
        let (mut coordinator, _) = Coordinator::start(&[A, B]);
        coordinator.step(yes(A, 1));
        coordinator.step(yes(B, 1));
        let actions = coordinator.step(Event::Decided(Ok(Outcome::Aborted)));
        assert_eq!(actions[..2], [Action::Rollback(A), Action::Rollback(B)]);
    }
}
