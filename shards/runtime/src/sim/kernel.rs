//! The world of one simulation: everything its nodes share, and the loop that drives it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::choice::{Random, Trace, Traced, nanos};
use super::core::{Core, Entered};
use super::disk::Disk;
use super::network::Network;
use super::options::{Loss, Options};
use super::scheduler::{Body, CoreSlot, Decision, Event, Scheduler, TaskId};
use super::trap::{Step, Traps};
use crate::task::{Steps, panic_message};
use crate::watchdog::Watchdog;
use crate::world;

/// The node on which `run_until`'s future runs: the clients and the test itself.
pub const CLIENT: u32 = u32::MAX;

/// Panics kept for [`super::Sim::panics`] at most; later ones are only counted in the trace.
const PANICS_MAX: usize = 1_024;
/// Task names in a [`Stuck`] report at most.
const STUCK_TASKS_MAX: usize = 64;
/// Where every simulation's wall clock begins: 2026-01-01 00:00:00 UTC, in nanoseconds.
const WALL_CLOCK_BASE: u64 = 1_767_225_600_000_000_000;

/// A panic of a task, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPanic {
    /// The node it ran on.
    pub node: u32,
    /// The core it ran on.
    pub core: u16,
    /// The name it was spawned under.
    pub task: &'static str,
    /// What it said.
    pub message: String,
}

/// Why a run ended before its future did.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum StuckReason {
    /// No task can run, no timer is set, nothing is on its way.
    Idle,
    /// [`Options::time_limit`] of virtual time went by in one run.
    TimeLimit,
    /// [`Options::step_limit`] steps were taken in one run.
    StepLimit,
}

/// A run that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("simulation stuck ({reason:?}) at {now:?}, seed {seed}; tasks alive: {tasks:?}")]
pub struct Stuck {
    /// What ended it.
    pub reason: StuckReason,
    /// The seed that replays it.
    pub seed: u64,
    /// Virtual time since the simulation began.
    pub now: Duration,
    /// Tasks that were alive, as `node/core name`, the first 64 of them.
    pub tasks: Vec<String>,
}

/// What the kernel knows about a node.
#[derive(Debug, Default)]
struct NodeState {
    cores: Vec<CoreSlot>,
    running: bool,
    /// Cores whose main future has not ended.
    mains: u16,
    clock: WallOffset,
    /// Steps cost so many times as much.
    slowness: u32,
}

/// What belongs to a place in the scheduler's table of cores.
struct Place {
    node: u32,
    index: u16,
    watchdog: Rc<Watchdog>,
}

/// How far a node's wall clock is off.
#[derive(Copy, Clone, Debug, Default)]
struct WallOffset {
    /// Nanoseconds ahead (or behind) at `since`.
    offset: i64,
    /// Nanoseconds gained a million nanoseconds.
    drift_per_million: i64,
    /// Virtual time from which the drift counts.
    since: u64,
}

impl WallOffset {
    fn at(&self, now: u64) -> i64 {
        let elapsed = i128::from(now - self.since);
        let gained = elapsed * i128::from(self.drift_per_million) / 1_000_000;
        self.offset.saturating_add(i64::try_from(gained).unwrap_or(i64::MAX))
    }
}

/// Everything the nodes of one simulation share.
pub(crate) struct World {
    pub(super) options: Options,
    pub(super) random: Random,
    pub(super) trace: Trace,
    pub(super) network: Network,
    pub(super) scheduler: RefCell<Scheduler>,
    nodes: RefCell<BTreeMap<u32, NodeState>>,
    places: RefCell<Vec<Place>>,
    disks: RefCell<BTreeMap<u32, Rc<Disk>>>,
    panics: RefCell<Vec<TaskPanic>>,
    steps: Cell<u64>,
    pub(super) traps: Traps,
}

impl World {
    pub fn new(options: Options) -> Rc<World> {
        let world = World {
            random: Random::new(options.seed),
            trace: Trace::new(options.seed),
            network: Network::new(options.network.clone()),
            scheduler: RefCell::new(Scheduler::new()),
            nodes: RefCell::default(),
            places: RefCell::default(),
            disks: RefCell::default(),
            panics: RefCell::default(),
            steps: Cell::new(0),
            traps: Traps::default(),
            options,
        };
        let world = Rc::new(world);
        world.start_node(CLIENT, 1);
        world
    }

