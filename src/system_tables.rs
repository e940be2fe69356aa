//! The node's own state as tables: what `\d`, drivers and `cluster status` read.
//!
//! Their rows are made from a snapshot of the catalog, and from what the node says of itself, when
//! a statement names them; nothing of it is stored. Each table is one row of [`TABLES`]: schema,
//! name, columns and the function that makes its rows.
//!
//! | table | rows |
//! |---|---|
//! | `phantom.nodes` | the cluster's nodes |
//! | `phantom.constraints` | keys, references and checks of the database's tables |
//! | `information_schema.schemata`, `.tables`, `.columns` | as the standard has them, with the columns tools ask for |
//! | `pg_catalog.pg_indexes`, `.pg_tables`, `.pg_views`, `.pg_database` | as PostgreSQL has them; the schema may be left out |
//!
//! The rest of `pg_catalog` comes with the PostgreSQL wire.

use crate::catalog::{Catalog, Relation};
use crate::sql::{SessionSettings, VirtualTable, VirtualTables};
use model::expression::Expression;
use model::schema::{Column, ForeignKey, Index, ReferentialAction, Table};
use model::text::to_text;
use model::types::DataType;
use model::value::Value;

const INFORMATION_SCHEMA: &str = "information_schema";
const PG_CATALOG: &str = "pg_catalog";
const PHANTOM: &str = crate::catalog::SYSTEM_SCHEMA;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Its number.
    pub id: u32,
    /// Its shared native door, `host:port`.
    pub address: String,
    /// `alive`, or what else it is.
    pub state: String,
    /// How many cores it has.
    pub cores: u16,
    /// Of how many partitions it has a replica.
    pub partitions: u32,
    /// How many of them it leads.
    pub leaders: u32,
}

/// The system's tables, for the binder.
#[derive(Debug, Clone, Default)]
pub struct SystemTables {
    /// The cluster's nodes, by number.
    pub nodes: Vec<NodeRow>,
}

/// A table's description and what makes its rows.
struct SystemTable {
    schema: &'static str,
    name: &'static str,
    columns: &'static [(&'static str, DataType)],
    rows: fn(&Source<'_>) -> Vec<Vec<Value>>,
}

/// What rows are made from.
struct Source<'a> {
    nodes: &'a [NodeRow],
    catalog: &'a Catalog,
    settings: &'a SessionSettings,
}

const TABLES: [SystemTable; 9] = [
    SystemTable {
        schema: PHANTOM,
        name: "nodes",
        columns: &[
            ("id", DataType::Int8),
            ("address", DataType::Text),
            ("state", DataType::Text),
            ("cores", DataType::Int8),
            ("partitions", DataType::Int8),
            ("leaders", DataType::Int8),
        ],
        rows: nodes,
    },
    SystemTable {
        schema: PHANTOM,
        name: "constraints",
        columns: &[
            ("table_schema", DataType::Text),
            ("table_name", DataType::Text),
            ("name", DataType::Text),
            ("definition", DataType::Text),
        ],
        rows: constraints,
    },
    SystemTable {
        schema: INFORMATION_SCHEMA,
        name: "schemata",
        columns: &[("catalog_name", DataType::Text), ("schema_name", DataType::Text)],
        rows: schemata,
    },
    SystemTable {
        schema: INFORMATION_SCHEMA,
        name: "tables",
        columns: &[
            ("table_catalog", DataType::Text),
            ("table_schema", DataType::Text),
            ("table_name", DataType::Text),
            ("table_type", DataType::Text),
        ],
        rows: tables,
    },
    SystemTable {
        schema: INFORMATION_SCHEMA,
        name: "columns",
        columns: &[
            ("table_catalog", DataType::Text),
            ("table_schema", DataType::Text),
            ("table_name", DataType::Text),
            ("column_name", DataType::Text),
            ("ordinal_position", DataType::Int4),
            ("column_default", DataType::Text),
            ("is_nullable", DataType::Text),
            ("data_type", DataType::Text),
            ("character_maximum_length", DataType::Int4),
            ("numeric_precision", DataType::Int4),
            ("numeric_scale", DataType::Int4),
        ],
        rows: columns,
    },
    SystemTable {
        schema: PG_CATALOG,
        name: "pg_indexes",
        columns: &[
            ("schemaname", DataType::Text),
            ("tablename", DataType::Text),
            ("indexname", DataType::Text),
            ("tablespace", DataType::Text),
            ("indexdef", DataType::Text),
        ],
        rows: indexes,
    },
    SystemTable {
        schema: PG_CATALOG,
        name: "pg_tables",
        columns: &[("schemaname", DataType::Text), ("tablename", DataType::Text)],
        rows: |source| {
            relations(source, |relation| matches!(relation, Relation::Table(_)).then(Vec::new))
        },
    },
    SystemTable {
        schema: PG_CATALOG,
        name: "pg_views",
        columns: &[
            ("schemaname", DataType::Text),
            ("viewname", DataType::Text),
            ("definition", DataType::Text),
        ],
        rows: |source| {
            relations(source, |relation| match relation {
                Relation::View(view) => Some(vec![text(&view.text)]),
                Relation::Table(_) => None,
            })
        },
    },
    SystemTable {
        schema: PG_CATALOG,
        name: "pg_database",
        columns: &[("oid", DataType::Int8), ("datname", DataType::Text)],
        rows: databases,
    },
];

