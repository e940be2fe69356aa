//! `CREATE TABLE ... AS` and `SELECT ... INTO`: a table made of the rows of a query.
//!
//! The planner says what the query is and what the table is called. What its columns are follows
//! from those of the query, which of an `EXECUTE` only the session knows.

use super::binder::Binder;
use super::ddl::{self, NewColumn, NewTable, RelationName};
use super::logical::Logical;
use super::names::{check_new, fold};
use super::physical::physical;
use super::prepared::{ExecutePlan, ExecuteStatement};
use super::query::BoundQuery;
use super::rules;
use super::statement::{PlannedKind, QueryPlan, query_plan};
use super::{OutputColumn, SessionSettings};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::types::DataType;
use sqlparser::ast::{self, CreateTableOptions, Expr, Ident, ObjectName, SetExpr, SqlOption};

/// A parsed `CREATE TABLE ... AS`.
#[derive(Debug, Clone)]
pub struct TableAsStatement {
    pub(super) head: TableAsHead,
    pub(super) source: WrittenSource,
    pub(super) with_data: bool,
}

/// What stands before the query.
#[derive(Debug, Clone)]
pub(super) struct TableAsHead {
    pub(super) name: ObjectName,
    pub(super) temporary: bool,
    pub(super) if_not_exists: bool,
    pub(super) columns: Vec<Ident>,
    pub(super) options: Vec<SqlOption>,
}

/// Where the rows come from.
#[derive(Debug, Clone)]
pub(super) enum WrittenSource {
    Query(Box<ast::Query>),
    Execute(ExecuteStatement),
}

/// `CREATE TABLE ... AS`, `SELECT ... INTO`
#[derive(Debug, Clone, PartialEq)]
pub struct TableAsPlan {
    /// What the statement is called.
    pub verb: &'static str,
    /// The table's name.
    pub name: RelationName,
    /// Do nothing where it exists.
    pub if_not_exists: bool,
    /// The names of its first columns, where they are given.
    pub names: Vec<String>,
    /// Where its rows come from.
    pub source: RowsOf,
    /// Whether it gets the rows.
    pub with_data: bool,
}

/// What makes the rows.
#[derive(Debug, Clone, PartialEq)]
pub enum RowsOf {
    /// A query.
    Query {
        /// Its plan.
        query: QueryPlan,
        /// Its columns.
        columns: Vec<OutputColumn>,
    },
    /// A prepared one.
    Execute(ExecutePlan),
}