    pub fn now(&self) -> u64 {
        self.scheduler.borrow().now()
    }

    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    pub fn tasks_alive(&self) -> usize {
        self.scheduler.borrow().tasks_alive()
    }

    pub fn panics(&self) -> Vec<TaskPanic> {
        self.panics.borrow().clone()
    }

    pub(super) fn add_event(&self, time: u64, event: Event) {
        self.scheduler.borrow_mut().add_event(time, event);
    }

    /// Lets `event` happen after `delay`.
    pub(super) fn add_event_in(&self, delay: Duration, event: Event) {
        self.add_event(self.now().saturating_add(nanos(delay)), event);
    }

    fn place(&self, slot: CoreSlot) -> (u32, u16) {
        let places = self.places.borrow();
        let place = &places[slot.0 as usize];
        (place.node, place.index)
    }

    fn core(self: &Rc<World>, slot: CoreSlot) -> Core {
        let (node, index) = self.place(slot);
        Core { world: Rc::clone(self), slot, node, index }
    }

    /// The core of the client's node, which always runs.
    fn client_core(self: &Rc<World>) -> Core {
        let slot = self.nodes.borrow()[&CLIENT].cores[0];
        self.core(slot)
    }

    pub fn disk(&self, node: u32) -> Rc<Disk> {
        let mut disks = self.disks.borrow_mut();
        let fresh = || Rc::new(Disk::new(node, self.options.disk.clone()));
        Rc::clone(disks.entry(node).or_insert_with(fresh))
    }

    /// Exchanges two nodes' disks, as someone who mixed up two drawers would.
    pub fn swap_disks(&self, one: u32, two: u32) {
        let (first, second) = (self.disk(one), self.disk(two));
        let mut disks = self.disks.borrow_mut();
        disks.insert(one, second);
        disks.insert(two, first);
        for node in [one, two] {
            disks[&node].set_node(node);
        }
    }

    pub fn is_running(&self, node: u32) -> bool {
        self.nodes.borrow().get(&node).is_some_and(|node| node.running)
    }

    /// Gives a node that does not run its cores.
    pub fn start_node(self: &Rc<World>, node: u32, cores: u16) -> Vec<Core> {
        assert!(!self.is_running(node), "node {node} is running already");
        let slots: Vec<CoreSlot> = (0..cores)
            .map(|index| {
                self.places.borrow_mut().push(Place { node, index, watchdog: Rc::default() });
                self.scheduler.borrow_mut().add_core()
            })
            .collect();
        let mut nodes = self.nodes.borrow_mut();
        let state = nodes.entry(node).or_default();
        state.slowness = state.slowness.max(1);
        state.cores.clone_from(&slots);
        state.running = true;
        state.mains = cores;
        drop(nodes);
        self.network.node_started(node);
        self.trace.record(Traced::NodeStart, u64::from(node), u64::from(cores), self.now());
        slots.into_iter().map(|slot| self.core(slot)).collect()
    }

    /// Runs `make` with `core` current and starts what it makes as the core's main task.
    pub fn start_main(self: &Rc<World>, core: &Core, make: impl FnOnce() -> Body) {
        let body = {
            let _entered = Entered::new(core.clone());
            make()
        };
        let world = Rc::clone(self);
        let (node, slot) = (core.node, core.slot);
        let main = async move {
            if let Err(panicked) = Steps::new("main", body).await {
                world.record_panic(slot, panicked.name, &panicked.message);
            }
            world.main_ended(node, slot);
        };
        core.spawn("main", Box::pin(main)).detach();
    }

    /// A core ends with its main future, its other tasks with it. A node whose last core has
    /// ended leaves as a process does that exits.
    fn main_ended(self: &Rc<World>, node: u32, slot: CoreSlot) {
        self.end_core(slot);
        let last = self.nodes.borrow_mut().get_mut(&node).is_some_and(|node| {
            node.mains -= 1;
            node.mains == 0
        });
        if last {
            self.crash(node, Loss::Process);
        }
    }

