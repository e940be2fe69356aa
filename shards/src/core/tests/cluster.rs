//! Several nodes with a core each, and a switchboard between them that a test can cut.

mod aside;
mod beats;
mod campaign;
mod damage;
mod holes;
mod joining;
mod log_damage;
mod lost;
mod membership;
mod only_voter;
mod overtaken;
mod removal;

use super::{commit, directory, options, put, stage, txn};
use crate::core::{CoreMessage, DataDir, DataDirOptions, Engine, EngineOptions, Trace, founded};
use crate::raft::{Change, GroupReport, Nodes, Unreached, is_append, partition_asked};
use crate::storage::ScanBatch;
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use model::command::{Effect, KeyConflict, RequestBody};
use model::error::{SqlError, SqlState};
use model::id::{CoreId, NodeId, PartitionId};
use model::key::KeyRange;
use model::placement::Place;
use runtime::mesh::MeshBuilder;
use runtime::random;
use runtime::sim::{Loss, Options, Sim};
use runtime::sync::{oneshot, queue};
use runtime::task;
use runtime::time::{self, Instant};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const NODES: [u32; 3] = [1, 2, 3];
const NODES_MAX: u32 = 5;
const PARTITION: PartitionId = PartitionId(1);

/// A message on its way to a node.
enum Mail {
    Engine(Place, Bytes),
    Replica(Bytes, oneshot::Sender<Bytes>),
    /// What a test has it do.
    Job(Job),
}

type Job = Box<dyn FnOnce(Engine) -> LocalBoxFuture<'static, ()>>;

/// Connects the nodes. What is cut arrives nowhere, and both sides hear of it after a while.
#[derive(Default)]
struct Board {
    boxes: RefCell<BTreeMap<NodeId, queue::Sender<Mail>>>,
    engines: RefCell<BTreeMap<NodeId, Engine>>,
    cut: RefCell<BTreeSet<NodeId>>,
    /// What the first node asks a replica of the second does not arrive. Answers do.
    deaf: RefCell<BTreeSet<(u32, u32)>>,
    /// Requests of the first node to the second arrive and are not read.
    unread: RefCell<BTreeSet<(u32, u32)>>,
    /// As `deaf`, of entries alone.
    starved: RefCell<BTreeSet<(u32, u32)>>,
    /// What the first node asks a replica of the second, but for entries, takes so much longer.
    late: RefCell<BTreeMap<(u32, u32), Duration>>,
    /// Who has asked a replica of the partition something but to take entries.
    asked: RefCell<BTreeSet<(u32, u32)>>,
    /// What engines that start have of memory, where that is less than usual, in bytes.
    memory_bytes: Cell<Option<usize>>,
    /// Messages between replicas: from where to where, of which kind, how many.
    counted: RefCell<BTreeMap<(NodeId, NodeId, u8), usize>>,
    /// When the last of them arrives, from where to where.
    arrivals: RefCell<BTreeMap<(u32, u32), Instant>>,
}

impl Board {
    /// When a message between replicas arrives that leaves now: behind those before it.
    fn arrival(&self, way: (u32, u32)) -> Instant {
        let quick = time::now() + Duration::from_micros(100 + random::below(400));
        let mut arrivals = self.arrivals.borrow_mut();
        let arrival = arrivals.entry(way).or_insert(quick);
        *arrival = quick.max(*arrival + Duration::from_micros(1));
        *arrival
    }

    fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        let cut = self.cut.borrow();
        !cut.contains(&from) && !cut.contains(&to) && self.boxes.borrow().contains_key(&to)
    }

    /// Whether a replica of one node is asked what another one asks it.
    fn asks(&self, from: NodeId, to: NodeId, message: &Bytes) -> bool {
        let way = (from.0, to.0);
        let starved = self.starved.borrow().contains(&way) && is_append(message);
        self.reaches(from, to) && !self.deaf.borrow().contains(&way) && !starved
    }

    /// Cuts a node off, or joins it again. All who have a link with it hear that it broke.
    fn set_cut(&self, node: NodeId, cut: bool) {
        match cut {
            true => drop(self.cut.borrow_mut().insert(node)),
            false => drop(self.cut.borrow_mut().remove(&node)),
        }
        self.lost(node);
    }

    fn lost(&self, node: NodeId) {
        let place = |node| Place { node, core: CoreId(0) };
        for (other, engine) in self.engines.borrow().iter() {
            if *other != node {
                engine.place_lost(place(node));
            } else {
                let others = (1..=NODES_MAX).filter(|one| *one != node.0);
                others.for_each(|one| engine.place_lost(place(NodeId(one))));
            }
        }
    }
}

