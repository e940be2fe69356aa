//! `COPY`: what is copied, between whom, and in which form.

mod options;

pub use options::{CopyFormat, CopyOptions, Header};

use super::SessionSettings;
use super::binder::Binder;
use super::dml::{InsertPlan, InsertSource};
use super::names::{fold, relation_name};
use super::statement::{Planned, PlannedKind, bind_statement};
use crate::catalog::Relation;
use crate::catalog::privileges::Privileges;
use model::error::{SqlError, SqlState};
use model::plan::OnConflict;
use sqlparser::ast::{Expr, Ident, ObjectName, Statement};

/// A parsed `COPY`.
#[derive(Debug, Clone)]
pub struct CopyStatement {
    pub(super) subject: CopySubject,
    /// Whether rows come in.
    pub(super) from: bool,
    pub(super) place: Place,
    pub(super) options: Vec<WrittenOption>,
    /// `WHERE`, which only rows that come in have.
    pub(super) condition: Option<Expr>,
}

/// What is copied.
#[derive(Debug, Clone)]
pub(super) enum CopySubject {
    /// A table, or some of its columns.
    Table { name: ObjectName, columns: Vec<Ident> },
    /// The rows of a statement.
    Statement(Box<Statement>),
}

/// The other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The client.
    Client,
    /// A file of the server's host.
    File,
    /// A program on the server's host.
    Program,
}

/// An option as it is written.
#[derive(Debug, Clone)]
pub(super) struct WrittenOption {
    /// In small letters.
    pub(super) name: String,
    pub(super) value: OptionValue,
}

/// What stands behind an option's name.
#[derive(Debug, Clone)]
pub(super) enum OptionValue {
    None,
    Text(String),
    /// `*`
    All,
    Columns(Vec<String>),
}

/// `COPY ... FROM STDIN`
#[derive(Debug, Clone, PartialEq)]
pub struct CopyIn {
    /// The table, and what its columns are where the client gives no value. Its source is empty:
    /// the rows come from the client.
    pub insert: InsertPlan,
    /// Ordinals of the columns that the client gives, in its order.
    pub targets: Vec<usize>,
    /// The form of the client's data.
    pub options: CopyOptions,
}

/// `COPY ... TO STDOUT`
#[derive(Debug, Clone, PartialEq)]
pub struct CopyOut {
    /// Whose rows are copied.
    pub inner: Box<Planned>,
    /// The form of the data.
    pub options: CopyOptions,
}

