//! Keys of stored rows and index entries, as the catalog's tables know them.

use super::privileges::Privileges;
use super::{Catalog, Relation};
use model::id::ObjectId;
use model::key::{self, object_of};
use model::schema::Table;
use std::sync::Arc;

impl Catalog {
    /// The table that a key of rows or of an index belongs to, wherever it is.
    pub fn table_of_key(&self, key: &[u8]) -> Option<&Arc<Table>> {
        let object = object_of(key)?;
        self.all_relations().find_map(|(_, _, relation)| match relation {
            Relation::Table(table)
                if table.storage == object
                    || table.indexes.iter().any(|index| index.id == object) =>
            {
                Some(table)
            }
            _ => None,
        })
    }

    /// What a key is called in messages for a role: with its columns' values where the role may read
    /// the table. `None` is nobody's. `is_range`: a range of keys, of which it is the start.
    pub fn describe_key(&self, key: &[u8], is_range: bool, role: Option<ObjectId>) -> String {
        let Some(table) = self.table_of_key(key) else {
            return "a key of a table that is not there any more".to_owned();
        };
        if is_range {
            return format!("a range of table \"{}\"", table.name);
        }
        match role.is_some_and(|role| self.may(role, table.id, Privileges::SELECT)) {
            true => key::describe(table, key),
            false => format!("table \"{}\"", table.name),
        }
    }
}
