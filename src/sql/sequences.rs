//! Binding of what has to do with sequences: calls of their functions, the relation that each of
//! them is, and columns that take their values.

use super::binder::Binder;
use super::dml::column_default;
use super::from::{Source, scope_column};
use super::logical::Logical;
use super::parse::Overriding;
use super::relations::Found;
use super::rules;
use super::statement::SessionValue;
use crate::catalog::privileges::Privileges;
use crate::catalog::{Relation, Sequence, oids};
use model::error::{SqlError, SqlState};
use model::expression::{Expression, FunctionReference};
use model::lookup::{LookupTable, Missing};
use model::schema::{Identity, Table};
use model::types::{DataType, ElementType, RegKind};
use model::value::Value;
use shards::exec::functions::{STATE_COLUMNS, calls_sequences, quote_identifier, state_function};
use std::sync::Arc;

const CLASS: DataType = DataType::Reg(RegKind::Class);

impl Binder<'_> {
    /// The argument that names a sequence, as its oid. A name that is written out is looked up at
    /// once, and the statement depends on the sequence.
    pub(super) fn sequence_argument(
        &self,
        function: &str,
        argument: Expression,
    ) -> Result<Expression, SqlError> {
        self.sequences.set(true);
        let mut argument = match written_name(&argument) {
            Some(name) => self.sequence_named(&name)?,
            None if argument.data_type() == DataType::Unknown => self.decide(argument, CLASS),
            None if argument.data_type().is_text() => self.cast(argument, CLASS, true),
            None => argument,
        };
        rules::fold(&mut argument);
        if !matches!(argument, Expression::Literal(..))
            && !self.catalog.roles().is_superuser(self.checked_as())
        {
            // Privileges are looked at before anything runs.
            return Err(SqlError::unsupported("a computed sequence, but for superusers,"));
        }
        let privileges = match function {
            "nextval" => Privileges::USAGE | Privileges::UPDATE,
            "setval" => Privileges::UPDATE,
            _ => Privileges::USAGE | Privileges::SELECT,
        };
        self.depends_on_sequence(&argument, Some(privileges));
        Ok(argument)
    }

    /// Makes what the session was given last, as far as a condition asks for it, parameters of the
    /// statement: it is the same all through it, and rows are looked up by it.
    pub(super) fn take_session_values(&self, condition: &mut Expression) {
        let Some(own) = self.own_parameters else { return };
        condition.rewrite(&mut |node| {
            let Expression::Function { function, arguments, data_type } = &*node else { return };
            let value = match (function.0.split('(').next(), arguments.as_slice()) {
                (Some("lastval"), []) => SessionValue::Last,
                (Some("currval"), [Expression::Literal(Value::Int(oid), _)]) => {
                    SessionValue::Current(*oid)
                }
                _ => return,
            };
            let mut taken = self.session_values.borrow_mut();
            let known = taken.iter().position(|known| *known == value);
            let at = known.unwrap_or(taken.len());
            if known.is_none() {
                taken.push(value);
            }
            *node = Expression::Parameter { index: own + at, data_type: *data_type };
        });
    }

    /// `privileges`: of which one is needed, where they are looked at.
    fn depends_on_sequence(&self, argument: &Expression, privileges: Option<Privileges>) {
        if let Expression::Literal(Value::Int(oid), _) = argument
            && let Some(id) = u32::try_from(*oid).ok().and_then(oids::object_of)
            && self.catalog.sequence(id).is_some()
        {
            self.depends_on(id);
            if let Some(privileges) = privileges {
                self.requires_any(id, privileges);
            }
        }
    }

    fn sequence_named(&self, text: &str) -> Result<Expression, SqlError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let oid = text.parse::<u32>().map_err(|_error| {
                SqlError::new(
                    SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                    format!("value \"{text}\" is out of range for type oid"),
                )
            })?;
            return Ok(Expression::Literal(Value::Int(i64::from(oid)), CLASS));
        }
        let (schema, name) = super::ddl::named_in_text(text)?;
        match self.find(schema.as_deref(), &name) {
            Some((_, Found::Relation(Relation::Sequence(sequence)))) => {
                Ok(Expression::Literal(Value::Int(i64::from(sequence.oid())), CLASS))
            }
            Some(_) => Err(no_sequence(&name)),
            None => Err(self.unknown_relation(schema.as_deref(), &name)),
        }
    }

    /// A column's default. The statement depends on the sequences in it.
    pub(super) fn default_of(&self, table: &Table, ordinal: usize) -> Expression {
        let default = column_default(table, ordinal);
        if matches!(default, Expression::Literal(..)) || !calls_sequences(&default) {
            return default;
        }
        self.sequences.set(true);
        self.changes_sequences.set(Some("nextval()"));
        // What fills an identity column is not looked at.
        let checked = table.columns[ordinal].identity.is_none();
        let privileges = checked.then_some(Privileges::USAGE | Privileges::UPDATE);
        self.note_sequences(&default, privileges);
        default
    }

    fn note_sequences(&self, expression: &Expression, privileges: Option<Privileges>) {
        if let Expression::Function { arguments, .. } = expression
            && let Some(first) = arguments.first()
        {
            self.depends_on_sequence(first, privileges);
        }
        expression.for_each_child(|child| self.note_sequences(child, privileges));
    }

    /// A sequence as a relation of one row.
    pub(super) fn sequence_source(&self, sequence: &Sequence) -> Source {
        self.sequences.set(true);
        self.depends_on(sequence.id);
        self.requires(sequence.id, Privileges::SELECT);
        let oid = Expression::Literal(Value::Int(i64::from(sequence.oid())), CLASS);
        let column = |(name, data_type): (&str, DataType)| {
            state_call(&state_function(name), oid.clone(), data_type)
        };
        Source {
            plan: Logical::one_row().project(STATE_COLUMNS.map(column).into()),
            columns: STATE_COLUMNS.map(|(name, t)| scope_column(name.to_owned(), t)).into(),
        }
    }

    /// `pg_sequences`, whose rows have the sequence's oid where its last value belongs.
    pub(super) fn with_last_values(&self, source: Source) -> Source {
        self.sequences.set(true);
        let columns = source.columns.iter().enumerate();
        let expressions = columns.map(|(at, column)| {
            let value = Expression::column(at, column.data_type);
            match column.name.as_str() {
                "last_value" => state_call("pg_sequence_last_value", value, column.data_type),
                _ => value,
            }
        });
        let plan = source.plan.project(expressions.collect());
        Source { plan, columns: source.columns }
    }

    /// `pg_get_serial_sequence(table, column)`: the sequence that goes with a column. Of names that
    /// are written out it is told at once that they name nothing.
    pub(super) fn serial_sequence(
        &self,
        arguments: Vec<Expression>,
    ) -> Result<Expression, SqlError> {
        if let [
            Expression::Literal(Value::Text(table), _),
            Expression::Literal(Value::Text(column), _),
        ] = arguments.as_slice()
        {
            let (schema, name) = super::ddl::named_in_text(table)?;
            let found = self.relation(schema.as_deref(), &name);
            let Some(found) = found else {
                return Err(self.unknown_relation(schema.as_deref(), &name));
            };
            if let Relation::Table(table) = found {
                super::dml::column_ordinal(table, column)?;
            }
        }
        let mut answers = LookupTable::new("pg_get_serial_sequence", Missing::Null);
        let visible = self.visible();
        for (schema, relation) in self.catalog.relations(&self.settings.database) {
            let Relation::Sequence(sequence) = relation else { continue };
            let owner = sequence.owned_by.and_then(|(table, ordinal)| {
                self.catalog.table(table).map(|table| (table, &table.columns[ordinal].name))
            });
            let Some((table, column)) = owner else { continue };
            let name = [schema, &sequence.name].map(quote_identifier).join(".");
            let (name, column) = (Value::from(Some(name)), Value::text(column.as_str()));
            let is_visible = visible.is_visible(schema, &table.name);
            let (schema, table) = (Value::text(schema), Value::text(table.name.as_str()));
            let full = Value::array(vec![schema.clone(), table.clone()]);
            answers.insert(&[full, column.clone()], name.clone());
            if is_visible {
                answers.insert(&[Value::array(vec![table]), column], name);
            }
        }
        let mut arguments = arguments.into_iter().map(|argument| self.decided(argument));
        let table = Expression::Function {
            function: FunctionReference(Arc::from("object name(text)")),
            arguments: arguments.next().into_iter().collect(),
            data_type: DataType::Array(ElementType::Text),
        };
        Ok(self.lookup(answers, [table].into_iter().chain(arguments).collect(), DataType::Text))
    }

    /// Whether a value that an `INSERT` gives to a column is put aside for the column's default.
    ///
    /// # Errors
    /// 428C9 for a column that is always generated.
    pub(super) fn gives_way(&self, table: &Table, ordinal: usize) -> Result<bool, SqlError> {
        let column = &table.columns[ordinal];
        match (column.identity, self.overriding.get()) {
            (Some(_), Some(Overriding::User)) => Ok(true),
            (Some(Identity::Always), None) => Err(SqlError::new(
                SqlState::GENERATED_ALWAYS,
                format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name),
            )
            .detail(always_generated(&column.name))
            .hint("Use OVERRIDING SYSTEM VALUE to override.")),
            _ => Ok(false),
        }
    }

    /// Refuses to set a column that is always generated to anything but its default.
    pub(super) fn require_settable(&self, table: &Table, ordinal: usize) -> Result<(), SqlError> {
        let column = &table.columns[ordinal];
        if column.identity != Some(Identity::Always) {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::GENERATED_ALWAYS,
            format!("column \"{}\" can only be updated to DEFAULT", column.name),
        )
        .detail(always_generated(&column.name)))
    }
}

/// Refuses functions of sequences where rows are evaluated inside their partition.
pub(super) fn refuse_sequences<'e>(
    expressions: impl IntoIterator<Item = &'e Expression>,
    clause: &str,
) -> Result<(), SqlError> {
    if expressions.into_iter().any(calls_sequences) {
        return Err(SqlError::unsupported(format!("a function of sequences in {clause}")));
    }
    Ok(())
}

fn no_sequence(name: &str) -> SqlError {
    SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a sequence"))
}

fn always_generated(column: &str) -> String {
    format!("Column \"{column}\" is an identity column defined as GENERATED ALWAYS.")
}

fn state_call(function: &str, argument: Expression, data_type: DataType) -> Expression {
    let function = FunctionReference(Arc::from(format!("{function}({CLASS})")));
    Expression::Function { function, arguments: vec![argument], data_type }
}

/// The name in a string, with or without a cast.
fn written_name(argument: &Expression) -> Option<String> {
    match argument {
        Expression::Literal(Value::Text(text), _) => Some(text.to_string()),
        Expression::Cast { operand, data_type, .. }
            if data_type.is_text() || *data_type == CLASS =>
        {
            written_name(operand)
        }
        _ => None,
    }
}
