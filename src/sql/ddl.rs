//! Statements that change the schema: from their syntax to plain descriptions.
//!
//! Names are folded and qualified here, forms that PhantomDB does not know are refused, and
//! expressions become SQL text again, which is how the catalog keeps them. Whether a change is
//! possible is decided by [`crate::catalog::change`], which knows the catalog.

use super::SessionSettings;
use super::expression::{check_collation, unnested};
use super::names::{check_new, fold, relation_name, single_name};
use super::types::data_type;
use crate::catalog::stored::Action;
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use model::types::DataType;
use role::RoleName;
use sqlparser::ast::{self, ColumnOption, Statement, TableConstraint};

pub(crate) use super::names::NAME_BYTES_MAX;

mod alter;
mod comment;
mod drop;
mod index;
mod like;
pub mod privilege;
pub mod role;
mod sequence;
mod storage;

pub(in crate::sql) use alter::{AlterAction, Alteration, Renaming, describe as describe_alter};
pub use alter::{AlterStatement, AlteredKind, NewPlace};
pub use comment::{CommentStatement, Commented, WrittenComment};
pub(in crate::sql) use comment::{WrittenObject, describe as describe_comment};
pub use like::{Aspects, NewLike, TableLikeStatement};
pub(in crate::sql) use like::{LikeClause, describe as describe_like};
pub(in crate::sql) use sequence::{
    IdentityChange, SequenceVerb, WrittenOption, describe as describe_sequence,
};
pub use sequence::{NewSequence, SequenceOptions, SequenceStatement};
pub(crate) use sequence::{named_in_text, relation_in_text};
pub(in crate::sql) use storage::check as check_storage;

/// A change of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DdlStatement {
    /// `CREATE DATABASE`
    CreateDatabase {
        /// Its name.
        name: String,
        /// Who owns it; otherwise who creates it.
        owner: Option<RoleName>,
        /// Do nothing where it exists.
        if_not_exists: bool,
    },
    /// `DROP DATABASE`
    DropDatabase {
        /// Its name.
        name: String,
        /// Do nothing where there is none.
        if_exists: bool,
    },
    /// `CREATE SCHEMA`
    CreateSchema {
        /// The database.
        database: String,
        /// Its name; none is its owner's.
        name: Option<String>,
        /// `AUTHORIZATION`: who owns it; otherwise who creates it.
        owner: Option<RoleName>,
        /// Do nothing where it exists.
        if_not_exists: bool,
    },
    /// `DROP SCHEMA`
    DropSchemas {
        /// The database.
        database: String,
        /// Their names.
        names: Vec<String>,
        /// Do nothing where there is none.
        if_exists: bool,
        /// With all that is in it.
        cascade: bool,
    },
    /// `DROP` of what there is none of, such as types that users make.
    DropAbsent {
        /// The word for it.
        kind: &'static str,
        /// The command tag.
        tag: &'static str,
        /// Their names.
        names: Vec<String>,
        /// Do nothing where there is none.
        if_exists: bool,
    },
    /// `CREATE TABLE`
    CreateTable(NewTable),
    /// `DROP TABLE`
    DropTables(DropRelations),
    /// `DROP VIEW`
    DropViews(DropRelations),
    /// `DROP INDEX`
    DropIndexes(DropRelations),
    /// `CREATE INDEX`
    CreateIndex(NewIndex),
    /// `CREATE VIEW`
    CreateView(NewView),
    /// `ALTER TABLE`
    AlterTable {
        /// The table.
        table: RelationName,
        /// Do nothing where there is none.
        if_exists: bool,
        /// What is done, in order.
        operations: Vec<AlterOperation>,
    },
    /// `TRUNCATE`
    Truncate {
        /// The tables.
        tables: Vec<RelationName>,
        /// Also all tables that reference them.
        cascade: bool,
        /// `RESTART IDENTITY`: also the sequences that go with their columns.
        restart: bool,
    },
    /// Changes roles.
    Role(role::RoleStatement),
    /// `CREATE SEQUENCE`
    CreateSequence {
        /// Its name.
        name: RelationName,
        /// Do nothing where it exists.
        if_not_exists: bool,
        /// What it is like.
        options: SequenceOptions,
    },
    /// `ALTER SEQUENCE`
    AlterSequence {
        /// Its name.
        name: RelationName,
        /// Do nothing where there is none.
        if_exists: bool,
        /// What changes.
        options: SequenceOptions,
    },
    /// `RENAME TO`, `SET SCHEMA` of a relation or index.
    Rename {
        /// What it is said to be.
        kind: AlteredKind,
        /// Its name.
        name: RelationName,
        /// Do nothing where there is none.
        if_exists: bool,
        /// What it is called from now on.
        to: NewPlace,
    },
    /// `COMMENT ON`
    Comment(CommentStatement),
    /// `ALTER SCHEMA ... RENAME TO`
    RenameSchema {
        /// The database.
        database: String,
        /// Its name.
        name: String,
        /// Its new name.
        to: String,
    },
    /// `DROP SEQUENCE`
    DropSequences(DropRelations),
    /// Changes privileges or owners.
    Privileges {
        /// The session's database, which the names are sought in.
        database: String,
        /// What changes.
        statement: privilege::PrivilegeStatement,
    },
}
/// A relation's name, as a statement has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationName {
    /// The database.
    pub database: String,
    /// The schema; where none is written those of the session's path are meant.
    pub schema: Option<String>,
    /// The name.
    pub name: String,
}

