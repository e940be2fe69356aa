use super::{CatalogChange, DdlWork, StoredChange, apply_ddl, difference};
use crate::catalog::{Catalog, Relation, load};
use crate::sql::{NoVirtualTables, PlannedKind, SessionSettings, parse, plan};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use model::schema::Table;
use model::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A catalog beside what is stored of it.
struct Changing {
    catalog: Catalog,
    rows: BTreeMap<ObjectId, String>,
}

impl Changing {
    fn new() -> Changing {
        Changing { catalog: Catalog::bootstrap(), rows: BTreeMap::new() }
    }

    /// Runs the statements of `text`; the last change is returned.
    fn run(&mut self, text: &str) -> Result<CatalogChange, SqlError> {
        let settings = SessionSettings::of_system("phantom");
        let mut last = None;
        for statement in parse(text)? {
            let planned = plan(&statement, &self.catalog, &settings, &NoVirtualTables, &[])?;
            let PlannedKind::Ddl(ddl) = planned.kind else { panic!("{text} changes no schema") };
            let change = apply_ddl(&self.catalog, &ddl, &settings, &NoVirtualTables)?;
            if change.catalog.version != self.catalog.version {
                self.store(&difference(&self.catalog, &change.catalog)?);
            }
            self.catalog = change.catalog.clone();
            // What is stored always makes the same catalog again.
            let rows = self.rows.iter().map(|(id, json)| (*id, json.as_str()));
            assert_eq!(load(rows).unwrap(), self.catalog, "after {text}");
            last = Some(change);
        }
        Ok(last.expect("there is a statement"))
    }

    fn store(&mut self, stored: &StoredChange) {
        for (id, _, json) in &stored.upserts {
            self.rows.insert(*id, json.clone());
        }
        for id in &stored.deletes {
            self.rows.remove(id);
        }
    }

    fn fails(&mut self, text: &str, state: SqlState) {
        let before = self.catalog.clone();
        match self.run(text) {
            Ok(_) => panic!("{text} is accepted"),
            Err(error) => assert_eq!(error.state(), state, "{text}: {error}"),
        }
        assert_eq!(self.catalog, before, "{text} changes nothing");
    }

    fn table(&self, name: &str) -> Arc<Table> {
        match self.catalog.relation("phantom", "public", name) {
            Some(Relation::Table(table)) => Arc::clone(table),
            other => panic!("{name} is {other:?}"),
        }
    }
}

#[test]
fn what_is_said_of_columns_is_read_again() {
    let mut changing = Changing::new();
    changing.run("CREATE TABLE t (a int PRIMARY KEY, b text)").unwrap();
    changing.run("COMMENT ON COLUMN t.b IS 'of the second'").unwrap();
    changing.run("COMMENT ON COLUMN t.a IS 'of the first'").unwrap();
    changing.run("CREATE VIEW v AS SELECT a FROM t").unwrap();
    changing.run("COMMENT ON COLUMN v.a IS 'of the view'").unwrap();
}

#[test]
fn a_table_has_what_was_declared() {
    let mut c = Changing::new();
    c.run(
        "CREATE TABLE artist (artist_id INT PRIMARY KEY, name VARCHAR(120) DEFAULT 'x' || 'y');
         CREATE TABLE album (
           album_id INT, title TEXT NOT NULL UNIQUE, price NUMERIC(6, 2) CHECK (price > 0),
           artist_id INT REFERENCES artist ON DELETE CASCADE,
           CONSTRAINT album_key PRIMARY KEY (artist_id, album_id)
         ) PARTITION BY HASH (artist_id)",
    )
    .unwrap();
    let (artist, album) = (c.table("artist"), c.table("album"));
    assert_eq!(artist.primary_key_name.as_deref(), Some("artist_pkey"));
    assert!(artist.columns[1].default.is_some());
    assert_eq!(album.primary_key, [3, 0]);
    assert_eq!(album.partition_columns, [3]);
    assert!(!album.columns[3].nullable, "key columns take no NULL");
    assert_eq!(album.indexes[0].name, "album_title_key");
    assert!(album.indexes[0].global, "titles are unique over all partitions");
    assert_eq!(album.checks[0].name, "album_price_check");
    let key = &album.foreign_keys[0];
    assert_eq!((key.name.as_str(), key.parent), ("album_artist_id_fkey", artist.id));
    assert_eq!((key.parent_key.object, &key.parent_key.placed_by), (artist.id, &vec![3]));
    assert_eq!(artist.referenced_by, album.foreign_keys);
}

