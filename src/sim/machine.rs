//! The simulated host of the node: starts it, and keeps what its cores said when they ended.

use crate::node::{Control, NodeError, NodeOptions, assemble};
use config::authentication::{
    AuthenticationMethod, AuthenticationRule, ConnectionKind, DatabasePattern, UserPattern,
};
use model::id::NodeId;
use runtime::random;
use runtime::sim::{Sim, address_of};
use shards::core::Gauge;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The node under test.
pub(super) const NODE: u32 = 1;
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
    options: NodeOptions,
    control: Option<Control>,
    /// Why cores of the present life have ended.
    ends: Rc<RefCell<Vec<NodeError>>>,
    gauges: Gauges,
}

/// Looks at the engines of the present life's cores.
#[derive(Clone, Default)]
pub(super) struct Gauges(Rc<RefCell<Vec<Gauge>>>);

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
        for stats in self.0.borrow().iter().filter_map(Gauge::stats) {
            held.transactions += stats.transactions;
            held.voted += stats.prepared;
            held.decisions += stats.decisions;
        }
        held
    }
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
        Machine { sim, options, control: None, ends, gauges }
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
        self.sim.start_node(NODE, cores, move |core| {
            let gauges = gauges.clone();
            let watch = move |gauge| gauges.0.borrow_mut().push(gauge);
            let (life, ends) = (assembly.clone().run_watched(core, watch), ends.clone());
            Box::pin(async move {
                if let Err(error) = life.await {
                    ends.borrow_mut().push(error);
                }
            })
        });
    }

    pub fn is_running(&self) -> bool {
        self.sim.is_running(NODE)
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
