//! The node: the composition root, the only place that joins `net` with `shards`.
//!
//! ```text
//!  start_in_process ── a thread ──► one executor a core ──► Assembly::run(core)   (core.rs)
//!        ▲                                                       │
//!        └── addresses, once it serves ◄── core 0 ◄──────────────┘ stages in step (crew.rs)
//!
//!  listen ► data directory (core 0) ► engines ► other nodes ► catalog ► serve ► drain ► close
//! ```
//!
//! The part that runs on the cores, [`Assembly`], asks the seam for everything and runs in the
//! simulated world as it is. What only a real process has (the thread that holds the executors,
//! and in `cli::start` signals and the ready file) is here and above.
//!
//! **Doors**: all cores listen at the node's native address (`SO_REUSEPORT`: the kernel deals
//! connections out by a hash of the addresses), and each at an address of its own, which the
//! handshake tells the client, so that it can go to the core that owns its rows. Other nodes come to
//! the same doors, as soon as the engines are open: without them there may be no catalog to read.
//! Native clients are told that the node is starting until it has one; others wait.
//!
//! **Other nodes**: where a node is new and is to join, core 0 asks the cluster (`entry.rs`); from
//! then on each core has links with cores of the others (`neighbours.rs`), any node lets further ones
//! in (`desk.rs`), and core 0 keeps the registry's row of this node, and what the cores know of
//! where the others are, up to date (`registration.rs`).
//!
//! **Stopping**: no connection is accepted any more, every client is told, sessions without an
//! open transaction end as soon as they have answered, the others when their transaction does or
//! the drain timeout is over. Then the engines close, and what they hold is in table files.
//!
//! **When a core fails** the node stops: partitions do not move between cores while it runs, and
//! a node that serves a part of its rows answers wrongly to the rest.

mod book_file;
pub mod certificate;
mod core;
mod crew;
mod datagrams;
mod desk;
mod doors;
mod entry;
pub mod memory;
mod neighbours;
mod options;
mod registration;
mod roster;
mod timekeeping;

pub use entry::JoinError;
pub use options::{NodeOptions, Secret};

use crate::cluster::registry::NotAdmitted;
use crate::router::peers::RouterMessage;
use crate::session::RoleSeats;
use config::Config;
use crew::Notice;
use flume::RecvTimeoutError;
use model::id::{CoreId, NodeId};
use model::time::NodeClock;
use net::server::tls::Acceptor;
use runtime::mesh::MeshBuilder;
use runtime::{BoxLocalFuture, thread};
use shards::core::{CoreMessage, Gauge};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Messages that one core may have waiting at another: requests in flight between two cores are
/// many times fewer unless the receiver is overloaded, and then the senders must wait.
const CORE_MESSAGES_MAX: usize = 4096;

/// Router messages are schema changes and questions: rare.
const ROUTER_MESSAGES_MAX: usize = 256;

/// Where a node can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The node.
    pub node: NodeId,
    /// The native door that all cores share.
    pub native: SocketAddr,
    /// Each core's own native door, by core.
    pub cores: Vec<SocketAddr>,
    /// The PostgreSQL door that all cores share, if it is open.
    pub pg: Option<SocketAddr>,
}

