//! How a node comes to its data directory: it founds a cluster, asks to be let into one, or starts
//! again.
//!
//! ```text
//!   empty, no --join ──► found                             ┐
//!   empty, --join ─────► ask the seeds ──► cluster.json ───┼──► node.json ──► open
//!   node.json ─────────► (--join: where are the others?) ──┘
//! ```

use super::book_file::{self, BookError};
use super::desk::unreachable_at;
use super::{NodeError, NodeOptions};
use crate::cluster::book::Book;
use crate::cluster::join::{Question, Reply};
use crate::cluster::registry::About;
use futures::stream::{FuturesUnordered, StreamExt};
use model::id::{CoreId, NodeId};
use model::placement::PlacementMap;
use net::link::{
    LinkEnd, LinkError, LinkOptions, LocalPeer, Refusal, Secret, Service, Undelivered, ask,
};
use runtime::time::{self, Instant};
use shards::core::{Claimed, DataDir, DataDirOptions, Identity, OpenError};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// A node that joins asks its seeds for so long.
const JOIN_WITHIN: Duration = Duration::from_secs(30);
/// One that starts again knows where the others were: it asks for a moment only.
const LOOK_WITHIN: Duration = Duration::from_secs(3);
/// One that looks for the catalog asks now and then.
const LOOK_AGAIN_WITHIN: Duration = Duration::from_secs(1);
/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Between two rounds.
const ROUND_PAUSE: Duration = Duration::from_millis(200);

/// Why a node is not let into a cluster.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nobody has answered.
    #[error("no node of the cluster answers at {seeds}; the last said: {last}")]
    NoSeed {
        /// Who was asked.
        seeds: String,
        /// What came of the last attempt.
        last: String,
    },
    /// Its token is another one.
    #[error(
        "the node at {0} does not take this node's join token: join-token must be the same on all nodes"
    )]
    Token(SocketAddr),
    /// They speak no version of the protocol in common.
    #[error(
        "the node at {seed} speaks another version of the protocol between nodes, up to {newest}"
    )]
    Version {
        /// Who was asked.
        seed: SocketAddr,
        /// Its newest version.
        newest: u16,
    },
    /// The clocks are too far apart.
    #[error("the clocks of this node and of the node at {seed} are {offset_ms} ms apart")]
    Clock {
        /// Who was asked.
        seed: SocketAddr,
        /// By how much.
        offset_ms: i64,
    },
    /// The cluster refuses it.
    #[error("the cluster refuses this node: {0}")]
    Refused(String),
    /// Other nodes could not reach it.
    #[error("{0}")]
    OutOfReach(String),
    /// There is no secret, and there are doors that others than this host can reach.
    #[error("join-token is not set: without one only nodes on loopback make a cluster")]
    NoToken,
}

/// What the cores of a node know of it from its data directory.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) identity: Identity,
    pub(super) book: Book,
}

impl Home {
    /// This node.
    pub(super) fn node(&self) -> NodeId {
        NodeId(self.identity.node)
    }

    /// How many partitions there are; where they are is asked of their replicas.
    pub(super) fn placement(&self) -> PlacementMap {
        let Identity { cores, partitions, .. } = self.identity;
        PlacementMap::single_node(self.node(), cores, partitions)
    }
}

fn open_error(error: OpenError) -> NodeError {
    NodeError::Open { core: CoreId(0), what: error.to_string() }
}

fn book_error(error: BookError) -> NodeError {
    NodeError::Open { core: CoreId(0), what: error.to_string() }
}

/// Locks the data directory.
pub(super) async fn claim(options: &NodeOptions) -> Result<Claimed, NodeError> {
    let claimed = DataDir::claim(&options.data_dir).await.map_err(open_error)?;
    if let (Some(identity), Some(node)) = (claimed.identity(), options.node)
        && identity.node != node.0
    {
        let (path, owner) = (options.data_dir.display(), identity.node);
        let what = format!("{path} belongs to node {owner}, not to node {node}");
        return Err(open_error(OpenError::Mismatch(what)));
    }
    Ok(claimed)
}

