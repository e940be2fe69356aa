//! Schema changes: a catalog and a statement make the next catalog, what is stored of it, and the
//! work that the data needs.
//!
//! A change is all or nothing: it is computed on a copy of the definitions, the next snapshot is
//! built from them (which binds every text again, so that a broken one is refused), and only then
//! does anyone see it. The caller does the `work`, and makes more changes on top of it if it likes; at
//! the end it stores the [`difference`] in one transaction and publishes the last catalog.

use super::build::{COUNTERS_ID, Definitions, databases, sequences};
use super::privileges::{self, Privileges};
use super::roles::{Actor, Roles};
use super::stored::{
    Access, Comments, Counters, DatabaseDefinition, Definition, SchemaDefinition, TableDefinition,
    ViewDefinition,
};
use super::{
    ActivePath, Catalog, DEFAULT_DATABASE, DEFAULT_SCHEMA, INFORMATION_SCHEMA, PG_CATALOG,
    SYSTEM_SCHEMA,
};
use crate::sql::ddl::role::RoleName;
use crate::sql::ddl::{DdlStatement, NewView, RelationName, missing};
use crate::sql::{BoundView, SessionSettings, VirtualTables};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::{CatalogVersion, ObjectId};
use model::schema::Table;
use std::sync::Arc;

mod alter;
mod column_type;
mod comment;
mod constraint;
mod dependents;
mod drop;
mod drop_column;
mod index;
mod like;
mod owner;
mod privilege;
mod rename;
mod role;
mod sequence;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use sequence::require_within;

/// A change, computed and not yet made.
#[derive(Debug, Clone)]
pub struct CatalogChange {
    /// The next catalog; the same one where nothing changes.
    pub catalog: Catalog,
    /// What the data needs, in order, before the change may be seen; `DropData` after it.
    pub work: Vec<DdlWork>,
    /// What the client is told, e.g. that a relation exists and was skipped.
    pub notices: Vec<String>,
    /// What it is warned of, and told with a detail.
    pub warnings: Vec<SqlError>,
}

/// What is stored of the way from one catalog to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChange {
    /// Definitions to store: id, kind and JSON.
    pub upserts: Vec<(ObjectId, &'static str, String)>,
    /// Definitions to delete.
    pub deletes: Vec<ObjectId>,
}

/// Work on data that a change of the schema brings with it. Tables are those of the new catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum DdlWork {
    /// Writes the entries of a new index; 23505 where it is unique and the rows are not.
    BackfillIndex {
        /// The table.
        table: ObjectId,
        /// The index.
        index: ObjectId,
    },
    /// Checks all rows against a new foreign key.
    ValidateForeignKey {
        /// The referencing table.
        table: ObjectId,
        /// The constraint.
        name: String,
    },
    /// Checks all rows against a new check.
    ValidateCheck {
        /// The table.
        table: ObjectId,
        /// The constraint.
        name: String,
    },
    /// Writes all rows of a table to its new storage, by its primary key.
    Rewrite {
        /// The table.
        table: ObjectId,
        /// How its rows are stored so far.
        from: Arc<Table>,
        /// Columns that change, and what they become of the old row's columns.
        conversions: Vec<(usize, Expression)>,
        /// The indexes that are filled with them.
        indexes: Vec<ObjectId>,
    },
    /// Checks that no row holds `NULL` in a column.
    ValidateNotNull {
        /// The table.
        table: ObjectId,
        /// The column's ordinal.
        column: usize,
    },
    /// Checks that a sequence's values so far lie within its bounds.
    CheckSequence {
        /// The sequence.
        sequence: ObjectId,
    },
    /// Removes all keys of these tables and indexes; nothing refers to them any more.
    DropData {
        /// The objects.
        objects: Vec<ObjectId>,
    },
}

/// Where a relation is, or is made.
#[derive(Debug, Clone)]
struct QualifiedName {
    database: String,
    schema: String,
    name: String,
}

