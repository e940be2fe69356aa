//! `VACUUM` and `ANALYZE`: statements that scripts and tools send, and that have nothing to do here.
//!
//! Storage is compacted by itself and the planner keeps no statistics. The statements are checked
//! as PostgreSQL checks them, so that a wrong name or option is told and not passed over.

use super::binder::Binder;
use super::names::{fold, relation_name};
use super::relations::Found;
use super::statement::PlannedKind;
use crate::catalog::Relation;
use model::error::{SqlError, SqlState};
use sqlparser::ast::{Ident, ObjectName};

/// Most workers that `PARALLEL` may ask for.
const PARALLEL_MAX: i64 = 1024;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `VACUUM`, with or without `ANALYZE` in it.
    Vacuum,
    /// `ANALYZE`
    Analyze,
}

impl Verb {
    /// The statement's name, which is its command tag.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Vacuum => "VACUUM",
            Verb::Analyze => "ANALYZE",
        }
    }
}

/// A parsed statement.
#[derive(Debug, Clone)]
pub struct MaintenanceStatement {
    pub(super) verb: Verb,
    pub(super) options: Vec<WrittenWord>,
    /// None: all tables.
    pub(super) tables: Vec<WrittenTable>,
}

/// An option as it is written.
#[derive(Debug, Clone)]
pub(super) struct WrittenWord {
    /// In small letters.
    pub(super) name: String,
    pub(super) value: Option<String>,
}

/// A table, or some of its columns.
#[derive(Debug, Clone)]
pub(super) struct WrittenTable {
    pub(super) name: ObjectName,
    pub(super) columns: Vec<Ident>,
}

/// A checked statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Which of the two.
    pub verb: Verb,
    /// Names of relations that are passed over, and why: the client is warned of each.
    pub skipped: Vec<(String, Skipped)>,
}

/// Why a relation is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// It is no table.
    NoTable,
    /// It is somebody else's.
    NotOwned,
}

impl Maintenance {
    /// What the client is told of a relation that is passed over.
    pub fn warnings(&self) -> impl Iterator<Item = SqlError> {
        let verb = self.verb.name().to_lowercase();
        self.skipped.iter().map(move |(name, why)| {
            let why = match why {
                Skipped::NoTable => format!("cannot {verb} non-tables or special system tables"),
                Skipped::NotOwned => format!("only table or database owner can {verb} it"),
            };
            SqlError::new(SqlState::WARNING, format!("skipping \"{name}\" --- {why}"))
        })
    }
}

impl Binder<'_> {
    pub(super) fn bind_maintenance(
        &self,
        statement: &MaintenanceStatement,
    ) -> Result<PlannedKind, SqlError> {
        // What it names may be gone the next time.
        self.uncacheable.set(true);
        let verb = statement.verb;
        let analyzes = check_options(verb, &statement.options)?;
        if !analyzes && statement.tables.iter().any(|table| !table.columns.is_empty()) {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "ANALYZE option must be specified when a column list is provided",
            ));
        }
        let mut skipped = Vec::new();
        for table in &statement.tables {
            if let Some(why) = self.skips(table)? {
                skipped.push((relation_name(&table.name)?.1, why));
            }
        }
        Ok(PlannedKind::Maintenance(Maintenance { verb, skipped }))
    }

    /// Why a relation is passed over, if it is.
    fn skips(&self, table: &WrittenTable) -> Result<Option<Skipped>, SqlError> {
        let (schema, name) = relation_name(&table.name)?;
        let database = &self.settings.database;
        match self.find(schema.as_deref(), &name) {
            Some((_, Found::Relation(Relation::Table(found)))) => {
                for column in table.columns.iter().map(fold) {
                    if !found.columns.iter().any(|known| known.name == column) {
                        return Err(SqlError::new(
                            SqlState::UNDEFINED_COLUMN,
                            format!("column \"{column}\" of relation \"{name}\" does not exist"),
                        ));
                    }
                }
                let objects = [Some(found.id), self.catalog.database(database).map(|d| d.id)];
                let role = self.settings.actor.role;
                let mut owners =
                    objects.into_iter().flatten().filter_map(|id| self.catalog.owner(id));
                let owned = owners.any(|owner| self.catalog.roles().has_privileges_of(role, owner));
                Ok((!owned).then_some(Skipped::NotOwned))
            }
            Some((_, Found::Relation(_))) => Ok(Some(Skipped::NoTable)),
            // The system's own tables are made when they are read: nothing of them is stored.
            Some(_) => Ok(None),
            None => Err(self.unknown_relation(schema.as_deref(), &name)),
        }
    }
}

/// Refuses unknown options and values. Returns whether the statement analyzes.
fn check_options(verb: Verb, options: &[WrittenWord]) -> Result<bool, SqlError> {
    let mut analyzes = verb == Verb::Analyze;
    let (mut full, mut workers) = (false, 0);
    for option in options {
        match (verb, option.name.as_str()) {
            (_, "verbose" | "skip_locked") => {
                boolean(option)?;
            }
            (Verb::Vacuum, "analyze") => analyzes = boolean(option)?,
            (Verb::Vacuum, "full") => full = boolean(option)?,
            (Verb::Vacuum, "freeze" | "disable_page_skipping" | "process_toast" | "truncate") => {
                boolean(option)?;
            }
            (Verb::Vacuum, "index_cleanup") => {
                let auto = |value: &String| value.eq_ignore_ascii_case("auto");
                if !option.value.as_ref().is_some_and(auto) {
                    boolean(option)?;
                }
            }
            (Verb::Vacuum, "parallel") => workers = parallel(option)?,
            (verb, name) => {
                return Err(syntax(format!("unrecognized {} option \"{name}\"", verb.name())));
            }
        }
    }
    if full && workers > 0 {
        return Err(SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "VACUUM FULL cannot be performed in parallel",
        ));
    }
    Ok(analyzes)
}

fn boolean(option: &WrittenWord) -> Result<bool, SqlError> {
    let Some(value) = &option.value else { return Ok(true) };
    match value.to_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(syntax(format!("{} requires a Boolean value", option.name))),
    }
}

fn parallel(option: &WrittenWord) -> Result<i64, SqlError> {
    let Some(value) = &option.value else {
        return Err(syntax(format!(
            "parallel option requires a value between 0 and {PARALLEL_MAX}"
        )));
    };
    match value.parse::<i64>() {
        Ok(workers @ 0..=PARALLEL_MAX) => Ok(workers),
        Ok(_) => {
            Err(syntax(format!("parallel workers for vacuum must be between 0 and {PARALLEL_MAX}")))
        }
        Err(_) => Err(syntax("parallel requires an integer value")),
    }
}

fn syntax(message: impl Into<std::borrow::Cow<'static, str>>) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, message)
}
