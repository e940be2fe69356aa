//! `CREATE TABLE ... (LIKE ...)`: what of another relation a new table gets.

use super::Draft;
use crate::catalog::ActivePath;
use crate::catalog::privileges::Privileges;
use crate::catalog::stored::{
    ColumnDefinition, Definition, IdentityDefinition, IndexDefinition, TableDefinition,
};
use crate::sql::ddl::{
    Aspects, NewColumn, NewConstraint, NewConstraintKind, NewLike, NewSequence, NewTable,
    SequenceOptions, missing,
};
use crate::sql::type_named;
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use std::collections::BTreeMap;

/// A plain index to make: its columns by name, descending or not, and whether it is unique.
pub(super) struct CopiedIndex {
    pub(super) columns: Vec<(String, bool)>,
    pub(super) unique: bool,
}

/// What copied relations bring besides columns.
#[derive(Default)]
pub(super) struct Copied {
    /// Checks and keys; keys have no names yet.
    pub(super) constraints: Vec<NewConstraint>,
    pub(super) indexes: Vec<CopiedIndex>,
    pub(super) comments: CopiedComments,
}

/// What is said of columns and checks, by their names.
#[derive(Default)]
pub(super) struct CopiedComments {
    pub(super) columns: Vec<(String, String)>,
    pub(super) constraints: BTreeMap<String, String>,
}

impl Draft<'_> {
    /// The table with the columns of those that it is like, and what else it gets of them.
    pub(super) fn expanded(&self, new: &NewTable) -> Result<(NewTable, Copied), SqlError> {
        let mut table = NewTable { likes: Vec::new(), ..new.clone() };
        let mut copied = Copied::default();
        // From the end, so that the places before stay what they are.
        let mut gathered = Vec::with_capacity(new.likes.len());
        for like in &new.likes {
            gathered.push((like.at, self.columns_like(like, &mut copied)?));
        }
        for (at, columns) in gathered.into_iter().rev() {
            table.columns.splice(at..at, columns);
        }
        Ok((table, copied))
    }

    fn columns_like(
        &self,
        like: &NewLike,
        copied: &mut Copied,
    ) -> Result<Vec<NewColumn>, SqlError> {
        self.require_usage(&like.name)?;
        let Some((id, definition)) = self.relation(&like.name) else {
            return Err(missing("relation", &like.name.name));
        };
        self.require(id, Privileges::SELECT)?;
        match definition {
            Definition::Table(source) => {
                if like.including.constraints {
                    copied.constraints.extend(checks_of(source));
                }
                if like.including.indexes {
                    keys_of(source, copied);
                }
                if like.including.comments {
                    comments_of(source, like.including, &mut copied.comments);
                }
                let visible = source.columns.iter().filter(|column| !column.hidden);
                visible.map(|column| self.column_like(column, like.including)).collect()
            }
            Definition::View(_) => self.columns_of_view(id),
            _ => Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("relation \"{}\" is invalid in LIKE clause", like.name.name),
            )
            .detail("This operation is not supported for sequences.")),
        }
    }

    fn column_like(
        &self,
        source: &ColumnDefinition,
        including: Aspects,
    ) -> Result<NewColumn, SqlError> {
        let default = source.default.clone().filter(|_| including.defaults);
        let identity = source.identity.filter(|_| including.identity);
        Ok(NewColumn {
            name: source.name.clone(),
            data_type: type_named(&source.data_type)?,
            nullable: source.nullable,
            default,
            sequence: identity.and_then(|identity| self.sequence_like(identity)),
        })
    }

    /// A sequence of its own, that counts as another does.
    fn sequence_like(&self, identity: IdentityDefinition) -> Option<NewSequence> {
        let definition = self.definitions.get(&ObjectId(identity.sequence))?;
        let Definition::Sequence(source) = definition.as_ref() else { return None };
        let options = SequenceOptions {
            increment: Some(source.increment),
            min_value: Some(Some(source.min_value)),
            max_value: Some(Some(source.max_value)),
            start: Some(source.start),
            cache: Some(source.cache),
            cycle: Some(source.cycle),
            ..SequenceOptions::default()
        };
        Some(NewSequence::Identity { always: identity.always, options: Box::new(options) })
    }

    fn columns_of_view(&self, id: ObjectId) -> Result<Vec<NewColumn>, SqlError> {
        let Some(Definition::View(view)) = self.definitions.get(&id).map(AsRef::as_ref) else {
            return Err(SqlError::internal("a view that is none"));
        };
        let path = ActivePath::of(view.path.clone());
        let bound = self.bound_view(&view.text, &view.database, &path)?;
        let columns = view.columns.iter().zip(bound.columns).map(|(name, column)| NewColumn {
            name: name.clone(),
            data_type: column.data_type,
            nullable: true,
            default: None,
            sequence: None,
        });
        Ok(columns.collect())
    }
}

fn checks_of(source: &TableDefinition) -> impl Iterator<Item = NewConstraint> {
    source.checks.iter().map(|check| {
        let kind = NewConstraintKind::Check { text: check.text.clone(), column: None };
        NewConstraint { name: Some(check.name.clone()), kind }
    })
}

fn comments_of(source: &TableDefinition, including: Aspects, copied: &mut CopiedComments) {
    let columns = source.comments.columns.iter();
    copied.columns.extend(
        columns.map(|(&ordinal, text)| (source.columns[ordinal].name.clone(), text.clone())),
    );
    if including.constraints {
        let named = source.comments.constraints.iter();
        let checks = named.filter(|(name, _)| source.checks.iter().any(|c| c.name == **name));
        copied.constraints.extend(checks.map(|(name, text)| (name.clone(), text.clone())));
    }
}

/// Keys and indexes, whose names are chosen anew.
fn keys_of(source: &TableDefinition, copied: &mut Copied) {
    let name = |ordinal: usize| source.columns[ordinal].name.clone();
    let mut add = |kind| copied.constraints.push(NewConstraint { name: None, kind });
    if source.primary_key_name.is_some() {
        let columns = source.primary_key.iter().map(|&ordinal| name(ordinal));
        add(NewConstraintKind::PrimaryKey(columns.collect()));
    }
    for IndexDefinition { columns, unique, constraint, .. } in &source.indexes {
        let columns = columns.iter().map(|&(ordinal, descending)| (name(ordinal), descending));
        let columns: Vec<(String, bool)> = columns.collect();
        match constraint {
            true => {
                let names = columns.into_iter().map(|(name, _)| name).collect();
                add(NewConstraintKind::Unique(names));
            }
            false => copied.indexes.push(CopiedIndex { columns, unique: *unique }),
        }
    }
}
