//! Tasks of one core.
//!
//! A task is a future that its core polls until it is done. It stays on the core that spawned it.
//! Each poll is a *step*: it is timed for the [`crate::watchdog`], and a panic in it ends the task
//! and nothing else. When a core ends, the tasks that are left are dropped with everything they
//! own, so that files and sockets are closed before [`crate::glommio::run`] returns.
//!
//! Spawning allocates and takes a process-wide lock in the executor: spawn for connections and
//! background work, not for each request.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::time::{self, Instant};
use crate::watchdog;
use crate::world::{self, World};

/// How long a task may run before [`yield_if_due`] lets others run.
pub const SLICE: Duration = Duration::from_micros(100);

thread_local! {
    static SLICE_BEGAN: Cell<Instant> = const { Cell::new(Instant::from_nanos(0)) };
}

/// A task ended in a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// The task's name.
    pub name: &'static str,
    /// What the panic said.
    pub message: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} panicked: {}", self.name, self.message)
    }
}

impl std::error::Error for Panicked {}

/// A handle on a spawned task: await it for the task's result. Dropping it cancels the task at its
/// current await point; [`Task::detach`] lets it run on.
#[must_use = "dropping a task cancels it: await it, keep it or detach it"]
pub struct Task<T> {
    inner: Inner<T>,
}

enum Inner<T> {
    Glommio(crate::glommio::spawn::Task<T>),
    Sim(crate::sim::Task<T>),
}

impl<T: 'static> Task<T> {
    /// Lets the task run to its end with nobody waiting. A panic in it is then seen only by the
    /// watchdog's report and the panic hook.
    pub fn detach(self) {
        match self.inner {
            Inner::Glommio(task) => task.detach(),
            Inner::Sim(task) => task.detach(),
        }
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.inner {
            Inner::Glommio(task) => Pin::new(task).poll(cx),
            Inner::Sim(task) => Pin::new(task).poll(cx),
        }
    }
}

/// Starts `future` as a task of this core. `name` says in reports what it is; many tasks may have
/// the same.
///
/// # Panics
/// On a thread that is no core.
pub fn spawn<T: 'static>(name: &'static str, future: impl Future<Output = T> + 'static) -> Task<T> {
    let inner = match world::current() {
        World::None => panic!("spawning needs a core: this thread runs outside the runtime"),
        World::Glommio => Inner::Glommio(crate::glommio::spawn::spawn(name, future)),
        World::Sim => Inner::Sim(crate::sim::spawn(name, future)),
    };
    Task { inner }
}

/// Lets the other tasks that are ready run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Yields if the current step has run for [`SLICE`] or more. Costs a clock read, so call it every
/// few dozen rows rather than every row.
pub async fn yield_if_due() {
    let due = match world::current() {
        World::None | World::Glommio => time::now().saturating_since(SLICE_BEGAN.get()) >= SLICE,
        World::Sim => crate::sim::with(crate::sim::Core::yield_is_due),
    };
    if due {
        yield_now().await;
    }
}

/// What a panic said, if it said it in text.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".to_owned())
}

/// The future of a task, dropped early if its core ends first.
pub(crate) struct Body<F> {
    name: &'static str,
    future: RefCell<Option<Pin<Box<F>>>>,
}

/// Something whose future can be dropped from outside.
pub(crate) trait Cancel {
    /// Drops the future, unless it is being polled right now. Panics in its destructors are caught
    /// and counted.
    fn cancel(&self);
}

impl<F> Cancel for Body<F> {
    fn cancel(&self) {
        let future = match self.future.try_borrow_mut() {
            Ok(mut slot) => slot.take(),
            Err(_polled_now) => None,
        };
        if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
            watchdog::count_panic();
        }
    }
}

/// The steps of a task: polls its body, times each poll, turns a panic into an error.
pub(crate) struct Steps<F> {
    body: Rc<Body<F>>,
}

impl<F: Future> Steps<F> {
    /// Wraps the future of the task `name`.
    pub(crate) fn new(name: &'static str, future: F) -> Self {
        Self { body: Rc::new(Body { name, future: RefCell::new(Some(Box::pin(future))) }) }
    }

    /// The part that outlives a step.
    pub(crate) fn body(&self) -> &Rc<Body<F>> {
        &self.body
    }
}

impl<F: Future> Future for Steps<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let name = self.body.name;
        let mut slot = self.body.future.borrow_mut();
        let Some(future) = slot.as_mut() else {
            // The core has ended and took the future away: nobody is left to see a result.
            return Poll::Pending;
        };
        let began = time::now();
        SLICE_BEGAN.set(began);
        // The future is not polled again after a panic, so no broken state is seen.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        watchdog::record(name, began, time::now());
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(out)) => {
                drop(slot);
                self.body.cancel();
                Poll::Ready(Ok(out))
            }
            Err(payload) => {
                watchdog::count_panic();
                drop(slot);
                self.body.cancel();
                Poll::Ready(Err(Panicked { name, message: panic_message(&*payload) }))
            }
        }
    }
}

impl<F> Drop for Steps<F> {
    fn drop(&mut self) {
        self.body.cancel();
    }
}
