//! Which world the current thread is in.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;

/// A future that stays on the core that made it.
pub type BoxLocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Where a thread's time, tasks, files and sockets come from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// A plain thread: clock and randomness only.
    None,
    /// A core of the real node.
    Glommio,
    /// A core of a simulated node, inside one of its steps.
    Sim,
}

thread_local! {
    static CURRENT: Cell<World> = const { Cell::new(World::None) };
}

/// The world of this thread.
pub(crate) fn current() -> World {
    CURRENT.get()
}

/// Whether this thread is inside a step of a simulation.
pub(crate) fn is_simulated() -> bool {
    current() == World::Sim
}

/// Puts this thread into `world` until the guard is dropped.
pub(crate) fn enter(world: World) -> Entered {
    Entered { before: CURRENT.replace(world) }
}

/// Restores the world a thread was in before [`enter`].
pub(crate) struct Entered {
    before: World,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// The answer to a file or socket operation on a plain thread.
pub(crate) fn no_world(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{what} needs a core: this thread runs outside the runtime"),
    )
}
