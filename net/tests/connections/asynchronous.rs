//! The async face against a real server, on the caller's thread.

use crate::server::Node;
use async_io::{Timer, block_on};
use futures::future::{join, join_all, try_join_all};
use model::error::SqlState;
use net::message::TransactionStatus;
use net::server::Options;
use phantomdb_client::{Class, Client, Error, Event, Pool, params};
use std::time::Duration;

#[test]
fn requests_made_together_leave_together() {
    let node = Node::start(Options::default());
    block_on(async {
        let client = Client::connect(&node.url()).await.unwrap();
        let statement = client.prepare("any").await.unwrap();
        let asked = (0..1000).map(|i| {
            let (client, statement) = (client.clone(), statement.clone());
            async move { client.query_one(&statement, &params![i, "x"]).await }
        });
        for (i, row) in try_join_all(asked).await.unwrap().into_iter().enumerate() {
            assert_eq!(row.get::<i64>("a").unwrap(), i as i64);
        }
        let mut pending = Vec::new();
        for i in 0..100 {
            pending.push(client.send(&statement, &params![i, i]).await.unwrap());
        }
        client.flush();
        for one in pending.into_iter().rev() {
            one.outcome().await.unwrap();
        }
    });
}

#[test]
fn more_requests_than_may_be_in_flight_wait_for_room() {
    let node = Node::start(Options { streams_max: 8, ..Options::default() });
    block_on(async {
        let client = Client::connect(&node.url()).await.unwrap();
        let outcomes = join_all((0..500).map(|i| {
            let client = client.clone();
            async move { client.run(&format!("echo {i}")).await.unwrap()[0].affected }
        }));
        assert_eq!(outcomes.await.iter().sum::<u64>(), 500);
    });
    assert_eq!(node.stats().refused, 0);
}

#[test]
fn streaming_cancelling_and_dropping() {
    let node = Node::start(Options::default());
    block_on(async {
        let client = Client::connect(&node.url()).await.unwrap();
        let mut answer = client.stream("rows 50000 100").await.unwrap();
        let mut rows = 0;
        while let Some(event) = answer.next_event().await.unwrap() {
            if let Event::Rows(batch) = event {
                rows += batch.rows();
            }
        }
        assert_eq!(rows, 50_000);

        let mut endless = client.stream("rows 100000000 100").await.unwrap();
        endless.next_event().await.unwrap();
        drop(endless);

        let mut waiting = client.stream("wait").await.unwrap();
        let cancelled = async {
            Timer::after(Duration::from_millis(50)).await;
            client.run("echo behind it").await.unwrap()
        };
        let (error, _) = join(
            async {
                let until = Timer::after(Duration::from_millis(100));
                futures::pin_mut!(until);
                let first = futures::future::select(Box::pin(waiting.next_event()), until).await;
                assert!(matches!(first, futures::future::Either::Right(_)), "it waits");
                drop(first);
                waiting.cancel();
                waiting.next_event().await.unwrap_err()
            },
            cancelled,
        )
        .await;
        assert_eq!(error.state(), Some(SqlState::QUERY_CANCELED));
    });
}

#[test]
fn timeouts_and_reopening() {
    let node = Node::start(Options::default());
    let mut options: phantomdb_client::Options = node.url().parse().unwrap();
    options.answer_timeout = Some(Duration::from_millis(100));
    block_on(async {
        let client = Client::open(options).await.unwrap();
        let error = client.run("wait").await.unwrap_err();
        assert!(matches!(error, Error::Timeout { may_have_executed: true, .. }), "{error}");
        client.run("echo anew").await.unwrap();
        client.run("begin").await.unwrap();
        assert_eq!(client.transaction(), TransactionStatus::Open);
    });
    drop(node);
    let error = block_on(Client::connect("phantom://127.0.0.1:1/x")).err().unwrap();
    assert_eq!(error.class(), Class::Connection);
}

#[test]
fn a_pool_lends_and_takes_back() {
    let node = Node::start(Options::default());
    block_on(async {
        let pool = Pool::new(node.url().parse().unwrap(), 4);
        let statement = pool.prepare("any").await.unwrap();
        // Half of the keys belong to a core whose door does not open: the others answer.
        let asked = (0..200).map(|i| {
            let (pool, statement) = (pool.clone(), statement.clone());
            async move { pool.query(&statement, &params![i, i]).await.unwrap().len() }
        });
        assert_eq!(join_all(asked).await.iter().sum::<usize>(), 200);
        let left_open = pool.get().await.unwrap();
        left_open.run("begin").await.unwrap();
        drop(left_open);
        for _ in 0..5 {
            assert_eq!(pool.get().await.unwrap().transaction(), TransactionStatus::Idle);
        }
    });
    assert!(node.stats().accepted <= 6, "{:?}", node.stats());
}

#[test]
fn the_last_handle_closes_the_connection() {
    let node = Node::start(Options::default());
    let client = block_on(Client::connect(&node.url())).unwrap();
    node.until("the connection", |stats| stats.connections == 1);
    drop(client);
    node.until("its end", |stats| stats.connections == 0);
    assert_eq!(node.stats().broken, 0);
}
