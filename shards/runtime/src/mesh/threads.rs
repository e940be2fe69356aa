//! The mesh between real threads.
//!
//! An inbox is a lock-free queue with a flag that says whether its owner sleeps. A sender pushes,
//! then looks at the flag; the owner raises the flag, then looks at the queue. With a sequentially
//! consistent fence between the two steps on either side, one of them always sees the other: no
//! message is left behind a sleeping owner. Waiting for room works the same way, in reverse.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::task::Poll;

use crossbeam_queue::SegQueue;
use futures::task::AtomicWaker;

use super::{Closed, Full};
use crate::sync::Semaphore;

/// A waker and whether it is needed.
#[derive(Default)]
struct Sleeper {
    asleep: AtomicBool,
    waker: AtomicWaker,
}

impl Sleeper {
    /// Called by the other side after it made a change: wakes the sleeper, if there is one.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Called by the one that wants to sleep, before it looks for a change a last time.
    fn prepare(&self, cx: &std::task::Context<'_>) {
        self.waker.register(cx.waker());
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the one that found a change after all.
    fn stay_awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

struct Inbox<M> {
    queue: SegQueue<(u16, M)>,
    owner: Sleeper,
    lanes: Box<[Lane]>,
    joined: AtomicBool,
    closed: AtomicBool,
}

/// What one core has waiting in an inbox.
#[derive(Default)]
struct Lane {
    waiting: AtomicUsize,
    sender: Sleeper,
}

struct Shared<M> {
    inboxes: Box<[Inbox<M>]>,
    capacity: usize,
    /// Cores that have not left.
    present: AtomicUsize,
}

impl<M> Shared<M> {
    /// Takes a place in `lane`, if there is one.
    fn reserve(&self, lane: &Lane) -> bool {
        // Only the lane's own core adds to it, so the count cannot grow between the two steps.
        if lane.waiting.load(Ordering::Acquire) >= self.capacity {
            return false;
        }
        lane.waiting.fetch_add(1, Ordering::AcqRel);
        true
    }
}

pub(super) struct Builder<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Clone for Builder<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<M> Builder<M> {
    pub(super) fn new(cores: u16, capacity: usize) -> Self {
        let inbox = |_| Inbox {
            queue: SegQueue::new(),
            owner: Sleeper::default(),
            lanes: (0..cores).map(|_| Lane::default()).collect(),
            joined: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(Shared {
                inboxes: (0..cores).map(inbox).collect(),
                capacity,
                present: AtomicUsize::new(usize::from(cores)),
            }),
        }
    }

    pub(super) fn join(self, me: u16) -> Mesh<M> {
        let shared = self.shared;
        let cores = shared.inboxes.len();
        assert!(usize::from(me) < cores, "the mesh has no core {me}");
        let again = shared.inboxes[usize::from(me)].joined.swap(true, Ordering::AcqRel);
        assert!(!again, "core {me} has joined the mesh already");
        Mesh {
            end: Rc::new(End {
                shared,
                me,
                turns: (0..cores).map(|_| Semaphore::new(1)).collect(),
                stalls: Cell::new(0),
            }),
        }
    }
}

/// One core's end.
pub(super) struct Mesh<M> {
    end: Rc<End<M>>,
}

impl<M> Clone for Mesh<M> {
    fn clone(&self) -> Self {
        Self { end: self.end.clone() }
    }
}

struct End<M> {
    shared: Arc<Shared<M>>,
    me: u16,
    /// For each core, whose turn it is to wait for room there.
    turns: Box<[Semaphore]>,
    stalls: Cell<u64>,
}

impl<M> Drop for End<M> {
    fn drop(&mut self) {
        let inbox = self.inbox(self.me);
        inbox.closed.store(true, Ordering::Release);
        for lane in &inbox.lanes {
            lane.sender.wake();
        }
        // A sender that looked at the flag just before may still push one message a lane: it is
        // dropped with the mesh.
        while inbox.queue.pop().is_some() {}
        self.shared.present.fetch_sub(1, Ordering::AcqRel);
        for other in &self.shared.inboxes {
            other.owner.wake();
        }
    }
}

impl<M> End<M> {
    fn inbox(&self, core: u16) -> &Inbox<M> {
        let inbox = self.shared.inboxes.get(usize::from(core));
        inbox.unwrap_or_else(|| panic!("the mesh has no core {core}"))
    }

    fn lane<'a>(&self, inbox: &'a Inbox<M>) -> &'a Lane {
        &inbox.lanes[usize::from(self.me)]
    }

