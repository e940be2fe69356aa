//! The catalog: what databases, schemas, tables, indexes, views and roles there are.
//!
//! A [`Catalog`] is an immutable snapshot, shared by `Arc`. A schema change makes the next one
//! ([`change`]); every core then plans with that. What lasts are rows of [`objects_table`] in the
//! system partition, one an object: its definition as JSON in which defaults, checks and views
//! are SQL text ([`stored`]), bound again when the catalog is loaded.
//!
//! Everything here is a pure function of snapshots and definitions: no I/O, no tasks.

mod build;
pub mod change;
mod comments;
mod keys;
pub mod oids;
pub mod postgres;
pub mod privileges;
pub mod roles;
mod search_path;
mod sequence;
pub mod stored;
mod system;

pub use build::load;
pub use search_path::{ActivePath, INFORMATION_SCHEMA, PG_CATALOG, SearchPath, Visible};
pub use sequence::Sequence;
pub use system::{SAGAS_NAME, objects_table, sequences_table, stored_tables};

use model::id::{CatalogVersion, ObjectId};
use model::schema::{Index, Table};
use roles::Roles;
use std::collections::BTreeMap;
use std::sync::Arc;
use stored::Access;

/// The database that exists from the start.
pub const DEFAULT_DATABASE: &str = "phantom";
/// The schema that every database has from the start.
pub const DEFAULT_SCHEMA: &str = "public";
/// The schema of PhantomDB's own tables, seen in every database.
pub const SYSTEM_SCHEMA: &str = "phantom";

/// A snapshot of all definitions.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    /// Increases with every change.
    pub version: CatalogVersion,
    /// The id that the next object gets; ids are never reused.
    pub next_object: ObjectId,
    definitions: BTreeMap<ObjectId, Arc<stored::Definition>>,
    databases: BTreeMap<String, Database>,
    roles: Roles,
    /// All sequences of all databases.
    sequences: BTreeMap<ObjectId, Arc<Sequence>>,
}

/// A database: a set of schemas that sees no other database's.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// Its id.
    pub id: ObjectId,
    /// Its schemas by name.
    pub schemas: BTreeMap<String, Schema>,
}

/// A schema: a namespace of relations.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// Its id.
    pub id: ObjectId,
    /// Tables, views and sequences by name.
    pub relations: BTreeMap<String, Relation>,
}

/// What a name in `FROM` can mean.
#[derive(Debug, Clone, PartialEq)]
pub enum Relation {
    /// A table.
    Table(Arc<Table>),
    /// A view.
    View(Arc<View>),
    /// A sequence.
    Sequence(Arc<Sequence>),
}

/// A view: a named query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its id.
    pub id: ObjectId,
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Names of its columns.
    pub columns: Vec<String>,
    /// The query, in which every relation has its schema.
    pub text: String,
    /// The schemas in which other names in it are sought, in order.
    pub path: Vec<String>,
    /// Tables and views it reads.
    pub depends_on: Vec<ObjectId>,
}

impl Relation {
    /// The object's id.
    pub fn id(&self) -> ObjectId {
        match self {
            Relation::Table(table) => table.id,
            Relation::View(view) => view.id,
            Relation::Sequence(sequence) => sequence.id,
        }
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        match self {
            Relation::Table(table) => &table.name,
            Relation::View(view) => &view.name,
            Relation::Sequence(sequence) => &sequence.name,
        }
    }
}

