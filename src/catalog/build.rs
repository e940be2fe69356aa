//! From stored definitions to the snapshot that planning reads.

use super::roles::Roles;
use super::sequence::{Sequence, build_sequence};
use super::stored::{
    Counters, Definition, ForeignKeyDefinition, IndexDefinition, TableDefinition, ViewDefinition,
};
use super::{Catalog, Database, Relation, Schema, View, oids};
use crate::sql::{bind_check, bind_default, type_named};
use model::error::{SqlError, SqlState};
use model::id::{CatalogVersion, ObjectId};
use model::schema::{
    Check, Column, ForeignKey, Identity, Index, IndexColumn, Placement, ReferencedKey, Table,
};
use model::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where [`Counters`] are kept.
pub(super) const COUNTERS_ID: ObjectId = ObjectId(0);

/// Definitions by id.
pub(super) type Definitions = BTreeMap<ObjectId, Arc<Definition>>;

/// The catalog that rows of [`super::objects_table`] describe: id and definition. No rows make the
/// catalog of a new node.
///
/// Errors: XX001 where a definition cannot be read.
pub fn load<'r>(rows: impl IntoIterator<Item = (ObjectId, &'r str)>) -> Result<Catalog, SqlError> {
    let mut catalog = Catalog::bootstrap();
    let mut counters = None;
    for (id, json) in rows {
        match Definition::from_json(id, json)? {
            Definition::Counters(read) => counters = Some(read),
            definition => {
                catalog.definitions.insert(id, Arc::new(definition));
            }
        }
    }
    if let Some(Counters { version, next_object }) = counters {
        catalog.version = CatalogVersion(version);
        catalog.next_object = ObjectId(next_object);
    }
    catalog.databases = databases(&catalog.definitions, None)?;
    catalog.roles = Roles::of(catalog.definitions.iter());
    catalog.sequences = sequences(&catalog.databases);
    Ok(catalog)
}

/// Builds everything anew. Tables that come out as they are in `before` stay shared with it.
pub(super) fn databases(
    definitions: &Definitions,
    before: Option<&Catalog>,
) -> Result<BTreeMap<String, Database>, SqlError> {
    let mut databases = BTreeMap::new();
    for (&id, definition) in definitions {
        if let Definition::Database(database) = definition.as_ref() {
            let built = Database { id, schemas: BTreeMap::new() };
            databases.insert(database.name.clone(), built);
        }
    }
    for (&id, definition) in definitions {
        if let Definition::Schema(schema) = definition.as_ref() {
            let database: &mut Database =
                databases.get_mut(&schema.database).ok_or_else(|| dangling(id))?;
            database.schemas.insert(schema.name.clone(), Schema { id, relations: BTreeMap::new() });
        }
    }
    let mut tables = tables(definitions)?;
    for (&id, definition) in definitions {
        let (database, schema, relation) = match definition.as_ref() {
            Definition::Table(table) => {
                let built = tables.remove(&id).ok_or_else(|| dangling(id))?;
                let shared = before.and_then(|before| before.table(id));
                let built = match shared {
                    Some(shared) if **shared == built => Arc::clone(shared),
                    _ => Arc::new(built),
                };
                (&table.database, &table.schema, Relation::Table(built))
            }
            Definition::View(view) => {
                (&view.database, &view.schema, Relation::View(Arc::new(build_view(id, view))))
            }
            Definition::Sequence(sequence) => {
                let built = Arc::new(build_sequence(id, sequence)?);
                (&sequence.database, &sequence.schema, Relation::Sequence(built))
            }
            _ => continue,
        };
        let schema = databases.get_mut(database).and_then(|d| d.schemas.get_mut(schema));
        let schema = schema.ok_or_else(|| dangling(id))?;
        schema.relations.insert(relation.name().to_owned(), relation);
    }
    Ok(databases)
}

/// All sequences by their id.
pub(super) fn sequences(
    databases: &BTreeMap<String, Database>,
) -> BTreeMap<ObjectId, Arc<Sequence>> {
    let schemas = databases.values().flat_map(|database| database.schemas.values());
    let relations = schemas.flat_map(|schema| schema.relations.values());
    let found = relations.filter_map(|relation| match relation {
        Relation::Sequence(sequence) => Some((sequence.id, Arc::clone(sequence))),
        _ => None,
    });
    found.collect()
}

fn dangling(id: ObjectId) -> SqlError {
    SqlError::new(
        SqlState::DATA_CORRUPTED,
        format!("object {id} of the catalog refers to one that does not exist"),
    )
}

fn build_view(id: ObjectId, view: &ViewDefinition) -> View {
    View {
        id,
        schema: view.schema.clone(),
        name: view.name.clone(),
        columns: view.columns.clone(),
        text: view.text.clone(),
        path: view.path.clone(),
        depends_on: view.depends_on.iter().copied().map(ObjectId).collect(),
    }
}

/// All tables, with the references between them.
fn tables(definitions: &Definitions) -> Result<BTreeMap<ObjectId, Table>, SqlError> {
    let mut tables = BTreeMap::new();
    for (&id, definition) in definitions {
        if let Definition::Table(table) = definition.as_ref() {
            tables.insert(id, build_table(id, table)?);
        }
    }
    for (&id, definition) in definitions {
        let Definition::Table(table) = definition.as_ref() else { continue };
        for key in &table.foreign_keys {
            let parent = tables.get(&ObjectId(key.parent)).ok_or_else(|| dangling(id))?;
            let built = build_foreign_key(id, &table.name, key, parent)?;
            let parent = built.parent;
            if let Some(child) = tables.get_mut(&id) {
                child.foreign_keys.push(built.clone());
            }
            if let Some(parent) = tables.get_mut(&parent) {
                parent.referenced_by.push(built);
            }
        }
    }
    Ok(tables)
}

