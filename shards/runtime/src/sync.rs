//! Primitives that tasks of one core wait on each other with.
//!
//! They know no world: plain cells, lists and wakers, first come first served, so that the same
//! program does the same thing in the same order in the simulator. All are `!Send`; a handle is an
//! `Rc`. A waiter that is dropped leaves its place, and gives on what it had been handed.

mod event;
mod notify;
pub mod oneshot;
pub mod queue;
mod semaphore;

pub use event::Event;
pub use notify::{Notified, Notify};
pub use semaphore::{Permit, Semaphore};

use std::fmt;

/// The other end is gone, or has been closed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other end is closed")
    }
}

impl std::error::Error for Closed {}

#[cfg(test)]
mod tests;
