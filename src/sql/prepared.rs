//! `PREPARE` and `EXECUTE`: statements that a session keeps under a name, and their calls.
//!
//! The planner knows no session. A `PREPARE` brings the plan of what it prepares; an `EXECUTE`
//! brings a name and arguments, and whoever keeps the statements says what its columns are and
//! makes the arguments fit.

use super::SessionSettings;
use super::binder::{self, Binder};
use super::rules;
use super::scope::Scope;
use super::slots::{Refusals, Slots};
use super::statement::{Planned, PlannedKind, bind_statement};
use super::types::data_type;
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::types::DataType;
use sqlparser::ast::{self, Expr, Statement};

/// A parsed `PREPARE`.
#[derive(Debug, Clone)]
pub struct PrepareStatement {
    pub(super) name: String,
    pub(super) types: Vec<ast::DataType>,
    pub(super) statement: Box<Statement>,
    /// All of the `PREPARE`, as it was written.
    pub(super) text: String,
}

/// A parsed `EXECUTE`.
#[derive(Debug, Clone)]
pub struct ExecuteStatement {
    pub(super) name: String,
    pub(super) arguments: Vec<Expr>,
}

/// `PREPARE name [(types)] AS statement`
#[derive(Debug, Clone, PartialEq)]
pub struct PreparePlan {
    /// Its name.
    pub name: String,
    /// The `PREPARE` as it was written, from which the statement is planned again.
    pub text: String,
    /// The statement.
    pub inner: Planned,
}

/// `EXECUTE name [(arguments)]`
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutePlan {
    /// Which one.
    pub name: String,
    /// Expressions without columns.
    pub arguments: Vec<Expression>,
}

impl Binder<'_> {
    pub(super) fn bind_prepare(
        &self,
        prepare: &PrepareStatement,
        settings: &SessionSettings,
    ) -> Result<PlannedKind, SqlError> {
        // The session keeps the plan under its name; to keep it under the text too gains nothing.
        self.uncacheable.set(true);
        let declared = prepare.types.iter().map(|name| data_type(name).map(Some));
        let declared: Vec<Option<DataType>> = declared.collect::<Result<_, _>>()?;
        let binder = Binder::new(self.catalog, settings, self.virtual_tables, &declared);
        binder.lines.replace(self.lines.borrow().clone());
        binder.overriding.set(self.overriding.get());
        binder.as_of.replace(self.as_of.borrow().clone());
        let (kind, columns) = bind_statement(&binder, &prepare.statement, settings)?;
        binder.check_privileges()?;
        let inner = Planned {
            parameters: binder.parameter_types(),
            cacheable: !binder.uncacheable.get(),
            ..binder.inner(kind, columns)
        };
        let (name, text) = (prepare.name.clone(), prepare.text.clone());
        Ok(PlannedKind::Prepare(Box::new(PreparePlan { name, text, inner })))
    }

    pub(super) fn bind_execute(&self, execute: &ExecuteStatement) -> Result<PlannedKind, SqlError> {
        // What its columns are is the session's to say.
        self.uncacheable.set(true);
        let clause = "EXECUTE parameters";
        let refusals =
            Refusals { aggregates: Some(clause), windows: Some(clause), subqueries: Some(clause) };
        let mut slots = Slots::refusing(refusals);
        let mut arguments = Vec::with_capacity(execute.arguments.len());
        for argument in &execute.arguments {
            let mut bound = self.bind(argument, &Scope::default(), &mut slots)?;
            rules::fold(&mut bound);
            arguments.push(bound);
        }
        Ok(PlannedKind::Execute(ExecutePlan { name: execute.name.clone(), arguments }))
    }
}

impl ExecutePlan {
    /// Refuses arguments that the parameters do not take, be it for their number or their types.
    ///
    /// # Errors
    /// 42601 and 42804.
    pub fn check(&self, parameters: &[DataType]) -> Result<(), SqlError> {
        let (given, expected) = (self.arguments.len(), parameters.len());
        if given != expected {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                format!("wrong number of parameters for prepared statement \"{}\"", self.name),
            )
            .detail(format!("Expected {expected} parameters but got {given}.")));
        }
        for (index, (argument, &target)) in self.arguments.iter().zip(parameters).enumerate() {
            let from = argument.data_type();
            if !binder::can_assign(from, target) {
                return Err(SqlError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!(
                        "parameter ${} of type {from} cannot be coerced to the expected type {target}",
                        index + 1
                    ),
                )
                .hint("You will need to rewrite or cast the expression."));
            }
        }
        Ok(())
    }
}
