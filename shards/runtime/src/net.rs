//! TCP sockets.
//!
//! Completion-shaped: a read hands over all bytes that have arrived, in a buffer that the runtime
//! owns until it is dropped; a write takes a batch of buffers and returns when the kernel has all
//! of them. A connection that is idle holds no buffer. `TCP_NODELAY` is set on every connection:
//! batches are gathered here, not by the kernel.
//!
//! A stream belongs to the core that accepted or connected it. Its halves may live in two tasks.
//! The connection closes when both halves are dropped; [`WriteHalf::shutdown`] says the end of the
//! stream to the peer earlier.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;

use bytes::Bytes;

use crate::glommio::net as real;
use crate::sim::socket as simulated;
use crate::world::{self, World};

/// A read returns at most this many bytes.
pub const READ_MAX: usize = 64 << 10;

/// A listening socket.
pub struct Listener {
    inner: ListenerInner,
}

enum ListenerInner {
    Glommio(real::Listener),
    Sim(simulated::Listener),
}

impl Listener {
    /// Listens on `addr`; port 0 picks a free one. With `shared`, several listeners, one a core,
    /// may have the same port, and the kernel spreads connections over them (`SO_REUSEPORT`).
    ///
    /// # Errors
    /// The kernel's, with the address.
    pub async fn bind(addr: SocketAddr, shared: bool) -> io::Result<Self> {
        let inner = match world::current() {
            World::None => return Err(world::no_world("a socket")),
            World::Glommio => ListenerInner::Glommio(real::Listener::bind(addr, shared)?),
            World::Sim => ListenerInner::Sim(simulated::Listener::bind(addr, shared)?),
        };
        Ok(Self { inner })
    }

    /// The address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        match &self.inner {
            ListenerInner::Glommio(listener) => listener.local_addr(),
            ListenerInner::Sim(listener) => listener.local_addr(),
        }
    }

    /// Waits for the next connection. One task at a time.
    ///
    /// # Errors
    /// The kernel's. After one such as `EMFILE` or `ECONNABORTED` the listener is still good: wait
    /// a little and accept again.
    pub async fn accept(&self) -> io::Result<Stream> {
        let inner = match &self.inner {
            ListenerInner::Glommio(listener) => StreamInner::Glommio(listener.accept().await?),
            ListenerInner::Sim(listener) => StreamInner::Sim(listener.accept().await),
        };
        Ok(Stream { inner })
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.local_addr())
    }
}

/// A connection.
pub struct Stream {
    inner: StreamInner,
}

enum StreamInner {
    Glommio(real::Stream),
    Sim(simulated::Stream),
}

impl Stream {
    /// Connects to `addr`. The kernel gives up after minutes: put a [`crate::time::timeout`]
    /// around it.
    ///
    /// # Errors
    /// The kernel's, with the address.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let inner = match world::current() {
            World::None => return Err(world::no_world("a socket")),
            World::Glommio => StreamInner::Glommio(real::Stream::connect(addr).await?),
            World::Sim => StreamInner::Sim(simulated::connect(addr).await?),
        };
        Ok(Self { inner })
    }

    /// The address of the other end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        match &self.inner {
            StreamInner::Glommio(stream) => stream.peer_addr(),
            StreamInner::Sim(stream) => stream.peer_addr(),
        }
    }

    /// The address of this end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        match &self.inner {
            StreamInner::Glommio(stream) => stream.local_addr(),
            StreamInner::Sim(stream) => stream.local_addr(),
        }
    }

    /// The half that reads and the half that writes.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        match self.inner {
            StreamInner::Glommio(stream) => {
                let (read, write) = stream.split();
                (
                    ReadHalf { inner: ReadInner::Glommio(read) },
                    WriteHalf { inner: WriteInner::Glommio(write) },
                )
            }
            StreamInner::Sim(stream) => {
                let (read, write) = stream.split();
                (
                    ReadHalf { inner: ReadInner::Sim(read) },
                    WriteHalf { inner: WriteInner::Sim(write) },
                )
            }
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.peer_addr())
    }
}

/// The half of a connection that reads.
pub struct ReadHalf {
    inner: ReadInner,
}

enum ReadInner {
    Glommio(real::ReadHalf),
    Sim(simulated::ReadHalf),
}

impl ReadHalf {
    /// Waits for bytes and returns all that have arrived, at most [`READ_MAX`]; none means that
    /// the peer has ended its stream. If the future is dropped, no byte is lost: the next read
    /// returns them.
    ///
    /// # Errors
    /// The kernel's; the stream is at its end then.
    pub async fn read(&mut self) -> io::Result<Received> {
        let inner = match &mut self.inner {
            ReadInner::Glommio(half) => ReceivedInner::Glommio(half.read().await?),
            ReadInner::Sim(half) => ReceivedInner::Sim(half.read(READ_MAX).await?),
        };
        Ok(Received { inner })
    }
}

/// Bytes that arrived. They live in a buffer of the runtime: keep it no longer than needed.
pub struct Received {
    inner: ReceivedInner,
}

enum ReceivedInner {
    Glommio(real::Received),
    Sim(Vec<u8>),
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.inner {
            ReceivedInner::Glommio(bytes) => bytes,
            ReceivedInner::Sim(bytes) => bytes,
        }
    }
}

impl From<Received> for Vec<u8> {
    /// The same bytes, not copied.
    fn from(received: Received) -> Vec<u8> {
        match received.inner {
            ReceivedInner::Glommio(bytes) | ReceivedInner::Sim(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Received({} bytes)", self.len())
    }
}

/// The half of a connection that writes.
pub struct WriteHalf {
    inner: WriteInner,
}

enum WriteInner {
    Glommio(real::WriteHalf),
    Sim(simulated::WriteHalf),
}

impl WriteHalf {
    /// Gives the kernel all of `bufs`, in order and with as few system calls as it allows, and
    /// leaves `bufs` empty. Waits while the peer does not read. If it fails, or the future is
    /// dropped, any part may have been sent: close the connection.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn write_all(&mut self, bufs: &mut Vec<Bytes>) -> io::Result<()> {
        match &mut self.inner {
            WriteInner::Glommio(half) => half.write_all(bufs).await,
            WriteInner::Sim(half) => half.write_all(bufs).await,
        }
    }

    /// Tells the peer that nothing more comes. It can still send; what it sent can still be read.
    pub async fn shutdown(&mut self) {
        match &mut self.inner {
            WriteInner::Glommio(half) => half.shutdown().await,
            WriteInner::Sim(half) => half.shutdown(),
        }
    }
}
