//! The simulated host of a node: starts it, asks what its cores hold, and keeps what they said when
//! they ended.

use crate::node::{Control, NodeError, NodeOptions, Secret, assemble};
use config::authentication::{
    AuthenticationMethod, AuthenticationRule, ConnectionKind, DatabasePattern, UserPattern,
};
use model::id::NodeId;
use runtime::sim::{Sim, address_of};
use runtime::{random, task};
use shards::core::{Contents, Gauge};
use shards::raft::GroupReport;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The node under test where there is one, and the one that founds the cluster where there are more.
pub(super) const NODE: u32 = 1;
/// What the nodes of a cluster know.
const SECRET: &[u8] = b"a simulated join token";
/// Links that a node may have with each other node.
const LINKS_MAX: u32 = 16;
/// Other nodes that one is told of.
const SEEDS: usize = 4;
/// Questions to a core that wait.
const QUESTIONS_MAX: usize = 4;
const PORT: u16 = 7430;
const CORE_PORT: u16 = 7500;
/// Sizes of a log segment: small, so that the log goes around.
const SEGMENT_BYTES: [u64; 3] = [256 << 10, 512 << 10, 2 << 20];
/// The smallest sends nearly every transaction through the log in parts.
const PART_BYTES: [u64; 4] = [64, 512, 4 << 10, 1 << 20];
/// Bytes a second: from none to as fast as the disk gives them.
const SCRUB_RATES: [u64; 3] = [0, 1 << 20, 1 << 30];
const MEMORY_BYTES: [u64; 3] = [64 << 20, 96 << 20, 256 << 20];
const PARTITIONS: [u32; 4] = [1, 3, 8, 16];

/// One host with one node.
pub(super) struct Machine<'a> {
    sim: &'a Sim,
    node: u32,
    options: NodeOptions,
    control: Option<Control>,
    /// Who it is, once it has served.
    id: Cell<Option<NodeId>>,
    /// Why cores of the present life have ended.
    ends: Rc<RefCell<Vec<NodeError>>>,
    gauges: Gauges,
}

/// Looks at the engines of the present life's cores.
#[derive(Clone, Default)]
pub(super) struct Gauges(Rc<RefCell<Vec<Look>>>);

/// A look at one core's engine.
struct Look {
    gauge: Gauge,
    /// Questions are answered where the engine is.
    questions: flume::Sender<flume::Sender<Answered>>,
}

/// What a core says of what its replicas hold; none once its engine is gone.
type Answered = Result<Option<Vec<Contents>>, String>;

impl Look {
    /// Called on the engine's core.
    fn new(gauge: Gauge) -> Look {
        let (questions, asked) = flume::bounded::<flume::Sender<Answered>>(QUESTIONS_MAX);
        let at = gauge.clone();
        let answering = async move {
            while let Ok(answer) = asked.recv_async().await {
                let contents = at.contents().await.map_err(|error| error.to_string());
                // Whoever asked may have gone.
                let _gone = answer.try_send(contents);
            }
        };
        task::spawn("contents", answering).detach();
        Look { gauge, questions }
    }
}

/// What a node's partitions hold of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Held {
    /// Transactions that hold something, once for each partition.
    pub transactions: usize,
    /// Those of them that have voted.
    pub voted: usize,
    /// Decisions that are kept.
    pub decisions: usize,
}

impl Gauges {
    /// What the cores hold that are open.
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        for stats in self.0.borrow().iter().filter_map(|look| look.gauge.stats()) {
            held.transactions += stats.transactions;
            held.voted += stats.prepared;
            held.decisions += stats.decisions;
        }
        held
    }

    /// The groups of the replicas that are here.
    pub fn groups(&self) -> Vec<GroupReport> {
        let looks = self.0.borrow();
        looks.iter().filter_map(|look| look.gauge.groups()).flatten().collect()
    }

    /// What the replicas hold that are here and stand still; nothing of a core that has ended.
    ///
    /// # Errors
    /// A replica cannot be read.
    pub async fn contents(&self) -> Result<Vec<Contents>, String> {
        let cores: Vec<_> = self.0.borrow().iter().map(|look| look.questions.clone()).collect();
        let mut all = Vec::new();
        for core in cores {
            let (answer, answered) = flume::bounded(1);
            if core.send_async(answer).await.is_ok()
                && let Ok(contents) = answered.recv_async().await
            {
                all.extend(contents?.unwrap_or_default());
            }
        }
        Ok(all)
    }
}

/// Where one of several nodes belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Membership {
    /// Its number, from 1; the first one founds the cluster.
    pub node: u32,
    /// How many nodes there are.
    pub nodes: u32,
    /// Copies of each partition.
    pub replication_factor: u8,
    /// Partitions besides the system's.
    pub partitions: u32,
}

