//! Histories of random transactions against a real server that is killed and started again.

use crate::client::{Isolation, Session, create_tables};
use crate::{connect, start};
use adya::r#gen::{GenOpts, Kind, TxnOp};
use adya::run::{Client as Driven, Outcome, RunOpts, Stats, run};
use adya::{History, Opts, Report, Valid, Workload, check};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use test_support::{Server, seed, sleep, slice};

const CLIENTS: usize = 16;
/// How often the server is killed while a history is written.
const KILLS: u64 = 3;
/// What the checker may take for the cycles of one component.
const CHECK_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// What the clients of one history share with the one that kills their server.
#[derive(Default)]
struct Progress {
    /// Where the server is; it listens elsewhere after each start.
    url: Mutex<String>,
    ended: AtomicU64,
    connections: AtomicU64,
    /// The runner has no more transactions.
    over: AtomicBool,
    /// Refusals that nothing explains.
    odd: Mutex<Vec<String>>,
}

impl Progress {
    fn set_url(&self, server: &Server) {
        *self.url.lock().expect("a url") = server.url();
    }
}

/// A client whose transactions are counted.
struct Counted {
    session: Session,
    progress: Arc<Progress>,
}

impl Driven for Counted {
    fn txn(&mut self, ops: &[TxnOp]) -> Outcome {
        let outcome = self.session.txn(ops);
        self.progress.ended.fetch_add(1, Ordering::Release);
        outcome
    }

    fn healthy(&mut self) -> bool {
        self.session.healthy()
    }
}

/// What to write a history of.
#[derive(Clone, Copy)]
struct Plan {
    kind: Kind,
    isolation: Isolation,
    transactions: u64,
    kills: u64,
    seed: u64,
}

/// Writes a history, as JSON lines.
fn record(data_dir: &Path, plan: Plan) -> (String, Stats) {
    let server = start(data_dir);
    create_tables(&mut connect(&server)).expect("tables");
    let progress = Arc::new(Progress::default());
    progress.set_url(&server);
    let options = RunOpts {
        processes: CLIENTS,
        txns: plan.transactions as usize,
        r#gen: GenOpts { kind: plan.kind, max_txn_len: 5, ..GenOpts::default() },
        seed: plan.seed,
        ..RunOpts::default()
    };
    let connect = || {
        let number = progress.connections.fetch_add(1, Ordering::Relaxed);
        let url = progress.url.lock().expect("a url").clone();
        let noting = progress.clone();
        let note = Box::new(move |what| noting.odd.lock().expect("a list").push(what));
        let session = Session::connect(&url, plan.kind, plan.isolation, plan.seed ^ number, note);
        let session = session.map_err(|error| adya::Error::new(error.to_string()))?;
        Ok(Box::new(Counted { session, progress: progress.clone() }) as Box<dyn Driven>)
    };
    let recorded = std::thread::scope(|scope| {
        scope.spawn(|| kill_now_and_then(server, data_dir, plan, &progress));
        let recorded = run(&connect, &options);
        progress.over.store(true, Ordering::Release);
        recorded
    });
    let odd = progress.odd.lock().expect("a list");
    assert!(odd.is_empty(), "seed {}: nothing explains {odd:#?}", plan.seed);
    recorded.unwrap_or_else(|error| panic!("seed {}: {error}", plan.seed))
}

/// Kills the server and starts it again, evenly over the history's transactions.
fn kill_now_and_then(server: Server, data_dir: &Path, plan: Plan, progress: &Progress) {
    let mut server = server;
    for kill in 1..=plan.kills {
        let after = plan.transactions * kill / (plan.kills + 1);
        while progress.ended.load(Ordering::Acquire) < after {
            if progress.over.load(Ordering::Acquire) {
                return;
            }
            sleep(POLL);
        }
        server.kill().expect("killed");
        server = start(data_dir);
        progress.set_url(&server);
    }
    while !progress.over.load(Ordering::Acquire) {
        sleep(POLL);
    }
}

/// What the checker says of a history under a model.
pub fn judge(history: &str, kind: Kind, model: &str) -> Report {
    let history = History::from_json(history).expect("the runner writes what the checker reads");
    let workload = match kind {
        Kind::ListAppend => Workload::ListAppend,
        Kind::RwRegister => Workload::RwRegister,
    };
    let options = Opts { models: vec![model.to_owned()], timeout: CHECK_MAX, ..Opts::default() };
    check(&history, workload, &options)
}

/// Where a history that breaks its promise is kept.
fn keep(history: &str, name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.jsonl"));
    std::fs::write(&path, history).expect("the history can be kept");
    path
}

/// The first anomaly of each kind, as the checker explains it.
fn explain(report: &Report) -> String {
    let first = report.anomalies.values().filter_map(|of_a_kind| of_a_kind.first());
    first.map(|anomaly| format!("{}:\n{}\n", anomaly.kind, anomaly.explanation)).collect()
}

fn holds(kind: Kind, isolation: Isolation, model: &str) {
    let transactions = slice("PHANTOM_HISTORY", 1_000, 20_000);
    let plan = Plan { kind, isolation, transactions, kills: KILLS, seed: seed() };
    let data = tempfile::tempdir().expect("a data directory");
    let (history, stats) = record(&data.path().join("data"), plan);
    println!("{kind:?} at {isolation:?}: {stats:?}");
    assert!(stats.ok as u64 > transactions / 4, "{stats:?}: this shows little");
    let report = judge(&history, kind, model);
    if report.valid != Valid::True {
        let kept = keep(&history, &format!("{kind:?}-{isolation:?}"));
        panic!(
            "seed {}: not {model}: {:?}, see {}\n{}",
            plan.seed,
            report.anomaly_types,
            kept.display(),
            explain(&report)
        );
    }
}

#[test]
fn lists_at_read_committed_are_read_committed() {
    holds(Kind::ListAppend, Isolation::ReadCommitted, "read-committed");
}

#[test]
fn registers_at_read_committed_are_read_committed() {
    holds(Kind::RwRegister, Isolation::ReadCommitted, "read-committed");
}

#[test]
fn lists_at_repeatable_read_are_snapshot_isolated() {
    holds(Kind::ListAppend, Isolation::RepeatableRead, "snapshot-isolation");
}

#[test]
fn registers_at_repeatable_read_are_snapshot_isolated() {
    holds(Kind::RwRegister, Isolation::RepeatableRead, "snapshot-isolation");
}

#[test]
fn lists_at_serializable_are_strict_serializable() {
    holds(Kind::ListAppend, Isolation::Serializable, "strict-serializable");
}

#[test]
fn registers_at_serializable_are_strict_serializable() {
    holds(Kind::RwRegister, Isolation::Serializable, "strict-serializable");
}

/// The workload has teeth: what READ COMMITTED allows happens, and is found.
#[test]
fn lists_at_read_committed_are_not_serializable() {
    let plan = Plan {
        kind: Kind::ListAppend,
        isolation: Isolation::ReadCommitted,
        transactions: slice("PHANTOM_HISTORY", 1_000, 20_000),
        kills: 0,
        seed: seed(),
    };
    let data = tempfile::tempdir().expect("a data directory");
    let (history, _) = record(&data.path().join("data"), plan);
    for model in ["snapshot-isolation", "serializable"] {
        let report = judge(&history, plan.kind, model);
        println!("not {model}: {:?}", report.anomaly_types);
        assert_eq!(report.valid, Valid::False, "seed {}: not a single anomaly", plan.seed);
    }
}
