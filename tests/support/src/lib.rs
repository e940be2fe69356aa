//! Starts, watches and ends real servers for the whole-system tests.

mod process;
mod server;
mod shared;

pub use process::ProcessStatus;
pub use server::{Ready, Server, ServerBuilder};
pub use shared::shared;

use std::time::Duration;

/// Sleeps on the test's own thread.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}
