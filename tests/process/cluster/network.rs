//! Three nodes on a network of their own that is cut, loses frames and delays them, while a client of each
//! node reads and writes all the time.
//!
//! Whatever the network does: a read that begins after a write was acknowledged, by whichever node, sees
//! it or fails. Where the network allows it the side with a majority goes on within [`GOES_ON`], the side
//! without acknowledges no writes, and all is well again by itself.

use super::load::partition_of_key;
use super::{COPIES, TOKEN, builder, eventually, is_spread, partitions};
use crate::connect;
use phantomdb_client::blocking::Client;
use phantomdb_client::{Error, Options};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use test_support::{Network, Path, Random, Server, now, seed, sleep};

const NODES: usize = 3;
/// That share the rows.
const PARTITIONS: u32 = 4;
/// The side with a majority serves every partition within this time of a fault. Slow builds on a machine
/// with other work have more.
const GOES_ON: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 3 });
/// A node that was cut off knows it after this time.
const KNOWS: Duration = Duration::from_secs(3);
/// How long a fault lasts at least.
const LASTS: Duration = Duration::from_secs(6);
/// And how long what it broke may take to mend.
const MENDS: Duration = Duration::from_secs(20);
/// A client that has waited so long begins anew.
const WAITS: Duration = Duration::from_millis(700);
const POLL: Duration = Duration::from_millis(10);

/// A success of a client.
#[derive(Debug, Clone, Copy)]
struct Done {
    node: usize,
    partition: u32,
    began: Instant,
    ended: Instant,
}

/// The clients and what they saw.
struct Watch {
    /// By node and partition: the row's value as its writer was told last.
    told: Vec<Vec<AtomicI64>>,
    keys: Vec<Vec<i64>>,
    writes: Mutex<Vec<Done>>,
    reads: AtomicI64,
    errors: Mutex<Vec<String>>,
    over: AtomicBool,
    /// What the network does, for what is told of a failure.
    fault: RwLock<String>,
}

struct Cluster {
    _home: TempDir,
    servers: Vec<Server>,
    // After the servers, whose namespaces it takes away.
    network: Network,
}

impl Cluster {
    fn new(network: Network) -> Cluster {
        let home = tempfile::tempdir().expect("a directory");
        let seed = format!("{}:7430", network.address(1));
        let (partitions, copies) = (PARTITIONS.to_string(), COPIES.to_string());
        let mut servers = Vec::new();
        for node in 1..=NODES {
            let mut arguments = vec!["--cores", "1", "--partitions", &partitions];
            arguments.extend(["--replication-factor", &copies, "--join-token", TOKEN]);
            arguments.extend(["--authentication", "host all all all trust"]);
            if node > 1 {
                arguments.extend(["--join", &seed]);
            }
            let directory = home.path().join(format!("node-{node}"));
            let listen = format!("{}:7430", network.address(node));
            let server =
                builder(&directory, &arguments).within(&network.namespace(node), &listen).start();
            servers.push(server.expect("the node serves"));
        }
        eventually(true, || is_spread(&servers[0], COPIES));
        Cluster { _home: home, servers, network }
    }

    /// Frames between two nodes, both ways.
    fn between(&self, one: usize, other: usize, path: Path) {
        self.network.set(one, other, path);
        self.network.set(other, one, path);
    }

    /// The node that leads the system partition.
    fn keeper(&self) -> usize {
        let mut client = connect(&self.servers[0]);
        let mut keeper = 0;
        // A node that was cut off until now may not know it yet.
        eventually(true, || {
            keeper = partitions(&mut client).expect("the partitions")[&0].leader as usize;
            keeper != 0
        });
        keeper
    }
}

const CUT: Path = Path { lost_permille: 1_000, delay: Duration::ZERO };

