//! A whole node inside the test's process, spoken to by a client as any other.

use config::{Config, Layers, Setting};
use phantomdb::node::{self, Running};
use phantomdb_client::blocking::Client;
use phantomdb_client::{Error, SqlState, TransactionStatus, params};
use std::path::Path;

mod blocks;
mod limits;
mod lives;
mod sagas;

/// Starts a node with so many cores on free ports.
fn start(directory: &Path, cores: u16) -> Running {
    start_with(directory, cores, &[])
}

fn start_with(directory: &Path, cores: u16, more: &[(Setting, &str)]) -> Running {
    let mut flags = vec![
        (Setting::DataDir, directory.display().to_string()),
        (Setting::Listen, "127.0.0.1:0".to_owned()),
        (Setting::Cores, cores.to_string()),
        (Setting::Memory, "256MiB".to_owned()),
        (Setting::WalSegmentSize, "1MiB".to_owned()),
    ];
    flags.extend(more.iter().map(|(setting, value)| (*setting, (*value).to_owned())));
    let layers = Layers { file: None, environment: Vec::new(), flags };
    let config = Config::load(&layers).expect("the test's configuration is valid");
    node::start_in_process(config).expect("the node starts")
}

fn connect(node: &Running) -> Client {
    connect_to(&node.addresses().native.to_string(), "phantom").expect("the node lets us in")
}

fn connect_to(address: &str, database: &str) -> Result<Client, Error> {
    Client::connect(&format!("phantom://{address}/{database}"))
}

/// The SQLSTATE that a text fails with.
fn state(client: &mut Client, text: &str) -> SqlState {
    let error = client.run(text).expect_err(text);
    error.state().unwrap_or_else(|| panic!("{text}: {error}"))
}

/// The command tags that a text is answered with.
fn tags(client: &mut Client, text: &str) -> Vec<String> {
    let outcomes = client.run(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    outcomes.into_iter().map(|outcome| outcome.tag).collect()
}

/// The one value of a query, as a number.
fn number(client: &mut Client, text: &str) -> i64 {
    client.query_one(text, &params![]).unwrap_or_else(|e| panic!("{text}: {e}")).get(0).expect(text)
}
