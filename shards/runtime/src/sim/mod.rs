//! The simulated world: many nodes on one thread, under a seed.
//!
//! A [`Sim`] runs the same code as the real world behind the same seam, and owns everything that
//! code could ask: the clock, chance, tasks, disks, the network. One thread polls the tasks of all
//! cores of all nodes; time is virtual and jumps to whatever happens next; every choice (which core,
//! which of its tasks, what a step costs, how long I/O takes, what a crash destroys) is drawn from
//! one generator. So a run is a pure function of its seed and the code, and
//! [`Sim::trace_hash`] proves it: the same seed gives the same hash in any process.
//!
//! ```text
//!             one step                                        in between
//!   choose core ─> choose task ─> poll it ─> core busy    events due: I/O, segments
//!        ▲                                  for its cost  timers due: wake
//!        └───────────────── time jumps when no core may run ──────┘
//! ```
//!
//! A test starts nodes, hands [`Sim::run_until`] a future that plays the clients, and breaks things
//! on the way:
//!
//! ```
//! use std::time::Duration;
//! use runtime::sim::{Loss, Options, Sim};
//!
//! let sim = Sim::new(Options::new(7));
//! sim.start_node(1, 2, |_core| Box::pin(runtime::time::sleep(Duration::from_secs(5))));
//! sim.run_for(Duration::from_secs(1));
//! sim.crash(1, Loss::Power);
//! sim.run_until(runtime::time::sleep(Duration::from_secs(1))).unwrap();
//! assert!(sim.now().as_nanos() >= 2_000_000_000);
//! ```
//!
//! # What holds
//!
//! - A step takes no time of its own: inside of it the clock stands. Its cost is drawn when it is
//!   over, and keeps its core, not the others, from going on. Code that spins on the clock hangs.
//! - Tasks of one core are chosen at random among the runnable ones, so nothing may lean on the
//!   order in which they were woken.
//! - [`Sim::crash`] drops all tasks of a node with their core current, at a point between two
//!   steps: as every await point may be the last one, a random moment is a random await point.
//!   [`Sim::crash_after`] chooses it exactly.
//! - A panic of a task ends that task, and is kept for [`Sim::panics`].
//!
//! # What is not there
//!
//! Threads of other kinds, signals, memory limits, and disks that lie after a sync that succeeded.

mod choice;
mod completion;
mod core;
mod disk;
mod kernel;
mod nemesis;
mod network;
mod options;
mod scheduler;
mod task;
#[cfg(test)]
mod tests;
mod trap;

use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

pub use self::core::place;
pub use choice::{Chance, Random};
pub use disk::{DiskControl, DiskError, DiskFault, Operations, StoredFile};
pub use kernel::{CLIENT, Stuck, StuckReason, TaskPanic};
pub use nemesis::{Fault, Nemesis, Strike, UnknownFault};
pub use network::{LinkFaults, NetworkControl, address_of};
pub use options::{DiskFaults, Loss, NetworkFaults, Options};
pub use trap::Step;

pub(crate) use self::core::{Core, with};
pub(crate) use disk::fs;
pub(crate) use network::socket;
pub(crate) use task::{Sleep, Task, spawn};

use self::kernel::World;
use crate::time::Instant;

/// One simulation. Dropping it drops everything in it.
pub struct Sim(Rc<World>);

/// Knows whether anything is left of a simulation that was dropped.
pub struct Witness(Weak<World>);

impl Witness {
    /// What holds a file, a socket, a timer or a task of the simulation, and was not dropped with it; 0
    /// where all is gone.
    pub fn left(&self) -> usize {
        self.0.strong_count()
    }
}

impl Sim {
    /// A world without nodes, at time zero.
    pub fn new(options: Options) -> Sim {
        Sim(World::new(options))
    }

    /// Who knows whether anything is left once the simulation is dropped.
    pub fn witness(&self) -> Witness {
        Witness(Rc::downgrade(&self.0))
    }

    /// The seed everything follows from.
    pub fn seed(&self) -> u64 {
        self.0.options.seed
    }

    /// Starts a node that does not run: `main` is called once a core, with the core current, and
    /// what it returns is the core's first task. When the main tasks of all cores have ended, the
    /// node ends as by `Loss::Process`. Its disk is as its last life left it.
    ///
    /// # Panics
    ///
    /// When the node runs already.
    pub fn start_node(
        &self,
        node: u32,
        cores: u16,
        main: impl Fn(u16) -> Pin<Box<dyn Future<Output = ()>>>,
    ) {
        for core in self.0.start_node(node, cores) {
            self.0.start_main(&core, || main(core.index()));
        }
    }

    /// Ends a node; see [`Loss`]. One that does not run only loses the power of its disk. The node
    /// [`CLIENT`] starts again at once.
    ///
    /// # Panics
    ///
    /// When a future of [`Sim::run_until`] would end itself by crashing [`CLIENT`].
    pub fn crash(&self, node: u32, loss: Loss) {
        let client = node == CLIENT;
        assert!(!client || !crate::world::is_simulated(), "the clients crash between two runs");
        self.0.crash(node, loss);
        if client {
            self.0.start_node(CLIENT, 1);
        }
    }

