//! What the client promises, against a real server.

use crate::server::{Node, PASSWORD, pause};
use model::error::SqlState;
use model::value::Value;
use net::message::TransactionStatus;
use net::server::Options;
use phantomdb_client::blocking::Client;
use phantomdb_client::{Class, Error, params};
use std::time::Duration;

#[test]
fn statements_and_their_results() {
    let node = Node::start(Options::default());
    let mut client = Client::connect(&node.url()).unwrap();
    assert_eq!((client.server().version.as_str(), client.server().session), ("test", 7));
    assert_eq!(client.placement().leaders.len(), 9);

    let outcomes = client.run("echo hello; begin; echo again").unwrap();
    assert_eq!(outcomes.len(), 3);
    assert_eq!(outcomes[0].rows[0].get::<String>("echo").unwrap(), "hello");
    assert_eq!((outcomes[1].tag.as_str(), outcomes[1].rows.len()), ("BEGIN", 0));
    assert_eq!(client.transaction(), TransactionStatus::Open);

    let error = client.run("fail; commit").unwrap_err();
    assert_eq!(error.state(), Some(SqlState::DIVISION_BY_ZERO));
    assert_eq!(error.class(), Class::Statement);
    let fields = error.sql().unwrap().fields();
    assert_eq!((fields.hint.as_deref(), fields.position), (Some("do not"), Some(3)));
    assert_eq!(client.transaction(), TransactionStatus::Open, "commit was not reached");
    client.run("commit").unwrap();
}

#[test]
fn prepared_statements_in_a_pipeline() {
    let node = Node::start(Options::default());
    let mut client = Client::connect(&node.url()).unwrap();
    let statement = client.prepare("any").unwrap();
    let mut tickets = Vec::new();
    for i in 0..1000 {
        tickets.push(client.send(&statement, &params![i, "text"]).unwrap());
    }
    client.flush().unwrap();
    // In any order.
    for (i, ticket) in tickets.into_iter().enumerate().rev() {
        let outcome = client.take(ticket).unwrap();
        assert_eq!(outcome.rows[0].values(), params![i as i64, "text"]);
    }
    assert_eq!(client.execute("any", &params![1, Value::Null]).unwrap(), 1);
}

#[test]
fn more_requests_than_may_be_in_flight() {
    let options = Options { streams_max: 16, ..Options::default() };
    let node = Node::start(options);
    let mut client = Client::connect(&node.url()).unwrap();
    let statement = client.prepare("any").unwrap();
    let tickets: Vec<_> =
        (0..100).map(|i| client.send(&statement, &params![i, i]).unwrap()).collect();
    for ticket in tickets {
        client.take(ticket).unwrap();
    }
    assert_eq!(node.stats().refused, 0, "the client keeps to the limit");
}

#[test]
fn a_long_result_flows_within_its_window() {
    let node = Node::start(Options::default());
    let mut options: phantomdb_client::Options = node.url().parse().unwrap();
    options.window = 64 << 10;
    let mut client = Client::open(options).unwrap();
    let mut answer = client.stream("rows 100000 100").unwrap();
    let mut rows = 0;
    while let Some(event) = answer.next_event().unwrap() {
        if let phantomdb_client::Event::Rows(batch) = event {
            rows += batch.rows();
        }
    }
    assert_eq!(rows, 100_000);
}

#[test]
fn an_answer_dropped_early_is_given_up() {
    let node = Node::start(Options::default());
    let mut client = Client::connect(&node.url()).unwrap();
    let mut answer = client.stream("rows 100000000 100").unwrap();
    answer.next_event().unwrap();
    drop(answer);
    assert_eq!(client.run("echo next").unwrap()[0].affected, 1);
    assert!(node.stats().bytes_written < 10 << 20);
}

#[test]
fn a_waiting_statement_is_cancelled_from_another_thread() {
    let node = Node::start(Options::default());
    let mut client = Client::connect(&node.url()).unwrap();
    let handle = client.cancel_handle();
    let cancelling = runtime::thread::spawn("other", move || {
        pause(Duration::from_millis(100));
        handle.cancel().unwrap();
    });
    let error = client.run("wait").unwrap_err();
    assert_eq!(error.state(), Some(SqlState::QUERY_CANCELED));
    cancelling.unwrap().join().unwrap();
    client.run("echo still here").unwrap();
}

#[test]
fn passwords() {
    let node = Node::start(Options::default());
    let with = |password: Option<&str>| {
        let mut options: phantomdb_client::Options = node.url().parse().unwrap();
        options.user = "ali".to_owned();
        options.password = password.map(str::to_owned);
        Client::open(options)
    };
    with(Some(PASSWORD)).unwrap().run("echo in").unwrap();
    let Err(error) = with(Some("guess")) else { panic!("let in") };
    assert_eq!(error.state(), Some(SqlState::INVALID_PASSWORD));
    assert_eq!(error.class().exit_code(), 3);
    let Err(error) = with(None) else { panic!("let in") };
    assert!(matches!(error, phantomdb_client::Error::PasswordNeeded { .. }), "{error}");
    assert_eq!(error.class().exit_code(), 3);
}

#[test]
fn a_sixteen_mebibyte_statement_and_row() {
    let node = Node::start(Options::default());
    let mut client = Client::connect(&node.url()).unwrap();
    let long = "y".repeat(16 << 20);
    let outcome = client.run(&format!("echo {long}")).unwrap();
    assert_eq!(outcome[0].rows[0].get::<String>(0).unwrap().len(), long.len());
    let longer = "y".repeat(40 << 20);
    let error = client.run(&longer).unwrap_err();
    assert!(matches!(error, Error::RequestTooLong { .. }), "{error}");
    client.run("echo fine").unwrap();
    node.until("all being given back", |stats| stats.request_bytes == 0);
}

#[test]
fn a_row_longer_than_a_frame_is_an_error() {
    let node = Node::start(Options { frame_max: 1 << 16, ..Options::default() });
    let mut client = Client::connect(&node.url()).unwrap();
    let text = "z".repeat((1 << 16) - 9);
    let error = client.run(&format!("echo {text}")).unwrap_err();
    assert_eq!(error.state(), Some(SqlState::PROGRAM_LIMIT_EXCEEDED));
    client.run("echo fine").unwrap();
}

#[test]
fn a_lost_connection_is_opened_again_where_that_is_safe() {
    let node = Node::start(Options::default());
    let addr = node.addr;
    let mut options: phantomdb_client::Options = node.url().parse().unwrap();
    options.reconnects_max = 0;
    let mut quiet = Client::open(options.clone()).unwrap();
    let mut busy = Client::open(options).unwrap();
    busy.run("begin").unwrap();
    drop(node);
    pause(Duration::from_millis(150));
    let error = busy.run("echo").unwrap_err();
    assert!(matches!(error, Error::Lost { may_have_executed: false, .. }), "{error}");
    let error = quiet.run("echo").unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "no transaction: tried again: {error}");
    let error = Client::connect(&format!("phantom://{addr}/")).err().unwrap();
    assert_eq!(error.class(), Class::Connection);
}

#[test]
fn an_answer_that_never_comes_is_in_doubt() {
    let node = Node::start(Options::default());
    let mut options: phantomdb_client::Options = node.url().parse().unwrap();
    options.answer_timeout = Some(Duration::from_millis(100));
    let mut client = Client::open(options).unwrap();
    let error = client.run("wait").unwrap_err();
    assert!(error.may_have_executed(), "{error}");
    client.run("echo anew").unwrap();
}
