//! From a parsed statement to what the router and the session carry out.

use super::as_of::AsOf;
use super::binder::Binder;
use super::copy::{CopyIn, CopyOut};
use super::cursor::{DeclarePlan, FetchPlan};
use super::ddl::{self, DdlStatement};
use super::dml::{BoundChange, DeletePlan, InsertPlan, UpdatePlan, WriteTarget};
use super::maintenance::Maintenance;
use super::names::fold;
use super::parse::{ParsedStatement, Syntax};
use super::physical::physical;
use super::prepared::{ExecutePlan, PreparePlan};
use super::query::BoundQuery;
use super::rules;
use super::saga::SagaPlan;
use super::table_as::TableAsPlan;
use super::transaction;
use super::{OutputColumn, SessionSettings, VirtualTables};
use crate::catalog::{Catalog, SearchPath};
use crate::cluster::wants::Wish;
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::{CatalogVersion, ObjectId};
use model::plan::{Access, Plan, Target};
use model::schema::Table;
use model::types::DataType;
use shards::exec::functions::quote_identifier;
use sqlparser::ast::{self, Statement};
use std::sync::Arc;

/// A planned statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Types of its parameters.
    pub parameters: Vec<DataType>,
    /// Columns of its result; none for a statement without rows.
    pub columns: Vec<OutputColumn>,
    /// The catalog it was planned with.
    pub catalog_version: CatalogVersion,
    /// The role it was planned for: its privileges were looked at.
    pub role: ObjectId,
    /// Where its names without a schema were sought.
    pub path: SearchPath,
    /// The tables and views it depends on.
    pub tables: Vec<ObjectId>,
    /// Whether the same text may use it again while the catalog is the same.
    pub cacheable: bool,
    /// What the client is told of how it is written.
    pub warnings: Vec<SqlError>,
    /// It asks for the sessions of the node, whose rows are there only in a plan that was made with
    /// a view of them.
    pub views_node: bool,
    /// It looks at the cluster.
    pub views_cluster: bool,
    /// The time that it reads, where that is not now.
    pub as_of: Option<AsOf>,
    /// How it locks rows, where it does.
    pub row_locks: Option<RowLocks>,
    /// What it does with sequences.
    pub sequences: SequenceUse,
    /// What it takes of the session as further parameters, behind its own.
    pub session_values: Vec<SessionValue>,
    /// What to do.
    pub kind: PlannedKind,
}

/// How a statement locks rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLocks {
    /// What it is called by that: `SELECT FOR UPDATE` or its kin.
    pub command: &'static str,
    /// It leaves rows out that others have locked: what it reads is not all there is.
    pub skips: bool,
}

/// What a statement does with sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceUse {
    /// Nothing.
    None,
    /// It looks at them.
    Reads,
    /// It changes them, by this function.
    Changes(&'static str),
}

/// What a session was given of sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionValue {
    /// `currval` of the sequence with this oid.
    Current(i64),
    /// `lastval()`
    Last,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq)]
