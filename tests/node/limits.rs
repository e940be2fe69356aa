//! Who is let in, and how many.

use super::*;

#[test]
fn unknown_users_and_databases_are_turned_away() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 1);
    let address = node.addresses().native.to_string();
    let refused = |url: String| Client::connect(&url).err().and_then(|error| error.state());
    assert_eq!(
        refused(format!("phantom://{address}/nowhere")),
        Some(SqlState::INVALID_CATALOG_NAME)
    );
    assert_eq!(
        refused(format!("phantom://mallory:guess@{address}/phantom")),
        Some(SqlState::INVALID_PASSWORD)
    );
    let mut client = connect(&node);
    tags(&mut client, "CREATE DATABASE shop");
    let mut shop = connect_to(&address, "shop").expect("the new database");
    tags(&mut shop, "CREATE TABLE only_here (a int)");
    assert_eq!(state(&mut client, "SELECT * FROM only_here"), SqlState::UNDEFINED_TABLE);
    node.stop().unwrap();
}

#[test]
fn one_connection_too_many_is_told_so_and_the_next_one_fits_again() {
    let directory = tempfile::tempdir().unwrap();
    let node = start_with(directory.path(), 2, &[(Setting::ConnectionsMax, "3")]);
    let address = node.addresses().native.to_string();
    let held: Vec<Client> = (0..3).map(|_| connect(&node)).collect();
    let refused = connect_to(&address, "phantom").err().and_then(|error| error.state());
    assert_eq!(refused, Some(SqlState::TOO_MANY_CONNECTIONS));
    drop(held);
    let again = (0..1000).find_map(|_| {
        std::thread::park_timeout(std::time::Duration::from_millis(5));
        connect_to(&address, "phantom").ok()
    });
    assert!(again.is_some(), "places are given back");
    node.stop().unwrap();
}

#[test]
fn the_node_describes_itself() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 2);
    let mut client = connect(&node);
    tags(
        &mut client,
        "CREATE TABLE t (a int PRIMARY KEY, b varchar(7) DEFAULT 'x'); CREATE VIEW v AS SELECT a FROM t",
    );
    assert_eq!(number(&mut client, "SELECT cores FROM phantom.nodes WHERE state = 'alive'"), 2);
    let partitions = number(&mut client, "SELECT count(*) FROM phantom.partitions");
    assert_eq!(number(&mut client, "SELECT leaders FROM phantom.nodes"), partitions);
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_name IN ('t', 'v')";
    assert_eq!(number(&mut client, tables), 2);
    let columns = "SELECT character_maximum_length FROM information_schema.columns \
                   WHERE table_name = 't' AND column_name = 'b'";
    assert_eq!(number(&mut client, columns), 7);
    let keys = "SELECT count(*) FROM pg_catalog.pg_indexes WHERE tablename = 't'";
    assert_eq!(number(&mut client, keys), 1);
    node.stop().unwrap();
}

#[test]
fn connections_are_dealt_to_all_cores_and_each_core_has_a_door_of_its_own() {
    const CLIENTS: usize = 120;
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path(), 3);
    let held: Vec<Client> = (0..CLIENTS).map(|_| connect(&node)).collect();
    for core in 0..3_u16 {
        let there = held.iter().filter(|client| client.server().core == core).count();
        // The kernel deals by a hash: a third each, give or take a few.
        assert!(there > CLIENTS / 10, "{there} of {CLIENTS} connections on core {core}");
        let door = node.addresses().cores[usize::from(core)].to_string();
        let own = connect_to(&door, "phantom").expect("the core's own door");
        assert_eq!(own.server().core, core);
        assert_eq!(own.placement().places.len(), 3);
    }
    node.stop().unwrap();
}
