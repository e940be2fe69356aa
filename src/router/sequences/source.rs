//! What a statement asks of sequences, carried out for its session.

use super::held::{HeldSequences, take};
use super::{SequenceAnswer, SequenceQuestion, exhausted};
use crate::catalog::{Catalog, Relation, Sequence, oids};
use crate::router::Router;
use crate::sql::SessionValue;
use futures::future::LocalBoxFuture;
use model::error::{SqlError, SqlState};
use model::value::Value;
use shards::exec::sequences::{
    Drawn, SequenceCall, SequenceOid, SequenceSource, SequenceState, oid_of,
};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// One statement's sequences.
pub(in crate::router) struct StatementSequences {
    router: Router,
    held: Rc<HeldSequences>,
    /// Where sequences are looked for; none: in the catalog of the moment.
    catalog: Option<Arc<Catalog>>,
}

impl StatementSequences {
    /// With the catalog that they are looked for in, where that is not the one that all see.
    pub(in crate::router) fn new(
        router: Router,
        held: Rc<HeldSequences>,
        catalog: Option<Arc<Catalog>>,
    ) -> StatementSequences {
        StatementSequences { router, held, catalog }
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone().unwrap_or_else(|| self.router.catalog())
    }

    /// What the session was given.
    pub(in crate::router) fn session_value(&self, wanted: SessionValue) -> Result<i64, SqlError> {
        match wanted {
            SessionValue::Last => self.current(self.last()?),
            SessionValue::Current(oid) => self.current(oid_of(&Value::Int(oid))?),
        }
    }

    fn sequence(&self, oid: SequenceOid) -> Result<Arc<Sequence>, SqlError> {
        let catalog = self.catalog();
        let found = oids::object_of(oid).and_then(|id| catalog.sequence(id));
        if let Some(sequence) = found {
            return Ok(Arc::clone(sequence));
        }
        let other = catalog.all_relations().map(|(_, _, relation)| relation);
        let mut other = other.filter(|relation| oids::object(relation.id()) == oid);
        Err(match other.next().map(Relation::name) {
            Some(name) => {
                SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a sequence"))
            }
            None => SqlError::new(
                SqlState::UNDEFINED_TABLE,
                format!("could not open relation with OID {oid}"),
            ),
        })
    }

    async fn draw_values(&self, oid: SequenceOid, count: usize) -> Result<Drawn, SqlError> {
        let sequence = self.sequence(oid)?;
        let mut values = match sequence.cache {
            1 => Vec::new(),
            _ => self.held.take(&sequence, count),
        };
        let missing = (count - values.len()) as i64;
        if missing == 0 {
            return Ok(Drawn { values, end: None });
        }
        // Whole lots, of which the session keeps what it does not need now.
        let lots = (missing as u64).div_ceil(sequence.cache as u64) as i64;
        let wanted = lots.saturating_mul(sequence.cache);
        let answer = self.router.ask_sequence(&sequence, SequenceQuestion::Draw(wanted)).await?;
        let SequenceAnswer::Values(runs, _ended) = answer else {
            return Err(SqlError::internal("values were asked for"));
        };
        let mut runs = VecDeque::from(runs);
        values.extend(take(&mut runs, missing as usize));
        if sequence.cache > 1 {
            self.held.keep(&sequence, runs);
        }
        let end = (values.len() < count).then(|| exhausted(&sequence));
        Ok(Drawn { values, end })
    }

    async fn carry_out(&self, call: SequenceCall) -> Result<SequenceState, SqlError> {
        let (oid, question) = match call {
            SequenceCall::State(oid) => (oid, SequenceQuestion::State),
            SequenceCall::Set { sequence, value, called } => {
                (sequence, SequenceQuestion::Set { value, called })
            }
        };
        let sequence = self.sequence(oid)?;
        if let SequenceQuestion::Set { value, .. } = question {
            let (min, max) = (sequence.min_value, sequence.max_value);
            if !(min..=max).contains(&value) {
                return Err(SqlError::new(
                    SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                    format!(
                        "setval: value {value} is out of bounds for sequence \"{}\" ({min}..{max})",
                        sequence.name
                    ),
                ));
            }
            self.held.drop_ahead(sequence.id);
        }
        match self.router.ask_sequence(&sequence, question).await? {
            SequenceAnswer::State(state) => Ok(state),
            SequenceAnswer::Values(..) => Err(SqlError::internal("a state was asked for")),
        }
    }
}

impl SequenceSource for StatementSequences {
    fn draw(
        &self,
        sequence: SequenceOid,
        count: usize,
    ) -> LocalBoxFuture<'_, Result<Drawn, SqlError>> {
        Box::pin(self.draw_values(sequence, count))
    }

    fn call(&self, call: SequenceCall) -> LocalBoxFuture<'_, Result<SequenceState, SqlError>> {
        Box::pin(self.carry_out(call))
    }

    fn current(&self, sequence: SequenceOid) -> Result<i64, SqlError> {
        let sequence = self.sequence(sequence)?;
        self.held.current(sequence.id).ok_or_else(|| {
            SqlError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!(
                    "currval of sequence \"{}\" is not yet defined in this session",
                    sequence.name
                ),
            )
        })
    }

    fn last(&self) -> Result<SequenceOid, SqlError> {
        let catalog = self.catalog();
        let last = self.held.last().filter(|&id| catalog.sequence(id).is_some());
        last.map(oids::object).ok_or_else(|| {
            SqlError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "lastval is not yet defined in this session",
            )
        })
    }

    fn note(&self, sequence: SequenceOid, value: i64) {
        if let Some(id) = oids::object_of(sequence) {
            self.held.note(id, value);
        }
    }
}
