//! Starts, watches and ends real servers for the whole-system tests.

mod battery;
mod disk;
mod network;
mod process;
mod random;
mod server;
mod shared;
pub mod speaker;

pub use battery::{seed, slice};
pub use disk::fail_file_system;
pub use network::{Network, Path};
pub use process::ProcessStatus;
pub use random::Random;
pub use server::{Ready, Server, ServerBuilder};
pub use shared::shared;

use std::time::{Duration, Instant};

/// Sleeps on the test's own thread.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// The machine's clock that does not jump.
pub fn now() -> Instant {
    Instant::now()
}

/// The time since it was started, by the machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// How long it has run.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