impl Watch {
    fn new(server: &Server) -> Watch {
        let mut client = connect(server);
        client
            .run("CREATE TABLE kept (id bigint PRIMARY KEY, n bigint NOT NULL)")
            .expect("a table");
        let mut free = 0;
        let mut key_in = |partition: u32| loop {
            free += 1;
            if partition_of_key(free, PARTITIONS).0 == partition {
                return free;
            }
        };
        let of_node = |_| (1..=PARTITIONS).map(&mut key_in).collect();
        let keys: Vec<Vec<i64>> = (0..NODES).map(of_node).collect();
        let rows: Vec<String> = keys.iter().flatten().map(|key| format!("({key}, 0)")).collect();
        client.run(&format!("INSERT INTO kept VALUES {}", rows.join(", "))).expect("rows");
        let zeros = || (0..PARTITIONS).map(|_| AtomicI64::new(0)).collect();
        Watch {
            told: (0..NODES).map(|_| zeros()).collect(),
            keys,
            writes: Mutex::default(),
            reads: AtomicI64::new(0),
            errors: Mutex::default(),
            over: AtomicBool::new(false),
            fault: RwLock::default(),
        }
    }

    /// One client of a node: it raises that node's rows, one in each partition.
    fn write(&self, node: usize, partition: u32, server: &Server) {
        let (row, mut doubtful) = (&self.told[node - 1][partition as usize - 1], 0);
        let key = self.keys[node - 1][partition as usize - 1];
        let text = format!("UPDATE kept SET n = n + 1 WHERE id = {key} RETURNING n");
        self.go_on(server, |client| {
            let began = now();
            let raised = client.query_one(&text, &[]);
            let raised = raised.inspect_err(|_| doubtful += 1)?;
            let (n, before) = (raised.get::<i64>(0)?, row.load(Ordering::SeqCst));
            let range = before + 1..=before + 1 + doubtful;
            assert!(range.contains(&n), "node {node}, row {key}: {n} and not {range:?}");
            doubtful = range.end() - n;
            row.store(n, Ordering::SeqCst);
            let done = Done { node, partition, began, ended: now() };
            self.writes.lock().expect("nobody panics with it").push(done);
            Ok(())
        });
    }

