//! What can go wrong with a link and with a message.

use crate::frame::FrameError;
use model::id::NodeId;
use model::placement::Place;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::clock::ClockReading;

/// Why one side does not want the link. The other side is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No version of the protocol is spoken by both.
    #[error("no version of the protocol is spoken by both; the other side speaks up to {newest}")]
    Version {
        /// The newest version of who refuses.
        newest: u16,
    },
    /// The two belong to different clusters.
    #[error("it belongs to another cluster")]
    ForeignCluster,
    /// Somebody else lives at this address.
    #[error("another node or core lives at this address")]
    WrongPlace,
    /// A later life of the process has the same node id.
    #[error("a process with incarnation {newest} has the same node id")]
    Superseded {
        /// Its incarnation.
        newest: u64,
    },
    /// The clocks are too far apart, or that of who refuses waits for the one on its wall.
    #[error("the clocks are {offset_nanos} ns apart")]
    Clock {
        /// By how much, in nanoseconds; positive where the refused one's clock is ahead.
        offset_nanos: i64,
    },
    /// The secret is another one.
    #[error("the join token is not the cluster's")]
    Secret,
    /// Both dialled at once and the other connection is kept.
    #[error("both sides dialled at once")]
    Crossed,
    /// It ends, or wants nothing of this node any more.
    #[error("it closes its links")]
    Closing,
    /// It ends, and has answered everything that it has acted on: what has no answer was not taken.
    #[error("it has ended, and has answered what it had begun")]
    Finished,
    /// A number that this build does not know.
    #[error("reason {0}, which this build does not know")]
    Unknown(u8),
}