/// The board as a node sees it.
struct Line {
    board: Rc<Board>,
    node: NodeId,
}

fn unreached() -> Unreached {
    Unreached { why: "the line is cut".to_owned(), may_have_arrived: true }
}

impl Nodes for Line {
    fn place(&self, node: NodeId, _: PartitionId) -> Option<Place> {
        (1..=NODES_MAX).contains(&node.0).then_some(Place { node, core: CoreId(0) })
    }

    fn others(&self) -> Vec<NodeId> {
        let all = self.board.boxes.borrow();
        all.keys().copied().filter(|node| *node != self.node).collect()
    }

    fn is_reached(&self, node: NodeId) -> bool {
        self.board.reaches(self.node, node)
    }

    fn send(&self, to: Place, message: Bytes) -> LocalBoxFuture<'static, Result<(), Unreached>> {
        let (board, from) = (self.board.clone(), self.node);
        Box::pin(async move {
            let letter = board.boxes.borrow().get(&to.node).cloned();
            let Some(letter) = letter.filter(|_| board.reaches(from, to.node)) else {
                return Err(Unreached { may_have_arrived: false, ..unreached() });
            };
            if board.unread.borrow().contains(&(from.0, to.node.0)) {
                return Ok(());
            }
            let from = Place { node: from, core: CoreId(0) };
            letter.send(Mail::Engine(from, message)).await.map_err(|_closed| unreached())
        })
    }

    fn ask_replica(
        &self,
        to: Place,
        message: Vec<Bytes>,
        deadline: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, Unreached>> {
        let (board, from) = (self.board.clone(), self.node);
        Box::pin(async move {
            // The byte after the version.
            let kind = message[0][1];
            *board.counted.borrow_mut().entry((from, to.node, kind)).or_default() += 1;
            let way = (from.0, to.node.0);
            let arrival = board.arrival(way);
            time::sleep_until(arrival).await;
            let message = Bytes::from(message.concat());
            if !is_append(&message) {
                if partition_asked(&message) == Some(PARTITION) {
                    board.asked.borrow_mut().insert(way);
                }
                let late = board.late.borrow().get(&way).copied();
                time::sleep(late.unwrap_or_default()).await;
            }
            let letter = board.boxes.borrow().get(&to.node).cloned();
            let Some(letter) = letter.filter(|_| board.asks(from, to.node, &message)) else {
                return Err(unreached());
            };
            let (promise, answer) = oneshot::channel();
            let sent = letter.send(Mail::Replica(message, promise)).await;
            sent.map_err(|_closed| unreached())?;
            let left = deadline.saturating_since(time::now());
            let answer = time::timeout(left, answer).await;
            let answer = answer.map_err(|_elapsed| unreached())?.map_err(|_closed| unreached())?;
            time::sleep(Duration::from_micros(100 + random::below(400))).await;
            match board.reaches(to.node, from) {
                true => Ok(answer),
                false => Err(unreached()),
            }
        })
    }
}

/// Takes what arrives at a node.
async fn take_mail(engine: Engine, mut mail: queue::Receiver<Mail>) {
    while let Ok(letter) = mail.recv().await {
        match letter {
            Mail::Engine(from, message) => engine.take_message(from, message),
            Mail::Replica(message, promise) => {
                let answer = engine.answer_replica(message);
                let answering = async move { drop(promise.send(answer.await)) };
                task::spawn("answer", answering).detach();
            }
            Mail::Job(job) => task::spawn("job", job(engine.clone())).detach(),
        }
    }
}

