//! Records as rows: `phantom.node_registry` and `phantom.replicas`.

use super::{About, NodeRecord, PartitionRecord};
use crate::cluster::decide::Wanted;
use model::id::{NodeId, PartitionId};
use model::placement::Replicas;
use model::value::Value;

/// A row that this version cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of {0} has an unknown form")]
pub struct Unreadable(&'static str);

const NODES: Unreadable = Unreadable("phantom.node_registry");
const PARTITIONS: Unreadable = Unreadable("phantom.replicas");

impl Wanted {
    fn name(self) -> &'static str {
        match self {
            Wanted::Active => "active",
            Wanted::Draining => "draining",
            Wanted::Decommissioned => "decommissioned",
        }
    }

    fn of_name(name: &str) -> Option<Wanted> {
        [Wanted::Active, Wanted::Draining, Wanted::Decommissioned]
            .into_iter()
            .find(|wanted| wanted.name() == name)
    }
}

fn number<T: TryFrom<i64>>(value: &Value, what: Unreadable) -> Result<T, Unreadable> {
    match value {
        Value::Int(number) => T::try_from(*number).map_err(|_| what),
        _ => Err(what),
    }
}

fn text(value: &Value, what: Unreadable) -> Result<String, Unreadable> {
    match value {
        Value::Text(text) => Ok(text.to_string()),
        _ => Err(what),
    }
}

fn elements<T>(
    value: &Value,
    what: Unreadable,
    element: impl Fn(&Value) -> Result<T, Unreadable>,
) -> Result<Vec<T>, Unreadable> {
    match value {
        Value::Array(array) => array.elements().iter().map(element).collect(),
        _ => Err(what),
    }
}

/// Versions are far below what a signed number holds: they are counted up one by one.
fn version(version: u64) -> Value {
    Value::Int(i64::try_from(version).unwrap_or(i64::MAX))
}

fn ids(nodes: &[NodeId]) -> Value {
    Value::array(nodes.iter().map(|node| Value::Int(i64::from(node.0))).collect())
}

impl NodeRecord {
    /// Its row: id, native, pg, cores, locality, software, starts, wanted, registered, version.
    pub fn to_row(&self) -> Vec<Value> {
        let about = &self.about;
        vec![
            Value::Int(i64::from(self.id.0)),
            Value::text(about.native.as_str()),
            about.pg.as_deref().map_or(Value::Null, Value::text),
            Value::array(about.cores.iter().map(|core| Value::text(core.as_str())).collect()),
            Value::text(about.locality.to_string()),
            Value::text(about.software.as_str()),
            Value::Int(i64::from(self.starts)),
            Value::text(self.wanted.name()),
            Value::Timestamp(self.registered_micros),
            version(self.version),
        ]
    }

    /// Reads what [`NodeRecord::to_row`] made.
    ///
    /// # Errors
    /// The row is of another form.
    pub fn from_row(row: &[Value]) -> Result<NodeRecord, Unreadable> {
        let [id, native, pg, cores, locality, software, starts, wanted, registered, version] = row
        else {
            return Err(NODES);
        };
        let Value::Timestamp(registered_micros) = registered else { return Err(NODES) };
        Ok(NodeRecord {
            id: NodeId(number(id, NODES)?),
            about: About {
                native: text(native, NODES)?,
                pg: match pg {
                    Value::Null => None,
                    pg => Some(text(pg, NODES)?),
                },
                cores: elements(cores, NODES, |core| text(core, NODES))?,
                locality: text(locality, NODES)?.parse().map_err(|_| NODES)?,
                software: text(software, NODES)?,
            },
            starts: number(starts, NODES)?,
            wanted: Wanted::of_name(&text(wanted, NODES)?).ok_or(NODES)?,
            registered_micros: *registered_micros,
            version: number(version, NODES)?,
        })
    }
}

impl PartitionRecord {
    /// Its row: id, voters, learners, version.
    pub fn to_row(&self) -> Vec<Value> {
        vec![
            Value::Int(i64::from(self.id.0)),
            ids(&self.replicas.voters),
            ids(&self.replicas.learners),
            version(self.version),
        ]
    }

    /// Reads what [`PartitionRecord::to_row`] made.
    ///
    /// # Errors
    /// The row is of another form.
    pub fn from_row(row: &[Value]) -> Result<PartitionRecord, Unreadable> {
        let [id, voters, learners, version] = row else { return Err(PARTITIONS) };
        let nodes = |value| elements(value, PARTITIONS, |id| number(id, PARTITIONS).map(NodeId));
        Ok(PartitionRecord {
            id: PartitionId(number(id, PARTITIONS)?),
            replicas: Replicas { voters: nodes(voters)?, learners: nodes(learners)? },
            version: number(version, PARTITIONS)?,
        })
    }
}