pub enum PlannedKind {
    /// Nothing at all: a text without a statement, prepared.
    Empty,
    /// Reads.
    Query(QueryPlan),
    /// `INSERT`
    Insert(InsertPlan),
    /// `UPDATE`
    Update(UpdatePlan),
    /// `DELETE`
    Delete(DeletePlan),
    /// `COPY ... FROM STDIN`
    CopyIn(CopyIn),
    /// `COPY ... TO STDOUT`
    CopyOut(CopyOut),
    /// `VACUUM`, `ANALYZE`
    Maintenance(Maintenance),
    /// `ALTER SYSTEM`
    Wish(Wish),
    /// Changes the schema.
    Ddl(DdlStatement),
    /// `CREATE TABLE ... AS`, `SELECT ... INTO`
    TableAs(Box<TableAsPlan>),
    /// `BEGIN`, with settings of the transaction.
    Begin(Vec<SetStatement>),
    /// `SET TRANSACTION`, `SET SESSION CHARACTERISTICS`
    SetTransaction(Vec<SetStatement>),
    /// `SET TRANSACTION SNAPSHOT`, with what another transaction has called its snapshot.
    ImportSnapshot(String),
    /// `COMMIT`
    Commit,
    /// `ROLLBACK`
    Rollback,
    /// `SAVEPOINT`
    Savepoint(String),
    /// `ROLLBACK TO`
    RollbackTo(String),
    /// `RELEASE`
    Release(String),
    /// What begins, goes on and ends a saga.
    Saga(SagaPlan),
    /// `EXPLAIN`
    Explain {
        /// What is explained.
        inner: Box<Planned>,
        /// Whether it is run too.
        analyze: bool,
    },
    /// `SET`, `RESET`
    Set(SetStatement),
    /// `PREPARE`
    Prepare(Box<PreparePlan>),
    /// `EXECUTE`, whose columns are those of what it runs.
    Execute(ExecutePlan),
    /// `DECLARE`
    Declare(Box<DeclarePlan>),
    /// `FETCH`, `MOVE`; the columns are those of the cursor.
    Fetch(FetchPlan),
    /// `CLOSE` of one cursor, or of all.
    Close(Option<String>),
    /// `DEALLOCATE` of one prepared statement, or of all.
    Deallocate(Option<String>),
    /// `DISCARD`
    Discard(Discard),
    /// `UNLISTEN`, which nothing is to be done for: nobody listens.
    Unlisten,
    /// `LOCK TABLE`: no change of the schema takes place in its tables until the transaction ends.
    LockTables,
    /// `SELECT set_config(...)`: a query of the arguments of all calls.
    SetConfig(QueryPlan),
    /// `SHOW`
    Show {
        /// The setting, or `all`.
        name: String,
    },
}

/// What a session forgets by `DISCARD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// All that the client has made it keep: settings, prepared statements.
    All,
    /// Plans, which are made again when the catalog changes anyway.
    Plans,
    /// Temporary tables, of which there are none.
    Temporary,
    /// What the session holds of sequences.
    Sequences,
}

impl Discard {
    fn tag(self) -> &'static str {
        match self {
            Discard::All => "DISCARD ALL",
            Discard::Plans => "DISCARD PLANS",
            Discard::Temporary => "DISCARD TEMP",
            Discard::Sequences => "DISCARD SEQUENCES",
        }
    }
}

/// `SET name = value`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetStatement {
    /// The setting.
    pub name: String,
    /// Its value as text; `None` resets it.
    pub value: Option<String>,
    /// `SET LOCAL`: until the transaction ends.
    pub local: bool,
}

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryPlan {
    /// The router's plan.
    pub plan: Arc<Plan>,
    /// The same as a lookup of one row, where it is one.
    pub point: Option<PointRead>,
}

/// One row by its whole primary key.
#[derive(Debug, Clone, PartialEq)]
pub struct PointRead {
    /// The table.
    pub table: Arc<Table>,
    /// Values of the key columns, in key order: expressions without columns.
    pub key: Vec<Expression>,
    /// Ordinals of the columns that the other two read.
    pub columns: Vec<usize>,
    /// What else must hold, over `columns`.
    pub filter: Option<Expression>,
    /// The result's columns, over `columns`; `None`: they are `columns` themselves.
    pub projection: Option<Vec<Expression>>,
}

/// Plans a statement. `parameter_types` are those the client declares.
pub fn plan(
    statement: &ParsedStatement,
    catalog: &Catalog,
    settings: &SessionSettings,
    virtual_tables: &dyn VirtualTables,
    parameter_types: &[Option<DataType>],
) -> Result<Planned, SqlError> {
    // What is taken of the session stands behind the statement's own parameters, whose number is
    // known for sure when it has been bound.
    let mut own = Some(parameter_types.len());
    loop {
        let mut binder = Binder::new(catalog, settings, virtual_tables, parameter_types);
        binder.own_parameters = own;
        let planned = plan_with(&binder, statement, settings)?;
        if planned.session_values.is_empty() {
            return Ok(planned);
        }
        let parameters = Some(planned.parameters.len());
        let wanted = match binder.changes_sequences.get() {
            Some(_) => None,
            None => parameters,
        };
        if wanted == own {
            return Ok(planned);
        }
        own = wanted;
    }
}

