//! Clients that write all the time, spread over the nodes, and know what they were told.
//!
//! Each writer belongs to one partition. It inserts rows that nobody else inserts and raises a counter
//! of its own, in turn; some move money between accounts of two partitions instead. What was
//! acknowledged must be there; what was refused must not; what nobody was told of may be either. Each of
//! them once: a counter says whether one was carried out twice.

use super::partitions;
use crate::number;
use model::id::PartitionId;
use model::key::push_value;
use model::placement::{hash_of, partition_of};
use model::value::Value;
use phantomdb_client::Error;
use phantomdb_client::blocking::Client;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use test_support::{Random, Server, now, seed, sleep};

const WRITERS: usize = 64;
/// The last of them move money.
const MOVERS: usize = 8;
const ACCOUNTS: u64 = 32;
const MONEY: i64 = 1_000;
/// SQLSTATE of a transaction that has to begin again.
const BEGINS_AGAIN: &str = "40001";
/// SQLSTATEs of commits of which nobody knows.
const IN_DOUBT: [&str; 2] = ["40003", "08007"];
/// Statements of a writer that are remembered.
const TRAIL: usize = 12;
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// The partition of a row whose key is this number.
pub(super) fn partition_of_key(id: i64, partitions: u32) -> PartitionId {
    let mut encoded = Vec::new();
    push_value(&mut encoded, &Value::Int(id), false);
    partition_of(hash_of(&encoded), partitions)
}

/// What one writer was told.
struct Writer {
    /// The node it talks to, from 0.
    at: usize,
    /// It is to talk to another.
    leaves: bool,
    partition: PartitionId,
    /// Its row of `counter`.
    counter: i64,
    /// Its last row of `entry`.
    last: i64,
    acknowledged: BTreeSet<i64>,
    refused: BTreeSet<i64>,
    /// How far its counter is at least, and how many raises may have happened besides.
    raised: (i64, i64),
    /// Since when it looks for the first success of a write that began later, and when that came.
    watched: Option<(Instant, Option<Instant>)>,
    successes: u64,
    errors: BTreeMap<String, u64>,
    /// Transactions of several statements that had to begin again.
    begun_again: u64,
    /// The last of what it was told, for who looks for a mistake: when it asked, how long it took.
    trail: VecDeque<(Instant, Duration, String)>,
}

/// How a write ended.
enum End {
    Done,
    NotDone,
    Unknown,
}

/// The load.
pub(super) struct Load {
    partitions: u32,
    /// Where each node lets clients in; `None` while it is not to be asked.
    doors: Mutex<Vec<Option<String>>>,
    writers: Vec<Mutex<Writer>>,
    /// Held by each writer while it writes, and by who wants nobody to.
    quiet: RwLock<()>,
    over: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no writer has panicked")
}

fn door(server: &Server) -> String {
    format!("{}?connect_timeout=5&answer_timeout=60", server.url())
}

