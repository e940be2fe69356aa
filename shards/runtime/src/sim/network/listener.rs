//! Sockets that wait for connections.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::super::core::{Core, current};
use super::stream::Stream;
use super::{Network, node_at};

/// Tasks that wait on one listener at most; more is a mistake of the caller.
const ACCEPTORS_MAX: usize = 64;

/// A listening socket, as the network keeps it.
pub(super) struct Listening {
    pub number: u64,
    address: SocketAddr,
    shared: bool,
    waiting: RefCell<VecDeque<Stream>>,
    acceptors: RefCell<Vec<Waker>>,
    closed: Cell<bool>,
}

impl Listening {
    /// Whether a knock at `target` is for this socket.
    pub fn hears(&self, target: SocketAddr) -> bool {
        !self.closed.get()
            && (self.address.ip().is_unspecified() || self.address.ip() == target.ip())
    }

    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    pub fn arrive(&self, stream: Stream) {
        self.waiting.borrow_mut().push_back(stream);
        self.wake();
    }

    fn wake(&self) {
        let acceptors = std::mem::take(&mut *self.acceptors.borrow_mut());
        acceptors.into_iter().for_each(Waker::wake);
    }

    /// Ends it: streams that nobody accepted are closed.
    pub fn close(&self) {
        self.closed.set(true);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        drop(waiting);
    }
}

/// A listening socket of a simulated node.
pub(crate) struct Listener {
    core: Core,
    listening: Rc<Listening>,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address of the node; port 0 picks a free one.
    pub fn bind(address: SocketAddr, shared: bool) -> io::Result<Listener> {
        let core = current();
        if node_at(address.ip(), core.node) != Some(core.node) {
            return Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        }
        let network = &core.world.network;
        let port = match address.port() {
            0 => network.free_port(core.node),
            port => port,
        };
        let address = SocketAddr::new(address.ip(), port);
        let listening = Rc::new(Listening {
            number: network.number(),
            address,
            shared,
            waiting: RefCell::default(),
            acceptors: RefCell::default(),
            closed: Cell::new(false),
        });
        network.listen(core.node, Rc::clone(&listening))?;
        Ok(Listener { core, listening, address })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next stream, in the order in which they arrived.
    pub async fn accept(&self) -> Stream {
        poll_fn(|context| {
            if let Some(stream) = self.listening.waiting.borrow_mut().pop_front() {
                return Poll::Ready(stream);
            }
            let mut acceptors = self.listening.acceptors.borrow_mut();
            if !acceptors.iter().any(|waker| waker.will_wake(context.waker())) {
                assert!(acceptors.len() < ACCEPTORS_MAX, "too many acceptors on one listener");
                acceptors.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.core.world.network.unlisten(self.core.node, &self.listening);
        self.listening.close();
    }
}

impl Network {
    fn listen(&self, node: u32, listening: Rc<Listening>) -> io::Result<()> {
        let mut all = self.listening.borrow_mut();
        let port = all.entry((node, listening.address.port())).or_default();
        let clashes = |other: &Rc<Listening>| {
            let (one, two) = (other.address.ip(), listening.address.ip());
            let overlap = one == two || one.is_unspecified() || two.is_unspecified();
            overlap && !(other.shared && listening.shared)
        };
        if port.iter().any(clashes) {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        port.push(listening);
        Ok(())
    }

    fn unlisten(&self, node: u32, listening: &Rc<Listening>) {
        let mut all = self.listening.borrow_mut();
        let place = (node, listening.address.port());
        if let Some(port) = all.get_mut(&place) {
            port.retain(|other| other.number != listening.number);
            if port.is_empty() {
                all.remove(&place);
            }
        }
    }
}
