//! Execution: operators that pull batches of rows through a plan.
//!
//! A [`Plan`] is data; [`open`] turns it into a tree of [`Operator`]s. The same operators run in
//! two places. In a partition the leaves are scans, which read through a [`RowStore`]: one
//! partition at one snapshot for one transaction. In the router the leaves are exchanges, which
//! read through a [`Gather`]: the batches that the partitions' fragments answer.
//!
//! ```text
//!   Sort            router: open(plan) with a Gather
//!     Aggregate (Final)
//!       Exchange  --- messages --->  Aggregate (Partial)      partition: open(fragment) with a RowStore
//!                                      Filter, Scan
//! ```
//!
//! * An operator is pulled: `next` answers one batch (about [`model::batch::BATCH_ROWS`] rows) or
//!   the end. It awaits only where its input does; work on a batch is plain loops over columns.
//!   Long loops between two awaits call `runtime::task::yield_if_due`, so that no step of the core
//!   is long.
//! * Expressions are evaluated over whole batches ([`evaluate`]), with loops over typed columns
//!   where the types allow and value by value elsewhere. What is not needed is not evaluated: a
//!   branch of a `CASE` that no row takes cannot fail.
//! * What an operator keeps is counted in the statement's [`memory::MemoryAccount`]. What does not
//!   fit is refused with 53200, and the node stays up.
//! * A plan that changes rows has a `Modify` at its top, which is no operator: [`modify::modify`]
//!   runs it and answers what happened and what other partitions must do.
//!
//! Everything here belongs to the core it was opened on (`Rc` inside). A statement is cancelled
//! by its context's flag, which every operator that loops looks at, or by dropping the operator.
//!
//! What is not done: operators do not run in parallel inside a partition, and nothing
//! spills to files yet: a sort, hash join or aggregation has to fit into the statement's memory.

mod aggregate;
mod append;
mod apply;
pub mod backends;
mod bounds;
pub mod cast;
pub mod context;
pub mod decimal;
pub mod evaluate;
mod exchange;
pub mod explain;
mod filter;
pub mod functions;
mod grouping;
pub mod input;
mod join;
mod kept;
pub mod keys;
mod limit;
mod lock_rows;
mod materialize;
pub mod memory;
pub mod modify;
mod open;
pub mod operators;
mod outer;
mod project;
mod project_set;
mod recursive;
mod scan;
mod seconds;
pub mod sequences;
mod set_operation;
mod shape;
mod sort;
pub mod store;
mod values;
mod window;

pub use aggregate::state_types;
pub use context::{ExecContext, Gather, Operator, SessionIdentity};
pub use exchange::target_hashes;
pub use lock_rows::{Locking, RowLocker};
pub use materialize::Materialized;
pub use modify::modify;
pub use open::open;
pub use shape::output_types;
pub use store::{Purpose, RowCursor, RowStore, StoredRow};

#[cfg(test)]
mod tests;
