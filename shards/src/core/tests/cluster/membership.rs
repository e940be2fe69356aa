//! Who votes in a group, as a replica knows it that has not got the entry that says so.

use super::*;

/// A replica that was away while voters changed, and gets files instead of the log, knows the voters of
/// then after a start, too: it would stand for election among others.
#[test]
fn voters_that_came_with_the_files_are_known_after_a_start() {
    for seed in 0..3 {
        let (sim, board) = cluster(seed, 4);
        crash(&sim, &board, 3, Loss::Process);
        let next = BTreeSet::from([1, 3, 4].map(NodeId));
        let voters = [next.clone()];
        // More than the log keeps.
        let writing = async |engine: Engine| {
            engine.change_group(PARTITION, Change::SetVoters(next)).await.unwrap();
            let (_, changed) = engine.inner.parts.log.state(PARTITION);
            for n in 0..400 {
                write(&engine, &format!("k{n}"), &"v".repeat(5_000)).await.unwrap();
            }
            engine.inner.parts.flush().await.unwrap();
            changed
        };
        let changed = Work::begin(&board, 1, writing).end(&sim, "writes");
        sim.run_for(Duration::from_secs(3)).unwrap();
        let (purged, _) = engine(&board, 1).inner.parts.log.state(PARTITION);
        assert!(purged > changed, "{purged:?}, {changed:?}: this shows nothing");
        start(&sim, &board, 3);
        let reached = || {
            let leader = group(&board, 1).unwrap();
            leader.matched.get(&NodeId(3)).is_some_and(|matched| *matched == leader.last)
        };
        until(&sim, "the files", Duration::from_secs(20), reached);
        assert_eq!(group(&board, 3).unwrap().voters, voters, "seed {seed}");
        sim.run_for(Duration::from_secs(1)).unwrap();
        crash(&sim, &board, 3, Loss::Power);
        // Nobody tells it.
        board.set_cut(NodeId(3), true);
        start(&sim, &board, 3);
        until(&sim, "start", Duration::from_secs(10), || group(&board, 3).is_some());
        assert_eq!(group(&board, 3).unwrap().voters, voters, "seed {seed}: after a start");
    }
}
