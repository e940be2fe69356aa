//! The worker with engines under it: one node becomes three, and groups of openraft do what it takes
//! them to do.

use super::replicas;
use crate::cluster::decide::{Liveness, Load, Policy, Wanted};
use crate::cluster::groups::{Members, ReplicaReport};
use crate::cluster::orders::{MemberChange, Order, What};
use crate::cluster::registry::{About, PartitionRecord, Registry};
use crate::cluster::worker::{Hands, Worker};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use model::error::{SqlError, SqlState};
use model::id::{CoreId, NodeId, PartitionId};
use model::placement::Place;
use runtime::fs::{self, Buffer, File, OpenOptions};
use runtime::mesh::MeshBuilder;
use runtime::sim::{Options, Sim};
use runtime::sync::{oneshot, queue};
use runtime::task;
use runtime::time::{self, Instant};
use shards::core::{CoreMessage, DataDir, DataDirOptions, Engine, EngineOptions};
use shards::raft::{Nodes, Unreached};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

const NODES: u32 = 3;
const PARTITIONS: u32 = 3;

enum Mail {
    Engine(Place, Bytes),
    Replica(Bytes, oneshot::Sender<Bytes>),
    Job(Box<dyn FnOnce(Engine) -> LocalBoxFuture<'static, ()>>),
}

/// The ways between the nodes, each of one core, and the registry.
#[derive(Default)]
struct Board {
    boxes: RefCell<BTreeMap<NodeId, queue::Sender<Mail>>>,
    rows: RefCell<Registry>,
}

impl Board {
    fn letters(&self, to: NodeId) -> Result<queue::Sender<Mail>, Unreached> {
        self.boxes.borrow().get(&to).cloned().ok_or_else(|| unreached("it has not started"))
    }

    /// Has a node do something with its engine.
    async fn ask<T: 'static>(
        self: Rc<Board>,
        to: NodeId,
        what: impl AsyncFnOnce(Engine) -> T + 'static,
    ) -> Result<T, SqlError> {
        let lost = |why: &str| SqlError::new(SqlState::CONNECTION_FAILURE, why.to_owned());
        let letters = self.letters(to).map_err(|error| lost(&error.why))?;
        let (promise, answer) = oneshot::channel();
        let job = |engine| -> LocalBoxFuture<'static, ()> {
            Box::pin(async move {
                // One that has gone needs no answer.
                let _gone = promise.send(what(engine).await);
            })
        };
        letters.send(Mail::Job(Box::new(job))).await.map_err(|_closed| lost("it has ended"))?;
        answer.await.map_err(|_closed| lost("it has ended"))
    }
}

fn unreached(why: &str) -> Unreached {
    Unreached { why: why.to_owned(), may_have_arrived: false }
}

struct Line {
    board: Rc<Board>,
    node: NodeId,
}

impl Nodes for Line {
    fn place(&self, node: NodeId, _: PartitionId) -> Option<Place> {
        Some(Place { node, core: CoreId(0) })
    }

    fn others(&self) -> Vec<NodeId> {
        (1..=NODES).map(NodeId).filter(|node| *node != self.node).collect()
    }

    fn is_reached(&self, _: NodeId) -> bool {
        true
    }

    fn send(&self, to: Place, message: Bytes) -> LocalBoxFuture<'static, Result<(), Unreached>> {
        let (letters, from) = (self.board.letters(to.node), self.node);
        Box::pin(async move {
            let from = Place { node: from, core: CoreId(0) };
            let sent = letters?.send(Mail::Engine(from, message)).await;
            sent.map_err(|_closed| unreached("it has ended"))
        })
    }

    fn ask_replica(
        &self,
        to: Place,
        message: Vec<Bytes>,
        deadline: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, Unreached>> {
        let letters = self.board.letters(to.node);
        Box::pin(async move {
            let (promise, answer) = oneshot::channel();
            let sent = letters?.send(Mail::Replica(message.concat().into(), promise)).await;
            sent.map_err(|_closed| unreached("it has ended"))?;
            let answer = time::timeout(deadline.saturating_since(time::now()), answer).await;
            answer.map_err(|_elapsed| unreached("late"))?.map_err(|_closed| unreached("gone"))
        })
    }
}

