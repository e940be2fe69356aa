//! Prepared statements of one session.

use super::block::{self, Decision, Standing};
use super::run::{self, Source};
use super::tables::NamedRow;
use super::{Client, Interrupts, Session};
use crate::sql::{InsertSource, OutputColumn, Planned, PlannedKind, WriteTarget, parse, plan};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::plan::{Access, Exchange, Plan, Target};
use model::schema::{Placement, Table};
use model::types::{DataType, ElementType, oid};
use model::value::Value;
use shards::exec::cast::cast;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// Statements a session keeps at most.
const STATEMENTS_MAX: usize = 4096;
/// Bytes of text that a session's statements may have together.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// What a client calls a prepared statement: the native protocol by a number, PostgreSQL's by a
/// name, of which the empty one may be given anew at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// A number that the client chose.
    Number(u32),
    /// A name; the same in SQL's `PREPARE`.
    Text(&'a str),
}

/// As errors name it.
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Number(number) => write!(f, "prepared statement {number}"),
            Name::Text("") => f.write_str("unnamed prepared statement"),
            Name::Text(name) => write!(f, "prepared statement \"{name}\""),
        }
    }
}

/// The text of a prepared statement, from which it is planned again.
pub(super) struct PreparedText {
    pub(super) text: Box<str>,
    pub(super) declared: Box<[Option<DataType>]>,
    /// The text is a `PREPARE`, and what is prepared stands in it.
    pub(super) from_sql: bool,
}

/// One prepared statement.
struct Prepared {
    text: Rc<PreparedText>,
    planned: Rc<Planned>,
    /// When it was prepared.
    micros: i64,
}

/// A session's prepared statements. Holds nothing while there are none.
#[derive(Default)]
pub(super) struct PreparedStatements {
    /// Neither is iterated but for a sum: the order of their hashes shows nowhere.
    numbered: HashMap<u32, Prepared>,
    named: HashMap<Box<str>, Prepared>,
    text_bytes: usize,
}

impl PreparedStatements {
    fn get(&self, name: Name<'_>) -> Option<&Prepared> {
        match name {
            Name::Number(number) => self.numbered.get(&number),
            Name::Text(name) => self.named.get(name),
        }
    }

    fn get_mut(&mut self, name: Name<'_>) -> Option<&mut Prepared> {
        match name {
            Name::Number(number) => self.numbered.get_mut(&number),
            Name::Text(name) => self.named.get_mut(name),
        }
    }

    fn check_room(&self, name: Name<'_>, text: &str) -> Result<(), SqlError> {
        if self.get(name).is_some() {
            return Err(SqlError::new(
                SqlState::DUPLICATE_PREPARED_STATEMENT,
                format!("{name} already exists"),
            ));
        }
        let count = self.numbered.len() + self.named.len();
        if count >= STATEMENTS_MAX || self.text_bytes + text.len() > TEXT_BYTES_MAX {
            return Err(SqlError::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                "the session has prepared too many statements",
            )
            .detail(format!(
                "At most {STATEMENTS_MAX} statements of {TEXT_BYTES_MAX} bytes together are kept."
            ))
            .hint("Close prepared statements that are no longer needed."));
        }
        Ok(())
    }

    fn insert(&mut self, name: Name<'_>, prepared: Prepared) {
        self.text_bytes += prepared.text.text.len();
        let replaced = match name {
            Name::Number(number) => self.numbered.insert(number, prepared),
            Name::Text(name) => self.named.insert(name.into(), prepared),
        };
        assert!(replaced.is_none(), "the name was free");
    }

    fn remove(&mut self, name: Name<'_>) {
        let removed = match name {
            Name::Number(number) => self.numbered.remove(&number),
            Name::Text(name) => self.named.remove(name),
        };
        if let Some(prepared) = removed {
            self.text_bytes -= prepared.text.text.len();
        }
        self.free_if_empty();
    }

    fn clear_named(&mut self) {
        self.named = HashMap::default();
        self.text_bytes = self.numbered.values().map(|prepared| prepared.text.text.len()).sum();
        self.free_if_empty();
    }

    fn free_if_empty(&mut self) {
        if self.numbered.is_empty() && self.named.is_empty() {
            *self = PreparedStatements::default();
        }
    }
}

fn unknown(name: Name<'_>) -> SqlError {
    SqlError::new(SqlState::INVALID_SQL_STATEMENT_NAME, format!("{name} does not exist"))
}

