//! The binder: gives names and types to what was parsed.
//!
//! One binder binds one statement. It collects the tables that the statement depends on and the
//! types of its parameters, which are inferred from where they stand.

use super::as_of::AsOf;
use super::logical::Logical;
use super::parse::Overriding;
use super::positions::Lines;
use super::relations::NamedRelation;
use super::scope::ScopeColumn;
use super::statement::{RowLocks, SequenceUse, SessionValue};
use super::{SessionSettings, VirtualTables};
use crate::catalog::privileges::Privileges;
use crate::catalog::{ActivePath, Catalog};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::ObjectId;
use model::types::DataType;
use shards::exec::operators;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Most parameters of a statement, as of PostgreSQL's protocol.
const PARAMETERS_MAX: usize = 65_535;
/// Most levels of nested queries and expressions. A chain of operators (`a OR b OR ...`) counts
/// one level an operator.
pub(super) const NESTING_MAX: usize = 1_000;
/// Each level of binding may need this much stack; it grows where less is left.
const STACK_RED_ZONE: usize = 256 << 10;
const STACK_GROWTH: usize = 4 << 20;

/// Binds one statement.
pub struct Binder<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) settings: &'a SessionSettings,
    pub(super) virtual_tables: &'a dyn VirtualTables,
    parameters: RefCell<Vec<Option<DataType>>>,
    tables: RefCell<BTreeSet<ObjectId>>,
    /// What must be allowed, and to whom.
    requirements: RefCell<Vec<Requirement>>,
    /// Whose privileges count: the acting role's, inside of a view its owner's.
    checked_as: Cell<ObjectId>,
    inside_view: Cell<bool>,
    /// In which schemas names without one are sought; inside of a view those of the view.
    pub(super) path: RefCell<Rc<ActivePath>>,
    /// Types of the columns that literals and parameters of the next query become, if it is a plain
    /// `SELECT`: those of the table that its rows go into.
    pub(super) wanted_types: RefCell<Vec<DataType>>,
    /// Whether what is bound is a default or a check, which every session runs.
    pub(super) stored: Cell<bool>,
    /// Whether the statement is the server's own, which may change the system's tables.
    pub(super) of_system: Cell<bool>,
    /// The relations that the text names, where they are asked for.
    pub(super) named_relations: RefCell<Option<Vec<NamedRelation>>>,
    pub(super) ctes: RefCell<Vec<CommonTable>>,
    nesting: Cell<usize>,
    working_tables: Cell<usize>,
    pub(super) uncacheable: Cell<bool>,
    /// Whether the statement asks for the sessions of the node.
    pub(super) views_node: Cell<bool>,
    pub(super) views_cluster: Cell<bool>,
    /// Whether it calls what only a session can answer: `currval`, `pg_cancel_backend`.
    pub(super) needs_session: Cell<bool>,
    /// How it locks rows, where it does.
    pub(super) row_locks: Cell<Option<RowLocks>>,
    /// Whether the statement calls sequences.
    pub(super) sequences: Cell<bool>,
    /// The function by which it changes sequences, if it does: what the session holds of them is not
    /// the same all through it.
    pub(super) changes_sequences: Cell<Option<&'static str>>,
    /// What it takes of the session as further parameters, behind its own.
    pub(super) session_values: RefCell<Vec<SessionValue>>,
    /// How many its own parameters are; `None` where nothing is taken of the session so.
    pub(super) own_parameters: Option<usize>,
    /// The time that the statement reads.
    pub(super) as_of: RefCell<Option<AsOf>>,
    /// What the `INSERT` says of identity columns.
    pub(super) overriding: Cell<Option<Overriding>>,
    /// Of the text that is bound; none of a text that the client has not sent.
    pub(super) lines: RefCell<Option<Lines>>,
}

/// A common table expression in sight.
#[derive(Clone)]
pub(super) struct CommonTable {
    pub(super) name: String,
    pub(super) columns: Vec<ScopeColumn>,
    /// How many levels are around it: the plan sees their rows.
    pub(super) levels: usize,
    /// Or why the name may not be used here.
    pub(super) plan: Result<Logical, SqlError>,
}

/// What a statement does with an object.
struct Requirement {
    role: ObjectId,
    object: ObjectId,
    privileges: Privileges,
    /// One of them is enough.
    any: bool,
}

/// How eagerly a value is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coercion {
    /// Inside expressions: only what loses nothing.
    Implicit,
    /// Into a column: also narrower types, checked when it runs.
    Assignment,
}

