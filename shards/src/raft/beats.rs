//! Heartbeats of the groups that a core leads.
//!
//! ```text
//!  every PERIOD ─► each group that leads ─► openraft: an append without entries for each replica
//!                                               │ gathered by place, for GATHER
//!                                               ▼
//!                                  one message a place ─► its groups, all at once
//!                                               ▲                │ LATE at most
//!                             what became of each └──────────────┘
//! ```
//!
//! What a heartbeat means stays openraft's: it carries the leader's vote, an entry that the replica should
//! have and how far the log is decided, each replica's group takes it as an append and may refuse it, and
//! an answer counts from when the heartbeat was made. Here it only travels in company. A group that cannot
//! answer for the moment (its disk is slow) keeps the others' answers waiting for [`LATE`] and no longer.
//!
//! Groups that follow are looked after in the same round: openraft's clock, which each of them has and which
//! is for elections, stands still for as long as the leader is heard.

use super::group::{Group, Pulse};
use super::network::{Nodes, Unreached};
use super::types::Partitions;
use super::wire::{Beat, decode_beaten, encode_beaten, encode_beats};
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, select_biased};
use model::id::PartitionId;
use model::placement::Place;
use openraft::raft::AppendEntriesResponse;
use runtime::sync::{Notify, oneshot};
use runtime::task::{self, Task};
use runtime::time;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// How often a leader says that it is there.
pub(super) const PERIOD: Duration = Duration::from_millis(100);

/// Heartbeats that are made within so long of each other travel together.
const GATHER: Duration = Duration::from_millis(1);

/// So long a place waits for its groups before it answers for those that have answered.
const LATE: Duration = Duration::from_millis(50);

/// So long an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);

type Answered = Option<AppendEntriesResponse<Partitions>>;

/// The heartbeats of one core. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Beats {
    inner: Rc<Inner>,
}

struct Inner {
    nodes: Rc<dyn Nodes>,
    /// The groups that have replicas elsewhere, and whether they are led here.
    groups: RefCell<BTreeMap<PartitionId, (bool, Pulse)>>,
    /// There is a first one.
    joined: Rc<Notify>,
    gathered: RefCell<BTreeMap<Place, Vec<Gathered>>>,
    /// There is a first one.
    more: Rc<Notify>,
    tasks: RefCell<Vec<Task<()>>>,
}

/// A heartbeat that is to be sent, and who waits for what becomes of it.
struct Gathered {
    beat: Beat,
    answer: oneshot::Sender<Result<AppendEntriesResponse<Partitions>, Unreached>>,
}

impl Beats {
    /// Those of a core that reaches others by `nodes`. They end with the last handle.
    pub(crate) fn start(nodes: Rc<dyn Nodes>) -> Beats {
        let (joined, more) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
        let inner = Rc::new(Inner {
            nodes,
            groups: RefCell::default(),
            joined: joined.clone(),
            gathered: RefCell::default(),
            more: more.clone(),
            tasks: RefCell::default(),
        });
        let keeping_time = task::spawn("raft-beats", keep_time(Rc::downgrade(&inner), joined));
        let sending = task::spawn("raft-beats-send", send(Rc::downgrade(&inner), more));
        inner.tasks.borrow_mut().extend([keeping_time, sending]);
        Beats { inner }
    }

    /// A group has replicas elsewhere, and is led here or not.
    pub(super) fn join(&self, partition: PartitionId, leads: bool, pulse: Pulse) {
        let mut groups = self.inner.groups.borrow_mut();
        if groups.is_empty() {
            self.inner.joined.notify_one();
        }
        groups.insert(partition, (leads, pulse));
    }

    /// It has none any more.
    pub(super) fn leave(&self, partition: PartitionId) {
        self.inner.groups.borrow_mut().remove(&partition);
    }

