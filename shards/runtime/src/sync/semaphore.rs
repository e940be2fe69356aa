//! Permits, handed out first come first served.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Closed;

/// A number of permits. Whoever asks for more than there are waits, and nobody overtakes: a large
/// request is not starved by small ones. Cloning gives another handle on the same permits.
#[derive(Clone)]
pub struct Semaphore {
    state: Rc<RefCell<State>>,
}

struct State {
    free: usize,
    closed: bool,
    /// By ticket, lowest first. Who was served is no longer in here.
    waiting: BTreeMap<u64, Waiting>,
    next_ticket: u64,
}

struct Waiting {
    need: usize,
    waker: Waker,
}

impl State {
    /// Serves waiters in order for as long as the next one can be served.
    fn serve(&mut self) {
        while let Some(first) = self.waiting.first_entry() {
            if first.get().need > self.free {
                return;
            }
            let served = first.remove();
            self.free -= served.need;
            served.waker.wake();
        }
    }
}

impl Semaphore {
    /// A semaphore with `permits` free permits.
    #[must_use]
    pub fn new(permits: usize) -> Self {
        Self {
            state: Rc::new(RefCell::new(State {
                free: permits,
                closed: false,
                waiting: BTreeMap::new(),
                next_ticket: 0,
            })),
        }
    }

    /// Permits that are free now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.state.borrow().free
    }

    /// How many are waiting.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.state.borrow().waiting.len()
    }

    /// Waits for `need` permits, behind all who wait already. They come back when the [`Permit`]
    /// is dropped.
    ///
    /// # Errors
    /// [`Closed`] once the semaphore is closed.
    pub fn acquire(&self, need: usize) -> Acquire {
        Acquire { semaphore: self.clone(), need, ticket: None }
    }

    /// Takes `need` permits if they are free and nobody waits.
    #[must_use]
    pub fn try_acquire(&self, need: usize) -> Option<Permit> {
        let mut state = self.state.borrow_mut();
        if state.closed || !state.waiting.is_empty() || state.free < need {
            return None;
        }
        state.free -= need;
        Some(Permit { semaphore: self.clone(), held: need })
    }

    /// Adds `n` free permits.
    pub fn add_permits(&self, n: usize) {
        let mut state = self.state.borrow_mut();
        state.free += n;
        state.serve();
    }

    /// Ends the waiting: all who wait, and all who ask later, get [`Closed`].
    pub fn close(&self) {
        let mut state = self.state.borrow_mut();
        state.closed = true;
        for (_, waiting) in std::mem::take(&mut state.waiting) {
            waiting.waker.wake();
        }
    }

    /// Whether [`Semaphore::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }
}

/// Permits in hand; dropping it gives them back.
pub struct Permit {
    semaphore: Semaphore,
    held: usize,
}

impl Permit {
    /// How many permits this is.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Keeps the permits out for good; [`Semaphore::add_permits`] can bring them back.
    pub fn forget(mut self) {
        self.held = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.held > 0 {
            self.semaphore.add_permits(self.held);
        }
    }
}

/// The future of [`Semaphore::acquire`].
pub struct Acquire {
    semaphore: Semaphore,
    need: usize,
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Result<Permit, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let need = self.need;
        let shared = self.semaphore.state.clone();
        let mut state = shared.borrow_mut();
        let granted = match self.ticket {
            None if state.closed => false,
            None if state.waiting.is_empty() && state.free >= need => {
                state.free -= need;
                true
            }
            None => {
                let ticket = state.next_ticket;
                state.next_ticket += 1;
                let waker = cx.waker().clone();
                state.waiting.insert(ticket, Waiting { need, waker });
                self.ticket = Some(ticket);
                return Poll::Pending;
            }
            Some(ticket) => {
                if let Some(waiting) = state.waiting.get_mut(&ticket) {
                    waiting.waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
                self.ticket = None;
                if state.closed {
                    // Permits that were granted just before the end go back.
                    state.free += need;
                }
                !state.closed
            }
        };
        drop(state);
        Poll::Ready(if granted {
            Ok(Permit { semaphore: self.semaphore.clone(), held: need })
        } else {
            Err(Closed)
        })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.semaphore.state.borrow_mut();
        if state.waiting.remove(&ticket).is_none() && !state.closed {
            // Served, but nobody will take it.
            state.free += self.need;
        }
        state.serve();
    }
}
