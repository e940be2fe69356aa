//! openraft's runtime over the seam: its tasks, timers, channels and random numbers are the core's,
//! in both worlds, so that a simulated cluster is one run a seed.
//!
//! Everything is `!Send`: a group lives on one core. A handle of a task that openraft drops leaves
//! the task to run on, as it expects.

mod clock;
mod mpsc;
mod mutex;
mod oneshot;
#[cfg(test)]
mod tests;
mod watch;

use clock::{Tick, TimeLimit};
use openraft::{AsyncRuntime, OptionalSend};
use rand::TryRng;
use runtime::random;
use runtime::sim::{Options, Sim};
use runtime::task::{self, Panicked, Task};
use runtime::time::{self, Elapsed};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The runtime of a core, as openraft asks for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeamRuntime;

impl AsyncRuntime for SeamRuntime {
    type JoinError = Panicked;
    type JoinHandle<T: OptionalSend + 'static> = Handle<T>;
    type Sleep = time::Sleep;
    type Instant = Tick;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = TimeLimit<T>;
    type ThreadLocalRng = CoreRng;
    type Mpsc = mpsc::Queue;
    type Watch = watch::Watched;
    type Oneshot = oneshot::Once;
    type Mutex<T: OptionalSend + 'static> = mutex::Lock<T>;

    fn spawn<T>(future: T) -> Handle<T::Output>
    where
        T: Future + 'static,
        T::Output: 'static,
    {
        Handle(Some(task::spawn("raft", future)))
    }

    fn sleep(duration: Duration) -> time::Sleep {
        clock::sleep_until(time::now() + duration)
    }

    fn sleep_until(deadline: Tick) -> time::Sleep {
        clock::sleep_until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R>>(duration: Duration, future: F) -> TimeLimit<F> {
        TimeLimit::new(future, clock::sleep_until(time::now() + duration))
    }

    fn timeout_at<R, F: Future<Output = R>>(deadline: Tick, future: F) -> TimeLimit<F> {
        TimeLimit::new(future, clock::sleep_until(deadline.0))
    }

    /// A task ends without a result in a panic only.
    fn is_panic(_: &Panicked) -> bool {
        true
    }

    fn thread_rng() -> CoreRng {
        CoreRng
    }

    fn new(_threads: usize) -> SeamRuntime {
        SeamRuntime
    }

    /// Runs `future` in a simulated world of its own: on a core it would have nothing to block.
    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        match Sim::new(Options::new(0)).run_until(future) {
            Ok(output) => output,
            Err(stuck) => panic!("nothing is left that could end the run: {stuck}"),
        }
    }
}

/// A task of openraft. Dropping it leaves the task to run on.
pub struct Handle<T: 'static>(Option<Task<T>>);

impl<T> Future for Handle<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(task) => Pin::new(task).poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }
}

/// The random numbers of the core that asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct CoreRng;

impl TryRng for CoreRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((random::next_u64() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(random::next_u64())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        random::fill(out);
        Ok(())
    }
}