impl VirtualTables for SystemTables {
    fn table(
        &self,
        schema: Option<&str>,
        name: &str,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Option<VirtualTable> {
        // PostgreSQL looks into pg_catalog first where no schema is named.
        let schema = schema.unwrap_or(PG_CATALOG);
        let table = TABLES.iter().find(|table| table.schema == schema && table.name == name)?;
        let columns = table
            .columns
            .iter()
            .map(|(name, data_type)| ((*name).to_owned(), *data_type))
            .collect();
        let rows = (table.rows)(&Source { nodes: &self.nodes, catalog, settings });
        Some(VirtualTable { columns, rows })
    }
}

fn nodes(source: &Source<'_>) -> Vec<Vec<Value>> {
    let row = |node: &NodeRow| {
        vec![
            Value::Int(node.id.into()),
            text(&node.address),
            text(&node.state),
            Value::Int(node.cores.into()),
            Value::Int(node.partitions.into()),
            Value::Int(node.leaders.into()),
        ]
    };
    source.nodes.iter().map(row).collect()
}

fn databases(source: &Source<'_>) -> Vec<Vec<Value>> {
    let row = |(name, database): (&String, &crate::catalog::Database)| {
        vec![Value::Int(database.id.0.into()), text(name)]
    };
    source.catalog.databases().map(row).collect()
}

fn schemata(source: &Source<'_>) -> Vec<Vec<Value>> {
    let database = &source.settings.database;
    let own =
        source.catalog.database(database).into_iter().flat_map(|database| database.schemas.keys());
    let built_in = [INFORMATION_SCHEMA, PG_CATALOG, PHANTOM];
    let names = own.map(String::as_str).chain(built_in);
    names.map(|name| vec![text(database), text(name)]).collect()
}

/// Schema and name of each relation of the database for which `more` gives further values.
fn relations(
    source: &Source<'_>,
    more: impl Fn(&Relation) -> Option<Vec<Value>>,
) -> Vec<Vec<Value>> {
    let all = source.catalog.relations(&source.settings.database);
    all.filter_map(|(schema, relation)| {
        let mut row = vec![text(schema), text(relation.name())];
        row.extend(more(relation)?);
        Some(row)
    })
    .collect()
}

fn tables(source: &Source<'_>) -> Vec<Vec<Value>> {
    let database = text(&source.settings.database);
    let own = relations(source, |relation| {
        Some(vec![text(match relation {
            Relation::Table(_) => "BASE TABLE",
            Relation::View(_) => "VIEW",
        })])
    });
    let built_in =
        TABLES.iter().map(|table| vec![text(table.schema), text(table.name), text("SYSTEM VIEW")]);
    own.into_iter().chain(built_in).map(|row| [vec![database.clone()], row].concat()).collect()
}

fn columns(source: &Source<'_>) -> Vec<Vec<Value>> {
    let database = text(&source.settings.database);
    let mut rows = Vec::new();
    for (schema, relation) in source.catalog.relations(&source.settings.database) {
        let place = |name: &str, position: usize| {
            vec![
                database.clone(),
                text(schema),
                text(relation.name()),
                text(name),
                ordinal(position),
            ]
        };
        match relation {
            Relation::Table(table) => {
                let visible = table.columns.iter().filter(|column| !column.hidden);
                rows.extend(visible.enumerate().map(|(position, column)| {
                    [place(&column.name, position), column_facts(column)].concat()
                }));
            }
            // The types of a view's columns are known only once it is bound.
            Relation::View(view) => {
                rows.extend(view.columns.iter().enumerate().map(|(position, name)| {
                    let unknown = vec![
                        Value::Null,
                        text("YES"),
                        Value::Null,
                        Value::Null,
                        Value::Null,
                        Value::Null,
                    ];
                    [place(name, position), unknown].concat()
                }))
            }
        }
    }
    for table in &TABLES {
        rows.extend(table.columns.iter().enumerate().map(|(position, (name, data_type))| {
            let place = vec![
                database.clone(),
                text(table.schema),
                text(table.name),
                text(name),
                ordinal(position),
            ];
            [place, vec![Value::Null, text("YES")], type_facts(*data_type)].concat()
        }));
    }
    rows
}

/// Positions are counted from 1.
fn ordinal(position: usize) -> Value {
    Value::Int(i64::try_from(position).unwrap_or(i64::MAX).saturating_add(1))
}

/// Default, whether NULL is taken, and the type.
fn column_facts(column: &Column) -> Vec<Value> {
    let default = column.default.as_ref().map_or(Value::Null, |default| match default {
        Expression::Literal(value, data_type) => text(&literal(value, *data_type)),
        _ => text("(an expression)"),
    });
    let nullable = if column.nullable { "YES" } else { "NO" };
    [vec![default, text(nullable)], type_facts(column.data_type)].concat()
}

/// The type's name, and the limits that go with it.
fn type_facts(data_type: DataType) -> Vec<Value> {
    let (length, precision, scale) = match data_type {
        DataType::Varchar(length) | DataType::Char(length) => {
            (Value::Int(length.into()), Value::Null, Value::Null)
        }
        DataType::Numeric(Some(limits)) => {
            (Value::Null, Value::Int(limits.precision.into()), Value::Int(limits.scale.into()))
        }
        _ => (Value::Null, Value::Null, Value::Null),
    };
    // The standard's names carry no modifiers.
    let name = data_type.to_string();
    let name = name.split('(').next().unwrap_or_default();
    vec![text(name), length, precision, scale]
}

fn indexes(source: &Source<'_>) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for (schema, relation) in source.catalog.relations(&source.settings.database) {
        let Relation::Table(table) = relation else { continue };
        let mut push = |name: &str, unique: bool, columns: &str| {
            let unique = if unique { "UNIQUE " } else { "" };
            let definition =
                format!("CREATE {unique}INDEX {name} ON {schema}.{} ({columns})", table.name);
            rows.push(vec![
                text(schema),
                text(&table.name),
                text(name),
                Value::Null,
                text(&definition),
            ]);
        };
        if let Some(name) = &table.primary_key_name {
            push(name, true, &names(table, table.primary_key.iter().copied()));
        }
        for index in &table.indexes {
            push(&index.name, index.unique, &index_columns(table, index));
        }
    }
    rows
}

