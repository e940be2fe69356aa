//! SQL: from the text of a statement to the plans that partitions and routers run.
//!
//! ```text
//! SELECT name, count(*) FROM artist JOIN album USING (artist_id) WHERE artist_id < 100 GROUP BY name
//!
//! parse      text -> tokens -> syntax tree; nothing deeper than the limits passes
//! bind       names -> columns, types decided, casts written down: the logical plan
//! rules      a list of rewritings, each in its own file (rules/mod.rs shows their order)
//! physical   what runs inside partitions (below an Exchange) and what in the router (above)
//!
//! Aggregate (final)
//!   Exchange
//!     Aggregate (partial)
//!       HashJoin                 both tables lie where artist_id hashes to,
//!         Scan album             so that their rows meet inside one partition
//!         Scan artist            bounds on the key: artist_id < 100
//! ```
//!
//! Everything here is a pure function of the statement, a catalog snapshot and the session's
//! settings: no I/O, no tasks, no clock. A [`Planned`] statement is kept and run again, with other
//! parameters, as long as the catalog's version stays.
//!
//! Where PostgreSQL has a meaning for what is written, that is the meaning here; what is not
//! supported is refused with 0A000, never ignored. `DOUBLE` and `STRING` are taken as names of
//! `double precision` and `text`, which PostgreSQL does not do, and a subquery in `FROM` needs no
//! alias.
//!
//! What is not done: recursive queries, window frames other than the default, grouping sets,
//! sequences, estimates from real statistics (sizes are guessed, see `physical/estimate.rs`), and
//! joins that send one side to the other's partitions: tables that are not partitioned alike are
//! joined in the router.

mod bind;
mod binder;
mod ddl;
mod dml;
mod expression;
mod from;
mod functions;
mod grouping;
mod information_schema;
mod logical;
pub(crate) mod names;
mod parse;
mod physical;
mod planned;
mod query;
mod rules;
mod scope;
mod select;
mod slots;
mod statement;
mod types;

pub(crate) use bind::{bind_check, bind_default, type_named};
pub use parse::{CHAIN_MAX, NESTING_MAX, ParsedStatement, parse};
pub use planned::{
    DeleteByQuery, InsertPlan, InsertSource, ModifyPlan, OutputColumn, Planned, PlannedKind,
    PointRead, QueryPlan, UpdateByQuery,
};
pub use statement::plan;

use model::types::DataType;
use model::value::Value;

/// What a session decides about the meaning of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// Schemas searched for names without one, in order; new relations are made in the first.
    pub search_path: Vec<String>,
}

/// Tables whose rows the node makes up when they are read, such as `phantom.nodes`. Their rows
/// become part of the plan, which then is not [`Planned::reusable`].
pub trait VirtualTables {
    /// The table of this schema and name, if there is one.
    fn table(&self, schema: &str, name: &str) -> Option<VirtualTable>;
}

/// A virtual table at this moment.
#[derive(Debug, Clone)]
pub struct VirtualTable {
    /// Names and types.
    pub columns: Vec<(String, DataType)>,
    /// Rows of values of those types.
    pub rows: Vec<Vec<Value>>,
}
