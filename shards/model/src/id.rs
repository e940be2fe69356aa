//! Identifiers. No bare integer crosses a module boundary.

use crate::time::Timestamp;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
            Archive, Serialize, Deserialize,
        )]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One `phantomdb` process. Unique in a cluster, never reused.
    NodeId(u32)
);
id!(
    /// One core of a node: an executor thread and the engine that lives there.
    CoreId(u16)
);
id!(
    /// A range of the hash space of all rows; one replicated log.
    PartitionId(u32)
);
id!(
    /// What a key in a tree starts with: a table or an index. Never reused.
    ObjectId(u32)
);
id!(
    /// Position of an entry in one partition's log. The first, which says who takes part, has index 0.
    LogIndex(u64)
);
id!(
    /// Raft term.
    Term(u64)
);
id!(
    /// A place among the changes of one transaction: it may go back there, and be read as it was
    /// there. Later places have greater numbers.
    Mark(u64)
);
id!(
    /// Version of the catalog; each schema change is the next one.
    CatalogVersion(u64)
);

impl PartitionId {
    /// Holds the catalog, the placement map, users and settings.
    pub const SYSTEM: PartitionId = PartitionId(0);
}

impl LogIndex {
    /// The index after this one.
    pub fn next(self) -> LogIndex {
        LogIndex(self.0 + 1)
    }
}

/// A transaction, unique in the cluster: the instant it began on the core that coordinates it.
///
/// Ordered by age, so that the youngest of several is their maximum.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct TxnId {
    /// Strictly increasing on the coordinating core.
    pub began: Timestamp,
    /// The coordinating node.
    pub node: NodeId,
    /// The coordinating core.
    pub core: CoreId,
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.began.0, self.node, self.core)
    }
}

impl ObjectId {
    /// Ids below are PhantomDB's own.
    pub const FIRST_USER: ObjectId = ObjectId(1000);
}
