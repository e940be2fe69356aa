//! Sequences: who gives their values out.
//!
//! ```text
//!  statement ──calls──► SequenceCalls (shards::exec) ──► StatementSequences ──► HeldSequences (the session's)
//!                                                             │ draw n, set, look
//!                                                             ▼
//!                                  Counters of the core that leads the partition of the sequence's row
//!                                                             │ one log write reserves many values
//!                                                             ▼
//!                                                     phantom.sequences
//! ```
//!
//! A sequence is counted on one core of the node: the one on which its row of `phantom.sequences`
//! lies. The row says how far values are *reserved*: none beyond it has ever been given. A value is
//! given only after the write that reserves it is durable, so that none is given twice, whatever
//! stops the node; what was reserved and not given is lost then, unless the node is stopped in good
//! order. Values are not transactional: a
//! rollback gives none back.
//!
//! A reservation is for what is asked, what waits behind it, and [`counters::AHEAD_MIN`] more; where
//! reservations follow each other closely they grow. So under load one log write serves many values.
//!
//! A sequence that is restarted by `ALTER SEQUENCE` or `TRUNCATE` goes on in another row: the change
//! is the catalog's alone. A row that does not exist yet means the sequence's first value.

mod counters;
mod held;
mod source;

pub(super) use counters::Counters;
pub use held::HeldSequences;
pub(super) use source::StatementSequences;

use super::Router;
use super::peers::{Answer, Call};
use crate::catalog::{Sequence, sequences_table};
use counters::{Counter, Position};
use futures::future::join_all;
use model::archive::Unshared;
use model::batch::Batch;
use model::command::{Fragment, Isolation, RequestBody, Response};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::{CoreId, PartitionId};
use model::plan::{Access, KeyBounds, Plan, Scan};
use model::types::DataType;
use model::value::Value;
use rkyv::{Archive, Deserialize, Serialize};
use shards::exec::keys;
use shards::exec::sequences::SequenceState;
use std::sync::Arc;

/// Sequences that are settled at once when the node stops.
const SETTLED_AT_ONCE: usize = 64;

/// What is asked of the core that counts a sequence.
#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
pub struct SequenceRequest {
    /// The sequence, as the asking core knows it.
    #[rkyv(with = Unshared)]
    pub sequence: Arc<Sequence>,
    /// What is asked.
    pub what: SequenceQuestion,
}

/// What is asked of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum SequenceQuestion {
    /// The next values, so many.
    Draw(i64),
    /// `setval`
    Set {
        /// The value it is at.
        value: i64,
        /// Whether that counts as given.
        called: bool,
    },
    /// Where it is.
    State,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum SequenceAnswer {
    /// Values in order, and whether the sequence ended before there were enough.
    Values(Vec<Run>, bool),
    /// Where it is.
    State(SequenceState),
}

/// Values at equal distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Run {
    /// The first.
    pub first: i64,
    /// From one to the next.
    pub increment: i64,
    /// How many there are.
    pub count: i64,
}

impl Run {
    /// Takes the first value out.
    pub fn take_first(&mut self) -> Option<i64> {
        if self.count == 0 {
            return None;
        }
        let value = self.first;
        self.count -= 1;
        // Behind the last value there may be no number.
        self.first = self.first.wrapping_add(self.increment);
        Some(value)
    }
}

impl Router {
    /// Asks the core that counts a sequence.
    pub(super) async fn ask_sequence(
        &self,
        sequence: &Arc<Sequence>,
        what: SequenceQuestion,
    ) -> Result<SequenceAnswer, SqlError> {
        let core = self.counting_core(sequence)?;
        if core == self.engine().core()
            && let Some(answer) = self.inner.counters.answer_now(sequence, what)
        {
            return Ok(answer);
        }
        let request = SequenceRequest { sequence: Arc::clone(sequence), what };
        match self.peers().call(core, Call::Sequence(request)).await? {
            Answer::Sequence(answer) => Ok(answer),
            other => Err(SqlError::internal(format!("a sequence was answered with {other:?}"))),
        }
    }

    /// Where a sequence is.
    pub(super) async fn sequence_state(
        &self,
        sequence: &Arc<Sequence>,
    ) -> Result<SequenceState, SqlError> {
        match self.ask_sequence(sequence, SequenceQuestion::State).await? {
            SequenceAnswer::State(state) => Ok(state),
            SequenceAnswer::Values(..) => Err(SqlError::internal("a state was asked for")),
        }
    }

    /// The row's partition.
    fn sequence_partition(&self, sequence: &Sequence) -> PartitionId {
        let key = [Value::Int(i64::from(sequence.state.0)), Value::Null, Value::Null];
        self.engine().placement().partition_of(keys::row_hash(sequences_table(), &key))
    }

    fn counting_core(&self, sequence: &Sequence) -> Result<CoreId, SqlError> {
        let partition = self.sequence_partition(sequence);
        let place = self.engine().placement().leader(partition);
        place.map(|place| place.core).ok_or_else(|| {
            SqlError::internal(format!("partition {partition} of a sequence is nowhere"))
        })
    }

