//! Physical plans: trees of operators, the same nodes in a fragment (which runs inside one
//! partition; its leaves are scans) and in the router's gather tree (its leaves are exchanges).
//!
//! A plan is data: it can be shared by statements, kept by a prepared one and sent to another
//! node. How an operator runs stands in `shards/src/exec`. Expressions inside a node refer to the
//! columns of its input; of a join, to the left input's columns followed by the right's.

use crate::archive::{Grown, Unshared};
use crate::expression::Expression;
use crate::row_lock::RowLock;
use crate::schema::Table;
use crate::types::DataType;
use rkyv::de::Pooling;
use rkyv::rancor::Source;
use rkyv::ser::{Allocator, Sharing, Writer};
use rkyv::validation::{ArchiveContext, SharedContext};
use rkyv::{Archive, Deserialize, Serialize};
use std::sync::Arc;

/// A tree of operators.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub enum Plan {
    /// Reads a table or index of this partition.
    Scan(Scan),
    /// Rows given by expressions without columns.
    Values(Values),
    /// Runs a fragment in partitions and gathers the results. Only in the router.
    Exchange(Exchange),
    /// Keeps the rows for which a condition is true.
    Filter(Filter),
    /// Computes columns.
    Project(Project),
    /// Groups and aggregates by hashing.
    Aggregate(Aggregate),
    /// Sorts, possibly only as far as the first rows are needed.
    Sort(Sort),
    /// Skips rows, then passes a number of them.
    Limit(Limit),
    /// Joins on equality by hashing the right input.
    HashJoin(HashJoin),
    /// Joins on any condition; the right input is kept.
    NestedLoopJoin(NestedLoopJoin),
    /// Runs a correlated plan for each row of the input.
    Apply(Apply),
    /// The inputs' rows one after the other.
    Append(Append),
    /// `INTERSECT` and `EXCEPT`.
    SetOperation(SetOperation),
    /// `WITH RECURSIVE`.
    Recursive(Recursive),
    /// What the step of a [`Recursive`] reads of it.
    WorkingTable(WorkingTable),
    /// Window functions.
    Window(Window),
    /// Calls functions that answer several rows.
    ProjectSet(ProjectSet),
    /// Keeps its input's rows, so that an enclosing `Apply` runs it once.
    Materialize(Materialize),
    /// Locks the rows that its input's rows come from. Only in the router.
    LockRows(LockRows),
    /// Changes a table's rows in this partition.
    Modify(Modify),
}

/// Reads a table of this partition at the fragment's snapshot.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct Scan {
    /// The table.
    pub table: Arc<Table>,
    /// How rows are found.
    pub access: Access,
    /// Ordinals of the table's columns that make up the output, in order.
    pub columns: Vec<usize>,
    /// Over the output columns; rows for which it is not true are dropped.
    pub filter: Option<Expression>,
    /// Whether rows come in descending order of the key that is read.
    pub reverse: bool,
    /// Lock the rows that pass, and read their newest versions.
    pub lock: bool,
    /// Stop after this many rows have passed.
    pub limit: Option<u64>,
}

/// How a scan finds its rows.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub enum Access {
    /// Rows by primary key within bounds; empty bounds read the whole table.
    PrimaryKey(KeyBounds),
    /// Entries of `table.indexes[index]` within bounds, and their rows.
    Index {
        /// Position in the table's list of indexes.
        index: usize,
        /// Bounds on the index's columns.
        bounds: KeyBounds,
    },
}

/// Bounds on the leading columns of a key. The expressions hold no columns: they are evaluated
/// when the fragment opens. A `NULL` among them selects nothing.
#[derive(Debug, Clone, PartialEq, Default, Archive, Serialize, Deserialize)]
pub struct KeyBounds {
    /// Values the leading columns are equal to: each element is one point or prefix, and a row
    /// may match any of them (`IN`). All have the same length; empty means no equality.
    pub equal: Vec<Vec<Expression>>,
    /// Lower bound on the column after the equal ones (only with at most one element above).
    pub lower: Option<Bound>,
    /// Upper bound on the same column.
    pub upper: Option<Bound>,
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct Bound {
    /// The value.
    pub value: Expression,
    /// Whether the value itself is in the range.
    pub inclusive: bool,
}

/// Rows given by expressions.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct Values {
    /// All of one length.
    pub rows: Vec<Vec<Expression>>,
    /// Types of the columns.
    pub types: Vec<DataType>,
}

