//! Where exchanges get their rows: fragments that run in partitions, here or on other cores.

use futures::future::LocalBoxFuture;
use futures::stream::{LocalBoxStream, SelectAll, StreamExt, select_all, unfold};
use model::batch::Batch;
use model::command::Fragment;
use model::error::SqlError;
use model::id::{Mark, PartitionId, TxnId};
use model::plan::{Exchange, Target};
use model::time::Timestamp;
use shards::core::{BatchStream, Engine};
use shards::exec::{ExecContext, Gather, Operator, target_hashes};
use std::rc::Rc;

/// The partitions as one statement reads them.
pub(super) struct PartitionGather {
    engine: Engine,
    snapshot: Timestamp,
    txn: Option<TxnId>,
    seen: Option<Mark>,
}

impl PartitionGather {
    /// Reads at a snapshot, and what a transaction had changed at a mark, or now.
    pub(super) fn new(
        engine: Engine,
        snapshot: Timestamp,
        txn: Option<TxnId>,
        seen: Option<Mark>,
    ) -> PartitionGather {
        PartitionGather { engine, snapshot, txn, seen }
    }

    fn streams(
        &self,
        exchange: &Exchange,
        context: &ExecContext,
    ) -> Result<Vec<BatchStream>, SqlError> {
        let partitions = partitions(&self.engine, &exchange.target, context)?;
        let read = |partition| {
            let fragment = Fragment {
                plan: exchange.fragment.clone(),
                parameters: context.parameters.clone(),
                snapshot: self.snapshot,
                txn: self.txn,
                seen: self.seen,
                now_micros: context.now_micros,
            };
            self.engine.read(partition, fragment)
        };
        Ok(partitions.into_iter().map(read).collect())
    }
}

/// The partitions that a target names, in order, each once.
pub(super) fn partitions(
    engine: &Engine,
    target: &Target,
    context: &ExecContext,
) -> Result<Vec<PartitionId>, SqlError> {
    let placement = engine.placement();
    Ok(match target {
        Target::All => placement.data_partitions().collect(),
        Target::System => vec![PartitionId::SYSTEM],
        Target::Keys(_) => {
            let hashes = target_hashes(target, context)?.unwrap_or_default();
            let mut partitions: Vec<PartitionId> =
                hashes.into_iter().map(|hash| placement.partition_of(hash)).collect();
            partitions.sort_unstable();
            partitions.dedup();
            partitions
        }
    })
}

impl Gather for PartitionGather {
    fn open(
        &self,
        exchange: &Exchange,
        context: &Rc<ExecContext>,
    ) -> Result<Box<dyn Operator>, SqlError> {
        let mut streams = self.streams(exchange, context)?;
        if streams.len() == 1 {
            return Ok(Box::new(One(streams.remove(0))));
        }
        let streams = streams.into_iter().map(|stream| {
            let next = |mut stream: BatchStream| async move {
                let batch = stream.next().await?;
                Some((batch, stream))
            };
            unfold(stream, next).boxed_local()
        });
        Ok(Box::new(Any(select_all(streams))))
    }

    fn open_each(
        &self,
        exchange: &Exchange,
        context: &Rc<ExecContext>,
    ) -> Result<Vec<Box<dyn Operator>>, SqlError> {
        let streams = self.streams(exchange, context)?;
        Ok(streams.into_iter().map(|stream| Box::new(One(stream)) as Box<dyn Operator>).collect())
    }
}

/// One partition's batches.
struct One(BatchStream);

impl Operator for One {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        Box::pin(async { self.0.next().await.transpose() })
    }
}

/// Several partitions' batches as they come.
struct Any(SelectAll<LocalBoxStream<'static, Result<Batch, SqlError>>>);

impl Operator for Any {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        Box::pin(async { self.0.next().await.transpose() })
    }
}
