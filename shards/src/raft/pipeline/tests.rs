use super::*;
use crate::raft::types::{Batch, Entry, Vote, log_id};
use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use runtime::sim::{Options, Sim};
use runtime::sync::oneshot;
use runtime::task;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

type Response = AppendEntriesResponse<Partitions>;

/// What a pipeline has told: up to which entry the replica has taken the log, or why it takes no more.
type Told = Rc<RefCell<Vec<Result<u64, &'static str>>>>;

/// An append that is not answered.
struct Sent {
    last: u64,
    promise: oneshot::Sender<Answer>,
}

/// A leader and a replica between which a test is the network.
#[derive(Clone, Default)]
struct Wire {
    sent: Rc<RefCell<VecDeque<Sent>>>,
    last: Rc<Cell<u64>>,
    grown: Notify,
}

impl LogEnd for Wire {
    fn last(&self) -> Option<LogId> {
        Some(log_id(1, self.last.get()))
    }

    fn grown(&self) -> Notify {
        self.grown.clone()
    }
}

impl Wire {
    /// A pipeline over it: where appends go in, and what it has told.
    fn pipeline(&self) -> (UnboundedSender<Append>, Told) {
        let (appends, made) = unbounded();
        let sent = self.sent.clone();
        let send = move |append: Append| {
            let (promise, answer) = oneshot::channel();
            let last = last_of(&append).map_or(0, |last| last.index);
            sent.borrow_mut().push_back(Sent { last, promise });
            async move { answer.await.expect("the test answers") }.boxed_local()
        };
        let told = Told::default();
        let (mut pipeline, telling) = (Pipeline::new(made, send, self.clone()), told.clone());
        task::spawn("pipeline", async move {
            while let Some(taken) = pipeline.next().await {
                telling.borrow_mut().push(match taken {
                    Ok(Ok(matching)) => Ok(matching.map_or(0, |matching| matching.index)),
                    Ok(Err(StreamAppendError::Conflict(_))) => Err("conflict"),
                    Ok(Err(StreamAppendError::HigherVote(_))) => Err("vote"),
                    Err(_) => Err("lost"),
                });
            }
            telling.borrow_mut().push(Err("the end"));
        })
        .detach();
        (appends, told)
    }

    /// The leader's log ends with entry `last`.
    fn grow(&self, last: u64) {
        self.last.set(last);
        self.grown.notify_all();
    }

    /// What is under way, up to which entry.
    fn under_way(&self) -> Vec<u64> {
        self.sent.borrow().iter().map(|sent| sent.last).collect()
    }

    fn answer(&self, at: usize, answer: Answer) {
        let Sent { promise, .. } = self.sent.borrow_mut().remove(at).expect("it was sent");
        drop(promise.send(answer));
    }
}

/// An append with the entries after `before` up to `last`.
fn append(before: u64, last: u64) -> Append {
    let entry = |index| Entry {
        log_id: log_id(1, index),
        payload: EntryPayload::Normal(Batch::read(1, Bytes::from_static(b"command"))),
    };
    Append {
        vote: Vote::new_committed(1, 1),
        prev_log_id: Some(log_id(1, before)),
        entries: (before + 1..=last).map(entry).collect(),
        leader_commit: Some(log_id(1, before)),
    }
}

/// Lets all that is ready run.
async fn settle() {
    time::sleep(Duration::from_micros(10)).await;
}

fn run(test: impl Future<Output = ()> + 'static) {
    Sim::new(Options::new(1)).run_until(test).expect("it ends");
}

#[test]
fn what_the_log_has_gained_is_sent_before_what_was_sent_is_answered() {
    run(async {
        let wire = Wire::default();
        let (appends, told) = wire.pipeline();
        for last in 1..=20 {
            wire.grow(last);
            appends.unbounded_send(append(last - 1, last)).unwrap();
            settle().await;
        }
        let first: Vec<u64> = (1..=UNDER_WAY_MAX as u64).collect();
        assert_eq!(wire.under_way(), first);
        wire.answer(0, Ok(Response::Success));
        settle().await;
        assert_eq!(*told.borrow(), [Ok(1)]);
        assert_eq!(wire.under_way().last(), Some(&(UNDER_WAY_MAX as u64 + 1)));
    });
}

#[test]
fn bytes_on_their_way_are_bounded() {
    run(async {
        let wire = Wire::default();
        let (appends, _) = wire.pipeline();
        let command = Bytes::from(vec![0; BYTES_MAX / 2]);
        for last in 1..=4 {
            wire.grow(last);
            let mut append = append(last - 1, last);
            append.entries[0].payload = EntryPayload::Normal(Batch::read(1, command.clone()));
            appends.unbounded_send(append).unwrap();
        }
        settle().await;
        assert_eq!(wire.under_way(), [1, 2]);
        wire.answer(0, Ok(Response::Success));
        settle().await;
        assert_eq!(wire.under_way(), [2, 3]);
    });
}

#[test]
fn answers_are_told_in_the_order_of_the_appends() {
    run(async {
        let wire = Wire::default();
        let (appends, told) = wire.pipeline();
        wire.grow(3);
        for last in 1..=3 {
            appends.unbounded_send(append(last - 1, last)).unwrap();
        }
        settle().await;
        wire.answer(2, Ok(Response::Success));
        settle().await;
        assert_eq!(*told.borrow(), []);
        wire.answer(0, Ok(Response::Success));
        wire.answer(0, Ok(Response::Success));
        settle().await;
        assert_eq!(*told.borrow(), [Ok(1), Ok(2), Ok(3)]);
    });
}

