//! Heartbeats: they travel together, and mean what they meant alone.

use super::*;
use runtime::sim::Operations;

/// Kinds of messages between replicas; see `docs/formats/raft.md`.
const APPEND: u8 = 1;
const BEATS: u8 = 8;

const PERIODS: usize = 50;
const PERIOD: Duration = Duration::from_millis(100);

/// Spreads the leaders of the partitions over the nodes.
fn spread(sim: &Sim, board: &Rc<Board>) {
    for partition in 0..=super::super::PARTITIONS {
        let to = NODES[partition as usize % NODES.len()];
        let leads = move |board: &Board| {
            let groups = engine(board, to).groups();
            groups.iter().any(|group| group.partition.0 == partition && group.leads)
        };
        if !leads(board) {
            let moving = async move |engine: Engine| {
                engine.transfer_leader(PartitionId(partition), NodeId(to)).await.unwrap();
            };
            Work::begin(board, 1, moving).end(sim, "a transfer");
            until(sim, "a transfer", Duration::from_secs(5), || leads(board));
        }
    }
}

/// The partitions that each node serves as their leader at this moment.
fn served(sim: &Sim, board: &Board) -> BTreeMap<NodeId, Vec<PartitionId>> {
    let of = async |engine: Engine| -> Vec<PartitionId> {
        let all = (0..=super::super::PARTITIONS).map(PartitionId);
        all.filter(|partition| engine.serves_in(*partition).is_some()).collect()
    };
    let served = |node| (NodeId(node), Work::begin(board, node, of).end(sim, "a look"));
    NODES.map(served).into_iter().collect()
}

#[test]
fn heartbeats_of_all_groups_travel_together() {
    for seed in 0..4 {
        let (sim, board) = three(seed);
        spread(&sim, &board);
        // What is left of the changes is said, and new leaders have waited for the old ones' leases.
        sim.run_for(Duration::from_secs(3)).unwrap();
        let before = served(&sim, &board);
        assert_eq!(before.values().map(Vec::len).sum::<usize>(), 5, "seed {seed}: {before:?}");
        let terms = |board: &Board| -> Vec<_> {
            let groups = engine(board, 2).groups();
            groups.iter().map(|group| (group.partition, group.term)).collect()
        };
        let old_terms = terms(&board);
        board.counted.borrow_mut().clear();
        let since = sim.now();
        for _ in 0..PERIODS {
            sim.run_for(PERIOD).unwrap();
            assert_eq!(served(&sim, &board), before, "seed {seed}: a lease has ended");
        }
        assert_eq!(terms(&board), old_terms, "seed {seed}: somebody was elected");
        let periods = ((sim.now() - since).as_nanos() / PERIOD.as_nanos()) as usize;
        let asked = board.counted.borrow();
        assert_eq!(asked.len(), 6, "seed {seed}: {asked:?}");
        for ((from, to, kind), count) in asked.iter() {
            assert_eq!(*kind, BEATS, "seed {seed}: from {from} to {to}: {asked:?}");
            assert!((periods - 1..=periods + 2).contains(count), "seed {seed}: {asked:?}");
        }
    }
}

/// A group whose replica cannot write holds up its own answers, and no others.
#[test]
fn a_group_that_cannot_answer_does_not_hold_up_the_others() {
    let (sim, board) = three(7);
    let before = async |engine: Engine| write(&engine, "a", "v").await.unwrap();
    Work::begin(&board, 1, before).end(&sim, "a write");
    sim.run_for(Duration::from_secs(1)).unwrap();
    let all: Vec<_> = (0..=super::super::PARTITIONS).map(PartitionId).collect();
    assert_eq!(served(&sim, &board)[&NodeId(1)], all, "node 1 leads");
    // Of the others one is gone, and one has a disk that hangs, with a write of one partition under way.
    board.set_cut(NodeId(2), true);
    sim.disk(3).stall(Operations::ALL, Duration::from_secs(20));
    let writing = async |engine: Engine| write(&engine, "b", "v").await;
    let written = Work::begin(&board, 1, writing);
    sim.run_for(Duration::from_secs(1)).unwrap();
    board.counted.borrow_mut().clear();
    for _ in 0..PERIODS {
        sim.run_for(PERIOD).unwrap();
        let (served, others) = (served(&sim, &board), all.iter().filter(|one| **one != PARTITION));
        for partition in others {
            assert!(served[&NodeId(1)].contains(partition), "{partition} has lost its lease");
        }
    }
    assert!(board.counted.borrow()[&(NodeId(1), NodeId(3), BEATS)] >= PERIODS - 1);
    assert!(written.result.borrow().is_none(), "the disk did not hang");
    sim.disk(3).stall(Operations::ALL, Duration::ZERO);
    board.set_cut(NodeId(2), false);
    written.end(&sim, "the write").unwrap();
}

/// A leader that was away learns from the answers to its heartbeats that another leads.
#[test]
fn a_heartbeat_of_an_old_leader_is_refused() {
    for seed in 0..4 {
        let (sim, board) = three(20 + seed);
        assert_eq!(leader(&board), Some(NodeId(1)));
        board.set_cut(NodeId(1), true);
        let others_lead = || {
            let all: usize =
                [2, 3].map(|node| served(&sim, &board)[&NodeId(node)].len()).iter().sum();
            all == 5
        };
        until(&sim, "elections", Duration::from_secs(10), others_lead);
        let leads =
            |board: &Board| engine(board, 1).groups().iter().filter(|group| group.leads).count();
        assert_eq!(leads(&board), 5, "nobody has told it");
        let terms: Vec<_> = engine(&board, 2).groups().iter().map(|group| group.term).collect();
        board.set_cut(NodeId(1), false);
        board.counted.borrow_mut().clear();
        until(&sim, "the old leader", Duration::from_millis(400), || leads(&board) == 0);
        sim.run_for(Duration::from_secs(3)).unwrap();
        let after: Vec<_> = engine(&board, 1).groups().iter().map(|group| group.term).collect();
        assert_eq!(after, terms, "seed {seed}: it disturbs those that lead");
        let asked = board.counted.borrow();
        assert!(asked.get(&(NodeId(1), NodeId(2), APPEND)).is_none_or(|count| *count < 20));
    }
}