    /// Answers for a sequence that is counted on this core.
    pub(super) async fn count(&self, request: SequenceRequest) -> Result<SequenceAnswer, SqlError> {
        let SequenceRequest { sequence, what } = request;
        let counter = self.inner.counters.counter(sequence.state);
        let _turn = counter.turn(&what).await?;
        let mut position = match counter.position() {
            Some(position) => position,
            None => self.load_position(&sequence).await?,
        };
        position.adopt(&sequence);
        let answer = match what {
            SequenceQuestion::Draw(count) => {
                let (mut runs, mut missing) = (Vec::new(), count);
                let ended = loop {
                    missing -= position.take(missing, &mut runs);
                    if missing == 0 {
                        break false;
                    }
                    let wanted = missing.saturating_add(counter.waiting());
                    let Some(reserved) = position.reservation(wanted) else { break true };
                    self.store_position(&sequence, reserved.last, true).await?;
                    position.reserve(&reserved);
                };
                SequenceAnswer::Values(runs, ended)
            }
            SequenceQuestion::Set { value, called } => {
                self.store_position(&sequence, value, called).await?;
                position.set(value, called);
                SequenceAnswer::State(position.state())
            }
            SequenceQuestion::State => SequenceAnswer::State(position.state()),
        };
        counter.put(position);
        Ok(answer)
    }

    /// Gives back what is reserved and not given, so that a node that is stopped in good order
    /// skips no values. What is drawn afterwards is reserved anew.
    pub async fn settle_sequences(&self) {
        let counters = self.inner.counters.all();
        for some in counters.chunks(SETTLED_AT_ONCE) {
            let settled = some.iter().map(|counter| self.settle(counter));
            for error in join_all(settled).await.into_iter().filter_map(Result::err) {
                log::warn!("values of a sequence are skipped: {error}");
            }
        }
    }

    async fn settle(&self, counter: &Counter) -> Result<(), SqlError> {
        let _turn = counter.turn(&SequenceQuestion::State).await?;
        if let Some(mut position) = counter.position() {
            if let Some((sequence, last, called)) = position.give_back() {
                self.store_position(&sequence, last, called).await?;
            }
            counter.put(position);
        }
        Ok(())
    }

    async fn load_position(&self, sequence: &Arc<Sequence>) -> Result<Position, SqlError> {
        let table = sequences_table();
        let key = Expression::Literal(Value::Int(i64::from(sequence.state.0)), DataType::Int8);
        let bounds = KeyBounds { equal: vec![vec![key]], lower: None, upper: None };
        let scan = Scan {
            table: Arc::clone(table),
            access: Access::PrimaryKey(bounds),
            columns: (0..table.columns.len()).collect(),
            filter: None,
            reverse: false,
            lock: false,
            limit: None,
        };
        let fragment = Fragment {
            plan: Arc::new(Plan::Scan(scan)),
            parameters: Arc::from([]),
            snapshot: self.engine().now(),
            txn: None,
            seen: None,
            isolation: Isolation::ReadCommitted,
            now_micros: 0,
            lock_timeout: None,
        };
        let mut rows = self.engine().read(self.sequence_partition(sequence), fragment);
        if let Some(batch) = rows.next().await {
            let batch: Batch = batch?;
            return match batch.row(0).as_slice() {
                [Value::Int(_), Value::Int(last), Value::Bool(called)] => {
                    Ok(Position::at(sequence, *last, *called))
                }
                _ => Err(SqlError::new(
                    SqlState::DATA_CORRUPTED,
                    format!("the state of sequence \"{}\" has an unknown form", sequence.name),
                )),
            };
        }
        Ok(Position::at(sequence, sequence.first, false))
    }

    /// Returns when it is durable.
    async fn store_position(
        &self,
        sequence: &Sequence,
        last: i64,
        called: bool,
    ) -> Result<(), SqlError> {
        let row = [
            (Value::Int(i64::from(sequence.state.0)), DataType::Int8),
            (Value::Int(last), DataType::Int8),
            (Value::Bool(called), DataType::Bool),
        ];
        let row = row.into_iter().map(|(value, t)| Expression::Literal(value, t)).collect();
        let modify = super::schema::upsert(sequences_table(), vec![row]);
        let partition = self.sequence_partition(sequence);
        let mut transaction = self.begin();
        transaction.touch(partition);
        let fragment = Fragment {
            plan: Arc::new(Plan::Modify(modify)),
            parameters: Arc::from([]),
            snapshot: self.engine().now(),
            txn: Some(transaction.id),
            seen: None,
            isolation: Isolation::ReadCommitted,
            now_micros: 0,
            lock_timeout: None,
        };
        let body = RequestBody::Write { fragment, commit: true, mark: None };
        match self.engine().call(partition, body).await {
            Ok(Response::Modified(modified)) => {
                if modified.committed.is_some() {
                    transaction.release(partition);
                }
                self.commit(transaction).await
            }
            Ok(other) => Err(SqlError::internal(format!("a change was answered with {other:?}"))),
            Err(error) => {
                // What cannot be told is rolled back by the partition itself after a while.
                let _told = self.rollback(transaction).await;
                Err(error)
            }
        }
    }
}

/// 2200H
fn exhausted(sequence: &Sequence) -> SqlError {
    let (which, bound) = match sequence.increment > 0 {
        true => ("maximum", sequence.max_value),
        false => ("minimum", sequence.min_value),
    };
    SqlError::new(
        SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED,
        format!("nextval: reached {which} value of sequence \"{}\" ({bound})", sequence.name),
    )
}
