//! What openraft leaves to who uses it: see the settings of groups and how they answer after a start.

use super::*;
use crate::log::LogError;
use model::command::{Command, KeyWrite};
use runtime::sim::Operations;

/// Puts a write into the log past all that keeps a replica from serving.
async fn propose(engine: &Engine, key: &str) -> Result<(), LogError> {
    let log = &engine.inner.parts.log;
    let key = Bytes::copy_from_slice(key.as_bytes());
    let writes = vec![KeyWrite { key, value: Some(Bytes::from_static(b"v")) }];
    let command = Command::Commit { txn: txn(engine), at: engine.now(), writes, staged: false };
    let room = log.reserve(1024).await?;
    log.propose(room, PARTITION, command).await.unwrap_or(Err(LogError::Closed)).map(drop)
}

/// A leader's entry is at a follower before it is on the leader's own disk, which is slow. The leader loses
/// power and comes back at once: it must not give the place of that entry to another one in the same term.
#[test]
fn a_leader_that_lost_power_gives_no_place_twice() {
    for seed in 0..6 {
        let (sim, board) = three(seed);
        let old = async |engine: Engine| write(&engine, "old", "v").await.unwrap();
        Work::begin(&board, 1, old).end(&sim, "a write");
        let before = group(&board, 1).unwrap().last;
        // One of the others has it, which is no quorum without the leader's disk.
        board.deaf.borrow_mut().insert((1, 3));
        sim.disk(1).stall(Operations::WRITE, Duration::from_secs(5));
        let first = Work::begin(&board, 1, async |engine: Engine| propose(&engine, "first").await);
        let sent = || group(&board, 2).unwrap().last > before;
        until(&sim, "the entry is at a follower", Duration::from_secs(1), sent);
        assert!(first.result.borrow().is_none(), "seed {seed}: it was on the disk");
        sim.disk(1).end_stalls();
        crash(&sim, &board, 1, Loss::Power);
        board.deaf.borrow_mut().clear();
        start(&sim, &board, 1);
        let started = || board.boxes.borrow().contains_key(&NodeId(1));
        until(&sim, "start", Duration::from_secs(1), started);
        // Whoever leads takes it, the one that has come back first.
        let second = async |engine: Engine| propose(&engine, "second").await.is_ok();
        let mut taken = false;
        for attempt in 0..200_u32 {
            let node = match attempt < 20 {
                true => 1,
                false => leader(&board).map_or(1, |leader| leader.0),
            };
            taken = Work::begin(&board, node, second).end(&sim, "an answer");
            if taken {
                break;
            }
            sim.run_for(Duration::from_millis(20)).unwrap();
        }
        assert!(taken, "seed {seed}: nobody leads");
        sim.run_for(Duration::from_secs(2)).unwrap();
        let all = NODES.map(|node| {
            Work::begin(&board, node, async |e: Engine| contents(&e).await).end(&sim, "read")
        });
        let keys = |one: &Vec<(Vec<u8>, Vec<u8>)>| {
            one.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>()
        };
        let all = all.each_ref().map(keys);
        assert!(all.iter().all(|one| *one == all[0]), "seed {seed}: replicas differ: {all:?}");
    }
}

/// Long enough for an election, and shorter than a lease.
const HEARS_NOTHING: Duration = Duration::from_millis(250);

/// A follower acknowledges its leader, dies and starts again at once. Within the leader's lease it must not
/// help another to lead, who would serve next to the first one.
#[test]
fn who_starts_again_within_a_lease_helps_nobody_to_lead() {
    let (mut stale, mut elected) = (0, 0);
    for seed in 0..4 {
        let (sim, board) = three(seed);
        let old = async |engine: Engine| write(&engine, "old", "v").await.unwrap();
        Work::begin(&board, 1, old).end(&sim, "a write");
        // The third one hears nothing of the leader, and asks the second, which does, to be elected. What
        // it asks takes a while.
        board.deaf.borrow_mut().insert((1, 3));
        board.asked.borrow_mut().clear();
        board.late.borrow_mut().insert((3, 2), Duration::from_millis(40));
        let asks = || board.asked.borrow().contains(&(3, 2));
        until(&sim, "a candidate", Duration::from_secs(5), asks);
        crash(&sim, &board, 2, Loss::Power);
        start(&sim, &board, 2);
        // It is asked before it hears of the leader again.
        board.deaf.borrow_mut().insert((1, 2));
        let started = || board.boxes.borrow().contains_key(&NodeId(2));
        until(&sim, "start", Duration::from_secs(1), started);
        // From the moment on at which the third one has written, nobody may say that nothing is there.
        let writing = async |engine: Engine| {
            let until = time::now() + Duration::from_secs(1);
            while time::now() < until {
                if engine.serves_in(PARTITION).is_some() && write(&engine, "new", "v").await.is_ok()
                {
                    return Some(time::now());
                }
                time::sleep(Duration::from_millis(2)).await;
            }
            None
        };
        let written = Work::begin(&board, 3, writing);
        let there = written.result.clone();
        let reading = async move |engine: Engine| {
            let (mut stale, until) = (0, time::now() + Duration::from_secs(1));
            while time::now() < until {
                let newer = there.borrow().flatten().is_some();
                if newer && engine.serves_in(PARTITION).is_some() {
                    stale += u32::from(matches!(read(&engine, "new").await, Ok(false)));
                }
                time::sleep(Duration::from_millis(5)).await;
            }
            stale
        };
        let reading = Work::begin(&board, 1, reading);
        sim.run_for(HEARS_NOTHING).unwrap();
        board.deaf.borrow_mut().remove(&(1, 2));
        stale += reading.end(&sim, "the reads");
        drop(written);
        elected += u32::from(leader(&board) != Some(NodeId(1)));
    }
    assert_eq!(stale, 0, "the first one served on, and the third one had written");
    assert_eq!(elected, 0, "another was elected");
}