impl Catalog {
    /// The catalog of a node that has stored nothing yet: the default database and the system
    /// tables.
    pub fn bootstrap() -> Catalog {
        let definitions = BTreeMap::from([
            (
                system::DEFAULT_DATABASE_ID,
                Arc::new(stored::Definition::Database(stored::DatabaseDefinition {
                    name: DEFAULT_DATABASE.to_owned(),
                    access: Access::default(),
                    comments: stored::Comments::default(),
                })),
            ),
            (
                system::DEFAULT_SCHEMA_ID,
                Arc::new(stored::Definition::Schema(stored::SchemaDefinition {
                    database: DEFAULT_DATABASE.to_owned(),
                    name: DEFAULT_SCHEMA.to_owned(),
                    access: privileges::public_schema(roles::SUPERUSER),
                    comments: stored::Comments::default(),
                })),
            ),
            (roles::SUPERUSER, Arc::new(stored::Definition::Role(roles::default_role()))),
        ]);
        let schema = Schema { id: system::DEFAULT_SCHEMA_ID, relations: BTreeMap::new() };
        let database = Database {
            id: system::DEFAULT_DATABASE_ID,
            schemas: BTreeMap::from([(DEFAULT_SCHEMA.to_owned(), schema)]),
        };
        Catalog {
            version: CatalogVersion(1),
            next_object: ObjectId::FIRST_USER,
            roles: Roles::of(definitions.iter()),
            definitions,
            databases: BTreeMap::from([(DEFAULT_DATABASE.to_owned(), database)]),
            sequences: BTreeMap::new(),
        }
    }

    /// The database called `name`.
    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases.get(name)
    }

    /// All databases by name.
    pub fn databases(&self) -> impl Iterator<Item = (&String, &Database)> {
        self.databases.iter()
    }

    /// The relation called `name` in `schema`.
    pub fn relation(&self, database: &str, schema: &str, name: &str) -> Option<&Relation> {
        self.databases.get(database)?.schemas.get(schema)?.relations.get(name)
    }

    /// All relations of a database, with their schema's name, in order.
    pub fn relations(&self, database: &str) -> impl Iterator<Item = (&str, &Relation)> {
        let schemas = self.databases.get(database).into_iter().flat_map(|d| d.schemas.iter());
        schemas.flat_map(|(name, schema)| {
            schema.relations.values().map(move |relation| (name.as_str(), relation))
        })
    }

    /// All relations of all databases: database, schema, relation.
    pub fn all_relations(&self) -> impl Iterator<Item = (&str, &str, &Relation)> {
        self.databases.keys().flat_map(|database| {
            self.relations(database).map(|(schema, relation)| (database.as_str(), schema, relation))
        })
    }

    /// The table with this id, wherever it is.
    pub fn table(&self, id: ObjectId) -> Option<&Arc<Table>> {
        self.all_relations().find_map(|(_, _, relation)| match relation {
            Relation::Table(table) if table.id == id => Some(table),
            _ => None,
        })
    }

    /// The sequence with this id, wherever it is.
    pub fn sequence(&self, id: ObjectId) -> Option<&Arc<Sequence>> {
        self.sequences.get(&id)
    }

    /// All sequences of all databases.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<Sequence>> {
        self.sequences.values()
    }

    /// The index called `name` in a schema, and its table.
    pub fn index(
        &self,
        database: &str,
        schema: Option<&str>,
        name: &str,
    ) -> Option<(&Arc<Table>, &Index)> {
        let schema = schema.unwrap_or(DEFAULT_SCHEMA);
        self.relations(database).filter(|(within, _)| *within == schema).find_map(
            |(_, relation)| {
                let Relation::Table(table) = relation else { return None };
                let index = table.indexes.iter().find(|index| index.name == name)?;
                Some((table, index))
            },
        )
    }

    /// The name among a schema's relations that is most like `name`, for a hint.
    pub fn similar_relation(&self, database: &str, name: &str) -> Option<&str> {
        similar(name, self.relations(database).map(|(_, relation)| relation.name()))
    }
}

/// The candidate that is most like `name`: at most two letters differ, and not all of them.
pub fn similar<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const DISTANCE_MAX: usize = 2;
    let distances = candidates.map(|candidate| (edit_distance(name, candidate), candidate));
    let close = distances.filter(|(distance, _)| {
        (1..=DISTANCE_MAX).contains(distance) && *distance < name.chars().count()
    });
    close.min().map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, row by row.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let names = ["album", "artist", "track"];
        assert_eq!(similar("albun", names.into_iter()), Some("album"));
        assert_eq!(similar("trakc", names.into_iter()), Some("track"));
        assert_eq!(similar("invoice", names.into_iter()), None);
        assert_eq!(similar("x", ["y"].into_iter()), None, "nothing in common");
    }
}