impl<'a> Binder<'a> {
    /// A binder for one statement whose client declared some parameter types.
    pub fn new(
        catalog: &'a Catalog,
        settings: &'a SessionSettings,
        virtual_tables: &'a dyn VirtualTables,
        parameter_types: &[Option<DataType>],
    ) -> Binder<'a> {
        let path = catalog.active_path(&settings.database, &settings.path, settings.actor.role);
        Binder {
            catalog,
            settings,
            virtual_tables,
            parameters: RefCell::new(parameter_types.to_vec()),
            tables: RefCell::default(),
            requirements: RefCell::default(),
            checked_as: Cell::new(settings.actor.role),
            inside_view: Cell::new(false),
            path: RefCell::new(Rc::new(path)),
            wanted_types: RefCell::default(),
            stored: Cell::new(false),
            of_system: Cell::new(false),
            named_relations: RefCell::default(),
            ctes: RefCell::default(),
            nesting: Cell::new(0),
            working_tables: Cell::new(0),
            uncacheable: Cell::new(false),
            views_node: Cell::new(false),
            views_cluster: Cell::new(false),
            needs_session: Cell::new(false),
            row_locks: Cell::new(None),
            sequences: Cell::new(false),
            changes_sequences: Cell::new(None),
            session_values: RefCell::default(),
            own_parameters: None,
            as_of: RefCell::default(),
            overriding: Cell::new(None),
            lines: RefCell::new(None),
        }
    }

    /// What the statement does with sequences.
    pub(super) fn sequence_use(&self) -> SequenceUse {
        match (self.changes_sequences.get(), self.sequences.get()) {
            (Some(function), _) => SequenceUse::Changes(function),
            (None, true) => SequenceUse::Reads,
            (None, false) => SequenceUse::None,
        }
    }

    /// Notes that the statement depends on a table.
    pub(super) fn depends_on(&self, table: ObjectId) {
        self.tables.borrow_mut().insert(table);
    }

    /// Notes that the statement does something with an object.
    pub(super) fn requires(&self, object: ObjectId, privileges: Privileges) {
        let role = self.checked_as.get();
        let needed = Requirement { role, object, privileges, any: false };
        self.requirements.borrow_mut().push(needed);
    }

    /// The same, where one of the privileges is enough.
    pub(super) fn requires_any(&self, object: ObjectId, privileges: Privileges) {
        let role = self.checked_as.get();
        let needed = Requirement { role, object, privileges, any: true };
        self.requirements.borrow_mut().push(needed);
    }

    /// Refuses the first of these things that is not allowed, once all names are known to be good.
    pub(super) fn check_privileges(&self) -> Result<(), SqlError> {
        let requirements = self.requirements.borrow();
        requirements.iter().try_for_each(|needed| {
            let held = self.catalog.held(needed.role, needed.object).privileges;
            match needed.any && !(held & needed.privileges).is_empty() {
                true => Ok(()),
                false => self.catalog.require(needed.role, needed.object, needed.privileges),
            }
        })
    }

    /// Whose privileges count.
    pub(super) fn checked_as(&self) -> ObjectId {
        self.checked_as.get()
    }

    /// Whether what is bound is a view's query.
    pub(super) fn inside_view(&self) -> bool {
        self.inside_view.get()
    }

    /// Binds what belongs to an object, with the privileges of its owner.
    pub(super) fn as_owner_of<T>(&self, object: ObjectId, bind: impl FnOnce() -> T) -> T {
        let owner = self.catalog.owner(object).unwrap_or_else(|| self.checked_as.get());
        let outer = (self.checked_as.replace(owner), self.inside_view.replace(true));
        let bound = bind();
        self.checked_as.set(outer.0);
        self.inside_view.set(outer.1);
        bound
    }

    /// The tables that the statement depends on.
    pub fn tables(&self) -> Vec<ObjectId> {
        self.tables.borrow().iter().copied().collect()
    }

    /// The parameters' types; those that nothing decided are text.
    pub fn parameter_types(&self) -> Vec<DataType> {
        let parameters = self.parameters.borrow();
        parameters.iter().map(|known| known.unwrap_or(DataType::Text)).collect()
    }

    /// The parameters' types as far as something has decided them.
    pub(super) fn known_parameters(&self) -> Vec<Option<DataType>> {
        self.parameters.borrow().clone()
    }

    /// Takes what another statement with the same parameters knows of their types.
    pub(super) fn adopt_parameters(&self, known: Vec<Option<DataType>>) {
        self.parameters.replace(known);
    }

    /// A number for the rows that a recursive query reads of itself.
    pub(super) fn next_working_table(&self) -> usize {
        self.working_tables.replace(self.working_tables.get() + 1)
    }

    /// Runs one level of nested binding, with enough stack for it.
    pub(super) fn nested<T>(
        &self,
        bind: impl FnOnce() -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        if self.nesting.get() >= NESTING_MAX {
            return Err(too_complex());
        }
        self.nesting.set(self.nesting.get() + 1);
        let result = stacker::maybe_grow(STACK_RED_ZONE, STACK_GROWTH, bind);
        self.nesting.set(self.nesting.get() - 1);
        result
    }

    /// Parameter `$number`.
    pub(super) fn parameter(&self, text: &str) -> Result<Expression, SqlError> {
        let number = text.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let Some(index) = number.and_then(|number| number.checked_sub(1)) else {
            return Err(SqlError::new(
                SqlState::UNDEFINED_PARAMETER,
                format!("there is no parameter {text}"),
            ));
        };
        if index >= PARAMETERS_MAX {
            return Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("a statement has at most {PARAMETERS_MAX} parameters"),
            ));
        }
        let mut parameters = self.parameters.borrow_mut();
        if parameters.len() <= index {
            parameters.resize(index + 1, None);
        }
        let data_type = parameters[index].unwrap_or(DataType::Unknown);
        Ok(Expression::Parameter { index, data_type })
    }

    /// Converts an expression to a type, where that is allowed without being asked.
    pub(super) fn coerce(
        &self,
        expression: Expression,
        target: DataType,
        coercion: Coercion,
    ) -> Result<Expression, SqlError> {
        let from = expression.data_type();
        if from == target {
            return Ok(expression);
        }
        if from == DataType::Unknown {
            return Ok(self.decide(expression, target));
        }
        let allowed = operators::is_implicit_cast(from, target)
            || coercion == Coercion::Assignment && is_assignment_cast(from, target);
        if !allowed {
            return Err(SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("an expression of type {from} cannot become {target}"),
            )
            .hint("You will need to rewrite or cast the expression."));
        }
        Ok(self.cast(expression, target, false))
    }

    /// Gives an expression of unknown type one.
    pub(super) fn decide(&self, expression: Expression, target: DataType) -> Expression {
        match expression {
            Expression::Parameter { index, .. } => {
                let mut parameters = self.parameters.borrow_mut();
                // A name is looked up when the statement runs: it comes as text.
                let wanted = match target {
                    DataType::Reg(_) => DataType::Text,
                    other => other.base(),
                };
                let known = *parameters[index].get_or_insert(wanted);
                drop(parameters);
                let parameter = Expression::Parameter { index, data_type: known };
                if known == target { parameter } else { self.cast(parameter, target, false) }
            }
            Expression::Literal(model::value::Value::Null, _) => {
                Expression::Literal(model::value::Value::Null, target)
            }
            other => self.cast(other, target, false),
        }
    }

    /// An expression whose type nothing decides is text, as in PostgreSQL.
    pub(super) fn decided(&self, expression: Expression) -> Expression {
        if expression.data_type() == DataType::Unknown {
            return self.decide(expression, DataType::Text);
        }
        expression
    }

    /// A condition: must be boolean. `clause` names it in the error.
    pub(super) fn condition(
        &self,
        expression: Expression,
        clause: &str,
    ) -> Result<Expression, SqlError> {
        match expression.data_type() {
            DataType::Bool => Ok(expression),
            DataType::Unknown => Ok(self.decide(expression, DataType::Bool)),
            other => Err(SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("argument of {clause} must be type boolean, not type {other}"),
            )),
        }
    }
}

