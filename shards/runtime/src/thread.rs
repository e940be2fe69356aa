//! Threads of another kind: signals, HTTP, anything that blocks.
//!
//! A foreign thread is in no world. It talks to a core by a `flume` channel, whose waker reaches a
//! sleeping core. In the simulator there are none: what needs one is not simulated.

use std::any::Any;
use std::io;

use crate::world::{self, World};

/// A handle on a foreign thread. Dropping it lets the thread run on.
pub struct JoinHandle<T> {
    handle: std::thread::JoinHandle<T>,
}

impl<T> JoinHandle<T> {
    /// Waits for the thread's end. It blocks: not for use on a core.
    ///
    /// # Errors
    /// The payload of the panic the thread ended in.
    pub fn join(self) -> Result<T, Box<dyn Any + Send + 'static>> {
        self.handle.join()
    }

    /// Whether the thread has ended, so that [`JoinHandle::join`] returns at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

/// Starts a thread outside the world of cores. The kernel shows the first 15 bytes of its name.
///
/// # Errors
/// When the kernel has no room for another thread; [`io::ErrorKind::Unsupported`] in the simulator.
pub fn spawn<T: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    match world::current() {
        World::None | World::Glommio => std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(f)
            .map(|handle| JoinHandle { handle }),
        World::Sim => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("thread {name}: a simulation has no foreign threads"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn joins_with_the_result() {
        let thread = super::spawn("adder", || 1 + 1).unwrap();
        assert_eq!(thread.join().unwrap(), 2);
    }
}
