//! What the worker has replicas do, and when they refuse: whoever leads the system partition no more
//! may not know that yet, and its orders may arrive late.
//!
//! Each order says what its sender has seen, and is refused where that is no longer so. So it does not
//! matter how many workers there are, how late an order comes, or how often.

use super::groups::{Extent, Members, ReplicaReport};
use model::error::{SqlError, SqlState};
use model::id::{NodeId, PartitionId};
use rkyv::{Archive, Deserialize, Serialize};

/// An order for the core that has a node's replica of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Order {
    /// Of which partition.
    pub partition: PartitionId,
    /// What to do.
    pub what: What,
}

/// What a replica is to do.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum What {
    /// Be there: an empty one that waits for its leader, unless there is one.
    Begin {
        /// Who leads.
        leader: NodeId,
    },
    /// Go, with its files, if nothing has reached it since it was seen so.
    Remove {
        /// How far it had come.
        seen: Extent,
    },
    /// As the leader: change who takes part, if these do now.
    Change {
        /// Who took part.
        seen: Members,
        /// The change.
        change: MemberChange,
    },
    /// As the leader: have another voter lead.
    Transfer(NodeId),
}

/// A change of who takes part in a group.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum MemberChange {
    /// A node begins to learn.
    Learn(NodeId),
    /// These vote from now on; voters that are not among them leave.
    Vote(Vec<NodeId>),
    /// A node that does not vote leaves. Done where it has left already, once a quorum has said so.
    Leave(NodeId),
}

/// Why an order is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no replica.
    #[error("there is no replica here")]
    NoReplica,
    /// It does not lead its group.
    #[error("the replica does not lead")]
    NotTheLeader,
    /// Something has reached it since it was looked at.
    #[error("the replica has been heard from since it was to go")]
    Reached,
    /// The members have changed since they were looked at.
    #[error("the members of the group have changed since that was decided")]
    Changed,
}

impl From<Refused> for SqlError {
    fn from(refused: Refused) -> SqlError {
        SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, refused.to_string())
    }
}

impl Order {
    /// Whether it still makes sense where the core's replica of the partition is so; `None`: there is
    /// none. Nothing may come between this and the beginning of what it has done.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, now: Option<&ReplicaReport>) -> Result<(), Refused> {
        let leads = || match now {
            None => Err(Refused::NoReplica),
            Some(report) if report.leads => Ok(report),
            Some(_) => Err(Refused::NotTheLeader),
        };
        match &self.what {
            What::Begin { .. } => Ok(()),
            What::Remove { seen } => match now {
                // It is gone already.
                None => Ok(()),
                Some(report) if report.extent == *seen && !report.leads => Ok(()),
                Some(_) => Err(Refused::Reached),
            },
            What::Change { seen, .. } => match leads()?.members == *seen {
                true => Ok(()),
                false => Err(Refused::Changed),
            },
            What::Transfer(_) => leads().map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{LogIndex, Term};

    fn report(leads: bool) -> ReplicaReport {
        ReplicaReport {
            partition: PartitionId(1),
            extent: Extent { term: Term(2), last: LogIndex(5) },
            leads,
            leader: None,
            members: Members { voters: vec![NodeId(1)], ..Members::default() },
            matched: Vec::new(),
        }
    }

    fn check(what: What, now: Option<&ReplicaReport>) -> Result<(), Refused> {
        Order { partition: PartitionId(1), what }.check(now)
    }

    #[test]
    fn a_replica_goes_only_as_it_was_seen() {
        let remove =
            |term, last| What::Remove { seen: Extent { term: Term(term), last: LogIndex(last) } };
        assert_eq!(check(remove(2, 5), Some(&report(false))), Ok(()));
        assert_eq!(check(remove(1, 5), Some(&report(false))), Err(Refused::Reached));
        assert_eq!(check(remove(2, 4), Some(&report(false))), Err(Refused::Reached));
        assert_eq!(check(remove(2, 5), Some(&report(true))), Err(Refused::Reached));
        assert_eq!(check(remove(2, 5), None), Ok(()), "it is gone already");
    }

    #[test]
    fn only_the_leader_changes_its_group_and_only_as_it_was_seen() {
        let change = |voters: &[u32]| What::Change {
            seen: Members {
                voters: voters.iter().copied().map(NodeId).collect(),
                ..Members::default()
            },
            change: MemberChange::Learn(NodeId(2)),
        };
        assert_eq!(check(change(&[1]), Some(&report(true))), Ok(()));
        assert_eq!(check(change(&[1, 2]), Some(&report(true))), Err(Refused::Changed));
        assert_eq!(check(change(&[1]), Some(&report(false))), Err(Refused::NotTheLeader));
        assert_eq!(check(change(&[1]), None), Err(Refused::NoReplica));
        let transfer = What::Transfer(NodeId(2));
        assert_eq!(check(transfer.clone(), Some(&report(true))), Ok(()));
        assert_eq!(check(transfer, Some(&report(false))), Err(Refused::NotTheLeader));
    }
}
