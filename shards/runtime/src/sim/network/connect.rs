//! Attempts to connect: a knock, perhaps again and again, and the answer.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::super::completion::{Completer, completion};
use super::super::core::current;
use super::super::kernel::World;
use super::connection::{Connection, End, Side};
use super::listener::Listening;
use super::stream::Stream;
use super::{Network, NetworkEvent, node_at};

/// The pause after a first knock that nobody heard; doubled each time.
const KNOCK_AGAIN: Duration = Duration::from_secs(1);

/// An attempt to connect, under way.
pub(super) struct Attempt {
    node: u32,
    target: SocketAddr,
    began: u64,
    knocks: u32,
    completer: Completer<io::Result<Stream>>,
    answer: Option<io::Result<Stream>>,
}

/// Connects to `target`.
pub(crate) async fn connect(target: SocketAddr) -> io::Result<Stream> {
    let core = current();
    let (world, node) = (&core.world, core.node);
    let network = &world.network;
    let to = node_at(target.ip(), node);
    let to = to.ok_or_else(|| io::Error::from_raw_os_error(libc::ENETUNREACH))?;
    let number = network.number();
    let (completer, answer) = completion();
    let began = world.now();
    let attempt = Attempt { node, target, began, knocks: 0, completer, answer: None };
    network.attempts.borrow_mut().insert(number, attempt);
    let delay = network.delay(world, node, to, 0);
    network.add_event(world, delay, NetworkEvent::Knock { attempt: number });
    answer.await
}

/// What a knock finds.
enum Found {
    Listening(Rc<Listening>),
    Closed,
    /// A cut link, a machine without power, a full backlog: nobody answers.
    Silent,
}

impl Network {
    fn door(&self, world: &World, from: u32, to: u32, target: SocketAddr) -> Found {
        if self.is_cut(from, to) || self.is_cut(to, from) {
            return Found::Silent;
        }
        let all = self.listening.borrow();
        let hearing: Vec<&Rc<Listening>> = all
            .get(&(to, target.port()))
            .into_iter()
            .flatten()
            .filter(|listening| listening.hears(target))
            .collect();
        if hearing.is_empty() {
            return Found::Closed;
        }
        let chosen = hearing[world.random.index(hearing.len())];
        if chosen.waiting() >= self.faults.borrow().backlog {
            return Found::Silent;
        }
        Found::Listening(Rc::clone(chosen))
    }

    pub(super) fn knock(&self, world: &Rc<World>, number: u64) {
        let Some(mut attempt) = self.attempts.borrow_mut().remove(&number) else { return };
        let (node, target) = (attempt.node, attempt.target);
        let Some(to) = node_at(target.ip(), node) else { return };
        if !attempt.completer.is_awaited() {
            return;
        }
        let back = match self.door(world, node, to, target) {
            Found::Silent => {
                let pause = KNOCK_AGAIN.saturating_mul(1 << attempt.knocks.min(6));
                attempt.knocks += 1;
                let waited = Duration::from_nanos(world.now() - attempt.began);
                let left = self.faults.borrow().connect_give_up.saturating_sub(waited);
                if pause >= left {
                    attempt.answer = Some(Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)));
                    self.attempts.borrow_mut().insert(number, attempt);
                    let event = NetworkEvent::Answered { attempt: number };
                    return self.add_event(world, left, event);
                }
                self.attempts.borrow_mut().insert(number, attempt);
                return self.add_event(world, pause, NetworkEvent::Knock { attempt: number });
            }
            Found::Closed => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
            Found::Listening(listening) => Ok(self.establish(world, node, to, target, &listening)),
        };
        attempt.answer = Some(back);
        self.attempts.borrow_mut().insert(number, attempt);
        let delay = self.delay(world, to, node, 0);
        self.add_event(world, delay, NetworkEvent::Answered { attempt: number });
    }

    fn establish(
        &self,
        world: &Rc<World>,
        from: u32,
        to: u32,
        target: SocketAddr,
        listening: &Listening,
    ) -> Stream {
        let origin = self.origin(from, target);
        let connection = Rc::new(Connection {
            number: self.number(),
            ends: [End::new(from, origin).into(), End::new(to, target).into()],
        });
        self.connections.borrow_mut().insert(connection.number, Rc::clone(&connection));
        listening.arrive(Stream::new(world, &connection, Side::Accepted));
        Stream::new(world, &connection, Side::Connected)
    }

    pub(super) fn answered(&self, number: u64) {
        let attempt = self.attempts.borrow_mut().remove(&number);
        if let Some(Attempt { completer, answer: Some(answer), .. }) = attempt {
            completer.complete(answer);
        }
    }
}
