//! What a simulation is told before it begins.

use std::ops::Range;
use std::time::Duration;

use super::choice::Chance;

/// How a simulation runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// The disks, before a [`super::DiskControl`] changes one.
    pub disk: DiskFaults,
    /// The network, before the [`super::NetworkControl`] changes it.
    pub network: NetworkFaults,
    /// Virtual time one step of a task costs its core; at least a nanosecond.
    pub step_cost: Range<Duration>,
    /// Virtual time after which one [`super::Sim::run_until`] gives up.
    pub time_limit: Duration,
    /// Steps after which one [`super::Sim::run_until`] gives up.
    pub step_limit: u64,
}

impl Options {
    /// The defaults with this seed: no faults, plausible delays, an hour of virtual time.
    pub fn new(seed: u64) -> Options {
        Options {
            seed,
            disk: DiskFaults::default(),
            network: NetworkFaults::default(),
            step_cost: Duration::from_nanos(100)..Duration::from_nanos(2_000),
            time_limit: Duration::from_secs(3_600),
            step_limit: 1_000_000_000,
        }
    }
}

/// How a crash ends a node.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process dies, its machine lives: what was written stays, with or without a sync; of
    /// what was being written a prefix may be there. Peers see their connections end.
    Process,
    /// The machine loses power: what was not synced is lost, kept or torn, file by file and name
    /// by name. Peers see nothing until the machine is back or their patience ends.
    Power,
}

/// A disk's speed and its habits.
#[derive(Clone, Debug)]
pub struct DiskFaults {
    /// Bytes the disk holds; beyond that writes fail with `ENOSPC`.
    pub capacity: u64,
    /// Files one node may have open; beyond that opening fails with `EMFILE`.
    pub open_files_max: usize,
    /// Time a read takes, before its bytes.
    pub read: Range<Duration>,
    /// Time a write takes, before its bytes.
    pub write: Range<Duration>,
    /// Time a sync takes.
    pub sync: Range<Duration>,
    /// Time a change or a look-up of names takes.
    pub names: Range<Duration>,
    /// Time a mebibyte takes, read or written.
    pub mebibyte: Duration,
    /// Any operation takes a hundred times as long.
    pub slow: Chance,
    /// A read fails with `EIO`.
    pub read_error: Chance,
    /// A write fails with `EIO`; of its sectors some may have been written.
    pub write_error: Chance,
    /// A sync fails with `EIO`; what it was to write will not be written by a later one either.
    pub sync_error: Chance,
    /// Of what a power loss may take: a change that is torn rather than kept or lost whole.
    pub torn: Chance,
    /// Of the torn ones: a sector is torn inside, rather than only between sectors.
    pub torn_inside: Chance,
}

impl Default for DiskFaults {
    fn default() -> DiskFaults {
        let micros = |low, high| Duration::from_micros(low)..Duration::from_micros(high);
        DiskFaults {
            capacity: 1 << 40,
            open_files_max: 65_536,
            read: micros(40, 150),
            write: micros(50, 250),
            sync: micros(100, 500),
            names: micros(20, 150),
            mebibyte: Duration::from_micros(700),
            slow: Chance::NEVER,
            read_error: Chance::NEVER,
            write_error: Chance::NEVER,
            sync_error: Chance::NEVER,
            torn: Chance::percent(30),
            torn_inside: Chance::percent(50),
        }
    }
}

/// The network's speed and its habits.
#[derive(Clone, Debug)]
pub struct NetworkFaults {
    /// Time a segment is under way between two nodes.
    pub delay: Range<Duration>,
    /// Time a segment is under way inside one node.
    pub local_delay: Range<Duration>,
    /// Time a mebibyte takes on one connection.
    pub mebibyte: Duration,
    /// A segment is lost, and sent again after [`NetworkFaults::retransmit`].
    pub loss: Chance,
    /// A segment arrives with one bit inverted, past the checksums of the lower layers.
    pub corrupt: Chance,
    /// A connection is reset when a segment is sent on it.
    pub reset: Chance,
    /// Time until a lost segment is sent again the first time; doubled each time after.
    pub retransmit: Duration,
    /// Time after which a sender whose segments never arrive gives its connection up.
    pub give_up: Duration,
    /// Time after which an attempt to connect gives up.
    pub connect_give_up: Duration,
    /// Bytes under way or unread on one direction of a connection; then a writer waits.
    pub window_bytes: usize,
    /// Connections a listener keeps that were not accepted yet; further ones wait outside.
    pub backlog: usize,
    /// A read hands out only a part of what has arrived.
    pub short_read: Chance,
}

impl Default for NetworkFaults {
    fn default() -> NetworkFaults {
        let micros = |low, high| Duration::from_micros(low)..Duration::from_micros(high);
        NetworkFaults {
            delay: micros(50, 300),
            local_delay: micros(10, 40),
            mebibyte: Duration::from_micros(850),
            loss: Chance::NEVER,
            corrupt: Chance::NEVER,
            reset: Chance::NEVER,
            retransmit: Duration::from_millis(200),
            give_up: Duration::from_secs(15),
            connect_give_up: Duration::from_secs(10),
            window_bytes: 256 * 1024,
            backlog: 1_024,
            short_read: Chance::percent(10),
        }
    }
}
