//! Sequences: what the catalog knows of them. Where they are stands in the router's
//! [`sequences`](crate::router::sequences).

use super::oids;
use super::stored::SequenceDefinition;
use crate::sql::type_named;
use model::error::SqlError;
use model::id::ObjectId;
use model::types::DataType;
use rkyv::{Archive, Deserialize, Serialize};

/// A sequence.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Sequence {
    /// Its id.
    pub id: ObjectId,
    /// Names its state: its id, until it is restarted, which gives it a state of another name.
    pub state: ObjectId,
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `smallint`, `integer` or `bigint`.
    pub data_type: DataType,
    /// How far a value is from the one before; not 0.
    pub increment: i64,
    /// Smallest value.
    pub min_value: i64,
    /// Greatest value.
    pub max_value: i64,
    /// The value that `RESTART` begins with.
    pub start: i64,
    /// The first value of the state at hand.
    pub first: i64,
    /// How many values a session takes at once; at least 1.
    pub cache: i64,
    /// Whether it begins anew at its end.
    pub cycle: bool,
    /// Table and column that it goes with.
    pub owned_by: Option<(ObjectId, usize)>,
}

impl Sequence {
    /// The number by which expressions name it.
    pub fn oid(&self) -> u32 {
        oids::object(self.id)
    }
}

/// The smallest and the greatest value of a sequence's type.
pub(super) fn bounds_of(data_type: DataType) -> (i64, i64) {
    match data_type {
        DataType::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

pub(super) fn build_sequence(
    id: ObjectId,
    stored: &SequenceDefinition,
) -> Result<Sequence, SqlError> {
    Ok(Sequence {
        id,
        state: stored.state.map_or(id, ObjectId),
        schema: stored.schema.clone(),
        name: stored.name.clone(),
        data_type: type_named(&stored.data_type)?,
        increment: stored.increment,
        min_value: stored.min_value,
        max_value: stored.max_value,
        start: stored.start,
        first: stored.first.unwrap_or(stored.start),
        cache: stored.cache,
        cycle: stored.cycle,
        owned_by: stored.owned_by.map(|(table, column)| (ObjectId(table), column)),
    })
}
