//! Tasks and sleeps of a simulated core, behind `crate::task` and `crate::time`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::completion::{Completion, completion};
use super::core::{Core, SpawnedTask, current};
use crate::task::{Panicked, Steps};
use crate::time::{Instant, TimerKey};

/// The handle on a task. Dropping it ends the task.
pub(crate) struct Task<T> {
    task: SpawnedTask,
    result: Completion<Result<T, Panicked>>,
}

impl<T: 'static> Task<T> {
    pub fn detach(self) {
        self.task.detach();
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context)
    }
}

/// Starts `future` on the current core.
pub(crate) fn spawn<T: 'static>(
    name: &'static str,
    future: impl Future<Output = T> + 'static,
) -> Task<T> {
    let core = current();
    let steps = Steps::new(name, future);
    let (completer, result) = completion();
    let runs_on = core.clone();
    let body = async move {
        let ended = steps.await;
        if let Err(panicked) = &ended {
            runs_on.record_panic(name, &panicked.message);
        }
        completer.complete(ended);
    };
    Task { task: core.spawn(name, Box::pin(body)), result }
}

/// One sleep.
pub(crate) struct Sleep {
    core: Core,
    deadline: Instant,
    key: Option<TimerKey>,
}

impl Sleep {
    pub fn until(deadline: Instant) -> Sleep {
        Sleep { core: current(), deadline, key: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.core.now() >= self.deadline.as_nanos() {
            return Poll::Ready(());
        }
        let (deadline, key) = (self.deadline, self.key);
        let key = self.core.with_timers(|timers| match key {
            Some(key) if timers.update(key, context.waker()) => key,
            _ => timers.insert(deadline, context.waker().clone()),
        });
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.core.with_timers(|timers| timers.cancel(key));
        }
    }
}
