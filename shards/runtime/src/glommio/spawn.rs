//! Tasks of a real core.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use crate::task::{Cancel, Panicked, Steps};

/// The tasks that live on this core, by the order of their birth.
#[derive(Default)]
struct Living {
    tasks: BTreeMap<u64, Weak<dyn Cancel>>,
    next: u64,
}

thread_local! {
    static LIVING: RefCell<Living> = RefCell::default();
}

/// A task's place among the living.
struct Place(u64);

impl Place {
    fn take(task: &Rc<impl Cancel + 'static>) -> Self {
        let task: Rc<dyn Cancel> = task.clone();
        LIVING.with_borrow_mut(|living| {
            let id = living.next;
            living.next += 1;
            living.tasks.insert(id, Rc::downgrade(&task));
            Self(id)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        LIVING.with_borrow_mut(|living| living.tasks.remove(&self.0));
    }
}

/// The handle on a task.
pub(crate) struct Task<T> {
    task: glommio::Task<Result<T, Panicked>>,
}

impl<T: 'static> Task<T> {
    pub(crate) fn detach(self) {
        // The executor's join handle is of no use: the result goes with the task.
        let _handle = self.task.detach();
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(cx)
    }
}

pub(crate) fn spawn<T: 'static>(
    name: &'static str,
    future: impl Future<Output = T> + 'static,
) -> Task<T> {
    let steps = Steps::new(name, future);
    let place = Place::take(steps.body());
    let task = glommio::spawn_local(async move {
        let _place = place;
        steps.await
    });
    Task { task }
}

/// Drops the futures of all tasks that are left, until none is: a destructor may spawn. Gives up
/// after as many rounds as no sane program needs.
pub(crate) fn cancel_all() {
    const ROUNDS: usize = 100;
    for _ in 0..ROUNDS {
        let left = LIVING.with_borrow_mut(|living| std::mem::take(&mut living.tasks));
        if left.is_empty() {
            return;
        }
        for task in left.into_values() {
            if let Some(task) = task.upgrade() {
                task.cancel();
            }
        }
    }
}
