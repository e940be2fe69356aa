//! Faults by name: what a test or `phantomdb sim --faults` switches on.
//!
//! A [`Nemesis`] knows some faults and, each time it is told to strike, draws one of them and its
//! victim from the simulation's generator. When, how often, and what must hold all the while is
//! the test's business; so is starting nodes again that a strike has crashed.
//! [`Nemesis::calm`] takes everything back but the crashes and what is lost for good.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Chance, DiskError, DiskFault, LinkFaults, Loss, NetworkControl, Operations, Sim};

/// The longest time a fault that ends by itself lasts.
const PASSING_MAX: Duration = Duration::from_secs(10);
/// The furthest a wall clock jumps, in nanoseconds.
const CLOCK_JUMP_MAX: u64 = 60_000_000_000;
/// The most a wall clock gains or loses, in millionths.
const CLOCK_DRIFT_MAX: u64 = 100_000;
/// The furthest a wall clock is off that nodes must bear, in nanoseconds.
const CLOCK_OFFSET_MAX: u64 = 100_000_000;

/// A fault that can be switched on by its name.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A node's process dies.
    ProcessCrash,
    /// A node loses power.
    PowerLoss,
    /// All nodes lose power at once.
    ClusterPowerLoss,
    /// A node stops, as by SIGSTOP, until it is calm.
    Pause,
    /// A node's steps take ten times as long.
    SlowNode,
    /// A node's disk is a hundred times as slow.
    SlowDisk,
    /// A node's disk gives no answer for up to 10 s.
    DiskStall,
    /// A node's disk answers reads and not writes for up to 10 s.
    WriteStall,
    /// A node's disk has no room for more than a few pages.
    DiskFull,
    /// The next read of a node fails with `EIO`.
    ReadError,
    /// The next write of a node fails with `EIO`.
    WriteError,
    /// The next sync of a node fails with `EIO`, and what it was to write is not written.
    SyncError,
    /// One bit of one file of a node is inverted.
    BitFlip,
    /// One sector of one file of a node is zeroed.
    ZeroSector,
    /// A node's wall clock jumps by up to a minute, forward or back.
    ClockJump,
    /// A node's wall clock runs up to 10 % fast or slow.
    ClockDrift,
    /// A node's wall clock is up to 200 ms off, which is less than nodes must bear of each other.
    ClockOffset,
    /// The nodes fall into two halves.
    Partition,
    /// The nodes fall into two halves, and one node that both reach.
    Bridge,
    /// Each node reaches a majority, its neighbours on a ring, and no two the same.
    Ring,
    /// A node is cut off from everyone.
    Isolate,
    /// What one node sends to another does not arrive.
    OneWay,
    /// Segments are lost, up to 30 %.
    Loss,
    /// One direction between two nodes takes up to a second longer.
    Delay,
    /// The connections between two nodes are reset.
    Reset,
    /// A node forgets its connections with another one, which hears of it when it sends something.
    HalfOpen,
    /// Segments arrive with a bit inverted, up to 5 %.
    Corrupt,
}

impl Fault {
    /// All of them, with the names they are switched on by.
    pub const ALL: &'static [(Fault, &'static str)] = &[
        (Fault::ProcessCrash, "process-crash"),
        (Fault::PowerLoss, "power-loss"),
        (Fault::ClusterPowerLoss, "cluster-power-loss"),
        (Fault::Pause, "pause"),
        (Fault::SlowNode, "slow-node"),
        (Fault::SlowDisk, "slow-disk"),
        (Fault::DiskStall, "disk-stall"),
        (Fault::WriteStall, "write-stall"),
        (Fault::DiskFull, "disk-full"),
        (Fault::ReadError, "read-error"),
        (Fault::WriteError, "write-error"),
        (Fault::SyncError, "sync-error"),
        (Fault::BitFlip, "bit-flip"),
        (Fault::ZeroSector, "zero-sector"),
        (Fault::ClockJump, "clock-jump"),
        (Fault::ClockDrift, "clock-drift"),
        (Fault::ClockOffset, "clock-offset"),
        (Fault::Partition, "partition"),
        (Fault::Bridge, "bridge"),
        (Fault::Ring, "ring"),
        (Fault::Isolate, "isolate"),
        (Fault::OneWay, "one-way"),
        (Fault::Loss, "loss"),
        (Fault::Delay, "delay"),
        (Fault::Reset, "reset"),
        (Fault::HalfOpen, "half-open"),
        (Fault::Corrupt, "corrupt"),
    ];

    /// The name it is switched on by.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(fault, _)| *fault == self);
        found.map_or("unnamed", |(_, name)| name)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no fault has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault {0:?}; there are {names}", names = names())]
