//! Several simulated nodes whose engines and routers are the real ones, and a switchboard between them
//! that a test can cut.

use crate::router::peers::{Lines, Peers, RouterMessage};
use crate::router::{Router, RouterOptions};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use model::id::{CoreId, NodeId, PartitionId};
use model::placement::Place;
use runtime::mesh::MeshBuilder;
use runtime::random;
use runtime::sim::{Loss, Options, Sim};
use runtime::sync::{oneshot, queue};
use runtime::task;
use runtime::time::{self, Instant};
use shards::core::{CoreMessage, DataDir, DataDirOptions, Engine, EngineOptions};
use shards::raft::{Change, Nodes, Unreached};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

pub(in crate::router) const NODES: [u32; 3] = [1, 2, 3];
const PARTITIONS: u32 = 3;
/// Letters that wait at a core.
const BOX_MAX: usize = 4_096;

type Job = Box<dyn FnOnce(Router) -> LocalBoxFuture<'static, ()>>;

/// What comes to a core.
enum Mail {
    Engine(Place, Bytes),
    Router(Place, Bytes),
    Replica(Bytes, oneshot::Sender<Bytes>),
    Lost(Place),
    /// What a test has it do.
    Job(Job),
}

/// Connects the cores of all nodes.
#[derive(Default)]
pub(in crate::router) struct Board {
    boxes: RefCell<BTreeMap<Place, queue::Sender<Mail>>>,
    /// Pairs of nodes that do not hear each other.
    cut: RefCell<BTreeSet<(NodeId, NodeId)>>,
    /// Messages between routers vanish, and nobody is told.
    pub swallows: Cell<bool>,
    cores: u16,
    /// When the last message between replicas arrives, from where to where.
    arrivals: RefCell<BTreeMap<(Place, Place), Instant>>,
}

impl Board {
    /// When a message between replicas arrives that leaves now: behind those before it.
    fn arrival(&self, from: Place, to: Place) -> Instant {
        let quick = time::now() + Duration::from_micros(100 + random::below(400));
        let mut arrivals = self.arrivals.borrow_mut();
        let arrival = arrivals.entry((from, to)).or_insert(quick);
        *arrival = quick.max(*arrival + Duration::from_micros(1));
        *arrival
    }

    fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        let (low, high) = (from.min(to), from.max(to));
        !self.cut.borrow().contains(&(low, high))
    }

    fn letter_box(&self, from: Place, to: Place) -> Option<queue::Sender<Mail>> {
        let found = self.boxes.borrow().get(&to).cloned();
        found.filter(|_| self.reaches(from.node, to.node))
    }

    /// Cuts two nodes apart, or joins them again. Both hear that their links broke.
    pub fn set_cut(&self, one: u32, other: u32, cut: bool) {
        let pair = (NodeId(one.min(other)), NodeId(one.max(other)));
        match cut {
            true => drop(self.cut.borrow_mut().insert(pair)),
            false => drop(self.cut.borrow_mut().remove(&pair)),
        }
        self.tell_lost(NodeId(one), NodeId(other));
        self.tell_lost(NodeId(other), NodeId(one));
    }

    /// Cuts a node off from all others, or joins it again.
    pub fn isolate(&self, node: u32, cut: bool) {
        for other in NODES.into_iter().filter(|other| *other != node) {
            self.set_cut(node, other, cut);
        }
    }

    fn tell_lost(&self, to: NodeId, lost: NodeId) {
        for (place, letters) in self.boxes.borrow().iter().filter(|(place, _)| place.node == to) {
            for core in (0..self.cores).map(CoreId) {
                let told = letters.try_send(Mail::Lost(Place { node: lost, core }));
                assert!(told.is_ok(), "the box of {place:?} is full");
            }
        }
    }

    /// Whether all cores of a node take what comes.
    pub fn is_up(&self, node: u32) -> bool {
        let cores = self.boxes.borrow().keys().filter(|place| place.node == NodeId(node)).count();
        cores == usize::from(self.cores)
    }

    fn places(&self) -> Vec<Place> {
        self.boxes.borrow().keys().copied().collect()
    }
}

