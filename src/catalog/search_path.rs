//! `search_path`: in which schemas a name without one is sought, and in which it is made.

use super::privileges::Privileges;
use super::{Catalog, Relation, SYSTEM_SCHEMA};
use model::id::ObjectId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// The schema of PostgreSQL's catalog. It is sought first where the path does not say otherwise.
pub const PG_CATALOG: &str = "pg_catalog";
/// The schema of the standard's catalog.
pub const INFORMATION_SCHEMA: &str = "information_schema";
/// What stands for the schema that is called like the acting role.
const OF_USER: &str = "$user";

/// The setting: names of schemas in order. They need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPath {
    text: Arc<str>,
    names: Arc<[String]>,
}

impl SearchPath {
    /// The path of a session that has set none, as text.
    pub const DEFAULT: &'static str = "\"$user\", public";

    /// Reads names with commas between; those without quotes are in lower case. `None` where the
    /// text is no such list.
    pub fn parse(text: &str) -> Option<SearchPath> {
        Some(SearchPath { text: text.into(), names: names(text)?.into() })
    }

    /// The setting as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Default for SearchPath {
    fn default() -> SearchPath {
        static DEFAULT: LazyLock<SearchPath> = LazyLock::new(|| SearchPath {
            text: SearchPath::DEFAULT.into(),
            names: [OF_USER.to_owned(), super::DEFAULT_SCHEMA.to_owned()].into(),
        });
        DEFAULT.clone()
    }
}

fn names(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim_start();
    let mut names = Vec::new();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (name, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => {
                let end = rest.find(|c: char| c == ',' || c.is_whitespace());
                let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
                if name.is_empty() {
                    return None;
                }
                (name.to_lowercase(), behind)
            }
        };
        names.push(name);
        rest = behind.trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// The name up to the closing quote, and what is behind it; two quotes are one of the name.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once('"')?;
        name.push_str(part);
        match behind.strip_prefix('"') {
            Some(behind) => {
                name.push('"');
                rest = behind;
            }
            None => return Some((name, behind)),
        }
    }
}

/// What a path comes to: schemas that exist and that the role may look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivePath {
    schemas: Vec<String>,
}

impl ActivePath {
    /// The path that consists of these schemas.
    pub fn of(schemas: Vec<String>) -> ActivePath {
        ActivePath { schemas }
    }

    /// The schemas that the path names, in order.
    pub fn named(&self) -> &[String] {
        &self.schemas
    }

    /// All schemas that a name is sought in, in order.
    pub fn sought(&self) -> impl Iterator<Item = &str> {
        let implied = !self.schemas.iter().any(|schema| schema == PG_CATALOG);
        implied.then_some(PG_CATALOG).into_iter().chain(self.schemas.iter().map(String::as_str))
    }

    /// The schema in which what has none is made.
    pub fn creation(&self) -> Option<&str> {
        self.schemas.first().map(String::as_str)
    }
}

/// Which objects a name alone means. The system's names and those of users do not hide one another.
pub struct Visible<'c> {
    /// The first schema of the path in which there is a relation or index of a name.
    first: HashMap<&'c str, &'c str>,
    system: Vec<&'static str>,
}

impl Visible<'_> {
    /// Whether `name` alone is what `schema` has of that name.
    pub fn is_visible(&self, schema: &str, name: &str) -> bool {
        self.system.contains(&schema) || self.first.get(name).is_some_and(|first| *first == schema)
    }
}

impl Catalog {
    /// What a path comes to for a role.
    pub fn active_path(&self, database: &str, path: &SearchPath, role: ObjectId) -> ActivePath {
        let schemas = self.database(database).map(|database| &database.schemas);
        let found = path.names.iter().filter_map(|name| {
            let usable = |name| {
                schemas
                    .and_then(|known| known.get(name))
                    .is_some_and(|schema| self.may(role, schema.id, Privileges::USAGE))
            };
            let (name, usable) = match name.as_str() {
                // Never one of the system, whatever a role is called.
                OF_USER => {
                    let name = self.roles.get(role)?.name();
                    (name, usable(name))
                }
                name @ (PG_CATALOG | INFORMATION_SCHEMA | SYSTEM_SCHEMA) => (name, true),
                name => (name, usable(name)),
            };
            usable.then(|| name.to_owned())
        });
        ActivePath { schemas: found.collect() }
    }

    /// The relations and indexes of a database that are found without their schema.
    pub fn visible(&self, database: &str, path: &ActivePath) -> Visible<'_> {
        let mut first = HashMap::new();
        let schemas = self.database(database).map(|database| &database.schemas);
        for name in path.named() {
            let Some((name, schema)) = schemas.and_then(|known| known.get_key_value(name)) else {
                continue;
            };
            let mut add = |object| {
                first.entry(object).or_insert(name.as_str());
            };
            for relation in schema.relations.values() {
                add(relation.name());
                if let Relation::Table(table) = relation {
                    table.primary_key_name.iter().for_each(|name| add(name));
                    table.indexes.iter().for_each(|index| add(&index.name));
                }
            }
        }
        let mut system = vec![PG_CATALOG, INFORMATION_SCHEMA, SYSTEM_SCHEMA];
        system.retain(|known| path.sought().any(|schema| schema == *known));
        Visible { first, system }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names_are_read_as_postgresql_reads_them() {
        let names = |text| names(text).map(|names| names.join("|"));
        assert_eq!(names(SearchPath::DEFAULT).as_deref(), Some("$user|public"));
        assert_eq!(names("").as_deref(), Some(""));
        assert_eq!(names(" A ,\"B c\", \"d\"\"e\" ").as_deref(), Some("a|B c|d\"e"));
        assert_eq!(names("\"\"").as_deref(), Some(""), "one name of no letters");
        for broken in ["a b", "a,", ",a", "a,,b", "\"a", "\"a\"b"] {
            assert_eq!(names(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_default_is_what_its_text_says() {
        assert_eq!(SearchPath::parse(SearchPath::DEFAULT), Some(SearchPath::default()));
    }

    #[test]
    fn only_what_exists_is_on_the_path() {
        let catalog = Catalog::bootstrap();
        let path = |text| {
            let path = SearchPath::parse(text).unwrap();
            catalog.active_path("phantom", &path, crate::catalog::roles::SUPERUSER)
        };
        let default = path(SearchPath::DEFAULT);
        assert_eq!(default.creation(), Some("public"));
        assert_eq!(default.sought().collect::<Vec<_>>(), ["pg_catalog", "public"]);
        assert_eq!(path("").creation(), None);
        let explicit = path("nothing, public, pg_catalog");
        assert_eq!(explicit.sought().collect::<Vec<_>>(), ["public", "pg_catalog"]);
    }
}