/// What a client learns of a statement it prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Types of all parameters.
    pub parameters: Vec<DataType>,
    /// Columns of the rows.
    pub columns: Vec<OutputColumn>,
    /// For a statement that touches the rows of one partition: the parameters that are the
    /// partition columns, in their order.
    pub routing: Vec<u16>,
    /// What the client is told of how the statement is written.
    pub warnings: Vec<SqlError>,
}

impl Session {
    /// Prepares a statement under the client's name. The unnamed one replaces the last.
    ///
    /// # Errors
    /// Those of planning; 42P05 for a name that is taken; 53400 at the bounds.
    pub async fn prepare(
        &mut self,
        name: Name<'_>,
        text: &str,
        declared: &[DataType],
    ) -> Result<Described, SqlError> {
        match self.describe(name, text, declared) {
            Ok(described) => Ok(described),
            Err(error) => Err(self.fail(error).await),
        }
    }

    fn describe(
        &mut self,
        name: Name<'_>,
        text: &str,
        declared: &[DataType],
    ) -> Result<Described, SqlError> {
        self.host.planner.check(text)?;
        if name == Name::Text("") {
            self.prepared.remove(name);
        }
        self.prepared.check_room(name, text)?;
        let known = |t: &DataType| (*t != DataType::Unknown).then_some(*t);
        let declared: Box<[Option<DataType>]> = declared.iter().map(known).collect();
        let text = PreparedText { text: text.into(), declared, from_sql: false };
        let planned = self.plan_text(&text)?;
        self.refuse_planned_if_failed(&planned)?;
        let described = Described {
            parameters: planned.parameters.clone(),
            columns: planned.columns.clone(),
            routing: routing(&planned),
            warnings: self.wanted(&planned.warnings),
        };
        self.keep_prepared(name, text, planned)?;
        Ok(described)
    }

    /// Those of the warnings that the client wants to hear.
    fn wanted(&self, warnings: &[SqlError]) -> Vec<SqlError> {
        if self.settings.wants(super::Weight::Warning) { warnings.to_vec() } else { Vec::new() }
    }

    /// Keeps a planned statement under a name.
    pub(super) fn keep_prepared(
        &mut self,
        name: Name<'_>,
        text: PreparedText,
        planned: Rc<Planned>,
    ) -> Result<(), SqlError> {
        self.prepared.check_room(name, &text.text)?;
        let prepared = Prepared { text: Rc::new(text), planned, micros: run::now_micros() };
        self.prepared.insert(name, prepared);
        Ok(())
    }

    /// The columns of the statement of this name, as they are known now.
    pub(super) fn columns_of_prepared(&self, name: &str) -> Option<Vec<OutputColumn>> {
        let prepared = self.prepared.get(Name::Text(name))?;
        Some(prepared.planned.columns.clone())
    }

    /// `pg_prepared_statements`: those that have names.
    pub(super) fn prepared_rows(&self) -> Vec<NamedRow> {
        let named = self.prepared.named.iter();
        let mut named: Vec<_> = named.map(|(name, prepared)| (&**name, prepared)).collect();
        named.sort_by_key(|(name, _)| *name);
        let row = |(name, prepared): (&str, &Prepared)| {
            let types = prepared.planned.parameters.iter();
            let types = types.map(|data_type| Value::Int(i64::from(oid::oid(*data_type))));
            vec![
                ("name", Value::text(name)),
                ("statement", Value::text(&*prepared.text.text)),
                ("prepare_time", Value::Timestamp(prepared.micros)),
                ("parameter_types", Value::array(types.collect())),
                ("from_sql", Value::Bool(prepared.text.from_sql)),
                ("generic_plans", Value::Int(0)),
                ("custom_plans", Value::Int(0)),
            ]
        };
        named.into_iter().map(row).collect()
    }

    /// In a failed block only its end is prepared and bound.
    pub(super) fn refuse_planned_if_failed(&self, planned: &Planned) -> Result<(), SqlError> {
        let decision = block::decide(self.standing, run::step(&planned.kind, false));
        match decision {
            Decision::Refuse(_) if self.standing == Standing::Failed => Err(self.failed_block()),
            _ => Ok(()),
        }
    }

