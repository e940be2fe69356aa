//! What is told of a commit whose leader was overtaken by another.

use super::*;
use model::error::SqlState;

const NEW: &str = "new";

/// Whether a key is in what a replica holds.
fn holds(sim: &Sim, board: &Board, node: u32, key: &str) -> bool {
    let all = Work::begin(board, node, async |e: Engine| contents(&e).await).end(sim, "read");
    all.iter().any(|(one, _)| one == key.as_bytes())
}

/// The term of the last entry that a node's replica holds.
fn last_term(board: &Board, node: u32) -> u64 {
    let (_, last) = engine(board, node).inner.parts.log.state(PARTITION);
    last.map_or(0, |last| last.committed_leader_id().term)
}

/// Five replicas. The first one's last entry has reached the second alone when another overtakes the first
/// one, has its log displace that entry there, and dies. The second is elected with the entry in its log: it
/// is decided after all.
#[test]
fn an_entry_that_lives_on_at_a_third_replica_is_not_denied() {
    for seed in 0..4 {
        let (sim, board) = cluster(seed, 5);
        let old = async |engine: Engine| write(&engine, "old", "v").await.unwrap();
        Work::begin(&board, 1, old).end(&sim, "a write");
        assert_eq!(leader(&board), Some(NodeId(1)));
        let others = [3, 4, 5];
        board.deaf.borrow_mut().extend(others.map(|other| (1, other)));
        for one in others {
            board.starved.borrow_mut().extend([2, 3, 4, 5].map(|other| (one, other)));
        }
        let new = async |engine: Engine| write(&engine, NEW, "v").await;
        let written = Work::begin(&board, 1, new);
        sim.run_for(Duration::from_millis(50)).unwrap();
        let [first, second] = [1, 2].map(|node| group(&board, node).unwrap());
        assert_eq!(first.last, second.last, "seed {seed}: the entry is not at the second");
        let overtaken = || last_term(&board, 1) > first.term.0;
        until(&sim, "another leader", Duration::from_secs(20), overtaken);
        let dies = group(&board, 1).unwrap().leader.unwrap().0;
        assert!(others.contains(&dies), "seed {seed}");
        crash(&sim, &board, dies, Loss::Power);
        board.set_cut(NodeId(1), true);
        board.deaf.borrow_mut().clear();
        board.starved.borrow_mut().clear();
        let leads = || group(&board, 2).unwrap().leads;
        until(&sim, "the second leads", Duration::from_secs(20), leads);
        sim.run_for(Duration::from_secs(1)).unwrap();
        assert!(holds(&sim, &board, 2, NEW), "seed {seed}: this shows nothing");
        start(&sim, &board, dies);
        board.set_cut(NodeId(1), false);
        let told = written.end(&sim, "an answer");
        assert!(told.is_ok(), "seed {seed}: it is there, and was denied: {told:?}");
    }
}

/// Nobody has heard of the entry but the leader that proposed it: who waits is told so for sure, and what it
/// has written keeps nobody waiting.
#[test]
fn an_entry_that_is_gone_is_denied() {
    for seed in 0..4 {
        let (sim, board) = three(seed);
        let old = async |engine: Engine| write(&engine, "old", "v").await.unwrap();
        Work::begin(&board, 1, old).end(&sim, "a write");
        board.deaf.borrow_mut().extend([(1, 2), (1, 3)]);
        let new = async |engine: Engine| write(&engine, NEW, "v").await;
        let written = Work::begin(&board, 1, new);
        let overtaken = || leader(&board).is_some_and(|leader| leader != NodeId(1));
        until(&sim, "another leader", Duration::from_secs(20), overtaken);
        board.deaf.borrow_mut().clear();
        let told = written.end(&sim, "an answer").unwrap_err();
        assert_eq!(told.state(), SqlState::SERIALIZATION_FAILURE, "seed {seed}: {told}");
        assert!(!holds(&sim, &board, 1, NEW), "seed {seed}: it is there, and was denied");
        // What is left of it at the first replica is in nobody's way when that one leads again.
        let leads = || {
            let now = leader(&board);
            if let Some(other) = now.filter(|now| *now != NodeId(1)) {
                let back = async |e: Engine| e.transfer_leader(PARTITION, NodeId(1)).await;
                drop(Work::begin(&board, other.0, back));
            }
            now == Some(NodeId(1))
        };
        until(&sim, "the first leads", Duration::from_secs(20), leads);
        let again = async |engine: Engine| while write(&engine, NEW, "w").await.is_err() {};
        Work::begin(&board, 1, again).end(&sim, "the key is free");
        assert!(holds(&sim, &board, 1, NEW), "seed {seed}");
    }
}