/// Runs a fragment in partitions.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Exchange {
    /// What runs there.
    #[rkyv(omit_bounds, with = Unshared)]
    pub fragment: Arc<Plan>,
    /// Where.
    pub target: Target,
    /// Where not empty, each partition's rows come in this order and are merged.
    pub merge: Vec<SortKey>,
}

/// The partitions a fragment runs in.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub enum Target {
    /// All that share the hash space.
    All,
    /// Those that hold the rows whose partition columns have these values; expressions without
    /// columns, evaluated when the statement starts.
    Keys(Vec<Vec<Expression>>),
    /// The system partition.
    System,
}

/// Keeps rows.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Filter {
    /// The input.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
    /// Must be true.
    pub condition: Expression,
}

/// Computes columns.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Project {
    /// The input.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
    /// One output column each.
    pub expressions: Vec<Expression>,
}

/// Groups and aggregates. Output: the group columns, then one column an aggregate (in
/// [`Phase::Partial`]: the state columns of each).
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Aggregate {
    /// The input.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
    /// Group columns; none makes one group of all rows, even of no rows.
    pub groups: Vec<Expression>,
    /// What is computed for each group.
    pub aggregates: Vec<AggregateCall>,
    /// Which half of the work this node does.
    pub phase: Phase,
}

/// Which half of an aggregation a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum Phase {
    /// All of it.
    Single,
    /// Rows to states; no `DISTINCT`.
    Partial,
    /// States to results: the input is a partial node's output, `groups` are its first columns
    /// and each call's `arguments` its state columns.
    Final,
}

/// One aggregate function applied.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct AggregateCall {
    /// The function.
    pub function: AggregateFunction,
    /// Its arguments; none for `count(*)`.
    pub arguments: Vec<Expression>,
    /// `DISTINCT`
    pub distinct: bool,
    /// `FILTER (WHERE ...)`
    pub filter: Option<Expression>,
    /// Type of the result.
    pub data_type: DataType,
}

/// An aggregate function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum AggregateFunction {
    /// `count(*)` without an argument, `count(x)` with one.
    Count,
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `bool_and`, `every`
    BoolAnd,
    /// `bool_or`
    BoolOr,
    /// `string_agg(x, separator)`
    StringAgg,
    /// `array_agg(x)`, nulls included
    ArrayAgg,
    /// `stddev_samp`, `stddev`
    StddevSamp,
    /// `stddev_pop`
    StddevPop,
    /// `var_samp`, `variance`
    VarSamp,
    /// `var_pop`
    VarPop,
    /// First value met, of a group in which all are equal.
    First,
}

/// A sort key.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct SortKey {
    /// Over the input's columns.
    pub expression: Expression,
    /// `DESC`
    pub descending: bool,
    /// `NULLS FIRST`
    pub nulls_first: bool,
}

/// Sorts stably.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Sort {
    /// The input.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
    /// Most significant first.
    pub keys: Vec<SortKey>,
    /// Only so many first rows are needed: an expression without columns.
    pub limit: Option<Expression>,
}

/// `OFFSET` and `LIMIT`; expressions without columns, `NULL` means absent.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Limit {
    /// The input.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
    /// Rows to pass.
    pub limit: Option<Expression>,
    /// Rows to skip first.
    pub offset: Option<Expression>,
}

/// What a join keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum JoinKind {
    /// Matching pairs.
    Inner,
    /// Also left rows without a match.
    Left,
    /// Also right rows without a match.
    Right,
    /// Both.
    Full,
    /// Left rows with a match; output is the left columns.
    Semi,
    /// Left rows without a match; output is the left columns.
    Anti,
    /// As `Anti`, with the meaning of `NOT IN`: a `NULL` on either side is no certain mismatch.
    NullAwareAnti,
}

/// Joins on equality.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct HashJoin {
    /// Probes.
    #[rkyv(omit_bounds, with = Grown)]
    pub left: Box<Plan>,
    /// Is hashed.
    #[rkyv(omit_bounds, with = Grown)]
    pub right: Box<Plan>,
    /// What is kept.
    pub kind: JoinKind,
    /// Over the left input's columns; as many as `right_keys`.
    pub left_keys: Vec<Expression>,
    /// Over the right input's columns.
    pub right_keys: Vec<Expression>,
    /// Over both inputs' columns, in addition to the keys.
    pub condition: Option<Expression>,
}

