//! The constraints of a database, and `pg_constraint`.

use super::shape::{Rows, Shape, number, numbers};
use super::{attribute_number, real_tables};
use crate::catalog::{Catalog, Visible, oids};
use crate::sql::VirtualTable;
use model::id::ObjectId;
use model::schema::{Check, ForeignKey, Index, ReferencedKey, ReferentialAction, Table};
use model::value::Value;
use shards::exec::functions::quote_identifier;
use std::collections::BTreeSet;

/// What a constraint demands.
pub(super) enum Kind<'a> {
    PrimaryKey,
    Unique(&'a Index),
    Check(&'a Check),
    ForeignKey(&'a ForeignKey),
}

/// A constraint of a table.
pub(super) struct Constraint<'a> {
    /// Its oid; no two of a database have the same.
    pub(super) oid: u32,
    /// The schema it and its table are in.
    pub(super) schema: &'a str,
    /// Its table.
    pub(super) table: &'a Table,
    /// Its name.
    pub(super) name: &'a str,
    /// What it demands.
    pub(super) kind: Kind<'a>,
}

/// All constraints of a database; of a table, keys first.
pub(super) fn all<'a>(catalog: &'a Catalog, database: &str) -> Vec<Constraint<'a>> {
    let mut found = Vec::new();
    let mut taken = BTreeSet::new();
    for (schema, table) in real_tables(catalog, database) {
        let mut add = |name: &'a str, kind| {
            let mut oid = oids::part(table.id, name);
            // Two names that hash alike: the later one takes the next number.
            while !taken.insert(oid) {
                oid += 1;
            }
            found.push(Constraint { oid, schema, table, name, kind });
        };
        if let Some(name) = &table.primary_key_name {
            add(name, Kind::PrimaryKey);
        }
        for index in table.indexes.iter().filter(|index| index.constraint) {
            add(&index.name, Kind::Unique(index));
        }
        for reference in &table.foreign_keys {
            add(&reference.name, Kind::ForeignKey(reference));
        }
        for check in &table.checks {
            add(&check.name, Kind::Check(check));
        }
    }
    found
}

impl Constraint<'_> {
    /// Its kind as the standard's views call it.
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::PrimaryKey => "PRIMARY KEY",
            Kind::Unique(_) => "UNIQUE",
            Kind::Check(_) => "CHECK",
            Kind::ForeignKey(_) => "FOREIGN KEY",
        }
    }

    /// Ordinals of the columns it is on.
    pub(super) fn columns(&self) -> Vec<usize> {
        match self.kind {
            Kind::PrimaryKey => self.table.primary_key.clone(),
            Kind::Unique(index) => index.columns.iter().map(|column| column.ordinal).collect(),
            Kind::ForeignKey(key) => key.child_columns.clone(),
            Kind::Check(check) => (0..self.table.columns.len())
                .filter(|ordinal| {
                    check.condition.any(&|node| {
                        matches!(node, model::expression::Expression::Column(column)
                            if column.index == *ordinal)
                    })
                })
                .collect(),
        }
    }

    /// As `CREATE TABLE` would write it. `pretty`: without parentheses that nothing needs.
    pub(super) fn definition(
        &self,
        catalog: &Catalog,
        visible: &Visible<'_>,
        pretty: bool,
    ) -> String {
        match self.kind {
            Kind::PrimaryKey | Kind::Unique(_) => {
                format!("{} ({})", self.type_name(), column_names(self.table, &self.columns()))
            }
            Kind::Check(check) if pretty => format!("CHECK ({})", check.text),
            Kind::Check(check) => format!("CHECK (({}))", check.text),
            Kind::ForeignKey(key) => reference_definition(catalog, visible, self.table, key),
        }
    }

    /// The oid of the index that a key has, or that a foreign key points to.
    pub(super) fn index(&self) -> u32 {
        match self.kind {
            Kind::PrimaryKey => oids::primary_key(self.table.id),
            Kind::Unique(index) => oids::object(index.id),
            Kind::ForeignKey(ForeignKey {
                parent_key: ReferencedKey { object, .. },
                parent,
                ..
            }) => referenced_index(*parent, *object),
            Kind::Check(_) => 0,
        }
    }
}

