//! How a replica begins that is made anew, where another one may have been before: on the leader's word.
//!
//! An empty replica has forgotten what the one before it had promised and acknowledged, and what its log says
//! first may be long over: a part of it can name this node as a voter, or as the only one. By such a part it
//! would elect itself, or help somebody who knows no more to be elected, beside the leader of today.
//!
//! So it asks the leader before it begins, and writes down what that says:
//!
//! * its *vote*: who led in earlier terms and does not know that this is over sends it nothing it takes;
//! * the index of its *last entry*: before the replica's own log has come so far it neither votes nor stands.
//!
//! The leader answers while nobody else can lead, so that its log has all that was ever decided. With it there
//! is the change that took the replica before out of the group; and who has that in its log does as any
//! replica does.

use super::network::Nodes;
use super::types::Vote;
use super::wire::{Ask, Told, decode_told, encode_ask};
use model::id::{LogIndex, NodeId, PartitionId};
use runtime::time;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How long the leader has to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a leader says to a replica that is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invitation {
    /// The leader's.
    pub(super) vote: Vote,
    /// The leader's last entry.
    pub(super) votes_from: LogIndex,
}

impl Invitation {
    /// Asks a node that leads a partition.
    ///
    /// # Errors
    /// It does not answer, or does not lead, or cannot know whether it still does.
    pub(crate) async fn ask(
        nodes: &Rc<dyn Nodes>,
        partition: PartitionId,
        leader: NodeId,
    ) -> io::Result<Invitation> {
        let unknown = || io::Error::other(format!("node {leader} is not known"));
        let place = nodes.place(leader, partition).ok_or_else(unknown)?;
        let deadline = time::now() + ANSWER_WITHIN;
        let asked = nodes.ask_replica(place, encode_ask(partition, &Ask::Join), deadline).await;
        match decode_told(asked.map_err(io::Error::other)?) {
            Some(Told::Invited(invitation)) => Ok(invitation),
            Some(Told::Unable(why)) => Err(io::Error::other(why)),
            _ => Err(io::Error::other("the leader's answer makes no sense")),
        }
    }
}
