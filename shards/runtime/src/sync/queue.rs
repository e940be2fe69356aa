//! A bounded queue between tasks of one core: many senders, one receiver.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::{Closed, Semaphore};

/// Why [`Sender::try_send`] gave the value back.
#[derive(Debug, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The queue is full, or others wait to send: try later, or wait in [`Sender::send`].
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::Closed(_) => "the receiver is closed",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for TrySendError<T> {}

struct State<T> {
    items: VecDeque<T>,
    receiver: Option<Waker>,
    senders: usize,
}

struct Shared<T> {
    state: RefCell<State<T>>,
    /// One permit a free place; closed when the receiver is gone.
    room: Semaphore,
}

impl<T> Shared<T> {
    fn push(&self, value: T) {
        let waker = {
            let mut state = self.state.borrow_mut();
            state.items.push_back(value);
            state.receiver.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The end that sends; cloning gives another one.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

/// The end that receives.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
}

/// A queue of at most `capacity` values.
///
/// # Panics
/// If `capacity` is zero.
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a queue needs room for one value");
    let shared = Rc::new(Shared {
        state: RefCell::new(State { items: VecDeque::new(), receiver: None, senders: 1 }),
        room: Semaphore::new(capacity),
    });
    (Sender { shared: shared.clone() }, Receiver { shared })
}

impl<T> Sender<T> {
    /// Queues `value`, waiting for room behind those who wait already.
    ///
    /// # Errors
    /// [`Closed`] once the receiver is gone.
    pub async fn send(&self, value: T) -> Result<(), Closed> {
        self.send_or_return(value).await.map_err(|_value| Closed)
    }

    /// The same, for who has a use for what could not be sent.
    ///
    /// # Errors
    /// The value comes back once the receiver is gone.
    pub async fn send_or_return(&self, value: T) -> Result<(), T> {
        match self.shared.room.acquire(1).await {
            Ok(room) => room.forget(),
            Err(Closed) => return Err(value),
        }
        self.shared.push(value);
        Ok(())
    }

    /// Queues `value` if there is room and nobody waits for it.
    ///
    /// # Errors
    /// The value comes back with the reason.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.shared.room.try_acquire(1) {
            Some(room) => {
                room.forget();
                self.shared.push(value);
                Ok(())
            }
            None if self.shared.room.is_closed() => Err(TrySendError::Closed(value)),
            None => Err(TrySendError::Full(value)),
        }
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.room.is_closed()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.state.borrow_mut().senders += 1;
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.shared.state.borrow_mut();
            state.senders -= 1;
            if state.senders > 0 {
                return;
            }
            state.receiver.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// Waits for the next value.
    ///
    /// # Errors
    /// [`Closed`] when all senders are gone and the queue is empty.
    pub async fn recv(&mut self) -> Result<T, Closed> {
        std::future::poll_fn(|cx| {
            let mut state = self.shared.state.borrow_mut();
            if let Some(value) = state.items.pop_front() {
                drop(state);
                self.shared.room.add_permits(1);
                return Poll::Ready(Ok(value));
            }
            if state.senders == 0 {
                return Poll::Ready(Err(Closed));
            }
            state.receiver = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Waits until there is a value, then appends as many as there are to `out`, at most `max`.
    /// Returns how many.
    ///
    /// # Errors
    /// [`Closed`] when all senders are gone and the queue is empty.
    ///
    /// # Panics
    /// If `max` is zero.
    pub async fn recv_many(&mut self, out: &mut Vec<T>, max: usize) -> Result<usize, Closed> {
        assert!(max > 0, "receiving nothing would wait for nothing");
        let first = self.recv().await?;
        out.push(first);
        let more = {
            let mut state = self.shared.state.borrow_mut();
            let more = state.items.len().min(max - 1);
            out.extend(state.items.drain(..more));
            more
        };
        self.shared.room.add_permits(more);
        Ok(1 + more)
    }

    /// The next value, if it is there.
    #[must_use]
    pub fn try_recv(&mut self) -> Option<T> {
        let value = self.shared.state.borrow_mut().items.pop_front()?;
        self.shared.room.add_permits(1);
        Some(value)
    }

    /// How many values are queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.state.borrow().items.len()
    }

    /// Whether no sender is left; what is queued can still be received.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.state.borrow().senders == 0
    }

    /// Whether no value is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.room.close();
        let items = std::mem::take(&mut self.shared.state.borrow_mut().items);
        drop(items);
    }
}