    /// Ends a node's tasks, connections and I/O. Nothing happens to a node that does not run,
    /// but for its disk, which loses power all the same.
    pub fn crash(self: &Rc<World>, node: u32, loss: Loss) {
        self.trace.record(Traced::NodeCrash, u64::from(node), loss as u64, self.now());
        let slots = match self.nodes.borrow_mut().get_mut(&node) {
            Some(state) => {
                state.running = false;
                std::mem::take(&mut state.cores)
            }
            None => Vec::new(),
        };
        self.network.node_crashed(self, node, loss);
        // What a drop spawns on a core that has ended is dropped at once.
        for slot in slots {
            self.end_core(slot);
        }
        let disk = self.disks.borrow().get(&node).cloned();
        if let Some(disk) = disk {
            disk.crash(self, loss);
        }
    }

    /// Ends one core: drops its tasks, and what it had registered.
    fn end_core(self: &Rc<World>, slot: CoreSlot) {
        let killed = self.scheduler.borrow_mut().kill_core(slot);
        for body in killed {
            self.drop_in(slot, body);
        }
        self.watchdog(slot).clear();
    }

    /// Drops a task's body with its core current. A panic on the way is recorded.
    pub(super) fn drop_in(self: &Rc<World>, slot: CoreSlot, body: Body) {
        let _entered = Entered::new(self.core(slot));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(body))) {
            self.record_panic(slot, "drop", &panic_message(panic.as_ref()));
        }
    }

    pub(super) fn record_panic(&self, slot: CoreSlot, task: &'static str, message: &str) {
        let (node, core) = self.place(slot);
        self.trace.record(Traced::TaskPanic, u64::from(slot.0), message.len() as u64, 0);
        let mut panics = self.panics.borrow_mut();
        if panics.len() < PANICS_MAX {
            panics.push(TaskPanic { node, core, task, message: message.to_owned() });
        }
    }

    /// Changes how far `node`'s wall clock is off, from now on.
    pub fn set_wall_clock(&self, node: u32, offset: i64, drift_per_million: i64) {
        let since = self.now();
        let clock = WallOffset { offset, drift_per_million, since };
        self.nodes.borrow_mut().entry(node).or_default().clock = clock;
    }

    /// What `node`'s wall clock shows, in nanoseconds since the Unix epoch.
    pub fn wall_clock(&self, node: u32) -> u64 {
        (WALL_CLOCK_BASE + self.now()).saturating_add_signed(self.wall_offset(node))
    }

    /// The watchdog of one core.
    pub(super) fn watchdog(&self, slot: CoreSlot) -> Rc<Watchdog> {
        Rc::clone(&self.places.borrow()[slot.0 as usize].watchdog)
    }

    pub fn wall_offset(&self, node: u32) -> i64 {
        let now = self.now();
        self.nodes.borrow().get(&node).map_or(0, |node| node.clock.at(now))
    }

    /// Makes every step of `node` cost `times` as much.
    pub fn set_slowness(&self, node: u32, times: u32) {
        self.nodes.borrow_mut().entry(node).or_default().slowness = times.max(1);
    }

    /// Stops or resumes one core of `node`, or all of them.
    pub fn set_paused(&self, node: u32, core: Option<u16>, paused: bool) {
        let nodes = self.nodes.borrow();
        let Some(state) = nodes.get(&node) else { return };
        for (index, &slot) in state.cores.iter().enumerate() {
            if core.is_none_or(|core| usize::from(core) == index) {
                self.scheduler.borrow_mut().set_paused(slot, paused);
            }
        }
    }

    /// Runs until `future` is ready, which runs on the client's node.
    pub fn run<F: Future>(self: &Rc<World>, future: F) -> Result<F::Output, Stuck> {
        self.run_at_most(future, self.options.step_limit)
    }

    /// As [`World::run`], for `steps_max` steps at most.
    pub fn run_at_most<F: Future>(
        self: &Rc<World>,
        future: F,
        steps_max: u64,
    ) -> Result<F::Output, Stuck> {
        assert!(
            !world::is_simulated(),
            "a simulation cannot be driven from inside of one of its steps"
        );
        let mut future = std::pin::pin!(future);
        let core = self.client_core();
        let root = self.scheduler.borrow_mut().spawn_root(core.slot);
        let outcome = self.run_root(&core, future.as_mut(), steps_max);
        self.scheduler.borrow_mut().finish(root);
        outcome
    }

    fn run_root<F: Future>(
        self: &Rc<World>,
        core: &Core,
        mut future: Pin<&mut F>,
        steps_max: u64,
    ) -> Result<F::Output, Stuck> {
        let deadline = self.now().saturating_add(nanos(self.options.time_limit));
        let steps_max = self.steps.get().saturating_add(steps_max);
        loop {
            let decision = self.scheduler.borrow_mut().decide(&self.random);
            match decision {
                Decision::Poll { id, core, body, waker } => self.poll(id, core, body, &waker),
                Decision::PollRoot(waker) => {
                    let polled = {
                        let _entered = Entered::new(core.clone());
                        future.as_mut().poll(&mut Context::from_waker(&waker))
                    };
                    self.step_taken(core.slot, u64::MAX);
                    if let Poll::Ready(output) = polled {
                        return Ok(output);
                    }
                }
                Decision::Happen(event) => self.happen(event),
                Decision::Wait(time) if time > deadline => {
                    self.scheduler.borrow_mut().advance_to(deadline);
                    return Err(self.stuck(StuckReason::TimeLimit));
                }
                Decision::Wait(time) => {
                    self.trace.record(Traced::Timer, time, 0, 0);
                    self.scheduler.borrow_mut().advance_to(time);
                }
                Decision::Idle => return Err(self.stuck(StuckReason::Idle)),
            }
            if self.steps.get() >= steps_max {
                return Err(self.stuck(StuckReason::StepLimit));
            }
        }
    }

    fn stuck(&self, reason: StuckReason) -> Stuck {
        let names = self.scheduler.borrow().task_names(STUCK_TASKS_MAX);
        let told = |(slot, name): (CoreSlot, &str)| match self.place(slot) {
            (CLIENT, _) => format!("client {name}"),
            (node, core) => format!("{node}/{core} {name}"),
        };
        let tasks = names.into_iter().map(told).collect();
        let now = Duration::from_nanos(self.now());
        Stuck { reason, seed: self.options.seed, now, tasks }
    }

    fn poll(self: &Rc<World>, id: TaskId, slot: CoreSlot, mut body: Body, waker: &Waker) {
        let task = self.scheduler.borrow().task_name(id);
        let polled = {
            let _entered = Entered::new(self.core(slot));
            let mut context = Context::from_waker(waker);
            catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(&mut context)))
        };
        self.step_taken(slot, id.number());
        let ended = match polled {
            Ok(Poll::Pending) => self.scheduler.borrow_mut().put_back(id, body).err(),
            Ok(Poll::Ready(())) => {
                self.scheduler.borrow_mut().finish(id);
                Some(body)
            }
            Err(panic) => {
                self.record_panic(slot, "task", &panic_message(panic.as_ref()));
                self.scheduler.borrow_mut().finish(id);
                Some(body)
            }
        };
        if let Some(body) = ended {
            self.trace.record(Traced::TaskEnd, id.number(), u64::from(slot.0), 0);
            self.drop_in(slot, body);
        }
        let (node, core) = self.place(slot);
        if let Some(trap) = self.traps.step(node) {
            (trap.look)(Step { core, task });
            self.crash(node, trap.loss);
        }
    }

    /// Books a step: what it cost, that it was taken.
    fn step_taken(&self, slot: CoreSlot, task: u64) {
        let range = &self.options.step_cost;
        let cost = self.random.between(nanos(range.start), nanos(range.end)).max(1);
        let node = self.place(slot).0;
        let slowness = self.nodes.borrow().get(&node).map_or(1, |node| node.slowness);
        let cost = cost.saturating_mul(u64::from(slowness));
        self.steps.set(self.steps.get() + 1);
        let mut scheduler = self.scheduler.borrow_mut();
        self.trace.record(Traced::Step, scheduler.now(), u64::from(slot.0), task);
        scheduler.occupy(slot, cost);
    }

    fn happen(self: &Rc<World>, event: Event) {
        match event {
            Event::CoreFree(slot) => self.scheduler.borrow_mut().release(slot),
            Event::Disk { node, operation } => {
                let disk = self.disk(node);
                disk.complete(self, operation);
            }
            Event::Network(event) => self.network.happen(self, event),
        }
    }

    /// Ends everything, so that nothing keeps the world alive.
    pub fn shut_down(self: &Rc<World>) {
        let nodes: Vec<u32> = self.nodes.borrow().keys().copied().collect();
        for node in nodes {
            self.crash(node, Loss::Process);
        }
        self.network.clear();
        self.scheduler.replace(Scheduler::new());
    }
}