/// Opens the data directory of a node that is known to others by `about`, which they are asked to
/// let in where it is new.
pub(super) async fn enter(
    options: &NodeOptions,
    memory_bytes: usize,
    claimed: Claimed,
    about: &About,
) -> Result<(DataDir, Home), NodeError> {
    let directory = |node: NodeId, partitions: u32| DataDirOptions {
        path: options.data_dir.clone(),
        node,
        cores: options.cores,
        partitions,
        memory_bytes,
        wal_segment_bytes: options.wal_segment_bytes,
    };
    let path = &options.data_dir;
    let Some(identity) = claimed.identity().cloned() else {
        if options.join.is_empty() {
            let directory = directory(options.node.unwrap_or(NodeId(1)), options.partitions);
            let opened = claimed.open(&directory).await.map_err(open_error)?;
            let Identity { cluster, partitions, .. } = *opened.identity();
            let book = Book::new(cluster, partitions, options.replication_factor);
            book_file::write(path, &book).await.map_err(book_error)?;
            let home = Home { identity: opened.identity().clone(), book };
            return Ok((opened, home));
        }
        let (node, book) = join(options, about).await?;
        // First: one that has an id must find the others again.
        book_file::write(path, &book).await.map_err(book_error)?;
        let directory = directory(node, book.partitions);
        let opened = claimed.join(&directory, book.cluster).await.map_err(open_error)?;
        let home = Home { identity: opened.identity().clone(), book };
        return Ok((opened, home));
    };
    let mut book = match book_file::read(path).await.map_err(book_error)? {
        Some(book) if book.cluster == identity.cluster => book,
        Some(_) => {
            let what = format!("the files of {} are of two clusters", path.display());
            return Err(open_error(OpenError::Mismatch(what)));
        }
        None => Book::new(identity.cluster, identity.partitions, options.replication_factor),
    };
    if !options.join.is_empty() {
        match look(options, identity.cluster).await {
            Ok(newer) => book = newer,
            // The others may be down as well, and be found where they were.
            Err(JoinError::NoSeed { seeds, last }) => {
                log::warn!(seeds = seeds, last = last; "no seed answers: the others are looked for where they were");
            }
            // One of the clocks may be set meanwhile.
            Err(error @ JoinError::Clock { .. }) => {
                log::warn!("the others are looked for where they were: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    book_file::write(path, &book).await.map_err(book_error)?;
    let directory = directory(NodeId(identity.node), identity.partitions);
    let opened = claimed.open(&directory).await.map_err(open_error)?;
    let home = Home { identity: opened.identity().clone(), book };
    Ok((opened, home))
}

async fn join(options: &NodeOptions, about: &About) -> Result<(NodeId, Book), JoinError> {
    if let Some(why) = unreachable_at(about) {
        return Err(JoinError::OutOfReach(why));
    }
    let node = options.node.map(|node| node.0);
    let question = Question::Join { node, about: about.clone() };
    match ask_seeds(options, &question, JOIN_WITHIN).await? {
        Reply::Admitted { node, book } => Ok((NodeId(node), book)),
        other => Err(JoinError::Refused(format!("its answer makes no sense: {other:?}"))),
    }
}

async fn look(options: &NodeOptions, cluster: u64) -> Result<Book, JoinError> {
    match ask_seeds(options, &Question::Where { cluster }, LOOK_WITHIN).await? {
        Reply::Here { book } => Ok(book),
        other => Err(JoinError::Refused(format!("its answer makes no sense: {other:?}"))),
    }
}

/// Asks the nodes that are known, and the seeds, where all nodes are now; `None`: nobody says at once.
pub(super) async fn look_again(options: &NodeOptions, home: &Home) -> Option<Book> {
    let secret = options.secret.as_ref()?;
    let question = Question::Where { cluster: home.identity.cluster };
    let known = home.book.addresses();
    let others = known.filter(|(place, _)| place.core.0 == 0 && place.node != home.node());
    let addresses = others.map(|(_, address)| address).chain(options.join.iter().copied());
    let addresses: BTreeSet<SocketAddr> = addresses.collect();
    let end = time::now() + LOOK_AGAIN_WITHIN;
    let ask = |asked: SocketAddr| {
        let question = &question;
        async move { (asked, ask_seed(asked, secret, question, end).await) }
    };
    let mut answers: FuturesUnordered<_> = addresses.into_iter().map(ask).collect();
    while let Some((asked, answer)) = answers.next().await {
        let why = match answer {
            Ok(Ok(Reply::Here { book })) => return Some(book),
            Ok(Ok(other)) => format!("its answer makes no sense: {other:?}"),
            Ok(Err(why)) => why,
            Err(error) => error.to_string(),
        };
        log::debug!("{asked} does not say where the nodes are: {why}");
    }
    None
}

/// Asks one seed after the other until one answers.
async fn ask_seeds(
    options: &NodeOptions,
    question: &Question,
    within: Duration,
) -> Result<Reply, JoinError> {
    let secret = options.secret.clone().ok_or(JoinError::NoToken)?;
    let end = time::now() + within;
    let mut last = "nothing".to_owned();
    loop {
        for seed in &options.join {
            match ask_seed(*seed, &secret, question, end).await? {
                Ok(reply) => return Ok(reply),
                Err(why) => last = format!("{seed}: {why}"),
            }
        }
        if time::now() + ROUND_PAUSE >= end {
            let seeds: Vec<String> = options.join.iter().map(ToString::to_string).collect();
            return Err(JoinError::NoSeed { seeds: seeds.join(", "), last });
        }
        time::sleep(ROUND_PAUSE).await;
    }
}

/// Asks one seed. Why it has no answer now is the inner error, why it never will the outer one.
async fn ask_seed(
    seed: SocketAddr,
    secret: &Secret,
    question: &Question,
    end: Instant,
) -> Result<Result<Reply, String>, JoinError> {
    let me = LocalPeer::stranger(0, env!("CARGO_PKG_VERSION").to_owned());
    let deadline = end.min(time::now() + ANSWER_WITHIN);
    let body = bytes::Bytes::from(question.encode());
    let links = LinkOptions::default();
    let asked = ask(seed, &me, secret, &links, Service::Gossip, body, deadline).await;
    let (_, answer) = match asked {
        Ok(answered) => answered,
        Err(LinkError::NotDelivered(Undelivered::Unreachable { reason, .. })) => {
            return hopeless(seed, &reason).map_or(Ok(Err(reason.to_string())), Err);
        }
        Err(error) => return Ok(Err(error.to_string())),
    };
    match Reply::decode(&answer) {
        Ok(Reply::Refused { why }) => Err(JoinError::Refused(why)),
        Ok(Reply::NotNow { why }) => Ok(Err(why)),
        Ok(reply) => Ok(Ok(reply)),
        Err(senseless) => Err(JoinError::Refused(senseless.to_string())),
    }
}

/// What does not mend itself.
fn hopeless(seed: SocketAddr, reason: &LinkEnd) -> Option<JoinError> {
    let (LinkEnd::Refused(refusal) | LinkEnd::Unwanted(refusal)) = reason else { return None };
    match refusal {
        Refusal::Secret => Some(JoinError::Token(seed)),
        Refusal::Version { newest } => Some(JoinError::Version { seed, newest: *newest }),
        Refusal::Clock { offset_nanos } => {
            Some(JoinError::Clock { seed, offset_ms: offset_nanos / 1_000_000 })
        }
        _ => None,
    }
}