/// The board as a core sees it.
struct Line {
    board: Rc<Board>,
    me: Place,
    /// By where it is sent to: what is sent arrives in order, after a while.
    couriers: RefCell<BTreeMap<Place, queue::Sender<Bytes>>>,
}

fn unreached(may_have_arrived: bool) -> Unreached {
    Unreached { why: "the line is cut".to_owned(), may_have_arrived }
}

impl Line {
    fn courier(&self, to: Place) -> queue::Sender<Bytes> {
        let mut couriers = self.couriers.borrow_mut();
        let courier = couriers.entry(to).or_insert_with(|| {
            let (sender, mut letters) = queue::bounded::<Bytes>(BOX_MAX);
            let (board, me) = (self.board.clone(), self.me);
            let carry = async move {
                while let Ok(letter) = letters.recv().await {
                    time::sleep(Duration::from_micros(100 + random::below(400))).await;
                    if let Some(letters) = board.letter_box(me, to) {
                        // A node that is gone takes nothing.
                        let _gone = letters.send(Mail::Router(me, letter)).await;
                    }
                }
            };
            task::spawn("courier", carry).detach();
            sender
        });
        courier.clone()
    }
}

impl Lines for Line {
    fn send(&self, to: Place, message: Bytes) -> LocalBoxFuture<'static, Result<(), Unreached>> {
        if self.board.swallows.get() {
            return Box::pin(async { Ok(()) });
        }
        let there = self.board.letter_box(self.me, to).is_some();
        let courier = self.courier(to);
        Box::pin(async move {
            match there {
                true => courier.send(message).await.map_err(|_closed| unreached(true)),
                false => Err(unreached(false)),
            }
        })
    }

    fn places(&self) -> Vec<Place> {
        let places = self.board.places();
        places.into_iter().filter(|place| place.node != self.me.node).collect()
    }
}

impl Nodes for Line {
    fn place(&self, node: NodeId, partition: PartitionId) -> Option<Place> {
        let core = CoreId((partition.0 % u32::from(self.board.cores)) as u16);
        NODES.contains(&node.0).then_some(Place { node, core })
    }

    fn others(&self) -> Vec<NodeId> {
        NODES.map(NodeId).into_iter().filter(|node| *node != self.me.node).collect()
    }

    fn is_reached(&self, node: NodeId) -> bool {
        self.board.reaches(self.me.node, node)
    }

    fn send(&self, to: Place, message: Bytes) -> LocalBoxFuture<'static, Result<(), Unreached>> {
        let (board, from) = (self.board.clone(), self.me);
        Box::pin(async move {
            let Some(letters) = board.letter_box(from, to) else { return Err(unreached(false)) };
            letters.send(Mail::Engine(from, message)).await.map_err(|_closed| unreached(true))
        })
    }

    fn ask_replica(
        &self,
        to: Place,
        message: Vec<Bytes>,
        deadline: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, Unreached>> {
        let (board, from) = (self.board.clone(), self.me);
        Box::pin(async move {
            let arrival = board.arrival(from, to);
            time::sleep_until(arrival).await;
            let Some(letters) = board.letter_box(from, to) else { return Err(unreached(true)) };
            let (promise, answer) = oneshot::channel();
            let sent = letters.send(Mail::Replica(message.concat().into(), promise)).await;
            sent.map_err(|_closed| unreached(true))?;
            let left = deadline.saturating_since(time::now());
            let answer = time::timeout(left, answer).await;
            let answer =
                answer.map_err(|_late| unreached(true))?.map_err(|_gone| unreached(true))?;
            match board.reaches(to.node, from.node) {
                true => Ok(answer),
                false => Err(unreached(true)),
            }
        })
    }
}

