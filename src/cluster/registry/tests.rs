use super::*;
use crate::cluster::decide::{Policy, Step, decide};
use model::value::Value;

fn about(port: u16, cores: u16) -> About {
    About {
        native: format!("10.0.0.1:{port}"),
        pg: None,
        cores: (0..cores).map(|core| format!("10.0.0.1:{}", port + 1 + core)).collect(),
        locality: "region=eu,zone=a".parse().expect("a locality"),
        software: "0.1.0".to_owned(),
    }
}

/// With one row more, or changed.
fn with(registry: &Registry, node: &NodeRecord) -> Registry {
    let mut registry = registry.clone();
    registry.nodes.insert(node.id, node.clone());
    registry
}

fn admitted(count: u32) -> Registry {
    (0..count).fold(Registry::default(), |registry, _| {
        let node = registry.admit(about(7430, 2), 5).expect("it is let in");
        with(&registry, &node)
    })
}

fn replicas(voters: &[u32]) -> Replicas {
    Replicas { voters: voters.iter().copied().map(NodeId).collect(), learners: Vec::new() }
}

#[test]
fn an_id_is_given_out_once() {
    let registry = admitted(2);
    let removed = registry.want(NodeId(2), Wanted::Decommissioned).expect("it is a change");
    let registry = with(&registry, &removed);
    let next = registry.admit(about(7430, 2), 9).expect("it is let in");
    assert_eq!(next.id, NodeId(3));
    let last = NodeRecord { id: NodeId(NODE_ID_MAX), ..next };
    let full = with(&registry, &last).admit(about(7430, 2), 9);
    assert_eq!(full, Err(NotAdmitted::NoIdLeft));
    assert_eq!(registry.admit(about(7430, 0), 9), Err(NotAdmitted::NoCores));
}

#[test]
fn who_starts_again_says_where_it_is_now() {
    let registry = admitted(2);
    let again = registry.admit_again(NodeId(2), 2, about(8000, 4)).expect("it is let in");
    assert_eq!((again.starts, again.about.cores.len(), again.registered_micros), (2, 4, 5));
    assert_eq!(again.version, registry.version() + 1);
    let registry = with(&registry, &again);
    let error = |node, start| {
        registry
            .admit_again(NodeId(node), start, about(8000, 4))
            .expect_err("it is not let in")
            .to_string()
    };
    assert_eq!(error(9, 1), "node 9 does not belong to this cluster");
    assert!(error(2, 2).starts_with("node 2 starts for the 2. time, and has started 2 times"));
    let removed = registry.want(NodeId(2), Wanted::Decommissioned).expect("it is a change");
    let registry = with(&registry, &removed);
    let refused = registry.admit_again(NodeId(2), 3, about(8000, 4));
    assert_eq!(refused, Err(NotAdmitted::Decommissioned(NodeId(2))));
    assert_eq!(registry.want(NodeId(2), Wanted::Active), None, "for good");
}

#[test]
fn each_change_is_the_next_version() {
    let mut registry = admitted(1);
    for id in 0..3 {
        let moved = registry.moved(PartitionId(id), replicas(&[1])).expect("it is new");
        assert_eq!(moved.version, registry.version() + 1);
        registry.partitions.insert(moved.id, moved);
    }
    assert_eq!(registry.moved(PartitionId(1), replicas(&[1])), None);
    let map = registry.placement().expect("they fit together");
    assert_eq!((map.version, map.partitions()), (4, 2));
    registry.partitions.remove(&PartitionId(1));
    assert_eq!(registry.placement(), Err(PlacementError::NoVoters(PartitionId(1))));
}

#[test]
fn rows_are_read_as_they_were_written() {
    let mut node = admitted(1).nodes.remove(&NodeId(1)).expect("it is there");
    for (pg, wanted) in [(None, Wanted::Active), (Some("h:7432"), Wanted::Draining)] {
        node.about.pg = pg.map(str::to_owned);
        node.wanted = wanted;
        assert_eq!(NodeRecord::from_row(&node.to_row()), Ok(node.clone()));
    }
    let partition = PartitionRecord {
        id: PartitionId(3),
        replicas: Replicas { learners: vec![NodeId(9)], ..replicas(&[1, 2, 3]) },
        version: 8,
    };
    assert_eq!(PartitionRecord::from_row(&partition.to_row()), Ok(partition.clone()));
    let mut damaged = node.to_row();
    damaged[7] = Value::text("asleep");
    let error = NodeRecord::from_row(&damaged).expect_err("it is damaged");
    assert_eq!(error.to_string(), "a row of phantom.node_registry has an unknown form");
    let mut damaged = partition.to_row();
    damaged[1] = Value::array(vec![Value::Int(-1)]);
    assert!(PartitionRecord::from_row(&damaged).is_err());
    assert!(PartitionRecord::from_row(&damaged[1..]).is_err());
}

#[test]
fn the_decider_sees_rows_and_what_is_heard() {
    let mut registry = admitted(3);
    let learners = vec![NodeId(2), NodeId(3)];
    let grown = Replicas { learners, ..replicas(&[1]) };
    let moved = registry.moved(PartitionId(0), grown).expect("it is new");
    registry.partitions.insert(moved.id, moved);
    let group = |behind: &[(u32, u64)]| GroupView {
        leader: Some(NodeId(1)),
        behind: behind.iter().map(|(node, behind)| (NodeId(*node), *behind)).collect(),
        ..GroupView::default()
    };
    let heard = |_| (Liveness::Alive, Load::default());
    let steps = |behind: &[(u32, u64)]| {
        decide(&registry.snapshot(heard, |_| group(behind)), &Policy::default())
    };
    assert_eq!(steps(&[(2, 0)]), [], "of node 3 nothing is known");
    let add = vec![NodeId(2), NodeId(3)];
    let vote = Step::ChangeVoters { partition: PartitionId(0), add, remove: Vec::new() };
    assert_eq!(steps(&[(2, 0), (3, 4)]), [vote]);
}
