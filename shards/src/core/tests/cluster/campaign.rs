//! A link with a leader breaks: the leader is dead, or it is not.

use super::*;
use model::id::Term;

/// From the end of a leader to another one that serves: a voter keeps its word for 800 ms, and the new leader
/// waits 250 ms for the clocks.
const SERVES_WITHIN: Duration = Duration::from_millis(1250);
/// Where nothing is known but silence, nobody stands for election before that.
const SILENT: Duration = Duration::from_millis(1100);
/// From then on to an answer to who has waited for it.
const HEARS_WITHIN: Duration = Duration::from_millis(10);
const STEP: Duration = Duration::from_millis(1);

/// Who serves the partition, as each node says all the time.
#[derive(Clone, Default)]
struct Watched {
    serving: Rc<RefCell<BTreeSet<NodeId>>>,
    /// Two have served at once.
    clash: Rc<Cell<bool>>,
}

impl Watched {
    fn begin(board: &Board) -> Watched {
        let watched = Watched::default();
        for node in NODES {
            let own = watched.clone();
            Work::begin(board, node, async move |engine: Engine| own.watch(&engine).await);
        }
        watched
    }

    async fn watch(&self, engine: &Engine) {
        loop {
            self.note(engine.node(), engine.serves_in(PARTITION).is_some());
            time::sleep(STEP).await;
        }
    }

    fn note(&self, node: NodeId, serves: bool) {
        let mut serving = self.serving.borrow_mut();
        match serves {
            true => serving.insert(node),
            false => serving.remove(&node),
        };
        self.clash.set(self.clash.get() || serving.len() > 1);
    }

    fn serving(&self) -> Vec<NodeId> {
        self.serving.borrow().iter().copied().collect()
    }
}

fn terms(board: &Board) -> BTreeMap<NodeId, Vec<Term>> {
    let engines = board.engines.borrow();
    let terms = |engine: &Engine| engine.groups().iter().map(|group| group.term).collect();
    engines.iter().map(|(node, engine)| (*node, terms(engine))).collect()
}

/// Until another than the first node serves. Never do two.
fn taken_over(sim: &Sim, watched: &Watched) -> Duration {
    let since = sim.now();
    loop {
        let serving = watched.serving();
        assert!(!watched.clash.get(), "two serve at once");
        if serving.iter().any(|node| *node != NodeId(1)) {
            return sim.now() - since;
        }
        assert!(sim.now() - since < Duration::from_secs(10), "nobody takes over");
        sim.run_for(STEP).unwrap();
    }
}

/// Three nodes of which the first serves.
fn written(seed: u64) -> (Sim, Rc<Board>, Watched) {
    let (sim, board) = three(seed);
    let first = async |engine: Engine| write(&engine, "old", "v").await.unwrap();
    Work::begin(&board, 1, first).end(&sim, "a write");
    let watched = Watched::begin(&board);
    sim.run_for(Duration::from_millis(500 + sim.random().below(100))).unwrap();
    assert_eq!(watched.serving(), [NodeId(1)]);
    (sim, board, watched)
}

/// The first node dies.
fn killed(sim: &Sim, board: &Rc<Board>, watched: &Watched) {
    crash(sim, board, 1, Loss::Power);
    watched.serving.borrow_mut().remove(&NodeId(1));
}

#[test]
fn a_leader_that_is_killed_is_followed_as_soon_as_its_lease_allows() {
    for seed in 0..8 {
        let (sim, board, watched) = written(seed);
        killed(&sim, &board, &watched);
        let took = taken_over(&sim, &watched);
        assert!(took < SERVES_WITHIN, "seed {seed}: {took:?}");
    }
}

/// Who asks meanwhile has an answer as soon as somebody can give it: nobody asks anew from time to time.
#[test]
fn who_looks_for_a_leader_hears_of_it_at_once() {
    for seed in 0..8 {
        let (sim, board, watched) = written(60 + seed);
        killed(&sim, &board, &watched);
        let asked = [2, 3].map(|node| {
            Work::begin(&board, node, async |engine: Engine| read(&engine, "old").await)
        });
        taken_over(&sim, &watched);
        sim.run_for(HEARS_WITHIN).unwrap();
        for asked in asked {
            assert!(asked.result.borrow().is_some(), "seed {seed}: no answer");
        }
    }
}

/// The links break, and the leader lives, cut off: it serves no more when another one begins to.
#[test]
fn a_leader_that_is_cut_off_never_serves_next_to_another() {
    for seed in 0..8 {
        let (sim, board, watched) = written(10 + seed);
        board.set_cut(NodeId(1), true);
        let took = taken_over(&sim, &watched);
        assert!(took < SERVES_WITHIN, "seed {seed}: {took:?}");
    }
}

/// Nobody hears the leader, and no link breaks: a busy host is given more time.
#[test]
fn a_leader_that_is_silent_is_given_more_time() {
    for seed in 0..4 {
        let (sim, board, watched) = written(20 + seed);
        board.deaf.borrow_mut().extend([(1, 2), (1, 3)]);
        let took = taken_over(&sim, &watched);
        assert!(took > SILENT, "seed {seed}: {took:?}");
    }
}

/// The leader lives and goes on, and its links break again and again.
#[test]
fn a_leader_that_is_heard_again_stays() {
    for seed in 0..4 {
        let (sim, board, watched) = written(30 + seed);
        let before = terms(&board);
        for _ in 0..40 {
            board.lost(NodeId(1));
            sim.run_for(Duration::from_millis(50 + sim.random().below(200))).unwrap();
            assert_eq!(watched.serving(), [NodeId(1)], "seed {seed}");
        }
        assert_eq!(terms(&board), before, "seed {seed}: somebody was elected");
    }
}

/// One of the others has lost its leader, which the third one hears all the time.
#[test]
fn a_leader_that_one_replica_has_lost_stays() {
    for seed in 0..4 {
        let (sim, board, watched) = written(40 + seed);
        let before = terms(&board);
        board.deaf.borrow_mut().insert((1, 2));
        for _ in 0..20 {
            engine(&board, 2).place_lost(Place { node: NodeId(1), core: CoreId(0) });
            sim.run_for(Duration::from_millis(200)).unwrap();
            assert_eq!(watched.serving(), [NodeId(1)], "seed {seed}");
        }
        assert_eq!(terms(&board), before, "seed {seed}: somebody was elected");
    }
}

/// The next in turn lacks what the others hold, and gets no vote.
#[test]
fn one_that_lacks_entries_does_not_hold_up_the_others() {
    for seed in 0..8 {
        let (sim, board, watched) = written(50 + seed);
        let lacks = 2 + seed as u32 % 2;
        board.starved.borrow_mut().insert((1, lacks));
        let more = async |engine: Engine| write(&engine, "new", "v").await.unwrap();
        Work::begin(&board, 1, more).end(&sim, "a write");
        killed(&sim, &board, &watched);
        let took = taken_over(&sim, &watched);
        assert_ne!(watched.serving(), [NodeId(lacks)], "seed {seed}");
        assert!(took < SERVES_WITHIN + Duration::from_millis(100), "seed {seed}: {took:?}");
    }
}