/// A foreign key points to an index, or to the table itself where it names the primary key.
fn referenced_index(parent: ObjectId, object: ObjectId) -> u32 {
    if parent == object { oids::primary_key(parent) } else { oids::object(object) }
}

fn reference_definition(
    catalog: &Catalog,
    visible: &Visible<'_>,
    table: &Table,
    key: &ForeignKey,
) -> String {
    let parent = catalog.table(key.parent);
    let theirs = parent.map_or_else(String::new, |parent| {
        format!("({})", column_names(parent, &key.parent_columns))
    });
    let name = match parent {
        Some(parent) if !visible.is_visible(&parent.schema, &parent.name) => {
            format!("{}.{}", quote_identifier(&parent.schema), quote_identifier(&parent.name))
        }
        _ => quote_identifier(&key.parent_name),
    };
    let on = |what: &str, action: ReferentialAction| match action {
        ReferentialAction::NoAction => String::new(),
        other => format!(" ON {what} {}", action_name(other)),
    };
    let (update, delete) = (on("UPDATE", key.on_update), on("DELETE", key.on_delete));
    let own = column_names(table, &key.child_columns);
    format!("FOREIGN KEY ({own}) REFERENCES {name}{theirs}{update}{delete}")
}

/// The action's name in SQL.
pub(super) fn action_name(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    }
}

fn action_letter(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "a",
        ReferentialAction::Restrict => "r",
        ReferentialAction::Cascade => "c",
        ReferentialAction::SetNull => "n",
        ReferentialAction::SetDefault => "d",
    }
}

/// The names of a table's columns, separated by commas.
fn column_names(table: &Table, ordinals: &[usize]) -> String {
    let name = |&ordinal: &usize| quote_identifier(&table.columns[ordinal].name);
    ordinals.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// `pg_constraint`
pub(super) fn table(shape: &'static Shape, catalog: &Catalog, database: &str) -> VirtualTable {
    let mut rows = Rows::of(shape);
    for constraint in all(catalog, database) {
        let table = constraint.table;
        let positions =
            constraint.columns().into_iter().map(|ordinal| attribute_number(table, ordinal));
        let letter = match constraint.kind {
            Kind::PrimaryKey => "p",
            Kind::Unique(_) => "u",
            Kind::Check(_) => "c",
            Kind::ForeignKey(_) => "f",
        };
        let mut row = vec![
            ("oid", number(constraint.oid)),
            ("conname", Value::text(constraint.name)),
            ("connamespace", number(super::schema_oid(catalog, database, constraint.schema))),
            ("contype", Value::text(letter)),
            ("conrelid", number(oids::object(table.id))),
            ("conindid", number(constraint.index())),
            ("conkey", numbers(positions)),
        ];
        match constraint.kind {
            Kind::Check(check) => {
                row.push(("conbin", Value::text(format!("({})", check.text))));
                row.push(("connoinherit", Value::Bool(false)));
            }
            Kind::ForeignKey(key) => {
                let theirs = catalog.table(key.parent).map(|parent| {
                    numbers(key.parent_columns.iter().map(|&o| attribute_number(parent, o)))
                });
                row.extend([
                    ("confrelid", number(oids::object(key.parent))),
                    ("confupdtype", Value::text(action_letter(key.on_update))),
                    ("confdeltype", Value::text(action_letter(key.on_delete))),
                    ("confmatchtype", Value::text("s")),
                    ("confkey", Value::from(theirs)),
                ]);
            }
            Kind::PrimaryKey | Kind::Unique(_) => {}
        }
        rows.push(row);
    }
    rows.done()
}
