//! Starting, stopping and starting again.

use super::*;

const ROWS: i64 = 200;

/// Makes two tables with an index and fills them.
fn fill(client: &mut Client) {
    let made = tags(
        client,
        "CREATE TABLE kind (id int PRIMARY KEY, name text NOT NULL UNIQUE); \
         CREATE TABLE item (id int PRIMARY KEY, kind int REFERENCES kind, price numeric(8,2)); \
         CREATE INDEX item_kind ON item (kind); \
         INSERT INTO kind VALUES (1, 'book'), (2, 'film')",
    );
    assert_eq!(made, ["CREATE TABLE", "CREATE TABLE", "CREATE INDEX", "INSERT 0 2"]);
    for id in 0..ROWS {
        let values = params![id, 1 + id % 2];
        let inserted = client.execute("INSERT INTO item VALUES ($1, $2, 1.25)", &values);
        assert_eq!(inserted.expect("an insert"), 1);
    }
}

/// What was filled in is there, by every way to it.
fn check(client: &mut Client) {
    assert_eq!(number(client, "SELECT count(*) FROM item"), ROWS);
    assert_eq!(number(client, "SELECT count(*) FROM item WHERE kind = 2"), ROWS / 2);
    let joined = "SELECT count(*) FROM item i JOIN kind k ON k.id = i.kind WHERE k.name = 'book'";
    assert_eq!(number(client, joined), ROWS / 2);
    for id in 0..ROWS {
        let row = client.query_one("SELECT id, kind FROM item WHERE id = $1", &params![id]);
        let row = row.unwrap_or_else(|error| panic!("row {id}: {error}"));
        assert_eq!((row.get::<i64>(0).unwrap(), row.get::<i64>(1).unwrap()), (id, 1 + id % 2));
    }
    assert_eq!(state(client, "INSERT INTO item VALUES (3, 1, 0)"), SqlState::UNIQUE_VIOLATION);
    assert_eq!(
        state(client, "INSERT INTO item VALUES (-1, 9, 0)"),
        SqlState::FOREIGN_KEY_VIOLATION
    );
    assert_eq!(state(client, "INSERT INTO kind VALUES (3, 'book')"), SqlState::UNIQUE_VIOLATION);
}

#[test]
fn what_is_written_is_there_after_each_restart_whatever_the_number_of_cores() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 2);
    fill(&mut connect(&node));
    check(&mut connect(&node));
    node.stop().expect("the node stops cleanly");
    for cores in [2, 1, 3] {
        let node = start(directory.path(), cores);
        let addresses = node.addresses().clone();
        assert_eq!(addresses.cores.len(), usize::from(cores));
        let mut doors: Vec<String> = addresses.cores.iter().map(ToString::to_string).collect();
        doors.push(addresses.native.to_string());
        for door in doors {
            check(&mut connect_to(&door, "phantom").expect("every door is open"));
        }
        node.stop().expect("the node stops cleanly");
    }
}

#[test]
fn a_data_directory_serves_one_node_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 1);
    let flags = vec![
        (Setting::DataDir, directory.path().display().to_string()),
        (Setting::Listen, "127.0.0.1:0".to_owned()),
        (Setting::Cores, "1".to_owned()),
    ];
    let layers = Layers { file: None, environment: Vec::new(), flags };
    let second = node::start_in_process(Config::load(&layers).unwrap());
    let error = second.err().expect("a second node does not start").to_string();
    assert!(error.contains("another process"), "{error}");
    node.stop().expect("the first one goes on");
}

#[test]
fn a_taken_port_is_an_error_and_not_shared_silently() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = start(one.path(), 1);
    let taken = node.addresses().native.to_string();
    let flags = vec![
        (Setting::DataDir, two.path().display().to_string()),
        (Setting::Listen, taken.clone()),
        (Setting::Cores, "2".to_owned()),
    ];
    let layers = Layers { file: None, environment: Vec::new(), flags };
    let second = node::start_in_process(Config::load(&layers).unwrap());
    let error = second.err().expect("a second node does not start").to_string();
    assert!(error.contains(&taken), "{error}");
    node.stop().expect("the first one goes on");
}

#[test]
fn draining_lets_transactions_end_and_idle_sessions_go() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 2);
    let mut idle = connect(&node);
    let mut busy = connect(&node);
    busy.run("CREATE TABLE t (a int PRIMARY KEY)").unwrap();
    busy.run("BEGIN; INSERT INTO t VALUES (1)").unwrap();
    let stopping = std::thread::scope(|scope| {
        let stopping = scope.spawn(move || node.stop());
        while idle.run("SELECT 1").is_ok() {}
        assert_eq!(tags(&mut busy, "INSERT INTO t VALUES (2)"), ["INSERT 0 1"]);
        assert_eq!(tags(&mut busy, "COMMIT"), ["COMMIT"]);
        stopping.join().expect("no panic")
    });
    stopping.expect("the node stops cleanly");
    let node = start(directory.path(), 2);
    assert_eq!(number(&mut connect(&node), "SELECT count(*) FROM t"), 2);
    node.stop().unwrap();
}
