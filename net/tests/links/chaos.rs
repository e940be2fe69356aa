//! Everything at once, under many seeds: `PHANTOM_LINK_SEEDS` and `PHANTOM_LINK_SEED` (the first
//! one) choose more of them.

use crate::node::{Cluster, Core, MS, SECOND, Wish, body};
use model::placement::Place;
use net::link::{LinkError, LinkOptions, Service, Undelivered};
use runtime::sim::{Fault, Nemesis};
use runtime::{random, task, time};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

const SEEDS: u64 = 8;
const NODES: u32 = 3;
/// How long faults strike, and how long after them all must be well again.
const STRUCK: Duration = Duration::from_secs(40);
const RECOVERY: Duration = Duration::from_secs(25);

const FAULTS: &[Fault] = &[
    Fault::ProcessCrash,
    Fault::PowerLoss,
    Fault::Pause,
    Fault::SlowNode,
    Fault::Partition,
    Fault::Isolate,
    Fault::OneWay,
    Fault::OneWay,
    Fault::Loss,
    Fault::Delay,
    Fault::Reset,
    Fault::Reset,
    Fault::Corrupt,
];

fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// What the calls of a life have come to.
#[derive(Default)]
struct Calls {
    /// Numbers of those that nobody may have acted on.
    undelivered: BTreeSet<u64>,
    answered: u64,
    in_doubt: u64,
    begun: u64,
    ended: u64,
}

/// A life's calls, for the check at the end.
type Ledger = Rc<std::cell::RefCell<Vec<(Place, u64, Calls)>>>;

fn options() -> LinkOptions {
    LinkOptions { clock_offset_max: Duration::from_secs(3_600), ..LinkOptions::default() }
}

/// Posts and calls to everybody until told to stop.
async fn work(core: Core, others: Vec<Place>, stop: Rc<Cell<bool>>, ledger: Ledger) {
    let me = core.links.place();
    ledger.borrow_mut().push((me, core.life, Calls::default()));
    let slot = ledger.borrow().len() - 1;
    let (mut numbers, mut posted) = (0u64, std::collections::BTreeMap::<(Place, bool), u64>::new());
    let services = [Service::Raft, Service::Gossip];
    while !stop.get() {
        let to = others[random::below(others.len() as u64) as usize];
        for _ in 0..random::below(8) {
            let raft = random::below(2) == 0;
            let service = services[usize::from(!raft)];
            let count = posted.entry((to, raft)).or_default();
            let padding = random::below(200) as usize;
            let message = body(core.life, *count + 1, Wish::Echo, padding);
            // Only what was queued has a number: what is lost behind that is a gap.
            *count += u64::from(core.links.post(to, service, message).is_ok());
        }
        numbers += 1;
        let number = numbers;
        let wish = [Wish::Echo, Wish::Echo, Wish::EchoLater, Wish::Forget, Wish::Decline]
            [random::below(5) as usize];
        let large = random::below(20) == 0;
        let padding = if large { 300_000 } else { random::below(500) as usize };
        let patience = Duration::from_millis(50 + random::below(3_000));
        ledger.borrow_mut()[slot].2.begun += 1;
        let (core, ledger) = (core.clone(), Rc::clone(&ledger));
        let call = async move {
            let (sent, began) = (body(core.life, number, wish, padding), time::now());
            let outcome =
                core.links.call(to, Service::Engine, sent.clone(), began + patience).await;
            let late = began.elapsed().saturating_sub(patience);
            let calls = &mut ledger.borrow_mut()[slot].2;
            calls.ended += 1;
            match outcome {
                Ok(answer) => {
                    assert_eq!(answer, sent, "the answer to another call");
                    assert!(matches!(wish, Wish::Echo | Wish::EchoLater));
                    calls.answered += 1;
                }
                Err(LinkError::NotDelivered(Undelivered::UnknownPlace(place))) => {
                    panic!("{place:?} is in the book")
                }
                Err(LinkError::NotDelivered(_)) => drop(calls.undelivered.insert(number)),
                Err(LinkError::InDoubt(_)) => calls.in_doubt += 1,
            }
            late
        };
        task::spawn("call", call).detach();
        time::sleep(Duration::from_micros(random::below(40_000))).await;
    }
}

/// Starts the work of every core of a node, in the life that runs.
fn set_to_work(cluster: &Cluster, node: u32, stop: &Rc<Cell<bool>>, ledger: &Ledger) {
    let places = cluster.world.places();
    for place in places.iter().filter(|place| place.node.0 == node) {
        let others: Vec<Place> =
            places.iter().copied().filter(|other| other.node != place.node).collect();
        let (stop, ledger) = (Rc::clone(stop), Rc::clone(ledger));
        let begun = cluster.begin(*place, |core| work(core, others, stop, ledger));
        // It ends with its core, or when it is told.
        begun.detach();
    }
}