    fn stalled(&self) {
        self.stalls.set(self.stalls.get() + 1);
    }

    /// Puts a message where a place was reserved.
    fn push(&self, inbox: &Inbox<M>, message: M) {
        inbox.queue.push((self.me, message));
        inbox.owner.wake();
    }
}

impl<M> Mesh<M> {
    pub(super) fn try_send(&self, to: u16, message: M) -> Result<(), Full<M>> {
        let end = &self.end;
        let inbox = end.inbox(to);
        if inbox.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let turn = &end.turns[usize::from(to)];
        if turn.available() == 0 || !end.shared.reserve(end.lane(inbox)) {
            end.stalled();
            return Err(Full(message));
        }
        end.push(inbox, message);
        Ok(())
    }

    pub(super) async fn send(&self, to: u16, message: M) -> Result<(), Closed> {
        let end = &self.end;
        let inbox = end.inbox(to);
        let lane = end.lane(inbox);
        let turn = match end.turns[usize::from(to)].try_acquire(1) {
            Some(turn) => turn,
            None => {
                end.stalled();
                end.turns[usize::from(to)].acquire(1).await?
            }
        };
        let mut waited = false;
        poll_fn(|cx| {
            if inbox.closed.load(Ordering::Acquire) {
                return Poll::Ready(Err(Closed));
            }
            if end.shared.reserve(lane) {
                return Poll::Ready(Ok(()));
            }
            if !waited {
                waited = true;
                end.stalled();
            }
            lane.sender.prepare(cx);
            if inbox.closed.load(Ordering::Acquire) || end.shared.reserve(lane) {
                lane.sender.stay_awake();
                let closed = inbox.closed.load(Ordering::Acquire);
                return Poll::Ready(if closed { Err(Closed) } else { Ok(()) });
            }
            Poll::Pending
        })
        .await?;
        drop(turn);
        end.push(inbox, message);
        Ok(())
    }

    pub(super) async fn recv_many(
        &self,
        out: &mut Vec<(u16, M)>,
        max: usize,
    ) -> Result<(), Closed> {
        let inbox = self.end.inbox(self.end.me);
        poll_fn(|cx| {
            if self.take(inbox, out, max) {
                return Poll::Ready(Ok(()));
            }
            inbox.owner.prepare(cx);
            if self.take(inbox, out, max) {
                inbox.owner.stay_awake();
                return Poll::Ready(Ok(()));
            }
            if self.is_last() {
                // What the last one sent before it left is visible by now.
                inbox.owner.stay_awake();
                let got = self.take(inbox, out, max);
                return Poll::Ready(if got { Ok(()) } else { Err(Closed) });
            }
            Poll::Pending
        })
        .await
    }

    /// Whether all other cores have left.
    fn is_last(&self) -> bool {
        let shared = &self.end.shared;
        shared.inboxes.len() > 1 && shared.present.load(Ordering::Acquire) == 1
    }

    /// Moves what has arrived to `out`, at most `max`, and tells the senders of the room it makes.
    fn take(&self, inbox: &Inbox<M>, out: &mut Vec<(u16, M)>, max: usize) -> bool {
        let before = out.len();
        while out.len() - before < max {
            let Some(message) = inbox.queue.pop() else {
                break;
            };
            out.push(message);
        }
        let mut taken = [0usize; 64];
        for (from, _) in &out[before..] {
            match taken.get_mut(usize::from(*from)) {
                Some(count) => *count += 1,
                None => self.make_room(inbox, *from, 1),
            }
        }
        for (from, count) in (0u16..).zip(taken).filter(|(_, count)| *count > 0) {
            self.make_room(inbox, from, count);
        }
        out.len() > before
    }

    fn make_room(&self, inbox: &Inbox<M>, from: u16, count: usize) {
        let lane = &inbox.lanes[usize::from(from)];
        lane.waiting.fetch_sub(count, Ordering::AcqRel);
        lane.sender.wake();
    }

    pub(super) fn is_open(&self, to: u16) -> bool {
        !self.end.inbox(to).closed.load(Ordering::Acquire)
    }

    pub(super) fn stalls(&self) -> u64 {
        self.end.stalls.get()
    }
}
