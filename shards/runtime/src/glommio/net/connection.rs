//! The state of one connection.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

use super::ring::{Completion, Operation, Requests};
use super::socket;
use crate::net::READ_MAX;

/// Parts in one gathered send; the kernel's own limit is 1024.
const GATHER_MAX: usize = 256;

/// How a stream of received bytes ended.
enum End {
    Finished,
    /// An error number, reported once.
    Failed(i32),
}

/// A batch on its way out. It is boxed, and not touched while a request points into it.
struct Outgoing {
    parts: Vec<Bytes>,
    /// Parts before this one are sent.
    next: usize,
    list: Vec<libc::iovec>,
    message: MaybeUninit<libc::msghdr>,
}

/// Where a connection is on its way to being connected.
struct Connecting {
    name: MaybeUninit<libc::sockaddr_storage>,
    len: libc::socklen_t,
    result: Option<i32>,
}

/// A socket, what has arrived and what is on its way.
///
/// ```text
/// receive:  idle ─read─► armed ─bytes─► armed ... ─READ_MAX unread─► cancelling ─► idle
///                          └─ENOBUFS─► armed again          └─end, error─► ended
/// send:     idle ─write_all─► in flight ─short─► in flight ... ─all sent─► idle
/// close:    both halves dropped ─► shut down, all cancelled ─► no flights ─► slot freed
/// ```
pub(super) struct Connection {
    fd: OwnedFd,
    /// Requests with the kernel.
    flights: u32,
    closing: bool,
    connecting: Option<Box<Connecting>>,

    unread: Vec<u8>,
    end: Option<End>,
    armed: bool,
    cancelling: bool,
    reader: Option<Waker>,

    outgoing: Option<Box<Outgoing>>,
    sent: Option<io::Result<()>>,
    writer: Option<Waker>,
}

