//! Definitions as they are stored: JSON, with SQL text where the model holds bound expressions.
//!
//! A stored definition is read by every later version of PhantomDB: fields are only ever added,
//! with a default.

mod access;
mod comments;
mod role;

pub use access::{Access, Grant};
pub use comments::Comments;
pub use role::{Membership, RoleDefinition, SaltSecret, StoredVerifier};

use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use model::schema::ReferentialAction;
use model::value::Value;
use serde::{Deserialize, Serialize};

/// One object of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Definition {
    /// A database.
    Database(DatabaseDefinition),
    /// A schema.
    Schema(SchemaDefinition),
    /// A table with its indexes and constraints.
    Table(TableDefinition),
    /// A view.
    View(ViewDefinition),
    /// A sequence.
    Sequence(SequenceDefinition),
    /// A role.
    Role(RoleDefinition),
    /// What salts are derived from.
    SaltSecret(SaltSecret),
    /// What is no single object's.
    Counters(Counters),
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseDefinition {
    /// Its name.
    pub name: String,
    /// Owner and grants.
    #[serde(default)]
    pub access: Access,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Comments::is_empty")]
    pub comments: Comments,
}

/// A schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDefinition {
    /// The database it is in.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Owner and grants.
    #[serde(default)]
    pub access: Access,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Comments::is_empty")]
    pub comments: Comments,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// The database it is in.
    pub database: String,
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Prefix of its rows' keys; none is its id.
    #[serde(default)]
    pub storage: Option<u32>,
    /// Its columns.
    pub columns: Vec<ColumnDefinition>,
    /// Ordinals of the primary key's columns.
    pub primary_key: Vec<usize>,
    /// Name of the primary key; none where it is the hidden column.
    pub primary_key_name: Option<String>,
    /// Ordinals of the columns that place a row.
    pub partition_columns: Vec<usize>,
    /// Its indexes.
    pub indexes: Vec<IndexDefinition>,
    /// Its checks.
    pub checks: Vec<CheckDefinition>,
    /// Its references to other tables.
    pub foreign_keys: Vec<ForeignKeyDefinition>,
    /// Owner and grants.
    #[serde(default)]
    pub access: Access,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Comments::is_empty")]
    pub comments: Comments,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type's SQL name.
    pub data_type: String,
    /// Whether it takes `NULL`.
    pub nullable: bool,
    /// SQL text.
    pub default: Option<String>,
    /// What rows written before the column was added hold; none is `NULL`.
    #[serde(default)]
    pub missing: Option<StoredValue>,
    /// The hidden key.
    pub hidden: bool,
    /// Whether it is an identity column.
    #[serde(default)]
    pub identity: Option<IdentityDefinition>,
}

/// An identity column's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityDefinition {
    /// `ALWAYS`, not `BY DEFAULT`.
    pub always: bool,
    /// The sequence's id.
    pub sequence: u32,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexDefinition {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Ordinal and whether descending.
    pub columns: Vec<(usize, bool)>,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether it belongs to a `UNIQUE` constraint.
    pub constraint: bool,
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDefinition {
    /// Its name.
    pub name: String,
    /// SQL text.
    pub text: String,
}

/// A reference to another table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKeyDefinition {
    /// Its name.
    pub name: String,
    /// Ordinals in the referencing table.
    pub columns: Vec<usize>,
    /// The referenced table.
    pub parent: u32,
    /// Ordinals in the referenced table.
    pub parent_columns: Vec<usize>,
    /// What deleting does.
    pub on_delete: Action,
    /// What changing does.
    pub on_update: Action,
}

/// [`ReferentialAction`], stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// `NO ACTION`
    NoAction,
    /// `RESTRICT`
    Restrict,
    /// `CASCADE`
    Cascade,
    /// `SET NULL`
    SetNull,
    /// `SET DEFAULT`
    SetDefault,
}

/// A view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewDefinition {
    /// The database it is in.
    pub database: String,
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Names of its columns.
    pub columns: Vec<String>,
    /// SQL text, in which every relation has its schema.
    pub text: String,
    /// The schemas in which other names in it are sought, in order.
    pub path: Vec<String>,
    /// Ids of what it reads.
    pub depends_on: Vec<u32>,
    /// Owner and grants.
    #[serde(default)]
    pub access: Access,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Comments::is_empty")]
    pub comments: Comments,
}