/// Whatever breaks: what was said to be committed is there, and what was said not to be is not.
#[test]
fn what_is_told_of_a_commit_is_so() {
    let (mut doubts, mut denials) = (0, 0);
    for seed in 0..3 {
        let (sim, board) = cluster(seed, 3);
        let told: Rc<RefCell<BTreeMap<String, Result<(), SqlState>>>> = Rc::default();
        let go_on = Rc::new(Cell::new(true));
        let lives = Rc::new(Cell::new(0));
        let write_on = |node: u32| {
            let (told, go_on) = (told.clone(), go_on.clone());
            lives.set(lives.get() + 1);
            let life = lives.get();
            let writing = async move |engine: Engine| {
                let mut n = 0;
                while go_on.get() {
                    n += 1;
                    let key = format!("n{node}-{life}-{n}");
                    let answer = write(&engine, &key, "v").await;
                    told.borrow_mut().insert(key, answer.map_err(|error| error.state()));
                    time::sleep(Duration::from_millis(5 + random::below(40))).await;
                }
            };
            Work::begin(&board, node, writing)
        };
        let mut writers = BTreeMap::from(NODES.map(|node| (node, write_on(node))));
        for _ in 0..8 {
            let node = |sim: &Sim| 1 + sim.random().below(3) as u32;
            match sim.random().below(4) {
                0 => {
                    let dies = node(&sim);
                    crash(&sim, &board, dies, Loss::Power);
                    start(&sim, &board, dies);
                    let started = || board.boxes.borrow().contains_key(&NodeId(dies));
                    until(&sim, "start", Duration::from_secs(10), started);
                    writers.insert(dies, write_on(dies));
                }
                1 => board.deaf.borrow_mut().clear(),
                _ => {
                    let from = node(&sim);
                    board.deaf.borrow_mut().extend(NODES.map(|other| (from, other)));
                }
            }
            sim.run_for(Duration::from_millis(500 + sim.random().below(1_500))).unwrap();
        }
        board.deaf.borrow_mut().clear();
        sim.run_for(Duration::from_secs(3)).unwrap();
        go_on.set(false);
        for writer in writers.into_values() {
            writer.end(&sim, "the last write");
        }
        sim.run_for(Duration::from_secs(2)).unwrap();
        let there = Work::begin(&board, 1, async |e: Engine| contents(&e).await);
        let there = there.end(&sim, "read").into_iter();
        let there: BTreeSet<String> =
            there.map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect();
        for (key, told) in &*told.borrow() {
            let is_there = there.contains(key);
            match told {
                Ok(()) => assert!(is_there, "seed {seed}: {key} is lost"),
                Err(SqlState::STATEMENT_COMPLETION_UNKNOWN) => doubts += 1,
                Err(state) => {
                    denials += 1;
                    assert!(!is_there, "seed {seed}: {key} is there, and was denied: {state:?}");
                }
            }
        }
        assert!(there.len() > 50, "seed {seed}: {} keys: this shows nothing", there.len());
    }
    assert!(denials > 0, "{denials} denied, {doubts} in doubt: this shows nothing");
}