/// A table to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTable {
    /// Its name.
    pub name: RelationName,
    /// Do nothing where it exists.
    pub if_not_exists: bool,
    /// Its columns.
    pub columns: Vec<NewColumn>,
    /// Its constraints, those of columns too.
    pub constraints: Vec<NewConstraint>,
    /// `PARTITION BY HASH (...)`
    pub partition_by: Option<Vec<String>>,
    /// Under which its rows lie already; none: it has none.
    pub storage: Option<ObjectId>,
    /// Relations whose columns it has, too.
    pub likes: Vec<NewLike>,
}

/// A column to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it takes `NULL`.
    pub nullable: bool,
    /// SQL text.
    pub default: Option<String>,
    /// A sequence of its own, whose values it takes by default.
    pub sequence: Option<NewSequence>,
}

/// A constraint to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConstraint {
    /// Its name, if it is given one.
    pub name: Option<String>,
    /// What it says.
    pub kind: NewConstraintKind,
}

/// What a constraint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewConstraintKind {
    /// `PRIMARY KEY`
    PrimaryKey(Vec<String>),
    /// `UNIQUE`
    Unique(Vec<String>),
    /// `CHECK`
    Check {
        /// SQL text.
        text: String,
        /// The column it stands behind; names the constraint.
        column: Option<String>,
    },
    /// `FOREIGN KEY`
    ForeignKey {
        /// Referencing columns.
        columns: Vec<String>,
        /// The referenced table.
        parent: RelationName,
        /// Referenced columns; none is the primary key.
        parent_columns: Vec<String>,
        /// What deleting does.
        on_delete: Action,
        /// What changing does.
        on_update: Action,
    },
}

/// Relations or indexes to drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRelations {
    /// Their names.
    pub names: Vec<RelationName>,
    /// Skip those that do not exist.
    pub if_exists: bool,
    /// With what depends on them.
    pub cascade: bool,
}

/// An index to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIndex {
    /// Its name, if it is given one.
    pub name: Option<String>,
    /// The table.
    pub table: RelationName,
    /// Column and whether descending.
    pub columns: Vec<(String, bool)>,
    /// `UNIQUE`
    pub unique: bool,
    /// Do nothing where it exists.
    pub if_not_exists: bool,
    /// It is not made inside of a transaction. It is made no otherwise.
    pub concurrently: bool,
}

/// A view to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewView {
    /// Its name.
    pub name: RelationName,
    /// Names of the first columns, if given.
    pub columns: Vec<String>,
    /// The query, SQL text.
    pub text: String,
    /// Replace a view of this name.
    pub or_replace: bool,
    /// Do nothing where it exists.
    pub if_not_exists: bool,
}