async fn take_mail(router: Router, mut mail: queue::Receiver<Mail>) {
    let engine = router.engine().clone();
    while let Ok(letter) = mail.recv().await {
        match letter {
            Mail::Engine(from, message) => engine.take_message(from, message),
            Mail::Router(from, message) => router.peers().take(from, &message),
            Mail::Lost(place) => {
                engine.place_lost(place);
                router.place_lost(place);
            }
            Mail::Replica(message, promise) => {
                let answer = engine.answer_replica(message);
                let answering = async move { drop(promise.send(answer.await)) };
                task::spawn("answer", answering).detach();
            }
            Mail::Job(job) => task::spawn("job", job(router.clone())).detach(),
        }
    }
}

fn directory(node: NodeId, cores: u16) -> DataDirOptions {
    DataDirOptions {
        path: "/data".into(),
        node,
        cores,
        partitions: PARTITIONS,
        memory_bytes: 32 << 20,
        wal_segment_bytes: 256 << 10,
    }
}

/// What the cores of a node share when it starts.
#[derive(Clone, Default)]
struct Shared {
    directory: Rc<RefCell<Option<Rc<DataDir>>>>,
    engines: Rc<RefCell<Option<MeshBuilder<CoreMessage>>>>,
    routers: Rc<RefCell<Option<MeshBuilder<RouterMessage>>>>,
}

async fn live(board: Rc<Board>, me: Place, shared: Shared) {
    let cores = board.cores;
    if me.core == CoreId(0) {
        let options = directory(me.node, cores);
        let opened = DataDir::open(&options).await.expect("the directory opens");
        if me.node != NodeId(1) {
            // It has joined: its groups wait to hear from others.
            shards::core::founded(&options.path).await.expect("it is noted");
        }
        shared.directory.replace(Some(Rc::new(opened)));
    }
    while shared.directory.borrow().is_none() {
        time::sleep(Duration::from_millis(1)).await;
    }
    let placement = shared.directory.borrow().as_ref().expect("it is open").placement();
    let engine = EngineOptions {
        memory_bytes: 32 << 20,
        wal_segment_bytes: 256 << 10,
        wal_live_bytes_max: 1 << 20,
        lock_timeout: Duration::from_secs(2),
        resolve_delay: Duration::from_secs(1),
        ..EngineOptions::new("/data", me.node, me.core, placement)
    };
    let couriers = RefCell::default();
    let line = Rc::new(Line { board: board.clone(), me, couriers });
    let builder = shared.engines.borrow().clone().expect("it is made");
    let mesh = builder.join(me.core.0).await;
    let engine = Engine::open(engine, mesh, line.clone()).await.expect("the engine opens");
    if me == (Place { node: NodeId(1), core: CoreId(0) }) {
        shards::core::founded("/data".as_ref()).await.expect("it is noted");
    }
    let builder = shared.routers.borrow().clone().expect("it is made");
    let mesh = builder.join(me.core.0).await;
    let peers = Peers::joined(cores, mesh, engine.clone(), line);
    let limits = RouterOptions {
        query_memory_bytes: 16 << 20,
        statement_memory_bytes: 8 << 20,
        schema_lock_timeout: Duration::from_secs(20),
    };
    let router = Router::new(engine, peers.clone(), limits);
    let (answering, attending, keeping) = (router.clone(), router.clone(), router.clone());
    task::spawn("answers", async move { peers.run(move |call| answering.handle(call)).await })
        .detach();
    task::spawn("attend", async move { attending.attend().await }).detach();
    task::spawn("sagas", async move { keeping.keep_sagas().await }).detach();
    let (letters, mail) = queue::bounded(BOX_MAX);
    board.boxes.borrow_mut().insert(me, letters);
    take_mail(router, mail).await;
}

/// Starts a node.
pub(in crate::router) fn start(sim: &Sim, board: &Rc<Board>, node: u32) {
    let shared = Shared::default();
    shared.engines.replace(Some(MeshBuilder::new(board.cores, 64)));
    shared.routers.replace(Some(MeshBuilder::new(board.cores, 64)));
    let board = board.clone();
    sim.start_node(node, board.cores, move |core| {
        let me = Place { node: NodeId(node), core: CoreId(core) };
        Box::pin(live(board.clone(), me, shared.clone()))
    });
}

