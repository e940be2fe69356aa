//! Sockets of a real core, over the executor's own TCP.
//!
//! A read polls with one scratch buffer that the core's connections share, and copies what came
//! into memory of just that size: an idle connection waits for readiness and holds no buffer. A
//! write hands the whole batch to the kernel in one call and waits for readiness only when the
//! kernel does not take all of it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::{Buf, Bytes};
use futures::io::{AsyncRead, AsyncWrite};
use glommio::GlommioError;
use glommio::net::{TcpListener, TcpStream};

mod socket;

use crate::net::READ_MAX;

/// Buffers in one system call; the kernel's own limit is 1024.
const GATHER_MAX: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_MAX].into_boxed_slice());
}

/// Lets go of the core's sockets, when the core ends.
pub(crate) async fn end() {}

fn io_error<T>(error: GlommioError<T>) -> io::Error {
    match error {
        GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => source,
        other => io::Error::other(other.to_string()),
    }
}

pub(crate) struct Listener {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Listener {
    pub(crate) fn bind(addr: SocketAddr, shared: bool) -> io::Result<Self> {
        let socket = socket::listen(addr, shared)?;
        let addr = socket.local_addr()?;
        // SAFETY: the descriptor is open, and given away here.
        let listener = unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) };
        Ok(Self { listener, addr })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        let stream = self.listener.accept().await.map_err(io_error)?;
        Stream::new(stream)
    }
}

pub(crate) struct Stream {
    stream: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Stream {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true).map_err(io_error)?;
        let local = stream.local_addr().map_err(io_error)?;
        let peer = stream.peer_addr().map_err(io_error)?;
        Ok(Self { stream, local, peer })
    }

    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await.map_err(io_error);
        let stream = stream.map_err(|error| socket::at(addr, "connect to", error))?;
        Self::new(stream)
    }

    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn split(self) -> (ReadHalf, WriteHalf) {
        let stream = Rc::new(RefCell::new(self.stream));
        (ReadHalf { stream: stream.clone() }, WriteHalf { stream })
    }
}

pub(crate) struct ReadHalf {
    stream: Rc<RefCell<TcpStream>>,
}

/// Bytes that arrived.
pub(crate) type Received = Box<[u8]>;

impl ReadHalf {
    pub(crate) async fn read(&mut self) -> io::Result<Received> {
        poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut stream = self.stream.borrow_mut();
                let read = Pin::new(&mut *stream).poll_read(cx, scratch);
                read.map_ok(|len| scratch[..len].into())
            })
        })
        .await
    }
}

pub(crate) struct WriteHalf {
    stream: Rc<RefCell<TcpStream>>,
}

impl WriteHalf {
    pub(crate) async fn write_all(&mut self, bufs: &mut Vec<Bytes>) -> io::Result<()> {
        let mut done = 0;
        while done < bufs.len() {
            if bufs[done].is_empty() {
                done += 1;
                continue;
            }
            let fd = self.stream.borrow().as_raw_fd();
            let mut sent = match socket::send_gathered(fd, &bufs[done..], GATHER_MAX) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The executor's write waits for readiness, then sends what it can.
                    let first = &bufs[done];
                    poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, first))
                        .await?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            while sent > 0 {
                let step = sent.min(bufs[done].len());
                bufs[done].advance(step);
                sent -= step;
                if bufs[done].is_empty() {
                    done += 1;
                }
            }
        }
        bufs.clear();
        Ok(())
    }

    pub(crate) async fn shutdown(&mut self) {
        let shut = poll_fn(|cx| match self.stream.try_borrow_mut() {
            Ok(mut stream) => Pin::new(&mut *stream).poll_close(cx),
            Err(_in_use) => Poll::Ready(Ok(())),
        });
        // It fails only where the connection is gone already, which the next call tells.
        drop(shut.await);
    }
}