/// Computes a change of the schema, in the name of a session.
pub fn apply_ddl(
    catalog: &Catalog,
    ddl: &DdlStatement,
    session: &SessionSettings,
    tables: &dyn VirtualTables,
) -> Result<CatalogChange, SqlError> {
    let mut draft = Draft::new(catalog, session, tables);
    match ddl {
        DdlStatement::CreateDatabase { name, owner, if_not_exists } => {
            draft.create_database(name, owner.as_ref(), *if_not_exists)?;
        }
        DdlStatement::DropDatabase { name, if_exists } => draft.drop_database(name, *if_exists)?,
        DdlStatement::CreateSchema { database, name, owner, if_not_exists } => {
            draft.create_schema(database, name.as_deref(), owner.as_ref(), *if_not_exists)?;
        }
        DdlStatement::DropSchemas { database, names, if_exists, cascade } => {
            draft.drop_schemas(database, names, *if_exists, *cascade)?;
        }
        DdlStatement::DropAbsent { kind, names, if_exists, .. } => {
            names.iter().try_for_each(|name| draft.skip(*if_exists, kind, name))?;
        }
        DdlStatement::CreateTable(new) => draft.create_table(new)?,
        DdlStatement::DropTables(drop) => draft.drop_tables(drop)?,
        DdlStatement::DropViews(drop) => draft.drop_views(drop)?,
        DdlStatement::DropIndexes(drop) => draft.drop_indexes(drop)?,
        DdlStatement::CreateIndex(new) => draft.create_index(new)?,
        DdlStatement::CreateView(new) => draft.create_view(new)?,
        DdlStatement::AlterTable { table, if_exists, operations } => {
            draft.alter_table(table, *if_exists, operations)?;
        }
        DdlStatement::Truncate { tables, cascade, restart } => {
            draft.truncate(tables, *cascade, *restart)?;
        }
        DdlStatement::CreateSequence { name, if_not_exists, options } => {
            draft.create_sequence(name, *if_not_exists, options)?;
        }
        DdlStatement::AlterSequence { name, if_exists, options } => {
            draft.alter_sequence(name, *if_exists, options)?;
        }
        DdlStatement::Rename { kind, name, if_exists, to } => {
            draft.rename(*kind, name, *if_exists, to)?;
        }
        DdlStatement::Comment(statement) => draft.comment(statement)?,
        DdlStatement::RenameSchema { database, name, to } => {
            draft.rename_schema(database, name, to)?;
        }
        DdlStatement::DropSequences(drop) => draft.drop_sequences(drop)?,
        DdlStatement::Role(statement) => draft.change_roles(statement)?,
        DdlStatement::Privileges { database, statement } => {
            draft.change_privileges(database, statement)?;
        }
    }
    draft.finish()
}

impl DdlWork {
    /// Whether it writes keys of objects that the catalog does not know yet.
    pub fn fills(&self) -> bool {
        matches!(self, DdlWork::BackfillIndex { .. } | DdlWork::Rewrite { .. })
    }
}

/// What makes the stored catalog `after`, where it is `before`.
///
/// # Errors
/// A definition that cannot be written.
pub fn difference(before: &Catalog, after: &Catalog) -> Result<StoredChange, SqlError> {
    let gone = before.definitions.keys().filter(|id| !after.definitions.contains_key(id));
    let deletes = gone.copied().collect();
    let mut upserts = Vec::new();
    for (&id, definition) in &after.definitions {
        if !before.definitions.get(&id).is_some_and(|known| is_same(known, definition)) {
            upserts.push((id, definition.kind(), definition.to_json()?));
        }
    }
    upserts.push(after.stored_counters()?);
    Ok(StoredChange { upserts, deletes })
}

