//! What a Raft group is made of.

use super::runtime::SeamRuntime;
use bytes::Bytes;
use openraft::EmptyNode;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::impls::leader_id_std;
use std::fmt;

openraft::declare_raft_types!(
    /// The groups that partitions are: one leader a term, one entry for all that gathered while
    /// the entries before it were under way.
    pub Partitions:
        D = Batch,
        R = (),
        NodeId = u64,
        Node = EmptyNode,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = SeamRuntime,
);

/// An entry of a group's log.
pub type Entry = EntryOf<Partitions>;
/// Term and place of an entry.
pub type LogId = LogIdOf<Partitions>;
/// Who a replica has voted for.
pub type Vote = VoteOf<Partitions>;

/// The commands of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// How many there are.
    pub count: u32,
    /// As the log's codec writes them, one behind the other.
    pub commands: Bytes,
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands in {} bytes", self.count, self.commands.len())
    }
}