/// A table without its references.
pub(super) fn build_table(id: ObjectId, table: &TableDefinition) -> Result<Table, SqlError> {
    let mut columns = Vec::with_capacity(table.columns.len());
    for definition in &table.columns {
        let data_type = type_named(&definition.data_type)?;
        let mut column = Column {
            name: definition.name.clone(),
            data_type,
            nullable: definition.nullable,
            default: None,
            missing: match &definition.missing {
                None => Value::Null,
                Some(stored) => stored.value()?,
            },
            hidden: definition.hidden,
            identity: definition.identity.map(|identity| match identity.always {
                true => Identity::Always,
                false => Identity::ByDefault,
            }),
        };
        if let Some(identity) = definition.identity {
            let next =
                format!("nextval('{}'::regclass)", oids::object(ObjectId(identity.sequence)));
            column.default = Some(bind_default(&next, &column)?);
        }
        if let Some(text) = &definition.default {
            column.default = Some(bind_default(text, &column)?);
        }
        columns.push(column);
    }
    let mut checks = Vec::with_capacity(table.checks.len());
    for check in &table.checks {
        let condition = bind_check(&check.text, &table.name, &columns)?;
        checks.push(Check { name: check.name.clone(), condition, text: check.text.clone() });
    }
    let indexes = table.indexes.iter().map(|index| build_index(table, index));
    Ok(Table {
        id,
        storage: table.storage.map_or(id, ObjectId),
        schema: table.schema.clone(),
        name: table.name.clone(),
        columns,
        primary_key: table.primary_key.clone(),
        primary_key_name: table.primary_key_name.clone(),
        partition_columns: table.partition_columns.clone(),
        placement: Placement::Hashed,
        indexes: indexes.collect(),
        checks,
        foreign_keys: Vec::new(),
        referenced_by: Vec::new(),
    })
}

fn build_index(table: &TableDefinition, index: &IndexDefinition) -> Index {
    let has = |ordinal: &usize| index.columns.iter().any(|(column, _)| column == ordinal);
    let columns = index.columns.iter();
    Index {
        id: ObjectId(index.id),
        name: index.name.clone(),
        columns: columns
            .map(|&(ordinal, descending)| IndexColumn { ordinal, descending })
            .collect(),
        unique: index.unique,
        constraint: index.constraint,
        // Claims to a key must meet in one partition: the rows' own if the key decides it.
        global: index.unique && !table.partition_columns.iter().all(has),
    }
}

fn build_foreign_key(
    child: ObjectId,
    child_name: &str,
    key: &ForeignKeyDefinition,
    parent: &Table,
) -> Result<ForeignKey, SqlError> {
    let parent_key = referenced_key(key, parent).ok_or_else(|| dangling(child))?;
    Ok(ForeignKey {
        name: key.name.clone(),
        child,
        child_name: child_name.to_owned(),
        child_columns: key.columns.clone(),
        parent: parent.id,
        parent_name: parent.name.clone(),
        parent_columns: key.parent_columns.clone(),
        parent_key,
        on_delete: key.on_delete.into(),
        on_update: key.on_update.into(),
    })
}

/// How the referenced key is made of the referencing row; `None` where the referenced columns are
/// no key.
pub(super) fn referenced_key(key: &ForeignKeyDefinition, parent: &Table) -> Option<ReferencedKey> {
    // The referencing ordinal beside a referenced one.
    let child_of = |ordinal: usize| -> Option<usize> {
        let position = key.parent_columns.iter().position(|&column| column == ordinal)?;
        key.columns.get(position).copied()
    };
    let same_set = |ordinals: &[usize]| {
        ordinals.len() == key.parent_columns.len()
            && ordinals.iter().all(|ordinal| key.parent_columns.contains(ordinal))
    };
    let placed = |ordinals: &[usize]| -> Option<Vec<usize>> {
        ordinals.iter().map(|&ordinal| child_of(ordinal)).collect()
    };
    if same_set(&parent.primary_key) {
        let columns = placed(&parent.primary_key)?.into_iter();
        return Some(ReferencedKey {
            object: parent.storage,
            columns: columns.map(|ordinal| IndexColumn { ordinal, descending: false }).collect(),
            placed_by: placed(&parent.partition_columns)?,
        });
    }
    let index = parent.indexes.iter().find(|index| {
        let ordinals: Vec<usize> = index.columns.iter().map(|column| column.ordinal).collect();
        index.unique && same_set(&ordinals)
    })?;
    let columns = index.columns.iter().map(|column| {
        let ordinal = child_of(column.ordinal)?;
        Some(IndexColumn { ordinal, descending: column.descending })
    });
    let columns: Vec<IndexColumn> = columns.collect::<Option<_>>()?;
    let placed_by = match index.global {
        true => columns.iter().map(|column| column.ordinal).collect(),
        false => placed(&parent.partition_columns)?,
    };
    Some(ReferencedKey { object: index.id, columns, placed_by })
}
