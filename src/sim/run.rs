//! One run: load and quiet in turn, until the time is used up.

use super::check::{self, Problem};
use super::client::{ANSWER_TIME_MAX, Client};
use super::cluster::{self, ClusterFault};
use super::commits;
use super::machine::{Machine, NODE};
use super::report::{Report, Verdict};
use super::workload::{self, ACCOUNTS, BALANCE, PURSES, Shared, TABLES};
use model::error::SqlState;
use runtime::sim::{Fault, Loss, Nemesis, Options, Sim, Strike};
use runtime::task::Task;
use runtime::{random, task, time};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// The faults of a run that names none: all that one node must survive without losing anything.
pub const DEFAULT_FAULTS: &[Fault] = &[
    Fault::ProcessCrash,
    Fault::PowerLoss,
    Fault::Pause,
    Fault::SlowNode,
    Fault::SlowDisk,
    Fault::DiskStall,
    Fault::WriteStall,
    Fault::DiskFull,
    Fault::ReadError,
    Fault::WriteError,
    Fault::SyncError,
    Fault::ClockJump,
    Fault::ClockDrift,
    Fault::Isolate,
    Fault::Loss,
    Fault::Corrupt,
];

/// Most cores a node is started with.
const CORES_MAX: u64 = 4;
pub(super) const CLIENTS_MIN: u64 = 2;
pub(super) const CLIENTS_MAX: u64 = 6;
/// Longest time between two strikes, and longest rest of a load after the last one.
const STRIKE_INTERVAL_MAX: Duration = Duration::from_millis(600);
/// Longest pause of a client between two transactions.
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// Strikes of one load.
const STRIKES_MAX: u64 = 3;
/// Longest time a node stays down.
const DOWN_MAX: Duration = Duration::from_secs(2);
/// After so long, what a client that has gone had begun is over: its last words, lost and sent
/// again, have arrived within the network's `give_up` (15 s), and what they ask for has waited for
/// locks as long as it may.
pub(super) const SETTLE: Duration = Duration::from_secs(20);
/// A node that was asked to stop has stopped within this time.
pub(super) const STOPS_WITHIN: Duration = Duration::from_secs(60);
/// So often may the node end of its own accord in one quiet time: once for every error that was
/// still to come when the faults ended.
const STARTS_MAX: u32 = 4;
/// Between two attempts to make a table.
const SET_UP_PAUSE: Duration = Duration::from_millis(100);
/// Virtual time and steps after which a run is taken to hang.
const TIME_LIMIT: Duration = Duration::from_secs(36_000);
const STEP_LIMIT: u64 = 200_000_000;

/// What happens in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scenario {
    /// Clients work while faults strike.
    #[default]
    Load,
    /// A crash after every step of a commit.
    Commits,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// What happens. The load and the faults are those of [`Scenario::Load`].
    pub scenario: Scenario,
    /// Everything follows from it.
    pub seed: u64,
    /// Virtual time under load, checks and restarts aside.
    pub load: Duration,
    /// The faults to draw from.
    pub faults: Vec<Fault>,
    /// The same of a cluster, where there is one.
    pub cluster_faults: Vec<ClusterFault>,
    /// Cores of the node in all its lives; drawn for each life where it is not given.
    pub cores: Option<u16>,
    /// Nodes of the cluster, at least 1.
    pub nodes: u32,
}

/// Runs one seed.
pub fn run(options: &SimOptions) -> Report {
    let sim_options =
        Options { time_limit: TIME_LIMIT, step_limit: STEP_LIMIT, ..Options::new(options.seed) };
    let sim = Sim::new(sim_options);
    match options.scenario {
        Scenario::Load => run_load(&sim, options),
        Scenario::Commits => commits::run(&sim, options),
    }
}

fn run_load(sim: &Sim, options: &SimOptions) -> Report {
    let mut tally = Tally::default();
    let scenario = async {
        match options.nodes {
            1 => scenario(sim, options, &mut tally).await,
            _ => cluster::scenario(sim, options, &mut tally).await,
        }
    };
    let verdict = sim
        .run_until(scenario)
        .unwrap_or_else(|stuck| Verdict::Failed(format!("the run does not end: {stuck}")));
    let Tally { lives, checks, strikes, shared } = tally;
    let count = |read: fn(&workload::Counters) -> u64| {
        shared.as_ref().map_or(0, |shared| read(&shared.counters))
    };
    Report {
        lives,
        checks,
        committed: count(|counters| counters.committed.get()),
        refused: count(|counters| counters.refused.get()),
        in_doubt: count(|counters| counters.in_doubt.get()),
        revived: count(|counters| counters.revived.get()),
        reads: count(|counters| counters.reads.get()),
        schema_changes: count(|counters| counters.schema_changes.get()),
        corruption_refused: count(|counters| counters.corruption_refused.get()),
        strikes,
        ..Report::of(sim, options.seed, verdict)
    }
}

