//! Tasks, timers and events of a simulation, in virtual time.
//!
//! This file only decides and keeps books: which core may run, which of its tasks is next, what is
//! due. Polling a task (which may call back into everything here) is the business of the kernel, so
//! nothing in here is ever borrowed while foreign code runs.
//!
//! A core takes one step at a time and is busy for the step's cost; meanwhile the other cores go
//! on. Among the cores that are free and have something to do one is drawn, and among its runnable
//! tasks one is drawn. When no core may run, time jumps to whatever is next: a core that becomes
//! free, a timer, an I/O completion.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use super::choice::Random;
use super::network::NetworkEvent;
use crate::time::{Instant, TimerQueue};

/// A task's body: one that ends with nothing; results travel through the handle.
pub(crate) type Body = Pin<Box<dyn Future<Output = ()>>>;

/// Where a core of a simulated node stands in the scheduler's table. Never used twice in a run.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CoreSlot(pub(super) u32);

/// A task: its place in the table and how often the place was used before.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    index: u32,
    generation: u32,
}

impl TaskId {
    /// The same in one word.
    pub(super) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

/// Something other than a task or a timer that happens at its time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A core has finished its step.
    CoreFree(CoreSlot),
    /// A disk operation of a node is done.
    Disk { node: u32, operation: u64 },
    /// Something arrives, or gives up, on the network.
    Network(NetworkEvent),
}

/// What the kernel does next.
pub(super) enum Decision {
    /// Poll this task on this core.
    Poll { id: TaskId, core: CoreSlot, body: Body, waker: Waker },
    /// Poll the future handed to `run_until`.
    PollRoot(Waker),
    /// Carry out an event, whose time has come.
    Happen(Event),
    /// Nothing can happen before this time.
    Wait(u64),
    /// Nothing will ever happen again.
    Idle,
}

/// The wakers' side: ids of woken tasks, in the order in which they were woken.
///
/// A mutex because wakers must be `Send`; a simulation has one thread, so it is never contended.
#[derive(Default, Debug)]
struct Woken(Mutex<Vec<TaskId>>);

impl Woken {
    fn push(&self, id: TaskId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(id);
    }
}

#[derive(Debug)]
struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.woken.push(self.id);
        }
    }
}

/// Where a task's body is.
enum State {
    /// In the table, waiting or runnable.
    Resting(Body),
    /// Out, being polled.
    Polled,
    /// The body lives on `run_until`'s stack.
    Root,
    /// The place is free.
    Vacant,
}

struct TaskEntry {
    generation: u32,
    core: CoreSlot,
    name: &'static str,
    state: State,
    waker: Option<Arc<TaskWaker>>,
}

/// What the scheduler knows about a core.
#[derive(Debug)]
struct CoreEntry {
    runnable: Vec<u32>,
    /// In a step until the event that frees it.
    busy: bool,
    /// In the list of cores that may run.
    listed: bool,
    paused: bool,
    dead: bool,
}

/// Tasks, timers, events and the clock.
pub(super) struct Scheduler {
    now: u64,
    tasks: Vec<TaskEntry>,
    vacant: Vec<u32>,
    alive: usize,
    cores: Vec<CoreEntry>,
    eligible: Vec<CoreSlot>,
    woken: Arc<Woken>,
    draining: Vec<TaskId>,
    timers: TimerQueue,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbers: u64,
}

impl Scheduler {
    pub fn new() -> Scheduler {
        Scheduler {
            now: 0,
            tasks: Vec::new(),
            vacant: Vec::new(),
            alive: 0,
            cores: Vec::new(),
            eligible: Vec::new(),
            woken: Arc::default(),
            draining: Vec::new(),
            timers: TimerQueue::default(),
            events: BinaryHeap::new(),
            numbers: 0,
        }
    }

    /// Virtual nanoseconds since the simulation began.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Moves the clock forward to `time`; never back.
    pub fn advance_to(&mut self, time: u64) {
        self.now = self.now.max(time);
    }

    pub fn tasks_alive(&self) -> usize {
        self.alive
    }

    /// The names of tasks that are alive, at most `limit`, with the core of each.
    pub fn task_names(&self, limit: usize) -> Vec<(CoreSlot, &'static str)> {
        let alive = self.tasks.iter().filter(|task| !matches!(task.state, State::Vacant));
        alive.map(|task| (task.core, task.name)).take(limit).collect()
    }