    /// Runs a prepared statement. The client hears everything but an error, which is returned.
    ///
    /// # Errors
    /// 26000 for an unknown name, those of the statement, and what interrupts it.
    pub async fn execute(
        &mut self,
        name: Name<'_>,
        parameters: Vec<Value>,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<(), SqlError> {
        self.ahead.advance();
        let result = self.execute_known(name, parameters, client, interrupts).await;
        self.ahead.current = None;
        let result = match result {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error).await),
        };
        self.rest();
        result
    }

    async fn execute_known(
        &mut self,
        name: Name<'_>,
        parameters: Vec<Value>,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<(), SqlError> {
        let (text, planned) = self.current(name)?;
        self.presence.begin(&text.text, run::now_micros());
        let parameters = fitted(&planned, parameters)?;
        let source = Source::Prepared(&text);
        let done = self.statement(source, planned, parameters, false, client, interrupts).await?;
        if self.standing == Standing::Implicit {
            self.commit_open().await?;
        }
        client.complete(self.standing, done.rows, &done.tag, true);
        Ok(())
    }

    /// A prepared statement's plan, made again where the catalog has changed.
    ///
    /// # Errors
    /// 26000 for an unknown name; those of planning it again; 0A000 where its parameters or
    /// columns are no longer what the client was told.
    pub fn prepared(&mut self, name: Name<'_>) -> Result<Rc<Planned>, SqlError> {
        self.current(name).map(|(_, planned)| planned)
    }

    pub(super) fn current(
        &mut self,
        name: Name<'_>,
    ) -> Result<(Rc<PreparedText>, Rc<Planned>), SqlError> {
        let Some(prepared) = self.prepared.get(name) else {
            return Err(unknown(name));
        };
        let (text, planned) = (prepared.text.clone(), prepared.planned.clone());
        let fresh = planned.cacheable
            && planned.catalog_version == self.catalog_version()
            && planned.role == self.scope.actor.role
            && planned.path == self.scope.path;
        if fresh {
            return Ok((text, planned));
        }
        let again = self.plan_text(&text)?;
        if again.columns != planned.columns || again.parameters != planned.parameters {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cached plan must not change result type",
            )
            .hint("Prepare the statement again.")
            // asyncpg prepares again when it sees it.
            .routine("RevalidateCachedQuery"));
        }
        if let Some(prepared) = self.prepared.get_mut(name) {
            prepared.planned = again.clone();
        }
        Ok((text, again))
    }

    /// `DEALLOCATE`
    ///
    /// # Errors
    /// 26000 for an unknown name.
    pub(super) fn deallocate(&mut self, name: Name<'_>) -> Result<(), SqlError> {
        if self.prepared.get(name).is_none() {
            return Err(unknown(name));
        }
        self.prepared.remove(name);
        Ok(())
    }

    /// `DEALLOCATE ALL`: all that have names. Those with numbers stay: they are the native
    /// client's, which closes them itself.
    pub(super) fn deallocate_named(&mut self) {
        self.prepared.clear_named();
    }

    /// Forgets a prepared statement; one that is not there is no error.
    pub fn close_statement(&mut self, name: Name<'_>) {
        self.prepared.remove(name);
    }

    /// Plans the one statement of `text`, or takes the plan that is kept.
    pub(super) fn plan_text(&self, prepared: &PreparedText) -> Result<Rc<Planned>, SqlError> {
        let (text, declared) = (&*prepared.text, &*prepared.declared);
        let host = &*self.host;
        let key = self.key(text, declared);
        if !prepared.from_sql
            && let Some(planned) = host.plans.get(key, self.catalog_version())
        {
            return Ok(planned);
        }
        let statements = parse(text)?;
        let statement = match statements.as_slice() {
            [statement] => statement,
            [] => return Ok(Rc::new(Planned::empty(self.catalog_version(), &self.scope))),
            _ => {
                return Err(SqlError::new(
                    SqlState::SYNTAX_ERROR,
                    "cannot insert multiple commands into a prepared statement",
                ));
            }
        };
        let catalog = self.catalog();
        let mut planned = plan(statement, &catalog, &self.scope, &self.tables(), declared)?;
        if prepared.from_sql {
            return match planned.kind {
                PlannedKind::Prepare(prepare) => Ok(Rc::new(prepare.inner)),
                _ => Err(SqlError::internal("a kept PREPARE that prepares nothing")),
            };
        }
        self.complete_plan(&mut planned);
        let planned = Rc::new(planned);
        host.plans.keep(key, &planned);
        Ok(planned)
    }
}

/// The parameters as values of the types that the plan was made for.
pub(super) fn fitted(planned: &Planned, given: Vec<Value>) -> Result<Arc<[Value]>, SqlError> {
    planned.check_parameters(given.len())?;
    let mut parameters = given;
    for (value, data_type) in parameters.iter_mut().zip(&planned.parameters) {
        if !fits(value, *data_type) {
            *value = cast(value, kind(value), *data_type, false, run::now_micros())?;
        }
    }
    Ok(parameters.into())
}