impl<'a> Machine<'a> {
    /// A host whose node has its settings from the seed.
    pub fn new(sim: &'a Sim) -> Machine<'a> {
        let host = address_of(NODE);
        let options = NodeOptions {
            data_dir: PathBuf::from("/data"),
            node: Some(NodeId(NODE)),
            replication_factor: 1,
            join: Vec::new(),
            secret: None,
            locality: Default::default(),
            cores: 1,
            partitions: pick(&PARTITIONS),
            listen: SocketAddr::new(host, PORT),
            core_listen: SocketAddr::new(host, CORE_PORT),
            pg_listen: None,
            memory_bytes: pick(&MEMORY_BYTES),
            connections_max: 64,
            lock_timeout: Duration::from_secs(1 + random::below(4)),
            retention: Duration::from_secs(1 + random::below(60)),
            snapshot_age_max: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(5),
            wal_segment_bytes: pick(&SEGMENT_BYTES),
            scrub_rate: pick(&SCRUB_RATES),
            scrub_interval: Duration::from_secs(60),
            part_bytes: pick(&PART_BYTES) as usize,
            // The simulator's clients are on hosts of their own.
            authentication: Arc::from([trust_all()]),
            tls: None,
            encrypted_only: false,
        };
        let (ends, gauges) = (Rc::default(), Gauges::default());
        Machine { sim, node: NODE, options, control: None, id: Cell::new(None), ends, gauges }
    }

    /// A host whose node is one of a cluster. All but the first node join.
    pub fn member(sim: &'a Sim, membership: Membership) -> Machine<'a> {
        let Membership { node, nodes, replication_factor, partitions } = membership;
        let mut machine = Machine::new(sim);
        let host = address_of(node);
        let seeds = (1..=nodes).filter(|seed| *seed != node && node != NODE);
        machine.node = node;
        machine.options = NodeOptions {
            node: None,
            replication_factor,
            partitions,
            join: seeds
                .take(SEEDS)
                .map(|seed| SocketAddr::new(address_of(seed), CORE_PORT))
                .collect(),
            secret: Some(Secret::new(SECRET)),
            // Links count, too: of each core to each core.
            connections_max: machine.options.connections_max + LINKS_MAX * nodes,
            listen: SocketAddr::new(host, PORT),
            core_listen: SocketAddr::new(host, CORE_PORT),
            ..machine.options
        };
        machine
    }

    /// As [`Machine::new`], with many partitions.
    pub fn with_partitions(sim: &'a Sim, partitions: u32) -> Machine<'a> {
        let mut machine = Machine::new(sim);
        machine.options.partitions = partitions;
        machine
    }

    /// As [`Machine::new`], with one partition, and no transaction goes through the log in parts.
    #[cfg(test)]
    pub fn with_one_partition(sim: &'a Sim) -> Machine<'a> {
        let mut machine = Machine::with_partitions(sim, 1);
        machine.options.part_bytes = 1 << 20;
        machine
    }

    /// Looks at the engines of this life's cores.
    pub fn gauges(&self) -> Gauges {
        self.gauges.clone()
    }

    /// The number of the host.
    pub fn number(&self) -> u32 {
        self.node
    }

    /// Partitions of the cluster, besides the system's.
    pub fn partitions(&self) -> u32 {
        self.options.partitions
    }

    /// Who the node is, once it has served for the first time.
    pub fn id(&self) -> Option<NodeId> {
        let told = self.control.as_ref().and_then(|control| control.ready.try_recv().ok());
        if let Some(addresses) = told {
            self.id.set(Some(addresses.node));
        }
        self.id.get()
    }

    /// The door that all cores share.
    pub fn address(&self) -> SocketAddr {
        self.options.listen
    }

    /// Starts the node with so many cores.
    pub fn start(&mut self, cores: u16) {
        let (assembly, control) = assemble(NodeOptions { cores, ..self.options.clone() });
        self.control = Some(control);
        self.ends = Rc::default();
        self.gauges = Gauges::default();
        let (ends, gauges) = (self.ends.clone(), self.gauges.clone());
        self.sim.start_node(self.node, cores, move |core| {
            let gauges = gauges.clone();
            let watch = move |gauge| gauges.0.borrow_mut().push(Look::new(gauge));
            let (life, ends) = (assembly.clone().run_watched(core, watch), ends.clone());
            Box::pin(async move {
                if let Err(error) = life.await {
                    ends.borrow_mut().push(error);
                }
            })
        });
    }

    pub fn is_running(&self) -> bool {
        self.sim.is_running(self.node)
    }

    /// Asks the node to drain and close, as SIGTERM does.
    pub fn stop(&mut self) {
        self.control = None;
    }

    /// What the node said of its own accord when cores of it ended.
    pub fn last_words(&self) -> Vec<String> {
        self.ends.borrow().iter().map(ToString::to_string).collect()
    }
}

fn trust_all() -> AuthenticationRule {
    AuthenticationRule {
        connection: ConnectionKind::Any,
        databases: vec![DatabasePattern::All],
        users: vec![UserPattern::All],
        networks: Vec::new(),
        method: AuthenticationMethod::Trust,
    }
}

fn pick<T: Copy>(from: &[T]) -> T {
    from[random::below(from.len() as u64) as usize]
}
