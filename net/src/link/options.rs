//! What a core is told about itself and its links before the first one.

use super::error::Refusal;
use crate::frame::PAYLOAD_MAX_DEFAULT;
use model::id::NodeId;
use model::placement::Place;
use model::time::{CLOCKS_APART_MAX, NodeClock};
use runtime::time::{self, WallTime};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// The versions of the links' protocol that this build speaks.
pub const LINK_VERSIONS: RangeInclusive<u16> = 1..=1;

/// Longest payload of a frame between nodes, in bytes, in version 1.
pub const LINK_PAYLOAD_MAX: u32 = PAYLOAD_MAX_DEFAULT;

/// What a message has besides its body, at most: the frame's header and that of a relayed call.
pub const MESSAGE_OVERHEAD: usize = 64;

/// Who a core is to the other nodes.
#[derive(Debug, Clone)]
pub struct LocalPeer {
    /// The cluster's id; 0 is for nobody.
    pub cluster: u64,
    /// This core of this node.
    pub place: Place,
    /// Which life of this node's process it is: greater than that of any life before.
    pub incarnation: u64,
    /// Versions of the links' protocol to speak, [`LINK_VERSIONS`] or fewer.
    pub versions: RangeInclusive<u16>,
    /// The version of the program, for display.
    pub build: String,
    /// What others compare with theirs; `None`: the clock on the wall.
    pub clock: Option<Arc<NodeClock>>,
}

impl LocalPeer {
    /// A node that is not in a cluster yet, for [`super::ask`].
    pub fn stranger(incarnation: u64, build: String) -> LocalPeer {
        let place = Place { node: NodeId(0), core: Default::default() };
        let versions = LINK_VERSIONS;
        LocalPeer { cluster: 0, place, incarnation, versions, build, clock: None }
    }

    /// What this node's clock shows.
    pub(super) fn clock(&self) -> WallTime {
        match &self.clock {
            Some(clock) => WallTime::from_nanos(clock.at(time::now().as_nanos()).0),
            None => time::wall_clock(),
        }
    }

    /// Why this node has no links at the moment: its clock waits for the one on the wall, by which those of the
    /// others go.
    pub(super) fn waits(&self) -> Option<Refusal> {
        let held = self.clock.as_ref()?.held(time::now().as_nanos());
        let ahead = i64::try_from(held.as_nanos()).unwrap_or(i64::MAX);
        (ahead > 0).then_some(Refusal::Clock { offset_nanos: -ahead })
    }
}

/// What all nodes of a cluster know and nobody else: the join token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// These bytes. Whoever can dial a node can try guesses: they should be random, 16 or more.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(bytes.into())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    // For nobody's log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Limits of the links of a core.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Bytes of posts and calls that wait for one place; then senders wait or are refused. At least
    /// [`LINK_PAYLOAD_MAX`] and [`MESSAGE_OVERHEAD`]. Answers may take as much again.
    pub queue_bytes: usize,
    /// The same for all places together, at least as much as for one.
    pub total_queue_bytes: usize,
    /// Calls of one place that are not answered yet; further ones are refused.
    pub calls_max: u32,
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// For the handshake, on both sides.
    pub handshake_timeout: Duration,
    /// Whoever has said nothing for so long says something.
    pub ping_every: Duration,
    /// How often the round trip and the clocks are measured on a busy link.
    pub measure_every: Duration,
    /// A peer that says nothing for so long is gone.
    pub dead_after: Duration,
    /// For the peer to take one write, at most 256 KiB.
    pub write_timeout: Duration,
    /// The pause after a first failure, doubled each time.
    pub backoff_min: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
    /// How far apart the clocks of two nodes may be.
    pub clock_offset_max: Duration,
}

impl Default for LinkOptions {
    fn default() -> LinkOptions {
        LinkOptions {
            queue_bytes: 64 << 20,
            total_queue_bytes: 256 << 20,
            calls_max: 65_536,
            connect_timeout: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(2),
            ping_every: Duration::from_millis(500),
            measure_every: Duration::from_secs(10),
            // Requests on their way to it wait so long, and what is led there is to be served elsewhere within 3 s.
            dead_after: Duration::from_secs(2),
            write_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            clock_offset_max: CLOCKS_APART_MAX,
        }
    }
}

impl LinkOptions {
    /// # Panics
    /// When a message could be longer than the room for it.
    pub(super) fn check(&self) {
        let longest = LINK_PAYLOAD_MAX as usize + MESSAGE_OVERHEAD;
        assert!(self.queue_bytes >= longest, "a queue has room for the longest message");
        assert!(self.total_queue_bytes >= self.queue_bytes, "all queues have room for one");
        assert!(self.ping_every < self.dead_after, "a peer that is there is heard in time");
    }
}