/// A node dies. All others hear that their links with it broke.
pub(in crate::router) fn crash(sim: &Sim, board: &Board, node: u32) {
    board.boxes.borrow_mut().retain(|place, _| place.node != NodeId(node));
    sim.crash(node, Loss::Power);
    for other in NODES.into_iter().filter(|other| *other != node) {
        board.tell_lost(NodeId(other), NodeId(node));
    }
}

/// Runs the simulation until `done`; how long that took.
pub(in crate::router) fn until(
    sim: &Sim,
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> bool,
) -> Duration {
    let since = sim.now();
    while !done() {
        sim.run_for(Duration::from_millis(5)).expect("it goes on");
        assert!(sim.panics().is_empty(), "{:?}", sim.panics());
        assert!(sim.now() - since < limit, "{what}: not within {limit:?}");
    }
    sim.now() - since
}

/// What a core was given to do.
pub(in crate::router) struct Work<T> {
    result: Rc<RefCell<Option<T>>>,
}

impl<T: 'static> Work<T> {
    /// Has a core of a node begin with it.
    pub fn begin(
        board: &Board,
        (node, core): (u32, u16),
        work: impl AsyncFnOnce(Router) -> T + 'static,
    ) -> Work<T> {
        let result: Rc<RefCell<Option<T>>> = Rc::default();
        let told = result.clone();
        let job: Job = Box::new(move |router| {
            Box::pin(async move {
                let done = work(router).await;
                *told.borrow_mut() = Some(done);
            })
        });
        let place = Place { node: NodeId(node), core: CoreId(core) };
        let sent = board.boxes.borrow()[&place].try_send(Mail::Job(job));
        assert!(sent.is_ok(), "{place:?} takes no more");
        Work { result }
    }

    /// Whether it is done.
    pub fn is_done(&self) -> bool {
        self.result.borrow().is_some()
    }

    /// What it came to.
    pub fn end(self, sim: &Sim, what: &str) -> T {
        until(sim, what, Duration::from_secs(60), || self.is_done());
        let result = self.result.borrow_mut().take();
        result.expect("it is done")
    }
}

/// Has a core do something, to its end.
pub(in crate::router) fn on<T: 'static>(
    sim: &Sim,
    board: &Board,
    at: (u32, u16),
    what: &str,
    work: impl AsyncFnOnce(Router) -> T + 'static,
) -> T {
    Work::begin(board, at, work).end(sim, what)
}

/// Three nodes of so many cores, each with a replica of every partition that votes, which all serve.
pub(in crate::router) fn three(seed: u64, cores: u16) -> (Sim, Rc<Board>) {
    let sim = Sim::new(Options::new(seed));
    let board = Rc::new(Board { cores, ..Board::default() });
    for node in NODES {
        start(&sim, &board, node);
    }
    let all = NODES.len() * usize::from(cores);
    until(&sim, "start", Duration::from_secs(10), || board.boxes.borrow().len() == all);
    let partitions = move |core: u16| {
        let here = move |partition: &u32| partition % u32::from(cores) == u32::from(core);
        (0..=PARTITIONS).filter(here).map(PartitionId)
    };
    for node in [2, 3] {
        for core in 0..cores {
            on(&sim, &board, (node, core), "empty replicas", async move |router| {
                for partition in partitions(core) {
                    router.engine().add_replica(partition, NodeId(1)).await.expect("a replica");
                }
            });
        }
    }
    for core in 0..cores {
        on(&sim, &board, (1, core), "voters", async move |router| {
            for partition in partitions(core) {
                for node in [2, 3] {
                    let change = Change::AddLearner(NodeId(node));
                    router.engine().change_group(partition, change).await.expect("a learner");
                }
                let voters = NODES.map(NodeId).into_iter().collect();
                let change = Change::SetVoters(voters);
                router.engine().change_group(partition, change).await.expect("voters");
            }
        });
    }
    for node in NODES {
        for core in 0..cores {
            on(&sim, &board, (node, core), "a lease", async |router| router.wait_to_serve().await);
        }
    }
    (sim, board)
}