fn index_columns(table: &Table, index: &Index) -> String {
    let columns: Vec<String> = index
        .columns
        .iter()
        .map(|column| {
            let name = table.columns.get(column.ordinal).map_or("", |column| column.name.as_str());
            format!("{name}{}", if column.descending { " DESC" } else { "" })
        })
        .collect();
    columns.join(", ")
}

fn constraints(source: &Source<'_>) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for (schema, relation) in source.catalog.relations(&source.settings.database) {
        let Relation::Table(table) = relation else { continue };
        let mut push = |name: &str, definition: String| {
            rows.push(vec![text(schema), text(&table.name), text(name), text(&definition)]);
        };
        if let Some(name) = &table.primary_key_name {
            push(
                name,
                format!("PRIMARY KEY ({})", names(table, table.primary_key.iter().copied())),
            );
        }
        for index in table.indexes.iter().filter(|index| index.constraint) {
            push(&index.name, format!("UNIQUE ({})", index_columns(table, index)));
        }
        for key in &table.foreign_keys {
            push(&key.name, reference(source.catalog, table, key));
        }
        for check in &table.checks {
            push(&check.name, format!("CHECK ({})", check.text));
        }
    }
    rows
}

fn reference(catalog: &Catalog, table: &Table, key: &ForeignKey) -> String {
    let own = names(table, key.child_columns.iter().copied());
    let theirs = catalog.table(key.parent).map_or(String::new(), |parent| {
        format!(" ({})", names(parent, key.parent_columns.iter().copied()))
    });
    let on = |what: &str, action: ReferentialAction| match action {
        ReferentialAction::NoAction => String::new(),
        ReferentialAction::Restrict => format!(" ON {what} RESTRICT"),
        ReferentialAction::Cascade => format!(" ON {what} CASCADE"),
        ReferentialAction::SetNull => format!(" ON {what} SET NULL"),
        ReferentialAction::SetDefault => format!(" ON {what} SET DEFAULT"),
    };
    format!(
        "FOREIGN KEY ({own}) REFERENCES {}{theirs}{}{}",
        key.parent_name,
        on("UPDATE", key.on_update),
        on("DELETE", key.on_delete)
    )
}

