//! The context in which a simulated core's tasks run.

use std::cell::RefCell;
use std::rc::Rc;

use super::choice::{Random, Traced};
use super::disk::Disk;
use super::kernel::World;
use super::scheduler::{Body, CoreSlot, TaskId};
use crate::time::TimerQueue;
use crate::watchdog::Watchdog;
use crate::world;

/// One core of a simulated node: the context in which its tasks run.
#[derive(Clone)]
pub(crate) struct Core {
    pub(super) world: Rc<World>,
    pub(super) slot: CoreSlot,
    pub(super) node: u32,
    pub(super) index: u16,
}

thread_local! {
    static CURRENT: RefCell<Option<Core>> = const { RefCell::new(None) };
}

/// The simulated core whose task is being polled on this thread.
///
/// # Panics
///
/// Outside of a simulation's steps; the thread's world says whether it is inside.
pub(crate) fn current() -> Core {
    with(Core::clone)
}

/// The node and the core of it whose task is being polled on this thread; `None` outside of a
/// simulation's steps.
#[must_use]
pub fn place() -> Option<(u32, u16)> {
    CURRENT.with_borrow(|core| core.as_ref().map(|core| (core.node, core.index)))
}

/// Runs `work` with the current core, which must not lead to another one becoming current.
///
/// # Panics
///
/// As [`current`].
pub(crate) fn with<T>(work: impl FnOnce(&Core) -> T) -> T {
    CURRENT.with_borrow(|core| match core {
        Some(core) => work(core),
        None => panic!("no simulated core is running on this thread"),
    })
}

/// Makes a core the current one until it is dropped; then the one before is again.
pub(super) struct Entered {
    before: Option<Core>,
    _world: world::Entered,
}

impl Entered {
    pub fn new(core: Core) -> Entered {
        let before = CURRENT.with(|current| current.replace(Some(core)));
        Entered { before, _world: world::enter(world::World::Sim) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        let _left = CURRENT.with(|current| current.replace(before));
    }
}

impl Core {
    /// The core's place on its node.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Virtual nanoseconds since the simulation began.
    pub fn now(&self) -> u64 {
        self.world.now()
    }

    /// The node's wall clock, in nanoseconds since the Unix epoch.
    pub fn wall_clock(&self) -> u64 {
        self.world.wall_clock(self.node)
    }

    /// The simulation's generator.
    pub fn random(&self) -> &Random {
        &self.world.random
    }

    /// Starts a task on this core. On a node that has crashed the body is dropped at once.
    pub fn spawn(&self, name: &'static str, body: Body) -> SpawnedTask {
        let world = &self.world;
        let spawned = world.scheduler.borrow_mut().spawn(self.slot, name, body);
        match spawned {
            Ok(id) => {
                world.trace.record(Traced::Spawn, u64::from(self.slot.0), name.len() as u64, 0);
                SpawnedTask { world: Rc::clone(world), id: Some(id) }
            }
            Err(body) => {
                world.drop_in(self.slot, body);
                SpawnedTask { world: Rc::clone(world), id: None }
            }
        }
    }

    /// Works on the timers.
    pub fn with_timers<T>(&self, work: impl FnOnce(&mut TimerQueue) -> T) -> T {
        work(self.world.scheduler.borrow_mut().timers())
    }

    /// Whether a task that offers to give way does so now: one offer in sixteen is taken.
    ///
    /// A step takes no virtual time until it ends, so a clock cannot say when a slice is used up.
    pub fn yield_is_due(&self) -> bool {
        self.world.random.below(16) == 0
    }

    /// This core's watchdog.
    pub fn watchdog(&self) -> Rc<Watchdog> {
        self.world.watchdog(self.slot)
    }

    /// This node's disk.
    pub(super) fn disk(&self) -> Rc<Disk> {
        self.world.disk(self.node)
    }

    /// Records that a task of this core panicked.
    pub fn record_panic(&self, task: &'static str, message: &str) {
        self.world.record_panic(self.slot, task, message);
    }
}

/// A task of a simulation; dropping this ends the task.
pub(crate) struct SpawnedTask {
    world: Rc<World>,
    id: Option<TaskId>,
}

impl SpawnedTask {
    /// Lets the task run on by itself.
    pub fn detach(mut self) {
        self.id = None;
    }
}

impl Drop for SpawnedTask {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let cancelled = self.world.scheduler.borrow_mut().cancel(id);
        if let Some((slot, body)) = cancelled {
            self.world.drop_in(slot, body);
        }
    }
}
