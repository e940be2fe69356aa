//! What a node needs to know before it starts, and its translation from the configuration.

use super::{NodeError, certificate};
use config::authentication::AuthenticationRule;
use config::{Config, TlsMode};
use model::id::NodeId;
use net::server::tls::Acceptor;
use shards::core::EngineOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a node. Addresses are resolved: nothing here asks the host.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Directory that holds the logs and the tables.
    pub data_dir: PathBuf,
    /// This node.
    pub node: NodeId,
    /// How many cores, 1 to 64.
    pub cores: u16,
    /// Partitions of a new data directory, besides the system partition.
    pub partitions: u32,
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
    /// Bytes a second that the node reads to look for damage in its table files; 0 for none.
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
        Ok(NodeOptions {
            data_dir: config.data_dir.clone(),
            node: NodeId(u32::from(config.node_id)),
            cores: config.cores,
            partitions: config.partitions,
            listen: config.listen.resolve()?,
            core_listen: config.core_listen.resolve()?,
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
