//! Whole clusters: `phantomdb sim --nodes N`.
//!
//! Each node is the one that `phantomdb start` runs, on a simulated host of its own: a disk, cores,
//! sockets, a wall clock. The first founds a cluster, the others ask to be let in, over the links and
//! the gossip of the real node. Once every partition has as many voters as it is to have, clients
//! work at all doors.
//!
//! ```text
//!  ┌── found ────────────┐   ┌── load ───────────────────┐   ┌── quiet ───────────────────────────┐
//!  │ one founds, the     │   │ clients work at any node  │   │ faults end, who is down starts;    │
//!  │ others join, voters │──►│ the nemesis strikes; who  │──►│ all nodes serve and commit again;  │──┐
//!  │ are made            │   │ is down starts, or stays  │   │ all is checked; replicas are equal │  │
//!  └─────────────────────┘   └───────────────────────────┘   └────────────────────────────────────┘  │
//!                                 ▲                                                                  │
//!                                 └────── again, until the time is used up; then all are stopped ────┘
//! ```
//!
//! What is checked is what one node's run checks, and besides:
//!
//! * **liveness**: once faults have ended, every node serves and commits within [`SERVES_WITHIN`];
//! * **replicas** of a partition hold the same rows, byte for byte and with the same times, once they
//!   have applied the same entries; and no vote and no decision is left over (`replicas.rs`);
//! * a node ends of its own accord only where its disk has failed.

mod faults;
mod replicas;
#[cfg(test)]
mod tests;

pub use faults::ClusterFault;

use super::check::{self, Problem};
use super::client::{ANSWER_TIME_MAX, Client, Failure};
use super::machine::{Machine, Membership};
use super::report::Verdict;
use super::run::{
    CLIENTS_MAX, CLIENTS_MIN, Halt, SETTLE, STOPS_WITHIN, SimOptions, Tally, draw_faults, drawn,
    set_up,
};
use super::workload::{self, Shared};
use faults::{Beside, JOINING_MAX};
use model::error::SqlState;
use runtime::sim::{Fault, Loss, Nemesis, Sim, Strike};
use runtime::task::Task;
use runtime::{random, task, time};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// Once faults have ended, all nodes serve and commit within this time.
const SERVES_WITHIN: Duration = Duration::from_secs(90);
/// A node that starts for the first time serves within this time.
const JOINS_WITHIN: Duration = Duration::from_secs(60);
/// A check that meets a leader that moves is made again for so long.
const CHECKED_WITHIN: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(100);
/// Longest time between two strikes.
const STRIKE_INTERVAL_MAX: Duration = Duration::from_secs(3);
/// Strikes of one load.
const STRIKES_MAX: u64 = 5;
/// Longest time a node stays down when a load is over.
const DOWN_MAX: Duration = Duration::from_secs(5);
/// Longest pause of a client between two transactions: loads are long, so that leaders are elected in
/// them.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Most cores a node is started with.
const CORES_MAX: u64 = 2;
/// Clusters above this size have a core a node, and fewer and smaller things happen.
const SMALL_MAX: u32 = 9;
const PARTITIONS: [u32; 3] = [1, 3, 6];
const PARTITIONS_OF_MANY: u32 = 16;

/// The faults of a run that names none: all that a cluster must survive without losing anything.
pub const CLUSTER_FAULTS: &[Fault] =
    &[Fault::ProcessCrash, Fault::PowerLoss, Fault::ClusterPowerLoss];
/// Beside them those that know the cluster.
pub const DEFAULT_CLUSTER_FAULTS: &[ClusterFault] = &[
    ClusterFault::LeaderCrash,
    ClusterFault::LeaderIsolate,
    ClusterFault::Flapping,
    ClusterFault::MoveLeader,
    ClusterFault::Drain,
    ClusterFault::Join,
];

/// What one run consists of.
struct Run<'a> {
    sim: &'a Sim,
    options: &'a SimOptions,
    machines: Vec<Machine<'a>>,
    replication_factor: u8,
    /// The faults of this seed: of hosts, and those that know the cluster.
    faults: Vec<Fault>,
    cluster_faults: Vec<ClusterFault>,
    /// Hosts whose nodes may still join.
    spare: Vec<Machine<'a>>,
    /// Goes on while faults strike.
    beside: Beside,
    /// Nodes that are to be free.
    drained: BTreeSet<u32>,
    shared: Rc<Shared>,
    tally: &'a mut Tally,
    /// By host: strikes since the last quiet time that explain that its node ends of its own accord. What a disk
    /// is to fail once it may fail in a later life.
    disk_errors: BTreeMap<u32, u32>,
}

