//! How a group reaches its replicas on other nodes. A node that is alone has none.

use super::types::{Partitions, Vote};
use openraft::alias::SnapshotOf;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend};

/// The network of a node that is alone: nobody can be reached.
pub(super) struct Unconnected;

impl RaftNetworkFactory<Partitions> for Unconnected {
    type Network = Unconnected;

    async fn new_client(&mut self, _: u64, _: &EmptyNode) -> Unconnected {
        Unconnected
    }
}

fn unreachable() -> Unreachable<Partitions> {
    Unreachable::from_string("this node is alone")
}

impl RaftNetworkV2<Partitions> for Unconnected {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<Partitions>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Partitions>, RPCError<Partitions>> {
        Err(unreachable().into())
    }

    async fn vote(
        &mut self,
        _: VoteRequest<Partitions>,
        _: RPCOption,
    ) -> Result<VoteResponse<Partitions>, RPCError<Partitions>> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: SnapshotOf<Partitions, ()>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Partitions>, StreamingError<Partitions>> {
        Err(unreachable().into())
    }
}