/// One step of `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlterOperation {
    /// `ADD CONSTRAINT`
    AddConstraint(NewConstraint),
    /// `DROP CONSTRAINT`
    DropConstraint {
        /// Its name.
        name: String,
        /// Do nothing where there is none.
        if_exists: bool,
    },
    /// `ADD COLUMN`
    AddColumn {
        /// The column.
        column: NewColumn,
        /// Constraints written behind it.
        constraints: Vec<NewConstraint>,
        /// Do nothing where it exists.
        if_not_exists: bool,
    },
    /// `DROP COLUMN`
    DropColumn {
        /// Its name.
        name: String,
        /// Do nothing where there is none.
        if_exists: bool,
        /// With what of other relations depends on it.
        cascade: bool,
    },
    /// What changes nothing here, of a column that must be there.
    RequireColumn {
        /// Its name.
        name: String,
    },
    /// `RENAME COLUMN`
    RenameColumn {
        /// Its name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// `RENAME CONSTRAINT`
    RenameConstraint {
        /// Its name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// `ALTER COLUMN ... TYPE`
    SetType {
        /// The column.
        column: String,
        /// Its new type.
        data_type: DataType,
        /// `USING`: how values come from the old row; absent, by a cast.
        using: Option<String>,
    },
    /// `ALTER COLUMN ... SET NOT NULL`, `DROP NOT NULL`
    SetNullable {
        /// The column.
        column: String,
        /// Whether it takes `NULL` from now on.
        nullable: bool,
    },
    /// `ALTER COLUMN ... SET DEFAULT`, `DROP DEFAULT`
    SetDefault {
        /// The column.
        column: String,
        /// SQL text.
        default: Option<String>,
    },
    /// `ALTER COLUMN ... ADD GENERATED ... AS IDENTITY`
    AddIdentity {
        /// The column.
        column: String,
        /// `ALWAYS`, not `BY DEFAULT`.
        always: bool,
        /// Of its sequence.
        options: Box<SequenceOptions>,
    },
    /// `ALTER COLUMN ... SET GENERATED`, `SET` of an option, `RESTART`
    SetIdentity {
        /// The column.
        column: String,
        /// `ALWAYS`, not `BY DEFAULT`; none where it stays as it is.
        always: Option<bool>,
        /// What changes of its sequence.
        options: Box<SequenceOptions>,
    },
    /// `ALTER COLUMN ... DROP IDENTITY`
    DropIdentity {
        /// The column.
        column: String,
        /// Do nothing where it has none.
        if_exists: bool,
    },
}

impl DdlStatement {
    /// The command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            DdlStatement::CreateDatabase { .. } => "CREATE DATABASE",
            DdlStatement::DropDatabase { .. } => "DROP DATABASE",
            DdlStatement::CreateSchema { .. } => "CREATE SCHEMA",
            DdlStatement::DropSchemas { .. } => "DROP SCHEMA",
            DdlStatement::DropAbsent { tag, .. } => tag,
            DdlStatement::CreateTable(_) => "CREATE TABLE",
            DdlStatement::DropTables(_) => "DROP TABLE",
            DdlStatement::DropViews(_) => "DROP VIEW",
            DdlStatement::DropIndexes(_) => "DROP INDEX",
            DdlStatement::CreateIndex(_) => "CREATE INDEX",
            DdlStatement::CreateView(_) => "CREATE VIEW",
            DdlStatement::AlterTable { .. } => "ALTER TABLE",
            DdlStatement::Truncate { .. } => "TRUNCATE TABLE",
            DdlStatement::Role(statement) => statement.tag(),
            DdlStatement::CreateSequence { .. } => "CREATE SEQUENCE",
            DdlStatement::AlterSequence { .. } => "ALTER SEQUENCE",
            DdlStatement::Rename { kind, .. } => kind.tag(),
            DdlStatement::RenameSchema { .. } => "ALTER SCHEMA",
            DdlStatement::Comment(_) => "COMMENT",
            DdlStatement::DropSequences(_) => "DROP SEQUENCE",
            DdlStatement::Privileges { statement, .. } => statement.tag(),
        }
    }
}