/// Runs a cluster.
pub(super) async fn scenario(sim: &Sim, options: &SimOptions, tally: &mut Tally) -> Verdict {
    let nodes = options.nodes;
    let replication_factor = if nodes >= 5 && random::below(2) == 0 { 5 } else { 3 };
    let partitions = match nodes {
        ..=SMALL_MAX => PARTITIONS[random::below(PARTITIONS.len() as u64) as usize],
        _ => PARTITIONS_OF_MANY,
    };
    let member = |node| Membership { node, nodes, replication_factor, partitions };
    let machines: Vec<Machine<'_>> =
        (1..=nodes).map(|node| Machine::member(sim, member(node))).collect();
    let clients = CLIENTS_MIN + random::below(CLIENTS_MAX - CLIENTS_MIN + 1);
    let doors = machines.iter().map(Machine::address).collect();
    let shared = Rc::new(Shared::new(doors, clients as usize, PAUSE_MAX));
    tally.shared = Some(shared.clone());
    let spare = (nodes + 1..=nodes + JOINING_MAX).map(|node| Machine::member(sim, member(node)));
    let mut run = Run {
        sim,
        options,
        machines,
        replication_factor,
        faults: draw_faults(&options.faults),
        cluster_faults: draw_faults(&options.cluster_faults),
        spare: spare.collect(),
        beside: Beside::new(),
        drained: BTreeSet::new(),
        shared,
        tally,
        disk_errors: BTreeMap::new(),
    };
    match run.live().await {
        Ok(()) => Verdict::Passed,
        Err(Halt::Damage(what)) => Verdict::DamageFound(what),
        Err(Halt::Broken(what)) => Verdict::Failed(what),
    }
}