/// Opens the directory of a node; those that are not the first have joined.
async fn open(options: &DataDirOptions) -> DataDir {
    let claimed = DataDir::claim(&options.path).await.unwrap();
    let joins = claimed.identity().is_none() && options.node.0 != 1;
    let opened = match joins {
        true => claimed.join(options, 7).await,
        false => claimed.open(options).await,
    };
    opened.unwrap()
}

fn start(sim: &Sim, board: &Rc<Board>, node: u32) {
    let board = board.clone();
    sim.start_node(node, 1, move |_| {
        let (board, node) = (board.clone(), NodeId(node));
        Box::pin(async move {
            let directory = DataDirOptions { node, ..directory(1) };
            let dir = open(&directory).await;
            let mesh = MeshBuilder::<CoreMessage>::new(1, 16).join(0).await;
            let usual = options(&dir, 0);
            let memory_bytes = board.memory_bytes.get().unwrap_or(usual.memory_bytes);
            let options = EngineOptions { node, memory_bytes, ..usual };
            let line = Rc::new(Line { board: board.clone(), node });
            let engine = Engine::open(options, mesh, line).await.unwrap();
            if node.0 == 1 {
                founded(&directory.path).await.unwrap();
            }
            let (letters, mail) = queue::bounded(1024);
            board.boxes.borrow_mut().insert(node, letters);
            board.engines.borrow_mut().insert(node, engine.clone());
            take_mail(engine, mail).await;
        })
    });
}

/// A node dies.
fn crash(sim: &Sim, board: &Rc<Board>, node: u32, loss: Loss) {
    board.boxes.borrow_mut().remove(&NodeId(node));
    board.engines.borrow_mut().remove(&NodeId(node));
    board.lost(NodeId(node));
    sim.crash(node, loss);
}

/// Runs the simulation until `done`.
fn until(sim: &Sim, what: &str, limit: Duration, mut done: impl FnMut() -> bool) -> Duration {
    let since = sim.now();
    while !done() {
        sim.run_for(Duration::from_millis(5)).unwrap();
        assert!(sim.panics().is_empty(), "{:?}", sim.panics());
        assert!(sim.now() - since < limit, "{what}: not within {limit:?}");
    }
    sim.now() - since
}

fn engine(board: &Board, node: u32) -> Engine {
    board.engines.borrow()[&NodeId(node)].clone()
}

fn leader(board: &Board) -> Option<NodeId> {
    let engines = board.engines.borrow();
    let leads = |engine: &Engine| {
        engine.groups().iter().any(|group| group.partition == PARTITION && group.leads)
    };
    engines.iter().find(|(_, engine)| leads(engine)).map(|(node, _)| *node)
}

/// Runs `work` on a node, and gives what it came to when it is done.
struct Work<T> {
    result: Rc<RefCell<Option<T>>>,
}

impl<T: 'static> Work<T> {
    fn begin(board: &Board, node: u32, work: impl AsyncFnOnce(Engine) -> T + 'static) -> Work<T> {
        let result: Rc<RefCell<Option<T>>> = Rc::default();
        let told = result.clone();
        let job: Job = Box::new(move |engine| {
            Box::pin(async move {
                let done = work(engine).await;
                *told.borrow_mut() = Some(done);
            })
        });
        let sent = board.boxes.borrow()[&NodeId(node)].try_send(Mail::Job(job));
        assert!(sent.is_ok(), "node {node} takes no more");
        Work { result }
    }

    fn end(self, sim: &Sim, what: &str) -> T {
        until(sim, what, Duration::from_secs(30), || self.result.borrow().is_some());
        self.result.borrow_mut().take().unwrap()
    }
}

/// What a node's replica of the partition says.
fn group(board: &Board, node: u32) -> Option<GroupReport> {
    let groups = board.engines.borrow().get(&NodeId(node))?.groups();
    groups.into_iter().find(|group| group.partition == PARTITION)
}

/// Three nodes, each with a replica of every partition that votes.
fn three(seed: u64) -> (Sim, Rc<Board>) {
    cluster(seed, 3)
}

/// So many nodes, each with a replica of every partition that votes.
fn cluster(seed: u64, nodes: u32) -> (Sim, Rc<Board>) {
    let (sim, board) = found(seed, nodes);
    all_vote(&sim, &board, nodes);
    (sim, board)
}