/// What has happened so far.
#[derive(Default)]
pub(super) struct Tally {
    pub lives: u64,
    pub checks: u64,
    pub strikes: BTreeMap<&'static str, u64>,
    pub shared: Option<Rc<Shared>>,
}

/// Why a run ends before its time.
pub(super) enum Halt {
    Broken(String),
    /// The node found that its data is damaged, as it was.
    Damage(String),
}

impl From<Problem> for Halt {
    fn from(problem: Problem) -> Halt {
        Halt::Broken(problem.to_string())
    }
}

/// What one run consists of.
struct Run<'a> {
    sim: &'a Sim,
    options: &'a SimOptions,
    machine: Machine<'a>,
    nemesis: Option<Nemesis>,
    shared: Rc<Shared>,
    tally: &'a mut Tally,
    /// Strikes of the present life that explain that the node ends of its own accord.
    disk_errors: u32,
}

async fn scenario(sim: &Sim, options: &SimOptions, tally: &mut Tally) -> Verdict {
    let machine = Machine::new(sim);
    let clients = CLIENTS_MIN + random::below(CLIENTS_MAX - CLIENTS_MIN + 1);
    let shared = Rc::new(Shared::new(vec![machine.address()], clients as usize, PAUSE_MAX));
    tally.shared = Some(shared.clone());
    let faults = draw_faults(&options.faults);
    let nemesis = (!faults.is_empty()).then(|| Nemesis::new(&faults, &[NODE]));
    let mut run = Run { sim, options, machine, nemesis, shared, tally, disk_errors: 0 };
    match run.live().await {
        Ok(()) => Verdict::Passed,
        Err(Halt::Damage(what)) => Verdict::DamageFound(what),
        Err(Halt::Broken(what)) => Verdict::Failed(what),
    }
}

/// Some of the faults, and all of them now and then: a run with few faults goes deeper into each.
pub(super) fn draw_faults<F: Copy>(all: &[F]) -> Vec<F> {
    if all.len() < 3 || random::below(4) == 0 {
        return all.to_vec();
    }
    let mut left = all.to_vec();
    let keep = 1 + random::below(all.len() as u64 / 2) as usize;
    while left.len() > keep {
        left.swap_remove(random::below(left.len() as u64) as usize);
    }
    left
}

/// Makes the tables, and what is in them to begin with. What is refused as a leader moves is tried
/// again for so long.
pub(super) async fn set_up(mut client: Client, within: Duration) -> Result<(), Halt> {
    let end = time::now() + within;
    let values: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    let accounts = format!("INSERT INTO account VALUES {}", values.join(", "));
    let values: Vec<String> = (0..PURSES).map(|id| format!("({id}, {BALANCE})")).collect();
    let purses = format!("INSERT INTO purse VALUES {}", values.join(", "));
    let rows = [accounts.as_str(), purses.as_str(), "INSERT INTO tally VALUES (0, 0)"];
    for statement in TABLES.iter().copied().chain(rows) {
        while let Err(failure) = client.query(statement).await {
            let moves = [SqlState::SERIALIZATION_FAILURE, SqlState::CANNOT_CONNECT_NOW];
            let again = failure.state().is_some_and(|state| moves.contains(&state));
            if !again || time::now() >= end {
                return Err(Halt::Broken(format!("{statement}: {failure}")));
            }
            time::sleep(SET_UP_PAUSE).await;
        }
    }
    Ok(())
}

/// A time up to this long.
pub(super) fn drawn(most: Duration) -> Duration {
    Duration::from_nanos(random::below(most.as_nanos() as u64 + 1))
}