    /// Another client of a node: it reads rows of all, which are as new as was told when it began.
    fn read(&self, node: usize, server: &Server, mut random: Random) {
        self.go_on(server, |client| {
            let of = random.below(NODES as u64) as usize;
            let partition = random.below(u64::from(PARTITIONS)) as usize;
            let (key, told) = (self.keys[of][partition], &self.told[of][partition]);
            let least = told.load(Ordering::SeqCst);
            let found = client.query_one(&format!("SELECT n FROM kept WHERE id = {key}"), &[])?;
            let found: i64 = found.get(0)?;
            let fault = self.fault.read().expect("nobody panics with it");
            assert!(
                found >= least,
                "{fault}: node {node} reads {found} in row {key}, {least} was told"
            );
            self.reads.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
    }

    fn go_on(&self, server: &Server, mut act: impl FnMut(&mut Client) -> Result<(), Error>) {
        /// Where one has failed the others need not go on.
        struct Ends<'a>(&'a AtomicBool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let _ends = Ends(&self.over);
        let mut options: Options = server.url().parse().expect("a URL");
        (options.connect_timeout, options.answer_timeout) = (WAITS, Some(WAITS));
        let mut client = None;
        while !self.over.load(Ordering::Acquire) {
            let acted = match &mut client {
                Some(client) => act(client),
                None => Client::open(options.clone()).map(|opened| client = Some(opened)),
            };
            if let Err(error) = acted {
                client = client.filter(|_| error.state().is_some());
                self.errors.lock().expect("nobody panics with it").push(error.to_string());
                sleep(POLL);
            }
        }
    }

    /// Waits until each of these nodes has written to each partition, beginning after `since`; how long
    /// that took.
    fn all_write(&self, nodes: &BTreeSet<usize>, since: Instant, limit: Duration) -> Duration {
        loop {
            let writes = self.writes.lock().expect("nobody panics with it");
            let after =
                writes.iter().filter(|done| done.began > since && nodes.contains(&done.node));
            let mut firsts = std::collections::BTreeMap::new();
            for done in after {
                firsts.entry((done.node, done.partition)).or_insert(done.ended - since);
            }
            if firsts.len() == nodes.len() * PARTITIONS as usize {
                return firsts.into_values().max().unwrap_or_default();
            }
            drop(writes);
            let fault = self.fault.read().expect("nobody panics with it");
            assert!(
                since.elapsed() < limit && !self.over.load(Ordering::Acquire),
                "{fault}: only {:?} could write, of nodes {nodes:?}; {:?}",
                firsts.keys().collect::<Vec<_>>(),
                self.errors
                    .lock()
                    .expect("nobody panics with it")
                    .iter()
                    .rev()
                    .take(8)
                    .collect::<Vec<_>>()
            );
            drop(fault);
            sleep(POLL);
        }
    }

    /// Does something to the network for a while: `through` can write all the time, and the others cannot.
    fn under(&self, cluster: &Cluster, what: &str, through: &[usize], fault: impl FnOnce()) {
        what.clone_into(&mut self.fault.write().expect("nobody panics with it"));
        self.writes.lock().expect("nobody panics with it").clear();
        self.errors.lock().expect("nobody panics with it").clear();
        let reads = self.reads.load(Ordering::Relaxed);
        fault();
        let began = now();
        let through: BTreeSet<usize> = through.iter().copied().collect();
        let went_on = self.all_write(&through, began, GOES_ON);
        sleep(LASTS.saturating_sub(began.elapsed()));
        let lasted = began.elapsed();
        let writes = self.writes.lock().expect("nobody panics with it").clone();
        let wrong =
            writes.iter().find(|done| !through.contains(&done.node) && done.began > began + KNOWS);
        assert!(wrong.is_none(), "{what}: the side without a majority has written: {wrong:?}");
        cluster.network.heal();
        let healed = now();
        let all = (1..=NODES).collect();
        let mended = self.all_write(&all, healed, MENDS);
        println!(
            "{what}: nodes {through:?} write to every partition after {went_on:?}; {} writes and {} reads \
             in {lasted:?}; all of them {mended:?} after the end",
            writes.len(),
            self.reads.load(Ordering::Relaxed) - reads,
        );
    }
}

#[test]
fn the_side_with_a_majority_goes_on_and_the_other_tells_nothing_that_is_old() {
    let Some(network) = Network::new(NODES) else { return };
    let cluster = Cluster::new(network);
    let watch = Watch::new(&cluster.servers[0]);
    let mut random = Random::new(seed());
    thread::scope(|scope| {
        for (node, server) in (1..).zip(&cluster.servers) {
            let watch = &watch;
            for partition in 1..=PARTITIONS {
                scope.spawn(move || watch.write(node, partition, server));
            }
            let random = Random::new(random.next_u64());
            scope.spawn(move || watch.read(node, server, random));
        }
        faults(&cluster, &watch);
        watch.over.store(true, Ordering::Release);
    });
}

/// All but one.
fn others(node: usize) -> [usize; 2] {
    match node {
        1 => [2, 3],
        2 => [1, 3],
        _ => [1, 2],
    }
}

fn faults(cluster: &Cluster, watch: &Watch) {
    let (all, quiet) = ([1, 2, 3], now());
    watch.all_write(&all.into(), quiet, MENDS);
    let each_way = |path: Path| {
        for (one, other) in [(1, 2), (1, 3), (2, 3)] {
            cluster.between(one, other, path);
        }
    };
    let keeper = cluster.keeper();
    let [one, other] = others(keeper);
    watch.under(cluster, "the system partition's leader alone", &[one, other], || {
        cluster.between(keeper, one, CUT);
        cluster.between(keeper, other, CUT);
    });
    let keeper = cluster.keeper();
    let [follower, other] = others(keeper);
    watch.under(cluster, "a half without it", &[keeper, other], || {
        cluster.between(follower, keeper, CUT);
        cluster.between(follower, other, CUT);
    });
    let keeper = cluster.keeper();
    let [one, other] = others(keeper);
    watch.under(cluster, "nothing arrives from the leader", &[one, other], || {
        cluster.network.set(keeper, one, CUT);
        cluster.network.set(keeper, other, CUT);
    });
    let keeper = cluster.keeper();
    let [one, other] = others(keeper);
    watch.under(cluster, "nothing arrives at the leader", &[one, other], || {
        cluster.network.set(one, keeper, CUT);
        cluster.network.set(other, keeper, CUT);
    });
    watch.under(cluster, "two of three do not reach each other", &all, || {
        cluster.between(1, 2, CUT);
    });
    let lossy = Path { lost_permille: 200, ..Path::default() };
    watch.under(cluster, "every fifth frame is lost", &all, || each_way(lossy));
    let slow = Path { delay: Duration::from_millis(50), ..Path::default() };
    watch.under(cluster, "50 ms each way", &all, || each_way(slow));
}