/// So many nodes, of which the first has founded all partitions and is their only voter.
fn found(seed: u64, nodes: u32) -> (Sim, Rc<Board>) {
    let sim = Sim::new(Options::new(seed));
    let board: Rc<Board> = Rc::default();
    for node in 1..=nodes {
        start(&sim, &board, node);
    }
    let started = || board.boxes.borrow().len() == nodes as usize;
    until(&sim, "start", Duration::from_secs(10), started);
    (sim, board)
}

/// Gives the other nodes a replica of every partition that votes.
fn all_vote(sim: &Sim, board: &Board, nodes: u32) {
    for node in 2..=nodes {
        let adding = async |engine: Engine| {
            for partition in 0..=super::PARTITIONS {
                engine.add_replica(PartitionId(partition), NodeId(1)).await.unwrap();
            }
        };
        Work::begin(board, node, adding).end(sim, "empty replicas");
    }
    let changing = async move |engine: Engine| {
        for partition in (0..=super::PARTITIONS).map(PartitionId) {
            for node in 2..=nodes {
                let change = Change::AddLearner(NodeId(node));
                engine.change_group(partition, change).await.unwrap();
            }
            let voters = (1..=nodes).map(NodeId).collect();
            engine.change_group(partition, Change::SetVoters(voters)).await.unwrap();
        }
    };
    Work::begin(board, 1, changing).end(sim, "voters");
}

/// Writes a key in a transaction of its own.
async fn write(engine: &Engine, key: &str, value: &str) -> Result<(), SqlError> {
    let txn = txn(engine);
    stage(engine, txn, PARTITION.0, vec![put(key, value)]).await?;
    commit(engine, txn, PARTITION.0).await.map(drop)
}

/// All keys of the partition, as a node's replica has them.
async fn contents(engine: &Engine) -> Vec<(Vec<u8>, Vec<u8>)> {
    let partition = engine.inner.partition(PARTITION).unwrap();
    let at = engine.now();
    let mut scan = partition.tree.scan(KeyRange::prefix(Vec::new()), at, false);
    let (mut rows, mut batch) = (Vec::new(), ScanBatch::new());
    while scan.next_batch(&mut batch, 1000, 1 << 20).await.unwrap() || !batch.is_empty() {
        rows.extend(batch.iter().map(|row| (row.key.to_vec(), row.value.to_vec())));
    }
    rows
}

#[test]
fn a_new_replica_gets_what_there_was_and_what_comes() {
    for seed in 0..4 {
        let (sim, board) = three(seed);
        let writing = async |engine: Engine| {
            for n in 0..50 {
                write(&engine, &format!("k{n}"), "v").await.unwrap();
            }
        };
        Work::begin(&board, 2, writing).end(&sim, "writes through another node");
        sim.run_for(Duration::from_secs(1)).unwrap();
        let all: Vec<_> = NODES
            .iter()
            .map(|node| {
                Work::begin(&board, *node, async |e: Engine| contents(&e).await).end(&sim, "read")
            })
            .collect();
        assert_eq!(all[0].len(), 50, "seed {seed}");
        assert!(all.iter().all(|one| *one == all[0]), "seed {seed}: replicas differ");
    }
}

