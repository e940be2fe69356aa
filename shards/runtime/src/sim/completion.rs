//! The answer of an operation that goes on without whoever asked for it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

struct Slot<T> {
    answer: Option<T>,
    waker: Option<Waker>,
}

/// Resolves to the answer; dropping it leaves the operation under way.
pub(super) struct Completion<T>(Rc<RefCell<Slot<T>>>);

/// The side that answers.
pub(super) struct Completer<T>(Rc<RefCell<Slot<T>>>);

/// A pair of the two ends.
pub(super) fn completion<T>() -> (Completer<T>, Completion<T>) {
    let slot = Rc::new(RefCell::new(Slot { answer: None, waker: None }));
    (Completer(Rc::clone(&slot)), Completion(slot))
}

impl<T> Completer<T> {
    /// Answers. An answer nobody waits for any more is dropped here.
    pub fn complete(self, answer: T) {
        let mut slot = self.0.borrow_mut();
        slot.answer = Some(answer);
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether somebody waits still.
    pub fn is_awaited(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }
}

impl<T> Future for Completion<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.borrow_mut();
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
