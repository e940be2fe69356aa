//! What depends on what is dropped: named where it keeps it from going, and where it goes with it.

use super::Draft;
use crate::catalog::stored::{Definition, ViewDefinition};
use crate::sql::ddl::RelationName;
use model::error::{SqlError, SqlState};
use model::id::ObjectId;

/// Dependents that the client is told by name, as in PostgreSQL.
const LISTED_MAX: usize = 100;

impl Draft<'_> {
    /// Refuses to drop `going` where something else depends on it (2BP01). With `cascade` that goes
    /// too, and the client will be told.
    pub(super) fn require_independent(
        &mut self,
        going: &[ObjectId],
        cascade: bool,
    ) -> Result<(), SqlError> {
        // PostgreSQL begins with the last one.
        let last_first: Vec<ObjectId> = going.iter().rev().copied().collect();
        let found = self.dependents(&last_first);
        if cascade {
            self.cascaded.extend(found.into_iter().map(|(dependent, _)| dependent));
            return Ok(());
        }
        let message = match going {
            [only] => {
                format!("cannot drop {} because other objects depend on it", self.described(*only))
            }
            _ => "cannot drop desired object(s) because other objects depend on them".to_owned(),
        };
        still_needed(message, found)
    }

    /// What depends on these objects and is none of them, and on which: what goes with a view that
    /// goes, too.
    pub(super) fn dependents(&self, going: &[ObjectId]) -> Vec<(String, String)> {
        let mut all = going.to_vec();
        for &id in going {
            all.extend(self.owned_sequences(id, None));
        }
        let mut found = Vec::new();
        for &id in going {
            self.add_dependents(id, &mut all, &mut found);
        }
        found
    }

    fn add_dependents(
        &self,
        id: ObjectId,
        all: &mut Vec<ObjectId>,
        found: &mut Vec<(String, String)>,
    ) {
        for sequence in self.owned_sequences(id, None).into_iter().chain([id]) {
            for (table, ordinal) in self.defaults_on(sequence) {
                if let Some(Definition::Table(definition)) =
                    self.definitions.get(&table).map(AsRef::as_ref)
                    && !all.contains(&table)
                {
                    let column = &definition.columns[ordinal].name;
                    let owner = self.described(table);
                    let dependent = format!("default value for column {column} of {owner}");
                    found.push((dependent, self.described(sequence)));
                }
            }
        }
        for (child, table) in self.tables().filter(|(child, _)| !all.contains(child)) {
            for key in table.foreign_keys.iter().filter(|key| key.parent == id.0) {
                let dependent = format!("constraint {} on {}", key.name, self.described(child));
                found.push((dependent, self.described(id)));
            }
        }
        let reads = |view: &ViewDefinition, id: ObjectId| view.depends_on.contains(&id.0);
        let readers: Vec<(ObjectId, &ViewDefinition)> =
            self.views().filter(|(_, view)| reads(view, id)).collect();
        for (reader, view) in &readers {
            // A view depends on what views read that it reads, too.
            let by_another =
                readers.iter().any(|(other, _)| other != reader && reads(view, *other));
            if !by_another && !all.contains(reader) {
                found.push((self.described(*reader), self.described(id)));
                all.push(*reader);
                self.add_dependents(*reader, all, found);
            }
        }
    }

    /// What an object is and is called, with its schema where the name alone does not find it.
    pub(super) fn described(&self, id: ObjectId) -> String {
        let Some(definition) = self.definitions.get(&id) else { return id.to_string() };
        let Some((kind, name, _)) = definition.object() else { return id.to_string() };
        let Some((database, schema)) = definition.place() else { return format!("{kind} {name}") };
        let alone =
            RelationName { database: database.to_owned(), schema: None, name: name.to_owned() };
        match self.relation(&alone) {
            Some((found, _)) if found == id => format!("{kind} {name}"),
            _ => format!("{kind} {schema}.{name}"),
        }
    }

    /// What the client is told of what went with what was dropped.
    pub(super) fn told_of_cascade(&mut self) -> Option<SqlError> {
        let gone = std::mem::take(&mut self.cascaded);
        let notice = |text| SqlError::new(SqlState::SUCCESSFUL_COMPLETION, text);
        match gone.as_slice() {
            [] => None,
            [only] => Some(notice(format!("drop cascades to {only}"))),
            several => {
                let lines = several.iter().map(|gone| format!("drop cascades to {gone}"));
                let told = notice(format!("drop cascades to {} other objects", several.len()));
                Some(told.detail(listed(lines.collect())))
            }
        }
    }
}

/// 2BP01 with the dependents, where there are some.
pub(super) fn still_needed(
    message: String,
    dependents: Vec<(String, String)>,
) -> Result<(), SqlError> {
    if dependents.is_empty() {
        return Ok(());
    }
    let lines =
        dependents.into_iter().map(|(dependent, on)| format!("{dependent} depends on {on}"));
    Err(SqlError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .detail(listed(lines.collect()))
        .hint("Use DROP ... CASCADE to drop the dependent objects too."))
}

fn listed(mut lines: Vec<String>) -> String {
    let more = lines.len().saturating_sub(LISTED_MAX);
    lines.truncate(LISTED_MAX);
    if more > 0 {
        lines.push(format!("and {more} other objects"));
    }
    lines.join("\n")
}