impl Load {
    /// Makes the tables, through the first of the nodes.
    pub(super) fn new(servers: &[Server]) -> Load {
        let mut client = Client::connect(&servers[0].url()).expect("it lets us in");
        let count = partitions(&mut client).expect("the partitions").len() as u32 - 1;
        for table in [
            "CREATE TABLE entry (id bigint PRIMARY KEY, writer bigint NOT NULL)",
            "CREATE TABLE counter (id bigint PRIMARY KEY, n bigint NOT NULL)",
            "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)",
        ] {
            client.run(table).expect("a table");
        }
        let mut free = 0;
        let mut key_in = |partition| {
            free += 1;
            while partition_of_key(free, count) != partition {
                free += 1;
            }
            free
        };
        let writers: Vec<Writer> = (0..WRITERS)
            .map(|number| {
                let partition = PartitionId(1 + number as u32 % count);
                Writer {
                    at: number % servers.len(),
                    leaves: false,
                    partition,
                    counter: key_in(partition),
                    last: number as i64,
                    acknowledged: BTreeSet::new(),
                    refused: BTreeSet::new(),
                    raised: (0, 0),
                    watched: None,
                    successes: 0,
                    errors: BTreeMap::new(),
                    begun_again: 0,
                    trail: VecDeque::new(),
                }
            })
            .collect();
        let counters: Vec<String> = writers.iter().map(|w| format!("({}, 0)", w.counter)).collect();
        let accounts: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {MONEY})")).collect();
        for (table, rows) in [("counter", counters), ("account", accounts)] {
            let insert = format!("INSERT INTO {table} VALUES {}", rows.join(", "));
            client.run(&insert).expect("rows");
        }
        Load {
            partitions: count,
            doors: Mutex::new(servers.iter().map(|server| Some(door(server))).collect()),
            writers: writers.into_iter().map(Mutex::new).collect(),
            quiet: RwLock::new(()),
            over: AtomicBool::new(false),
        }
    }

    /// Clients come to this node again, or no more: those that are there stay.
    pub(super) fn open(&self, node: usize, server: Option<&Server>) {
        locked(&self.doors)[node] = server.map(door);
    }

    /// The clients of this node go to the next one, as soon as they have what they asked for.
    pub(super) fn leave(&self, node: usize) {
        for writer in &self.writers {
            let mut writer = locked(writer);
            writer.leaves |= writer.at == node;
        }
        let gone = |writer: &Mutex<Writer>| !locked(writer).leaves;
        while !self.writers.iter().all(gone) {
            sleep(PAUSE);
        }
    }

    /// Ends it: the writers end with what they are at.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Runs one of the writers until the end.
    pub(super) fn write(&self, number: usize, mut random: Random) {
        let mut client = None;
        while !self.over.load(Ordering::Acquire) {
            let connected = match client.take() {
                Some(connected) => connected,
                None => match self.connect(number) {
                    Some(connected) => connected,
                    None => continue,
                },
            };
            // Who looks has found a mistake: that is told there.
            let Ok(quiet) = self.quiet.read() else { return };
            client = self.step(number, connected, &mut random);
            drop(quiet);
        }
    }

    /// A connection with the node that the writer talks to, or with the next one where that is away.
    fn connect(&self, number: usize) -> Option<Client> {
        let mut writer = locked(&self.writers[number]);
        let door = locked(&self.doors)[writer.at].clone();
        let connected = door.map(|door| Client::connect(&door));
        if let Some(Ok(client)) = connected {
            return Some(client);
        }
        if let Some(Err(error)) = connected {
            writer.note(format!("while connecting: {error}"));
        }
        writer.at = (writer.at + 1) % locked(&self.doors).len();
        writer.leaves = false;
        drop(writer);
        sleep(PAUSE);
        None
    }

    /// One write; the client, unless it is lost.
    fn step(&self, number: usize, mut client: Client, random: &mut Random) -> Option<Client> {
        let began = now();
        let (moves, inserts) = (number >= WRITERS - MOVERS, random.below(2) == 0);
        let (text, entry) = {
            let mut writer = locked(&self.writers[number]);
            if moves {
                (transfer(random), None)
            } else if inserts {
                let id = writer.next_entry(self.partitions);
                (format!("INSERT INTO entry VALUES ({id}, {number})"), Some(id))
            } else {
                (format!("UPDATE counter SET n = n + 1 WHERE id = {}", writer.counter), None)
            }
        };
        let told = client.run(&text).map(drop);
        let mut writer = locked(&self.writers[number]);
        let at = writer.at + 1;
        let result = told.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
        writer.trail.truncate(TRAIL - 1);
        writer.trail.push_front((began, began.elapsed(), format!("node {at}: {text}: {result}")));
        let end = match &told {
            Ok(()) => End::Done,
            Err(error) => writer.refused(error, moves),
        };
        match (&end, entry) {
            (End::Done, Some(id)) => drop(writer.acknowledged.insert(id)),
            (End::NotDone, Some(id)) => drop(writer.refused.insert(id)),
            (End::Done, None) if !moves => writer.raised.0 += 1,
            (End::Unknown, None) if !moves => writer.raised.1 += 1,
            _ => {}
        }
        if matches!(end, End::Done) {
            writer.successes += 1;
            // A mover's money is in other partitions.
            if let Some((since, first @ None)) = &mut writer.watched
                && began > *since
                && !moves
            {
                *first = Some(now());
            }
        }
        if std::mem::take(&mut writer.leaves) {
            writer.at = (writer.at + 1) % locked(&self.doors).len();
            return None;
        }
        match told {
            Err(error) if error.class() == phantomdb_client::Class::Connection => {
                let nodes = locked(&self.doors).len();
                writer.at = (writer.at + 1) % nodes;
                None
            }
            Err(_) if moves => client.run("ROLLBACK").is_ok().then_some(client),
            _ => Some(client),
        }
    }

    /// From now on each writer notes its first success.
    pub(super) fn watch(&self) {
        let now = now();
        for writer in &self.writers {
            locked(writer).watched = Some((now, None));
        }
    }

    /// For each partition of these the time from [`Load::watch`] to its first success since; `None` as
    /// long as one lacks.
    pub(super) fn recovered(&self, wanted: &BTreeSet<u32>) -> Option<Vec<Duration>> {
        let mut times: BTreeMap<u32, Duration> = BTreeMap::new();
        for writer in &self.writers {
            let writer = locked(writer);
            if let Some((since, Some(first))) = writer.watched {
                let time = times.entry(writer.partition.0).or_insert(Duration::MAX);
                *time = (*time).min(first - since);
            }
        }
        wanted.iter().map(|partition| times.get(partition).copied()).collect()
    }

    /// Writes that were acknowledged so far.
    pub(super) fn successes(&self) -> u64 {
        self.writers.iter().map(|writer| locked(writer).successes).sum()
    }

    /// How many transactions of several statements had to begin again, since the last time. One that has
    /// begun, and comes to a partition only after its leader was handed over, is refused there (40001): the
    /// new leader cannot tell whether it has lost a part of it.
    pub(super) fn take_begun_again(&self) -> u64 {
        self.writers.iter().map(|writer| std::mem::take(&mut locked(writer).begun_again)).sum()
    }

    /// What clients were told instead of an acknowledgement since the last time, and how often.
    pub(super) fn take_errors(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for writer in &self.writers {
            for (error, count) in std::mem::take(&mut locked(writer).errors) {
                *all.entry(error).or_default() += count;
            }
        }
        all
    }

    /// Stops the writers for a moment and compares what is there with what they were told.
    pub(super) fn check(&self, server: &Server, when: &str) {
        let _quiet = self.quiet.write().expect("no writer has panicked");
        let mut client = Client::connect(&server.url()).expect("it lets us in");
        let money = number(&mut client, "SELECT sum(balance)::bigint FROM account");
        assert_eq!(money, MONEY * ACCOUNTS as i64, "{when}: money");
        let pairs = |client: &mut Client, query: &str| -> Vec<(i64, i64)> {
            let rows = client.query(query, &[]);
            let rows = rows.unwrap_or_else(|error| panic!("{when}: {query}: {error}"));
            let pair =
                |row: &phantomdb_client::Row| [0, 1].map(|at| row.get(at).expect("a number"));
            rows.iter().map(pair).map(|[one, other]| (one, other)).collect()
        };
        let counters: BTreeMap<i64, i64> =
            pairs(&mut client, "SELECT id, n FROM counter").into_iter().collect();
        let mut entries: Vec<BTreeSet<i64>> = vec![BTreeSet::new(); WRITERS];
        for (id, writer) in pairs(&mut client, "SELECT id, writer FROM entry") {
            assert!(entries[writer as usize].insert(id), "{when}: {id} is there twice");
        }
        for (number, (writer, found)) in self.writers.iter().zip(entries).enumerate() {
            let mut writer = locked(writer);
            let lost: Vec<_> = writer.acknowledged.difference(&found).collect();
            assert!(lost.is_empty(), "{when}: writer {number} lost {lost:?}: {}", writer.trail());
            let wrong: Vec<_> = writer.refused.intersection(&found).collect();
            let trail = || writer.trail();
            assert!(
                wrong.is_empty(),
                "{when}: refused to {number}, and there: {wrong:?}: {}",
                trail()
            );
            // What was read stays, too.
            writer.acknowledged = found;
            let (least, unknown) = writer.raised;
            let count = counters[&writer.counter];
            let range = least..=least + unknown;
            assert!(
                range.contains(&count),
                "{when}: counter {number} of {} is {count}, told {range:?}: {}",
                writer.partition,
                writer.trail()
            );
            writer.raised = (count, range.end() - count);
        }
    }
}