impl Run<'_> {
    async fn live(&mut self) -> Result<(), Halt> {
        self.start();
        let client = self.connect().await?;
        set_up(client, Duration::ZERO).await?;
        let mut loaded = Duration::ZERO;
        while loaded < self.options.load {
            let begun = time::now();
            self.load().await?;
            loaded += begun.elapsed();
            self.quiet().await?;
        }
        self.stop().await?;
        self.quiet().await
    }

    fn start(&mut self) {
        let cores = match self.options.cores {
            Some(cores) => cores,
            None => 1 + random::below(CORES_MAX) as u16,
        };
        self.tally.lives += 1;
        self.machine.start(cores);
    }

    /// A connection to the node, which is started again if it ends for a reason that is known.
    async fn connect(&mut self) -> Result<Client, Halt> {
        for _ in 0..STARTS_MAX {
            let connected = check::connect(&self.shared, || self.machine.is_running()).await?;
            match connected {
                Some(client) => return Ok(client),
                None => {
                    self.explain_end()?;
                    self.start();
                }
            }
        }
        Err(Halt::Broken(format!("the node does not stay up: {:?}", self.machine.last_words())))
    }

    /// The node has ended of its own accord: was it right to?
    fn explain_end(&mut self) -> Result<(), Halt> {
        let words = self.machine.last_words().join("; ");
        if self.shared.damaged.get() {
            // Whoever reads this must find the place.
            return match words.contains("/data/") {
                true => Err(Halt::Damage(words)),
                false => {
                    Err(Halt::Broken(format!("damage is not reported with its file: {words}")))
                }
            };
        }
        if self.disk_errors == 0 {
            return Err(Halt::Broken(format!("the node ended of its own accord: {words}")));
        }
        Ok(())
    }

    /// Clients work while the nemesis strikes.
    async fn load(&mut self) -> Result<(), Halt> {
        self.shared.stop.clear();
        let clients: Vec<Task<()>> = (0..self.shared.oracles.len())
            .map(|owner| task::spawn("client", workload::session(self.shared.clone(), owner)))
            .collect();
        for _ in 0..random::below(STRIKES_MAX + 1) {
            time::sleep(drawn(STRIKE_INTERVAL_MAX)).await;
            self.strike();
            if !self.machine.is_running() {
                break;
            }
        }
        if self.machine.is_running() {
            time::sleep(drawn(STRIKE_INTERVAL_MAX)).await;
        }
        if self.machine.is_running() && random::below(2) == 0 {
            self.end_gently(clients).await?;
        }
        // Otherwise the clients are cut off wherever they are.
        Ok(())
    }

    async fn end_gently(&mut self, clients: Vec<Task<()>>) -> Result<(), Halt> {
        self.calm();
        self.shared.stop.set();
        let all = async {
            for client in clients {
                client.await.map_err(|panic| Halt::Broken(format!("a client: {panic:?}")))?;
            }
            Ok(())
        };
        // A block has a handful of statements, and one without an answer is given up.
        match time::timeout(8 * ANSWER_TIME_MAX, all).await {
            Ok(ended) => ended,
            Err(_elapsed) => Err(Halt::Broken("clients do not come to an end".to_owned())),
        }
    }

    fn strike(&mut self) {
        let Some(nemesis) = &self.nemesis else { return };
        let Strike { fault, .. } = nemesis.strike(self.sim);
        *self.tally.strikes.entry(fault.name()).or_default() += 1;
        match fault {
            Fault::ReadError | Fault::WriteError | Fault::SyncError | Fault::DiskFull => {
                self.disk_errors += 1;
            }
            Fault::BitFlip | Fault::ZeroSector => self.shared.damaged.set(true),
            _ => {}
        }
    }

    fn calm(&self) {
        if let Some(nemesis) = &self.nemesis {
            nemesis.calm(self.sim);
        }
    }

    /// Faults end, the node comes back, and all is checked.
    async fn quiet(&mut self) -> Result<(), Halt> {
        self.calm();
        if self.machine.is_running() {
            time::sleep(SETTLE).await;
        } else {
            time::sleep(drawn(DOWN_MAX)).await;
            if !self.machine.last_words().is_empty() {
                self.explain_end()?;
            }
            self.disk_errors = 0;
            self.start();
        }
        let mut checked = self.check().await?;
        if let Err(Problem::Failure { .. }) = &checked
            && self.disk_errors > 0
        {
            // A disk that has lied once is not trusted: the node, or a core of it, has stopped to
            // write, or has ended. Whoever runs it starts it again.
            self.restart();
            checked = self.check().await?;
        }
        match checked {
            Ok(()) => {}
            Err(problem)
                if self.shared.damaged.get()
                    && problem.state() == Some(SqlState::DATA_CORRUPTED) =>
            {
                return Err(Halt::Damage(problem.to_string()));
            }
            Err(problem) => return Err(problem.into()),
        }
        match self.shared.first_violation() {
            Some(what) => Err(Halt::Broken(what)),
            None => Ok(()),
        }
    }

    fn restart(&mut self) {
        if self.machine.is_running() {
            self.sim.crash(NODE, Loss::Process);
        }
        self.disk_errors = 0;
        self.start();
    }

    async fn check(&mut self) -> Result<Result<(), Problem>, Halt> {
        let mut client = self.connect().await?;
        let checked = check::check(&self.shared, &mut client).await;
        self.tally.checks += u64::from(checked.is_ok());
        Ok(checked)
    }

    /// A clean stop: everything is in table files, and the node says no word of trouble.
    async fn stop(&mut self) -> Result<(), Halt> {
        self.machine.stop();
        let end = time::now() + STOPS_WITHIN;
        while self.machine.is_running() {
            if time::now() >= end {
                return Err(Halt::Broken(format!("the node does not stop in {STOPS_WITHIN:?}")));
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        match self.machine.last_words().as_slice() {
            [] => Ok(()),
            _ => self.explain_end(),
        }
    }
}