/// Most are shared: a change leaves alone what it does not touch.
fn is_same(one: &Arc<Definition>, other: &Arc<Definition>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

fn are_same(one: &Definitions, other: &Definitions) -> bool {
    let mut pairs = one.iter().zip(other);
    one.len() == other.len() && pairs.all(|((a, one), (b, other))| a == b && is_same(one, other))
}

impl Catalog {
    /// Whether all that is defined is the same, whatever the version.
    pub fn is_same_as(&self, other: &Catalog) -> bool {
        are_same(&self.definitions, &other.definitions)
    }

    /// The row that every change of the catalog writes: its version, and which ids are used up.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn stored_counters(&self) -> Result<(ObjectId, &'static str, String), SqlError> {
        let counters = Counters { version: self.version.0, next_object: self.next_object.0 };
        let counters = Definition::Counters(counters);
        Ok((COUNTERS_ID, counters.kind(), counters.to_json()?))
    }

    /// Whether a stored definition is that of this catalog's counters, whatever version of the program
    /// has written it.
    ///
    /// # Errors
    /// XX001 where it is none of counters.
    pub fn has_counters(&self, definition: &str) -> Result<bool, SqlError> {
        match Definition::from_json(COUNTERS_ID, definition)? {
            Definition::Counters(Counters { version, next_object }) => {
                Ok((version, next_object) == (self.version.0, self.next_object.0))
            }
            _ => Err(SqlError::new(
                SqlState::DATA_CORRUPTED,
                "the stored catalog has no counters where they belong",
            )),
        }
    }

    /// The same catalog under another version.
    pub fn with_version(&self, version: CatalogVersion) -> Catalog {
        Catalog { version, ..self.clone() }
    }

    /// The same catalog, in which the ids before `next` are used up.
    ///
    /// That is stored and published before keys are written under them: were they given out again after
    /// a failure or a crash, those keys would be taken for entries of another object.
    pub fn with_ids_used(&self, next: ObjectId) -> Catalog {
        Catalog { next_object: next.max(self.next_object), ..self.clone() }
    }
}

/// A change in the making.
struct Draft<'c> {
    before: &'c Catalog,
    actor: Actor,
    /// What views may read besides; their rows are of no concern.
    tables: &'c dyn VirtualTables,
    /// Where names without a schema are sought, and made.
    path: ActivePath,
    definitions: Definitions,
    next_object: ObjectId,
    work: Vec<DdlWork>,
    dropped: Vec<ObjectId>,
    notices: Vec<String>,
    warnings: Vec<SqlError>,
    /// What went with what was dropped.
    cascaded: Vec<String>,
}

