//! SQL: from text to what the router runs.
//!
//! One query's way:
//!
//! ```text
//! SELECT a.title, count(*) FROM album a JOIN track t ON t.album_id = a.album_id
//!  WHERE a.artist_id = $1 GROUP BY a.title
//!
//! parse.rs      text ──► syntax tree                           (sqlparser, limits on depth)
//! binder.rs     names ──► columns, types, casts, parameters    (from.rs, select.rs, query.rs,
//!               syntax tree ──► Logical                         expression.rs, functions.rs, ...)
//! rules/        Logical ──► Logical: conditions sink to the tables, unused columns go,
//!               subqueries become joins                         (one file a rule, one list)
//! physical.rs   Logical ──► Plan: what runs inside the partitions (fragments, below an
//!               Exchange) and what the router does with their rows (the gather tree)
//! ```
//!
//! The gather tree of the query above: `Project ─ Aggregate(final) ─ HashJoin ─ Exchange ─ Scan`.
//! A condition on all columns of a key makes the scan a lookup ([`access`]), and an exchange whose
//! partition columns are known goes to one partition only.
//!
//! Nothing here does I/O or waits; plans are pure functions of catalog, text and settings. A plan
//! may be kept and run again as long as the catalog is the same.

mod access;
mod arrays;
mod as_of;
mod binder;
mod callable;
mod catalog_functions;
mod cluster;
mod copy;
mod cursor;
pub mod ddl;
mod dml;
mod expression;
mod from;
mod functions;
mod grouping;
mod jsonb;
mod key_order;
mod lock;
pub mod logical;
mod maintenance;
mod names;
mod operator_calls;
mod parse;
mod physical;
mod positions;
mod prepared;
mod privilege_functions;
mod query;
mod recursion;
mod reg;
mod relations;
mod renaming;
mod row_locks;
mod rows;
pub mod rules;
mod saga;
mod scope;
mod select;
mod sequence_text;
mod sequences;
mod set_config;
mod set_functions;
mod slots;
mod statement;
mod stored_text;
mod table_as;
#[cfg(test)]
mod tests;
mod transaction;
mod types;
mod view_text;

pub use as_of::AsOf;
pub use callable::{argument_types, is_callable};
pub use catalog_functions::CatalogFunction;
pub use copy::{CopyFormat, CopyIn, CopyOptions, CopyOut, Header};
pub use cursor::{DeclarePlan, FetchPlan, Movement};
pub use dml::{DeletePlan, InsertPlan, InsertSource, UpdatePlan, WriteTarget};
pub use maintenance::{Maintenance, Verb};
pub(crate) use names::check_new as check_new_name;
pub use parse::{Overriding, ParsedStatement, STATEMENT_BYTES_MAX, parse};
pub use prepared::{ExecutePlan, PreparePlan};
pub use query::BoundQuery;
pub use reg::{NamedObject, catalog_objects};
pub(crate) use renaming::{Renamed, renamed_in};
pub use saga::{Compensation, SagaName, SagaPlan, StepPlan, plan_compensation};
pub(crate) use sequence_text::{oids_in as sequence_oids_in, with_oids as with_sequence_oids};
pub use set_config::SET_CONFIG_ARGUMENTS;
pub use statement::{
    Discard, Planned, PlannedKind, PointRead, QueryPlan, SequenceUse, SessionValue, SetStatement,
    plan, plan_of_system,
};
pub(crate) use stored_text::{
    BoundView, bind_check, bind_conversion, bind_default, bind_view, shown_view, type_named,
};
pub use table_as::{RowsOf, TableAsPlan, TableAsStatement};

use crate::catalog::roles::Actor;
use crate::catalog::{Catalog, SearchPath};
use model::types::{DataType, RegKind};
use model::value::Value;
use std::sync::Arc;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
}

/// What planning needs to know of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// The database the session is in.
    pub database: String,
    /// Whose session it is, and as whom it acts.
    pub actor: Actor,
    /// In which schemas it seeks names without one.
    pub path: SearchPath,
    /// The values of its settings by their names in lower case; shared until one changes.
    pub values: SettingValues,
}

impl SessionSettings {
    /// Those by which the system itself reads names, without a session.
    pub fn of_system(database: &str) -> SessionSettings {
        SessionSettings {
            database: database.to_owned(),
            actor: Actor::SYSTEM,
            path: SearchPath::default(),
            values: [].into(),
        }
    }
}

/// Names and values of settings.
pub type SettingValues = Arc<[(&'static str, String)]>;

/// A table whose rows are made when it is named: the node's own state.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualTable {
    /// Names and types.
    pub columns: Vec<(String, DataType)>,
    /// The rows at this moment.
    pub rows: Vec<Vec<Value>>,
    /// They are asked for on all cores of the node as the statement begins.
    pub of_the_node: bool,
    /// They are those of the whole cluster, which is looked at as the statement begins.
    pub of_the_cluster: bool,
    /// Its oid, which the rows have as their `tableoid`; none of PhantomDB's own tables.
    pub oid: Option<u32>,
}

/// Knows the virtual tables: `phantom.nodes`, `information_schema.columns` and their like.
pub trait VirtualTables {
    /// Whether there is a table of that name.
    fn holds(&self, schema: &str, name: &str) -> bool;

    /// The table of that name, or `None` where there is none.
    fn table(
        &self,
        schema: &str,
        name: &str,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Option<VirtualTable>;

    /// The objects of the session's database that the values of a `reg*` type name.
    fn objects(
        &self,
        kind: RegKind,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Vec<NamedObject> {
        catalog_objects(kind, catalog, settings)
    }

    /// The function over the catalog of that name that takes so many arguments; `None` where there
    /// is none.
    fn function(
        &self,
        _name: &str,
        _arguments: usize,
        _catalog: &Catalog,
        _settings: &SessionSettings,
    ) -> Option<CatalogFunction> {
        None
    }
}

/// No virtual tables: for views and table expressions.
pub struct NoVirtualTables;

impl VirtualTables for NoVirtualTables {
    fn holds(&self, _schema: &str, _name: &str) -> bool {
        false
    }

    fn table(
        &self,
        _schema: &str,
        _name: &str,
        _catalog: &Catalog,
        _settings: &SessionSettings,
    ) -> Option<VirtualTable> {
        None
    }
}