/// Joins on any condition.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct NestedLoopJoin {
    /// The outer input.
    #[rkyv(omit_bounds, with = Grown)]
    pub left: Box<Plan>,
    /// The inner input; kept while the join runs.
    #[rkyv(omit_bounds, with = Grown)]
    pub right: Box<Plan>,
    /// What is kept.
    pub kind: JoinKind,
    /// Over both inputs' columns; absent is true.
    pub condition: Option<Expression>,
}

/// Runs `subplan` for each row of `input`, whose columns it sees as `Outer { depth: 0 }`. Output:
/// the input's columns and what `kind` adds.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Apply {
    /// The outer rows.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
    /// The correlated plan.
    #[rkyv(omit_bounds, with = Unshared)]
    pub subplan: Arc<Plan>,
    /// What becomes of its rows.
    pub kind: ApplyKind,
}

/// What an `Apply` adds to each outer row.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub enum ApplyKind {
    /// The value of the only column of the only row; `NULL` without a row, 21000 with two.
    Scalar,
    /// Whether there is a row.
    Exists,
    /// `operand operator ANY (subplan)`, three-valued; `operand` is over the outer columns and the
    /// comparison's right side is the subplan's only column. `IN` is `= ANY`, `ALL` is bound as
    /// `NOT (operand negated-operator ANY ...)`.
    Any {
        /// Left side.
        operand: Expression,
        /// A comparison.
        operator: crate::expression::BinaryOperator,
    },
    /// A lateral join: every row of the subplan beside the outer row.
    Lateral {
        /// Keep outer rows without one (`LEFT JOIN LATERAL`).
        outer: bool,
    },
}

/// The inputs' rows one after the other.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Append {
    /// All with the same column types.
    #[rkyv(omit_bounds, with = Grown)]
    pub inputs: Vec<Plan>,
}

/// Answers the first rows, then runs `step` over and over: each time its working table holds the
/// rows that the run before has answered, until there are none.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Recursive {
    /// Names its working table.
    pub id: usize,
    /// The first rows.
    #[rkyv(omit_bounds, with = Grown)]
    pub first: Box<Plan>,
    /// Answers rows of the same types.
    #[rkyv(omit_bounds, with = Unshared)]
    pub step: Arc<Plan>,
    /// `UNION ALL`; otherwise a row that has been answered is not answered again.
    pub all: bool,
}

/// The rows that the last run of a [`Recursive`]'s step has answered.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct WorkingTable {
    /// Whose.
    pub id: usize,
    /// Types of the columns.
    pub types: Vec<DataType>,
}

/// `INTERSECT` and `EXCEPT`.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct SetOperation {
    /// Left input.
    #[rkyv(omit_bounds, with = Grown)]
    pub left: Box<Plan>,
    /// Right input.
    #[rkyv(omit_bounds, with = Grown)]
    pub right: Box<Plan>,
    /// Which of the two.
    pub kind: SetOperationKind,
    /// `ALL`: duplicates count.
    pub all: bool,
}

/// Which set operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum SetOperationKind {
    /// Rows in both.
    Intersect,
    /// Rows only in the left.
    Except,
}

/// Window functions over one partitioning and order. Output: the input's columns, then one column
/// a call.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Window {
    /// The input, in any order.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
    /// `PARTITION BY`
    pub partition_by: Vec<Expression>,
    /// `ORDER BY`
    pub order_by: Vec<SortKey>,
    /// What is computed.
    pub calls: Vec<WindowCall>,
}

/// One window function applied. Without an order the frame is the whole partition, with one it is
/// everything up to the current row's peers (SQL's default frame).
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct WindowCall {
    /// The function.
    pub function: WindowFunction,
    /// Its arguments.
    pub arguments: Vec<Expression>,
    /// Type of the result.
    pub data_type: DataType,
}

/// A function over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum WindowFunction {
    /// `row_number()`
    RowNumber,
    /// `rank()`
    Rank,
    /// `dense_rank()`
    DenseRank,
    /// An aggregate over the frame.
    Aggregate(AggregateFunction),
}