/// Describes a statement that changes the schema; 0A000 where it is none that is known.
pub fn describe(
    statement: &Statement,
    settings: &SessionSettings,
) -> Result<DdlStatement, SqlError> {
    Ok(match statement {
        Statement::CreateTable(create) => DdlStatement::CreateTable(new_table(create, settings)?),
        Statement::CreateIndex(create) => {
            DdlStatement::CreateIndex(index::new_index(create, settings)?)
        }
        Statement::CreateView(create) => DdlStatement::CreateView(new_view(create, settings)?),
        Statement::Drop { object_type, if_exists, names, cascade, .. } => {
            drop::drop_statement(object_type, names, *if_exists, *cascade, settings)?
        }
        Statement::DropDomain(domain) => {
            drop::absent("type", "DROP DOMAIN", [&domain.name].into_iter(), domain.if_exists)?
        }
        Statement::DropExtension(extension) => DdlStatement::DropAbsent {
            kind: "extension",
            tag: "DROP EXTENSION",
            names: extension.names.iter().map(fold).collect(),
            if_exists: extension.if_exists,
        },
        Statement::CreateSchema { schema_name, if_not_exists, .. } => {
            let (name, owner) = match schema_name {
                ast::SchemaName::Simple(name) => (Some(name), None),
                ast::SchemaName::UnnamedAuthorization(owner) => (None, Some(owner)),
                ast::SchemaName::NamedAuthorization(name, owner) => (Some(name), Some(owner)),
            };
            DdlStatement::CreateSchema {
                database: settings.database.clone(),
                name: name.map(|name| single_name(name).and_then(new_name)).transpose()?,
                owner: owner.map(role_named),
                if_not_exists: *if_not_exists,
            }
        }
        Statement::CreateDatabase { db_name, if_not_exists, .. } => DdlStatement::CreateDatabase {
            name: new_name(single_name(db_name)?)?,
            owner: None,
            if_not_exists: *if_not_exists,
        },
        Statement::Truncate(truncate) => {
            if truncate.partitions.is_some() {
                return Err(SqlError::unsupported("this form of TRUNCATE"));
            }
            let names = truncate.table_names.iter();
            let tables = names.map(|target| qualified(&target.name, settings));
            DdlStatement::Truncate {
                tables: tables.collect::<Result<_, _>>()?,
                cascade: matches!(truncate.cascade, Some(ast::CascadeOption::Cascade)),
                restart: matches!(truncate.identity, Some(ast::TruncateIdentityOption::Restart)),
            }
        }
        other => {
            // The first words name the statement.
            const WORDS_SHOWN: usize = 2;
            let text = other.to_string();
            let words: Vec<&str> = text.split_whitespace().take(WORDS_SHOWN).collect();
            return Err(SqlError::unsupported(format!("the statement {}", words.join(" "))));
        }
    })
}

/// A relation's name, in the session's database.
pub(super) fn qualified(
    name: &ast::ObjectName,
    settings: &SessionSettings,
) -> Result<RelationName, SqlError> {
    let (schema, name) = relation_name(name)?;
    Ok(RelationName { database: settings.database.clone(), schema, name })
}

/// A role, as a statement names it.
pub(super) fn role_named(name: &ast::Ident) -> RoleName {
    match (name.quote_style, fold(name)) {
        (None, name) if matches!(name.as_str(), "current_role" | "current_user") => {
            RoleName::Current
        }
        (None, name) if name == "session_user" => RoleName::Session,
        (_, name) => RoleName::Named(name),
    }
}

fn new_name(name: String) -> Result<String, SqlError> {
    check_new(&name)?;
    Ok(name)
}