/// Plans a statement of the server's own, which may change the system's tables.
pub fn plan_of_system(text: &str, catalog: &Catalog) -> Result<Planned, SqlError> {
    let statements = super::parse::parse(text)?;
    let [statement] = statements.as_slice() else {
        return Err(SqlError::internal("a statement of the system that is not one"));
    };
    let settings = SessionSettings::of_system("");
    let binder = Binder::new(catalog, &settings, &super::NoVirtualTables, &[]);
    binder.of_system.set(true);
    plan_with(&binder, statement, &settings)
}

fn plan_with(
    binder: &Binder<'_>,
    statement: &ParsedStatement,
    settings: &SessionSettings,
) -> Result<Planned, SqlError> {
    binder.lines.replace(Some(statement.lines.clone()));
    binder.overriding.set(statement.overriding);
    binder.as_of.replace(statement.as_of.clone());
    let (kind, columns) = match &statement.syntax {
        Syntax::Standard(statement) => bind_statement(binder, statement, settings)?,
        Syntax::Copy(copy) => (binder.bind_copy(copy, settings)?, Vec::new()),
        Syntax::Maintenance(statement) => (binder.bind_maintenance(statement)?, Vec::new()),
        Syntax::Wish(wish) => (binder.bind_wish(*wish)?, Vec::new()),
        Syntax::Comment(statement) => {
            let comment = ddl::describe_comment(statement, settings)?;
            (PlannedKind::Ddl(DdlStatement::Comment(comment)), Vec::new())
        }
        Syntax::Alter(statement) => {
            (PlannedKind::Ddl(ddl::describe_alter(statement, settings)?), Vec::new())
        }
        Syntax::TableLike(statement) => {
            let table = ddl::describe_like(statement, settings)?;
            (PlannedKind::Ddl(DdlStatement::CreateTable(table)), Vec::new())
        }
        Syntax::TableAs(statement) => {
            let plan = binder.bind_table_as(statement, settings)?;
            (PlannedKind::TableAs(Box::new(plan)), Vec::new())
        }
        Syntax::Prepare(statement) => (binder.bind_prepare(statement, settings)?, Vec::new()),
        Syntax::Execute(statement) => (binder.bind_execute(statement)?, Vec::new()),
        Syntax::Transaction(statement) => (transaction::bind(statement)?, Vec::new()),
        Syntax::Saga(statement) => binder.bind_saga(statement, settings)?,
        Syntax::Declare(statement) => (binder.bind_declare(statement, settings)?, Vec::new()),
        Syntax::Fetch(statement) => (binder.bind_fetch(statement), Vec::new()),
        Syntax::Close(statement) => (PlannedKind::Close(statement.name.clone()), Vec::new()),
        Syntax::Role(statement) => {
            // Its text may hold a password.
            binder.uncacheable.set(true);
            (PlannedKind::Ddl(DdlStatement::Role((**statement).clone())), Vec::new())
        }
        Syntax::Privileges(statement) => {
            let (database, statement) = (settings.database.clone(), (**statement).clone());
            (PlannedKind::Ddl(DdlStatement::Privileges { database, statement }), Vec::new())
        }
        Syntax::CreateDatabase(new) => {
            super::names::check_new(&new.name)?;
            let (name, owner, if_not_exists) =
                (new.name.clone(), new.owner.clone(), new.if_not_exists);
            let ddl = DdlStatement::CreateDatabase { name, owner, if_not_exists };
            (PlannedKind::Ddl(ddl), Vec::new())
        }
        Syntax::Unsupported(what) => return Err(SqlError::unsupported(what)),
        Syntax::Sequence(statement) => {
            (PlannedKind::Ddl(ddl::describe_sequence(statement, settings)?), Vec::new())
        }
    };
    binder.check_privileges()?;
    if statement.as_of.is_some() && matches!(kind, PlannedKind::Saga(_)) {
        return Err(SqlError::unsupported("a saga with AS OF SYSTEM TIME"));
    }
    if let (Some(_), Some(locks)) = (&statement.as_of, binder.row_locks.get()) {
        let command = locks.command;
        return Err(SqlError::unsupported(format!("{command} with AS OF SYSTEM TIME")));
    }
    Ok(Planned {
        parameters: binder.parameter_types(),
        cacheable: !binder.uncacheable.get(),
        warnings: statement.warnings.clone(),
        ..binder.inner(kind, columns)
    })
}