pub struct UnknownFault(pub String);

fn names() -> String {
    let names: Vec<&str> = Fault::ALL.iter().map(|(_, name)| *name).collect();
    names.join(", ")
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Fault, UnknownFault> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(fault, _)| *fault).ok_or_else(|| UnknownFault(name.to_owned()))
    }
}

/// What a strike did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// The fault.
    pub fault: Fault,
    /// Its victim; the first one where it has several.
    pub node: u32,
    /// Nodes that ran and do not any more.
    pub crashed: Vec<u32>,
}

/// Strikes nodes with faults it was given.
#[derive(Clone, Debug)]
pub struct Nemesis {
    faults: Vec<Fault>,
    nodes: Vec<u32>,
}

impl Nemesis {
    /// One that knows these faults and may strike these nodes.
    ///
    /// # Panics
    ///
    /// When either is empty.
    #[must_use]
    pub fn new(faults: &[Fault], nodes: &[u32]) -> Nemesis {
        assert!(!faults.is_empty() && !nodes.is_empty(), "a nemesis needs faults and nodes");
        Nemesis { faults: faults.to_vec(), nodes: nodes.to_vec() }
    }

    /// Draws a fault and a victim, and lets it happen.
    pub fn strike(&self, sim: &Sim) -> Strike {
        let random = sim.random();
        let fault = self.faults[random.index(self.faults.len())];
        let node = self.nodes[random.index(self.nodes.len())];
        let crashed = match fault {
            Fault::ProcessCrash => crash(sim, &[node], Loss::Process),
            Fault::PowerLoss => crash(sim, &[node], Loss::Power),
            Fault::ClusterPowerLoss => crash(sim, &self.nodes, Loss::Power),
            _ => Vec::new(),
        };
        match fault {
            Fault::Pause => sim.pause(node),
            Fault::SlowNode => sim.set_slowness(node, 10),
            Fault::ClockJump => {
                let ahead = random.below(2 * CLOCK_JUMP_MAX) as i64 - CLOCK_JUMP_MAX as i64;
                sim.set_wall_clock(node, sim.wall_clock_offset(node).saturating_add(ahead), 0);
            }
            Fault::ClockOffset => {
                let ahead = random.below(2 * CLOCK_OFFSET_MAX) as i64 - CLOCK_OFFSET_MAX as i64;
                sim.set_wall_clock(node, ahead, 0);
            }
            Fault::ClockDrift => {
                let drift = random.below(2 * CLOCK_DRIFT_MAX) as i64 - CLOCK_DRIFT_MAX as i64;
                sim.set_wall_clock(node, sim.wall_clock_offset(node), drift);
            }
            _ => {
                strike_disk(sim, fault, node);
                self.strike_network(sim, fault, node);
            }
        }
        Strike { fault, node, crashed }
    }

