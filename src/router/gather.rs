//! Where exchanges get their rows: fragments that run in partitions, here or on other cores.

use crate::txn::Reader;
use futures::future::LocalBoxFuture;
use futures::stream::{LocalBoxStream, SelectAll, StreamExt, select_all, unfold};
use model::batch::Batch;
use model::command::{Fragment, Isolation};
use model::error::SqlError;
use model::id::{Mark, PartitionId};
use model::plan::{Exchange, Target};
use model::time::Timestamp;
use shards::core::{BatchStream, Engine};
use shards::exec::{ExecContext, Gather, Operator, target_hashes};
use std::rc::Rc;
use std::time::Duration;

/// The partitions as one statement reads them.
pub(super) struct PartitionGather {
    engine: Engine,
    snapshot: Timestamp,
    reader: Option<Reader>,
    seen: Option<Mark>,
    isolation: Isolation,
    lock_timeout: Option<Duration>,
}

impl PartitionGather {
    /// Reads at a snapshot, and what a transaction had changed at a mark, or now.
    pub(super) fn new(
        engine: Engine,
        snapshot: Timestamp,
        reader: Option<Reader>,
        seen: Option<Mark>,
        isolation: Isolation,
        lock_timeout: Option<Duration>,
    ) -> PartitionGather {
        PartitionGather { engine, snapshot, reader, seen, isolation, lock_timeout }
    }

    fn streams(&self, exchange: &Exchange, context: &ExecContext) -> Result<Vec<Stream>, SqlError> {
        let partitions = partitions(&self.engine, &exchange.target, context)?;
        // The rows of the catalog are not locked: what is planned with it is kept apart by the gates,
        // and ids are used up behind the back of the transaction that has read them.
        let isolation = match (&exchange.target, self.isolation) {
            (Target::System, Isolation::Serializable) => Isolation::ReadCommitted,
            (_, isolation) => isolation,
        };
        let locks = isolation == Isolation::Serializable;
        let read = |partition| {
            let locking = self.reader.as_ref().filter(|_| locks);
            if let Some(reader) = locking {
                reader.ask(partition);
            }
            let fragment = Fragment {
                plan: exchange.fragment.clone(),
                parameters: context.parameters.clone(),
                snapshot: self.snapshot,
                txn: self.reader.as_ref().map(|reader| reader.id),
                seen: self.seen,
                isolation,
                now_micros: context.now_micros,
                lock_timeout: self.lock_timeout,
            };
            let batches = self.engine.read(partition, fragment);
            Stream { batches, locking: locking.map(|reader| (reader.clone(), partition)) }
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
            let next = |mut stream: Stream| async move {
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
struct Stream {
    batches: BatchStream,
    /// Whose reads lock what they read, until something was heard.
    locking: Option<(Reader, PartitionId)>,
}

impl Stream {
    async fn next(&mut self) -> Option<Result<Batch, SqlError>> {
        let next = self.batches.next().await;
        if let Some((reader, partition)) = self.locking.take() {
            reader.hear(partition);
        }
        next
    }
}

/// One partition's batches, as an operator.
struct One(Stream);

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