/// A cast, explicit or not.
pub(super) fn cast(expression: Expression, data_type: DataType, explicit: bool) -> Expression {
    Expression::Cast { operand: Box::new(expression), data_type, explicit }
}

/// Whether a value of one type becomes one of another where it is stored, or given as a parameter.
pub(super) fn can_assign(from: DataType, target: DataType) -> bool {
    from == target
        || from == DataType::Unknown
        || operators::is_implicit_cast(from, target)
        || is_assignment_cast(from, target)
}

/// What storing into a column converts beyond the implicit casts.
fn is_assignment_cast(from: DataType, target: DataType) -> bool {
    let (from, target) = (from.base(), target.base());
    if let (DataType::Array(from), DataType::Array(target)) = (from, target) {
        return is_assignment_cast(from.data_type(), target.data_type());
    }
    from.is_number() && target.is_number()
        || from.is_oid() && target.is_integer()
        || target.is_text()
        || matches!(
            (from, target),
            (DataType::Timestamp | DataType::TimestampTz, DataType::Date | DataType::Time)
                | (DataType::TimestampTz, DataType::Timestamp)
                | (DataType::Interval | DataType::TimeTz, DataType::Time)
                | (DataType::TimestampTz, DataType::TimeTz)
        )
}

/// Deeper than [`NESTING_MAX`].
pub(super) fn too_complex() -> SqlError {
    SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "the statement is nested too deeply")
        .detail(format!("At most {NESTING_MAX} levels are allowed."))
        .hint("Split the statement, or write a list with IN instead of a chain of conditions.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_take_what_postgresql_assigns() {
        assert!(is_assignment_cast(DataType::Int8, DataType::Int2));
        assert!(is_assignment_cast(DataType::Bool, DataType::Text));
        assert!(!is_assignment_cast(DataType::Text, DataType::Int4));
        assert!(!is_assignment_cast(DataType::Int4, DataType::Bool));
    }
}
