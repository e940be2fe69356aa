//! The real pg_dump and pg_restore: what was dumped is made again, and dumps the same.

use crate::tools;
use std::path::Path;
use test_support::Server;

/// What a dump must bring back. Names sort against what depends on them, and need quotes.
const SCHEMA: &str = r#"
CREATE ROLE reader;
CREATE ROLE "Owner of it";
CREATE TABLE zoo (id serial PRIMARY KEY, name text NOT NULL, price numeric(10, 2) DEFAULT 1.5 CHECK (price > 0),
    code int UNIQUE, opened timestamp DEFAULT now(), tags text[], raw bytea, data jsonb);
CREATE TABLE animal (id int GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 10) PRIMARY KEY,
    zoo int REFERENCES zoo ON DELETE CASCADE, "Name" varchar(20));
CREATE TABLE keyless (line text);
CREATE INDEX animal_zoo ON animal (zoo DESC, "Name");
CREATE VIEW a_view AS SELECT z.name, a."Name" FROM zoo z JOIN animal a ON a.zoo = z.id;
CREATE VIEW "A first" AS SELECT name FROM a_view;
CREATE SCHEMA "Side" AUTHORIZATION "Owner of it";
CREATE TABLE "Side".zoo (id bigint PRIMARY KEY, of int REFERENCES public.zoo);
CREATE SEQUENCE "Side".numbers START 5 INCREMENT -2 MAXVALUE 100 CYCLE CACHE 3;
CREATE VIEW "Side".both AS SELECT s.id, p.name FROM "Side".zoo s JOIN zoo p ON p.id = s.of;
ALTER TABLE "Side".zoo OWNER TO "Owner of it";
COMMENT ON TABLE zoo IS 'where animals live';
COMMENT ON COLUMN zoo.name IS 'it''s shown';
COMMENT ON INDEX animal_zoo IS 'by zoo';
COMMENT ON VIEW "Side".both IS 'both';
COMMENT ON CONSTRAINT zoo_price_check ON zoo IS 'not free';
GRANT SELECT ON zoo TO reader;
GRANT SELECT, UPDATE ON SEQUENCE "Side".numbers TO reader WITH GRANT OPTION;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
INSERT INTO zoo (name, code, tags, raw, data)
    SELECT 'zoo ' || i, i, ARRAY['a', NULL, 'c,d'], '\x00ff'::bytea, '{"k": [1, null]}'
    FROM generate_series(1, 500) i;
INSERT INTO zoo (name, price) VALUES (E'tab\tline\nback\\slash', NULL);
INSERT INTO animal (zoo, "Name") SELECT i, 'of ' || i FROM generate_series(1, 50) i;
INSERT INTO keyless VALUES ('one'), ('\.'), ('');
INSERT INTO "Side".zoo VALUES (7000000000, 1);
SELECT nextval('"Side".numbers');
"#;

/// Runs one of PostgreSQL's programs; `None` where it is not installed.
fn run(program: &str, server: &Server, folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = tools::client(program, server, folder);
    command.args(arguments);
    let output = tools::run(command)?;
    let told = tools::text(output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {told}");
    assert_eq!(told, "", "{program} {arguments:?} complains");
    Some(tools::text(output.stdout))
}

/// A database as text: without the key that guards a script, which is new each time.
fn dump(server: &Server, folder: &Path, database: &str) -> Option<String> {
    let dumped = run("pg_dump", server, folder, &[database])?;
    let lines = dumped.lines().filter(|line| !line.contains("restrict "));
    Some(lines.map(|line| format!("{line}\n")).collect())
}

fn psql(server: &Server, folder: &Path, database: &str, arguments: &[&str]) -> String {
    let common = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database];
    run("psql", server, folder, &[&common, arguments].concat()).expect("it comes with pg_dump")
}

#[test]
fn a_dump_makes_the_database_again() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = crate::start(&data.path().join("data"), &["--cores", "2"]);
    let folder = data.path();
    let Some(_) = dump(&server, folder, "phantom") else { return };
    let at = |name: &str| folder.join(name).to_str().expect("a name").to_owned();
    std::fs::write(at("schema.sql"), SCHEMA).expect("a script");
    for database in ["first", "plain", "custom", "parallel"] {
        psql(&server, folder, "phantom", &["-c", &format!("CREATE DATABASE {database}")]);
    }
    psql(&server, folder, "first", &["-f", &at("schema.sql")]);
    let first = dump(&server, folder, "first").expect("it is installed");
    assert!(first.contains("COPY \"Side\".zoo"), "rows are in it: {first}");

    run("pg_dump", &server, folder, &["-f", &at("plain.sql"), "first"]);
    psql(&server, folder, "plain", &["-f", &at("plain.sql")]);
    let plain = dump(&server, folder, "plain").expect("it is installed");
    assert_same(&first, &plain);

    // Several connections restore at once.
    run("pg_dump", &server, folder, &["-Fc", "-f", &at("archive"), "first"]);
    run("pg_restore", &server, folder, &["-d", "custom", "-j", "2", &at("archive")]);
    let custom = dump(&server, folder, "custom").expect("it is installed");
    assert_same(&first, &custom);

    // Several dump at once, and read one snapshot.
    run("pg_dump", &server, folder, &["-Fd", "-j", "3", "-f", &at("parts"), "first"]);
    run("pg_restore", &server, folder, &["-d", "parallel", "-j", "2", &at("parts")]);
    let parallel = dump(&server, folder, "parallel").expect("it is installed");
    assert_same(&first, &parallel);

    // A dump may create its database, too.
    run("pg_dump", &server, folder, &["-C", "-f", &at("create.sql"), "first"]);
    psql(&server, folder, "phantom", &["-c", "DROP DATABASE first"]);
    psql(&server, folder, "phantom", &["-f", &at("create.sql")]);
    let created = dump(&server, folder, "first").expect("it is installed");
    assert_same(&first, &created);
}

/// Rows of a table without a key come in no order.
fn assert_same(one: &str, other: &str) {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (one, other) = (sorted(one), sorted(other));
    let apart = one.iter().zip(&other).find(|(one, other)| one != other);
    assert_eq!(apart, None, "the databases differ");
    assert_eq!(one.len(), other.len());
}
