//! Crashes aimed at commits: a transfer over several partitions, and the node ends after the first
//! step that is taken for its COMMIT; once more, and it ends after the second; and so on, until the
//! commit and what is done behind the client's back is over before the crash comes. So the end comes
//! at every place where coordinator and participants wait, from the request's arrival to the last
//! decision that is forgotten.
//!
//! ```text
//!   transfer ─ COMMIT ─ k steps ─ crash ─ start ─ check ─ quiet    k = 1, 2, 3 ...
//!                         ▲                 │
//!             others read and write         └─ now and then it crashes again while it recovers
//! ```
//!
//! What must hold: every transfer is there wholly or not at all, and if it was acknowledged it is
//! there; what a check has found stays. Once the world is quiet no partition holds anything of any
//! transaction, and no decision. How many partitions, cores, parts of a transaction: drawn from the
//! seed, as in the other scenario.

use super::client::{Answer, Client, Failure};
use super::machine::{Held, Machine, NODE};
use super::report::{CrashPlace, Report, Verdict};
use super::run::SimOptions;
use super::workload::integers;
use model::error::SqlState;
use runtime::sim::{Loss, Sim, Step};
use runtime::task::Task;
use runtime::{random, task, time};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const ACCOUNTS: i64 = 12;
const BALANCE: i64 = 1_000;
/// Most that a transfer moves.
const AMOUNT_MAX: u64 = 50;
/// More than there are accounts in a transfer, so that it commits in two phases.
const PARTITIONS: [u32; 3] = [4, 8, 16];
const CORES: std::ops::RangeInclusive<u16> = 1..=4;
/// A commit that takes more steps than this is taken to hang.
const STEPS_MAX: u64 = 20_000;
/// The sweep is over when so many commits in a row have ended before their crash.
const OVER_AFTER: u32 = 3;
/// One in so many recoveries is cut off, too.
const CUT_OFF: u64 = 4;
/// The last step after which a recovery is cut off.
const RECOVERY_STEPS_MAX: u64 = 4_000;
/// The node serves again, and is quiet, within this time.
const WITHIN: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_micros(200);
const RETRY: Duration = Duration::from_millis(20);

const SUM: &str = "SELECT count(*), CAST(sum(balance) AS bigint) FROM account";
const TABLES: [&str; 2] = [
    "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)",
    "CREATE TABLE movement (id bigint PRIMARY KEY, code text NOT NULL UNIQUE, \
     source bigint NOT NULL, target bigint NOT NULL, amount bigint NOT NULL)",
];

/// What was found so far.
#[derive(Default)]
struct Found {
    lives: u64,
    checks: u64,
    acknowledged: u64,
    refused: u64,
    in_doubt: u64,
    reads: u64,
    strikes: BTreeMap<&'static str, u64>,
    places: BTreeMap<CrashPlace, u64>,
}

/// A promise is broken.
struct Broken(String);

/// How a round ended.
#[derive(PartialEq)]
enum Round {
    /// In a crash.
    Crashed,
    /// All was over before the crash came.
    Over,
}

/// Runs one seed.
pub(super) fn run(sim: &Sim, options: &SimOptions) -> Report {
    let mut found = Found::default();
    let ran = sim.run_until(async {
        let partitions = PARTITIONS[random::below(PARTITIONS.len() as u64) as usize];
        let machine = Machine::with_partitions(sim, partitions);
        let mut sweep = Sweep {
            sim,
            machine,
            cores: options.cores,
            there: BTreeMap::new(),
            movements: 0,
            seen: Rc::default(),
            found: &mut found,
        };
        sweep.live().await
    });
    let verdict = match ran {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(Broken(what))) => Verdict::Failed(what),
        Err(stuck) => Verdict::Failed(format!("the run does not end: {stuck}")),
    };
    Report {
        lives: found.lives,
        checks: found.checks,
        committed: found.acknowledged,
        refused: found.refused,
        in_doubt: found.in_doubt,
        reads: found.reads,
        strikes: found.strikes,
        crash_places: found.places,
        ..Report::of(sim, options.seed, verdict)
    }
}

