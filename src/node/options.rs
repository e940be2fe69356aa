//! What a node needs to know before it starts, and its translation from the configuration.

use super::{JoinError, NodeError, certificate};
use crate::cluster::seeds;
use config::authentication::AuthenticationRule;
use config::{Config, HostPort, TlsMode};
use model::id::NodeId;
use model::locality::{Locality, LocalityError};
/// What the nodes of a cluster prove to each other that they know.
pub use net::link::Secret;
use net::server::tls::Acceptor;
use shards::core::EngineOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The system's resolver has so long for the seeds' names.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);

/// Settings of a node. Addresses are resolved: nothing here asks the host.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Directory that holds the logs and the tables.
    pub data_dir: PathBuf,
    /// This node's id; without one it is whoever the data directory belongs to, or whatever the
    /// cluster says.
    pub node: Option<NodeId>,
    /// How many cores, 1 to 64.
    pub cores: u16,
    /// Partitions of a new cluster, besides the system partition.
    pub partitions: u32,
    /// Copies of each partition of a new cluster.
    pub replication_factor: u8,
    /// Nodes of the cluster to join; none for a node that founds one.
    pub join: Vec<SocketAddr>,
    /// What nodes of the cluster prove to each other that they know. Without one the node has
    /// nothing to do with others.
    pub secret: Option<Secret>,
    /// Where the node stands.
    pub locality: Locality,
    /// The native door that all cores share; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Core 0's own native door; core `k` has the `k`-th port after it, or any free one where it
    /// is 0.
    pub core_listen: SocketAddr,
    /// The PostgreSQL door that all cores share, if there is one; port 0 picks a free one.
    pub pg_listen: Option<SocketAddr>,
    /// Memory budget of the whole node, in bytes.
    pub memory_bytes: u64,
    /// Connections at one time, node-wide.
    pub connections_max: u32,
    /// How long a statement waits for a row lock.
    pub lock_timeout: Duration,
    /// How long versions of rows stay readable after they were replaced.
    pub retention: Duration,
    /// How long a transaction's snapshot keeps the versions that it sees.
    pub snapshot_age_max: Duration,
    /// How long open statements and transactions may go on once the node drains.
    pub drain_timeout: Duration,
    /// Size of a log segment, in bytes; a multiple of 4096.
    pub wal_segment_bytes: u64,
    /// Bytes a second that the node reads to look for damage in its table files, and as many in its log; 0
    /// for none.
    pub scrub_rate: u64,
    /// A pass through all table files begins no sooner than this after the one before.
    pub scrub_interval: Duration,
    /// A transaction that has staged more than this in a partition, in bytes, goes through the log
    /// in parts of about so many.
    pub part_bytes: usize,
    /// Who may come in from where; the first rule that fits decides.
    pub authentication: Arc<[AuthenticationRule]>,
    /// In whose name connections are encrypted, if they may be.
    pub tls: Option<Acceptor>,
    /// Whether no client is let in without TLS.
    pub encrypted_only: bool,
}

impl NodeOptions {
    /// Translates the configuration. Resolves names and reads files: call it before the cores run.
    ///
    /// # Errors
    /// A name that does not resolve, a certificate that is of no use.
    pub fn from_config(config: &Config) -> Result<NodeOptions, NodeError> {
        let minimum = config.tls_minimum_version;
        let tls = config.tls_files().map(|files| certificate::acceptor(&files, minimum));
        let (listen, core_listen) = (config.listen.resolve()?, config.core_listen.resolve()?);
        // Whoever gets to a door of loopback is on this host already.
        let open = listen.ip().is_loopback() && core_listen.ip().is_loopback();
        let token = config.join_token.as_ref().map(|token| Secret::new(token.bytes()));
        let locality = config.locality.parse().map_err(|error: LocalityError| {
            NodeError::Setting { setting: "locality", reason: error.to_string() }
        })?;
        Ok(NodeOptions {
            data_dir: config.data_dir.clone(),
            node: config.node_id.map(|id| NodeId(u32::from(id))),
            cores: config.cores,
            partitions: config.partitions,
            replication_factor: config.replication_factor,
            join: look_up(&config.join)?,
            secret: token.or_else(|| open.then(|| Secret::new([]))),
            locality,
            listen,
            core_listen,
            pg_listen: config.pg_listen.as_ref().map(|at| at.resolve()).transpose()?,
            memory_bytes: config.memory.as_u64(),
            connections_max: config.connections_max,
            lock_timeout: config.lock_timeout,
            retention: config.retention,
            snapshot_age_max: config.snapshot_age_max,
            drain_timeout: config.drain_timeout,
            wal_segment_bytes: config.wal_segment_size.as_u64(),
            scrub_rate: config.scrub_rate.as_u64(),
            scrub_interval: config.scrub_interval,
            part_bytes: EngineOptions::PART_BYTES,
            authentication: config.authentication.clone().into(),
            tls: tls.transpose()?,
            encrypted_only: config.tls == TlsMode::Require,
        })
    }
}

/// The addresses of the seeds; at least one has to have some.
fn look_up(join: &[HostPort]) -> Result<Vec<SocketAddr>, NodeError> {
    let found = seeds::look_up(join, LOOK_UP_WITHIN)?;
    for (seed, why) in &found.failures {
        log::warn!(seed = seed.to_string(); "a seed is not found: {why}");
    }
    match found.failures.last() {
        Some((seed, why)) if found.addresses.is_empty() => {
            let (seeds, last) = (seed.to_string(), why.clone());
            Err(JoinError::NoSeed { seeds, last }.into())
        }
        _ => Ok(found.addresses),
    }
}