    /// Sends a heartbeat in company, and waits for what becomes of it.
    ///
    /// # Errors
    /// It did not arrive, or was not answered.
    pub(super) async fn beat(
        &self,
        to: Place,
        beat: Beat,
    ) -> Result<AppendEntriesResponse<Partitions>, Unreached> {
        let (answer, answered) = oneshot::channel();
        {
            let mut gathered = self.inner.gathered.borrow_mut();
            if gathered.is_empty() {
                self.inner.more.notify_one();
            }
            gathered.entry(to).or_default().push(Gathered { beat, answer });
        }
        answered.await.unwrap_or_else(|_closed| Err(unanswered("the core has stopped")))
    }
}

/// Has every group that is led here beat, once a period, and every other one listen.
async fn keep_time(beats: Weak<Inner>, joined: Rc<Notify>) {
    let mut next = time::now();
    loop {
        let idle = match beats.upgrade() {
            Some(inner) => inner.groups.borrow().is_empty(),
            None => return,
        };
        if idle {
            joined.notified().await;
            continue;
        }
        time::sleep_until(next).await;
        let Some(inner) = beats.upgrade() else { return };
        // Groups that have ended are forgotten.
        inner.groups.borrow_mut().retain(|_, (leads, pulse)| match leads {
            true => pulse.beat(),
            false => pulse.listen(),
        });
        // Beats that a core was too busy for are not made up for.
        let now = time::now();
        next = if next + PERIOD > now { next + PERIOD } else { now + PERIOD };
    }
}

/// Sends what has gathered.
async fn send(beats: Weak<Inner>, more: Rc<Notify>) {
    loop {
        more.notified().await;
        time::sleep(GATHER).await;
        let Some(inner) = beats.upgrade() else { return };
        let gathered = std::mem::take(&mut *inner.gathered.borrow_mut());
        for (place, gathered) in gathered {
            let message = encode_beats(gathered.iter().map(|one| &one.beat));
            let asked = inner.nodes.ask_replica(place, message, time::now() + ANSWER_WITHIN);
            let asking = async move {
                let answers = match asked.await {
                    Ok(answer) => decode_beaten(answer)
                        .filter(|answers| answers.len() == gathered.len())
                        .ok_or_else(|| unanswered("the answer to heartbeats makes no sense")),
                    Err(unreached) => Err(unreached),
                };
                settle(gathered, answers);
            };
            task::spawn("raft-beats-ask", asking).detach();
        }
    }
}

/// Tells those who wait. Who has gone meanwhile has given up.
fn settle(gathered: Vec<Gathered>, answers: Result<Vec<Answered>, Unreached>) {
    match answers {
        Ok(answers) => {
            for (one, answer) in gathered.into_iter().zip(answers) {
                let answer = answer.ok_or_else(|| unanswered("the replica cannot answer"));
                drop(one.answer.send(answer));
            }
        }
        Err(unreached) => {
            for one in gathered {
                drop(one.answer.send(Err(unreached.clone())));
            }
        }
    }
}

fn unanswered(why: &str) -> Unreached {
    Unreached { why: why.to_owned(), may_have_arrived: true }
}

/// Answers the heartbeats of another core's groups; `group` gives the group of a partition of this core.
pub(super) async fn answer(
    beats: Vec<Beat>,
    group: impl Fn(PartitionId) -> Option<Group>,
) -> Bytes {
    let mut answers: Vec<Answered> = vec![None; beats.len()];
    let mut asked: FuturesUnordered<_> = beats
        .iter()
        .enumerate()
        .filter_map(|(at, beat)| Some((at, beat, group(beat.partition)?)))
        .map(|(at, beat, group)| async move { (at, group.beaten(beat).await) })
        .collect();
    let mut late = time::sleep(LATE).fuse();
    loop {
        select_biased! {
            answered = asked.next() => match answered {
                Some((at, answer)) => answers[at] = answer,
                None => break,
            },
            () = late => break,
        }
    }
    drop(asked);
    encode_beaten(&answers)
}