/// The lease of a leader would count from the second append, which nobody has answered.
#[test]
fn an_answer_waits_for_an_append_behind_it_that_ends_with_the_same_entry() {
    run(async {
        let wire = Wire::default();
        let (appends, told) = wire.pipeline();
        wire.grow(2);
        appends.unbounded_send(append(0, 1)).unwrap();
        appends.unbounded_send(append(1, 1)).unwrap();
        time::sleep(2 * TELL_WITHIN).await;
        assert_eq!(wire.under_way(), [1, 1]);
        wire.answer(0, Ok(Response::Success));
        settle().await;
        assert_eq!(*told.borrow(), []);
        wire.answer(0, Ok(Response::Success));
        settle().await;
        assert_eq!(*told.borrow(), [Ok(1)]);
    });
}

/// The same where the second append was not sent, since a third one says what it says.
#[test]
fn an_answer_waits_for_the_append_that_has_taken_the_place_of_one_that_ends_like_its_own() {
    run(async {
        let wire = Wire::default();
        let (appends, told) = wire.pipeline();
        wire.grow(2);
        appends.unbounded_send(append(0, 1)).unwrap();
        appends.unbounded_send(append(1, 1)).unwrap();
        settle().await;
        appends.unbounded_send(append(1, 2)).unwrap();
        settle().await;
        assert_eq!(wire.under_way(), [1, 2]);
        wire.answer(0, Ok(Response::Success));
        settle().await;
        assert_eq!(*told.borrow(), []);
        wire.answer(0, Ok(Response::Success));
        settle().await;
        assert_eq!(*told.borrow(), [Ok(2)]);
    });
}

#[test]
fn nothing_is_asked_for_while_something_is_on_its_way_and_the_log_has_not_grown() {
    run(async {
        let wire = Wire::default();
        let (appends, told) = wire.pipeline();
        wire.grow(1);
        appends.unbounded_send(append(0, 1)).unwrap();
        appends.unbounded_send(append(1, 1)).unwrap();
        time::sleep(2 * TELL_WITHIN).await;
        assert_eq!(wire.under_way(), [1]);
        wire.answer(0, Ok(Response::Success));
        time::sleep(2 * TELL_WITHIN).await;
        assert_eq!(*told.borrow(), [Ok(1)]);
        assert_eq!(wire.under_way(), [1]);
    });
}

#[test]
fn what_is_decided_goes_with_the_next_entries_or_by_itself_after_a_while() {
    run(async {
        let wire = Wire::default();
        let (appends, _) = wire.pipeline();
        appends.unbounded_send(append(1, 1)).unwrap();
        settle().await;
        assert!(wire.under_way().is_empty());
        wire.grow(2);
        appends.unbounded_send(append(1, 2)).unwrap();
        settle().await;
        assert_eq!(wire.under_way(), [2]);
        wire.answer(0, Ok(Response::Success));
        settle().await;
        appends.unbounded_send(append(2, 2)).unwrap();
        time::sleep(TELL_WITHIN / 2).await;
        assert!(wire.under_way().is_empty());
        time::sleep(TELL_WITHIN).await;
        assert_eq!(wire.under_way(), [2]);
    });
}

#[test]
fn the_last_append_of_a_stream_does_not_wait() {
    run(async {
        let wire = Wire::default();
        let (appends, told) = wire.pipeline();
        appends.unbounded_send(append(1, 1)).unwrap();
        drop(appends);
        settle().await;
        assert_eq!(wire.under_way(), [1]);
        wire.answer(0, Ok(Response::Success));
        settle().await;
        assert_eq!(*told.borrow(), [Ok(1), Err("the end")]);
    });
}

#[test]
fn the_first_append_that_is_not_taken_ends_the_stream() {
    let refusals = [
        (Ok(Response::Conflict), "conflict"),
        (Ok(Response::HigherVote(Vote::new(9, 3))), "vote"),
        (Err(NetworkError::<Partitions>::from_string("gone").into()), "lost"),
    ];
    for (refusal, said) in refusals {
        run(async move {
            let wire = Wire::default();
            let (appends, told) = wire.pipeline();
            wire.grow(2);
            appends.unbounded_send(append(0, 1)).unwrap();
            appends.unbounded_send(append(1, 2)).unwrap();
            settle().await;
            wire.answer(1, Ok(Response::Success));
            wire.answer(0, refusal);
            settle().await;
            assert_eq!(*told.borrow(), [Err(said), Err("the end")]);
        });
    }
}

/// A replica that has taken an entry has it: who says otherwise was asked out of order.
#[test]
fn a_conflict_behind_an_append_that_was_taken_says_nothing_about_the_log() {
    run(async {
        let wire = Wire::default();
        let (appends, told) = wire.pipeline();
        wire.grow(2);
        appends.unbounded_send(append(0, 1)).unwrap();
        appends.unbounded_send(append(1, 2)).unwrap();
        settle().await;
        wire.answer(0, Ok(Response::Success));
        wire.answer(0, Ok(Response::Conflict));
        settle().await;
        assert_eq!(*told.borrow(), [Ok(1), Err("lost"), Err("the end")]);
    });
}
