//! How a group reaches its replicas on other nodes.

use super::beats::Beats;
use super::group_log::GroupLog;
use super::life::Life;
use super::machine::Applier;
use super::pipeline::Pipeline;
use super::types::{Partitions, Vote};
use super::wire::{Ask, Beat, Told, decode_told, encode_ask};
use crate::storage::Receiver;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Either, LocalBoxFuture, select};
use futures::stream::{Stream, StreamExt};
use model::id::{LogIndex, NodeId, PartitionId};
use model::placement::Place;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend};
use runtime::time::{self, Instant};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// How long a replica has to answer, where openraft would give it less: it writes to its disk first.
const ANSWER_MIN: Duration = Duration::from_millis(400);

/// How long a replica has for a step of a snapshot: it writes to its disk, and reads back.
const SNAPSHOT_STEP: Duration = Duration::from_secs(10);

/// A piece of a snapshot, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// The files of a snapshot.
pub enum Files {
    /// They are this replica's own, as they are when they are sent.
    Own,
    /// They were received, and wait to take the place of this replica's own.
    Received(Box<Receiver>),
}

/// The cores of other nodes, as a core reaches them.
pub trait Nodes {
    /// Where a node has its replica of a partition; `None` for a node that is not known.
    fn place(&self, node: NodeId, partition: PartitionId) -> Option<Place>;

    /// The other nodes, those that seem to live first.
    fn others(&self) -> Vec<NodeId>;

    /// Whether a node can be reached now, as far as is known without asking it.
    fn is_reached(&self, node: NodeId) -> bool;

    /// Sends a message of the engine; those to one place arrive in the order in which they were sent, or
    /// the place is told to be lost. Waits for room.
    fn send(&self, to: Place, message: Bytes) -> LocalBoxFuture<'static, Result<(), Unreached>>;

    /// Sends a message of a group, in pieces that follow each other, and waits for the answer. Those to one
    /// place arrive in the order in which they were first polled, or are not answered.
    fn ask_replica(
        &self,
        to: Place,
        message: Vec<Bytes>,
        deadline: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, Unreached>>;
}

/// What a core knows of others whose node is alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Alone {
    fn unreached() -> Unreached {
        Unreached { why: "this node is alone".to_owned(), may_have_arrived: false }
    }
}

impl Nodes for Alone {
    fn place(&self, _: NodeId, _: PartitionId) -> Option<Place> {
        None
    }

    fn others(&self) -> Vec<NodeId> {
        Vec::new()
    }

    fn is_reached(&self, _: NodeId) -> bool {
        false
    }

    fn send(&self, _: Place, _: Bytes) -> LocalBoxFuture<'static, Result<(), Unreached>> {
        Box::pin(async { Err(Alone::unreached()) })
    }

    fn ask_replica(
        &self,
        _: Place,
        _: Vec<Bytes>,
        _: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, Unreached>> {
        Box::pin(async { Err(Alone::unreached()) })
    }
}

/// A message has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct Unreached {
    /// Why.
    pub why: String,
    /// Whether it may have arrived all the same.
    pub may_have_arrived: bool,
}

/// The network of one core's groups.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) nodes: Rc<dyn Nodes>,
    pub(super) beats: Beats,
    pub(super) applier: Rc<dyn Applier>,
    pub(super) log: GroupLog,
    pub(super) partition: PartitionId,
    pub(super) life: Life,
}

/// One replica on another node.
pub(super) struct Replica {
    pub(super) network: Network,
    pub(super) node: NodeId,
    /// For heartbeats only, which travel with those of other groups.
    pub(super) beats: bool,
}

impl RaftNetworkFactory<Partitions> for Network {
    type Network = Replica;

    async fn new_client(&mut self, node: u64, _: &EmptyNode) -> Replica {
        // Ids of nodes have 32 bits.
        Replica { network: self.clone(), node: NodeId(node as u32), beats: false }
    }

    async fn new_heartbeat_client(&mut self, node: u64, of: &EmptyNode) -> Replica {
        Replica { beats: true, ..self.new_client(node, of).await }
    }
}

type RpcResult<T> = Result<T, RPCError<Partitions>>;

fn unreachable(why: &str) -> RPCError<Partitions> {
    Unreachable::<Partitions>::from_string(why).into()
}

impl Replica {
    fn place(&self) -> RpcResult<Place> {
        let Network { nodes, partition, .. } = &self.network;
        nodes.place(self.node, *partition).ok_or_else(|| unreachable("the node is not known"))
    }

    pub(super) async fn ask(&self, ask: Ask, limit: Duration) -> RpcResult<Told> {
        let Network { nodes, partition, .. } = &self.network;
        let place = self.place()?;
        let deadline = time::now() + limit.max(ANSWER_MIN);
        let asked = nodes.ask_replica(place, encode_ask(*partition, &ask), deadline);
        let answer = asked.await.map_err(|unreached| unreachable(&unreached.why))?;
        match decode_told(answer) {
            Some(Told::Unable(why)) => Err(unreachable(&why)),
            Some(told) => Ok(told),
            None => Err(senseless()),
        }
    }

