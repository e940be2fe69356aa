//! SQL's `PREPARE` and `EXECUTE`, over the same names as the protocol's prepared statements.
//!
//! An `EXECUTE` becomes what it names before anything of it runs: its place in the block, its
//! gates, its portal and its command tag are those of the statement that was prepared.

use super::Session;
use super::block::Standing;
use super::prepared::{Name, PreparedText};
use super::run::now_micros;
use crate::sql::{ExecutePlan, Planned, PlannedKind, PreparePlan};
use model::error::SqlError;
use model::expression::Expression;
use model::value::Value;
use shards::exec::cast::cast;
use std::rc::Rc;
use std::sync::Arc;

/// What an `EXECUTE` stands for.
pub(super) struct Executed {
    pub(super) text: Rc<PreparedText>,
    pub(super) planned: Rc<Planned>,
    pub(super) parameters: Arc<[Value]>,
}

impl Session {
    /// Keeps what a `PREPARE` has planned.
    ///
    /// # Errors
    /// 42P05 for a name that is taken, 53400 at the bounds.
    pub(super) fn prepare_planned(&mut self, plan: &PreparePlan) -> Result<(), SqlError> {
        let declared = plan.inner.parameters.iter().map(|data_type| Some(*data_type)).collect();
        let text = PreparedText { text: plan.text.as_str().into(), declared, from_sql: true };
        self.keep_prepared(Name::Text(&plan.name), text, Rc::new(plan.inner.clone()))
    }

    /// The statement that an `EXECUTE` names, with its parameters. `given` are the `EXECUTE`'s own.
    ///
    /// # Errors
    /// 26000 for an unknown name, 42601 and 42804 for arguments that do not fit, and those of
    /// their evaluation.
    pub(super) fn executed(
        &mut self,
        execute: &ExecutePlan,
        given: &Arc<[Value]>,
    ) -> Result<Executed, SqlError> {
        if self.standing == Standing::Failed {
            return Err(self.failed_block());
        }
        let (text, planned) = self.current(Name::Text(&execute.name))?;
        execute.check(&planned.parameters)?;
        let now = self.open.as_ref().map_or_else(now_micros, |open| open.began_micros);
        let (router, identity) = (&self.host.router, &self.identity);
        let values = router.constants(&execute.arguments, given.clone(), now, identity)?;
        let types = execute.arguments.iter().map(Expression::data_type);
        let fitted = values.iter().zip(types).zip(&planned.parameters);
        let parameters =
            fitted.map(|((value, from), &target)| cast(value, from, target, false, now));
        let parameters = parameters.collect::<Result<_, _>>()?;
        Ok(Executed { text, planned, parameters })
    }

    /// Says of a plan what only the session knows: the columns of what it names. A name that is
    /// none is told when the statement runs.
    pub(super) fn complete_plan(&self, planned: &mut Planned) {
        match &mut planned.kind {
            PlannedKind::Execute(execute) => {
                planned.columns = self.columns_of_prepared(&execute.name).unwrap_or_default();
            }
            PlannedKind::Fetch(fetch) if !fetch.moves => {
                if let Some((cursor, binary)) = self.fetched_columns(&fetch.name) {
                    planned.columns = cursor.columns.clone();
                    fetch.binary = binary;
                }
            }
            _ => {}
        }
    }
}