impl Binder<'_> {
    pub(super) fn bind_table_as(
        &self,
        statement: &TableAsStatement,
        settings: &SessionSettings,
    ) -> Result<TableAsPlan, SqlError> {
        let TableAsStatement { head, source, with_data } = statement;
        if head.temporary {
            return Err(SqlError::unsupported("a temporary table"));
        }
        ddl::check_storage(&CreateTableOptions::With(head.options.clone()))?;
        let source = match source {
            WrittenSource::Query(query) => self.bind_rows_of(query)?,
            WrittenSource::Execute(execute) => match self.bind_execute(execute)? {
                PlannedKind::Execute(execute) => RowsOf::Execute(execute),
                _ => return Err(SqlError::internal("an EXECUTE is bound as something else")),
            },
        };
        let name = ddl::qualified(&head.name, settings)?;
        check_new(&name.name)?;
        let names = head.columns.iter().map(|name| {
            let name = fold(name);
            check_new(&name).map(|()| name)
        });
        Ok(TableAsPlan {
            verb: "CREATE TABLE AS",
            name,
            if_not_exists: head.if_not_exists,
            names: names.collect::<Result<_, _>>()?,
            source,
            with_data: *with_data,
        })
    }

    /// One that stands inside another statement, which explains it.
    pub(super) fn bind_create_table_as(
        &self,
        create: &ast::CreateTable,
        settings: &SessionSettings,
    ) -> Result<PlannedKind, SqlError> {
        let query = create.query.clone().filter(|_| create.columns.is_empty());
        let Some(query) = query else { return Err(syntax_error("AS")) };
        let changes = match query.body.as_ref() {
            SetExpr::Insert(_) => Some("INSERT"),
            SetExpr::Update(_) => Some("UPDATE"),
            SetExpr::Delete(_) => Some("DELETE"),
            _ => None,
        };
        if let Some(verb) = changes {
            return Err(syntax_error(verb));
        }
        let head = TableAsHead {
            name: create.name.clone(),
            temporary: create.temporary,
            if_not_exists: create.if_not_exists,
            columns: Vec::new(),
            options: Vec::new(),
        };
        let source = WrittenSource::Query(query);
        self.bind_table_as(&TableAsStatement { head, source, with_data: true }, settings)
            .map(|plan| PlannedKind::TableAs(Box::new(plan)))
    }

    /// A query that says `INTO`; `None` where it does not.
    pub(super) fn bind_select_into(
        &self,
        query: &ast::Query,
        settings: &SessionSettings,
    ) -> Result<Option<PlannedKind>, SqlError> {
        if into_of(&query.body).is_none() {
            return Ok(None);
        }
        let mut query = query.clone();
        let Some(into) = take_into(&mut query.body) else { return Ok(None) };
        let [target] = into.targets.as_slice() else {
            return Err(syntax_error(","));
        };
        let parts = match target {
            Expr::Identifier(name) => vec![name.clone()],
            Expr::CompoundIdentifier(names) => names.clone(),
            other => return Err(syntax_error(&other.to_string())),
        };
        let head = TableAsHead {
            name: ObjectName::from(parts),
            temporary: into.temporary,
            if_not_exists: false,
            columns: Vec::new(),
            options: Vec::new(),
        };
        let source = WrittenSource::Query(Box::new(query));
        let statement = TableAsStatement { head, source, with_data: true };
        let plan = TableAsPlan { verb: "SELECT INTO", ..self.bind_table_as(&statement, settings)? };
        Ok(Some(PlannedKind::TableAs(Box::new(plan))))
    }

    /// The query, every column of a type that can be stored.
    fn bind_rows_of(&self, query: &ast::Query) -> Result<RowsOf, SqlError> {
        let BoundQuery { plan, columns } = self.bind_query(query, None)?;
        if let Some(locks) = self.row_locks.get() {
            let command = locks.command;
            return Err(SqlError::unsupported(format!("{command} in CREATE TABLE AS")));
        }
        let (plan, columns) = self.storable(plan, columns)?;
        let query = query_plan(physical(rules::optimize(plan)));
        Ok(RowsOf::Query { query, columns })
    }

    fn storable(
        &self,
        plan: Logical,
        mut columns: Vec<OutputColumn>,
    ) -> Result<(Logical, Vec<OutputColumn>), SqlError> {
        let mut values = Vec::with_capacity(columns.len());
        for (at, column) in columns.iter_mut().enumerate() {
            let value = Expression::column(at, column.data_type);
            let value = match column.data_type {
                DataType::Void => {
                    return Err(SqlError::new(
                        SqlState::INVALID_TABLE_DEFINITION,
                        format!("column \"{}\" has pseudo-type void", column.name),
                    ));
                }
                _ => self.decided(value),
            };
            column.data_type = value.data_type();
            values.push(value);
        }
        Ok((plan.project(values), columns))
    }
}

impl TableAsPlan {
    /// The command tag. Of an `EXECUTE` it counts rows even where none are taken.
    pub fn tag(&self, rows: u64) -> String {
        match self.with_data || matches!(self.source, RowsOf::Execute(_)) {
            true => format!("SELECT {rows}"),
            false => "CREATE TABLE AS".to_owned(),
        }
    }

    /// The table to create, once the columns of the query are known.
    ///
    /// # Errors
    /// 42601 where more columns are named than there are.
    pub fn table(&self, columns: &[OutputColumn]) -> Result<NewTable, SqlError> {
        if self.names.len() > columns.len() {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "too many column names were specified",
            ));
        }
        let rest = columns.iter().skip(self.names.len()).map(|column| &column.name);
        let names = self.names.iter().chain(rest);
        let columns = names.zip(columns).map(|(name, column)| NewColumn {
            name: name.clone(),
            data_type: column.data_type,
            nullable: true,
            default: None,
            sequence: None,
        });
        Ok(NewTable {
            name: self.name.clone(),
            if_not_exists: self.if_not_exists,
            columns: columns.collect(),
            constraints: Vec::new(),
            partition_by: None,
            storage: None,
            likes: Vec::new(),
        })
    }
}

/// 42601: a query that is part of something makes no table.
pub(super) fn into_not_allowed() -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, "SELECT ... INTO is not allowed here")
}

fn syntax_error(at: &str) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{at}\""))
}

/// The `INTO` of a query: that of its first `SELECT`.
fn into_of(body: &SetExpr) -> Option<&ast::SelectInto> {
    match body {
        SetExpr::Select(select) => select.into.as_ref(),
        SetExpr::SetOperation { left, .. } => into_of(left),
        _ => None,
    }
}

fn take_into(body: &mut SetExpr) -> Option<ast::SelectInto> {
    match body {
        SetExpr::Select(select) => select.into.take(),
        SetExpr::SetOperation { left, .. } => take_into(left),
        _ => None,
    }
}
