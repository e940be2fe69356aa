//! Clients that mean harm, or are broken: each gets an error or the end, and nobody else notices.

use crate::server::{Node, pause};
use bytes::BytesMut;
use model::error::SqlState;
use net::frame::{CONNECTION, FrameDecoder, StreamId};
use net::message::{ClientMessage, Hello, MAGIC, ServerMessage};
use net::server::Options;
use phantomdb_client::blocking::Client;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub fn hello() -> Hello {
    Hello {
        magic: MAGIC,
        version_min: 1,
        version_max: 1,
        user: "phantom".to_owned(),
        database: "phantom".to_owned(),
        application: String::new(),
        window: 1 << 20,
        settings: Vec::new(),
    }
}

fn written(message: &ClientMessage, stream: u32) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.write(&mut out, StreamId(stream));
    out.to_vec()
}

fn query(stream: u32, text: &str) -> Vec<u8> {
    written(&ClientMessage::Query(text.to_owned()), stream)
}

/// Sends, closes the sending end, and reads messages to the end.
fn exchange(node: &Node, bytes: &[u8]) -> Vec<ServerMessage> {
    let mut socket = TcpStream::connect(node.addr).unwrap();
    // The server may have closed before it has taken all of it.
    socket.write_all(bytes).ok();
    socket.shutdown(std::net::Shutdown::Write).ok();
    read_to_end(&mut socket)
}

fn read_to_end(socket: &mut TcpStream) -> Vec<ServerMessage> {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut received = Vec::new();
    let mut chunk = [0; 65536];
    loop {
        match socket.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => received.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("no end of the connection: {error}"),
        }
    }
    let mut decoder = FrameDecoder::new(u32::MAX);
    decoder.feed(received.into());
    std::iter::from_fn(|| decoder.next_frame().unwrap())
        .map(|frame| ServerMessage::read(&frame).unwrap())
        .collect()
}

fn fatal(messages: &[ServerMessage]) -> String {
    match messages.last() {
        Some(ServerMessage::Error(report)) => {
            assert_eq!(report.error.state(), SqlState::PROTOCOL_VIOLATION);
            report.to_string()
        }
        other => panic!("expected a fatal error, got {other:?}"),
    }
}

