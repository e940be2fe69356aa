//! What a run has to say.

use runtime::sim::Sim;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was promised holds.
    Passed,
    /// Damage of stored data was found and refused; what could be read was right.
    DamageFound(String),
    /// A promise is broken.
    Failed(String),
}

/// Where a crash came that was aimed: behind a step of which task, and what the node's partitions held
/// then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrashPlace {
    /// The name of the task.
    pub task: &'static str,
    /// Transactions that held something, counted in each partition.
    pub transactions: usize,
    /// Those of them that had voted.
    pub voted: usize,
    /// Decisions that were kept.
    pub decisions: usize,
}

impl fmt::Display for CrashPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CrashPlace { task, transactions, voted, decisions } = self;
        write!(f, "{task}: {transactions} open, {voted} voted, {decisions} decided")
    }
}

/// The outcome of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The hash over everything that happened: the same for the same seed, faults and code.
    pub trace_hash: u64,
    /// Steps of tasks.
    pub steps: u64,
    /// Virtual time.
    pub elapsed: Duration,
    /// How often the node was started.
    pub lives: u64,
    /// Checks that passed.
    pub checks: u64,
    /// Transactions that were acknowledged.
    pub committed: u64,
    /// Statements and transactions that were refused.
    pub refused: u64,
    /// Transactions whose fate the client did not learn.
    pub in_doubt: u64,
    /// Blocks that went on from a savepoint after a statement of theirs was refused.
    pub revived: u64,
    /// Reads whose answer was checked while others wrote.
    pub reads: u64,
    /// Schema changes that were acknowledged.
    pub schema_changes: u64,
    /// Statements refused because stored data is damaged.
    pub corruption_refused: u64,
    /// How often each fault struck, by its name.
    pub strikes: BTreeMap<&'static str, u64>,
    /// How often a crash that was aimed came at each place.
    pub crash_places: BTreeMap<CrashPlace, u64>,
    /// How it ended.
    pub verdict: Verdict,
}

impl Report {
    /// What a simulation knows of itself, and nothing else.
    pub(super) fn of(sim: &Sim, seed: u64, verdict: Verdict) -> Report {
        let verdict = match (verdict, sim.panics().first()) {
            (Verdict::Failed(what), Some(panic)) => Verdict::Failed(format!("{what}; {panic:?}")),
            (_, Some(panic)) => Verdict::Failed(format!("a task panicked: {panic:?}")),
            (verdict, None) => verdict,
        };
        Report {
            seed,
            trace_hash: sim.trace_hash(),
            steps: sim.steps(),
            elapsed: Duration::from_nanos(sim.now().as_nanos()),
            lives: 0,
            checks: 0,
            committed: 0,
            refused: 0,
            in_doubt: 0,
            revived: 0,
            reads: 0,
            schema_changes: 0,
            corruption_refused: 0,
            strikes: BTreeMap::new(),
            crash_places: BTreeMap::new(),
            verdict,
        }
    }

    /// Crashes that were aimed.
    pub fn aimed(&self) -> u64 {
        self.crash_places.values().sum()
    }

    /// Whether every promise was kept.
    pub fn passed(&self) -> bool {
        !matches!(self.verdict, Verdict::Failed(_))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: trace {:016x}, {} steps, {:.1} s of virtual time",
            self.seed,
            self.trace_hash,
            self.steps,
            self.elapsed.as_secs_f64()
        )?;
        writeln!(
            f,
            "  {} lives, {} checks, {} committed, {} refused, {} in doubt, {} revived, \
             {} reads, {} schema changes",
            self.lives,
            self.checks,
            self.committed,
            self.refused,
            self.in_doubt,
            self.revived,
            self.reads,
            self.schema_changes
        )?;
        let strikes: Vec<String> =
            self.strikes.iter().map(|(name, times)| format!("{name} {times}")).collect();
        writeln!(
            f,
            "  faults: {}",
            if strikes.is_empty() { "none".into() } else { strikes.join(", ") }
        )?;
        if !self.crash_places.is_empty() {
            let places = self.crash_places.len();
            writeln!(f, "  {} crashes that were aimed, at {places} places", self.aimed())?;
            for (place, times) in &self.crash_places {
                writeln!(f, "    {place}; {times} times")?;
            }
        }
        match &self.verdict {
            Verdict::Passed => write!(f, "  passed"),
            Verdict::DamageFound(what) => write!(f, "  passed; damage was found: {what}"),
            Verdict::Failed(what) => write!(f, "  FAILED: {what}"),
        }
    }
}