    /// Ends a node after so many more steps of its tasks: the first is 1. `look` sees the node as that
    /// step has left it, with no core current. One such end a node; starting the node does not take
    /// it back.
    ///
    /// # Panics
    ///
    /// When `node` is [`CLIENT`], or `steps` is zero.
    pub fn crash_after(
        &self,
        node: u32,
        steps: u64,
        loss: Loss,
        look: impl FnOnce(Step) + 'static,
    ) {
        assert!(node != CLIENT && steps > 0, "no step of node {node} to wait for");
        let look = Box::new(look);
        self.0.traps.set(trap::Trap { node, steps_left: steps, loss, look });
    }

    /// Takes back what [`Sim::crash_after`] has set, if it is still to come. Returns how many steps
    /// were left.
    pub fn call_off(&self, node: u32) -> Option<u64> {
        self.0.traps.take(node).map(|trap| trap.steps_left)
    }

    /// Whether the node was started and has neither crashed nor ended.
    pub fn is_running(&self, node: u32) -> bool {
        self.0.is_running(node)
    }

    /// Runs everything until `future` is ready. It runs as a task of the node [`CLIENT`] and may
    /// use the seam like any other, borrow from the test, and hold on to this `Sim`.
    ///
    /// # Errors
    ///
    /// [`Stuck`] when nothing can happen any more, or a limit of the [`Options`] is reached.
    pub fn run_until<F: Future>(&self, future: F) -> Result<F::Output, Stuck> {
        self.0.run(future)
    }

    /// Runs everything for so much virtual time, or until a limit of the [`Options`] is reached.
    pub fn run_for(&self, duration: Duration) -> Result<(), Stuck> {
        self.0.run(crate::time::sleep(duration))
    }

    /// Runs everything for so many steps of tasks, or until nothing can happen any more: stopping
    /// after one step, two, three and so on visits every await point of a run.
    ///
    /// # Errors
    ///
    /// [`Stuck`] when [`Options::time_limit`] is reached.
    pub fn run_steps(&self, steps: u64) -> Result<(), Stuck> {
        match self.0.run_at_most(std::future::pending::<()>(), steps) {
            Err(stuck) if stuck.reason == StuckReason::TimeLimit => Err(stuck),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The disk of a node, whether it runs or not.
    pub fn disk(&self, node: u32) -> DiskControl {
        DiskControl::new(Rc::clone(&self.0), node)
    }

    /// Exchanges the disks of two nodes.
    ///
    /// # Panics
    ///
    /// When one of them runs.
    pub fn swap_disks(&self, one: u32, two: u32) {
        assert!(
            !self.is_running(one) && !self.is_running(two),
            "disks are swapped while nodes {one} and {two} are down"
        );
        self.0.swap_disks(one, two);
    }

    /// The network between the nodes.
    pub fn network(&self) -> NetworkControl {
        NetworkControl::new(Rc::clone(&self.0))
    }

    /// Sets a node's wall clock apart from the true one by `offset` nanoseconds now, and lets it
    /// gain `drift_per_million` nanoseconds each millisecond. The monotonic clock is not touched.
    pub fn set_wall_clock(&self, node: u32, offset: i64, drift_per_million: i64) {
        self.0.set_wall_clock(node, offset, drift_per_million);
    }

    /// How far a node's wall clock is ahead of the true one, in nanoseconds.
    pub fn wall_clock_offset(&self, node: u32) -> i64 {
        self.0.wall_offset(node)
    }

    /// Makes every step of a node cost `times` as much.
    pub fn set_slowness(&self, node: u32, times: u32) {
        self.0.set_slowness(node, times);
    }

    /// Stops a node without ending it, as SIGSTOP does: its timers fire and its I/O completes, but
    /// no task takes a step.
    pub fn pause(&self, node: u32) {
        self.0.set_paused(node, None, true);
    }

    /// Stops one core of a node.
    pub fn pause_core(&self, node: u32, core: u16) {
        self.0.set_paused(node, Some(core), true);
    }

    /// Lets a node and all its cores go on.
    pub fn resume(&self, node: u32) {
        self.0.set_paused(node, None, false);
    }

    /// Virtual time since the simulation began.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.0.now())
    }

    /// The hash over everything that has happened, in order.
    pub fn trace_hash(&self) -> u64 {
        self.0.trace.hash()
    }

    /// How many events went into [`Sim::trace_hash`].
    pub fn trace_events(&self) -> u64 {
        self.0.trace.events()
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.0.steps()
    }

    /// Tasks alive on all nodes.
    pub fn tasks_alive(&self) -> usize {
        self.0.tasks_alive()
    }

    /// The panics of tasks, the first 1,024 of them.
    pub fn panics(&self) -> Vec<TaskPanic> {
        self.0.panics()
    }

    /// The simulation's generator, for a test that wants its own choices to follow from the seed.
    pub fn random(&self) -> &Random {
        &self.0.random
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}
