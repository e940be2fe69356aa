//! Clients that do everything wrong: each gets a clear error or a closed connection, and a
//! neighbour notices nothing.
//!
//! All attacks run against one server while a neighbour asks for a row every few milliseconds; the
//! longest it ever waited is compared with [`PATIENCE`].

use crate::{connect, insert, number, start};
use bytes::{BufMut, BytesMut};
use net::frame::{self, Kind, StreamId};
use phantomdb_client::blocking::Client;
use phantomdb_client::{Options, SqlState};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use test_support::{Server, Stopwatch, sleep};

/// How long the neighbour may wait. The machine is shared with the attackers, who parse megabytes,
/// and the server is not optimised here.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a server may take to close a connection it has no more use for.
const CLOSING: Duration = Duration::from_secs(10);
const MIB: usize = 1 << 20;

/// Runs `attack` beside a neighbour, and sees that the server and the neighbour are well after it.
fn beside_a_neighbour(arguments: &[&str], attack: impl FnOnce(&Server)) {
    let data = tempfile::tempdir().expect("a data directory");
    let mut server = start(&data.path().join("data"), arguments);
    let mut client = connect(&server);
    client.run("CREATE TABLE t (id int PRIMARY KEY, v int, s text)").expect("a table");
    client.run("INSERT INTO t VALUES (1, 1, 'one'), (2, 2, 'two'), (3, 3, 'three')").expect("rows");
    let over = AtomicBool::new(false);
    let longest = thread::scope(|scope| {
        let neighbour = scope.spawn(|| watch(&server, &over));
        // The neighbour must end when the attack fails, too.
        let attacked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attack(&server)));
        over.store(true, Ordering::Release);
        let longest = neighbour.join().expect("the neighbour is served");
        if let Err(panic) = attacked {
            println!("{}", server.log());
            std::panic::resume_unwind(panic);
        }
        longest
    });
    println!("the neighbour waited {longest:?} at most");
    assert!(longest < PATIENCE, "the neighbour waited {longest:?}");
    assert!(server.is_running(), "{}", server.log());
    assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE id <= 3"), 3);
    assert!(!server.log().contains("panick"), "{}", server.log());
}

/// Asks for a row again and again; the longest it took.
fn watch(server: &Server, over: &AtomicBool) -> Duration {
    let mut client = connect(server);
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::Acquire) {
        let asked = Stopwatch::start();
        assert_eq!(number(&mut client, "SELECT v FROM t WHERE id = 2"), 2);
        longest = longest.max(asked.elapsed());
        sleep(Duration::from_millis(5));
    }
    longest
}

fn socket(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(server.address()).expect("a connection");
    socket.set_read_timeout(Some(CLOSING)).expect("a timeout");
    socket.set_write_timeout(Some(CLOSING)).expect("a timeout");
    socket
}

/// Reads what is still to come; fails when the server leaves the connection open.
fn read_to_the_end(socket: &mut TcpStream, what: &str) -> Vec<u8> {
    let mut said = Vec::new();
    match socket.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{what}: the connection stays open: {error}"),
    }
    said
}

/// A `Hello` frame as any client sends it.
fn hello() -> BytesMut {
    use net::message::{ClientMessage, Hello, MAGIC, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN};
    let hello = ClientMessage::Hello(Hello {
        magic: MAGIC,
        version_min: PROTOCOL_VERSION_MIN,
        version_max: PROTOCOL_VERSION_MAX,
        user: "phantom".to_owned(),
        database: "phantom".to_owned(),
        application: "hostile".to_owned(),
        window: 1 << 20,
        settings: Vec::new(),
    });
    let mut out = BytesMut::new();
    hello.write(&mut out, frame::CONNECTION);
    out
}

fn query(sql: &str, stream: u32) -> BytesMut {
    let mut out = BytesMut::new();
    net::message::ClientMessage::Query(sql.to_owned()).write(&mut out, StreamId(stream));
    out
}

/// A header that says whatever it wants.
fn header(length: u32, kind: u8, flags: u8, reserved: u16, stream: u32, sum: u32) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u32_le(length);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u16_le(reserved);
    out.put_u32_le(stream);
    out.put_u32_le(sum);
    out
}