/// Calls functions that answer several rows, for each row of the input. Output: the input's
/// columns, a column a call, and the number of the row among those of its input row where asked.
/// The calls run side by side; the shorter ones end in nulls.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct ProjectSet {
    /// The input.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
    /// What is called.
    pub calls: Vec<SetCall>,
    /// `WITH ORDINALITY`
    pub ordinality: bool,
    /// Keep input rows for which no call answers.
    pub outer: bool,
}

/// A call of a function that answers several rows.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct SetCall {
    /// The function.
    pub function: SetFunction,
    /// Its arguments, cast to the types it takes.
    pub arguments: Vec<Expression>,
    /// Type of its column.
    pub data_type: DataType,
}

/// A function that answers several rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum SetFunction {
    /// `unnest(array)`: its elements.
    Unnest,
    /// `generate_series(start, stop[, step])`: of integers, numerics or timestamps.
    Series,
    /// `generate_subscripts(array, dimension[, reverse])`
    Subscripts,
    /// Its argument, once: an ordinary function in `FROM`.
    Scalar,
    /// `pg_sleep(seconds)`: one row, after that time.
    Sleep,
}

/// Keeps its input's rows.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Materialize {
    /// Not correlated.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
}

/// Locks the rows that its input's rows come from, and passes those that it has got: no row that
/// has changed since it was read, or that another transaction has locked and `SKIP LOCKED` leaves
/// out.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct LockRows {
    /// The input.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
    /// The tables.
    pub locks: Vec<RowLock>,
    /// Whether the rows' order is of account: they are locked in it.
    pub ordered: bool,
    /// Only as many rows are locked as the `LIMIT` above passes: an expression without columns.
    pub limit: Option<Expression>,
    /// Those that the `OFFSET` above skips are locked, too.
    pub offset: Option<Expression>,
}

/// Changes a table's rows in this partition, with their local index entries. What other
/// partitions must do comes back as effects (see [`crate::command::Effect`]).
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Modify {
    /// The table.
    pub table: Arc<Table>,
    /// `Insert`: complete rows in the table's column order, cast to the columns' types.
    /// `Update` and `Delete`: a locking scan of all the table's columns, in order.
    #[rkyv(omit_bounds, with = Grown)]
    pub input: Box<Plan>,
    /// The change.
    pub change: Change,
    /// `RETURNING`, over the table's columns in order (new ones, of a delete the old ones).
    pub returning: Option<Vec<Expression>>,
}

/// What a [`Modify`] does to its rows.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub enum Change {
    /// Adds rows. `NOT NULL`, `CHECK` and uniqueness are checked here.
    Insert {
        /// What happens where a key exists.
        on_conflict: OnConflict,
    },
    /// What an `ON CONFLICT DO UPDATE` about an index does to the existing rows. Each of the input's
    /// rows is the primary key of one, then the proposed row. An existing row that does not have the
    /// key any more is left alone, and told (see [`crate::command::Modified::lost`]).
    UpdateConflicting {
        /// The index, by its place among the table's.
        index: usize,
        /// The change.
        update: ConflictUpdate,
    },
    /// Sets columns; never columns of the primary key (the router moves such rows).
    Update {
        /// Ordinal and new value, over the old row's columns.
        assignments: Vec<(usize, Expression)>,
    },
    /// Removes rows.
    Delete,
}

/// What an insert does where a unique key exists.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub enum OnConflict {
    /// Fails with 23505.
    Fail,
    /// Leaves the row out, where the key is this one; `None`: whichever it is.
    DoNothing(Option<Arbiter>),
    /// Updates the existing row, where the key is this one.
    DoUpdate(Arbiter, ConflictUpdate),
}

/// The unique key that an `ON CONFLICT` is about: a conflict by another one is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Arbiter {
    /// The primary key.
    PrimaryKey,
    /// A unique index, by its place among the table's.
    Index(usize),
}

/// How an existing row is changed. The expressions see the existing row's columns, then the proposed
/// row's (`excluded`).
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct ConflictUpdate {
    /// Ordinal and new value.
    pub assignments: Vec<(usize, Expression)>,
    /// Only where this is true.
    pub condition: Option<Expression>,
}
