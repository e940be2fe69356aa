//! The clients: one thread each, closed loop or open.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use phantomdb_client::blocking::{Client, Ticket};
use phantomdb_client::{Class, Error, Statement};
use runtime::time::{self, Instant};

use super::keys::Random;
use super::report::Report;
use super::workload::{Operation, parameters};
use super::{BenchError, Options};

/// Latencies are kept to three digits, up to a minute, in microseconds.
pub(super) fn histogram() -> Histogram<u64> {
    const MICROS_MAX: u64 = 60_000_000;
    const DIGITS: u8 = 3;
    Histogram::new_with_max(MICROS_MAX, DIGITS).expect("constant bounds that the histogram takes")
}

/// What of one kind of statement was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Latencies of the statements that succeeded, in microseconds.
    pub latencies: Histogram<u64>,
    /// Statements that failed, by SQLSTATE, with the first message of each.
    pub errors: BTreeMap<String, (u64, String)>,
    /// Rows returned or changed.
    pub rows: u64,
}

impl Seen {
    fn new() -> Self {
        Self { latencies: histogram(), errors: BTreeMap::new(), rows: 0 }
    }

    /// Adds what another client saw.
    pub(super) fn add(&mut self, other: &Seen) {
        // Both have the same bounds: adding cannot fail, and would only lose the other's numbers.
        let _same_bounds: Result<(), hdrhistogram::AdditionError> =
            self.latencies.add(&other.latencies);
        self.rows += other.rows;
        for (state, (count, message)) in &other.errors {
            self.errors.entry(state.clone()).or_insert_with(|| (0, message.clone())).0 += count;
        }
    }
}

/// What a watcher may look at while the load runs.
#[derive(Default, Debug)]
pub struct Progress {
    /// Statements answered so far, warm-up included.
    pub answered: AtomicU64,
    /// Set to end the load early; what was measured is reported.
    pub stop: AtomicBool,
}

/// Runs the load and sums what the clients saw.
///
/// # Errors
/// A client cannot connect, or loses its connection. Statements that fail are counted, not errors.
pub fn run(options: &Options, progress: &Arc<Progress>) -> Result<Report, BenchError> {
    let mut connected = Vec::with_capacity(options.clients);
    for _ in 0..options.clients {
        connected.push(Client::open(options.connect.clone())?);
    }
    let begin = time::now();
    let schedule = Schedule {
        measured_from: begin + options.warmup,
        until: begin + options.warmup + options.duration,
    };
    let mut threads = Vec::with_capacity(options.clients);
    for (number, client) in connected.into_iter().enumerate() {
        let (options, progress) = (options.clone(), Arc::clone(progress));
        let body = move || Load::new(client, number, &options, schedule, &progress)?.run();
        let thread = runtime::thread::spawn("bench-client", body);
        threads.push(thread.map_err(|error| {
            BenchError::Thread(format!("no thread for client {number}: {error}"))
        })?);
    }
    let mut sum: BTreeMap<Operation, Seen> = BTreeMap::new();
    let mut failure = None;
    for thread in threads {
        match thread.join() {
            Ok(Ok(seen)) => {
                for (operation, seen) in &seen {
                    sum.entry(*operation).or_insert_with(Seen::new).add(seen);
                }
            }
            Ok(Err(error)) => failure = Some(error),
            Err(_panic) => failure = Some(BenchError::Thread("a client's thread panicked".into())),
        }
    }
    let measured = time::now().min(schedule.until).saturating_since(schedule.measured_from);
    failure.map_or_else(|| Ok(Report::new(options, measured, sum)), Err)
}

/// When the load is measured.
#[derive(Clone, Copy)]
struct Schedule {
    measured_from: Instant,
    until: Instant,
}

/// A statement on its way.
struct InFlight {
    ticket: Ticket,
    operation: Operation,
    /// Its sending, or with a rate its intended time.
    started: Instant,
}

/// One client.
struct Load<'a> {
    client: Client,
    options: &'a Options,
    schedule: Schedule,
    progress: &'a Progress,
    random: Random,
    /// New rows' ids: another stream in every run, so that no two runs meet.
    new_ids: Random,
    statements: BTreeMap<Operation, Statement>,
    in_flight: VecDeque<InFlight>,
    seen: BTreeMap<Operation, Seen>,
    /// With a rate: the intended time of the next statement, and the time between two.
    pace: Option<(Instant, Duration)>,
}