impl Binder<'_> {
    /// A plan inside of another.
    pub(super) fn inner(&self, kind: PlannedKind, columns: Vec<OutputColumn>) -> Planned {
        Planned {
            parameters: Vec::new(),
            columns,
            catalog_version: self.catalog.version,
            role: self.settings.actor.role,
            path: self.settings.path.clone(),
            tables: self.tables(),
            cacheable: false,
            warnings: Vec::new(),
            views_node: self.views_node.get(),
            views_cluster: self.views_cluster.get(),
            as_of: self.as_of.borrow().clone(),
            row_locks: self.row_locks.get(),
            sequences: self.sequence_use(),
            session_values: self.session_values.borrow().clone(),
            kind,
        }
    }
}

pub(super) fn bind_statement(
    binder: &Binder<'_>,
    statement: &Statement,
    settings: &SessionSettings,
) -> Result<(PlannedKind, Vec<OutputColumn>), SqlError> {
    let without_rows = |kind| Ok((kind, Vec::new()));
    match statement {
        Statement::Query(query) => {
            if let Some(set) = binder.bind_set_config(query)? {
                return Ok(set);
            }
            if let Some(table) = binder.bind_select_into(query, settings)? {
                return without_rows(table);
            }
            let BoundQuery { plan, columns } = binder.printable(binder.bind_query(query, None)?);
            Ok((PlannedKind::Query(query_plan(physical(rules::optimize(plan)))), columns))
        }
        Statement::Insert(insert) => {
            let BoundChange { plan, columns } = binder.bind_insert(insert)?;
            Ok((PlannedKind::Insert(plan), columns))
        }
        Statement::Update(update) => {
            let BoundChange { plan, columns } = binder.bind_update(update)?;
            Ok((PlannedKind::Update(plan), columns))
        }
        Statement::Delete(delete) => {
            let BoundChange { plan, columns } = binder.bind_delete(delete)?;
            Ok((PlannedKind::Delete(plan), columns))
        }
        Statement::Commit { chain: false, .. } => without_rows(PlannedKind::Commit),
        Statement::Rollback { chain: false, savepoint: None } => {
            without_rows(PlannedKind::Rollback)
        }
        Statement::Rollback { chain: false, savepoint: Some(name) } => {
            without_rows(PlannedKind::RollbackTo(fold(name)))
        }
        Statement::Savepoint { name } => without_rows(PlannedKind::Savepoint(fold(name))),
        Statement::ReleaseSavepoint { name } => without_rows(PlannedKind::Release(fold(name))),
        Statement::Explain { statement, analyze, .. } => {
            let (kind, columns) = bind_statement(binder, statement, settings)?;
            if *analyze && matches!(kind, PlannedKind::TableAs(_)) {
                return Err(SqlError::unsupported("EXPLAIN ANALYZE of CREATE TABLE AS"));
            }
            let inner = Box::new(binder.inner(kind, columns));
            let column = OutputColumn { name: "QUERY PLAN".to_owned(), data_type: DataType::Text };
            Ok((PlannedKind::Explain { inner, analyze: *analyze }, vec![column]))
        }
        Statement::Set(set) => without_rows(PlannedKind::Set(bind_set(set)?)),
        Statement::Reset(reset) => {
            let name = match &reset.reset {
                ast::Reset::ALL => "all".to_owned(),
                ast::Reset::ConfigurationParameter(name) => name.to_string().to_lowercase(),
                ast::Reset::SessionAuthorization => "session_authorization".to_owned(),
            };
            without_rows(PlannedKind::Set(SetStatement { name, value: None, local: false }))
        }
        Statement::Deallocate { name, .. } => {
            let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
            without_rows(PlannedKind::Deallocate((!all).then(|| fold(name))))
        }
        Statement::Discard { object_type } => {
            without_rows(PlannedKind::Discard(match object_type {
                ast::DiscardObject::ALL => Discard::All,
                ast::DiscardObject::PLANS => Discard::Plans,
                ast::DiscardObject::TEMP => Discard::Temporary,
                ast::DiscardObject::SEQUENCES => Discard::Sequences,
            }))
        }
        Statement::ShowVariable { variable } => {
            let words: Vec<String> =
                variable.iter().map(|word| word.value.to_lowercase()).collect();
            let name = words.join("_");
            let text =
                |name: &str| OutputColumn { name: name.to_owned(), data_type: DataType::Text };
            let columns = match name.as_str() {
                "all" => vec![text("name"), text("setting"), text("description")],
                name => vec![text(name)],
            };
            Ok((PlannedKind::Show { name }, columns))
        }
        Statement::CreateTable(create) if create.query.is_some() => {
            without_rows(binder.bind_create_table_as(create, settings)?)
        }
        Statement::Lock(lock) => without_rows(binder.bind_lock(lock)?),
        Statement::UNLISTEN { .. } => without_rows(PlannedKind::Unlisten),
        Statement::LISTEN { .. } => Err(no_notifications("LISTEN")),
        Statement::NOTIFY { .. } => Err(no_notifications("NOTIFY")),
        other => without_rows(PlannedKind::Ddl(ddl::describe(other, settings)?)),
    }
}