/// Why a node did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A name in the configuration, a thread or the executors.
    #[error("{0}")]
    Host(#[from] std::io::Error),
    /// The data directory or what is in it.
    #[error("core {core}: {what}")]
    Open {
        /// Whose data.
        core: CoreId,
        /// What is wrong with it.
        what: String,
    },
    /// The log can be written no more.
    #[error("core {core}: the node stops: {what}")]
    Log {
        /// Whose log.
        core: CoreId,
        /// What has failed.
        what: String,
    },
    /// The catalog cannot be read.
    #[error("core {core}: the catalog cannot be read: {}", in_full(what))]
    Catalog {
        /// Which core tried.
        core: CoreId,
        /// What is wrong.
        what: model::error::SqlError,
    },
    /// An address that cannot be listened at.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The cluster does not let it in, or is not found.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The cluster has it, and does not let it start.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// A process that began later has its id.
    #[error("another process runs as node {node} (start {incarnation}): this one ends")]
    Superseded {
        /// The id.
        node: NodeId,
        /// How often it has started.
        incarnation: u64,
    },
    /// Somebody wants the node to stop before it serves.
    #[error("it was told to stop before it served")]
    Interrupted,
    /// A setting that is no use.
    #[error("{setting} {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// The certificate or its key.
    #[error(transparent)]
    Certificate(#[from] certificate::CertificateError),
    /// A core ended in a panic.
    #[error("a core ended unexpectedly")]
    CoreEnded,
}

/// An error with its detail, which names the file where one is damaged.
fn in_full(error: &model::error::SqlError) -> String {
    match &error.fields().detail {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    }
}

/// All that a core needs to become a part of the node. One clone goes to each core.
#[derive(Clone)]
pub struct Assembly {
    options: Arc<NodeOptions>,
    crew: MeshBuilder<Notice>,
    engines: MeshBuilder<CoreMessage>,
    routers: MeshBuilder<RouterMessage>,
    /// Connections of all cores.
    connections: Arc<AtomicU32>,
    /// Sessions of all cores by role.
    seats: RoleSeats,
    /// What salts of users without a password are derived from, as long as no role has one.
    salts: [u8; 32],
    clock: Arc<NodeClock>,
    ready: flume::Sender<Addresses>,
    stop: flume::Receiver<()>,
}

/// The other end of an [`Assembly`].
pub struct Control {
    /// Gives the addresses once the node serves.
    pub ready: flume::Receiver<Addresses>,
    /// A message, or dropping it, makes the node stop.
    pub stop: flume::Sender<()>,
}

/// Makes the parts of a node that is not running yet.
pub fn assemble(options: NodeOptions) -> (Assembly, Control) {
    let (told, ready) = flume::bounded(1);
    let (stop, stopped) = flume::bounded(1);
    let mut salts = [0; 32];
    runtime::random::fill_secret(&mut salts);
    let assembly = Assembly {
        crew: crew::builder(options.cores),
        engines: MeshBuilder::new(options.cores, CORE_MESSAGES_MAX),
        routers: MeshBuilder::new(options.cores, ROUTER_MESSAGES_MAX),
        options: Arc::new(options),
        connections: Arc::default(),
        seats: RoleSeats::default(),
        salts,
        clock: Arc::default(),
        ready: told,
        stop: stopped,
    };
    (assembly, Control { ready, stop })
}

impl Assembly {
    /// The life of one core, from opening its data to closing it. To be run once on each core of
    /// the node, in the real world or the simulated one.
    pub fn run(self, core: u16) -> BoxLocalFuture<Result<(), NodeError>> {
        self.run_watched(core, |_| {})
    }

    /// As [`Assembly::run`], and hands out a look at the core's engine as soon as that is open.
    pub fn run_watched(
        self,
        core: u16,
        watch: impl FnOnce(Gauge) + 'static,
    ) -> BoxLocalFuture<Result<(), NodeError>> {
        Box::pin(core::run(self, CoreId(core), watch))
    }
}

/// A node that runs in this process. Dropping it lets the node stop by itself.
pub struct Running {
    addresses: Addresses,
    /// What connections are encrypted by, and the files it came from.
    renewal: Option<(Acceptor, config::TlsFiles)>,
    stop: flume::Sender<()>,
    ended: flume::Receiver<()>,
    thread: thread::JoinHandle<Result<(), NodeError>>,
}

/// How often a start that takes long is looked at for whether it is still wanted.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(50);

/// Starts a node on threads of its own and waits until it serves.
///
/// # Errors
/// Why it does not start; nothing of it is left then.
pub fn start_in_process(config: Config) -> Result<Running, NodeError> {
    start_unless(config, || false)
}

/// As [`start_in_process`], and gives up once `interrupted` says so: a node that joins others, or
/// starts again without them, may wait for them for long.
///
/// # Errors
/// As [`start_in_process`].
pub fn start_unless(config: Config, interrupted: impl Fn() -> bool) -> Result<Running, NodeError> {
    let options = NodeOptions::from_config(&config)?;
    let renewal = options.tls.clone().zip(config.tls_files());
    let cores = options.cores;
    let (assembly, Control { ready, stop }) = assemble(options);
    let mut stop = Some(stop);
    let (ends, ended) = flume::bounded::<()>(0);
    let thread = thread::spawn("node", move || {
        // Dropped when the node has ended.
        let _ends = ends;
        run_cores(cores, assembly)
    })?;
    loop {
        match (ready.recv_timeout(INTERRUPT_INTERVAL), stop.take()) {
            (Ok(addresses), Some(stop)) => {
                return Ok(Running { addresses, renewal, stop, ended, thread });
            }
            (Err(RecvTimeoutError::Timeout), kept) => stop = kept.filter(|_| !interrupted()),
            // It has ended, or serves although it was told to stop, which it does then.
            (Ok(_) | Err(RecvTimeoutError::Disconnected), _) => break,
        }
    }
    match thread.join() {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) if interrupted() => Err(NodeError::Interrupted),
        Ok(Ok(())) | Err(_) => Err(NodeError::CoreEnded),
    }
}

fn run_cores(cores: u16, assembly: Assembly) -> Result<(), NodeError> {
    let options = runtime::glommio::Options { cores, ..runtime::glommio::Options::default() };
    let results = runtime::glommio::run(options, move |core| assembly.clone().run(core))?;
    results.into_iter().collect()
}

impl Running {
    /// Where it can be reached.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Disconnected when the node has ended, by itself too: for a `flume::Selector`.
    pub fn ended(&self) -> &flume::Receiver<()> {
        &self.ended
    }

    /// Reads the files of the certificate again: who connects from now on is shown what is in them.
    /// Whether there are any.
    ///
    /// # Errors
    /// They are of no use; the certificate stays as it was.
    pub fn renew_certificate(&self) -> Result<bool, certificate::CertificateError> {
        let Some((acceptor, files)) = &self.renewal else { return Ok(false) };
        acceptor.replace(certificate::read(files)?);
        Ok(true)
    }

    /// Lets the node drain and close, and waits until it has.
    ///
    /// # Errors
    /// Why a core could not close cleanly, or ended before.
    pub fn stop(self) -> Result<(), NodeError> {
        // A node that has ended by itself no longer listens.
        let _ended = self.stop.send(());
        drop(self.stop);
        self.thread.join().unwrap_or(Err(NodeError::CoreEnded))
    }
}