/// Makes the directory one of a node that founds nothing.
async fn joined(path: &Path) {
    let file = path.join("node.json");
    let options = OpenOptions { write: true, ..OpenOptions::default() };
    let file = File::open(&file, &options).await.expect("it was just made");
    let size = file.size().await.expect("it has a size");
    let text = file.read_at(0, size as usize).await.expect("it can be read");
    let text = String::from_utf8(text.to_vec()).expect("a text");
    let text = text.replace("\"founding\": true", "\"founding\": false");
    file.write_at(0, Buffer::from_slice_padded(text.as_bytes())).await.expect("there is room");
    file.truncate(text.len() as u64).await.expect("it is a file");
    file.close().await.expect("it was open");
}

async fn run_node(board: Rc<Board>, node: NodeId) {
    let directory = DataDirOptions {
        path: "/data".into(),
        node,
        cores: 1,
        partitions: PARTITIONS,
        memory_bytes: 8 << 20,
        wal_segment_bytes: 1 << 20,
    };
    let mut dir = DataDir::open(&directory).await.expect("a directory");
    if node.0 != 1 {
        drop(dir);
        joined(&directory.path).await;
        dir = DataDir::open(&directory).await.expect("a directory");
        assert!(!fs::exists(&directory.path.join("partitions")).await.expect("it can be asked"));
    }
    let mesh = MeshBuilder::<CoreMessage>::new(1, 16).join(0).await;
    let options = EngineOptions {
        memory_bytes: 32 << 20,
        wal_segment_bytes: 1 << 20,
        ..EngineOptions::new(directory.path, node, CoreId(0), dir.placement())
    };
    let line = Rc::new(Line { board: board.clone(), node });
    let engine = Engine::open(options, mesh, line).await.expect("the engine opens");
    let (letters, mut mail) = queue::bounded(1_024);
    board.boxes.borrow_mut().insert(node, letters);
    while let Ok(letter) = mail.recv().await {
        let engine = engine.clone();
        match letter {
            Mail::Engine(from, message) => engine.take_message(from, message),
            Mail::Replica(message, promise) => {
                let answer = engine.answer_replica(message);
                // One that has gone needs no answer.
                let answering = async move { drop(promise.send(answer.await)) };
                task::spawn("answer", answering).detach();
            }
            Mail::Job(job) => task::spawn("job", job(engine)).detach(),
        }
    }
}

struct EngineHands {
    board: Rc<Board>,
}

impl Hands for EngineHands {
    fn leads(&self) -> bool {
        true
    }

    fn heard(&self, node: NodeId) -> (Liveness, Load) {
        let liveness = match self.board.boxes.borrow().contains_key(&node) {
            true => Liveness::Alive,
            false => Liveness::Suspect,
        };
        (liveness, Load::default())
    }

    fn registry(&self) -> LocalBoxFuture<'_, Result<Registry, SqlError>> {
        Box::pin(async move { Ok(self.board.rows.borrow().clone()) })
    }

    fn record(&self, row: PartitionRecord) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        self.board.rows.borrow_mut().note(row);
        Box::pin(async { Ok(()) })
    }

    fn replicas(
        &self,
        node: NodeId,
        _cores: u16,
    ) -> LocalBoxFuture<'_, Result<Vec<ReplicaReport>, SqlError>> {
        Box::pin(self.board.clone().ask(node, async |engine| replicas::reports(&engine)))
    }

    fn order(&self, to: Place, order: Order) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        let carry = async move |engine: Engine| replicas::carry_out(&engine, order).await;
        Box::pin(async move { self.board.clone().ask(to.node, carry).await? })
    }
}

/// All reports of leaders.
async fn leaders(board: &Rc<Board>) -> Vec<(NodeId, ReplicaReport)> {
    let mut all = Vec::new();
    for node in (1..=NODES).map(NodeId) {
        let reports = board.clone().ask(node, async |engine| replicas::reports(&engine)).await;
        let leading = reports.expect("it runs").into_iter().filter(|report| report.leads);
        all.extend(leading.map(|report| (node, report)));
    }
    all
}