fn no_notifications(statement: &str) -> SqlError {
    SqlError::unsupported(statement)
        .hint("There are no notifications between sessions; ask for changes instead.")
}

fn bind_set(set: &ast::Set) -> Result<SetStatement, SqlError> {
    let ast::Set::SingleAssignment { scope, variable, values, .. } = set else {
        return match set {
            ast::Set::SetRole { context_modifier, role_name } => Ok(SetStatement {
                name: "role".to_owned(),
                value: Some(role_name.as_ref().map_or_else(|| "none".to_owned(), fold)),
                local: matches!(context_modifier, Some(ast::ContextModifier::Local)),
            }),
            ast::Set::SetSessionAuthorization(parameter) => {
                let value = match &parameter.kind {
                    ast::SetSessionAuthorizationParamKind::Default => None,
                    ast::SetSessionAuthorizationParamKind::User(name) => Some(fold(name)),
                };
                let name = "session_authorization".to_owned();
                let local = matches!(parameter.scope, ast::ContextModifier::Local);
                Ok(SetStatement { name, value, local })
            }
            ast::Set::SetTimeZone { local, value } => Ok(SetStatement {
                name: "timezone".to_owned(),
                value: Some(value.to_string().trim_matches('\'').to_owned()),
                local: *local,
            }),
            other => Err(SqlError::unsupported(format!("the statement {other}"))),
        };
    };
    let name = variable.to_string().to_lowercase();
    let texts: Vec<String> = values
        .iter()
        .map(|value| match value {
            ast::Expr::Value(value) => match &value.value {
                ast::Value::SingleQuotedString(text) => text.clone(),
                other => other.to_string(),
            },
            other => other.to_string(),
        })
        .collect();
    let is_default = matches!(values.as_slice(), [ast::Expr::Identifier(only)]
        if only.quote_style.is_none() && only.value.eq_ignore_ascii_case("default"));
    let value = match name.as_str() {
        "search_path" => schemas(values),
        _ => texts.join(", "),
    };
    let local = matches!(scope, Some(ast::ContextModifier::Local));
    Ok(SetStatement { name, value: (!is_default).then_some(value), local })
}

/// A list of schemas, each quoted where it must be.
fn schemas(values: &[ast::Expr]) -> String {
    let name = |value: &ast::Expr| match value {
        ast::Expr::Identifier(name) => fold(name),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    };
    let names: Vec<String> = values.iter().map(|value| quote_identifier(&name(value))).collect();
    names.join(", ")
}

pub(super) fn query_plan(plan: Plan) -> QueryPlan {
    let point = point_read(&plan);
    QueryPlan { plan: Arc::new(plan), point }
}