impl Writer {
    /// A key of its partition that nobody has used.
    fn next_entry(&mut self, partitions: u32) -> i64 {
        loop {
            self.last += WRITERS as i64;
            if partition_of_key(self.last, partitions) == self.partition {
                return self.last;
            }
        }
    }

    /// What it was told, the last first.
    fn trail(&self) -> String {
        let line = |(at, took, what): &(Instant, Duration, String)| {
            format!("\n  {:?} ago, took {took:?}: {what}", at.elapsed())
        };
        self.trail.iter().map(line).collect()
    }

    fn note(&mut self, error: String) {
        *self.errors.entry(error).or_default() += 1;
    }

    /// Notes an error, and what it says of the write, which is one of several statements or not.
    fn refused(&mut self, error: &Error, several: bool) -> End {
        if several && error.state().is_some_and(|state| state.as_str() == BEGINS_AGAIN) {
            self.begun_again += 1;
            return End::NotDone;
        }
        self.note(error.to_string());
        let in_doubt = error.state().is_some_and(|state| IN_DOUBT.contains(&state.as_str()));
        if in_doubt || error.may_have_executed() { End::Unknown } else { End::NotDone }
    }
}

/// Moves money from an account to another, in one transaction. Locks in order: nobody waits in circles.
fn transfer(random: &mut Random) -> String {
    let one = random.below(ACCOUNTS);
    let other = (one + 1 + random.below(ACCOUNTS - 1)) % ACCOUNTS;
    let amount = random.below(10) as i64;
    let change = |id, amount: i64| {
        format!("UPDATE account SET balance = balance + {amount} WHERE id = {id}")
    };
    let (first, second) = (one.min(other), one.max(other));
    format!("BEGIN; {}; {}; COMMIT", change(first, amount), change(second, -amount))
}

/// Runs `work` while the writers write.
pub(super) fn under_load(load: &Load, work: impl FnOnce()) {
    let mut random = Random::new(seed());
    thread::scope(|scope| {
        for number in 0..WRITERS {
            let random = Random::new(random.next_u64());
            scope.spawn(move || load.write(number, random));
        }
        /// The writers end, also where the work has failed.
        struct Ends<'a>(&'a Load);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.end();
            }
        }
        let _ends = Ends(load);
        work();
    });
}