impl<'c> Draft<'c> {
    fn new(
        before: &'c Catalog,
        session: &SessionSettings,
        tables: &'c dyn VirtualTables,
    ) -> Draft<'c> {
        let actor = session.actor;
        Draft {
            before,
            actor,
            tables,
            path: before.active_path(&session.database, &session.path, actor.role),
            definitions: before.definitions.clone(),
            next_object: before.next_object,
            work: Vec::new(),
            dropped: Vec::new(),
            notices: Vec::new(),
            warnings: Vec::new(),
            cascaded: Vec::new(),
        }
    }

    fn finish(mut self) -> Result<CatalogChange, SqlError> {
        let told = self.told_of_cascade();
        self.warnings.splice(0..0, told);
        if are_same(&self.definitions, &self.before.definitions) {
            let (catalog, work) = (self.before.clone(), Vec::new());
            let (notices, warnings) = (self.notices, self.warnings);
            return Ok(CatalogChange { catalog, work, notices, warnings });
        }
        let version = CatalogVersion(self.before.version.0 + 1);
        if !self.dropped.is_empty() {
            self.work.push(DdlWork::DropData { objects: self.dropped });
        }
        let databases = databases(&self.definitions, Some(self.before))?;
        let sequences = sequences(&databases);
        let catalog = Catalog {
            version,
            next_object: self.next_object,
            roles: Roles::of(self.definitions.iter()),
            definitions: self.definitions,
            databases,
            sequences,
        };
        let (work, notices, warnings) = (self.work, self.notices, self.warnings);
        Ok(CatalogChange { catalog, work, notices, warnings })
    }

    fn next_id(&mut self) -> Result<ObjectId, SqlError> {
        let id = self.next_object;
        let next = id.0.checked_add(1).ok_or_else(|| {
            SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "no object ids are left")
        })?;
        self.next_object = ObjectId(next);
        Ok(id)
    }

    fn put(&mut self, id: ObjectId, mut definition: Definition) {
        if let Definition::Table(table) = &mut definition {
            table.forget_comments();
        }
        self.definitions.insert(id, Arc::new(definition));
    }

    /// The id and definition of the table, view or sequence that a name means.
    fn relation(&self, name: &RelationName) -> Option<(ObjectId, &Definition)> {
        let mut schemas = self.schemas_of(name);
        schemas.find_map(|schema| self.relation_in(&name.database, schema, &name.name))
    }

    /// Where a name is sought: in its schema, or in those of the path.
    fn schemas_of<'a>(&'a self, name: &'a RelationName) -> impl Iterator<Item = &'a str> {
        let path = match name.schema {
            Some(_) => &[],
            None => self.path.named(),
        };
        name.schema.as_deref().into_iter().chain(path.iter().map(String::as_str))
    }

    /// The full name of what is made under a name.
    fn place(&self, name: &RelationName) -> Result<QualifiedName, SqlError> {
        let schema = name.schema.as_deref().or_else(|| self.path.creation());
        let schema = schema.ok_or_else(|| {
            SqlError::new(SqlState::INVALID_SCHEMA_NAME, "no schema has been selected to create in")
        })?;
        Ok(QualifiedName {
            database: name.database.clone(),
            schema: schema.to_owned(),
            name: name.name.clone(),
        })
    }

    fn relation_in(
        &self,
        database: &str,
        schema: &str,
        name: &str,
    ) -> Option<(ObjectId, &Definition)> {
        self.definitions.iter().find_map(|(&id, definition)| {
            let (in_database, in_schema, known) = match definition.as_ref() {
                Definition::Table(table) => (&table.database, &table.schema, &table.name),
                Definition::View(view) => (&view.database, &view.schema, &view.name),
                Definition::Sequence(sequence) => {
                    (&sequence.database, &sequence.schema, &sequence.name)
                }
                _ => return None,
            };
            let same = in_database == database && in_schema == schema && known == name;
            same.then_some((id, definition.as_ref()))
        })
    }

    fn table(&self, name: &RelationName) -> Result<(ObjectId, &TableDefinition), SqlError> {
        self.require_usage(name)?;
        match self.relation(name) {
            Some((id, Definition::Table(table))) => Ok((id, table)),
            Some(_) => Err(wrong_kind(&name.name, "table")),
            None => {
                let error = missing("relation", &name.name);
                Err(match self.before.similar_relation(&name.database, &name.name) {
                    Some(close) => {
                        error.hint(format!("Perhaps you meant the relation \"{close}\"."))
                    }
                    None => error,
                })
            }
        }
    }

    /// The id and definition of all tables.
    fn tables(&self) -> impl Iterator<Item = (ObjectId, &TableDefinition)> {
        self.definitions.iter().filter_map(|(&id, definition)| match definition.as_ref() {
            Definition::Table(table) => Some((id, table)),
            _ => None,
        })
    }

    fn views(&self) -> impl Iterator<Item = (ObjectId, &ViewDefinition)> {
        self.definitions.iter().filter_map(|(&id, definition)| match definition.as_ref() {
            Definition::View(view) => Some((id, view)),
            _ => None,
        })
    }

    /// Whether a relation or index of this name exists in a schema: they share their names.
    fn is_taken(&self, database: &str, schema: &str, name: &str) -> bool {
        let index_named = |table: &TableDefinition| {
            let within = table.database == database && table.schema == schema;
            let primary = table.primary_key_name.as_deref() == Some(name);
            within && (primary || table.indexes.iter().any(|index| index.name == name))
        };
        self.relation_in(database, schema, name).is_some()
            || self.tables().any(|(_, table)| index_named(table))
    }

    fn require_free(&self, name: &QualifiedName) -> Result<(), SqlError> {
        if matches!(name.schema.as_str(), SYSTEM_SCHEMA | INFORMATION_SCHEMA | PG_CATALOG) {
            return Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied for schema {}", name.schema),
            ));
        }
        let schema = self.require_schema(&name.database, &name.schema)?;
        self.require(schema, Privileges::CREATE)?;
        if self.is_taken(&name.database, &name.schema, &name.name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_TABLE,
                format!("relation \"{}\" already exists", name.name),
            ));
        }
        Ok(())
    }

    fn require_schema(&self, database: &str, schema: &str) -> Result<ObjectId, SqlError> {
        self.schema_id(database, schema).ok_or_else(|| missing("schema", schema))
    }

    fn schema_id(&self, database: &str, schema: &str) -> Option<ObjectId> {
        self.definitions.iter().find_map(|(&id, definition)| match definition.as_ref() {
            Definition::Schema(s) if s.database == database && s.name == schema => Some(id),
            _ => None,
        })
    }

    fn database_id(&self, name: &str) -> Option<ObjectId> {
        self.definitions.iter().find_map(|(&id, definition)| match definition.as_ref() {
            Definition::Database(database) if database.name == name => Some(id),
            _ => None,
        })
    }

    fn create_database(
        &mut self,
        name: &str,
        owner: Option<&RoleName>,
        if_not_exists: bool,
    ) -> Result<(), SqlError> {
        let may = self.before.roles().get(self.actor.role);
        let may =
            may.is_some_and(|role| role.definition.superuser || role.definition.create_database);
        if !may {
            return Err(role::denied("permission denied to create database"));
        }
        let owner = self.owner_of_new(owner)?;
        if self.database_id(name).is_some() {
            if if_not_exists {
                self.notices.push(format!("database \"{name}\" already exists, skipping"));
                return Ok(());
            }
            return Err(SqlError::new(
                SqlState::DUPLICATE_DATABASE,
                format!("database \"{name}\" already exists"),
            ));
        }
        let id = self.next_id()?;
        let access = Access::owned_by(owner.0);
        let new =
            DatabaseDefinition { name: name.to_owned(), access, comments: Comments::default() };
        self.put(id, Definition::Database(new));
        self.put_schema(name, DEFAULT_SCHEMA, privileges::public_schema(owner))
    }

    /// Who will own what is created; who creates it must be able to be that role.
    fn owner_of_new(&self, owner: Option<&RoleName>) -> Result<ObjectId, SqlError> {
        let Some(owner) = owner else { return Ok(self.actor.role) };
        let owner = self.role_id(owner)?;
        self.require_membership(owner)?;
        Ok(owner)
    }

    fn drop_database(&mut self, name: &str, if_exists: bool) -> Result<(), SqlError> {
        let Some(id) = self.database_id(name) else {
            return self.skip(if_exists, "database", name);
        };
        self.require_owner(id)?;
        if name == DEFAULT_DATABASE {
            return Err(SqlError::new(
                SqlState::OBJECT_IN_USE,
                format!("the database \"{name}\" cannot be dropped"),
            )
            .hint("Sessions begin in it. Drop what is in it instead."));
        }
        self.remove_all(|definition| match definition {
            Definition::Schema(schema) => schema.database == name,
            Definition::Table(table) => table.database == name,
            Definition::View(view) => view.database == name,
            Definition::Sequence(sequence) => sequence.database == name,
            Definition::Database(_)
            | Definition::Role(_)
            | Definition::SaltSecret(_)
            | Definition::Counters(_) => false,
        });
        self.definitions.remove(&id);
        Ok(())
    }

    fn create_schema(
        &mut self,
        database: &str,
        name: Option<&str>,
        owner: Option<&RoleName>,
        if_not_exists: bool,
    ) -> Result<(), SqlError> {
        let owner = match owner {
            Some(owner) => self.role_id(owner)?,
            None => self.actor.role,
        };
        let owners_name = self.before.role_name(owner);
        let name = name.unwrap_or(&owners_name);
        let Some(database_id) = self.database_id(database) else {
            return Err(missing("database", database));
        };
        self.require(database_id, Privileges::CREATE)?;
        self.require_membership(owner)?;
        match self.require_new_schema(database, name) {
            Err(error) if if_not_exists && error.state() == SqlState::DUPLICATE_SCHEMA => {
                self.notices.push(format!("schema \"{name}\" already exists, skipping"));
                Ok(())
            }
            Err(error) => Err(error),
            Ok(()) => self.put_schema(database, name, Access::owned_by(owner.0)),
        }
    }

    /// Refuses a schema's name that is taken or reserved.
    fn require_new_schema(&self, database: &str, name: &str) -> Result<(), SqlError> {
        let reserved = name == SYSTEM_SCHEMA || name == INFORMATION_SCHEMA;
        if reserved || self.schema_id(database, name).is_some() {
            return Err(SqlError::new(
                SqlState::DUPLICATE_SCHEMA,
                format!("schema \"{name}\" already exists"),
            ));
        }
        if name.starts_with("pg_") {
            return Err(SqlError::new(
                SqlState::RESERVED_NAME,
                format!("unacceptable schema name \"{name}\""),
            )
            .detail("The prefix \"pg_\" is reserved for system schemas."));
        }
        Ok(())
    }

    fn put_schema(&mut self, database: &str, name: &str, access: Access) -> Result<(), SqlError> {
        let id = self.next_id()?;
        let (database, name) = (database.to_owned(), name.to_owned());
        let comments = Comments::default();
        self.put(id, Definition::Schema(SchemaDefinition { database, name, access, comments }));
        Ok(())
    }

    /// The answer to a name that does not exist.
    fn skip(&mut self, if_exists: bool, kind: &str, name: &str) -> Result<(), SqlError> {
        if !if_exists {
            return Err(missing(kind, name));
        }
        self.notices.push(format!("{kind} \"{name}\" does not exist, skipping"));
        Ok(())
    }

    fn bound_view(
        &self,
        text: &str,
        database: &str,
        path: &ActivePath,
    ) -> Result<BoundView, SqlError> {
        crate::sql::bind_view(text, database, path, self.actor, self.before, self.tables)
    }

    fn create_view(&mut self, new: &NewView) -> Result<(), SqlError> {
        let place = self.place(&new.name)?;
        let QualifiedName { database, schema, name } = place.clone();
        let replaced = match self.relation_in(&database, &schema, &name) {
            Some(_) if new.if_not_exists => {
                self.notices.push(format!("relation \"{name}\" already exists, skipping"));
                return Ok(());
            }
            Some((id, Definition::View(view))) if new.or_replace => Some((id, view.clone())),
            Some((_, Definition::Table(_) | Definition::Sequence(_))) if new.or_replace => {
                return Err(wrong_kind(&name, "view"));
            }
            _ => {
                self.require_free(&place)?;
                None
            }
        };
        let path = self.path.named().to_vec();
        let bound = self.bound_view(&new.text, &database, &self.path)?;
        let BoundView { columns: bound, depends_on, text } = bound;
        if new.columns.len() > bound.len() {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "CREATE VIEW specifies more column names than columns",
            ));
        }
        let rest = bound.iter().skip(new.columns.len()).map(|column| column.name.clone());
        let columns: Vec<String> = new.columns.iter().cloned().chain(rest).collect();
        if let Some(twice) = first_twice(&columns) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{twice}\" specified more than once"),
            ));
        }
        let (id, access, comments) = match &replaced {
            None => (self.next_id()?, self.own(), Comments::default()),
            Some((id, before)) => {
                self.require_owner(*id)?;
                check_replacement(*id, before, &columns, &depends_on)?;
                (*id, before.access.clone(), before.comments.clone())
            }
        };
        let depends_on = depends_on.into_iter().map(|id| id.0).collect();
        let view = ViewDefinition {
            database,
            schema,
            name,
            columns,
            text,
            path,
            depends_on,
            access,
            comments,
        };
        self.put(id, Definition::View(view));
        Ok(())
    }
}

/// A view that is replaced keeps its first columns and does not come to read itself.
fn check_replacement(
    id: ObjectId,
    before: &ViewDefinition,
    columns: &[String],
    depends_on: &[ObjectId],
) -> Result<(), SqlError> {
    if !columns.starts_with(&before.columns) {
        return Err(SqlError::new(
            SqlState::INVALID_TABLE_DEFINITION,
            "cannot drop or rename columns of a view by replacing it",
        )
        .hint("Drop the view and create it again."));
    }
    if depends_on.contains(&id) {
        return Err(SqlError::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("the view \"{}\" would read itself", before.name),
        ));
    }
    Ok(())
}

fn wrong_kind(name: &str, wanted: &str) -> SqlError {
    SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a {wanted}"))
}

/// The first name that stands twice.
fn first_twice(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name)
}