    async fn append(
        &self,
        append: AppendEntriesRequest<Partitions>,
        limit: Duration,
    ) -> RpcResult<AppendEntriesResponse<Partitions>> {
        match self.ask(Ask::Append(append), limit).await? {
            Told::Appended(appended) => Ok(appended),
            _ => Err(senseless()),
        }
    }
}

impl Replica {
    /// Sends a partition as files: those of now, which hold more than the snapshot is about; what the log
    /// says of the rest is read again by the receiver and changes nothing there.
    async fn send_snapshot(
        &self,
        vote: Vote,
        meta: SnapshotMetaOf<Partitions>,
    ) -> RpcResult<SnapshotResponse<Partitions>> {
        match self.send_files(meta, Ask::SnapshotEnd(vote)).await? {
            Told::Installed(vote) => Ok(SnapshotResponse::new(vote)),
            _ => Err(senseless()),
        }
    }

    /// Sends a partition's files to a replica whose own are damaged.
    pub(super) async fn mend(&self) -> RpcResult<()> {
        match self.send_files(SnapshotMetaOf::<Partitions>::default(), Ask::FilesEnd).await? {
            Told::Replaced => Ok(()),
            _ => Err(senseless()),
        }
    }

    /// Sends a partition as files, and gives what the replica answers to the end.
    async fn send_files(&self, meta: SnapshotMetaOf<Partitions>, end: Ask) -> RpcResult<Told> {
        let Network { applier, partition, life, .. } = &self.network;
        let working = life.work().map_err(|over| unreachable(&over.to_string()))?;
        let index = LogIndex(meta.last_log_id.map_or(0, |last| last.index));
        // What comes after it must not be let go meanwhile.
        let _held = applier.hold_log(*partition, index);
        let checkpoint = applier.checkpoint(*partition).await;
        let checkpoint = checkpoint.map_err(|error| unreachable(&error.to_string()))?;
        // It reads files that are its own from here on.
        drop(working);
        let contents = Bytes::from(checkpoint.contents().encode());
        let mut told = self.ask(Ask::SnapshotBegin { meta, contents }, SNAPSHOT_STEP).await?;
        loop {
            let Told::Received(position) = told else { return Err(senseless()) };
            let chunk = checkpoint.read(position, CHUNK_BYTES).await;
            let chunk = chunk.map_err(|error| unreachable(&error.to_string()))?;
            told = match chunk {
                Some(chunk) => self.ask(Ask::SnapshotChunk(chunk), SNAPSHOT_STEP).await?,
                None => break,
            };
        }
        self.ask(end, SNAPSHOT_STEP).await
    }
}

fn senseless() -> RPCError<Partitions> {
    NetworkError::<Partitions>::from_string("a replica's answer makes no sense").into()
}

impl RaftNetworkV2<Partitions> for Replica {
    type SnapshotData = Files;

    async fn append_entries(
        &mut self,
        append: AppendEntriesRequest<Partitions>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<Partitions>> {
        let beat = Beat::of(self.network.partition, &append).filter(|_| self.beats);
        if let Some(beat) = beat {
            let answered = self.network.beats.beat(self.place()?, beat).await;
            return answered.map_err(|unreached| unreachable(&unreached.why));
        }
        self.append(append, option.soft_ttl()).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        appends: S,
        option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<Partitions>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Partitions>> + OptionalSend + Unpin + 'static,
    {
        if self.beats {
            return stream_append_sequential(self, appends, option);
        }
        let replica: &'s Replica = self;
        let limit = option.soft_ttl();
        let send = move |append| replica.append(append, limit).boxed_local();
        let answers = Pipeline::new(appends, send, replica.network.log.clone()).boxed_local();
        std::future::ready(Ok(answers)).boxed_local()
    }

    async fn vote(
        &mut self,
        vote: VoteRequest<Partitions>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<Partitions>> {
        match self.ask(Ask::Vote(vote), option.soft_ttl()).await? {
            Told::Voted(voted) => Ok(voted),
            _ => Err(senseless()),
        }
    }

    async fn pre_vote(
        &mut self,
        vote: VoteRequest<Partitions>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<Partitions>> {
        match self.ask(Ask::PreVote(vote), option.soft_ttl()).await? {
            Told::Voted(voted) => Ok(voted),
            _ => Err(senseless()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Partitions, Files>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Partitions>, StreamingError<Partitions>> {
        let sending = pin!(self.send_snapshot(vote, snapshot.meta));
        match select(sending, pin!(cancel)).await {
            Either::Left((sent, _)) => Ok(sent?),
            Either::Right((closed, _)) => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        transfer: TransferLeaderRequest<Partitions>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<Partitions>> {
        match self.ask(Ask::Transfer(transfer), option.soft_ttl()).await? {
            Told::Transferred(transferred) => Ok(transferred),
            _ => Err(senseless()),
        }
    }
}