impl Connection {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            flights: 0,
            closing: false,
            connecting: None,
            unread: Vec::new(),
            end: None,
            armed: false,
            cancelling: false,
            reader: None,
            outgoing: None,
            sent: None,
            writer: None,
        }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(super) fn is_done(&self) -> bool {
        self.closing && self.flights == 0
    }

    /// Begins to connect, or looks how far it is.
    pub(super) fn poll_connect(
        &mut self,
        addr: SocketAddr,
        cx: &Context<'_>,
        requests: &mut Requests<'_>,
    ) -> Poll<io::Result<()>> {
        let fd = self.fd();
        match &mut self.connecting {
            None => {
                let (name, len) = socket::to_kernel(addr);
                let connecting =
                    self.connecting.insert(Box::new(Connecting { name, len, result: None }));
                self.flights += 1;
                // SAFETY: the box stays in this slot, which lives until the request completes.
                unsafe { requests.connect(fd, connecting.name.as_ptr().cast(), connecting.len) };
            }
            Some(connecting) => {
                if let Some(result) = connecting.result {
                    self.connecting = None;
                    return Poll::Ready(outcome(result).map(drop));
                }
            }
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        requests: &mut Requests<'_>,
    ) -> Poll<io::Result<Vec<u8>>> {
        if !self.unread.is_empty() {
            let rest = if self.unread.len() > READ_MAX {
                self.unread.split_off(READ_MAX)
            } else {
                Vec::new()
            };
            return Poll::Ready(Ok(std::mem::replace(&mut self.unread, rest)));
        }
        match self.end {
            Some(End::Finished) => return Poll::Ready(Ok(Vec::new())),
            Some(End::Failed(error)) => {
                self.end = Some(End::Finished);
                return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
            }
            None => {}
        }
        self.arm(requests);
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes the batch over, or looks how far it is. `begun` is the caller's note that it gave its
    /// batch.
    pub(super) fn poll_write(
        &mut self,
        parts: &mut Vec<Bytes>,
        begun: &mut bool,
        cx: &Context<'_>,
        requests: &mut Requests<'_>,
    ) -> Poll<io::Result<()>> {
        if !*begun {
            if self.outgoing.is_some() {
                // The peer has half of an earlier batch: what would follow makes no sense to it.
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::BrokenPipe,
                    "an earlier write was given up midway",
                )));
            }
            if parts.iter().all(Bytes::is_empty) {
                parts.clear();
                return Poll::Ready(Ok(()));
            }
            *begun = true;
            self.outgoing = Some(Box::new(Outgoing {
                parts: std::mem::take(parts),
                next: 0,
                list: Vec::new(),
                message: MaybeUninit::zeroed(),
            }));
            self.send(requests);
        } else if let Some(sent) = self.sent.take() {
            if let Some(outgoing) = self.outgoing.take() {
                // The caller gets its list back, for the next batch.
                *parts = outgoing.parts;
                parts.clear();
            }
            return Poll::Ready(sent);
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Asks the kernel to send the next parts.
    fn send(&mut self, requests: &mut Requests<'_>) {
        let fd = self.fd();
        let Some(outgoing) = &mut self.outgoing else {
            return;
        };
        let Outgoing { parts, next, list, message } = &mut **outgoing;
        list.clear();
        list.extend(parts[*next..].iter().filter(|part| !part.is_empty()).take(GATHER_MAX).map(
            |part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() },
        ));
        self.flights += 1;
        // SAFETY: the box with parts, list and message stays in this slot, which lives until the
        // request completes; nothing of it is changed before that. A header of zeros is valid.
        unsafe {
            if let [only] = list[..] {
                requests.send(fd, only.iov_base.cast(), only.iov_len);
            } else {
                let header = message.assume_init_mut();
                header.msg_iov = list.as_mut_ptr();
                header.msg_iovlen = list.len();
                requests.send_gathered(fd, header);
            }
        }
    }

    /// Arms the multishot receive, unless it is, or the stream has ended.
    fn arm(&mut self, requests: &mut Requests<'_>) {
        if !self.armed && self.end.is_none() && !self.closing {
            self.armed = true;
            self.flights += 1;
            requests.receive(self.fd());
        }
    }

    pub(super) fn complete(
        &mut self,
        operation: Operation,
        completion: Completion,
        bytes: &[u8],
        requests: &mut Requests<'_>,
    ) {
        if !completion.more() {
            self.flights -= 1;
        }
        match operation {
            Operation::Receive => self.received(completion, bytes, requests),
            Operation::Send => self.sent(completion.result, requests),
            Operation::Connect => {
                if let Some(connecting) = &mut self.connecting {
                    connecting.result = Some(completion.result);
                }
                wake(&mut self.writer);
            }
            Operation::Cancel => self.cancelling = false,
            Operation::Accept => panic!("a connection completed an accept"),
        }
    }

    fn received(&mut self, completion: Completion, bytes: &[u8], requests: &mut Requests<'_>) {
        self.armed = completion.more();
        if self.closing {
            return;
        }
        match completion.result {
            0 => self.end = Some(End::Finished),
            1.. => {
                self.unread.extend_from_slice(bytes);
                if self.unread.len() >= READ_MAX && self.armed && !self.cancelling {
                    // Nobody reads: what follows stays in the kernel, which slows the peer down.
                    self.cancelling = true;
                    self.flights += 1;
                    requests.cancel(Operation::Receive);
                }
            }
            error => match -error {
                // All buffers were out, or the request was paused: whoever waits arms again.
                libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                error => self.end = Some(End::Failed(error)),
            },
        }
        wake(&mut self.reader);
    }

    fn sent(&mut self, result: i32, requests: &mut Requests<'_>) {
        let Some(outgoing) = &mut self.outgoing else {
            panic!("a send completed that was not begun");
        };
        let finished = match outcome(result) {
            Ok(count) => outgoing.advance(count).then_some(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            Err(error) => Some(Err(error)),
        };
        match finished {
            Some(sent) => {
                self.sent = Some(sent);
                wake(&mut self.writer);
            }
            None if self.closing => {}
            None => self.send(requests),
        }
    }

    /// Ends it, once both halves are gone: the peer sees the end after what was sent.
    pub(super) fn close(&mut self, requests: &mut Requests<'_>) {
        self.closing = true;
        self.unread = Vec::new();
        if self.flights > 0 {
            // Closing the descriptor alone would tell the peer nothing while requests hold it.
            socket::shut_down(self.fd(), libc::SHUT_RDWR);
            self.flights += 1;
            requests.cancel_all(self.fd());
        }
    }
}

impl Outgoing {
    /// Notes that `count` more bytes are sent; returns whether that is all.
    fn advance(&mut self, mut count: usize) -> bool {
        while let Some(part) = self.parts.get_mut(self.next) {
            let step = count.min(part.len());
            part.advance(step);
            count -= step;
            if !part.is_empty() {
                return false;
            }
            self.next += 1;
        }
        assert_eq!(count, 0, "the kernel sent more than it was given");
        true
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A completion's result as a count.
fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_negative| io::Error::from_raw_os_error(-result))
}