struct Sweep<'a> {
    sim: &'a Sim,
    machine: Machine<'a>,
    cores: Option<u16>,
    /// The movements that are known to be there: source, target, amount.
    there: BTreeMap<i64, [i64; 3]>,
    movements: i64,
    /// What a neighbour has seen that must not be.
    seen: Rc<RefCell<Option<String>>>,
    found: &'a mut Found,
}

/// A movement of money that is about to be committed.
struct Transfer {
    id: i64,
    movement: [i64; 3],
}

impl Sweep<'_> {
    async fn live(&mut self) -> Result<(), Broken> {
        self.start();
        self.set_up().await?;
        let (mut steps, mut over) = (1, 0);
        while over < OVER_AFTER {
            if steps > STEPS_MAX {
                return Err(Broken(format!("a commit is not over after {STEPS_MAX} steps")));
            }
            match self.round(steps).await? {
                Round::Crashed => (steps, over) = (steps + 1, 0),
                Round::Over => over += 1,
            }
            if let Some(wrong) = self.seen.borrow_mut().take() {
                return Err(Broken(wrong));
            }
        }
        Ok(())
    }

    fn start(&mut self) {
        let drawn =
            CORES.start() + random::below(u64::from(CORES.end() - CORES.start()) + 1) as u16;
        self.found.lives += 1;
        self.machine.start(self.cores.unwrap_or(drawn));
    }

    /// A connection to the node; `None` when the node has crashed instead.
    async fn connect(&self) -> Result<Option<Client>, Broken> {
        let end = time::now() + WITHIN;
        loop {
            if !self.machine.is_running() {
                return Ok(None);
            }
            match Client::connect(self.machine.address()).await {
                Ok(client) => return Ok(Some(client)),
                Err(failure) if time::now() >= end => {
                    return Err(Broken(format!("the node does not serve {WITHIN:?}: {failure}")));
                }
                Err(_not_yet) => time::sleep(RETRY).await,
            }
        }
    }

    async fn set_up(&mut self) -> Result<(), Broken> {
        let mut client = self.connected().await?;
        let values: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
        let accounts = format!("INSERT INTO account VALUES {}", values.join(", "));
        for statement in TABLES.iter().copied().chain([accounts.as_str()]) {
            ask(&mut client, statement).await?;
        }
        self.quiet().await
    }

    async fn connected(&self) -> Result<Client, Broken> {
        let words = || self.machine.last_words().join("; ");
        self.connect().await?.ok_or_else(|| Broken(format!("the node ended: {}", words())))
    }

    /// One commit, which the node does not outlive by more than `steps` steps.
    async fn round(&mut self, steps: u64) -> Result<Round, Broken> {
        let mut client = self.connected().await?;
        let transfer = self.draw();
        let begun = begin(&mut client, &transfer).await;
        begun.map_err(|failure| Broken(format!("a transfer among nobody: {failure}")))?;
        let place = self.set_trap(steps);
        let beside = self.beside(transfer.movement[0]);
        let committed = client.query("COMMIT").await;
        let in_doubt = self.note(&transfer, &committed)?;
        let over = self.rest().await?;
        if over {
            // What the others were told is looked at; then nothing is on its way any more.
            let told = beside.await;
            told.map_err(|panic| Broken(format!("a neighbour: {panic:?}")))?;
            if self.sim.call_off(NODE).is_some() {
                if in_doubt {
                    return Err(Broken("COMMIT has no answer, and nothing has crashed".to_owned()));
                }
                self.check(None).await?;
                return Ok(Round::Over);
            }
        }
        let place = place.borrow_mut().take();
        let Some(place) = place else {
            return Err(Broken(format!(
                "the node ended of its own accord: {}",
                self.machine.last_words().join("; ")
            )));
        };
        *self.found.places.entry(place).or_default() += 1;
        self.recover(in_doubt.then_some(transfer)).await?;
        Ok(Round::Crashed)
    }

    fn draw(&mut self) -> Transfer {
        self.movements += 1;
        let source = random::below(ACCOUNTS as u64) as i64;
        let target = (source + 1 + random::below(ACCOUNTS as u64 - 1) as i64) % ACCOUNTS;
        let amount = 1 + random::below(AMOUNT_MAX) as i64;
        Transfer { id: self.movements, movement: [source, target, amount] }
    }

    /// Lets the node crash after so many more steps. Gives where, once it has.
    fn set_trap(&mut self, steps: u64) -> Rc<RefCell<Option<CrashPlace>>> {
        let (loss, name) = match random::below(2) {
            0 => (Loss::Process, "process-crash"),
            _ => (Loss::Power, "power-loss"),
        };
        *self.found.strikes.entry(name).or_default() += 1;
        let place = Rc::new(RefCell::new(None));
        let (gauges, noted) = (self.machine.gauges(), place.clone());
        self.sim.crash_after(NODE, steps, loss, move |Step { task, .. }| {
            let Held { transactions, voted, decisions } = gauges.held();
            *noted.borrow_mut() = Some(CrashPlace { task, transactions, voted, decisions });
        });
        place
    }

    /// Somebody else, perhaps: who reads what is being written, or waits to write it.
    fn beside(&mut self, account: i64) -> Task<()> {
        let statement = match random::below(3) {
            0 => None,
            1 => Some(SUM.to_owned()),
            _ => Some(format!("UPDATE account SET balance = balance WHERE id = {account}")),
        };
        self.found.reads += u64::from(statement.as_deref() == Some(SUM));
        let (address, seen) = (self.machine.address(), self.seen.clone());
        task::spawn("neighbour", async move {
            let Some(statement) = statement else { return };
            let Ok(mut client) = Client::connect(address).await else { return };
            let wrong = match client.query(&statement).await {
                Ok(answer) if statement == SUM => {
                    let found = answer.rows.first().and_then(|row| integers(row));
                    let right = Some(vec![ACCOUNTS, ACCOUNTS * BALANCE]);
                    (found != right).then(|| format!("accounts and sum are {found:?}"))
                }
                Ok(_) | Err(Failure::Lost(_)) => None,
                Err(refused) => Some(format!("{statement}: {refused}")),
            };
            if let Some(wrong) = wrong {
                seen.borrow_mut().get_or_insert(wrong);
            }
        })
    }

    /// Notes what COMMIT answered. Returns whether it is in doubt.
    fn note(
        &mut self,
        transfer: &Transfer,
        committed: &Result<Answer, Failure>,
    ) -> Result<bool, Broken> {
        match committed {
            Ok(answer) if answer.tag == "COMMIT" => {
                self.found.acknowledged += 1;
                self.there.insert(transfer.id, transfer.movement);
                Ok(false)
            }
            Ok(answer) => Err(Broken(format!("COMMIT answers {}", answer.tag))),
            Err(failure) => match failure.state() {
                None | Some(SqlState::STATEMENT_COMPLETION_UNKNOWN) => {
                    self.found.in_doubt += 1;
                    Ok(true)
                }
                // Who waits for a vote may ask for its outcome before there is one.
                Some(SqlState::SERIALIZATION_FAILURE) => {
                    self.found.refused += 1;
                    Ok(false)
                }
                Some(_) => Err(Broken(format!("COMMIT among nobody: {failure}"))),
            },
        }
    }

    /// Waits until the node holds nothing (`true`) or has crashed.
    async fn rest(&self) -> Result<bool, Broken> {
        let gauges = self.machine.gauges();
        let end = time::now() + WITHIN;
        while self.machine.is_running() {
            if gauges.held() == Held::default() {
                return Ok(true);
            }
            if time::now() >= end {
                return Err(Broken(format!("after {WITHIN:?} it holds {:?}", gauges.held())));
            }
            time::sleep(POLL).await;
        }
        Ok(false)
    }

    /// Once nobody asks for anything, no transaction is in doubt and no decision is kept.
    async fn quiet(&self) -> Result<(), Broken> {
        match self.rest().await? {
            true => Ok(()),
            false => Err(Broken(format!("the node ended: {:?}", self.machine.last_words()))),
        }
    }

    /// Starts the node again, until it recovers in peace, and checks what is there.
    async fn recover(&mut self, in_doubt: Option<Transfer>) -> Result<(), Broken> {
        self.start();
        while random::below(CUT_OFF) == 0 {
            let place = self.set_trap(1 + random::below(RECOVERY_STEPS_MAX));
            // Whoever comes first: a client that finds the node, or its end.
            let client = self.connect().await?;
            if client.is_some() && self.rest().await? && self.sim.call_off(NODE).is_some() {
                continue;
            }
            if place.borrow().is_none() {
                return Err(Broken(format!("the node ended: {:?}", self.machine.last_words())));
            }
            self.start();
        }
        if random::below(2) == 0 {
            // Nobody comes who would have to ask for an outcome.
            drop(self.connected().await?);
            self.quiet().await?;
        }
        self.check(in_doubt).await
    }

    /// Compares what is there with what is known. A transfer in doubt is wholly there or not at all.
    async fn check(&mut self, in_doubt: Option<Transfer>) -> Result<(), Broken> {
        let mut client = self.connected().await?;
        let rows = numbers(&mut client, "SELECT id, source, target, amount FROM movement").await?;
        let found: BTreeMap<i64, [i64; 3]> =
            rows.iter().map(|row| (row[0], [row[1], row[2], row[3]])).collect();
        if let Some(Transfer { id, movement }) = in_doubt
            && found.contains_key(&id)
        {
            self.there.insert(id, movement);
        }
        if found != self.there {
            return Err(Broken(format!("movements are {found:?}, known are {:?}", self.there)));
        }
        let mut expected: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|id| (id, BALANCE)).collect();
        for [source, target, amount] in self.there.values() {
            *expected.entry(*source).or_default() -= amount;
            *expected.entry(*target).or_default() += amount;
        }
        let rows = numbers(&mut client, "SELECT id, balance FROM account").await?;
        let balances: BTreeMap<i64, i64> = rows.iter().map(|row| (row[0], row[1])).collect();
        if balances != expected {
            return Err(Broken(format!("accounts hold {balances:?}, not {expected:?}")));
        }
        // The index of a unique column lies in other partitions.
        if let Some(last) = self.there.keys().last() {
            let by_code = format!("SELECT id FROM movement WHERE code = 'c{last}'");
            if numbers(&mut client, &by_code).await? != [[*last]] {
                return Err(Broken(format!("movement {last} is not found by its code")));
            }
        }
        // Nothing is locked any more.
        ask(&mut client, "UPDATE account SET balance = balance").await?;
        drop(client);
        self.found.checks += 1;
        self.quiet().await
    }
}

