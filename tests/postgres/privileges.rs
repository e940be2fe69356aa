//! Privileges at both doors: what is checked, it is checked again once it may have changed.

use crate::speaker::{Speaker, bind, execute, parse, sync};
use crate::start;
use phantomdb_client::blocking::Client;
use test_support::Server;

const MISSING: &str = "42501";

/// A server with a table of the user `phantom`, and the user `ali` who owns nothing.
fn server(data: &tempfile::TempDir) -> Server {
    let server = start(&data.path().join("data"), &["--cores", "2"]);
    let mut control = Client::connect(&server.url()).expect("the user without a password");
    control
        .run(
            "CREATE USER ali; CREATE TABLE item (id int PRIMARY KEY, n int); \
             INSERT INTO item VALUES (1, 10), (2, 20)",
        )
        .expect("roles and a table");
    server
}

fn ali(server: &Server) -> Speaker {
    let mut ali = Speaker::silent(server);
    ali.start(&[("user", "ali"), ("database", "phantom")]);
    ali
}

/// What comes of running the prepared statement `point` for one key.
fn point(client: &mut Speaker) -> String {
    client.bytes(&[bind("", "point", &["1"]), execute("", 0), sync()].concat());
    client.results()
}

#[test]
fn a_prepared_statement_is_looked_at_again_after_a_revoke() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = server(&data);
    let mut control = Client::connect(&server.url()).expect("a connection");
    let mut ali = ali(&server);
    let select = "SELECT n FROM item WHERE id = $1";
    ali.bytes(&[parse("point", select), sync()].concat());
    assert!(ali.results().contains(MISSING), "refused where it is planned");

    control.run("GRANT SELECT ON item TO ali").expect("a grant");
    ali.bytes(&[parse("point", select), sync()].concat());
    ali.answer();
    assert!(point(&mut ali).contains("10"));
    assert!(point(&mut ali).contains("10"), "with the plan that is kept");
    control.run("REVOKE SELECT ON item FROM ali").expect("a revoke");
    assert!(point(&mut ali).contains(MISSING));

    // Privileges that come by a membership go with it.
    control.run("CREATE ROLE readers; GRANT SELECT ON item TO readers").expect("a role");
    assert!(point(&mut ali).contains(MISSING));
    control.run("GRANT readers TO ali").expect("a membership");
    assert!(point(&mut ali).contains("10"));
    control.run("REVOKE readers FROM ali").expect("the membership's end");
    assert!(point(&mut ali).contains(MISSING));
}

#[test]
fn the_native_door_looks_too() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = server(&data);
    let mut control = Client::connect(&server.url()).expect("a connection");
    let url = format!("phantom://ali@{}/phantom", server.address());
    let mut ali = Client::connect(&url).expect("a connection as ali");
    let refused = |ali: &mut Client, text: &str| {
        let error = ali.run(text).expect_err("it is refused");
        assert!(error.to_string().contains("permission denied for table item"), "{error}");
    };
    for text in [
        "SELECT * FROM item",
        "INSERT INTO item VALUES (3, 30)",
        "UPDATE item SET n = 1",
        "DELETE FROM item",
        "TRUNCATE item",
    ] {
        refused(&mut ali, text);
    }
    // The text that another role's plan is kept for is not run with it.
    control.run("SELECT n FROM item WHERE id = 1").expect("a query");
    refused(&mut ali, "SELECT n FROM item WHERE id = 1");
    control.run("GRANT SELECT ON item TO ali").expect("a grant");
    ali.run("SELECT n FROM item WHERE id = 1").expect("a query");
    control.run("REVOKE SELECT ON item FROM ali").expect("a revoke");
    refused(&mut ali, "SELECT n FROM item WHERE id = 1");
}

#[test]
fn a_copy_needs_what_it_does() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = server(&data);
    let mut control = Client::connect(&server.url()).expect("a connection");
    let mut ali = ali(&server);
    for copy in ["COPY item TO STDOUT", "COPY item FROM STDIN"] {
        assert!(ali.query(copy).contains(MISSING), "{copy}");
    }
    control.run("GRANT INSERT ON item TO ali").expect("a grant");
    assert!(ali.query("COPY item TO STDOUT").contains(MISSING));
    ali.send('Q', b"COPY item FROM STDIN\0");
    assert_eq!(ali.receive().map(|message| message.kind), Some('G'));
    ali.send('d', b"3\t30\n");
    ali.send('c', b"");
    ali.answer();
    let mut phantom = Speaker::connect(&server);
    assert!(phantom.query("SELECT n FROM item WHERE id = 3").contains("30"));
}

#[test]
fn who_may_not_connect_to_a_database_is_told_so() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = server(&data);
    let mut control = Client::connect(&server.url()).expect("a connection");
    control.run("CREATE DATABASE closed").expect("it");
    control.run("REVOKE ALL ON DATABASE closed FROM PUBLIC").expect("it");
    let mut ali = Speaker::silent(&server);
    let answer = ali.start(&[("user", "ali"), ("database", "closed")]);
    let refusal = answer.iter().find(|message| message.kind == 'E').expect("a refusal");
    assert_eq!(refusal.field('C').as_deref(), Some(MISSING));
    let text = "permission denied for database \"closed\"";
    assert_eq!(refusal.field('M').as_deref(), Some(text));
    let url = format!("phantom://ali@{}/closed", server.address());
    let error = Client::connect(&url).err().expect("a refusal at the native door");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn clients_are_told_as_whom_they_act() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = server(&data);
    let mut client = Speaker::connect(&server);
    client.send('Q', b"SET SESSION AUTHORIZATION ali\0");
    let told: Vec<String> = client
        .answer()
        .iter()
        .filter(|message| message.kind == 'S')
        .map(|message| String::from_utf8_lossy(&message.body).replace('\0', " "))
        .collect();
    assert_eq!(told, ["is_superuser off ", "session_authorization ali "]);
    assert!(client.query("SELECT * FROM item").contains(MISSING));
    client.query("RESET SESSION AUTHORIZATION");
    assert!(client.query("SELECT n FROM item WHERE id = 1").contains("10"));
}