    fn strike_network(&self, sim: &Sim, fault: Fault, node: u32) {
        let (network, random) = (sim.network(), sim.random());
        let mut others: Vec<u32> = self.nodes.clone();
        others.retain(|other| *other != node || self.nodes.len() == 1);
        let other = others[random.index(others.len())];
        match fault {
            Fault::Partition => {
                let (one, two): (Vec<u32>, Vec<u32>) =
                    self.nodes.iter().partition(|_| random.next_u64() & 1 == 0);
                network.partition(&[&one, &two]);
            }
            Fault::Bridge => {
                let (one, two): (Vec<u32>, Vec<u32>) =
                    others.iter().partition(|_| random.next_u64() & 1 == 0);
                let pairs = one.iter().flat_map(|&a| two.iter().map(move |&b| (a, b)));
                pairs.for_each(|(a, b)| cut_both(&network, a, b));
            }
            Fault::Ring => {
                // With half as many on each side as a majority has besides itself.
                let reach = (self.nodes.len() / 2).div_ceil(2);
                for (at, &a) in self.nodes.iter().enumerate() {
                    for (from, &b) in self.nodes.iter().enumerate().skip(at + 1) {
                        let apart = (from - at).min(self.nodes.len() - (from - at));
                        if apart > reach {
                            cut_both(&network, a, b);
                        }
                    }
                }
            }
            Fault::Isolate => network.isolate(node),
            Fault::OneWay => network.cut(node, other),
            Fault::Loss => {
                let loss = Chance::percent(1 + random.below(30) as u32);
                network.change(|faults| faults.loss = loss);
            }
            Fault::Delay => {
                let most = random.duration(Duration::ZERO, Duration::from_secs(1));
                let faults = LinkFaults { extra_delay: most / 2..most, loss: Chance::NEVER };
                network.set_link(node, other, faults);
            }
            Fault::Reset => drop(network.drop_connections(node, other)),
            Fault::HalfOpen => drop(network.forget_connections(node, other)),
            Fault::Corrupt => {
                let corrupt = Chance::per_million(1 + random.below(50_000) as u32);
                network.change(|faults| faults.corrupt = corrupt);
            }
            _ => {}
        }
    }

    /// Takes back what can be: links are whole, disks quick and roomy, clocks right, nodes resumed.
    pub fn calm(&self, sim: &Sim) {
        let options = &sim.0.options;
        sim.network().heal();
        sim.network().change(|faults| faults.clone_from(&options.network));
        for &node in &self.nodes {
            let disk = sim.disk(node);
            disk.clear_failures();
            disk.end_stalls();
            disk.set_slowness(1);
            disk.change(|faults| faults.clone_from(&options.disk));
            sim.resume(node);
            sim.set_slowness(node, 1);
            sim.set_wall_clock(node, 0, 0);
        }
    }
}

fn cut_both(network: &NetworkControl, one: u32, two: u32) {
    network.cut(one, two);
    network.cut(two, one);
}

/// Crashes those of `nodes` that run, in one moment; which ones.
fn crash(sim: &Sim, nodes: &[u32], loss: Loss) -> Vec<u32> {
    let running: Vec<u32> = nodes.iter().copied().filter(|&node| sim.is_running(node)).collect();
    running.iter().for_each(|&node| sim.crash(node, loss));
    running
}

fn strike_disk(sim: &Sim, fault: Fault, node: u32) {
    let (disk, random) = (sim.disk(node), sim.random());
    let fail = |operations| disk.fail(DiskFault::new(operations, DiskError::InputOutput).once());
    let passing = || random.duration(Duration::from_millis(1), PASSING_MAX);
    match fault {
        Fault::SlowDisk => disk.set_slowness(100),
        Fault::DiskStall => disk.stall(Operations::ALL, passing()),
        Fault::WriteStall => disk.stall(Operations::WRITE | Operations::SYNC, passing()),
        Fault::DiskFull => disk.set_capacity(disk.used() + random.below(1 << 16)),
        Fault::ReadError => fail(Operations::READ),
        Fault::WriteError => fail(Operations::WRITE),
        Fault::SyncError => fail(Operations::SYNC),
        Fault::BitFlip | Fault::ZeroSector => {
            let mut files = disk.files();
            files.retain(|(_, len)| *len > 0);
            if files.is_empty() {
                return;
            }
            let (path, len) = &files[random.index(files.len())];
            let offset = random.below(*len);
            let damaged = match fault {
                Fault::BitFlip => disk.flip_bit(path, offset, random.below(8) as u8).map(drop),
                _ => disk.zero_sector(path, offset),
            };
            damaged.expect("the file was listed just before");
        }
        _ => {}
    }
}