/// All of a transfer but its COMMIT.
async fn begin(client: &mut Client, transfer: &Transfer) -> Result<(), Failure> {
    let Transfer { id, movement: [source, target, amount] } = transfer;
    let add = |account: i64, amount: i64| {
        format!("UPDATE account SET balance = balance + {amount} WHERE id = {account}")
    };
    let other = random::below(ACCOUNTS as u64);
    for statement in [
        "BEGIN".to_owned(),
        format!("SELECT balance FROM account WHERE id = {other}"),
        add(*source, -amount),
        add(*target, *amount),
        format!("INSERT INTO movement VALUES ({id}, 'c{id}', {source}, {target}, {amount})"),
    ] {
        client.query(&statement).await?;
    }
    Ok(())
}

async fn ask(client: &mut Client, statement: &str) -> Result<Answer, Broken> {
    let answer = client.query(statement).await;
    answer.map_err(|failure| Broken(format!("with no crash to come, {statement}: {failure}")))
}

async fn numbers(client: &mut Client, statement: &str) -> Result<Vec<Vec<i64>>, Broken> {
    let rows = ask(client, statement).await?.rows;
    let read: Option<Vec<Vec<i64>>> = rows.iter().map(|row| integers(row)).collect();
    read.ok_or_else(|| Broken(format!("{statement} returns {rows:?}")))
}