    /// The name of a task that is alive.
    pub fn task_name(&self, id: TaskId) -> &'static str {
        self.entry(id).map_or("", |entry| entry.name)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn add_core(&mut self) -> CoreSlot {
        let slot = CoreSlot(self.cores.len() as u32);
        self.cores.push(CoreEntry {
            runnable: Vec::new(),
            busy: false,
            listed: false,
            paused: false,
            dead: false,
        });
        slot
    }

    pub fn is_dead(&self, core: CoreSlot) -> bool {
        self.cores[core.0 as usize].dead
    }

    /// A paused core takes no step until it is resumed; its timers and its I/O go on.
    pub fn set_paused(&mut self, core: CoreSlot, paused: bool) {
        self.cores[core.0 as usize].paused = paused;
        self.list_if_eligible(core);
    }

    /// Takes a core out for good and hands back the bodies of its tasks, to be dropped outside.
    ///
    /// A task that is being polled right now is not among them: [`Scheduler::put_back`] refuses it.
    pub fn kill_core(&mut self, core: CoreSlot) -> Vec<Body> {
        let entry = &mut self.cores[core.0 as usize];
        entry.dead = true;
        entry.runnable = Vec::new();
        let mut bodies = Vec::new();
        for index in 0..self.tasks.len() as u32 {
            let task = &mut self.tasks[index as usize];
            if task.core == core && matches!(task.state, State::Resting(_)) {
                bodies.extend(self.vacate(index));
            }
        }
        bodies
    }

    /// Adds a task and makes it runnable; hands the body back when the core is dead.
    pub fn spawn(
        &mut self,
        core: CoreSlot,
        name: &'static str,
        body: Body,
    ) -> Result<TaskId, Body> {
        if self.is_dead(core) {
            return Err(body);
        }
        Ok(self.insert(core, name, State::Resting(body)))
    }

    /// Adds the task that stands for `run_until`'s future.
    pub fn spawn_root(&mut self, core: CoreSlot) -> TaskId {
        self.insert(core, "client", State::Root)
    }