#[test]
fn a_replica_behind_the_beginning_of_the_log_gets_the_files() {
    for seed in 0..3 {
        let sim = Sim::new(Options::new(seed));
        let board: Rc<Board> = Rc::default();
        for node in NODES {
            start(&sim, &board, node);
        }
        until(&sim, "start", Duration::from_secs(10), || board.boxes.borrow().len() == 3);
        // More than the log keeps.
        let writing = async |engine: Engine| {
            for n in 0..400 {
                write(&engine, &format!("k{n}"), &"v".repeat(5_000)).await.unwrap();
            }
            engine.inner.parts.flush().await.unwrap();
        };
        Work::begin(&board, 1, writing).end(&sim, "writes");
        sim.run_for(Duration::from_secs(3)).unwrap();
        let (purged, _) = engine(&board, 1).inner.parts.log.state(PARTITION);
        assert!(purged.is_some_and(|purged| purged.index > 100), "{purged:?}: this shows nothing");
        let adding = async |engine: Engine| engine.add_replica(PARTITION, NodeId(1)).await.unwrap();
        Work::begin(&board, 2, adding).end(&sim, "an empty replica");
        let changing = async |engine: Engine| {
            engine.change_group(PARTITION, Change::AddLearner(NodeId(2))).await.unwrap();
            for n in 400..420 {
                write(&engine, &format!("k{n}"), "v").await.unwrap();
            }
        };
        Work::begin(&board, 1, changing).end(&sim, "a learner");
        let reached = || {
            let groups = engine(&board, 1).groups();
            let group = groups.iter().find(|group| group.partition == PARTITION).unwrap();
            group.matched.get(&NodeId(2)).is_some_and(|matched| *matched == group.last)
        };
        until(&sim, "the files", Duration::from_secs(20), reached);
        sim.run_for(Duration::from_secs(1)).unwrap();
        let all = async |engine: Engine| contents(&engine).await;
        let (leaders, learners) = (
            Work::begin(&board, 1, all).end(&sim, "read"),
            Work::begin(&board, 2, all).end(&sim, "read"),
        );
        assert_eq!(leaders.len(), 420);
        assert!(leaders == learners, "seed {seed}: {} of {}", learners.len(), leaders.len());
        // It starts again with what it has got.
        crash(&sim, &board, 2, Loss::Power);
        start(&sim, &board, 2);
        until(&sim, "start", Duration::from_secs(10), || board.boxes.borrow().len() == 3);
        sim.run_for(Duration::from_secs(3)).unwrap();
        let learners = Work::begin(&board, 2, all).end(&sim, "read");
        assert!(leaders == learners, "seed {seed}: {} of {}", learners.len(), leaders.len());
    }
}

#[test]
fn when_the_leader_dies_another_goes_on_with_all_that_was_acknowledged() {
    for seed in 0..6 {
        let (sim, board) = three(seed);
        let acknowledged: Rc<RefCell<BTreeSet<String>>> = Rc::default();
        let go_on = Rc::new(Cell::new(true));
        let (told, goes_on) = (acknowledged.clone(), go_on.clone());
        let writing = async move |engine: Engine| {
            let mut n = 0;
            while goes_on.get() {
                n += 1;
                let key = format!("k{n}");
                if write(&engine, &key, "v").await.is_ok() {
                    told.borrow_mut().insert(key);
                }
            }
        };
        let written = Work::begin(&board, 2, writing);
        until(&sim, "writes", Duration::from_secs(10), || acknowledged.borrow().len() > 50);
        assert_eq!(leader(&board), Some(NodeId(1)));
        crash(&sim, &board, 1, Loss::Power);
        let before = acknowledged.borrow().len();
        let gap = until(&sim, "fail-over", Duration::from_secs(10), || {
            acknowledged.borrow().len() > before + 2
        });
        assert!(gap < Duration::from_secs(3), "seed {seed}: {gap:?}");
        start(&sim, &board, 1);
        sim.run_for(Duration::from_secs(3)).unwrap();
        go_on.set(false);
        written.end(&sim, "the last write");
        sim.run_for(Duration::from_secs(2)).unwrap();
        let all: Vec<_> = NODES
            .iter()
            .map(|node| {
                Work::begin(&board, *node, async |e: Engine| contents(&e).await).end(&sim, "read")
            })
            .collect();
        assert!(all.iter().all(|one| *one == all[0]), "seed {seed}: replicas differ");
        let there: BTreeSet<String> =
            all[0].iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
        let lost: Vec<_> = acknowledged.borrow().difference(&there).cloned().collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?}");
    }
}

/// Writes keys until it is told to stop, each once; what has not changed anything yet begins again.
async fn write_all(engine: Engine, from: u32, go_on: Rc<Cell<bool>>) -> Vec<String> {
    let mut written = Vec::new();
    while go_on.get() {
        let key = format!("k{from}-{}", written.len());
        let txn = txn(&engine);
        match stage(&engine, txn, PARTITION.0, vec![put(&key, "v")]).await {
            Ok(()) => {}
            Err(error) if error.state() == SqlState::SERIALIZATION_FAILURE => continue,
            Err(error) => panic!("{error}"),
        }
        time::sleep(Duration::from_millis(random::below(10))).await;
        commit(&engine, txn, PARTITION.0).await.expect("it has begun, and ends");
        written.push(key);
    }
    written
}