#[test]
fn frames_that_are_none_close_the_connection() {
    beside_a_neighbour(&["--cores", "2"], |server| {
        let mut flipped = query("SELECT 1", 1);
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        let attacks: Vec<(&str, BytesMut)> = vec![
            ("a length of 2^31", header(1 << 31, Kind::Query as u8, 1, 0, 1, 0)),
            ("the longest length", header(u32::MAX, Kind::Query as u8, 1, 0, 1, 0)),
            ("a wrong checksum", flipped),
            ("an unknown kind", header(0, 200, 1, 0, 1, 0)),
            ("undefined bits", header(0, Kind::Ping as u8, 0xfe, 7, 0, 0)),
            ("another protocol", BytesMut::from(&b"GET / HTTP/1.1\r\nHost: db\r\n\r\n"[..])),
            ("noise", (0..4096_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ];
        for (what, bytes) in &attacks {
            // Once as a stranger, once as a guest.
            for greeting in [BytesMut::new(), hello()] {
                let mut socket = socket(server);
                // The server may have closed before all was sent.
                let _closed = socket.write_all(&greeting).and_then(|()| socket.write_all(bytes));
                read_to_the_end(&mut socket, what);
            }
        }
    });
}

#[test]
fn a_frame_cut_short_costs_nothing() {
    beside_a_neighbour(&["--cores", "2"], |server| {
        let before = server.status().expect("its status").resident;
        let mut cut = Vec::new();
        for _ in 0..50 {
            let mut socket = socket(server);
            let mut bytes = hello();
            // 16 MiB are promised and 10 bytes come.
            bytes.extend_from_slice(&header(16 << 20, Kind::Query as u8, 1, 0, 1, 0));
            bytes.extend_from_slice(b"SELECT 'ab");
            socket.write_all(&bytes).expect("sent");
            cut.push(socket);
        }
        sleep(Duration::from_millis(500));
        let grown = server.status().expect("its status").resident.saturating_sub(before);
        assert!(grown < 64 * MIB as u64, "{grown} bytes for what never came");
        drop(cut);
    });
}

#[test]
fn a_byte_a_second_is_not_waited_for_by_others() {
    beside_a_neighbour(&["--cores", "2"], |server| {
        let bytes = hello();
        let mut slow: Vec<TcpStream> = (0..20).map(|_| socket(server)).collect();
        for byte in &bytes[..4] {
            for socket in &mut slow {
                socket.write_all(std::slice::from_ref(byte)).expect("sent");
            }
            sleep(Duration::from_secs(1));
        }
    });
}

/// Unread results wait at the client's window, not in the server's memory.
#[test]
fn a_client_that_never_reads_is_left_waiting() {
    beside_a_neighbour(&["--cores", "2", "--memory", "128MiB"], |server| {
        let mut client = connect(server);
        client.run("CREATE TABLE big (id int PRIMARY KEY, v int, s text)").expect("a table");
        for first in (0..10_000).step_by(500) {
            insert(&mut client, "big", first..first + 500, &"x".repeat(1000)).expect("rows");
        }
        let before = server.status().expect("its status").resident;
        let mut deaf: Vec<TcpStream> = (0..10).map(|_| socket(server)).collect();
        for socket in &mut deaf {
            let mut bytes = hello();
            bytes.extend_from_slice(&query("SELECT a.s, b.s FROM big a, big b", 1));
            socket.write_all(&bytes).expect("sent");
        }
        sleep(Duration::from_secs(3));
        let grown = server.status().expect("its status").resident.saturating_sub(before);
        println!("ten clients that never read: {} MiB", grown / MIB as u64);
        assert!(grown < 128 * MIB as u64, "{grown} bytes for clients that never read");
    });
}

#[test]
fn nesting_has_an_end() {
    beside_a_neighbour(&["--cores", "2"], |server| {
        let mut client = connect(server);
        for depth in [1_000, 100_000] {
            let sql = format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
            let error = client.run(&sql).expect_err("too deep");
            assert_eq!(error.state(), Some(SqlState::STATEMENT_TOO_COMPLEX), "{error}");
        }
        for (open, close) in [("NOT ", ""), ("-", ""), ("abs(", ")"), ("(SELECT ", ")")] {
            let sql = format!("SELECT {}1{}", open.repeat(5_000), close.repeat(5_000));
            let error = client.run(&sql).expect_err("too deep");
            assert!(error.state().is_some(), "{error}");
        }
        let sum = format!("SELECT 1{}", " + 1".repeat(5_000));
        // Long without being deep to the eye: an answer or an error, but the session goes on.
        if let Err(error) = client.run(&sum) {
            assert_eq!(error.state(), Some(SqlState::STATEMENT_TOO_COMPLEX), "{error}");
        }
        client.ping().expect("the session goes on");
    });
}

#[test]
fn long_statements_are_carried_out() {
    beside_a_neighbour(&["--cores", "2"], |server| {
        let mut client = connect(server);
        let long = "x".repeat(16 * MIB);
        let rows = client.run(&format!("SELECT length('{long}')")).expect("a long literal");
        assert_eq!(rows[0].rows[0].get::<i64>(0).expect("a length"), 16 * MIB as i64);
        let too_long = "x".repeat(64 * MIB);
        let error = client.run(&format!("SELECT '{too_long}'")).expect_err("too long");
        println!("64 MiB: {error}");
        let mut client = connect(server);
        let mut insert = String::from("INSERT INTO t VALUES (10, 0, 'first')");
        let mut id = 11;
        while insert.len() < 16 * MIB {
            let _infallible = write!(insert, ", ({id}, {id}, '{}')", "y".repeat(900));
            id += 1;
        }
        match client.run(&insert) {
            Ok(_) => {
                let count = number(&mut client, "SELECT count(*) FROM t WHERE id >= 10");
                assert_eq!(count, i64::from(id - 10));
            }
            // A limit, told as one.
            Err(error) => assert!(error.state().is_some(), "{error}"),
        }
    });
}

#[test]
fn a_long_list_is_searched() {
    beside_a_neighbour(&["--cores", "2"], |server| {
        let mut client = connect(server);
        let mut sql = String::from("SELECT count(*) FROM t WHERE id IN (1");
        for element in 0..100_000 {
            let _infallible = write!(sql, ", {}", element * 2 + 3);
        }
        sql.push(')');
        assert_eq!(number(&mut client, &sql), 2);
    });
}

#[test]
fn a_product_without_end_ends_when_its_client_does() {
    beside_a_neighbour(&["--cores", "2", "--memory", "128MiB"], |server| {
        let mut client = connect(server);
        insert(&mut client, "t", 1000..4000, "product").expect("rows");
        // 27 thousand million rows, sorted: refused, or cancelled.
        let url = server.url();
        let mut options: Options = url.parse().expect("a URL");
        options.answer_timeout = Some(Duration::from_secs(5));
        let mut greedy = Client::open(options).expect("a session");
        let sql = "SELECT a.s FROM t a, t b, t c ORDER BY a.v + b.v + c.v, a.s";
        let error = greedy.run(sql).expect_err("it cannot be sorted");
        println!("the product: {error}");
        drop(greedy);
        let asked = Stopwatch::start();
        assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE id >= 1000"), 3000);
        assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    });
}

#[test]
fn connections_above_the_limit_are_refused_and_the_others_served() {
    let arguments = ["--cores", "2", "--connections-max", "40"];
    beside_a_neighbour(&arguments, |server| {
        let mut held = Vec::new();
        let mut refused = 0;
        for _ in 0..200 {
            match Client::connect(&server.url()) {
                Ok(client) => held.push(client),
                Err(error) => {
                    assert_eq!(error.state(), Some(SqlState::TOO_MANY_CONNECTIONS), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused >= 160, "only {refused} of 200 were refused");
        held.last_mut().expect("some were let in").ping().expect("they are served");
        drop(held);
        // Places become free again.
        let asked = Stopwatch::start();
        while Client::connect(&server.url()).is_err() {
            assert!(asked.elapsed() < CLOSING, "closed connections keep their places");
            sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn a_flood_of_connections_passes() {
    beside_a_neighbour(&["--cores", "2"], |server| {
        for _ in 0..10 {
            let flood: Vec<TcpStream> = (0..200).map(|_| socket(server)).collect();
            drop(flood);
        }
        sleep(Duration::from_millis(200));
        connect(server).ping().expect("the next one is served");
    });
}