fn new_table(create: &ast::CreateTable, settings: &SessionSettings) -> Result<NewTable, SqlError> {
    let refused = [
        (create.temporary, "a temporary table"),
        (create.external, "an external table"),
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.query.is_some(), "this form of CREATE TABLE AS"),
        (create.like.is_some(), "this form of CREATE TABLE LIKE"),
        (create.inherits.is_some(), "INHERITS"),
        (create.partition_of.is_some(), "PARTITION OF"),
    ];
    if let Some((_, what)) = refused.iter().find(|(present, _)| *present) {
        return Err(SqlError::unsupported(what));
    }
    storage::check(&create.table_options)?;
    let name = qualified(&create.name, settings)?;
    check_new(&name.name)?;
    let mut columns = Vec::with_capacity(create.columns.len());
    let mut constraints = Vec::new();
    for definition in &create.columns {
        columns.push(new_column(definition, settings, &mut constraints)?);
    }
    for constraint in &create.constraints {
        constraints.push(table_constraint(constraint, settings)?);
    }
    let partition_by = create.partition_by.as_deref().map(partition_columns).transpose()?;
    let if_not_exists = create.if_not_exists;
    Ok(NewTable {
        name,
        if_not_exists,
        columns,
        constraints,
        partition_by,
        storage: None,
        likes: Vec::new(),
    })
}

/// `HASH (a, b)`
fn partition_columns(expression: &ast::Expr) -> Result<Vec<String>, SqlError> {
    let refuse = || {
        SqlError::unsupported(format!("PARTITION BY {expression}"))
            .hint("Write PARTITION BY HASH (column, ...).")
    };
    let ast::Expr::Function(call) = expression else { return Err(refuse()) };
    let ast::FunctionArguments::List(list) = &call.args else { return Err(refuse()) };
    if single_name(&call.name)? != "hash" || list.args.is_empty() {
        return Err(refuse());
    }
    let column = |argument: &ast::FunctionArg| match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Identifier(name))) => {
            Ok(fold(name))
        }
        _ => Err(refuse()),
    };
    list.args.iter().map(column).collect()
}

/// A column; the constraints behind it are added to `constraints`.
fn new_column(
    definition: &ast::ColumnDef,
    settings: &SessionSettings,
    constraints: &mut Vec<NewConstraint>,
) -> Result<NewColumn, SqlError> {
    let name = new_name(fold(&definition.name))?;
    let serial = sequence::serial_type(&definition.data_type);
    let mut column = NewColumn {
        name: name.clone(),
        data_type: serial.map_or_else(|| data_type(&definition.data_type), Ok)?,
        nullable: true,
        default: None,
        sequence: None,
    };
    if serial.is_some() {
        sequence::fill(&mut column, NewSequence::Serial)?;
    }
    for option in &definition.options {
        let kind = match &option.option {
            ColumnOption::Null => continue,
            ColumnOption::NotNull => {
                column.nullable = false;
                continue;
            }
            ColumnOption::Default(value) => {
                if column.sequence.is_some() || column.default.is_some() {
                    return Err(SqlError::new(
                        SqlState::SYNTAX_ERROR,
                        format!("multiple default values specified for column \"{name}\""),
                    ));
                }
                column.default = Some(value.to_string());
                continue;
            }
            ColumnOption::Generated {
                generated_as:
                    generated_as @ (ast::GeneratedAs::Always | ast::GeneratedAs::ByDefault),
                sequence_options,
                generation_expr: None,
                ..
            } => {
                let filled =
                    sequence::identity(*generated_as, sequence_options.as_deref(), settings)?;
                sequence::fill(&mut column, filled)?;
                continue;
            }
            ColumnOption::PrimaryKey(_) => NewConstraintKind::PrimaryKey(vec![name.clone()]),
            ColumnOption::Unique(_) => NewConstraintKind::Unique(vec![name.clone()]),
            ColumnOption::Check(check) => {
                let text = unnested(&check.expr).to_string();
                NewConstraintKind::Check { text, column: Some(name.clone()) }
            }
            ColumnOption::ForeignKey(key) => foreign_key(key, vec![name.clone()], settings)?,
            ColumnOption::Generated { .. } | ColumnOption::Identity(_) => {
                return Err(SqlError::unsupported("a generated column")
                    .hint("Give the column's values in INSERT, or a DEFAULT."));
            }
            ColumnOption::Collation(collation) => {
                check_collation(collation)?;
                if !column.data_type.is_text() {
                    let message =
                        format!("collations are not supported by type {}", column.data_type);
                    return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
                }
                continue;
            }
            other => return Err(SqlError::unsupported(format!("the column option {other}"))),
        };
        let name = option.name.as_ref().map(|name| new_name(fold(name))).transpose()?;
        constraints.push(NewConstraint { name, kind });
    }
    Ok(column)
}

