//! A session that knows a few words instead of SQL.
//!
//! `rows N W` yields N rows of W bytes; `echo TEXT` one row; `wait` runs until it is interrupted;
//! `fail` fails; `begin` and `commit` move the transaction; anything else completes. A prepared
//! statement yields its parameters as one row.

use model::error::{SqlError, SqlState};
use model::id::{CoreId, NodeId};
use model::placement::PlacementMap;
use model::types::DataType;
use model::value::Value;
use net::frame::StreamId;
use net::message::{Column, Placement, Prepared, TransactionStatus};
use net::scram::{self, Verifier};
use net::server::{
    Arrival, Interrupted, Options, Request, RequestKind, Responder, Server, SessionInfo, Stats,
    Unproven,
};
use runtime::glommio::{Options as Cores, Placement as CorePlacement, run};
use runtime::net::{Listener, Stream};
use runtime::{BoxLocalFuture, task, time};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

pub const PASSWORD: &str = "open sesame";

/// A server for the length of a test.
pub struct Node {
    pub addr: SocketAddr,
    stop: Arc<AtomicBool>,
    stats: Arc<Mutex<Stats>>,
    core: Option<runtime::thread::JoinHandle<()>>,
}

impl Node {
    pub fn start(options: Options) -> Node {
        let stop = Arc::new(AtomicBool::new(false));
        let stats = Arc::new(Mutex::new(Stats::default()));
        let (tell, told) = mpsc::channel();
        let (stop_seen, stats_kept) = (Arc::clone(&stop), Arc::clone(&stats));
        let core = runtime::thread::spawn("other", move || {
            let cores = Cores { cores: 1, placement: CorePlacement::Unbound, ..Cores::default() };
            run(cores, move |_| {
                let (options, tell) = (options.clone(), tell.clone());
                let (stop, stats) = (Arc::clone(&stop_seen), Arc::clone(&stats_kept));
                Box::pin(serve(options, tell, stop, stats)) as BoxLocalFuture<()>
            })
            .expect("the core runs");
        });
        let addr = told.recv().expect("the server listens");
        Node { addr, stop, stats, core: Some(core.unwrap()) }
    }

    pub fn url(&self) -> String {
        format!("phantom://{}/phantom", self.addr)
    }

    pub fn stats(&self) -> Stats {
        *self.stats.lock().unwrap()
    }

    /// Waits until the server's sums satisfy `holds`.
    pub fn until(&self, what: &str, holds: impl Fn(&Stats) -> bool) {
        for _ in 0..1000 {
            if holds(&self.stats()) {
                return;
            }
            pause(Duration::from_millis(10));
        }
        panic!("{what} did not come about: {:?}", self.stats());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let ended = self.core.take().expect("stopped once").join();
        if !std::thread::panicking() {
            ended.expect("no panic on the core");
        }
    }
}

async fn serve(
    options: Options,
    tell: mpsc::Sender<SocketAddr>,
    stop: Arc<AtomicBool>,
    stats: Arc<Mutex<Stats>>,
) {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
    tell.send(listener.local_addr()).unwrap();
    let server = Server::new(options);
    let accepting = server.clone();
    let _accept = task::spawn("accept", async move {
        loop {
            let stream = listener.accept().await.unwrap();
            task::spawn("session", session(accepting.clone(), stream)).detach();
        }
    });
    while !stop.load(Ordering::Acquire) {
        time::sleep(Duration::from_millis(2)).await;
        *stats.lock().unwrap() = server.stats();
    }
}