    fn insert(&mut self, core: CoreSlot, name: &'static str, state: State) -> TaskId {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.tasks.push(TaskEntry {
                generation: 0,
                core,
                name,
                state: State::Vacant,
                waker: None,
            });
            (self.tasks.len() - 1) as u32
        });
        let entry = &mut self.tasks[index as usize];
        let id = TaskId { index, generation: entry.generation };
        entry.core = core;
        entry.name = name;
        entry.state = state;
        let waker = TaskWaker { id, queued: AtomicBool::new(true), woken: Arc::clone(&self.woken) };
        entry.waker = Some(Arc::new(waker));
        self.alive += 1;
        self.woken.push(id);
        id
    }

    /// Frees a task's place and hands back its body, if that is here.
    fn vacate(&mut self, index: u32) -> Option<Body> {
        let entry = &mut self.tasks[index as usize];
        let state = std::mem::replace(&mut entry.state, State::Vacant);
        entry.generation = entry.generation.wrapping_add(1);
        entry.waker = None;
        self.vacant.push(index);
        self.alive -= 1;
        match state {
            State::Resting(body) => Some(body),
            State::Polled | State::Root => None,
            State::Vacant => unreachable!("a task's place was freed twice"),
        }
    }

    fn entry(&self, id: TaskId) -> Option<&TaskEntry> {
        self.tasks.get(id.index as usize).filter(|entry| entry.generation == id.generation)
    }

    /// Ends a task early. The body is to be dropped by the caller, with `core` current.
    pub fn cancel(&mut self, id: TaskId) -> Option<(CoreSlot, Body)> {
        let core = self.entry(id)?.core;
        Some((core, self.vacate(id.index)?))
    }

    /// Puts a polled task back that is not finished; hands its body back if it is to end now.
    pub fn put_back(&mut self, id: TaskId, body: Body) -> Result<(), Body> {
        let Some(entry) = self.entry(id) else { return Err(body) };
        if self.is_dead(entry.core) {
            self.vacate(id.index);
            return Err(body);
        }
        self.tasks[id.index as usize].state = State::Resting(body);
        Ok(())
    }

    /// Frees the place of a task that was polled to its end, unless it was cancelled meanwhile.
    pub fn finish(&mut self, id: TaskId) {
        if self.entry(id).is_some() {
            self.vacate(id.index);
        }
    }

    /// The timers, in virtual time.
    pub fn timers(&mut self) -> &mut TimerQueue {
        &mut self.timers
    }

    /// Lets `event` happen at `time`; at once when that is past.
    pub fn add_event(&mut self, time: u64, event: Event) {
        let number = self.number();
        self.events.push(Reverse((time.max(self.now), number, event)));
    }

    /// Keeps `core` from running for the cost of the step it just took.
    pub fn occupy(&mut self, core: CoreSlot, cost: u64) {
        let entry = &mut self.cores[core.0 as usize];
        if !entry.dead {
            entry.busy = true;
            self.add_event(self.now.saturating_add(cost), Event::CoreFree(core));
        }
    }

    pub fn release(&mut self, core: CoreSlot) {
        self.cores[core.0 as usize].busy = false;
        self.list_if_eligible(core);
    }

    fn list_if_eligible(&mut self, core: CoreSlot) {
        let entry = &mut self.cores[core.0 as usize];
        let may_run = !(entry.busy || entry.paused || entry.dead || entry.runnable.is_empty());
        if may_run && !entry.listed {
            entry.listed = true;
            self.eligible.push(core);
        }
    }

    /// Makes woken tasks runnable.
    fn collect_woken(&mut self) {
        let mut woken = std::mem::take(&mut self.draining);
        std::mem::swap(
            &mut woken,
            &mut self.woken.0.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for id in woken.drain(..) {
            let Some(core) = self.entry(id).map(|entry| entry.core) else { continue };
            if !self.is_dead(core) {
                self.cores[core.0 as usize].runnable.push(id.index);
                self.list_if_eligible(core);
            }
        }
        self.draining = woken;
    }

    /// Chooses what happens next, without moving the clock.
    pub fn decide(&mut self, random: &Random) -> Decision {
        self.collect_woken();
        if let Some(event) = self.pop_due_event() {
            return Decision::Happen(event);
        }
        if self.fire_due_timers() {
            self.collect_woken();
        }
        while !self.eligible.is_empty() {
            let core = self.eligible.swap_remove(random.index(self.eligible.len()));
            self.cores[core.0 as usize].listed = false;
            if let Some(decision) = self.choose_task(core, random) {
                return decision;
            }
        }
        let timer = self.timers.next_deadline().map(Instant::as_nanos);
        let event = self.events.peek().map(|Reverse((time, ..))| *time);
        match timer.into_iter().chain(event).min() {
            Some(time) => Decision::Wait(time),
            None => Decision::Idle,
        }
    }

    fn pop_due_event(&mut self) -> Option<Event> {
        let Reverse((time, ..)) = self.events.peek()?;
        if *time > self.now {
            return None;
        }
        self.events.pop().map(|Reverse((.., event))| event)
    }

    fn fire_due_timers(&mut self) -> bool {
        let mut fired = false;
        while let Some(waker) = self.timers.pop_due(Instant::from_nanos(self.now)) {
            waker.wake();
            fired = true;
        }
        fired
    }

    fn choose_task(&mut self, core: CoreSlot, random: &Random) -> Option<Decision> {
        let entry = &mut self.cores[core.0 as usize];
        if entry.busy || entry.paused || entry.dead {
            return None;
        }
        while !entry.runnable.is_empty() {
            let index = entry.runnable.swap_remove(random.index(entry.runnable.len()));
            let task = &mut self.tasks[index as usize];
            // A place in the run queue may outlive its task: cancelled, or reused by another core's.
            let Some(waker) = task.waker.as_ref().filter(|_| task.core == core) else { continue };
            if !waker.queued.swap(false, Ordering::AcqRel) {
                continue;
            }
            let id = TaskId { index, generation: task.generation };
            let waker = Waker::from(Arc::clone(waker));
            match std::mem::replace(&mut task.state, State::Polled) {
                State::Resting(body) => return Some(Decision::Poll { id, core, body, waker }),
                State::Root => {
                    task.state = State::Root;
                    return Some(Decision::PollRoot(waker));
                }
                State::Polled => unreachable!("a step began inside a step"),
                State::Vacant => task.state = State::Vacant,
            }
        }
        None
    }
}
