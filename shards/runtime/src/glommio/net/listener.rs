//! The state of a listening socket.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::{Context, Poll, Waker};

use super::ring::{Completion, Operation, Requests};
use super::socket;

/// Accepted connections that may wait here; more wait in the kernel.
const WAITING_MAX: usize = 128;

/// One multishot accept, and what it brought.
pub(super) struct Listening {
    socket: TcpListener,
    waiting: VecDeque<OwnedFd>,
    /// An error number to report.
    error: Option<i32>,
    armed: bool,
    cancelling: bool,
    closing: bool,
    /// Requests with the kernel.
    flights: u32,
    waker: Option<Waker>,
}

impl Listening {
    pub(super) fn new(socket: TcpListener) -> Self {
        Self {
            socket,
            waiting: VecDeque::new(),
            error: None,
            armed: false,
            cancelling: false,
            closing: false,
            flights: 0,
            waker: None,
        }
    }

    pub(super) fn poll_accept(
        &mut self,
        cx: &Context<'_>,
        requests: &mut Requests<'_>,
    ) -> Poll<io::Result<OwnedFd>> {
        if let Some(accepted) = self.waiting.pop_front() {
            return Poll::Ready(Ok(accepted));
        }
        if let Some(error) = self.error.take() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
        }
        if !self.armed {
            self.armed = true;
            self.flights += 1;
            requests.accept(self.socket.as_raw_fd());
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn complete(
        &mut self,
        operation: Operation,
        completion: Completion,
        requests: &mut Requests<'_>,
    ) {
        if !completion.more() {
            self.flights -= 1;
        }
        match operation {
            Operation::Cancel => self.cancelling = false,
            Operation::Accept => {
                self.armed = completion.more();
                self.accepted(completion.result);
            }
            other => panic!("a listener completed {other:?}"),
        }
        if self.waiting.len() >= WAITING_MAX && self.armed && !self.cancelling {
            self.cancelling = true;
            self.flights += 1;
            requests.cancel(Operation::Accept);
        }
        // Also when there is nothing: who waits must arm again.
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn accepted(&mut self, result: i32) {
        if result >= 0 {
            // SAFETY: the kernel has just made this descriptor for us.
            let accepted = unsafe { OwnedFd::from_raw_fd(result) };
            if !self.closing {
                self.waiting.push_back(accepted);
            }
        } else if result != -libc::ECANCELED {
            self.error = Some(-result);
        }
    }

    pub(super) fn close(&mut self, requests: &mut Requests<'_>) {
        self.closing = true;
        self.waiting.clear();
        // From here on the kernel refuses connections; closing alone would leave the armed accept
        // to take more.
        socket::shut_down(self.socket.as_raw_fd(), libc::SHUT_RDWR);
        if self.armed {
            self.flights += 1;
            requests.cancel_all(self.socket.as_raw_fd());
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.closing && self.flights == 0
    }
}