async fn session(server: Server, stream: Stream) {
    let Ok(Arrival::Client(mut handshake)) = server.handshake(stream).await else { return };
    if handshake.hello().user == "ali" {
        let verifier = Verifier::of_password(PASSWORD, b"salt", 10);
        let mut proof = scram::Server::new(verifier, [7; scram::NONCE_BYTES]);
        match handshake.prove(&mut proof).await {
            Ok(()) => {}
            Err(Unproven::Ended(_)) => return,
            Err(Unproven::Failed(_)) => {
                let failed = "password authentication failed";
                return handshake.refuse(SqlError::new(SqlState::INVALID_PASSWORD, failed));
            }
        }
    }
    let map = PlacementMap::single_node(NodeId(1), 2, 8);
    let placement =
        Placement::new(&map, |p| (p.core == CoreId(1)).then(|| "127.0.0.1:1".to_owned()));
    let info = SessionInfo { server: "test", node: 1, core: 0, session: 7, placement: &placement };
    let (mut requests, responder) = handshake.welcome(&info);
    let mut status = TransactionStatus::Idle;
    let mut batch = Vec::new();
    while requests.next_batch(&mut batch).await.is_ok() {
        for request in batch.drain(..) {
            status = answer(&responder, status, request).await;
        }
        responder.flush();
    }
}

async fn answer(out: &Responder, status: TransactionStatus, request: Request) -> TransactionStatus {
    let stream = request.stream;
    match request.kind {
        RequestKind::Query { text } => return query(out, status, stream, &text).await,
        RequestKind::Prepare(prepare) => out.prepared(
            stream,
            Prepared {
                statement: prepare.statement,
                parameters: vec![DataType::Int8; 2],
                columns: vec![column("a"), column("b")],
                routing: vec![0],
            },
        ),
        RequestKind::Execute(execute) => {
            let row = execute.parameters.iter().map(Value::as_ref);
            out.rows(stream, 2, [row]).unwrap();
            out.complete(stream, status, 1, "SELECT 1", true);
        }
        RequestKind::CloseStatement { .. } => out.complete(stream, status, 0, "DEALLOCATE", true),
    }
    status
}

fn column(name: &str) -> Column {
    Column { name: name.to_owned(), data_type: DataType::Int8, table: None }
}

async fn query(
    out: &Responder,
    mut status: TransactionStatus,
    stream: StreamId,
    text: &str,
) -> TransactionStatus {
    let statements: Vec<&str> = text.split(';').map(str::trim).collect();
    for (i, statement) in statements.iter().enumerate() {
        let end = i + 1 == statements.len();
        let (word, rest) = statement.split_once(' ').unwrap_or((statement, ""));
        let mut count = 0;
        match word {
            "rows" => match rows(out, stream, rest).await {
                Ok(sent) => count = sent,
                Err(interrupted) => {
                    out.error(stream, status, interrupted.to_error());
                    return status;
                }
            },
            "echo" => {
                out.row_description(stream, vec![column("echo")]);
                let row = [model::value::ValueRef::Text(rest)];
                if let Err(too_long) = out.rows(stream, 1, [row]) {
                    out.error(stream, status, too_long.to_error());
                    return status;
                }
                count = 1;
            }
            "wait" => {
                let interrupted = out.interrupted(stream).await;
                out.error(stream, status, interrupted.to_error());
                return status;
            }
            "fail" => {
                let error = SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero");
                out.error(stream, status, error.hint("do not").position(3));
                return status;
            }
            "begin" => status = TransactionStatus::Open,
            "commit" => status = TransactionStatus::Idle,
            _ => {}
        }
        out.complete(stream, status, count, word.to_uppercase(), end);
    }
    status
}

async fn rows(out: &Responder, stream: StreamId, size: &str) -> Result<u64, Interrupted> {
    let (count, width) = size.split_once(' ').unwrap();
    let (count, width): (u64, usize) = (count.parse().unwrap(), width.parse().unwrap());
    out.row_description(stream, vec![column("n"), column("filler")]);
    let filler = "x".repeat(width);
    let mut sent = 0;
    while sent < count {
        out.ready_for(stream).await?;
        let some = (count - sent).min(100);
        let row =
            |n| [model::value::ValueRef::Int(n as i64), model::value::ValueRef::Text(&filler)];
        out.rows(stream, 2, (sent..sent + some).map(row)).unwrap();
        sent += some;
    }
    Ok(count)
}

/// Blocks this thread for about so long.
pub fn pause(length: Duration) {
    let began = time::now();
    while began.elapsed() < length {
        std::thread::park_timeout(length.saturating_sub(began.elapsed()));
    }
}