fn run(seed: u64) -> (u64, u64, u64, u64) {
    let cluster = Cluster::new(seed, NODES, 2, options());
    let (stop, ledger) = (Rc::new(Cell::new(false)), Ledger::default());
    (1..=NODES).for_each(|node| set_to_work(&cluster, node, &stop, &ledger));
    let nodes: Vec<u32> = (1..=NODES).collect();
    let nemesis = Nemesis::new(FAULTS, &nodes);
    let mut life = 1;
    let begin = cluster.sim.now();
    while cluster.sim.now() - begin < STRUCK {
        let strike = nemesis.strike(&cluster.sim);
        let random = cluster.sim.random();
        let pause = random.duration(10 * MS, 6 * SECOND);
        cluster.sim.run_for(pause).unwrap();
        if random.below(2) == 0 {
            nemesis.calm(&cluster.sim);
        }
        for node in strike.crashed {
            life += 1;
            cluster.start(node, life);
            cluster.sim.run_for(MS).unwrap();
            // A node that is stopped just now has not come to its links yet.
            nemesis.calm(&cluster.sim);
            cluster.sim.run_for(10 * MS).unwrap();
            set_to_work(&cluster, node, &stop, &ledger);
        }
        bounded(&cluster);
    }
    nemesis.calm(&cluster.sim);
    cluster.sim.run_for(RECOVERY).unwrap();
    recovered(&cluster);
    stop.set(true);
    cluster.sim.run_for(5 * SECOND).unwrap();
    cluster.check();
    check_calls(&cluster, &ledger)
}

fn bounded(cluster: &Cluster) {
    let max = cluster.world.options.queue_bytes;
    for place in cluster.world.places() {
        for stats in cluster.core(place).links.stats() {
            assert!(stats.queue_bytes <= max, "{stats:?}");
        }
    }
}

/// Everybody reaches everybody at the first attempt, directly.
fn recovered(cluster: &Cluster) {
    let places = cluster.world.places();
    for here in &places {
        for there in places.iter().filter(|there| there.node != here.node).copied() {
            let seed = cluster.sim.seed();
            let number = u64::from(there.node.0) * 10 + u64::from(there.core.0) + (1 << 40);
            let (echo, up) = cluster.on(*here, move |core| async move {
                let echo = core.echo(there, number, SECOND).await;
                (echo, core.stats(there).is_some_and(|stats| stats.up))
            });
            assert!(echo.is_ok() && up, "seed {seed}: {here:?} to {there:?}: {echo:?}");
        }
    }
}

/// Every call of a life that went on has ended, and who was told that nobody acted on a call was
/// told the truth.
fn check_calls(cluster: &Cluster, ledger: &Ledger) -> (u64, u64, u64, u64) {
    let seed = cluster.sim.seed();
    let records = cluster.world.records.borrow();
    let (mut answered, mut undelivered, mut in_doubt, mut relayed) = (0, 0, 0, 0);
    for (place, life, calls) in &*ledger.borrow() {
        if cluster.core(*place).life == *life {
            assert_eq!(calls.begun, calls.ended, "seed {seed}: calls of {place:?} that never end");
        }
        for (there, _, record) in &*records {
            let acted = &record.borrow().acted;
            let of_life = acted.iter().filter(|(from, of, _)| from == place && of == life);
            for (_, _, number) in of_life {
                let told = calls.undelivered.contains(number);
                assert!(!told, "seed {seed}: {there:?} acted on {place:?}.{life}.{number}");
            }
        }
        answered += calls.answered;
        undelivered += calls.undelivered.len() as u64;
        in_doubt += calls.in_doubt;
    }
    for place in cluster.world.places() {
        relayed += cluster.core(place).links.stats().iter().map(|stats| stats.relayed).sum::<u64>();
    }
    (answered, undelivered, in_doubt, relayed)
}

#[test]
fn order_bounds_and_every_call_ends() {
    let first = environment("PHANTOM_LINK_SEED", 0);
    let seeds = environment("PHANTOM_LINK_SEEDS", SEEDS);
    let mut sums = (0, 0, 0, 0);
    for seed in first..first + seeds {
        let (answered, undelivered, in_doubt, relayed) = run(seed);
        sums.0 += answered;
        sums.1 += undelivered;
        sums.2 += in_doubt;
        sums.3 += relayed;
    }
    println!("answered, undelivered, in doubt, relayed: {sums:?}");
    // The faults were felt, and did not keep everything from happening.
    if seeds >= SEEDS {
        assert!(sums.0 > 50 * seeds && sums.1 > seeds && sums.2 > seeds && sums.3 > seeds);
    }
}

#[test]
fn a_seed_is_a_run() {
    let hash = || {
        let cluster = Cluster::new(77, NODES, 1, options());
        let (stop, ledger) = (Rc::new(Cell::new(false)), Ledger::default());
        (1..=NODES).for_each(|node| set_to_work(&cluster, node, &stop, &ledger));
        cluster.sim.run_for(SECOND).unwrap();
        cluster.sim.network().drop_connections(1, 2);
        cluster.sim.run_for(SECOND).unwrap();
        cluster.sim.trace_hash()
    };
    assert_eq!(hash(), hash());
}
