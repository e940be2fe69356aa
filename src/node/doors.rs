//! The doors of a core: the one it shares with the others, and its own.

use super::{Assembly, NodeError};
use crate::pg;
use crate::session::native;
use runtime::net::{Listener, Stream};
use runtime::{task, time};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Clients beyond the limit that a core tells so at one time; further ones are just closed.
const TURNED_AWAY_MAX: u32 = 64;
/// A pause after an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A door of a core, whatever protocol is spoken there.
pub(super) trait Door {
    /// Serves a connection to its end.
    fn serve(self: Rc<Self>, stream: Stream) -> impl Future<Output = ()>;
    /// Tells a client that there are too many.
    fn turn_away(self: Rc<Self>, stream: Stream, max: u32) -> impl Future<Output = ()>;
}

impl Door for native::Door {
    fn serve(self: Rc<Self>, stream: Stream) -> impl Future<Output = ()> {
        native::Door::serve(self, stream)
    }

    fn turn_away(self: Rc<Self>, stream: Stream, max: u32) -> impl Future<Output = ()> {
        native::Door::turn_away(self, stream, max)
    }
}

impl Door for pg::Door {
    fn serve(self: Rc<Self>, stream: Stream) -> impl Future<Output = ()> {
        pg::Door::serve(self, stream)
    }

    fn turn_away(self: Rc<Self>, stream: Stream, max: u32) -> impl Future<Output = ()> {
        pg::Door::turn_away(self, stream, max)
    }
}

/// Takes a shared address for core 0, and finds the port where any would do.
pub(super) async fn open_first(address: SocketAddr) -> Result<Listener, NodeError> {
    if address.port() != 0 {
        // Sharing a port would let a second node of the same user in silently.
        drop(bind(address, false).await?);
    }
    open_shared(address).await
}

/// Takes the shared address where core 0 has found it.
pub(super) async fn open_shared(address: SocketAddr) -> Result<Listener, NodeError> {
    bind(address, true).await
}

/// The core's own door: at the port after core 0's, or at any where that one is taken.
pub(super) async fn open_own(assembly: &Assembly, core: u16) -> Result<Listener, NodeError> {
    let mut address = assembly.options.core_listen;
    let first = address.port();
    address.set_port(match first {
        0 => 0,
        first => first.checked_add(core).unwrap_or(0),
    });
    match bind(address, false).await {
        Err(NodeError::Listen { source, .. })
            if source.kind() == io::ErrorKind::AddrInUse && address.port() != 0 =>
        {
            log::warn!(core = core, address = address.to_string(); "the core's own port is taken; it gets a free one");
            address.set_port(0);
            bind(address, false).await
        }
        bound => bound,
    }
}

async fn bind(address: SocketAddr, shared: bool) -> Result<Listener, NodeError> {
    Listener::bind(address, shared).await.map_err(|source| NodeError::Listen { address, source })
}

/// The node's connections, counted over all cores: at connecting and closing, never in between.
pub(super) struct Connections {
    open: Arc<AtomicU32>,
    max: u32,
    turned_away: Rc<Cell<u32>>,
}

impl Connections {
    pub(super) fn new(assembly: &Assembly) -> Connections {
        Connections {
            open: assembly.connections.clone(),
            max: assembly.options.connections_max,
            turned_away: Rc::default(),
        }
    }

    /// A place for one more connection, if there is one.
    fn seat(&self) -> Option<Seat> {
        let seat = Seat(self.open.clone());
        // The seat gives back what it took, also where that was one too many.
        (self.open.fetch_add(1, Ordering::Relaxed) < self.max).then_some(seat)
    }
}

/// A connection's place among the node's; given back when dropped.
struct Seat(Arc<AtomicU32>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections until it is dropped.
pub(super) async fn accept<D: Door + 'static>(
    listener: Listener,
    door: Rc<D>,
    connections: Connections,
) {
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                log::warn!("a connection was not accepted: {error}");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let door = door.clone();
        if let Some(seat) = connections.seat() {
            let session = async move {
                door.serve(stream).await;
                drop(seat);
            };
            task::spawn("session", session).detach();
        } else if connections.turned_away.get() < TURNED_AWAY_MAX {
            let turned_away = connections.turned_away.clone();
            turned_away.set(turned_away.get() + 1);
            let max = connections.max;
            let refusal = async move {
                door.turn_away(stream, max).await;
                turned_away.set(turned_away.get() - 1);
            };
            task::spawn("session", refusal).detach();
        }
    }
}