impl Run<'_> {
    async fn live(&mut self) -> Result<(), Halt> {
        self.found().await?;
        let client = self.connected(0, SERVES_WITHIN).await?;
        set_up(client, SERVES_WITHIN).await?;
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

    /// Starts one node after the other, and waits until every partition has its voters.
    async fn found(&mut self) -> Result<(), Halt> {
        for at in 0..self.machines.len() {
            self.start(at);
            self.connected(at, JOINS_WITHIN).await?;
        }
        replicas::await_voters(&self.machines, self.replication_factor).await.map_err(Halt::Broken)
    }

    fn start(&mut self, at: usize) {
        let cores = match self.options.cores {
            Some(cores) => cores,
            None if self.options.nodes > SMALL_MAX => 1,
            None => 1 + random::below(CORES_MAX) as u16,
        };
        self.tally.lives += 1;
        self.machines[at].start(cores);
    }

    /// Starts whoever is down.
    fn start_all(&mut self) -> Result<(), Halt> {
        for at in 0..self.machines.len() {
            if !self.machines[at].is_running() {
                self.explain_end(at)?;
                self.start(at);
            }
        }
        Ok(())
    }

    /// A node that is down has crashed, or has ended of its own accord: was it right to?
    fn explain_end(&self, at: usize) -> Result<(), Halt> {
        let machine = &self.machines[at];
        let words = machine.last_words();
        let node = machine.number();
        // One that is not let in yet gives up after a while.
        let joins = machine.id().is_none();
        match words.is_empty() || self.disk_errors.contains_key(&node) || joins {
            true => Ok(()),
            false => {
                let words = words.join("; ");
                Err(Halt::Broken(format!("node {node} ended of its own accord: {words}")))
            }
        }
    }

    /// A connection to a node that runs.
    async fn connected(&mut self, at: usize, within: Duration) -> Result<Client, Halt> {
        let end = time::now() + within;
        loop {
            if !self.machines[at].is_running() {
                self.explain_end(at)?;
                self.start(at);
            }
            match Client::connect(self.machines[at].address()).await {
                Ok(client) => return Ok(client),
                Err(failure) if time::now() >= end => {
                    let node = self.machines[at].number();
                    return Err(Halt::Broken(format!(
                        "node {node} does not serve {within:?} after all faults ended: {failure}"
                    )));
                }
                Err(_not_yet) => time::sleep(RETRY).await,
            }
        }
    }

    /// Clients work while the nemesis strikes.
    async fn load(&mut self) -> Result<(), Halt> {
        self.shared.stop.clear();
        let clients: Vec<Task<()>> = (0..self.shared.oracles.len())
            .map(|owner| task::spawn("client", workload::session(self.shared.clone(), owner)))
            .collect();
        for _ in 0..=random::below(STRIKES_MAX + 1) {
            time::sleep(drawn(STRIKE_INTERVAL_MAX)).await;
            match random::below(4) {
                0 => self.start_all()?,
                1 => self.calm(),
                _ => self.strike(),
            }
        }
        time::sleep(drawn(STRIKE_INTERVAL_MAX)).await;
        if random::below(2) == 0 {
            self.end_gently(clients).await?;
        }
        // Otherwise the clients are cut off wherever they are.
        Ok(())
    }

    async fn end_gently(&mut self, clients: Vec<Task<()>>) -> Result<(), Halt> {
        self.calm();
        self.start_all()?;
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
        let all = self.faults.len() + self.cluster_faults.len();
        if all == 0 {
            return;
        }
        let drawn = random::below(all as u64) as usize;
        if let Some(drawn) = drawn.checked_sub(self.faults.len()) {
            return self.strike_cluster(self.cluster_faults[drawn]);
        }
        let nemesis = Nemesis::new(&[self.faults[drawn]], &self.hosts());
        let Strike { fault, node, .. } = nemesis.strike(self.sim);
        log::info!(node = node; "strikes: {fault}");
        *self.tally.strikes.entry(fault.name()).or_default() += 1;
        if let Fault::ReadError | Fault::WriteError | Fault::SyncError | Fault::DiskFull = fault {
            *self.disk_errors.entry(node).or_default() += 1;
        }
    }

    fn hosts(&self) -> Vec<u32> {
        self.machines.iter().map(Machine::number).collect()
    }

    /// Whatever does not last ends.
    fn calm(&mut self) {
        log::info!("calm");
        self.beside.clear();
        // Which faults it knows makes no difference.
        Nemesis::new(&[Fault::Pause], &self.hosts()).calm(self.sim);
    }

    /// Faults end, the nodes come back, and all is checked.
    async fn quiet(&mut self) -> Result<(), Halt> {
        self.calm();
        time::sleep(drawn(DOWN_MAX)).await;
        // A disk that has lied once is not trusted: the node, or a core of it, has stopped to write,
        // or has ended. Whoever runs it starts it again.
        for at in 0..self.machines.len() {
            let node = self.machines[at].number();
            if self.disk_errors.contains_key(&node) && self.machines[at].is_running() {
                self.sim.crash(node, Loss::Process);
            }
        }
        self.start_all()?;
        self.disk_errors.clear();
        log::info!("quiet");
        self.all_commit().await?;
        self.resume_all(SERVES_WITHIN).await?;
        time::sleep(SETTLE).await;
        self.check().await?;
        replicas::await_agreement(&self.machines, self.replication_factor)
            .await
            .map_err(Halt::Broken)?;
        self.tally.checks += 1;
        match self.shared.first_violation() {
            Some(what) => Err(Halt::Broken(what)),
            None => Ok(()),
        }
    }

    /// Every node serves, and commits over all partitions.
    async fn all_commit(&mut self) -> Result<(), Halt> {
        let end = time::now() + SERVES_WITHIN;
        for at in 0..self.machines.len() {
            loop {
                let mut client = self.connected(at, end.saturating_since(time::now())).await?;
                let statement = "UPDATE account SET balance = balance";
                match client.query(statement).await {
                    Ok(_) => break,
                    Err(failure) if time::now() >= end => {
                        let node = self.machines[at].number();
                        return Err(Halt::Broken(format!(
                            "node {node} does not commit {SERVES_WITHIN:?} after all faults ended: \
                             {failure}"
                        )));
                    }
                    Err(_not_yet) => time::sleep(RETRY).await,
                }
            }
        }
        Ok(())
    }

    /// What one node's run checks, at any node. A leader may still be on its way to another node.
    async fn check(&mut self) -> Result<(), Halt> {
        let end = time::now() + CHECKED_WITHIN;
        loop {
            let at = random::below(self.machines.len() as u64) as usize;
            let mut client = self.connected(at, SERVES_WITHIN).await?;
            match check::check(&self.shared, &mut client).await {
                Ok(()) => return Ok(()),
                Err(problem) if time::now() < end && passes(&problem) => {
                    log::info!("checked again: {problem}");
                    time::sleep(RETRY).await;
                }
                Err(problem) => return Err(problem.into()),
            }
        }
    }

    /// All nodes are stopped cleanly, at once or one after the other.
    async fn stop(&mut self) -> Result<(), Halt> {
        for at in 0..self.machines.len() {
            self.machines[at].stop();
            time::sleep(drawn(DOWN_MAX / 5)).await;
        }
        let end = time::now() + STOPS_WITHIN;
        while let Some(running) = self.machines.iter().find(|machine| machine.is_running()) {
            if time::now() >= end {
                let node = running.number();
                return Err(Halt::Broken(format!("node {node} does not stop in {STOPS_WITHIN:?}")));
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        (0..self.machines.len()).try_for_each(|at| self.explain_end(at))
    }
}

/// Whether it was only that a leader moved, or was lost.
fn passes(problem: &Problem) -> bool {
    let Problem::Failure { failure, .. } = problem else { return false };
    let lost = matches!(failure, Failure::Lost(_));
    let moved = [
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::SERIALIZATION_FAILURE,
        SqlState::STATEMENT_COMPLETION_UNKNOWN,
    ];
    lost || problem.state().is_some_and(|state| moved.contains(&state))
}
