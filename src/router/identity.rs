//! Numbers by which sessions are known in a cluster.
//!
//! A session has two. Its [`SessionNumber`] is never given twice. Its *process* is what the PostgreSQL
//! protocol has room for, 32 bits with a sign: `pg_backend_pid`, what is cancelled, what an exported
//! snapshot is called by. It says where the session lives, so that whoever wants to reach it asks one
//! core and not all of them:
//!
//! | bits | | |
//! |---|---|---|
//! | 31 | 0 | the number is positive |
//! | 22 to 30 | node | the lowest nine bits of its id |
//! | 16 to 21 | core | a node has 64 at most |
//! | 0 to 15 | session | from 1, so that no process is 0; given again when the session of that number has ended |
//!
//! No two sessions that are open have the same process: on one core because a number that is in use is
//! passed over, on two cores by their bits. Of two nodes whose ids agree in nine bits only one may be
//! registered at a time: an id is given to a new node only where its bits ([`process_node`]) are those
//! of no other.

use model::id::{CoreId, NodeId};
use model::placement::Place;
use rkyv::{Archive, Deserialize, Serialize};

/// Where the core stands in a process.
const CORE_SHIFT: u32 = 16;
/// Where the node stands in a process.
const NODE_SHIFT: u32 = 22;
const CORE_MASK: u32 = (1 << (NODE_SHIFT - CORE_SHIFT)) - 1;
const NODE_MASK: u32 = (1 << (31 - NODE_SHIFT)) - 1;

/// Sessions that may be open on one core at a time: one for each number in a process but 0.
pub const CORE_SESSIONS_MAX: u64 = (1 << CORE_SHIFT) - 1;

/// What of a node's id is in the processes of its sessions. Nodes that are registered at the same time
/// must not agree in it.
pub fn process_node(node: NodeId) -> u32 {
    node.0 & NODE_MASK
}

/// A session of the cluster. No other has the same until its node restarts, and 2^40 sessions have
/// been on its core, where its node's id is below 65,536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionNumber(pub u64);

/// Where the node and the core stand in a session's number.
const NUMBER_NODE_SHIFT: u32 = 48;
const NUMBER_CORE_SHIFT: u32 = 40;

impl SessionNumber {
    /// The session that is the `count`-th of its core.
    pub fn new(place: Place, count: u64) -> SessionNumber {
        let node = u64::from(place.node.0 & 0xffff) << NUMBER_NODE_SHIFT;
        let core = u64::from(place.core.0 & 0xff) << NUMBER_CORE_SHIFT;
        SessionNumber(node | core | count & ((1 << NUMBER_CORE_SHIFT) - 1))
    }

    /// The number as the PostgreSQL protocol and `pg_backend_pid` have it: positive in 32 bits. Every
    /// [`CORE_SESSIONS_MAX`] sessions of a core the same come again.
    pub fn process(self) -> u32 {
        let node = (self.0 >> NUMBER_NODE_SHIFT) as u32 & NODE_MASK;
        let core = (self.0 >> NUMBER_CORE_SHIFT) as u32 & CORE_MASK;
        let count = self.0 & ((1 << NUMBER_CORE_SHIFT) - 1);
        node << NODE_SHIFT | core << CORE_SHIFT | (1 + count % CORE_SESSIONS_MAX) as u32
    }
}

/// Where the session of a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    node: u32,
    /// The core.
    pub core: CoreId,
}

impl Home {
    /// Of the session with this [`SessionNumber::process`].
    pub fn of(process: u32) -> Home {
        let core = process >> CORE_SHIFT & CORE_MASK;
        Home { node: process >> NODE_SHIFT, core: CoreId(core as u16) }
    }

    /// Whether it is on this node, which is registered.
    pub fn is_on(self, node: NodeId) -> bool {
        self.node == process_node(node)
    }
}

/// What a client must know to cancel a session from another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub struct CancelKey {
    /// [`SessionNumber::process`] of the session.
    pub process: u32,
    /// Known to the session's client only.
    pub secret: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(node: u32, core: u16, count: u64) -> SessionNumber {
        SessionNumber::new(Place { node: NodeId(node), core: CoreId(core) }, count)
    }

    #[test]
    fn a_process_leads_back_to_its_session() {
        for node in [0, 1, 2, 511, 512, 70_001] {
            for core in [0, 1, 63] {
                for count in [0, 1, 65_534, 65_535, 1 << 39] {
                    let process = session(node, core, count).process();
                    assert!(process > 0 && process <= i32::MAX as u32, "{process}");
                    let home = Home::of(process);
                    assert_eq!(home.core, CoreId(core));
                    assert!(home.is_on(NodeId(node)));
                    assert!(!home.is_on(NodeId(node + 1)));
                }
            }
        }
    }

    #[test]
    fn a_process_comes_again_only_after_all_others() {
        let mut seen = std::collections::HashSet::new();
        for count in 1..=CORE_SESSIONS_MAX {
            assert!(seen.insert(session(3, 2, count).process()), "session {count}");
        }
        let again = session(3, 2, CORE_SESSIONS_MAX + 1);
        assert_eq!(again.process(), session(3, 2, 1).process());
        assert_ne!(again, session(3, 2, 1));
    }

    #[test]
    fn a_process_that_is_a_negative_number_is_nobodys() {
        assert!(!(0..=511).any(|node| Home::of(u32::MAX).is_on(NodeId(node))));
    }
}
