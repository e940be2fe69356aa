//! Core to core: every core can send to every core, and receives from all in one place.
//!
//! ```text
//!   core 0 ──┐                    an inbox a core: one lock-free queue,
//!   core 1 ──┼──► inbox of core 2     a count for each sender that bounds
//!   core 2 ──┘                        what it may have waiting there
//! ```
//!
//! - **Bounded**: each pair of cores has its own allowance, so that one busy sender does not shut
//!   out the others. At the limit [`Mesh::try_send`] gives the message back and [`Mesh::send`]
//!   waits; both are counted in [`Mesh::stalls`].
//! - **Ordered**: what one core sends to another arrives in order.
//! - **Batched**: a wake-up costs far more than a message. A receiver that is awake is not woken,
//!   and one wake-up takes all that has arrived by then.
//! - **No rendezvous**: joining never waits, so that cores may join several meshes in any order.
//!
//! When a core leaves (its last handle is dropped) its inbox closes: sending to it fails from then
//! on, and whoever waits to do so is told.

use crate::world::{self, World};

mod threads;

pub use crate::sync::Closed;

use std::fmt;

/// The inbox of the other core has no room left for messages from this one; here is the message.
pub struct Full<M>(pub M);

impl<M> fmt::Debug for Full<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<M> fmt::Display for Full<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other core's inbox is full")
    }
}

impl<M> std::error::Error for Full<M> {}

/// A mesh before its cores have joined it. One clone goes to each core.
pub struct MeshBuilder<M: Send + 'static> {
    inner: BuilderInner<M>,
}

enum BuilderInner<M: Send + 'static> {
    Threads(threads::Builder<M>),
}

impl<M: Send + 'static> Clone for MeshBuilder<M> {
    fn clone(&self) -> Self {
        let inner = match &self.inner {
            BuilderInner::Threads(builder) => BuilderInner::Threads(builder.clone()),
        };
        Self { inner }
    }
}

impl<M: Send + 'static> MeshBuilder<M> {
    /// A mesh of `cores` cores; each may have `capacity_per_pair` messages waiting at each other,
    /// and at itself. Memory is taken as messages wait, not before.
    ///
    /// # Panics
    /// If either is zero.
    #[must_use]
    pub fn new(cores: u16, capacity_per_pair: usize) -> Self {
        assert!(cores > 0, "a mesh needs a core");
        assert!(capacity_per_pair > 0, "a mesh needs room for a message");
        let inner = match world::current() {
            // Simulated cores take turns on one thread, which is one of the ways threads can run.
            World::None | World::Glommio | World::Sim => {
                BuilderInner::Threads(threads::Builder::new(cores, capacity_per_pair))
            }
        };
        Self { inner }
    }

    /// Makes this the place of core `me`, from 0. Does not wait for the others: what is sent to a
    /// core that has not joined yet waits in its inbox.
    ///
    /// # Panics
    /// If there is no such core, or it has joined already.
    pub async fn join(self, me: u16) -> Mesh<M> {
        let inner = match self.inner {
            BuilderInner::Threads(builder) => MeshInner::Threads(builder.join(me)),
        };
        Mesh { inner }
    }
}

/// One core's end of the mesh. Cloning gives another handle on the same end.
pub struct Mesh<M: Send + 'static> {
    inner: MeshInner<M>,
}

enum MeshInner<M: Send + 'static> {
    Threads(threads::Mesh<M>),
}

impl<M: Send + 'static> Clone for Mesh<M> {
    fn clone(&self) -> Self {
        let inner = match &self.inner {
            MeshInner::Threads(mesh) => MeshInner::Threads(mesh.clone()),
        };
        Self { inner }
    }
}

impl<M: Send + 'static> Mesh<M> {
    /// Sends `message` to core `to` if there is room and none of this core waits for it. To a core
    /// that has left, the message is dropped: ask [`Mesh::is_open`] where that matters.
    ///
    /// # Errors
    /// [`Full`] with the message.
    ///
    /// # Panics
    /// If there is no core `to`.
    pub fn try_send(&self, to: u16, message: M) -> Result<(), Full<M>> {
        match &self.inner {
            MeshInner::Threads(mesh) => mesh.try_send(to, message),
        }
    }

    /// Sends `message` to core `to`, waiting for room behind those of this core that wait already.
    ///
    /// # Errors
    /// [`Closed`] if the core has left; the message is dropped.
    ///
    /// # Panics
    /// If there is no core `to`.
    pub async fn send(&self, to: u16, message: M) -> Result<(), Closed> {
        match &self.inner {
            MeshInner::Threads(mesh) => mesh.send(to, message).await,
        }
    }

    /// Waits until a message is there, then appends all that are to `out`, at most `max`, each
    /// with the core it came from. One task a core may receive at a time.
    ///
    /// # Errors
    /// [`Closed`] when all other cores have left and nothing is waiting. A mesh of one core never
    /// closes.
    ///
    /// # Panics
    /// If `max` is zero.
    pub async fn recv_many(&self, out: &mut Vec<(u16, M)>, max: usize) -> Result<(), Closed> {
        assert!(max > 0, "receiving nothing would wait for nothing");
        match &self.inner {
            MeshInner::Threads(mesh) => mesh.recv_many(out, max).await,
        }
    }

    /// Whether core `to` can still receive.
    ///
    /// # Panics
    /// If there is no core `to`.
    #[must_use]
    pub fn is_open(&self, to: u16) -> bool {
        match &self.inner {
            MeshInner::Threads(mesh) => mesh.is_open(to),
        }
    }

    /// How often this core found another's inbox full.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        match &self.inner {
            MeshInner::Threads(mesh) => mesh.stalls(),
        }
    }
}
