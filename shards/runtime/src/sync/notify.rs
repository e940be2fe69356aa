//! "Something changed: look again."

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Wakes those who wait for a change. [`Notify::notify_one`] is remembered if nobody waits;
/// [`Notify::notify_all`] reaches only those who wait. Cloning gives another handle.
#[derive(Clone, Default)]
pub struct Notify {
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    /// A `notify_one` that found nobody.
    remembered: bool,
    next_ticket: u64,
    waiting: BTreeMap<u64, Waker>,
    /// Woken by `notify_one` and not yet run: it passes the notice on if it is dropped.
    handed: BTreeSet<u64>,
}

impl State {
    fn notify_one(&mut self) {
        match self.waiting.pop_first() {
            Some((ticket, waker)) => {
                self.handed.insert(ticket);
                waker.wake();
            }
            None => self.remembered = true,
        }
    }
}

impl Notify {
    /// A notifier that nobody waits on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the one that waits longest, or the next one to wait if nobody does.
    pub fn notify_one(&self) {
        self.state.borrow_mut().notify_one();
    }

    /// Wakes all that wait now.
    pub fn notify_all(&self) {
        let waiting = std::mem::take(&mut self.state.borrow_mut().waiting);
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// Waits for a notice. The place in the queue is taken at the first poll.
    pub fn notified(&self) -> Notified {
        Notified { notify: self.clone(), ticket: None }
    }
}

/// The future of [`Notify::notified`].
pub struct Notified {
    notify: Notify,
    ticket: Option<u64>,
}

impl Future for Notified {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.notify.state.clone();
        let mut state = shared.borrow_mut();
        match self.ticket {
            None if state.remembered => {
                state.remembered = false;
                Poll::Ready(())
            }
            None => {
                let ticket = state.next_ticket;
                state.next_ticket += 1;
                state.waiting.insert(ticket, cx.waker().clone());
                self.ticket = Some(ticket);
                Poll::Pending
            }
            Some(ticket) => {
                if let Some(waker) = state.waiting.get_mut(&ticket) {
                    waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
                state.handed.remove(&ticket);
                self.ticket = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.notify.state.borrow_mut();
        state.waiting.remove(&ticket);
        if state.handed.remove(&ticket) {
            state.notify_one();
        }
    }
}
