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
//! A sequence is counted on one core of the cluster: the one that leads the partition of its row of
//! `phantom.sequences`. The row says how far values are *reserved*: none beyond it has ever been given. A
//! value is given only after the write that reserves it is durable, and the row is written only where it
//! says what the counting core knows of it: so none is given twice, whatever stops the node, and whoever
//! leads the partition next and while the one before has not heard of it; what was reserved and not given is lost then, unless the node is stopped in good
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
use model::expression::{BinaryOperator, Expression};
use model::id::PartitionId;
use model::plan::{Access, Change, KeyBounds, OnConflict, Plan, Scan};
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
    /// Asks the core that counts a sequence, wherever it is by now. Where it is not known whether it has
    /// answered it is asked again: values that were given to nobody are lost.
    pub(super) async fn ask_sequence(
        &self,
        sequence: &Arc<Sequence>,
        what: SequenceQuestion,
    ) -> Result<SequenceAnswer, SqlError> {
        let partition = self.sequence_partition(sequence);
        if let Some(term) = self.leads_in(partition)
            && let Some(answer) = self.inner.counters.answer_now(sequence, what, term)
        {
            return Ok(answer);
        }
        let request = SequenceRequest { sequence: Arc::clone(sequence), what };
        match self.ask_leader(partition, Call::Sequence(request), true).await? {
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

    /// Answers for a sequence that is counted on this core.
    pub(super) async fn count(&self, request: SequenceRequest) -> Result<Answer, SqlError> {
        let SequenceRequest { sequence, what } = request;
        let partition = self.sequence_partition(&sequence);
        let counter = self.inner.counters.counter(sequence.state);
        let _turn = counter.turn(&what).await?;
        let Some(term) = self.leads_in(partition) else {
            return Ok(self.not_led_here(partition));
        };
        let mut position = match counter.position(term) {
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
                    let known = position.stored();
                    match self.store_position(&sequence, known, (reserved.last, true)).await? {
                        true => position.reserve(&reserved),
                        false => position = self.load_position(&sequence).await?,
                    }
                };
                SequenceAnswer::Values(runs, ended)
            }
            SequenceQuestion::Set { value, called } => {
                while !self.store_position(&sequence, position.stored(), (value, called)).await? {
                    position = self.load_position(&sequence).await?;
                }
                position.set(value, called);
                SequenceAnswer::State(position.state())
            }
            SequenceQuestion::State => SequenceAnswer::State(position.state()),
        };
        counter.put(term, position);
        Ok(Answer::Sequence(answer))
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
        // Of another term it is not this core's any more, and stays as it is.
        let Some((term, mut position)) = counter.last_position() else { return Ok(()) };
        if let Some((sequence, last, called)) = position.give_back() {
            let known = position.stored();
            if !self.store_position(&sequence, known, (last, called)).await? {
                return Ok(());
            }
            position.set(last, called);
        }
        counter.put(term, position);
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
                    Ok(Position::at(sequence, Some((*last, *called))))
                }
                _ => Err(SqlError::new(
                    SqlState::DATA_CORRUPTED,
                    format!("the state of sequence \"{}\" has an unknown form", sequence.name),
                )),
            };
        }
        Ok(Position::at(sequence, None))
    }

    /// Writes the row, where it says what is `known` of it: a core that has counted before may still be
    /// writing. Returns when it is durable, `false` where the row is another one.
    pub(super) async fn store_position(
        &self,
        sequence: &Sequence,
        known: Option<(i64, bool)>,
        (last, called): (i64, bool),
    ) -> Result<bool, SqlError> {
        let table = sequences_table();
        let row = [
            (Value::Int(i64::from(sequence.state.0)), DataType::Int8),
            (Value::Int(last), DataType::Int8),
            (Value::Bool(called), DataType::Bool),
        ];
        let row = row.into_iter().map(|(value, t)| Expression::Literal(value, t)).collect();
        let mut modify = super::schema::upsert(table, vec![row]);
        if let Change::Insert { on_conflict: OnConflict::DoUpdate(_, update) } = &mut modify.change
        {
            update.condition = Some(is_at(known));
        }
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
                self.commit_own(transaction).await.map(|()| modified.rows == 1)
            }
            Ok(other) => Err(SqlError::internal(format!("a change was answered with {other:?}"))),
            Err(error) => {
                self.rollback(transaction).await;
                Err(error)
            }
        }
    }
}

/// Whether the row of a sequence says so; there is one.
fn is_at(known: Option<(i64, bool)>) -> Expression {
    let Some((last, called)) = known else {
        return Expression::Literal(Value::Bool(false), DataType::Bool);
    };
    let both = |operator, left, right| Expression::Binary {
        operator,
        left: Box::new(left),
        right: Box::new(right),
        data_type: DataType::Bool,
    };
    let says = |ordinal, value, data_type| {
        let said = Expression::column(ordinal, data_type);
        both(BinaryOperator::Equal, said, Expression::Literal(value, data_type))
    };
    let (last, called) =
        (says(1, Value::Int(last), DataType::Int8), says(2, Value::Bool(called), DataType::Bool));
    both(BinaryOperator::And, last, called)
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