/// A sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceDefinition {
    /// The database it is in.
    pub database: String,
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its type's SQL name.
    pub data_type: String,
    /// How far a value is from the one before.
    pub increment: i64,
    /// Smallest value.
    pub min_value: i64,
    /// Greatest value.
    pub max_value: i64,
    /// The value that `RESTART` begins with.
    pub start: i64,
    /// How many values a session takes at once.
    pub cache: i64,
    /// Whether it begins anew at its end.
    pub cycle: bool,
    /// Names its state; none is its id.
    pub state: Option<u32>,
    /// The first value of that state; none is `start`.
    pub first: Option<i64>,
    /// Table and ordinal of the column that it goes with.
    pub owned_by: Option<(u32, usize)>,
    /// Owner and grants.
    #[serde(default)]
    pub access: Access,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Comments::is_empty")]
    pub comments: Comments,
}

impl Definition {
    /// What `phantom.objects.kind` says.
    pub fn kind(&self) -> &'static str {
        match self {
            Definition::Database(_) => "database",
            Definition::Schema(_) => "schema",
            Definition::Table(_) => "table",
            Definition::View(_) => "view",
            Definition::Sequence(_) => "sequence",
            Definition::Role(_) => "role",
            Definition::SaltSecret(_) => "salt_secret",
            Definition::Counters(_) => "counters",
        }
    }

    /// The database and schema that a relation is in.
    pub fn place(&self) -> Option<(&str, &str)> {
        match self {
            Definition::Table(table) => Some((&table.database, &table.schema)),
            Definition::View(view) => Some((&view.database, &view.schema)),
            Definition::Sequence(sequence) => Some((&sequence.database, &sequence.schema)),
            _ => None,
        }
    }

    /// Whether it is a part of a database, or the database itself.
    pub fn is_in(&self, database: &str) -> bool {
        match self {
            Definition::Database(known) => known.name == database,
            Definition::Schema(schema) => schema.database == database,
            definition => definition.place().is_some_and(|(known, _)| known == database),
        }
    }

    /// The JSON that is stored.
    pub fn to_json(&self) -> Result<String, SqlError> {
        serde_json::to_string(self)
            .map_err(|error| SqlError::internal(format!("a definition cannot be stored: {error}")))
    }

    /// Reads stored JSON; XX001 where it is none.
    pub fn from_json(id: ObjectId, json: &str) -> Result<Definition, SqlError> {
        serde_json::from_str(json).map_err(|error| {
            SqlError::new(
                SqlState::DATA_CORRUPTED,
                format!("the definition of object {id} cannot be read: {error}"),
            )
        })
    }
}

impl From<Action> for ReferentialAction {
    fn from(action: Action) -> ReferentialAction {
        match action {
            Action::NoAction => ReferentialAction::NoAction,
            Action::Restrict => ReferentialAction::Restrict,
            Action::Cascade => ReferentialAction::Cascade,
            Action::SetNull => ReferentialAction::SetNull,
            Action::SetDefault => ReferentialAction::SetDefault,
        }
    }
}

/// What is not a single object's: kept with the objects, under id 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// The catalog's version.
    pub version: u64,
    /// The id of the next object.
    pub next_object: u32,
}

/// A value, stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredValue {
    /// `boolean`
    Bool(bool),
    /// Integers.
    Int(i64),
    /// The bits of a float.
    Float(u64),
    /// Plain digits.
    Numeric(String),
    /// Strings.
    Text(String),
}

impl StoredValue {
    /// `None` where the value's type has no stored form, or it is `NULL`.
    pub fn of(value: &Value) -> Option<StoredValue> {
        Some(match value {
            Value::Bool(truth) => StoredValue::Bool(*truth),
            Value::Int(number) => StoredValue::Int(*number),
            Value::Float(number) => StoredValue::Float(number.to_bits()),
            Value::Numeric(number) => StoredValue::Numeric(number.to_string()),
            Value::Text(text) => StoredValue::Text(text.to_string()),
            _ => return None,
        })
    }

    /// The value; XX001 where it is damaged.
    pub fn value(&self) -> Result<Value, SqlError> {
        Ok(match self {
            StoredValue::Bool(truth) => Value::Bool(*truth),
            StoredValue::Int(number) => Value::Int(*number),
            StoredValue::Float(bits) => Value::Float(f64::from_bits(*bits)),
            StoredValue::Numeric(digits) => Value::Numeric(digits.parse().map_err(|error| {
                SqlError::new(
                    SqlState::DATA_CORRUPTED,
                    format!("the catalog holds the number \"{digits}\": {error}"),
                )
            })?),
            StoredValue::Text(text) => Value::text(text.as_str()),
        })
    }
}
