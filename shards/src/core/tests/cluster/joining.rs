//! A replica that is made anew goes by nothing that was over before it began.

use super::*;
use model::id::LogIndex;

/// Entries that take more than one message.
const ENTRIES: usize = 300;

fn on_leader(sim: &Sim, board: &Board, change: Change) {
    let leads = leader(board).expect("somebody leads").0;
    let changing =
        async move |engine: Engine| engine.change_group(PARTITION, change).await.unwrap();
    Work::begin(board, leads, changing).end(sim, "a change of members");
}

fn voters(sim: &Sim, board: &Board, voters: &[u32]) {
    on_leader(sim, board, Change::SetVoters(voters.iter().copied().map(NodeId).collect()));
    sim.run_for(Duration::from_millis(500)).unwrap();
}

/// Node 1, which has founded the group, hands it over to node 2.
fn hand_over(sim: &Sim, board: &Board) {
    let handing =
        async |engine: Engine| engine.transfer_leader(PARTITION, NodeId(2)).await.unwrap();
    Work::begin(board, 1, handing).end(sim, "a transfer");
    until(sim, "it leads", Duration::from_secs(5), || leader(board) == Some(NodeId(2)));
}

/// Node 1's replica goes, and an empty one takes its place.
fn begin_anew(sim: &Sim, board: &Board) {
    let now = group(board, 1).unwrap();
    let anew = async move |engine: Engine| {
        engine.remove_replica(PARTITION, (now.term, now.last)).await.unwrap();
        engine.add_replica(PARTITION, NodeId(2)).await.unwrap();
    };
    Work::begin(board, 1, anew).end(sim, "an empty replica");
    assert_eq!(group(board, 1).unwrap().last, LogIndex(0));
}

/// It begins to learn, and gets a part of the log before it hears no more of the leader.
fn learn_a_part(sim: &Sim, board: &Board) {
    let changing = async move |engine: Engine| {
        engine.change_group(PARTITION, Change::AddLearner(NodeId(1))).await
    };
    let changing = Work::begin(board, 2, changing);
    while group(board, 1).unwrap().last == LogIndex(0) {
        sim.run_for(Duration::from_micros(20)).unwrap();
    }
    board.deaf.borrow_mut().insert((2, 1));
    changing.end(sim, "a learner").unwrap();
    sim.run_for(Duration::from_millis(100)).unwrap();
    let (here, there) = (group(board, 1).unwrap().last, group(board, 2).unwrap().last);
    assert!(here < there, "all of it was learnt, {here:?}: this shows nothing");
}

fn write_entries(sim: &Sim, board: &Board, node: u32) {
    let writing = async |engine: Engine| {
        for n in 0..ENTRIES {
            write(&engine, &format!("k{n}"), &"v".repeat(2_000)).await.unwrap();
        }
    };
    Work::begin(board, node, writing).end(sim, "writes");
}

/// The part names it as the only voter, which it was when it founded the group.
#[test]
fn who_was_the_only_voter_once_does_not_elect_itself_by_that() {
    for seed in 0..3 {
        let (sim, board) = found(seed, 3);
        write_entries(&sim, &board, 1);
        all_vote(&sim, &board, 3);
        hand_over(&sim, &board);
        voters(&sim, &board, &[2, 3]);
        begin_anew(&sim, &board);
        learn_a_part(&sim, &board);
        for life in 0..2 {
            sim.run_for(Duration::from_secs(5)).unwrap();
            let now = group(&board, 1).unwrap();
            assert!(!now.leads, "seed {seed}, life {life}: it leads itself: {now:?}");
            crash(&sim, &board, 1, Loss::Power);
            start(&sim, &board, 1);
            let started = || board.boxes.borrow().contains_key(&NodeId(1));
            until(&sim, "start", Duration::from_secs(10), started);
        }
        // With the rest of the log it has a vote as any other, if it is given one.
        board.deaf.borrow_mut().clear();
        voters(&sim, &board, &[1, 2, 3]);
        let last = |node| group(&board, node).unwrap().last;
        until(&sim, "all is learnt", Duration::from_secs(10), || last(1) == last(2));
        let handing =
            async |engine: Engine| engine.transfer_leader(PARTITION, NodeId(1)).await.unwrap();
        Work::begin(&board, 2, handing).end(&sim, "a transfer back");
        until(&sim, "it leads", Duration::from_secs(5), || leader(&board) == Some(NodeId(1)));
        // And others are elected by it.
        sim.run_for(Duration::from_secs(1)).unwrap();
        hand_over(&sim, &board);
        board.set_cut(NodeId(2), true);
        let elected = || [1, 3].iter().any(|node| group(&board, *node).unwrap().leads);
        until(&sim, "another leads", Duration::from_secs(10), elected);
    }
}

/// A node that was cut off votes by the members of before, one of which was made anew since.
#[test]
fn who_knows_members_of_before_is_not_elected_by_one_that_was_made_anew() {
    for seed in 0..3 {
        let (sim, board) = cluster(seed, 5);
        hand_over(&sim, &board);
        voters(&sim, &board, &[1, 2, 3]);
        write_entries(&sim, &board, 2);
        board.set_cut(NodeId(3), true);
        for node in [4, 5] {
            on_leader(&sim, &board, Change::AddLearner(NodeId(node)));
        }
        voters(&sim, &board, &[2, 4, 5]);
        begin_anew(&sim, &board);
        learn_a_part(&sim, &board);
        let ways = [4, 5].map(|node| (node, 1));
        board.deaf.borrow_mut().extend(ways);
        board.set_cut(NodeId(3), false);
        for node in [2, 4, 5] {
            // What would tell it that it is out of the group.
            board.deaf.borrow_mut().insert((node, 3));
        }
        for _ in 0..200 {
            sim.run_for(Duration::from_millis(50)).unwrap();
            let now = group(&board, 3).unwrap();
            assert!(!now.leads, "seed {seed}: {now:?}");
        }
        assert!(board.asked.borrow().contains(&(3, 1)), "it did not stand: this shows nothing");
        assert_eq!(leader(&board), Some(NodeId(2)));
    }
}

/// The node dies in the middle of the beginning: the replica is there as its leader has said, or not at all.
#[test]
fn a_replica_that_has_not_heard_how_it_begins_is_not_there_after_a_crash() {
    let (mut there, mut gone) = (0, 0);
    for seed in 0..2 {
        let (sim, board) = found(seed, 2);
        write_entries(&sim, &board, 1);
        let led = group(&board, 1).unwrap();
        for round in 0..12 {
            let adding = async |engine: Engine| engine.add_replica(PARTITION, NodeId(1)).await;
            drop(Work::begin(&board, 2, adding));
            let spent = sim.random().below(200 << (round % 6));
            sim.run_for(Duration::from_micros(spent)).unwrap();
            crash(&sim, &board, 2, Loss::Process);
            start(&sim, &board, 2);
            let started = || board.boxes.borrow().contains_key(&NodeId(2));
            until(&sim, "start", Duration::from_secs(10), started);
            let Some(now) = group(&board, 2) else {
                gone += 1;
                continue;
            };
            there += 1;
            assert_eq!((now.term, now.last), (led.term, LogIndex(0)), "seed {seed}: {now:?}");
            let removing = async move |engine: Engine| {
                engine.remove_replica(PARTITION, (now.term, now.last)).await.unwrap();
            };
            Work::begin(&board, 2, removing).end(&sim, "the removal");
        }
    }
    assert!(there > 2 && gone > 2, "{there} there, {gone} gone: this shows nothing");
}