/// Recognises a lookup of one row: an exchange to one partition over a scan of one whole key.
fn point_read(plan: &Plan) -> Option<PointRead> {
    let Plan::Exchange(exchange) = plan else { return None };
    let Target::Keys(points) = &exchange.target else { return None };
    if points.len() != 1 {
        return None;
    }
    let (scan, projection) = match exchange.fragment.as_ref() {
        Plan::Scan(scan) => (scan, None),
        Plan::Project(project) => match project.input.as_ref() {
            Plan::Scan(scan) => (scan, Some(project.expressions.clone())),
            _ => return None,
        },
        _ => return None,
    };
    let Access::PrimaryKey(bounds) = &scan.access else { return None };
    let [key] = bounds.equal.as_slice() else { return None };
    if key.len() != scan.table.primary_key.len() || scan.limit.is_some() {
        return None;
    }
    Some(PointRead {
        table: Arc::clone(&scan.table),
        key: key.clone(),
        columns: scan.columns.clone(),
        filter: residual(scan),
        projection,
    })
}

/// The scan's filter without the equalities that its key already says.
fn residual(scan: &model::plan::Scan) -> Option<Expression> {
    let Access::PrimaryKey(bounds) = &scan.access else { return scan.filter.clone() };
    let key = bounds.equal.first()?;
    let mut parts = Vec::new();
    super::logical::conjuncts(scan.filter.clone()?, &mut parts);
    let said = |part: &Expression| {
        let Expression::Binary {
            operator: model::expression::BinaryOperator::Equal,
            left,
            right,
            ..
        } = part
        else {
            return false;
        };
        let is_key = |column: &Expression, value: &Expression| {
            let Some(column) = super::access::column_of(column) else { return false };
            let ordinal = scan.columns[column.index];
            let position = scan.table.primary_key.iter().position(|key| *key == ordinal);
            position.is_some_and(|position| key[position] == *value)
        };
        is_key(left, right) || is_key(right, left)
    };
    super::logical::conjunction(parts.into_iter().filter(|part| !said(part)))
}

impl Planned {
    /// The plan of a text without a statement.
    pub fn empty(catalog_version: CatalogVersion, settings: &SessionSettings) -> Planned {
        Planned {
            parameters: Vec::new(),
            columns: Vec::new(),
            catalog_version,
            role: settings.actor.role,
            path: settings.path.clone(),
            tables: Vec::new(),
            cacheable: true,
            warnings: Vec::new(),
            views_node: false,
            views_cluster: false,
            as_of: None,
            row_locks: None,
            sequences: SequenceUse::None,
            session_values: Vec::new(),
            kind: PlannedKind::Empty,
        }
    }

    /// Whether it returns rows, be they without columns.
    pub fn has_rows(&self) -> bool {
        !self.columns.is_empty() || matches!(self.kind, PlannedKind::Query(_))
    }

    /// What of it a transaction that only reads does not do, as PostgreSQL names it.
    pub fn writes_by(&self) -> Option<&str> {
        match &self.kind {
            PlannedKind::Insert(_) => Some("INSERT"),
            PlannedKind::Update(_) => Some("UPDATE"),
            PlannedKind::Delete(_) => Some("DELETE"),
            PlannedKind::CopyIn(_) => Some("COPY FROM"),
            PlannedKind::Saga(SagaPlan::Step(step)) => step.inner.writes_by(),
            PlannedKind::CopyOut(copy) => copy.inner.writes_by(),
            PlannedKind::Explain { inner, analyze: true } => inner.writes_by(),
            PlannedKind::Ddl(change) => Some(change.tag()),
            PlannedKind::TableAs(plan) => Some(plan.verb),
            PlannedKind::Query(_) | PlannedKind::Declare(_) if self.row_locks.is_some() => {
                self.row_locks.map(|locks| locks.command)
            }
            PlannedKind::Query(_) | PlannedKind::Declare(_) => match self.sequences {
                SequenceUse::Changes(function) => Some(function),
                SequenceUse::None | SequenceUse::Reads => None,
            },
            _ => None,
        }
    }