/// The names of a table's columns, separated by commas.
fn names(table: &Table, ordinals: impl Iterator<Item = usize>) -> String {
    let names: Vec<&str> = ordinals
        .filter_map(|ordinal| table.columns.get(ordinal))
        .map(|column| column.name.as_str())
        .collect();
    names.join(", ")
}

/// A literal as SQL would write it.
fn literal(value: &Value, data_type: DataType) -> String {
    match to_text(&value.as_ref(), data_type) {
        None => "NULL".to_owned(),
        Some(printed) if data_type.is_number() => printed,
        Some(printed) => format!("'{}'", printed.replace('\'', "''")),
    }
}

fn text(text: &str) -> Value {
    Value::text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> SessionSettings {
        SessionSettings {
            database: crate::catalog::DEFAULT_DATABASE.to_owned(),
            user: "phantom".to_owned(),
        }
    }

    fn look(schema: Option<&str>, name: &str) -> Option<VirtualTable> {
        let node = NodeRow {
            id: 1,
            address: "127.0.0.1:7430".to_owned(),
            state: "alive".to_owned(),
            cores: 2,
            partitions: 8,
            leaders: 8,
        };
        SystemTables { nodes: vec![node] }.table(schema, name, &Catalog::bootstrap(), &settings())
    }

    #[test]
    fn every_table_has_rows_as_wide_as_its_columns() {
        for table in &TABLES {
            let seen = look(Some(table.schema), table.name).expect(table.name);
            assert!(seen.rows.iter().all(|row| row.len() == seen.columns.len()), "{}", table.name);
        }
    }

    #[test]
    fn the_tables_list_themselves() {
        let tables = look(Some(INFORMATION_SCHEMA), "tables").expect("the table");
        let listed = tables.rows.iter().filter(|row| row[3].same(&text("SYSTEM VIEW"))).count();
        assert_eq!(listed, TABLES.len());
        let columns = look(Some(INFORMATION_SCHEMA), "columns").expect("the table");
        assert_eq!(
            columns.rows.len(),
            TABLES.iter().map(|table| table.columns.len()).sum::<usize>()
        );
    }

    #[test]
    fn only_pg_catalog_is_found_without_its_schema() {
        assert!(look(None, "pg_indexes").is_some());
        assert!(look(None, "nodes").is_none());
        assert!(look(Some("public"), "pg_indexes").is_none());
    }

    #[test]
    fn literals_are_quoted_where_sql_wants_it() {
        assert_eq!(literal(&Value::Int(7), DataType::Int4), "7");
        assert_eq!(literal(&text("it's"), DataType::Text), "'it''s'");
        assert_eq!(literal(&Value::Null, DataType::Text), "NULL");
    }
}