#[test]
fn a_table_without_a_key_gets_a_hidden_one() {
    let mut c = Changing::new();
    c.run("CREATE TABLE t (a INT, b INT)").unwrap();
    let t = c.table("t");
    assert_eq!((t.primary_key.as_slice(), t.primary_key_name.as_deref()), (&[2][..], None));
    assert!(t.columns[2].hidden);
    assert_eq!(t.visible().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn what_is_wrong_is_refused() {
    let mut c = Changing::new();
    c.run("CREATE TABLE t (a INT PRIMARY KEY, b TEXT); CREATE VIEW v AS SELECT a FROM t").unwrap();
    for (text, state) in [
        ("CREATE TABLE t (a INT)", SqlState::DUPLICATE_TABLE),
        ("CREATE TABLE v (a INT)", SqlState::DUPLICATE_TABLE),
        ("CREATE TABLE phantom.x (a INT)", SqlState::INSUFFICIENT_PRIVILEGE),
        ("CREATE TABLE nowhere.x (a INT)", SqlState::INVALID_SCHEMA_NAME),
        ("CREATE TABLE x (a INT, a TEXT)", SqlState::DUPLICATE_COLUMN),
        ("CREATE TABLE x (a INT DEFAULT 'b' || 'c')", SqlState::DATATYPE_MISMATCH),
        ("CREATE TABLE x (a INT CHECK (b > 0))", SqlState::UNDEFINED_COLUMN),
        ("CREATE TABLE x (a INT CHECK (a + 1))", SqlState::DATATYPE_MISMATCH),
        ("CREATE TABLE x (a INT PRIMARY KEY, PRIMARY KEY (a))", SqlState::INVALID_TABLE_DEFINITION),
        (
            "CREATE TABLE x (a INT PRIMARY KEY, b INT) PARTITION BY HASH (b)",
            SqlState::INVALID_TABLE_DEFINITION,
        ),
        ("CREATE TABLE x (a INT REFERENCES nowhere)", SqlState::UNDEFINED_TABLE),
        ("CREATE TABLE x (a TEXT REFERENCES t)", SqlState::DATATYPE_MISMATCH),
        ("CREATE TABLE x (a TEXT REFERENCES t (b))", SqlState::INVALID_FOREIGN_KEY),
        ("DROP TABLE t", SqlState::DEPENDENT_OBJECTS_STILL_EXIST),
        ("DROP TABLE v", SqlState::WRONG_OBJECT_TYPE),
        ("DROP TABLE nowhere", SqlState::UNDEFINED_TABLE),
        ("DROP DATABASE phantom", SqlState::OBJECT_IN_USE),
        ("DROP SCHEMA public CASCADE", SqlState::OBJECT_IN_USE),
        ("CREATE SCHEMA public", SqlState::DUPLICATE_SCHEMA),
        ("CREATE VIEW w AS SELECT nowhere FROM t", SqlState::UNDEFINED_COLUMN),
        ("CREATE OR REPLACE VIEW v AS SELECT b FROM t", SqlState::INVALID_TABLE_DEFINITION),
        ("CREATE OR REPLACE VIEW v AS SELECT a FROM v", SqlState::INVALID_TABLE_DEFINITION),
        ("CREATE INDEX i ON t (nowhere)", SqlState::UNDEFINED_COLUMN),
        ("DROP INDEX nowhere", SqlState::UNDEFINED_OBJECT),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", SqlState::FEATURE_NOT_SUPPORTED),
        ("ALTER TABLE t DROP CONSTRAINT nowhere", SqlState::UNDEFINED_OBJECT),
        ("ALTER TABLE t ADD COLUMN b INT", SqlState::DUPLICATE_COLUMN),
    ] {
        c.fails(text, state);
    }
}

#[test]
fn if_exists_is_told_and_changes_nothing() {
    let mut c = Changing::new();
    c.run("CREATE TABLE t (a INT)").unwrap();
    for text in [
        "CREATE TABLE IF NOT EXISTS t (z INT)",
        "DROP TABLE IF EXISTS nowhere",
        "DROP VIEW IF EXISTS nowhere",
        "DROP INDEX IF EXISTS nowhere",
        "DROP SCHEMA IF EXISTS nowhere",
        "DROP DATABASE IF EXISTS nowhere",
        "ALTER TABLE t DROP CONSTRAINT IF EXISTS nowhere",
        "ALTER TABLE IF EXISTS nowhere ADD COLUMN b INT",
    ] {
        let before = c.catalog.version;
        let change = c.run(text).unwrap();
        assert_eq!(change.notices.len(), 1, "{text}");
        assert!(change.catalog.is_same_as(&c.catalog), "{text}");
        assert_eq!(c.catalog.version, before, "{text}");
    }
}

#[test]
fn work_on_data_comes_with_later_changes_only() {
    let mut c = Changing::new();
    let created = c.run("CREATE TABLE t (a INT PRIMARY KEY, b INT UNIQUE CHECK (b > 0))").unwrap();
    assert_eq!(created.work, []);
    let t = c.table("t").id;
    let index = c.run("CREATE INDEX ON t (b DESC)").unwrap();
    let made = c.table("t").indexes[1].clone();
    assert_eq!((made.name.as_str(), made.columns[0].descending), ("t_b_idx", true));
    assert_eq!(index.work, [DdlWork::BackfillIndex { table: t, index: made.id }]);
    let check = c.run("ALTER TABLE t ADD CONSTRAINT small CHECK (b < 9)").unwrap();
    assert_eq!(check.work, [DdlWork::ValidateCheck { table: t, name: "small".to_owned() }]);
    let filled = c.run("ALTER TABLE t ADD COLUMN c BIGINT NOT NULL DEFAULT 7").unwrap();
    assert_eq!((filled.work, c.table("t").columns[2].missing.clone()), (vec![], Value::Int(7)));
    let strict = c.run("ALTER TABLE t ALTER COLUMN b SET NOT NULL").unwrap();
    assert_eq!(strict.work, [DdlWork::ValidateNotNull { table: t, column: 1 }]);
    let dropped = c.run("DROP INDEX t_b_idx").unwrap();
    assert_eq!(dropped.work, [DdlWork::DropData { objects: vec![made.id] }]);
}

#[test]
fn truncate_and_drop_leave_storage_behind() {
    let mut c = Changing::new();
    c.run("CREATE TABLE p (a INT PRIMARY KEY); CREATE TABLE c (a INT REFERENCES p)").unwrap();
    let (parent, child) = (c.table("p").id, c.table("c").id);
    c.fails("TRUNCATE p", SqlState::FEATURE_NOT_SUPPORTED);
    let change = c.run("TRUNCATE p CASCADE").unwrap();
    assert_eq!(change.work, [DdlWork::DropData { objects: vec![parent, child] }]);
    assert_eq!(c.table("c").foreign_keys[0].parent, c.table("p").id);
    let p = c.table("p");
    assert_eq!(p.id, parent, "it is the same table");
    assert!(p.storage > child, "ids are never used again");
    c.fails("DROP TABLE p", SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
    let dropped = c.run("DROP TABLE p CASCADE").unwrap();
    assert_eq!(dropped.work, [DdlWork::DropData { objects: vec![p.storage] }]);
    assert_eq!(c.table("c").foreign_keys, []);
}

#[test]
fn columns_are_renamed_and_dropped_in_place() {
    let mut c = Changing::new();
    c.run("CREATE TABLE t (a INT PRIMARY KEY, b INT, d TEXT)").unwrap();
    c.run("ALTER TABLE t RENAME COLUMN b TO c").unwrap();
    c.run("ALTER TABLE t DROP COLUMN c").unwrap();
    let t = c.table("t");
    assert_eq!((t.columns.len(), t.visible().collect::<Vec<_>>()), (3, vec![0, 2]));
    c.fails("ALTER TABLE t DROP COLUMN a", SqlState::FEATURE_NOT_SUPPORTED);
    c.run("ALTER TABLE t RENAME TO u").unwrap();
    assert_eq!(c.table("u").id, t.id);
}

#[test]
fn untouched_tables_stay_shared() {
    let mut c = Changing::new();
    c.run("CREATE TABLE t (a INT)").unwrap();
    let before = c.table("t");
    c.run("CREATE TABLE u (a INT)").unwrap();
    assert!(Arc::ptr_eq(&before, &c.table("t")));
}

#[test]
fn databases_and_schemas_come_and_go() {
    let mut c = Changing::new();
    c.run("CREATE SCHEMA s; CREATE TABLE s.t (a INT PRIMARY KEY)").unwrap();
    c.fails("DROP SCHEMA s", SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
    let before = c.catalog.clone();
    c.run("DROP SCHEMA s CASCADE").unwrap();
    assert_eq!(difference(&before, &c.catalog).unwrap().deletes.len(), 2);
    c.run("CREATE DATABASE chinook").unwrap();
    assert!(c.catalog.database("chinook").unwrap().schemas.contains_key("public"));
    c.run("DROP DATABASE chinook").unwrap();
    assert!(c.catalog.database("chinook").is_none());
}

#[test]
fn a_primary_key_that_is_added_has_the_rows_written_anew() {
    let mut c = Changing::new();
    c.run("CREATE TABLE t (a INT, b INT UNIQUE)").unwrap();
    let before = c.table("t");
    let added = c
        .run("ALTER TABLE t ADD CHECK (a > 0), ADD COLUMN c INT DEFAULT 7, ADD UNIQUE (c), ADD PRIMARY KEY (a), ADD UNIQUE (a, b)")
        .unwrap();
    let t = c.table("t");
    assert_eq!((t.id, t.primary_key.as_slice()), (before.id, &[0][..]));
    assert_eq!(
        (t.primary_key_name.as_deref(), t.partition_columns.as_slice()),
        (Some("t_pkey"), &[0][..])
    );
    assert_eq!(t.visible().collect::<Vec<_>>(), [0, 1, 3], "the hidden key has gone");
    assert!(!t.columns[0].nullable);
    let old = [before.storage, before.indexes[0].id];
    assert!(!old.contains(&t.storage) && !old.contains(&t.indexes[0].id));
    let [DdlWork::Rewrite { table, from, indexes, .. }, rest @ ..] = added.work.as_slice() else {
        panic!("{:?}", added.work);
    };
    assert_eq!(
        (*table, from.storage, from.primary_key.as_slice()),
        (t.id, before.storage, &[2][..])
    );
    assert_eq!(from.columns.len(), 4, "with the column that was added before");
    assert_eq!(*indexes, [t.indexes[0].id, t.indexes[1].id]);
    let [
        DdlWork::ValidateCheck { .. },
        DdlWork::BackfillIndex { index, .. },
        DdlWork::DropData { objects },
    ] = rest
    else {
        panic!("{rest:?}");
    };
    assert_eq!(*index, t.indexes[2].id, "added after the key");
    assert_eq!(objects[..2], old);
    c.fails("ALTER TABLE t ADD PRIMARY KEY (b)", SqlState::INVALID_TABLE_DEFINITION);
}

#[test]
fn several_changes_are_stored_as_one() {
    let mut c = Changing::new();
    c.run("CREATE TABLE kept (a INT); CREATE TABLE gone (a INT)").unwrap();
    let (before, rows) = (c.catalog.clone(), c.rows.clone());
    c.run("CREATE TABLE passing (a INT); ALTER TABLE kept ADD COLUMN b INT; DROP TABLE gone")
        .unwrap();
    c.run("DROP TABLE passing; CREATE TABLE stays (a INT)").unwrap();
    let stored = difference(&before, &c.catalog).unwrap();
    assert_eq!((stored.upserts.len(), stored.deletes.len()), (3, 1), "two tables, the counters");
    let mut again = Changing { catalog: before, rows };
    again.store(&stored);
    assert_eq!(again.rows, c.rows);
}