/// Why a link ended, or did not come about.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkEnd {
    /// The other side ended the stream.
    #[error("the other side closed the connection")]
    Closed,
    /// It was not heard for a while.
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    /// Something took too long.
    #[error("it took longer than {limit:?} to {action}")]
    Timeout {
        /// What it was to do.
        action: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(Rc<io::Error>),
    /// The bytes are not this protocol.
    #[error(transparent)]
    Protocol(#[from] FrameError),
    /// A message came where the protocol has no place for it.
    #[error("{0}")]
    OutOfPlace(&'static str),
    /// The other side does not want it.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// This side does not want it.
    #[error("{0}")]
    Unwanted(Refusal),
    /// The other side made a new connection in its stead.
    #[error("the other side has connected anew")]
    Replaced,
    /// The messages went another way: directly again, or no longer through a third node.
    #[error("the way has changed")]
    Rerouted,
    /// More was queued for the peer than it may be.
    #[error("the peer does not take its answers")]
    Flooded,
}

impl LinkEnd {
    /// Whether the other node has answered that nobody listens there: a third node would hear the same.
    pub(super) fn is_nobody_there(&self) -> bool {
        matches!(self, LinkEnd::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

impl From<io::Error> for LinkEnd {
    fn from(error: io::Error) -> LinkEnd {
        LinkEnd::Io(Rc::new(error))
    }
}

/// Why a message did not get an answer, by what its sender may do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// Nobody has acted on it: it may be sent again.
    #[error("not delivered: {0}")]
    NotDelivered(#[from] Undelivered),
    /// Somebody may have acted on it.
    #[error("in doubt: {0}")]
    InDoubt(#[from] Doubt),
}

/// Why nobody has acted on a message.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Undelivered {
    /// There is no room in the queue of the place, or of all together; or others wait for it.
    #[error("the queue is full")]
    QueueFull,
    /// It is longer than a frame.
    #[error("a message of {bytes} bytes is longer than {max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The longest one.
        max: usize,
    },
    /// The address book does not have the place.
    #[error("nobody knows the address of core {} of node {}", .0.core, .0.node)]
    UnknownPlace(Place),
    /// Places of one's own node are reached by other means.
    #[error("node {0} is this one")]
    OwnNode(NodeId),
    /// No connection could be made, and it is too early to try again.
    #[error("core {} of node {} cannot be reached: {reason}", place.core, place.node)]
    Unreachable {
        /// Where to.
        place: Place,
        /// Why the last attempt failed.
        reason: LinkEnd,
    },
    /// The link ended while the message was in the queue.
    #[error("the link ended before the message left: {0}")]
    Unsent(LinkEnd),
    /// The deadline passed before there was room in the queue.
    #[error("the deadline passed before the message left")]
    Deadline,
    /// The other side does not know the service.
    #[error("the other side does not know the service")]
    UnknownService,
    /// The other side did not take it on.
    #[error("the other side did not take it on")]
    Declined,
    /// The third node could not pass it on.
    #[error("no other node could pass it on")]
    NotRelayed,
    /// This core's links are closed.
    #[error("the links are closed")]
    Closed,
}

/// Why nobody knows what became of a message.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Doubt {
    /// The link ended before the answer.
    #[error("the link ended before the answer: {0}")]
    Broken(LinkEnd),
    /// The deadline passed.
    #[error("the deadline passed before the answer")]
    Deadline,
    /// The other side took it on and did not answer.
    #[error("the other side took it on and did not answer")]
    NotAnswered,
}

impl LinkError {
    /// Whether the same message may be sent again without harm.
    pub fn is_safe_to_repeat(&self) -> bool {
        matches!(self, LinkError::NotDelivered(_))
    }
}

/// What happens to links, for who uses them.
#[derive(Debug, Clone)]
pub enum LinkEvent {
    /// There is a link with a place.
    Up {
        /// The place.
        place: Place,
        /// Which life of its process.
        incarnation: u64,
        /// The version of its program.
        build: String,
        /// The version of the protocol that is spoken.
        version: u16,
        /// How the clocks compare.
        clock: ClockReading,
    },
    /// Whatever was under way to or from a place is lost: the link, or the way through a third
    /// node, has ended. Calls have failed already. The place is told the same.
    Broken {
        /// The place.
        place: Place,
        /// Why.
        reason: LinkEnd,
    },
    /// An attempt to make a link has failed, and what waited for it is lost. One for which nothing waited
    /// is not told while messages go through a third node.
    Failed {
        /// The place that was dialled.
        place: Place,
        /// Why.
        reason: LinkEnd,
    },
    /// Somebody was not let in.
    TurnedAway {
        /// Who it said it was.
        place: Place,
        /// Why.
        reason: LinkEnd,
    },
    /// Messages to a place, or from it, go through another node from now on.
    Relayed {
        /// The place.
        place: Place,
        /// The core that passes them on.
        through: Place,
    },
    /// A later life of a process has this node's id: this one must end.
    Superseded {
        /// Its incarnation.
        incarnation: u64,
    },
}

/// Numbers of reasons on the wire.
impl Refusal {
    pub(super) fn to_wire(&self) -> (u8, u64) {
        match self {
            Refusal::Version { newest } => (1, u64::from(*newest)),
            Refusal::ForeignCluster => (2, 0),
            Refusal::WrongPlace => (3, 0),
            Refusal::Superseded { newest } => (4, *newest),
            Refusal::Clock { offset_nanos } => (5, offset_nanos.cast_unsigned()),
            Refusal::Secret => (6, 0),
            Refusal::Crossed => (7, 0),
            Refusal::Closing => (8, 0),
            Refusal::Finished => (9, 0),
            Refusal::Unknown(code) => (*code, 0),
        }
    }

    pub(super) fn from_wire(code: u8, detail: u64) -> Refusal {
        match code {
            1 => Refusal::Version { newest: u16::try_from(detail).unwrap_or(u16::MAX) },
            2 => Refusal::ForeignCluster,
            3 => Refusal::WrongPlace,
            4 => Refusal::Superseded { newest: detail },
            5 => Refusal::Clock { offset_nanos: detail.cast_signed() },
            6 => Refusal::Secret,
            7 => Refusal::Crossed,
            8 => Refusal::Closing,
            9 => Refusal::Finished,
            code => Refusal::Unknown(code),
        }
    }
}

/// Why there is no answer, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    UnknownService = 1,
    Declined = 2,
    NotAnswered = 3,
    NotRelayed = 4,
}

impl Fault {
    /// What the number of a reason means to who called.
    pub(super) fn error_of(code: u8) -> LinkError {
        match code {
            1 => Undelivered::UnknownService.into(),
            2 => Undelivered::Declined.into(),
            4 => Undelivered::NotRelayed.into(),
            // One that this build does not know may mean anything.
            _ => Doubt::NotAnswered.into(),
        }
    }
}