#[test]
fn strangers_are_told_so() {
    let node = Node::start(Options::default());
    let refused = |bytes: &[u8]| fatal(&exchange(&node, bytes));
    assert!(refused(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").contains("longer than"));
    assert!(refused(&[0, 0, 0, 0x80]).contains("2147483648"), "length 2^31");
    assert!(refused(&[0; 64]).contains("checksum"));
    let long = written(&ClientMessage::Hello(Hello { user: "u".repeat(20_000), ..hello() }), 0);
    assert!(refused(&long).contains("16384"), "little is taken from strangers");
    let old = Hello { version_min: 7, version_max: 9, ..hello() };
    assert!(refused(&written(&ClientMessage::Hello(old), 0)).contains("1 to 1"));
    let unmarked = Hello { magic: 1, ..hello() };
    assert!(refused(&written(&ClientMessage::Hello(unmarked), 0)).contains("mark"));
    assert!(refused(&query(1, "echo")).contains("before the handshake"));
    // A truncated hello is nothing to answer.
    assert_eq!(exchange(&node, &written(&ClientMessage::Hello(hello()), 0)[..30]), []);
    Client::connect(&node.url()).unwrap().run("echo fine").unwrap();
}

#[test]
fn broken_frames_end_the_connection_after_the_answers_before_them() {
    let node = Node::start(Options::default());
    let begin = [written(&ClientMessage::Hello(hello()), 0), query(1, "echo one")].concat();
    let refused = |bytes: &[u8]| fatal(&exchange(&node, &[&begin, bytes].concat()));
    assert!(refused(&[0, 0, 0, 0x80]).contains("longer than"));
    let mut flipped = query(2, "echo two");
    flipped[20] ^= 1;
    assert!(refused(&flipped).contains("checksum"));
    let mut short = BytesMut::new();
    net::frame::write(&mut short, net::frame::Kind::Execute, StreamId(2), false, |p| {
        p.extend_from_slice(&[1, 0]);
    });
    assert!(refused(&short).contains("too short"));
    let reply = ServerMessage::Pong(1);
    let mut wrong_way = BytesMut::new();
    reply.write(&mut wrong_way, CONNECTION, false);
    assert!(refused(&wrong_way).contains("not for this side"));
    assert!(refused(&query(0, "echo")).contains("does not belong"));
    let twice = [query(2, "wait"), query(2, "wait")].concat();
    assert!(refused(&twice).contains("still open"));
    assert!(refused(&written(&ClientMessage::Hello(hello()), 0)).contains("after the handshake"));
    node.until("the count of broken connections", |stats| stats.broken >= 7);
}

#[test]
fn requests_in_flight_beyond_the_limit_are_refused_one_by_one() {
    let node = Node::start(Options { streams_max: 4, ..Options::default() });
    let mut bytes = written(&ClientMessage::Hello(hello()), 0);
    bytes.extend(query(1, "wait"));
    for stream in 2..10 {
        bytes.extend(query(stream, "echo"));
    }
    bytes.extend(written(&ClientMessage::Cancel, 1));
    bytes.extend(written(&ClientMessage::Goodbye, 0));
    let messages = exchange(&node, &bytes);
    let errors = |state| {
        let is = |m: &&ServerMessage| matches!(m, ServerMessage::Error(report) if report.error.state() == state);
        messages.iter().filter(is).count()
    };
    assert_eq!(errors(SqlState::CONFIGURATION_LIMIT_EXCEEDED), 5);
    assert_eq!(errors(SqlState::QUERY_CANCELED), 1);
    let completed = messages.iter().filter(|m| matches!(m, ServerMessage::Complete(_))).count();
    assert_eq!(completed, 3, "those within the limit are executed, goodbye or not");
}

#[test]
fn one_byte_a_second_is_not_waited_for() {
    let options = Options {
        handshake_timeout: Duration::from_millis(300),
        frame_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let node = Node::start(options);
    let trickle = |before: &[u8], frame: &[u8]| {
        let mut socket = TcpStream::connect(node.addr).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.write_all(before).unwrap();
        let began = runtime::time::now();
        for byte in frame {
            if socket.write_all(&[*byte]).is_err() || began.elapsed() > Duration::from_secs(5) {
                break;
            }
            pause(Duration::from_millis(50));
        }
        assert!(began.elapsed() < Duration::from_secs(3), "closed early");
        began.elapsed()
    };
    let greeting = written(&ClientMessage::Hello(hello()), 0);
    trickle(&[], &greeting);
    trickle(&greeting, &query(1, "echo a somewhat longer text, so that it takes its time"));
    // An idle connection is no slow one.
    let mut client = Client::connect(&node.url()).unwrap();
    pause(Duration::from_millis(800));
    client.run("echo").unwrap();
    node.until("both being closed", |stats| stats.connections == 1);
}

#[test]
fn a_client_that_never_reads_disturbs_nobody() {
    let options = Options { write_timeout: Duration::from_millis(500), ..Options::default() };
    let node = Node::start(options);
    let mut socket = TcpStream::connect(node.addr).unwrap();
    let wide = Hello { window: u32::MAX, ..hello() };
    socket.write_all(&written(&ClientMessage::Hello(wide), 0)).unwrap();
    for stream in 1..100 {
        socket.write_all(&query(stream, "rows 1000000 1000")).unwrap();
    }
    let mut other = Client::connect(&node.url()).unwrap();
    let began = runtime::time::now();
    while node.stats().connections > 1 {
        let asked = runtime::time::now();
        other.run("echo").unwrap();
        assert!(asked.elapsed() < Duration::from_millis(500));
        assert!(began.elapsed() < Duration::from_secs(15), "it was never closed");
    }
    assert!(node.stats().bytes_written < 64 << 20, "little was produced for it");
}

#[test]
fn a_flood_of_pings_without_reading_is_bounded() {
    let options = Options { write_timeout: Duration::from_millis(500), ..Options::default() };
    let node = Node::start(options);
    let mut socket = TcpStream::connect(node.addr).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.write_all(&written(&ClientMessage::Hello(hello()), 0)).unwrap();
    let pings = written(&ClientMessage::Ping(1), 0).repeat(10_000);
    let began = runtime::time::now();
    while socket.write_all(&pings).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(15), "it was never closed");
    }
    node.until("its end", |stats| stats.connections == 0);
}

#[test]
fn a_core_over_its_budget_refuses_and_recovers() {
    let options = Options { core_request_bytes_max: 1 << 20, ..Options::default() };
    let node = Node::start(options);
    // Two statements that never end together hold more than the budget.
    let hold = |kib: usize| {
        let mut socket = TcpStream::connect(node.addr).unwrap();
        let text = format!("wait {}", "x".repeat(kib << 10));
        socket.write_all(&written(&ClientMessage::Hello(hello()), 0)).unwrap();
        socket.write_all(&query(1, &text)).unwrap();
        socket
    };
    let first = hold(900);
    node.until("the first being held", |stats| stats.request_bytes > 900 << 10);
    let mut second = hold(900);
    let messages = read_to_end(&mut second);
    let Some(ServerMessage::Error(report)) = messages.last() else { panic!("{messages:?}") };
    assert_eq!(report.error.state(), SqlState::OUT_OF_MEMORY);
    drop(first);
    drop(second);
    node.until("all being given back", |stats| stats.request_bytes == 0);
    Client::connect(&node.url()).unwrap().run("echo").unwrap();
}

#[test]
fn no_more_rows_than_the_window_allows() {
    let node = Node::start(Options::default());
    let mut socket = TcpStream::connect(node.addr).unwrap();
    let narrow = Hello { window: 1000, ..hello() };
    socket.write_all(&written(&ClientMessage::Hello(narrow), 0)).unwrap();
    socket.write_all(&query(1, "rows 1000 1000")).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // All that comes without another credit.
    let read = |socket: &mut TcpStream| {
        let (mut bytes, mut chunk) = (0, [0; 65536]);
        while let Ok(more @ 1..) = socket.read(&mut chunk) {
            bytes += more;
        }
        bytes
    };
    // The toy session produces a hundred rows at a time.
    let first = read(&mut socket);
    assert!((100_000..110_000).contains(&first), "{first}");
    let credit = written(&ClientMessage::Credit(first as u32), 1);
    socket.write_all(&credit).unwrap();
    let second = read(&mut socket);
    assert!((100_000..110_000).contains(&second), "{second}");
}

#[test]
fn frames_that_follow_each_other_cut_in_the_middle_are_no_slow_frame() {
    let options = Options { frame_timeout: Duration::from_millis(300), ..Options::default() };
    let node = Node::start(options);
    let mut socket = TcpStream::connect(node.addr).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut bytes = written(&ClientMessage::Hello(hello()), 0);
    for stream in 1..=20 {
        bytes.extend(query(stream, "echo"));
    }
    bytes.extend(written(&ClientMessage::Goodbye, 0));
    // Each piece ends inside a frame, for longer than one frame may take.
    let length = query(1, "echo").len();
    let (greeting, rest) = bytes.split_at(bytes.len() - 20 * length - 16 - length / 2);
    socket.write_all(greeting).unwrap();
    for piece in rest.chunks(length) {
        socket.write_all(piece).unwrap();
        pause(Duration::from_millis(50));
    }
    let messages = read_to_end(&mut socket);
    let completed = messages.iter().filter(|m| matches!(m, ServerMessage::Complete(_))).count();
    assert_eq!(completed, 20, "{:?}", messages.last());
}