/// It may be wanted to lead still, by who has not heard yet that it is dead.
#[test]
fn a_leader_is_not_handed_over_to_who_is_gone() {
    let (sim, board) = three(5);
    let from = leader(&board).expect("somebody leads");
    let to = NODES.map(NodeId).into_iter().find(|node| *node != from).expect("another one");
    board.set_cut(to, true);
    let handing = async move |engine: Engine| engine.transfer_leader(PARTITION, to).await;
    let handed = Work::begin(&board, from.0, handing).end(&sim, "a transfer");
    let error = handed.expect_err("nobody is there");
    assert_eq!(error.state(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert_eq!(leader(&board), Some(from));
    let serves = Work::begin(&board, from.0, async |e: Engine| e.serves_in(PARTITION).is_some());
    assert!(serves.end(&sim, "a look"), "it does not serve any more");
}

#[test]
fn a_leader_that_is_handed_over_loses_no_transaction() {
    for seed in 0..2 {
        let (sim, board) = three(seed);
        let go_on = Rc::new(Cell::new(true));
        let writers = NODES.map(|node| {
            let go_on = go_on.clone();
            Work::begin(&board, node, async move |e: Engine| write_all(e, node, go_on).await)
        });
        for turn in 0..6 {
            sim.run_for(Duration::from_secs(1)).unwrap();
            let from = leader(&board).expect("somebody leads");
            let to = NodeId(NODES[(from.0 as usize + turn % 2) % NODES.len()]);
            let handing = async move |engine: Engine| engine.transfer_leader(PARTITION, to).await;
            let handed = Work::begin(&board, from.0, handing).end(&sim, "a transfer");
            handed.unwrap_or_else(|error| panic!("seed {seed}: from {from} to {to}: {error}"));
            let leads = || leader(&board) == Some(to);
            until(&sim, "the next leader", Duration::from_secs(1), leads);
        }
        go_on.set(false);
        let written: Vec<_> = writers.into_iter().flat_map(|one| one.end(&sim, "writes")).collect();
        assert!(written.len() > 300, "seed {seed}: {}", written.len());
        sim.run_for(Duration::from_secs(1)).unwrap();
        for node in NODES {
            let read = Work::begin(&board, node, async |e: Engine| contents(&e).await);
            assert_eq!(read.end(&sim, "read").len(), written.len(), "seed {seed}: node {node}");
        }
    }
}

#[test]
fn a_trace_says_where_requests_were_answered_and_how_many_were_sent_in_vain() {
    let (sim, board) = three(5);
    let asking = async |engine: Engine| {
        let trace = Rc::new(Trace::default());
        let traced = engine.traced(trace.clone());
        write(&traced, "k", "v").await.unwrap();
        // What goes through the handle it was made of is not told.
        write(&engine, "other", "v").await.unwrap();
        trace
    };
    let visited = |trace: &Trace| -> Vec<(u32, u32, u64)> {
        let visits = trace.visits().into_iter();
        visits.map(|visit| (visit.place.node.0, visit.partition.0, visit.requests)).collect()
    };
    let first = Work::begin(&board, 3, asking).end(&sim, "a write through another node");
    // It is staged and then committed.
    assert_eq!(visited(&first), [(1, PARTITION.0, 2)]);
    let moving = async |engine: Engine| {
        engine.transfer_leader(PARTITION, NodeId(2)).await.unwrap();
    };
    let moving = Work::begin(&board, 1, moving);
    // What begins before the other one leads is refused, and would be run again.
    let early = async |engine: Engine| {
        let trace = Rc::new(Trace::default());
        drop(write(&engine.traced(trace.clone()), "early", "v").await);
        trace
    };
    let early = Work::begin(&board, 3, early).end(&sim, "a write that comes too early");
    assert!(early.missed() > 0, "it was asked before it led");
    moving.end(&sim, "another leader");
    until(&sim, "it leads", Duration::from_secs(10), || leader(&board) == Some(NodeId(2)));
    sim.run_for(Duration::from_secs(1)).unwrap();
    let second = Work::begin(&board, 3, asking).end(&sim, "a write that follows it");
    assert_eq!(visited(&second), [(2, PARTITION.0, 2)]);
    let third = Work::begin(&board, 3, asking).end(&sim, "a write that knows it");
    assert_eq!((visited(&third), third.missed()), (vec![(2, PARTITION.0, 2)], 0));
}

#[test]
fn a_leader_that_loses_its_vote_changes_nothing_more_and_goes() {
    for seed in 0..2 {
        let (sim, board) = three(seed);
        let leaving = async |engine: Engine| {
            let others = [2, 3].map(NodeId).into_iter().collect();
            engine.change_group(PARTITION, Change::SetVoters(others)).await.unwrap();
            let more = engine.change_group(PARTITION, Change::RemoveLearner(NodeId(1))).await;
            assert_eq!(more.unwrap_err().state(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
            engine.transfer_leader(PARTITION, NodeId(2)).await.unwrap();
        };
        Work::begin(&board, 1, leaving).end(&sim, "it leaves");
        until(&sim, "the next leader", Duration::from_secs(1), || {
            leader(&board) == Some(NodeId(2))
        });
        let writing = async |engine: Engine| {
            // What had begun before the other led is refused, and tried again.
            while write(&engine, "k", "v").await.is_err() {}
        };
        Work::begin(&board, 1, writing).end(&sim, "a write");
    }
}

/// Reads a key at the leader, wherever it is.
async fn read(engine: &Engine, key: &str) -> Result<bool, SqlError> {
    // A probe of a transaction of its own: it locks, and says whether somebody holds the key.
    let txn = txn(engine);
    let require = Effect::RequireKey {
        key: key.as_bytes().to_vec(),
        conflict: Arc::new(KeyConflict { error: SqlError::internal("absent") }),
    };
    let staged = stage(engine, txn, PARTITION.0, vec![require]).await;
    engine.call(PARTITION, RequestBody::Rollback { txn }).await?;
    match staged {
        Ok(()) => Ok(true),
        Err(error) if error.to_string().contains("absent") => Ok(false),
        Err(error) => Err(error),
    }
}

#[test]
fn a_leader_that_is_cut_off_serves_nobody_when_another_may_lead() {
    for seed in 0..4 {
        let (sim, board) = three(seed);
        let before = async |engine: Engine| write(&engine, "old", "v").await.unwrap();
        Work::begin(&board, 1, before).end(&sim, "a write");
        board.set_cut(NodeId(1), true);
        // The majority goes on; as soon as it has, the minority must not say otherwise.
        let writing = async |engine: Engine| {
            // What had begun before the other led is refused, and tried again.
            while write(&engine, "new", "v").await.is_err() {}
        };
        let written = Work::begin(&board, 2, writing);
        let stale = Rc::new(Cell::new(0));
        let served = Rc::new(Cell::new(0));
        let (is_stale, is_served) = (stale.clone(), served.clone());
        let there = written.result.clone();
        let asking = async move |engine: Engine| {
            let until = time::now() + Duration::from_secs(8);
            while time::now() < until {
                let newer = there.borrow().is_some();
                let asked = time::timeout(Duration::from_millis(300), read(&engine, "new")).await;
                match asked {
                    Ok(Ok(true)) => is_served.set(is_served.get() + 1),
                    Ok(Ok(false)) if newer => is_stale.set(is_stale.get() + 1),
                    _ => {}
                }
                time::sleep(Duration::from_millis(10)).await;
            }
        };
        let asked = Work::begin(&board, 1, asking);
        until(&sim, "the majority", Duration::from_secs(5), || written.result.borrow().is_some());
        sim.run_for(Duration::from_secs(2)).unwrap();
        assert_eq!((stale.get(), served.get()), (0, 0), "seed {seed}");
        board.set_cut(NodeId(1), false);
        asked.end(&sim, "the minority");
        written.end(&sim, "the write");
        assert_eq!(stale.get(), 0, "seed {seed}: a stale read");
        assert!(served.get() > 0, "seed {seed}: it is not healed");
    }
}
