//! What users say of objects, stored with them.

use super::TableDefinition;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::num::ParseIntError;

/// What is said of an object and its parts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Comments {
    /// Of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
    /// Of its columns, by ordinal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "by_ordinal")]
    pub columns: BTreeMap<usize, String>,
    /// Of its constraints, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constraints: BTreeMap<String, String>,
    /// Of its indexes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub indexes: BTreeMap<String, String>,
}

/// JSON has only texts for keys, and those of a definition, which says of what kind it is, are handed on as
/// such.
fn by_ordinal<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<usize, String>, D::Error> {
    let named = BTreeMap::<String, String>::deserialize(from)?;
    let ordinal = |(ordinal, text): (String, String)| Ok((ordinal.parse()?, text));
    let columns: Result<_, ParseIntError> = named.into_iter().map(ordinal).collect();
    columns.map_err(D::Error::custom)
}

impl Comments {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Comments::default()
    }

    /// A constraint or an index has a new name.
    pub fn rename(&mut self, from: &str, to: &str) {
        for named in [&mut self.constraints, &mut self.indexes] {
            if let Some(text) = named.remove(from) {
                named.insert(to.to_owned(), text);
            }
        }
    }
}

impl TableDefinition {
    /// Whether it has a constraint of that name.
    pub fn has_constraint(&self, name: &str) -> bool {
        self.primary_key_name.as_deref() == Some(name)
            || self.checks.iter().any(|check| check.name == name)
            || self.foreign_keys.iter().any(|key| key.name == name)
            || self.indexes.iter().any(|index| index.constraint && index.name == name)
    }

    /// Whether it has an index of that name, be it that of its primary key.
    pub fn has_index(&self, name: &str) -> bool {
        self.primary_key_name.as_deref() == Some(name)
            || self.indexes.iter().any(|index| index.name == name)
    }

    /// Forgets what was said of parts that are gone.
    pub fn forget_comments(&mut self) {
        if self.comments.is_empty() {
            return;
        }
        let mut comments = std::mem::take(&mut self.comments);
        comments.columns.retain(|&at, _| self.columns.get(at).is_some_and(|c| !c.hidden));
        comments.constraints.retain(|name, _| self.has_constraint(name));
        comments.indexes.retain(|name, _| self.has_index(name));
        self.comments = comments;
    }
}
