//! What a Raft group is made of.

use super::runtime::SeamRuntime;
use bytes::Bytes;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::impls::leader_id_std;
use openraft::raft::responder::Responder;
use openraft::vote::RaftLeaderId;
use openraft::{EmptyNode, EntryPayload, OptionalSend, RaftTypeConfig};
use runtime::sync::Notify;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// The groups that partitions are: one leader a term, one entry for all that gathered while
/// the entries before it were under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partitions;

impl RaftTypeConfig for Partitions {
    type D = Batch;
    type R = ();
    type NodeId = u64;
    type Node = EmptyNode;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Batch, u64, EmptyNode>;
    type Entry = openraft::Entry<
        <Self::LeaderId as RaftLeaderId>::Committed,
        EntryPayload<Batch, u64, EmptyNode>,
    >;
    type AsyncRuntime = SeamRuntime;
    type Responder<T: OptionalSend + 'static> = Answer<T>;
    type Batch<T: OptionalSend + 'static> = openraft::impls::InlineBatch<T>;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// An entry of a group's log.
pub type Entry = EntryOf<Partitions>;
/// Term and place of an entry.
pub type LogId = LogIdOf<Partitions>;
/// Who a replica has voted for.
pub type Vote = VoteOf<Partitions>;

/// The id of an entry of a term.
pub(super) fn log_id(term: u64, index: u64) -> LogId {
    let leader = leader_id_std::LeaderId::new(term, 0);
    LogId::new(leader.to_committed(), index)
}

/// The commands of one entry.
#[derive(Clone, Default)]
pub struct Batch {
    /// How many there are.
    pub count: u32,
    /// As the log's codec writes them, one behind the other.
    pub commands: Bytes,
    flight: Option<Rc<Flight>>,
}

impl Batch {
    /// A batch to be proposed, and what tells of its way. `flights` is told when it lies on this core's
    /// disk.
    pub(crate) fn propose(
        count: u32,
        commands: Bytes,
        flights: &Rc<Flights>,
    ) -> (Batch, Rc<Flight>) {
        flights.count.set(flights.count.get() + 1);
        let flight = Rc::new(Flight {
            flights: flights.clone(),
            landed: Cell::new(false),
            place: Cell::new(None),
        });
        (Batch { count, commands, flight: Some(flight.clone()) }, flight)
    }

    /// A batch that was read, or that another node has proposed.
    pub(crate) fn read(count: u32, commands: Bytes) -> Batch {
        Batch { count, commands, flight: None }
    }

    /// It has its place in this replica's log.
    pub(super) fn appended(&self, place: LogId) {
        if let Some(flight) = &self.flight {
            flight.place.set(Some(place));
        }
    }

    /// It lies on this core's disk.
    pub(super) fn landed(&self) {
        if let Some(flight) = &self.flight {
            flight.land();
        }
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Batch) -> bool {
        (self.count, &self.commands) == (other.count, &other.commands)
    }
}

impl Eq for Batch {}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands in {} bytes", self.count, self.commands.len())
    }
}

/// Batches that a core has proposed and that do not lie on its disk yet.
#[derive(Default)]
pub(crate) struct Flights {
    count: Cell<usize>,
    landed: Notify,
}

impl Flights {
    /// Waits until there is none.
    pub(crate) async fn all_landed(&self) {
        while self.count.get() > 0 {
            self.landed.notified().await;
        }
    }
}

/// The way of a batch that was proposed here.
pub(crate) struct Flight {
    flights: Rc<Flights>,
    landed: Cell<bool>,
    place: Cell<Option<LogId>>,
}

impl Flight {
    /// Its place in this replica's log, if it ever had one.
    pub(crate) fn place(&self) -> Option<LogId> {
        self.place.get()
    }

    fn land(&self) {
        if self.landed.replace(true) {
            return;
        }
        let left = self.flights.count.get() - 1;
        self.flights.count.set(left);
        if left == 0 {
            self.flights.landed.notify_all();
        }
    }
}

impl Drop for Flight {
    /// One that was refused will not land anymore.
    fn drop(&mut self) {
        self.land();
    }
}

/// Who waits for what a group answers.
pub struct Answer<T>(Box<dyn FnOnce(T)>);

impl<T> Answer<T> {
    /// Calls `take` with the answer, if there is one.
    pub(crate) fn new(take: impl FnOnce(T) + 'static) -> Answer<T> {
        Answer(Box::new(take))
    }
}

impl<C: RaftTypeConfig, T: 'static> Responder<C, T> for Answer<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}