    /// Whether rows are changed that a query of its own has found: they may be others by then.
    pub fn changes_by_query(&self) -> bool {
        let target = match &self.kind {
            PlannedKind::Update(update) => &update.target,
            PlannedKind::Delete(delete) => &delete.target,
            _ => return false,
        };
        matches!(target, WriteTarget::ByQuery { .. })
    }

    /// The command tag, once `rows` rows were returned or changed.
    pub fn tag(&self, rows: u64) -> String {
        match &self.kind {
            PlannedKind::Empty => String::new(),
            PlannedKind::Query(_) | PlannedKind::SetConfig(_) => format!("SELECT {rows}"),
            PlannedKind::Insert(_) => format!("INSERT 0 {rows}"),
            PlannedKind::Update(_) => format!("UPDATE {rows}"),
            PlannedKind::Delete(_) => format!("DELETE {rows}"),
            PlannedKind::CopyIn(_) | PlannedKind::CopyOut(_) => format!("COPY {rows}"),
            PlannedKind::Maintenance(maintenance) => maintenance.verb.name().to_owned(),
            PlannedKind::Wish(_) => "ALTER SYSTEM".to_owned(),
            PlannedKind::Ddl(ddl) => ddl.tag().to_owned(),
            PlannedKind::TableAs(plan) => plan.tag(rows),
            PlannedKind::Begin(_) => "BEGIN".to_owned(),
            PlannedKind::SetTransaction(_) | PlannedKind::ImportSnapshot(_) => "SET".to_owned(),
            PlannedKind::LockTables => "LOCK TABLE".to_owned(),
            PlannedKind::Unlisten => "UNLISTEN".to_owned(),
            PlannedKind::Commit => "COMMIT".to_owned(),
            PlannedKind::Rollback | PlannedKind::RollbackTo(_) => "ROLLBACK".to_owned(),
            PlannedKind::Savepoint(_) => "SAVEPOINT".to_owned(),
            PlannedKind::Release(_) => "RELEASE".to_owned(),
            PlannedKind::Saga(saga) => saga.tag(rows),
            PlannedKind::Explain { .. } => "EXPLAIN".to_owned(),
            PlannedKind::Set(set) if set.value.is_none() && !set.local => "RESET".to_owned(),
            PlannedKind::Set(_) => "SET".to_owned(),
            PlannedKind::Prepare(_) => "PREPARE".to_owned(),
            PlannedKind::Execute(_) => "EXECUTE".to_owned(),
            PlannedKind::Declare(_) => "DECLARE CURSOR".to_owned(),
            PlannedKind::Fetch(fetch) if fetch.moves => format!("MOVE {rows}"),
            PlannedKind::Fetch(_) => format!("FETCH {rows}"),
            PlannedKind::Close(Some(_)) => "CLOSE CURSOR".to_owned(),
            PlannedKind::Close(None) => "CLOSE CURSOR ALL".to_owned(),
            PlannedKind::Deallocate(Some(_)) => "DEALLOCATE".to_owned(),
            PlannedKind::Deallocate(None) => "DEALLOCATE ALL".to_owned(),
            PlannedKind::Discard(discard) => discard.tag().to_owned(),
            PlannedKind::Show { .. } => "SHOW".to_owned(),
        }
    }

    /// Whether it is a query that is not read bit by bit: its rows are locked when all are, or it
    /// reads another time than its transaction.
    pub fn runs_to_its_end(&self) -> bool {
        self.row_locks.is_some() || self.as_of.is_some()
    }

    /// Whether it is a lookup of one row by its whole key.
    pub fn is_point_read(&self) -> bool {
        self.as_of.is_none()
            && matches!(&self.kind, PlannedKind::Query(QueryPlan { point: Some(_), .. }))
    }

    /// Refuses parameters that do not fit.
    pub fn check_parameters(&self, given: usize) -> Result<(), SqlError> {
        if given == self.parameters.len() {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::PROTOCOL_VIOLATION,
            format!("the statement takes {} parameters, {given} were given", self.parameters.len()),
        ))
    }
}
