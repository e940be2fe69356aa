//! Sockets of a real core, on an io_uring of their own.
//!
//! The executor's sockets cost a receive that finds nothing, a poll and a send a request. Here a
//! core has one ring for all its sockets: connections are accepted and bytes received by requests
//! that stay armed, into buffers that all connections share, and whatever the tasks want to send
//! goes to the kernel together.
//!
//! ```text
//!   tasks ──queue sends──► ring ──one system call a turn──► kernel
//!     ▲                      │                                │
//!     └──wake, bytes── slots ◄──completions── pump ◄──eventfd─┘ (when idle)
//! ```
//!
//! - `ring`: requests, completions, slots. `pump`: the task that turns it.
//! - `connection`, `listener`: what each kind of socket does with its completions.
//! - `buffers`: what the kernel receives into. `socket`: the few plain system calls.
//!
//! Bounded: a connection holds at most about [`READ_MAX`] unread bytes, then stops receiving; a
//! listener holds 128 connections, then stops accepting; an idle connection holds no buffer.
//!
//! [`READ_MAX`]: crate::net::READ_MAX

mod buffers;
mod connection;
mod listener;
mod pump;
mod ring;
mod socket;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use glommio::timer::Timer;

use connection::Connection;
use listener::Listening;
use pump::Pump;
use ring::{Ring, Shared, Slot};

/// The core's ring and the task that turns it.
struct Core {
    ring: Shared,
    pump: glommio::Task<()>,
}

thread_local! {
    static CORE: RefCell<Option<Core>> = const { RefCell::new(None) };
}

/// This core's ring; made when it is first needed.
fn ring() -> io::Result<Shared> {
    CORE.with_borrow_mut(|core| {
        if let Some(core) = core {
            return Ok(core.ring.clone());
        }
        let made = || {
            let ring = Rc::new(RefCell::new(Ring::new()?));
            let pump = Pump::new(ring.clone())?;
            Ok((ring, pump))
        };
        let (ring, pump) = made().map_err(|error: io::Error| {
            let advice = format!("cannot make the network ring (Linux 6.1 or later): {error}");
            io::Error::new(error.kind(), advice)
        })?;
        let pump = glommio::spawn_local(pump);
        *core = Some(Core { ring: ring.clone(), pump });
        Ok(ring)
    })
}

/// Has the ring looked at, whatever its state.
pub(crate) fn nudge() {
    CORE.with_borrow(|core| {
        if let Some(core) = core {
            core.ring.borrow().nudge();
        }
    });
}

/// Lets go of the core's sockets, when the core ends and all handles on them are dropped.
pub(crate) async fn end() {
    /// How long the kernel gets to give up its requests, in milliseconds.
    const PATIENCE_MS: u32 = 2_000;
    let Some(core) = CORE.with_borrow_mut(Option::take) else {
        return;
    };
    let mut waited_ms = 0;
    while !core.ring.borrow().is_empty() && waited_ms < PATIENCE_MS {
        core.ring.borrow_mut().turn();
        Timer::new(Duration::from_millis(1)).await;
        waited_ms += 1;
    }
    core.pump.cancel().await;
    if !core.ring.borrow().is_empty() {
        // The kernel may still write to the buffers: better to lose them than to free them.
        std::mem::forget(core.ring);
    }
}

pub(crate) struct Listener {
    ring: Shared,
    slot: u32,
    addr: SocketAddr,
}

impl Listener {
    pub(crate) fn bind(addr: SocketAddr, shared: bool) -> io::Result<Self> {
        let ring = ring()?;
        let socket = socket::listen(addr, shared)?;
        let addr = socket.local_addr()?;
        let slot = Slot::Listening(Listening::new(socket));
        let slot = ring.borrow_mut().insert(slot);
        Ok(Self { ring, slot, addr })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        let accepted = poll_fn(|cx| {
            let mut ring = self.ring.borrow_mut();
            let (listening, mut requests) = ring.listening(self.slot);
            listening.poll_accept(cx, &mut requests)
        })
        .await?;
        Stream::new(self.ring.clone(), accepted)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut ring = self.ring.borrow_mut();
        let (listening, mut requests) = ring.listening(self.slot);
        listening.close(&mut requests);
        ring.release(self.slot);
    }
}

/// A connection's slot; closes the connection when its last user lets go.
struct Handle {
    ring: Shared,
    slot: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut ring = self.ring.borrow_mut();
        let (connection, mut requests) = ring.connection(self.slot);
        connection.close(&mut requests);
        ring.release(self.slot);
    }
}

pub(crate) struct Stream {
    handle: Rc<Handle>,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Stream {
    fn new(ring: Shared, socket: OwnedFd) -> io::Result<Self> {
        let socket = TcpStream::from(socket);
        let (local, peer) = socket::addresses(&socket)?;
        let slot = Slot::Connection(Connection::new(socket.into()));
        let slot = ring.borrow_mut().insert(slot);
        Ok(Self { handle: Rc::new(Handle { ring, slot }), local, peer })
    }

    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let connected = Self::try_connect(addr).await;
        connected.map_err(|error| socket::at(addr, "connect to", error))
    }

    async fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        let ring = ring()?;
        let socket = TcpStream::from(socket::tcp(addr)?);
        socket.set_nodelay(true)?;
        let about = socket.try_clone()?;
        let slot = Slot::Connection(Connection::new(socket.into()));
        let slot = ring.borrow_mut().insert(slot);
        let handle = Handle { ring, slot };
        poll_fn(|cx| {
            let mut ring = handle.ring.borrow_mut();
            let (connection, mut requests) = ring.connection(handle.slot);
            connection.poll_connect(addr, cx, &mut requests)
        })
        .await?;
        let (local, peer) = socket::addresses(&about)?;
        Ok(Self { handle: Rc::new(handle), local, peer })
    }

    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf { handle: self.handle.clone() }, WriteHalf { handle: self.handle })
    }
}

pub(crate) struct ReadHalf {
    handle: Rc<Handle>,
}

/// Bytes that arrived.
pub(crate) type Received = Vec<u8>;

impl ReadHalf {
    pub(crate) async fn read(&mut self) -> io::Result<Received> {
        poll_fn(|cx| {
            let mut ring = self.handle.ring.borrow_mut();
            let (connection, mut requests) = ring.connection(self.handle.slot);
            connection.poll_read(cx, &mut requests)
        })
        .await
    }
}

pub(crate) struct WriteHalf {
    handle: Rc<Handle>,
}

impl WriteHalf {
    pub(crate) async fn write_all(&mut self, bufs: &mut Vec<Bytes>) -> io::Result<()> {
        let mut begun = false;
        poll_fn(|cx| {
            let mut ring = self.handle.ring.borrow_mut();
            let (connection, mut requests) = ring.connection(self.handle.slot);
            connection.poll_write(bufs, &mut begun, cx, &mut requests)
        })
        .await
    }

    pub(crate) async fn shutdown(&mut self) {
        let mut ring = self.handle.ring.borrow_mut();
        let (connection, _requests) = ring.connection(self.handle.slot);
        socket::shut_down(connection.fd(), libc::SHUT_WR);
    }
}
