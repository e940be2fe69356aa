//! What the shell asks the server about its tables: for `\d` and its kin, and for completion.

use std::io;

use model::error::SqlError;
use model::value::ValueRef;

use super::format::Column;
use super::meta::Relations;
use super::session::{Session, Sink, Trouble};

/// Tables and views, for `\d`.
pub const RELATIONS: &str = "SELECT table_schema AS schema, table_name AS name, table_type AS type \
     FROM information_schema.tables \
     WHERE table_schema NOT IN ('information_schema', 'pg_catalog', 'phantom') ORDER BY 1, 2";

const TABLES: &str = "SELECT table_schema AS schema, table_name AS name FROM information_schema.tables \
     WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('information_schema', 'pg_catalog', 'phantom') \
     ORDER BY 1, 2";

const VIEWS: &str = "SELECT table_schema AS schema, table_name AS name FROM information_schema.tables \
     WHERE table_type = 'VIEW' AND table_schema NOT IN ('information_schema', 'pg_catalog', 'phantom') \
     ORDER BY 1, 2";

const INDEXES: &str = "SELECT schemaname AS schema, tablename AS \"table\", indexname AS name, indexdef AS definition \
     FROM pg_catalog.pg_indexes ORDER BY 1, 2, 3";

const DATABASES: &str = "SELECT datname AS name FROM pg_catalog.pg_database ORDER BY 1";

/// Names for completion are asked for up to this number.
const NAMES_MAX: usize = 20_000;

/// The statement that lists relations of a kind.
pub fn list(relations: Relations) -> &'static str {
    match relations {
        Relations::Tables => TABLES,
        Relations::Views => VIEWS,
        Relations::Indexes => INDEXES,
        Relations::Databases => DATABASES,
    }
}

/// The statements that describe the table: columns, indexes, constraints.
pub fn describe(table: &str) -> [String; 3] {
    let table = literal(table);
    [
        format!(
            "SELECT column_name AS \"column\", data_type AS type, character_maximum_length AS length, \
             is_nullable AS nullable, column_default AS \"default\" \
             FROM information_schema.columns WHERE table_name = {table} ORDER BY ordinal_position"
        ),
        format!(
            "SELECT indexname AS \"index\", indexdef AS definition \
             FROM pg_catalog.pg_indexes WHERE tablename = {table} ORDER BY 1"
        ),
        format!(
            "SELECT name AS \"constraint\", definition \
             FROM phantom.constraints WHERE table_name = {table} ORDER BY 1"
        ),
    ]
}

/// How many columns the table has; 0 when there is none of that name.
///
/// # Errors
/// Those of the statement.
pub fn columns_of(session: &mut dyn Session, table: &str) -> Result<usize, Trouble> {
    let table = literal(table);
    let sql =
        format!("SELECT column_name FROM information_schema.columns WHERE table_name = {table}");
    Ok(texts(session, &sql)?.len())
}

/// The names of all tables, views and columns.
///
/// # Errors
/// Those of the statements.
pub fn names(session: &mut dyn Session) -> Result<Vec<String>, Trouble> {
    let mut names = texts(session, "SELECT table_name FROM information_schema.tables")?;
    names.extend(texts(session, "SELECT DISTINCT column_name FROM information_schema.columns")?);
    names.sort_unstable();
    names.dedup();
    names.truncate(NAMES_MAX);
    Ok(names)
}

/// The first column of a result, as text.
fn texts(session: &mut dyn Session, sql: &str) -> Result<Vec<String>, Trouble> {
    let mut texts = Texts(Vec::new());
    session.execute(sql, &mut texts)?;
    Ok(texts.0)
}

struct Texts(Vec<String>);

impl Sink for Texts {
    fn columns(&mut self, _columns: &[Column]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, row: &[ValueRef<'_>]) -> io::Result<()> {
        if let (Some(ValueRef::Text(text)), true) = (row.first(), self.0.len() < NAMES_MAX) {
            self.0.push((*text).to_owned());
        }
        Ok(())
    }

    fn complete(&mut self, _tag: &str) -> io::Result<()> {
        Ok(())
    }

    fn notice(&mut self, _severity: &str, _notice: &SqlError) {}
}

/// A string literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
