//! Bits that flip in a node's log while it runs: what is damaged is let go, so that a restart does not meet it,
//! and clients notice nothing.

use super::damage::{clients, compare, three_with_files};
use super::*;

/// Where the first frame of a segment has its header, and its records.
const HEADER: u64 = 4096 + 8;
const RECORDS: u64 = 4096 + 200;

/// The segments of a node's log that hold something, oldest first.
fn segments(sim: &Sim, node: u32) -> Vec<String> {
    let disk = sim.disk(node);
    let is_segment = |path: &String| {
        path.ends_with(".wal") && disk.read(path).is_ok_and(|bytes| bytes[4096..4100] != [0; 4])
    };
    let files = disk.files().into_iter().map(|(path, _)| path);
    files.filter(is_segment).collect()
}

fn flip(sim: &Sim, node: u32, at: u64) {
    let segments = segments(sim, node);
    assert!(!segments.is_empty(), "no log at {node}");
    for segment in segments {
        assert!(sim.disk(node).flip_bit(&segment, at, 3).unwrap(), "{segment} has no byte {at}");
    }
}

fn is_mended(board: &Board, node: u32) -> bool {
    let damage = engine(board, node).log_damage();
    damage.found > 0 && damage.found == damage.mended
}

#[test]
fn a_damaged_log_is_let_go_before_a_restart_meets_it() {
    for (seed, node, at) in [(1, 1, RECORDS), (2, 2, HEADER), (3, 1, 20)] {
        let (sim, board) = three_with_files(400 + seed);
        let (stop, using) = clients(&board, &NODES);
        sim.run_for(Duration::from_millis(300)).unwrap();
        flip(&sim, node, at);
        let scrubbing = async |engine: Engine| engine.scrub_log().await.unwrap();
        Work::begin(&board, node, scrubbing).end(&sim, "a scrub");
        assert!(engine(&board, node).log_damage().found > 0, "seed {seed}: it is not seen");
        until(&sim, "the mending", Duration::from_secs(20), || is_mended(&board, node));
        // The log is whole, and goes on.
        Work::begin(&board, node, scrubbing).end(&sim, "another scrub");
        assert!(is_mended(&board, node), "seed {seed}: there is more damage");
        sim.run_for(Duration::from_millis(300)).unwrap();
        stop.set(true);
        for one in using {
            let rounds = one.end(&sim, "a client");
            assert!(rounds.as_ref().is_ok_and(|rounds| *rounds > 0), "seed {seed}: {rounds:?}");
        }
        crash(&sim, &board, node, Loss::Power);
        sim.run_for(Duration::from_secs(3)).unwrap();
        start(&sim, &board, node);
        until(&sim, "start", Duration::from_secs(10), || board.boxes.borrow().len() == 3);
        sim.run_for(Duration::from_secs(3)).unwrap();
        compare(&sim, &board, seed);
    }
}

/// A replica that is behind needs entries that are damaged at its leader: it gets files in their place.
#[test]
fn a_replica_that_is_behind_is_not_kept_from_what_is_damaged() {
    for seed in 0..2 {
        let (sim, board) = three_with_files(500 + seed);
        // Little memory, so that the log keeps more than is in it.
        board.memory_bytes.set(Some(4 << 20));
        for node in NODES {
            crash(&sim, &board, node, Loss::Process);
            start(&sim, &board, node);
            until(&sim, "start", Duration::from_secs(10), || board.boxes.borrow().len() == 3);
            until(&sim, "a leader", Duration::from_secs(10), || leader(&board).is_some());
        }
        sim.run_for(Duration::from_secs(2)).unwrap();
        let led = leader(&board).unwrap();
        let behind = NODES.map(NodeId).into_iter().find(|node| *node != led).unwrap();
        board.set_cut(behind, true);
        let writing = async |engine: Engine| {
            for number in 0..40 {
                let value = "v".repeat(16 << 10);
                write(&engine, &format!("big{number:04}"), &value).await.unwrap();
            }
        };
        Work::begin(&board, led.0, writing).end(&sim, "writes");
        flip(&sim, led.0, RECORDS);
        let (stop, using) = clients(&board, &[led.0]);
        board.set_cut(behind, false);
        // Nobody scrubs: it is met by who reads for the one that is behind.
        until(&sim, "the mending", Duration::from_secs(20), || is_mended(&board, led.0));
        let last = group(&board, led.0).unwrap().last;
        let caught_up = || group(&board, behind.0).is_some_and(|group| group.last >= last);
        until(&sim, "what it has missed", Duration::from_secs(25), caught_up);
        stop.set(true);
        for one in using {
            let rounds = one.end(&sim, "a client");
            assert!(rounds.as_ref().is_ok_and(|rounds| *rounds > 0), "seed {seed}: {rounds:?}");
        }
        compare(&sim, &board, seed);
    }
}
