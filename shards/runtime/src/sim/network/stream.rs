//! Streams: a process's hold on one end of a connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::super::kernel::World;
use super::connection::{Connection, End, Payload, Side};

/// A segment carries this many bytes at most.
const SEGMENT_BYTES_MAX: usize = 64 * 1024;

/// One end of a stream; closes with its last half.
pub(crate) struct Stream {
    reading: ReadHalf,
    writing: WriteHalf,
}

/// A half's hold on its end.
struct Hold {
    world: Rc<World>,
    connection: Rc<Connection>,
    side: Side,
}

impl Hold {
    fn new(world: &Rc<World>, connection: &Rc<Connection>, side: Side) -> Hold {
        Hold { world: Rc::clone(world), connection: Rc::clone(connection), side }
    }

    fn end(&self) -> &RefCell<End> {
        self.connection.end(self.side)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut end = self.end().borrow_mut();
        end.halves -= 1;
        let closes = end.halves == 0 && end.open;
        drop(end);
        if closes {
            self.connection.close(&self.world, self.side);
            self.world.network.forget_if_over(&self.connection);
        }
    }
}

/// The reading half of a stream.
pub(crate) struct ReadHalf(Hold);

/// The writing half of a stream.
pub(crate) struct WriteHalf(Hold);

impl Stream {
    pub(super) fn new(world: &Rc<World>, connection: &Rc<Connection>, side: Side) -> Stream {
        Stream {
            reading: ReadHalf(Hold::new(world, connection, side)),
            writing: WriteHalf(Hold::new(world, connection, side)),
        }
    }

    pub fn peer_addr(&self) -> SocketAddr {
        let hold = &self.reading.0;
        hold.connection.end(hold.side.other()).borrow().address
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.reading.0.end().borrow().address
    }

    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (self.reading, self.writing)
    }
}

impl ReadHalf {
    /// Bytes that have arrived, at most `max`; none at the end of the stream.
    pub async fn read(&mut self, max: usize) -> io::Result<Vec<u8>> {
        poll_fn(|context| self.poll_read(context, max)).await
    }

    fn poll_read(&mut self, context: &mut Context<'_>, max: usize) -> Poll<io::Result<Vec<u8>>> {
        let Hold { world, connection, side } = &self.0;
        let mut end = connection.end(*side).borrow_mut();
        if let Some(code) = end.error {
            return Poll::Ready(Err(io::Error::from_raw_os_error(code)));
        }
        if end.arrived_bytes == 0 {
            if end.end_arrived {
                return Poll::Ready(Ok(Vec::new()));
            }
            end.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut wanted = end.arrived_bytes.min(max);
        if world.random.happens(world.network.faults.borrow().short_read) {
            wanted = 1 + world.random.index(wanted);
        }
        let mut bytes = Vec::with_capacity(wanted);
        while bytes.len() < wanted
            && let Some(front) = end.arrived.front_mut()
        {
            let part = front.split_to(front.len().min(wanted - bytes.len()));
            bytes.extend_from_slice(&part);
            if front.is_empty() {
                end.arrived.pop_front();
            }
        }
        end.arrived_bytes -= bytes.len();
        drop(end);
        if let Some(writer) = connection.end(side.other()).borrow_mut().writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(bytes))
    }
}

impl WriteHalf {
    /// Hands all of `parts` to the network, in order, and empties them.
    pub async fn write_all(&mut self, parts: &mut Vec<Bytes>) -> io::Result<()> {
        for part in parts.drain(..) {
            let mut rest = part;
            while !rest.is_empty() {
                poll_fn(|context| self.poll_write(context, &mut rest)).await?;
            }
        }
        Ok(())
    }

    fn poll_write(&self, context: &mut Context<'_>, rest: &mut Bytes) -> Poll<io::Result<()>> {
        let Hold { world, connection, side } = &self.0;
        let unread = connection.end(side.other()).borrow().arrived_bytes;
        let mut end = connection.end(*side).borrow_mut();
        if let Some(code) = end.error {
            return Poll::Ready(Err(io::Error::from_raw_os_error(code)));
        }
        if end.ended {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EPIPE)));
        }
        let (window, reset) = {
            let faults = world.network.faults.borrow();
            (faults.window_bytes, faults.reset)
        };
        let room = window.saturating_sub(end.queued_bytes + unread);
        if room == 0 {
            end.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(end);
        if world.random.happens(reset) {
            connection.reset();
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNRESET)));
        }
        let part = rest.split_to(rest.len().min(room).min(SEGMENT_BYTES_MAX));
        connection.send(world, *side, Payload::Data(part));
        Poll::Ready(Ok(()))
    }

    /// Says that no more will be sent; what was written before arrives first.
    pub fn shutdown(&mut self) {
        let mut end = self.0.end().borrow_mut();
        let first = !std::mem::replace(&mut end.ended, true) && end.error.is_none();
        drop(end);
        if first {
            self.0.connection.send(&self.0.world, self.0.side, Payload::End);
        }
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.shutdown();
    }
}