impl Binder<'_> {
    pub(super) fn bind_copy(
        &self,
        copy: &CopyStatement,
        settings: &SessionSettings,
    ) -> Result<PlannedKind, SqlError> {
        check_place(copy)?;
        // A kept plan would save nothing: the rows are what takes time.
        self.uncacheable.set(true);
        match &copy.subject {
            CopySubject::Table { name, columns } if copy.from => {
                self.bind_copy_in(copy, name, columns).map(PlannedKind::CopyIn)
            }
            CopySubject::Table { name, columns } => {
                let query = self.query_of_table(name, columns)?;
                self.bind_copy_out(copy, &query, settings)
            }
            CopySubject::Statement(statement) => self.bind_copy_out(copy, statement, settings),
        }
    }

    fn bind_copy_in(
        &self,
        copy: &CopyStatement,
        name: &ObjectName,
        columns: &[Ident],
    ) -> Result<CopyIn, SqlError> {
        if copy.condition.is_some() {
            return Err(SqlError::unsupported("COPY FROM with WHERE"));
        }
        self.refuse_view(name, "to", None)?;
        let table = self.changed_table(name)?;
        self.requires(table.id, Privileges::INSERT);
        let names: Vec<ObjectName> =
            columns.iter().map(|column| ObjectName::from(vec![column.clone()])).collect();
        let targets = self.insert_columns(&table, &names)?;
        let target_names = targets.iter().map(|&ordinal| table.columns[ordinal].name.as_str());
        let options = options::bind(&copy.options, true, &target_names.collect::<Vec<_>>())?;
        let defaults = self.complete_row(&table, &[], Vec::new())?;
        let source = InsertSource::Values(vec![defaults]);
        let insert = InsertPlan { table, source, on_conflict: OnConflict::Fail, returning: None };
        Ok(CopyIn { insert, targets, options })
    }

    fn bind_copy_out(
        &self,
        copy: &CopyStatement,
        statement: &Statement,
        settings: &SessionSettings,
    ) -> Result<PlannedKind, SqlError> {
        let (kind, columns) = bind_statement(self, statement, settings)?;
        match &kind {
            PlannedKind::Query(_) => {}
            PlannedKind::TableAs(_) => {
                let message = "COPY (SELECT INTO) is not supported";
                return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
            PlannedKind::Insert(_) | PlannedKind::Update(_) | PlannedKind::Delete(_) => {
                if columns.is_empty() {
                    let message = "COPY query must have a RETURNING clause";
                    return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
                }
            }
            _ => {
                let message = "COPY takes SELECT, VALUES, INSERT, UPDATE or DELETE";
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
            }
        }
        if !self.parameter_types().is_empty() {
            return Err(no_parameters());
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let options = options::bind(&copy.options, false, &names)?;
        let inner = Box::new(self.inner(kind, columns));
        Ok(PlannedKind::CopyOut(CopyOut { inner, options }))
    }

    /// A table's columns as a query.
    fn query_of_table(&self, name: &ObjectName, columns: &[Ident]) -> Result<Statement, SqlError> {
        let hint = "Try the COPY (SELECT ...) TO variant.";
        self.refuse_view(name, "from", Some(hint))?;
        let (schema, table) = relation_name(name)?;
        let relation = self.relation(schema.as_deref(), &table);
        let list: Vec<String> = match (relation, columns) {
            (Some(Relation::Table(table)), []) => {
                let names = table.visible().map(|ordinal| &table.columns[ordinal].name);
                names.map(|name| Ident::with_quote('"', name).to_string()).collect()
            }
            (Some(Relation::Table(table)), columns) => {
                let names = columns.iter().map(fold);
                let known =
                    names.map(|name| super::dml::column_ordinal(table, &name).map(|_| name));
                let known = known.collect::<Result<Vec<_>, _>>()?;
                known.iter().map(|name| Ident::with_quote('"', name).to_string()).collect()
            }
            // The system's own tables, and those that do not exist, which the query tells.
            (_, []) => vec!["*".to_owned()],
            (_, columns) => columns.iter().map(Ident::to_string).collect(),
        };
        let query = super::parse::parse_query(&format!("SELECT {} FROM {name}", list.join(", ")))?;
        Ok(Statement::Query(Box::new(query)))
    }

    fn refuse_view(
        &self,
        name: &ObjectName,
        direction: &str,
        hint: Option<&str>,
    ) -> Result<(), SqlError> {
        let (schema, name) = relation_name(name)?;
        let relation = self.relation(schema.as_deref(), &name);
        let Some(Relation::View(_)) = relation else { return Ok(()) };
        let message = format!("cannot copy {direction} view \"{name}\"");
        let error = SqlError::new(SqlState::WRONG_OBJECT_TYPE, message);
        Err(match hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }
}

fn check_place(copy: &CopyStatement) -> Result<(), SqlError> {
    let direction = if copy.from { "FROM" } else { "TO" };
    let what = match copy.place {
        Place::Client => return Ok(()),
        Place::File => "a file of the server",
        Place::Program => "a program of the server",
    };
    Err(SqlError::unsupported(format!("COPY {direction} {what}")).hint(
        "COPY FROM STDIN and COPY TO STDOUT copy through the client. \
         psql's \\copy command reads and writes files of the client.",
    ))
}

fn no_parameters() -> SqlError {
    SqlError::new(SqlState::UNDEFINED_PARAMETER, "COPY takes no parameters")
}