impl<'a> Load<'a> {
    fn new(
        mut client: Client,
        number: usize,
        options: &'a Options,
        schedule: Schedule,
        progress: &'a Progress,
    ) -> Result<Self, BenchError> {
        let mut statements = BTreeMap::new();
        for operation in options.workload.operations() {
            statements.insert(*operation, client.prepare(&operation.text())?);
        }
        let pace = options.rate.map(|rate| {
            let between = Duration::from_secs_f64(options.clients as f64 / rate.max(1) as f64);
            // The clients' statements interleave instead of coming all at once.
            let offset = between.mul_f64(number as f64 / options.clients.max(1) as f64);
            (time::now() + offset, between)
        });
        Ok(Self {
            client,
            options,
            schedule,
            progress,
            random: Random::of_client(options.seed, number),
            new_ids: Random::of_client(runtime::random::next_u64(), number),
            statements,
            in_flight: VecDeque::with_capacity(options.pipeline),
            seen: options
                .workload
                .operations()
                .iter()
                .map(|operation| (*operation, Seen::new()))
                .collect(),
            pace,
        })
    }

    fn run(mut self) -> Result<BTreeMap<Operation, Seen>, BenchError> {
        // Half of the window is refilled at once, so that a system call carries many.
        let refill = (self.options.pipeline / 2).max(1);
        while !self.is_over() {
            self.fill()?;
            self.client.flush()?;
            let answers = refill.min(self.in_flight.len());
            for _ in 0..answers {
                self.take()?;
            }
        }
        while !self.in_flight.is_empty() {
            self.take()?;
        }
        Ok(self.seen)
    }

    fn is_over(&self) -> bool {
        time::now() >= self.schedule.until || self.progress.stop.load(Ordering::Relaxed)
    }

    /// Queues statements up to the depth of the pipeline, or those whose time has come.
    fn fill(&mut self) -> Result<(), BenchError> {
        while self.in_flight.len() < self.options.pipeline {
            let now = time::now();
            let started = match &mut self.pace {
                None => now,
                Some((due, between)) => {
                    if *due > now && !self.in_flight.is_empty() {
                        return Ok(());
                    }
                    pause_until(*due);
                    let intended = *due;
                    *due += *between;
                    intended
                }
            };
            let operation = self.options.workload.pick(&mut self.random);
            let values =
                parameters(operation, self.options.rows, &mut self.random, &mut self.new_ids);
            let Some(statement) = self.statements.get(&operation) else { continue };
            let ticket = self.client.send(statement, &values)?;
            self.in_flight.push_back(InFlight { ticket, operation, started });
        }
        Ok(())
    }

    /// Waits for the oldest statement and counts it when it was sent in the measured time.
    fn take(&mut self) -> Result<(), BenchError> {
        let Some(InFlight { ticket, operation, started }) = self.in_flight.pop_front() else {
            return Ok(());
        };
        let outcome = self.client.take(ticket);
        self.progress.answered.fetch_add(1, Ordering::Relaxed);
        let now = time::now();
        let measured = started >= self.schedule.measured_from && now <= self.schedule.until;
        let Some(seen) = self.seen.get_mut(&operation).filter(|_| measured || outcome.is_err())
        else {
            return Ok(());
        };
        match outcome {
            Ok(outcome) => {
                let micros =
                    u64::try_from(now.saturating_since(started).as_micros()).unwrap_or(u64::MAX);
                seen.latencies.saturating_record(micros.max(1));
                seen.rows += outcome.affected;
            }
            Err(error) if error.class() == Class::Statement => count_error(seen, &error),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn count_error(seen: &mut Seen, error: &Error) {
    let state = error.state().map_or_else(|| "unknown".to_owned(), |state| state.to_string());
    seen.errors.entry(state).or_insert_with(|| (0, error.to_string())).0 += 1;
}

/// Waits on a thread of its own kind; a wake-up before the time only looks again.
fn pause_until(due: Instant) {
    loop {
        let left = due.saturating_since(time::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}
