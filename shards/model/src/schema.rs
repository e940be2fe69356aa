//! Tables, indexes and constraints, as every layer sees them.

use crate::expression::Expression;
use crate::id::ObjectId;
use crate::types::DataType;
use crate::value::Value;

/// A table. Shared by plans and caches; a schema change makes a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names it for as long as it exists.
    pub id: ObjectId,
    /// Prefix of its rows' keys: its id, until its rows are replaced as a whole.
    pub storage: ObjectId,
    /// The schema (namespace) it is in.
    pub schema: String,
    /// Its name, as it is folded.
    pub name: String,
    /// The columns in storage order; a dropped one would keep its place.
    pub columns: Vec<Column>,
    /// Ordinals of the key columns, in key order. A table declared without a primary key has a
    /// hidden `bigint` column as its key, filled from the clock, so that rows keep their order of
    /// insertion within a partition.
    pub primary_key: Vec<usize>,
    /// Name of the primary key's constraint; `None` where the key is the hidden column.
    pub primary_key_name: Option<String>,
    /// Ordinals of the columns whose hash places a row: a subset of `primary_key`.
    pub partition_columns: Vec<usize>,
    /// How rows are placed.
    pub placement: Placement,
    /// Secondary indexes.
    pub indexes: Vec<Index>,
    /// `CHECK` constraints; the expressions' columns are this table's ordinals.
    pub checks: Vec<Check>,
    /// References from this table to others.
    pub foreign_keys: Vec<ForeignKey>,
    /// References from other tables (or this one) to this table.
    pub referenced_by: Vec<ForeignKey>,
}

/// How a table's rows are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement {
    /// By the hash of the partition columns.
    Hashed,
    /// In the system partition: the catalog's own tables.
    System,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name, as it is folded.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it takes `NULL`.
    pub nullable: bool,
    /// Value of a column that an `INSERT` leaves out; no columns in it.
    pub default: Option<Expression>,
    /// Value of rows written before the column was added.
    pub missing: Value,
    /// Not seen by `*` and not assignable: the key of a table without a primary key.
    pub hidden: bool,
}

/// A secondary index.
///
/// An index that is not unique lies in its rows' partitions, and its entries are the key columns
/// followed by the primary key. A unique index whose columns hold the table's partition columns
/// lies there too. Any other unique index is placed by the hash of its own columns, so that one
/// partition sees all claims to a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    /// Prefix of its entries' keys.
    pub id: ObjectId,
    /// Its name.
    pub name: String,
    /// Key columns in order.
    pub columns: Vec<IndexColumn>,
    /// Whether no two rows may agree on all columns (none of them `NULL`).
    pub unique: bool,
    /// Whether it came with a `UNIQUE` constraint of the same name.
    pub constraint: bool,
    /// Whether entries are placed by the hash of the index's own columns.
    pub global: bool,
}

/// A column of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexColumn {
    /// Ordinal in the table.
    pub ordinal: usize,
    /// Whether the order is descending.
    pub descending: bool,
}

/// A `CHECK` constraint: violated where the condition is false.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Over the table's columns by ordinal.
    pub condition: Expression,
    /// As it was written, for errors and the catalog.
    pub text: String,
}

/// A `FOREIGN KEY` constraint: complete in both tables' descriptions, so that either side can
/// check it alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The referencing table.
    pub child: ObjectId,
    /// The referencing table's name, for errors.
    pub child_name: String,
    /// Ordinals in the referencing table.
    pub child_columns: Vec<usize>,
    /// The referenced table.
    pub parent: ObjectId,
    /// The referenced table's name, for errors.
    pub parent_name: String,
    /// Ordinals in the referenced table: its primary key or the columns of a unique index.
    pub parent_columns: Vec<usize>,
    /// How the referenced key is found from a referencing row.
    pub parent_key: ReferencedKey,
    /// What deleting a referenced row does.
    pub on_delete: ReferentialAction,
    /// What changing a referenced key does.
    pub on_update: ReferentialAction,
}

/// Where a foreign key points: the key of the referenced row or of its unique index entry, made of
/// the referencing row's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencedKey {
    /// Prefix of the key: the storage of the referenced table, or the unique index that has the columns.
    pub object: ObjectId,
    /// Ordinals in the *referencing* table in the order of the referenced key's columns, with the
    /// direction that the key has there.
    pub columns: Vec<IndexColumn>,
    /// Ordinals in the *referencing* table whose hash places the referenced key, in the order of
    /// the referenced table's partition columns (of a global index: all its columns).
    pub placed_by: Vec<usize>,
}

/// What a change of a referenced row does to the rows that reference it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReferentialAction {
    /// Refuse at the end of the statement.
    NoAction,
    /// Refuse at once.
    Restrict,
    /// Delete or change them too.
    Cascade,
    /// Set their columns to `NULL`.
    SetNull,
    /// Set their columns to their defaults.
    SetDefault,
}

impl Table {
    /// The ordinal of the column called `name`.
    pub fn ordinal(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The types of all columns in storage order.
    pub fn types(&self) -> Vec<DataType> {
        self.columns.iter().map(|column| column.data_type).collect()
    }

    /// Ordinals of the columns that `*` stands for.
    pub fn visible(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.columns.len()).filter(|&ordinal| !self.columns[ordinal].hidden)
    }
}
