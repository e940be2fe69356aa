//! What is said of objects, for who shows it.

use super::Catalog;
use super::stored::{Comments, Definition};
use model::id::ObjectId;

impl Definition {
    /// What is said of the object and its parts; `None` of what is no object of a user.
    pub fn comments(&self) -> Option<&Comments> {
        match self {
            Definition::Database(database) => Some(&database.comments),
            Definition::Schema(schema) => Some(&schema.comments),
            Definition::Table(table) => Some(&table.comments),
            Definition::View(view) => Some(&view.comments),
            Definition::Sequence(sequence) => Some(&sequence.comments),
            Definition::Role(role) => Some(&role.comments),
            Definition::SaltSecret(_) | Definition::Counters(_) => None,
        }
    }

    /// The same, to change it.
    pub fn comments_mut(&mut self) -> Option<&mut Comments> {
        match self {
            Definition::Database(database) => Some(&mut database.comments),
            Definition::Schema(schema) => Some(&mut schema.comments),
            Definition::Table(table) => Some(&mut table.comments),
            Definition::View(view) => Some(&mut view.comments),
            Definition::Sequence(sequence) => Some(&mut sequence.comments),
            Definition::Role(role) => Some(&mut role.comments),
            Definition::SaltSecret(_) | Definition::Counters(_) => None,
        }
    }
}

impl Catalog {
    /// The objects of which something is said.
    pub fn commented(&self) -> impl Iterator<Item = (ObjectId, &Definition, &Comments)> {
        self.definitions.iter().filter_map(|(&id, definition)| {
            let comments = definition.comments().filter(|comments| !comments.is_empty())?;
            Some((id, definition.as_ref(), comments))
        })
    }
}
