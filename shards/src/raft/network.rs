//! How a group reaches its replicas on other nodes, and how they reach it.

use super::group::Group;
use super::types::{Partitions, Vote};
use super::wire::{Ask, Told, decode_ask, decode_told, encode_ask, encode_told};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use model::id::{NodeId, PartitionId};
use model::placement::Place;
use openraft::alias::SnapshotOf;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend};
use runtime::time::{self, Instant};
use std::rc::Rc;
use std::time::Duration;

/// How long a replica has to answer, where openraft would give it less: it writes to its disk first.
const ANSWER_MIN: Duration = Duration::from_millis(400);

/// The cores of other nodes, as a core reaches them.
pub trait Nodes {
    /// Where a node has its replica of a partition; `None` for a node that is not known.
    fn place(&self, node: NodeId, partition: PartitionId) -> Option<Place>;

    /// Sends a message of a group, in pieces that follow each other, and waits for the answer.
    fn ask_replica(
        &self,
        to: Place,
        message: Vec<Bytes>,
        deadline: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, Unreached>>;
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
    pub(super) partition: PartitionId,
}

/// One replica on another node.
pub(super) struct Replica {
    network: Network,
    node: NodeId,
}

impl RaftNetworkFactory<Partitions> for Network {
    type Network = Replica;

    async fn new_client(&mut self, node: u64, _: &EmptyNode) -> Replica {
        // Ids of nodes have 32 bits.
        Replica { network: self.clone(), node: NodeId(node as u32) }
    }
}

type RpcResult<T> = Result<T, RPCError<Partitions>>;

fn unreachable(why: &str) -> RPCError<Partitions> {
    Unreachable::<Partitions>::from_string(why).into()
}

impl Replica {
    async fn ask(&self, ask: Ask, limit: Duration) -> RpcResult<Told> {
        let Network { nodes, partition } = &self.network;
        let Some(place) = nodes.place(self.node, *partition) else {
            return Err(unreachable("the node is not known"));
        };
        let deadline = time::now() + limit.max(ANSWER_MIN);
        let asked = nodes.ask_replica(place, encode_ask(*partition, &ask), deadline);
        let answer = asked.await.map_err(|unreached| unreachable(&unreached.why))?;
        match decode_told(answer) {
            Some(Told::Unable(why)) => Err(unreachable(&why)),
            Some(told) => Ok(told),
            None => Err(senseless()),
        }
    }
}

fn senseless() -> RPCError<Partitions> {
    NetworkError::<Partitions>::from_string("a replica's answer makes no sense").into()
}

impl RaftNetworkV2<Partitions> for Replica {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        append: AppendEntriesRequest<Partitions>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<Partitions>> {
        match self.ask(Ask::Append(append), option.soft_ttl()).await? {
            Told::Appended(appended) => Ok(appended),
            _ => Err(senseless()),
        }
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
        _: Vote,
        _: SnapshotOf<Partitions, ()>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Partitions>, StreamingError<Partitions>> {
        Err(Unreachable::<Partitions>::from_string("snapshots").into())
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