/// The value of `data_type` that `text` is, as a client writes a parameter.
///
/// # Errors
/// It is none.
pub fn read_text(text: &str, data_type: DataType) -> Result<Value, SqlError> {
    match data_type {
        DataType::Text | DataType::Unknown => Ok(Value::text(text)),
        _ => cast(&Value::text(text), DataType::Unknown, data_type, false, run::now_micros()),
    }
}

/// Whether the value is one of the type as it is.
fn fits(value: &Value, data_type: DataType) -> bool {
    match value {
        Value::Null => true,
        Value::Int(_) => data_type == DataType::Int8,
        Value::Float(_) => data_type == DataType::Float8,
        Value::Timestamp(_) => matches!(data_type, DataType::Timestamp | DataType::TimestampTz),
        other => kind(other) == data_type,
    }
}

/// The type that a value has by itself.
fn kind(value: &Value) -> DataType {
    match value {
        Value::Null => DataType::Unknown,
        Value::Bool(_) => DataType::Bool,
        Value::Int(_) => DataType::Int8,
        Value::Float(_) => DataType::Float8,
        Value::Numeric(_) => DataType::Numeric(None),
        Value::Text(_) => DataType::Text,
        Value::Bytes(_) => DataType::Bytea,
        Value::Date(_) => DataType::Date,
        Value::Time(_) => DataType::Time,
        Value::TimeTz(_) => DataType::TimeTz,
        Value::Timestamp(_) => DataType::Timestamp,
        Value::Interval(_) => DataType::Interval,
        Value::Uuid(_) => DataType::Uuid,
        Value::Jsonb(_) => DataType::Jsonb,
        // Its elements say what they are when they are cast, each one on its own.
        Value::Array(array) => array
            .elements()
            .iter()
            .find(|element| !element.is_null())
            .and_then(|element| kind(element).array())
            .unwrap_or(DataType::Array(ElementType::Text)),
    }
}

/// The parameters that place the one row, or nothing where it takes more to know.
fn routing(planned: &Planned) -> Vec<u16> {
    placing(planned).unwrap_or_default()
}

fn placing(planned: &Planned) -> Option<Vec<u16>> {
    match &planned.kind {
        PlannedKind::Query(query) => {
            let Plan::Exchange(Exchange { target: Target::Keys(keys), fragment, .. }) =
                &*query.plan
            else {
                return None;
            };
            let [key] = keys.as_slice() else { return None };
            parameters_of(key, table_of(fragment)?)
        }
        PlannedKind::Insert(insert) => {
            let InsertSource::Values(rows) = &insert.source else { return None };
            let [row] = rows.as_slice() else { return None };
            let key: Vec<Expression> =
                insert.table.partition_columns.iter().map(|&column| row[column].clone()).collect();
            parameters_of(&key, &insert.table)
        }
        PlannedKind::Update(update) => changed(&update.target, &update.table),
        PlannedKind::Delete(delete) => changed(&delete.target, &delete.table),
        _ => None,
    }
}

fn changed(target: &WriteTarget, table: &Table) -> Option<Vec<u16>> {
    let WriteTarget::InPlace { target: Target::Keys(keys), .. } = target else { return None };
    let [key] = keys.as_slice() else { return None };
    parameters_of(key, table)
}

/// The table that a fragment of one row reads.
fn table_of(fragment: &Plan) -> Option<&Table> {
    match fragment {
        Plan::Scan(scan) if matches!(scan.access, Access::PrimaryKey(_)) => Some(&scan.table),
        Plan::Project(project) => table_of(&project.input),
        Plan::Filter(filter) => table_of(&filter.input),
        _ => None,
    }
}

/// The parameters that these expressions are: each one a parameter as it is, of the column's type,
/// so that client and server hash the same bytes.
fn parameters_of(key: &[Expression], table: &Table) -> Option<Vec<u16>> {
    if table.placement != Placement::Hashed || key.len() != table.partition_columns.len() {
        return None;
    }
    let columns = table.partition_columns.iter().map(|&ordinal| table.columns[ordinal].data_type);
    let parameter = |(expression, column): (&Expression, DataType)| match expression {
        Expression::Parameter { index, data_type }
            if data_type.base() == column.base()
                || (data_type.is_integer() && column.is_integer()) =>
        {
            u16::try_from(*index).ok()
        }
        _ => None,
    };
    key.iter().zip(columns).map(parameter).collect()
}
