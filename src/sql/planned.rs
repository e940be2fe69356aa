//! What planning gives: everything the router needs to run a statement, again and again.

use super::parse::ParsedStatement;
use crate::catalog::change::DdlStatement;
use model::expression::Expression;
use model::id::{CatalogVersion, ObjectId};
use model::plan::{OnConflict, Plan, Target};
use model::schema::Table;
use model::types::DataType;
use std::sync::Arc;

/// A planned statement. It stays right as long as the catalog's version does, if it is
/// [`Planned::reusable`] at all.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The parameters' types, declared or inferred.
    pub parameters: Vec<DataType>,
    /// The columns of its answer; empty for a statement without rows.
    pub columns: Vec<OutputColumn>,
    /// What the names meant.
    pub catalog_version: CatalogVersion,
    /// All tables it reads or changes.
    pub tables: Vec<ObjectId>,
    /// Whether it may run more than once. One that reads a virtual table holds that table's rows.
    pub reusable: bool,
    /// What to do.
    pub kind: PlannedKind,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
}

/// What a statement does.
#[derive(Debug, Clone)]
pub enum PlannedKind {
    /// Answers rows.
    Query(QueryPlan),
    /// Adds rows.
    Insert(InsertPlan),
    /// Changes or removes rows where they are.
    Modify(ModifyPlan),
    /// Changes rows that a query finds.
    UpdateByQuery(UpdateByQuery),
    /// Removes rows that a query finds.
    DeleteByQuery(DeleteByQuery),
    /// Changes the schema.
    Ddl(DdlStatement),
    /// `BEGIN`
    Begin,
    /// `COMMIT`
    Commit,
    /// `ROLLBACK`
    Rollback,
    /// `EXPLAIN [ANALYZE]`
    Explain {
        /// The statement explained.
        inner: Box<Planned>,
        /// Also run it.
        analyze: bool,
    },
    /// `SET name = value`; no value is `DEFAULT`.
    Set {
        /// In lower case.
        name: String,
        /// As text.
        value: Option<String>,
    },
    /// `SHOW name`; `all` for all.
    Show {
        /// In lower case.
        name: String,
    },
    /// `RESET name`; `None` for all.
    Reset {
        /// In lower case.
        name: Option<String>,
    },
    /// `PREPARE name (types) AS statement`
    Prepare {
        /// The name.
        name: String,
        /// Declared parameter types.
        parameters: Vec<Option<DataType>>,
        /// The statement.
        statement: Box<ParsedStatement>,
    },
    /// `EXECUTE name (values)`
    Execute {
        /// The name.
        name: String,
        /// Without columns; of unknown or any type, cast by the router to the parameters' types.
        values: Vec<Expression>,
    },
    /// `DEALLOCATE name`; `None` for all.
    Deallocate {
        /// The name.
        name: Option<String>,
    },
}

/// A query.
#[derive(Debug, Clone)]
pub struct QueryPlan {
    /// The router's tree.
    pub plan: Arc<Plan>,
    /// The same by a single read, where the whole primary key is given.
    pub point: Option<PointRead>,
}

/// One row by its primary key.
#[derive(Debug, Clone, PartialEq)]
pub struct PointRead {
    /// The table.
    pub table: Arc<Table>,
    /// The key in key order; expressions without columns, cast to the columns' types.
    pub key: Vec<Expression>,
    /// The output, over the table's columns in order.
    pub projection: Vec<Expression>,
    /// Over the table's columns; must be true as well.
    pub filter: Option<Expression>,
}

/// `INSERT`
#[derive(Debug, Clone)]
pub struct InsertPlan {
    /// The table.
    pub table: Arc<Table>,
    /// The rows: complete, in the table's column order, cast to the columns' types. A hidden key
    /// column holds `NULL`; the router fills it.
    pub source: InsertSource,
    /// What happens where the primary key exists.
    pub on_conflict: OnConflict,
    /// `RETURNING`, over the table's columns.
    pub returning: Option<Vec<Expression>>,
}

/// Where inserted rows come from.
#[derive(Debug, Clone)]
pub enum InsertSource {
    /// Expressions without columns.
    Values(Arc<Vec<Vec<Expression>>>),
    /// A query.
    Query(Arc<Plan>),
}

/// `UPDATE` or `DELETE` that every partition can do on its own.
#[derive(Debug, Clone)]
pub struct ModifyPlan {
    /// Where.
    pub target: Target,
    /// A [`Plan::Modify`] over a locking scan.
    pub modify: Arc<Plan>,
    /// `UPDATE`; else `DELETE`.
    pub update: bool,
}

/// `UPDATE` with joins or subqueries, or one that changes primary keys.
#[derive(Debug, Clone)]
pub struct UpdateByQuery {
    /// The table.
    pub table: Arc<Table>,
    /// Yields the old primary key's columns in key order, then the complete new row. A row found
    /// twice counts once.
    pub source: Arc<Plan>,
    /// `RETURNING`, over the table's columns.
    pub returning: Option<Vec<Expression>>,
    /// Whether primary keys change, so that rows may move to other partitions.
    pub moves_rows: bool,
}

/// `DELETE` with joins or subqueries.
#[derive(Debug, Clone)]
pub struct DeleteByQuery {
    /// The table.
    pub table: Arc<Table>,
    /// Yields the primary key's columns in key order. A row found twice counts once.
    pub source: Arc<Plan>,
    /// `RETURNING`, over the table's columns.
    pub returning: Option<Vec<Expression>>,
}

impl PlannedKind {
    /// The command tag without counts; `INSERT`, `SELECT`, `UPDATE` and `DELETE` are followed by
    /// the number of rows (`INSERT` by `0` and the number).
    pub fn tag(&self) -> &'static str {
        match self {
            PlannedKind::Query(_) => "SELECT",
            PlannedKind::Insert(_) => "INSERT",
            PlannedKind::Modify(plan) if plan.update => "UPDATE",
            PlannedKind::UpdateByQuery(_) => "UPDATE",
            PlannedKind::Modify(_) | PlannedKind::DeleteByQuery(_) => "DELETE",
            PlannedKind::Ddl(ddl) => ddl.tag(),
            PlannedKind::Begin => "BEGIN",
            PlannedKind::Commit => "COMMIT",
            PlannedKind::Rollback => "ROLLBACK",
            PlannedKind::Explain { .. } => "EXPLAIN",
            PlannedKind::Set { .. } => "SET",
            PlannedKind::Show { .. } => "SHOW",
            PlannedKind::Reset { .. } => "RESET",
            PlannedKind::Prepare { .. } => "PREPARE",
            PlannedKind::Execute { .. } => "EXECUTE",
            PlannedKind::Deallocate { .. } => "DEALLOCATE",
        }
    }
}
