//! Which relation a name means, and in which schemas it is sought.

use super::binder::Binder;
use super::names::relation_name;
use crate::catalog::privileges::Privileges;
use crate::catalog::{ActivePath, Relation, SYSTEM_SCHEMA, View, Visible, stored_tables};
use model::error::{SqlError, SqlState};
use model::schema::Table;
use sqlparser::ast::{ObjectName, Spanned};
use sqlparser::tokenizer::Location;
use std::rc::Rc;
use std::sync::Arc;

/// What a name means.
pub(super) enum Found<'a> {
    /// A table whose rows are made when it is named.
    Virtual,
    /// A table of the system partition.
    System(&'static Arc<Table>),
    /// What the catalog has.
    Relation(&'a Relation),
}

/// Where a query's text names a relation.
#[derive(Debug, Clone)]
pub(super) struct NamedRelation {
    /// The first part of the name.
    pub(super) at: Location,
    /// The schema it was found in.
    pub(super) schema: String,
    /// Its name.
    pub(super) name: String,
    /// Whether the text has the schema.
    pub(super) written: bool,
    /// Whether it needs to: a common table expression in sight has the same name.
    pub(super) hidden: bool,
}

impl<'a> Binder<'a> {
    /// What a name means, and the schema it was found in.
    pub(super) fn find(&self, schema: Option<&str>, name: &str) -> Option<(String, Found<'a>)> {
        let within = |schema: &str| self.find_in(schema, name).map(|it| (schema.to_owned(), it));
        match schema {
            Some(schema) => within(schema),
            None => {
                let path = Rc::clone(&self.path.borrow());
                path.sought().find_map(within)
            }
        }
    }

    fn find_in(&self, schema: &str, name: &str) -> Option<Found<'a>> {
        if self.virtual_tables.holds(schema, name) {
            return Some(Found::Virtual);
        }
        if schema == SYSTEM_SCHEMA {
            return stored_tables().into_iter().find(|table| table.name == name).map(Found::System);
        }
        self.catalog.relation(&self.settings.database, schema, name).map(Found::Relation)
    }

    /// The relation of the catalog that a name means; `None` where there is none, or it is one of the
    /// system.
    pub(super) fn relation(&self, schema: Option<&str>, name: &str) -> Option<&'a Relation> {
        match self.find(schema, name)? {
            (_, Found::Relation(relation)) => Some(relation),
            _ => None,
        }
    }

    /// Refuses a relation whose schema is written and may not be looked into. Of the path there are
    /// only those that may.
    pub(super) fn check_schema(&self, schema: Option<&str>) -> Result<(), SqlError> {
        // What a view names was found when it was made.
        if self.inside_view() {
            return Ok(());
        }
        let database = self.catalog.database(&self.settings.database);
        let known = database.zip(schema).and_then(|(database, name)| database.schemas.get(name));
        known.map_or(Ok(()), |known| {
            self.catalog.require(self.settings.actor.role, known.id, Privileges::USAGE)
        })
    }

    /// The error for a relation that does not exist.
    pub(super) fn unknown_relation(&self, schema: Option<&str>, name: &str) -> SqlError {
        let shown = match schema {
            Some(schema) => format!("{schema}.{name}"),
            None => name.to_owned(),
        };
        let error = SqlError::new(
            SqlState::UNDEFINED_TABLE,
            format!("relation \"{shown}\" does not exist"),
        );
        match self.catalog.similar_relation(&self.settings.database, name) {
            Some(close) => error.hint(format!("Perhaps you meant the relation \"{close}\".")),
            None => error,
        }
    }

    /// The objects of the catalog that names without a schema mean.
    pub(super) fn visible(&self) -> Visible<'a> {
        self.catalog.visible(&self.settings.database, &self.path.borrow())
    }

    /// Notes where the text names a relation that is no common table expression.
    pub(super) fn note_relation(&self, name: &ObjectName, schema: &str) -> Result<(), SqlError> {
        if let Some(named) = &mut *self.named_relations.borrow_mut() {
            let (written, relation) = relation_name(name)?;
            named.push(NamedRelation {
                at: name.span().start,
                schema: schema.to_owned(),
                written: written.is_some(),
                hidden: self.ctes.borrow().iter().any(|cte| cte.name == relation),
                name: relation,
            });
        }
        Ok(())
    }

    /// Binds a view's query: with the privileges of its owner, and names as they were found when it
    /// was made.
    pub(super) fn in_view<T>(&self, view: &View, bind: impl FnOnce() -> T) -> T {
        let path = Rc::new(ActivePath::of(view.path.clone()));
        let path = self.path.replace(path);
        let (ctes, lines) = (self.ctes.take(), self.lines.take());
        let named = self.named_relations.take();
        let bound = self.as_owner_of(view.id, bind);
        self.named_relations.replace(named);
        self.ctes.replace(ctes);
        self.lines.replace(lines);
        self.path.replace(path);
        bound
    }
}
