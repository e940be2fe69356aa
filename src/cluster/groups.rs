//! What is there: the Raft groups of all partitions, from what their replicas say of themselves.

use super::registry::GroupView;
use model::id::{LogIndex, NodeId, PartitionId, Term};
use model::placement::Replicas;
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a replica says of itself and of its group.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// Of which partition.
    pub partition: PartitionId,
    /// How far it has come.
    pub extent: Extent,
    /// Whether it leads its group.
    pub leads: bool,
    /// Who does, as far as it knows.
    pub leader: Option<NodeId>,
    /// Who takes part, as far as it knows.
    pub members: Members,
    /// Of a leader: how far each other replica has come.
    pub matched: Vec<(NodeId, LogIndex)>,
}

/// How far a replica has come. Whatever reaches it changes this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Extent {
    /// The newest term that it has heard of.
    pub term: Term,
    /// Its last entry.
    pub last: LogIndex,
}

/// Who takes part in a group; each list in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Archive, Serialize, Deserialize)]
pub struct Members {
    /// Who votes: while a change is half done, those of its end.
    pub voters: Vec<NodeId>,
    /// While a change is half done, the voters that it began with.
    pub outgoing: Vec<NodeId>,
    /// Who only learns.
    pub learners: Vec<NodeId>,
}

impl Members {
    /// Whether a node takes part in any way.
    pub fn contains(&self, node: NodeId) -> bool {
        [&self.voters, &self.outgoing, &self.learners].iter().any(|all| all.contains(&node))
    }

    /// As the registry has it.
    pub fn replicas(&self) -> Replicas {
        let leaving = self.outgoing.iter().filter(|node| !self.voters.contains(node));
        // One that leaves has its replica until it is gone.
        let others = leaving.chain(&self.learners).copied().collect::<BTreeSet<_>>();
        Replicas { voters: self.voters.clone(), learners: others.into_iter().collect() }
    }
}

/// The groups, as far as is known.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    groups: BTreeMap<PartitionId, Group>,
    /// The nodes that have told of their replicas.
    told: BTreeSet<NodeId>,
}

/// A group, as far as is known.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The replica that leads, where one of those that were heard does.
    pub leading: Option<Leading>,
    /// The nodes that have a replica, whether it takes part or not.
    pub holders: BTreeMap<NodeId, Extent>,
}

/// What the leader says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leading {
    /// Its node.
    pub node: NodeId,
    /// How far it has come.
    pub extent: Extent,
    /// Who takes part.
    pub members: Members,
    /// Entries that each replica lacks. Of one that nothing has reached that is not known.
    pub behind: BTreeMap<NodeId, u64>,
}

impl Groups {
    /// The groups of these reports, by the node that has told of them.
    pub fn new(reports: impl IntoIterator<Item = (NodeId, Vec<ReplicaReport>)>) -> Groups {
        let mut all = Groups::default();
        for (node, reports) in reports {
            all.told.insert(node);
            for report in reports {
                let group = all.groups.entry(report.partition).or_default();
                group.holders.insert(node, report.extent);
                // One who was overtaken and does not know it is of an earlier term.
                let newest = group.leading.as_ref().map(|leading| leading.extent.term);
                if report.leads && newest.is_none_or(|newest| newest < report.extent.term) {
                    group.leading = Some(Leading::of(node, report));
                }
            }
        }
        all
    }

    /// What is known of a partition's group.
    pub fn get(&self, partition: PartitionId) -> Option<&Group> {
        self.groups.get(&partition)
    }

    /// All of which something is known.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, &Group)> {
        self.groups.iter().map(|(id, group)| (*id, group))
    }

    /// Whether a node has told of its replicas.
    pub fn has_told(&self, node: NodeId) -> bool {
        self.told.contains(&node)
    }

    /// What the decider is told of a group. `changing`: somebody is at it.
    pub fn view(&self, partition: PartitionId, changing: bool) -> GroupView {
        let leading = self.groups.get(&partition).and_then(|group| group.leading.as_ref());
        let Some(leading) = leading else { return GroupView { changing, ..GroupView::default() } };
        GroupView {
            leader: Some(leading.node),
            outgoing: leading.members.outgoing.clone(),
            behind: leading.behind.clone(),
            changing,
        }
    }
}

impl Leading {
    fn of(node: NodeId, report: ReplicaReport) -> Leading {
        let last = report.extent.last.0;
        let reached = report.matched.iter().filter(|(_, matched)| matched.0 > 0 || last == 0);
        Leading {
            node,
            extent: report.extent,
            behind: reached.map(|(node, at)| (*node, last.saturating_sub(at.0))).collect(),
            members: report.members,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(term: u64, leads: bool, voters: &[u32], matched: &[(u32, u64)]) -> ReplicaReport {
        ReplicaReport {
            partition: PartitionId(4),
            extent: Extent { term: Term(term), last: LogIndex(10) },
            leads,
            leader: None,
            members: Members {
                voters: voters.iter().copied().map(NodeId).collect(),
                ..Members::default()
            },
            matched: matched.iter().map(|(node, at)| (NodeId(*node), LogIndex(*at))).collect(),
        }
    }

    #[test]
    fn the_leader_of_the_newest_term_is_believed() {
        let told = [
            (NodeId(1), vec![report(3, true, &[1, 2, 3], &[])]),
            (NodeId(2), vec![report(5, true, &[2, 3, 4], &[(3, 8), (4, 0)])]),
            (NodeId(3), vec![report(6, false, &[1], &[])]),
            (NodeId(4), Vec::new()),
        ];
        let groups = Groups::new(told);
        let group = groups.get(PartitionId(4)).expect("it is known");
        let leading = group.leading.as_ref().expect("somebody leads");
        assert_eq!((leading.node, leading.members.voters.len()), (NodeId(2), 3));
        let view = groups.view(PartitionId(4), true);
        assert_eq!(view.behind, BTreeMap::from([(NodeId(3), 2)]), "nothing has reached node 4");
        assert!(view.changing);
        assert_eq!(group.holders.len(), 3);
        assert!(groups.has_told(NodeId(4)) && !groups.has_told(NodeId(5)));
    }

    #[test]
    fn one_that_leaves_has_its_replica_until_it_is_gone() {
        let ids = |ids: &[u32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let half =
            Members { voters: ids(&[1, 2, 4]), outgoing: ids(&[1, 2, 3]), learners: ids(&[5]) };
        let replicas = half.replicas();
        assert_eq!((replicas.voters, replicas.learners), (ids(&[1, 2, 4]), ids(&[3, 5])));
        assert!(half.contains(NodeId(3)) && !half.contains(NodeId(6)));
    }
}