fn table_constraint(
    constraint: &TableConstraint,
    settings: &SessionSettings,
) -> Result<NewConstraint, SqlError> {
    let (name, kind) = match constraint {
        TableConstraint::PrimaryKey(key) => {
            let columns = index::plain_columns(&key.columns)?;
            (&key.name, NewConstraintKind::PrimaryKey(columns))
        }
        TableConstraint::Unique(key) => {
            if key.nulls_distinct == ast::NullsDistinctOption::NotDistinct {
                return Err(SqlError::unsupported("UNIQUE NULLS NOT DISTINCT"));
            }
            (&key.name, NewConstraintKind::Unique(index::plain_columns(&key.columns)?))
        }
        TableConstraint::Check(check) => {
            let text = unnested(&check.expr).to_string();
            (&check.name, NewConstraintKind::Check { text, column: None })
        }
        TableConstraint::ForeignKey(key) => {
            (&key.name, foreign_key(key, key.columns.iter().map(fold).collect(), settings)?)
        }
        other => return Err(SqlError::unsupported(format!("the constraint {other}"))),
    };
    let name = name.as_ref().map(|name| new_name(fold(name))).transpose()?;
    Ok(NewConstraint { name, kind })
}

fn foreign_key(
    key: &ast::ForeignKeyConstraint,
    columns: Vec<String>,
    settings: &SessionSettings,
) -> Result<NewConstraintKind, SqlError> {
    let deferred = key.characteristics.as_ref().is_some_and(|c| {
        c.deferrable == Some(true) || c.initially == Some(ast::DeferrableInitial::Deferred)
    });
    if deferred {
        return Err(SqlError::unsupported("a deferrable constraint"));
    }
    if matches!(&key.match_kind, Some(kind) if *kind != ast::ConstraintReferenceMatchKind::Simple) {
        return Err(SqlError::unsupported("MATCH FULL or PARTIAL"));
    }
    Ok(NewConstraintKind::ForeignKey {
        columns,
        parent: qualified(&key.foreign_table, settings)?,
        parent_columns: key.referred_columns.iter().map(fold).collect(),
        on_delete: action(key.on_delete.as_ref()),
        on_update: action(key.on_update.as_ref()),
    })
}

fn action(action: Option<&ast::ReferentialAction>) -> Action {
    match action {
        None | Some(ast::ReferentialAction::NoAction) => Action::NoAction,
        Some(ast::ReferentialAction::Restrict) => Action::Restrict,
        Some(ast::ReferentialAction::Cascade) => Action::Cascade,
        Some(ast::ReferentialAction::SetNull) => Action::SetNull,
        Some(ast::ReferentialAction::SetDefault) => Action::SetDefault,
    }
}

fn new_view(create: &ast::CreateView, settings: &SessionSettings) -> Result<NewView, SqlError> {
    if create.materialized || create.temporary {
        return Err(SqlError::unsupported("a materialized or temporary view"));
    }
    let name = qualified(&create.name, settings)?;
    check_new(&name.name)?;
    let columns = create.columns.iter().map(|column| new_name(fold(&column.name)));
    Ok(NewView {
        name,
        columns: columns.collect::<Result<_, _>>()?,
        text: create.query.to_string(),
        or_replace: create.or_replace,
        if_not_exists: create.if_not_exists,
    })
}

/// A name in a message: quoted.
pub(crate) fn missing(kind: &str, name: &str) -> SqlError {
    let state = match kind {
        "database" => SqlState::INVALID_CATALOG_NAME,
        "schema" => SqlState::INVALID_SCHEMA_NAME,
        "constraint" | "index" | "role" | "type" | "extension" => SqlState::UNDEFINED_OBJECT,
        "column" => SqlState::UNDEFINED_COLUMN,
        _ => SqlState::UNDEFINED_TABLE,
    };
    SqlError::new(state, format!("{kind} \"{name}\" does not exist"))
}
