//! Messages of every kind with everything that they can hold, drawn from a seed.

use bytes::Bytes;
use model::array::{Array, Dimension};
use model::batch::{Batch, Column, IntKind};
use model::command::{
    Effect, Fragment, Isolation, KeyConflict, Modified, Outcome, Request, RequestBody, Response,
    RoutedEffect,
};
use model::error::{ErrorFields, SqlError, SqlState};
use model::id::{CoreId, Mark, NodeId, ObjectId, PartitionId, TxnId};
use model::moment::TimeTz;
use model::numeric::Numeric;
use model::probe::{Probe, Probed};
use model::row_lock::{LockRows, LockWait, RowLock, RowLockMode, RowLocked};
use model::schema::{
    Check, ForeignKey, Identity, Index, IndexColumn, Placement, ReferencedKey, ReferentialAction,
    Table,
};
use model::time::Timestamp;
use model::types::{
    DataType, ElementType, IntervalFields, NumericLimits, RegKind, TimeLimits, TimeType,
};
use model::value::{Interval, Value};
use shards::core::{CoreMessage, RequestId};
use std::sync::Arc;
use std::time::Duration;

/// Draws from a seed. Recursive things get smaller the deeper they are.
pub struct Generator {
    state: u64,
    pub depth: usize,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator { state: seed ^ 0x9e37_79b9_7f4a_7c15, depth: 0 }
    }

    /// SplitMix64.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub fn flag(&mut self) -> bool {
        self.number() & 1 == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub fn maybe<T>(&mut self, make: impl FnOnce(&mut Generator) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    pub fn some<T>(&mut self, mut make: impl FnMut(&mut Generator) -> T) -> Vec<T> {
        let count = self.below(3);
        (0..count).map(|_| make(self)).collect()
    }

    pub fn text(&mut self) -> String {
        let length = self.below(14);
        (0..length).map(|_| self.pick(&['a', 'Z', '_', 'ß', '€', '🦀', '\0'])).collect()
    }

    pub fn bytes(&mut self) -> Vec<u8> {
        let length = self.below(20);
        (0..length).map(|_| self.number() as u8).collect()
    }

    pub fn ordinal(&mut self) -> usize {
        self.below(2_000)
    }

    fn shared_bytes(&mut self) -> Bytes {
        Bytes::from(self.bytes())
    }

    fn duration(&mut self) -> Duration {
        Duration::new(self.number() >> 20, self.below(1_000_000_000) as u32)
    }

    fn timestamp(&mut self) -> Timestamp {
        Timestamp(self.number())
    }

    fn mark(&mut self) -> Mark {
        Mark(self.number())
    }

    fn partition(&mut self) -> PartitionId {
        PartitionId(self.number() as u32)
    }

    fn object(&mut self) -> ObjectId {
        ObjectId(self.number() as u32)
    }

    fn txn(&mut self) -> TxnId {
        let (node, core) = (NodeId(self.number() as u32), CoreId(self.number() as u16));
        TxnId { began: self.timestamp(), node, core }
    }

    pub fn data_type(&mut self) -> DataType {
        let number = self.number() as u32;
        let limits = NumericLimits { precision: 1 + number as u16 % 1_000, scale: 1 };
        let times = TimeLimits::digits(self.pick(&TimeType::ALL), number as u8 % 7);
        let fields = self.pick(&[IntervalFields::Year, IntervalFields::DayToSecond]);
        let plain = [
            DataType::Unknown,
            DataType::Bool,
            DataType::Int2,
            DataType::Int4,
            DataType::Int8,
            DataType::Float4,
            DataType::Float8,
            DataType::Numeric(None),
            DataType::Numeric(Some(limits)),
            DataType::Text,
            DataType::Varchar(number),
            DataType::Char(number),
            DataType::Bytea,
            DataType::Date,
            DataType::Time,
            DataType::TimeTz,
            DataType::Timestamp,
            DataType::TimestampTz,
            DataType::Interval,
            DataType::Limited(times),
            DataType::Limited(TimeLimits::fields(fields, self.maybe(|_| 3))),
            DataType::Uuid,
            DataType::Oid,
            DataType::Name,
            DataType::InternalChar,
            DataType::Reg(self.pick(&RegKind::ALL)),
            DataType::Json,
            DataType::Jsonb,
            DataType::Void,
            DataType::Int2Vector,
            DataType::OidVector,
        ];
        let chosen = self.pick(&plain);
        match ElementType::of(chosen) {
            Some(element) if self.below(4) == 0 => DataType::Array(element),
            _ => chosen,
        }
    }

    fn numeric(&mut self) -> Numeric {
        let digits = self.pick(&["0", "-1", "1.50", "123456789012345678901234567890.125", "4e90"]);
        match self.below(4) {
            0 => self.pick(&[Numeric::NAN, Numeric::INFINITY, Numeric::NEGATIVE_INFINITY]),
            1 => Numeric::from(self.number() as i64),
            _ => digits.parse().expect("a number"),
        }
    }

    pub fn value(&mut self) -> Value {
        match self.below(15) {
            0 => Value::Null,
            1 => Value::Bool(self.flag()),
            2 => Value::Int(self.number() as i64),
            3 => Value::Float(self.pick(&[0.0, -0.0, 1.5, f64::NAN, f64::INFINITY])),
            4 => Value::Numeric(self.numeric()),
            5 => Value::text(self.text()),
            6 => Value::Bytes(Arc::from(self.bytes())),
            7 => Value::Date(self.number() as i32),
            8 => Value::Time(self.number() as i64),
            9 => Value::TimeTz(TimeTz { micros: self.number() as i64, zone: self.number() as i32 }),
            10 => Value::Timestamp(self.number() as i64),
            11 => Value::Interval(Interval {
                months: self.number() as i32,
                days: self.number() as i32,
                micros: self.number() as i64,
            }),
            12 => Value::Uuid(self.number().to_le_bytes().repeat(2).try_into().expect("16 bytes")),
            13 => Value::Jsonb(Arc::from(self.text())),
            _ => Value::Array(Arc::new(self.array())),
        }
    }

    fn array(&mut self) -> Array {
        if self.flag() {
            return Array::vector(self.some(|g| Value::Int(g.number() as i64)));
        }
        let lower = self.below(9) as i32 - 4;
        let dimensions = vec![Dimension { length: 2, lower }, Dimension { length: 3, lower: 1 }];
        let elements = (0..6).map(|_| Value::text(self.text())).collect();
        Array::new(dimensions, elements).expect("two by three")
    }

    fn column(&mut self, rows: usize) -> Column {
        let nulls = if self.flag() { (0..rows).map(|_| self.flag()).collect() } else { Vec::new() };
        let kind = self.pick(&[IntKind::Int, IntKind::Date, IntKind::Time, IntKind::Timestamp]);
        match self.below(5) {
            0 => {
                let values = (0..rows).map(|_| i64::from(self.number() as i32)).collect();
                Column::from_ints(kind, values, nulls)
            }
            1 => Column::from_floats((0..rows).map(|row| row as f64 / 8.0).collect(), nulls),
            2 => Column::from_bools((0..rows).map(|_| self.flag()).collect(), nulls),
            3 => {
                let text = |g: &mut Generator| g.maybe(|g| g.text()).into();
                let values = (0..rows).map(|_| text(self)).collect();
                Column::from_values(DataType::Text, values)
            }
            _ => {
                let values = (0..rows).map(|_| self.value()).collect();
                Column::from_values(DataType::Numeric(None), values)
            }
        }
    }

    pub fn batch(&mut self) -> Batch {
        let rows = self.below(6);
        let columns = self.some(|g| g.column(rows));
        Batch::new(rows, columns)
    }

    pub fn error(&mut self) -> SqlError {
        SqlError::from_fields(ErrorFields {
            state: self.pick(&[SqlState::UNIQUE_VIOLATION, SqlState([0, 255, b'x', b'y', b'z'])]),
            message: self.text().into(),
            detail: self.maybe(Generator::text),
            hint: self.maybe(Generator::text),
            position: self.maybe(|g| g.number() as u32),
            schema: self.maybe(Generator::text),
            table: self.maybe(Generator::text),
            column: self.maybe(Generator::text),
            constraint: self.maybe(Generator::text),
            context: self.maybe(Generator::text),
            routine: self.maybe(|g| g.text().into()),
        })
    }

    fn index_column(&mut self) -> IndexColumn {
        IndexColumn { ordinal: self.ordinal(), descending: self.flag() }
    }

    fn foreign_key(&mut self) -> ForeignKey {
        let actions = [
            ReferentialAction::NoAction,
            ReferentialAction::Restrict,
            ReferentialAction::Cascade,
            ReferentialAction::SetNull,
            ReferentialAction::SetDefault,
        ];
        ForeignKey {
            name: self.text(),
            child: self.object(),
            child_name: self.text(),
            child_columns: self.some(Generator::ordinal),
            parent: self.object(),
            parent_name: self.text(),
            parent_columns: self.some(Generator::ordinal),
            parent_key: ReferencedKey {
                object: self.object(),
                columns: self.some(Generator::index_column),
                placed_by: self.some(Generator::ordinal),
            },
            on_delete: self.pick(&actions),
            on_update: self.pick(&actions),
        }
    }

    pub fn table(&mut self) -> Arc<Table> {
        let column = |g: &mut Generator| model::schema::Column {
            name: g.text(),
            data_type: g.data_type(),
            nullable: g.flag(),
            default: g.maybe(Generator::expression),
            missing: g.value(),
            hidden: g.flag(),
            identity: g.maybe(|g| g.pick(&[Identity::Always, Identity::ByDefault])),
        };
        let index = |g: &mut Generator| Index {
            id: g.object(),
            name: g.text(),
            columns: g.some(Generator::index_column),
            unique: g.flag(),
            constraint: g.flag(),
            global: g.flag(),
        };
        let check =
            |g: &mut Generator| Check { name: g.text(), condition: g.expression(), text: g.text() };
        Arc::new(Table {
            id: self.object(),
            storage: self.object(),
            schema: self.text(),
            name: self.text(),
            columns: self.some(column),
            primary_key: self.some(Generator::ordinal),
            primary_key_name: self.maybe(Generator::text),
            partition_columns: self.some(Generator::ordinal),
            placement: self.pick(&[Placement::Hashed, Placement::System]),
            indexes: self.some(index),
            checks: self.some(check),
            foreign_keys: self.some(Generator::foreign_key),
            referenced_by: self.some(Generator::foreign_key),
        })
    }

    pub fn row_lock(&mut self) -> RowLock {
        RowLock {
            table: self.table(),
            key: self.some(Generator::ordinal),
            mode: self.row_lock_mode(),
            wait: self.lock_wait(),
        }
    }

    fn row_lock_mode(&mut self) -> RowLockMode {
        self.pick(&[RowLockMode::Shared, RowLockMode::Exclusive])
    }

    fn lock_wait(&mut self) -> LockWait {
        self.pick(&[LockWait::Wait, LockWait::Skip, LockWait::Refuse])
    }

    pub fn fragment(&mut self) -> Fragment {
        let isolations =
            [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];
        Fragment {
            plan: Arc::new(self.plan()),
            parameters: self.some(Generator::value).into(),
            snapshot: self.timestamp(),
            txn: self.maybe(Generator::txn),
            seen: self.maybe(Generator::mark),
            isolation: self.pick(&isolations),
            now_micros: self.number() as i64,
            lock_timeout: self.maybe(Generator::duration),
        }
    }

    fn effect(&mut self) -> Effect {
        let (key, value) = (self.bytes(), self.bytes());
        let conflict = Arc::new(KeyConflict { error: self.error() });
        match self.below(4) {
            0 => Effect::ClaimKey { key, value, conflict },
            1 => Effect::FreeKey { key },
            2 => Effect::PutKey { key, value },
            _ => Effect::RequireKey { key, conflict },
        }
    }

    fn outcome(&mut self) -> Outcome {
        if self.flag() { Outcome::Aborted } else { Outcome::Committed(self.timestamp()) }
    }

    fn lock_rows(&mut self) -> LockRows {
        LockRows {
            txn: self.txn(),
            table: self.table(),
            keys: self.some(Generator::shared_bytes),
            mode: self.row_lock_mode(),
            wait: self.lock_wait(),
            snapshot: self.timestamp(),
            rows_max: self.pick(&[0, 1, usize::MAX]),
            mark: self.maybe(Generator::mark),
            lock_timeout: self.maybe(Generator::duration),
        }
    }

    fn probe(&mut self) -> Probe {
        Probe {
            txn: self.txn(),
            table: self.table(),
            keys: self.some(Generator::shared_bytes),
            keep: self.flag(),
            snapshot: self.maybe(Generator::timestamp),
            mark: self.maybe(Generator::mark),
            lock_timeout: self.maybe(Generator::duration),
        }
    }

    pub fn request(&mut self) -> RequestBody {
        let txn = self.txn();
        match self.below(13) {
            0 => RequestBody::Read(self.fragment()),
            1 => RequestBody::Write {
                fragment: self.fragment(),
                commit: self.flag(),
                mark: self.maybe(Generator::mark),
            },
            2 => RequestBody::Stage {
                txn,
                effects: self.some(Generator::effect),
                mark: self.maybe(Generator::mark),
                lock_timeout: self.maybe(Generator::duration),
            },
            3 => RequestBody::Lock(self.lock_rows()),
            4 => RequestBody::Probe(self.probe()),
            5 => RequestBody::RollbackTo { txn, mark: self.mark() },
            6 => RequestBody::CommitOnePhase { txn, not_after: self.timestamp() },
            7 => RequestBody::StandAside { txn },
            8 => RequestBody::Prepare { txn, anchor: self.partition() },
            9 => RequestBody::Decide {
                txn,
                commit: self.timestamp(),
                participants: self.some(Generator::partition),
            },
            10 => RequestBody::Finish { txn, outcome: self.outcome() },
            11 => RequestBody::Rollback { txn },
            _ if self.flag() => RequestBody::Resolve { txn },
            _ => RequestBody::Forget { txn },
        }
    }

    fn modified(&mut self) -> Modified {
        let routed = |g: &mut Generator| RoutedEffect { hash: g.number(), effect: g.effect() };
        Modified {
            rows: self.number(),
            returning: self.some(Generator::batch),
            effects: self.some(routed),
            lost: self.some(Generator::ordinal),
            committed: self.maybe(Generator::timestamp),
        }
    }

    pub fn response(&mut self) -> Response {
        let locked =
            [RowLocked::Unchanged, RowLocked::Changed, RowLocked::Deleted, RowLocked::Skipped];
        match self.below(13) {
            0 => Response::Rows(self.batch()),
            1 => Response::End,
            2 => Response::Modified(self.modified()),
            3 => Response::Locked(self.some(|g| g.pick(&locked))),
            4 => Response::Probed(self.some(|g| match g.flag() {
                true => Probed::Free,
                false => Probed::Taken(g.some(Generator::value)),
            })),
            5 => Response::Done,
            6 => Response::Returned(self.flag()),
            7 => Response::Committed(self.timestamp()),
            8 => Response::Prepared(self.timestamp()),
            9 => Response::Aside(self.timestamp()),
            10 => Response::Decided(self.outcome()),
            11 => Response::Failed(self.error()),
            _ => Response::Elsewhere(self.flag().then(|| NodeId(self.below(9) as u32))),
        }
    }

    pub fn message(&mut self) -> CoreMessage {
        let id = RequestId(self.number());
        match self.below(10) {
            0 => CoreMessage::Credit { id },
            1 => CoreMessage::Cancel { id },
            2..6 => {
                let (partition, sent) = (self.partition(), self.timestamp());
                let request = Request { partition, sent, body: self.request() };
                CoreMessage::Request { id, request }
            }
            _ => CoreMessage::Response { id, sent: self.timestamp(), response: self.response() },
        }
    }
}
