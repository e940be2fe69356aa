//! A replica that is removed is gone for good, whenever its node dies meanwhile.

use super::*;
use model::error::SqlState;
use model::id::{LogIndex, Term};
use runtime::fs;
use std::path::Path;

const KEYS: usize = 20;

/// Has the second node take no part any more, or learn again.
fn change(sim: &Sim, board: &Board, change: Change) {
    let changing =
        async move |engine: Engine| engine.change_group(PARTITION, change).await.unwrap();
    Work::begin(board, 1, changing).end(sim, "a change of members");
}

/// Three nodes with some keys, in files and in the log, of which the second one's replica is to go.
fn to_go(seed: u64) -> (Sim, Rc<Board>) {
    let (sim, board) = three(seed);
    let writing = async |engine: Engine| {
        for n in 0..KEYS {
            write(&engine, &format!("k{n}"), "v").await.unwrap();
        }
    };
    Work::begin(&board, 1, writing).end(&sim, "writes");
    sim.run_for(Duration::from_millis(500)).unwrap();
    let flushing = async |engine: Engine| engine.inner.parts.flush().await.unwrap();
    Work::begin(&board, 2, flushing).end(&sim, "files");
    change(&sim, &board, Change::SetVoters([1, 3].map(NodeId).into_iter().collect()));
    sim.run_for(Duration::from_millis(500)).unwrap();
    (sim, board)
}

fn seen(board: &Board) -> (Term, LogIndex) {
    let group = group(board, 2).unwrap();
    (group.term, group.last)
}

async fn directories() -> Vec<String> {
    let entries = fs::read_dir(Path::new("/data/partitions")).await.unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| name.starts_with(&PARTITION.to_string())).collect()
}

fn restart(sim: &Sim, board: &Rc<Board>, node: u32) {
    crash(sim, board, node, Loss::Power);
    start(sim, board, node);
    let started = || board.boxes.borrow().contains_key(&NodeId(node));
    until(sim, "start", Duration::from_secs(10), started);
}

/// Nothing is left of the second node's replica; another takes its place, and learns all there is.
fn begin_anew(sim: &Sim, board: &Board) {
    let beginning = async |engine: Engine| {
        engine.add_replica(PARTITION, NodeId(1)).await.unwrap();
        contents(&engine).await.len()
    };
    let begun = Work::begin(board, 2, beginning).end(sim, "an empty replica");
    let now = group(board, 2).unwrap();
    assert_eq!((begun, now.last), (0, LogIndex(0)), "it is not empty");
    assert_eq!(Some(now.term), group(board, 1).map(|of_leader| of_leader.term));
    change(sim, board, Change::AddLearner(NodeId(2)));
    let all = async |engine: Engine| contents(&engine).await;
    let leaders = Work::begin(board, 1, all).end(sim, "read");
    assert!(leaders.len() >= KEYS);
    let learnt = || Work::begin(board, 2, all).end(sim, "read") == leaders;
    until(sim, "all is learnt", Duration::from_secs(10), learnt);
}

#[test]
fn a_replica_that_was_removed_stays_away_and_another_begins_empty() {
    for seed in 0..2 {
        let (sim, board) = to_go(seed);
        let (term, last) = seen(&board);
        for wrong in [(Term(term.0 + 1), last), (term, LogIndex(last.0 - 1))] {
            let removing =
                async move |engine: Engine| engine.remove_replica(PARTITION, wrong).await;
            let refused = Work::begin(&board, 2, removing).end(&sim, "a refusal").unwrap_err();
            assert_eq!(refused.state(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
        }
        let of_leader = group(&board, 1).unwrap();
        let removing = async move |engine: Engine| {
            engine.remove_replica(PARTITION, (of_leader.term, of_leader.last)).await
        };
        assert!(Work::begin(&board, 1, removing).end(&sim, "a refusal").is_err(), "it leads");
        let removing =
            async move |engine: Engine| engine.remove_replica(PARTITION, (term, last)).await;
        Work::begin(&board, 2, removing).end(&sim, "the removal").unwrap();
        assert!(group(&board, 2).is_none());
        match seed {
            0 => begin_anew(&sim, &board),
            _ => {
                restart(&sim, &board, 2);
                assert!(group(&board, 2).is_none(), "it has come back");
                let left = async |_: Engine| directories().await;
                let left = Work::begin(&board, 2, left).end(&sim, "a look");
                assert!(left.is_empty(), "{left:?}");
                begin_anew(&sim, &board);
            }
        }
        // What is new outlives a crash as what was there before did.
        restart(&sim, &board, 2);
        let all = async |engine: Engine| contents(&engine).await;
        let first = Work::begin(&board, 1, all).end(&sim, "read");
        let learnt = || Work::begin(&board, 2, all).end(&sim, "read") == first;
        until(&sim, "it is as it was", Duration::from_secs(10), learnt);
    }
}

/// The node dies in the middle of the removal: the replica is there as it was, or gone; in either case it
/// can be removed, and another can begin.
#[test]
fn a_removal_may_be_interrupted_anywhere() {
    let (mut there, mut gone) = (0, 0);
    for seed in 0..3 {
        let (sim, board) = to_go(seed);
        for round in 0..10 {
            let before = seen(&board);
            let removing =
                async move |engine: Engine| engine.remove_replica(PARTITION, before).await;
            let removed = Work::begin(&board, 2, removing);
            let spent = sim.random().below(50 << round.min(7));
            sim.run_for(Duration::from_micros(spent)).unwrap();
            let is_removed = removed.result.borrow().is_some();
            restart(&sim, &board, 2);
            match group(&board, 2) {
                None => gone += 1,
                Some(_) => {
                    there += 1;
                    assert!(!is_removed, "seed {seed}, round {round}: it has come back");
                    assert_eq!(seen(&board), before, "seed {seed}, round {round}");
                    let removing =
                        async move |engine: Engine| engine.remove_replica(PARTITION, before).await;
                    Work::begin(&board, 2, removing).end(&sim, "the removal").unwrap();
                }
            }
            let left = async |_: Engine| directories().await;
            let left = Work::begin(&board, 2, left).end(&sim, "a look");
            assert!(left.is_empty(), "seed {seed}, round {round}: {left:?}");
            begin_anew(&sim, &board);
            change(&sim, &board, Change::RemoveLearner(NodeId(2)));
            sim.run_for(Duration::from_millis(300)).unwrap();
        }
    }
    assert!(there > 2 && gone > 2, "{there} there, {gone} gone: this shows nothing");
}