fn admit(board: &Board) {
    let about = About {
        native: String::new(),
        pg: None,
        cores: vec![String::new()],
        locality: Default::default(),
        software: String::new(),
    };
    let mut rows = board.rows.borrow_mut();
    let row = rows.admit(about, 0).expect("it is let in");
    let nodes: Vec<_> = rows.nodes().cloned().chain([row]).collect();
    *rows = Registry::new(nodes, rows.partitions().cloned().collect::<Vec<_>>());
}

/// Whether each partition has three voters, and no node leads more than two of the four.
fn is_spread(leaders: &[(NodeId, ReplicaReport)]) -> bool {
    let most = (1..=NODES).map(|node| leaders.iter().filter(|(id, _)| id.0 == node).count()).max();
    let whole = |members: &Members| {
        members.voters.len() == 3 && members.learners.is_empty() && members.outgoing.is_empty()
    };
    leaders.len() == PARTITIONS as usize + 1
        && leaders.iter().all(|(_, report)| whole(&report.members))
        && most <= Some(2)
}

async fn until_spread(board: &Rc<Board>) -> Vec<(NodeId, ReplicaReport)> {
    loop {
        time::sleep(Duration::from_millis(200)).await;
        let leaders = leaders(board).await;
        if is_spread(&leaders) {
            return leaders;
        }
    }
}

/// What a quorum confirms of a node that takes no part in a group, and what the leader refuses.
async fn confirm(board: &Rc<Board>, (node, report): (NodeId, ReplicaReport)) {
    let partition = report.partition;
    let order = |seen: &Members, change| {
        let what = What::Change { seen: seen.clone(), change };
        let order = Order { partition, what };
        board.clone().ask(node, async move |engine| replicas::carry_out(&engine, order).await)
    };
    let leave = MemberChange::Leave(NodeId(9));
    order(&report.members, leave.clone()).await.expect("it runs").expect("it takes no part");
    let refused = order(&Members::default(), leave).await.expect("it runs");
    let refused = refused.expect_err("others take part");
    assert_eq!(refused.state(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    let now = leaders(board).await;
    let now = now.iter().find(|(_, one)| one.partition == partition).expect("it is led");
    assert_eq!(now.1.members, report.members);
    assert!(now.1.extent.last > report.extent.last, "a quorum was asked");
}

#[test]
fn engines_of_one_node_become_those_of_three() {
    for seed in 0..3 {
        let sim = Sim::new(Options::new(seed));
        let board = Rc::new(Board::default());
        for node in 1..=NODES {
            admit(&board);
            let board = board.clone();
            sim.start_node(node, 1, move |_core| Box::pin(run_node(board.clone(), NodeId(node))));
        }
        let done = Rc::new(Cell::new(false));
        let (works, told) = (board.clone(), done.clone());
        sim.start_node(NODES + 1, 1, move |_core| {
            let (board, told) = (works.clone(), told.clone());
            Box::pin(async move {
                let worker = EngineHands { board: board.clone() };
                let worker = Worker::new(worker, Policy::default(), Rc::default());
                let working = task::spawn("worker", async move { worker.run().await });
                let first = until_spread(&board).await.swap_remove(0);
                confirm(&board, first).await;
                let row = board.rows.borrow().want(NodeId(2), Wanted::Draining);
                let row = row.expect("it is a change");
                {
                    let mut rows = board.rows.borrow_mut();
                    let others = rows.nodes().filter(|node| node.id.0 != 2).cloned();
                    let nodes: Vec<_> = others.chain([row]).collect();
                    *rows = Registry::new(nodes, rows.partitions().cloned().collect::<Vec<_>>());
                }
                // There is nowhere else for its replicas, but for what it leads there is.
                while leaders(&board).await.iter().any(|(node, _)| node.0 == 2) {
                    time::sleep(Duration::from_millis(200)).await;
                }
                drop(working);
                told.set(true);
            })
        });
        let mut left = 120;
        while !done.get() && left > 0 {
            sim.run_for(Duration::from_secs(1)).expect("it goes on");
            assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
            left -= 1;
        }
        assert!(done.get(), "seed {seed}: not within two minutes");
        let rows = board.rows.borrow();
        assert!(rows.partitions().all(|row| row.replicas.voters.len() == 3));
        assert_eq!(rows.partitions().count(), PARTITIONS as usize + 1);
    }
}
