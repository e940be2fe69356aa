//! A node's disk: sparse files of sectors, a cache that forgets, and faults by order or by chance.
//!
//! ```text
//!   submit ──> under way ──(latency)──> complete: visible ──sync──> durable
//!                  │                        │
//!             crash: none, all         power loss: none, all
//!             or a part of it          or a part of it
//! ```
//!
//! - A write through a file opened with `dsync` is durable when it completes; any other when a
//!   sync that was submitted after it completes.
//! - What is durable is never lost. What is not is kept, lost or torn by a power loss, each change
//!   on its own: later ones may be there where earlier ones are not. A torn write keeps some of its
//!   sectors, and may end inside one.
//! - Creating, renaming and removing are durable when a sync of the directory completes (for a
//!   rename: the one moved into). Until then each is kept or lost on its own. A file whose name is
//!   lost is lost with all that was written to it, however durable.
//! - An operation runs on when the task that asked for it is gone, as in a kernel.
//! - A sync that fails forgets what it was to write: it stays readable, is written by no later
//!   sync, and vanishes with the power.
//!
//! Not modelled: hard links, permissions, holes that cost nothing (a file is charged for its whole
//! length), writes by mapped memory, and caches that lie about a sync that succeeded.

mod control;
pub(crate) mod fs;
mod image;
mod namespace;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

pub use control::{DiskControl, DiskError, DiskFault, Operations, StoredFile};

use self::image::Change;
use self::namespace::{FileNode, LossPolicy, Namespace};
use super::choice::{Chance, Random, Traced, nanos};
use super::completion::{Completion, completion};
use super::core::Core;
use super::kernel::World;
use super::options::{DiskFaults, Loss};
use super::scheduler::Event;

/// What an operation does when its time has come; given why it failed, if it did.
type Work = Box<dyn FnOnce(&Disk, &Random, io::Result<()>)>;

/// An operation under way.
struct UnderWay {
    /// What a crash has to decide over: the change of a file that is being made.
    change: Option<(Rc<FileNode>, Change)>,
    operations: Operations,
    path: Rc<str>,
    range: Range<u64>,
    work: Work,
}

/// What is asked of the disk.
struct Request {
    operations: Operations,
    path: Rc<str>,
    /// The bytes of the file it is about.
    range: Range<u64>,
    change: Option<(Rc<FileNode>, Change)>,
}

/// One node's disk. Lives as long as the simulation, through crashes of the node.
pub(crate) struct Disk {
    node: Cell<u32>,
    names: Namespace,
    /// Counts files, operations and changes.
    numbers: Cell<u64>,
    used: Rc<Cell<u64>>,
    open_files: Rc<Cell<usize>>,
    under_way: RefCell<BTreeMap<u64, UnderWay>>,
    faults: RefCell<DiskFaults>,
    orders: RefCell<Vec<DiskFault>>,
    /// Until when operations of a kind get no answer, in virtual nanoseconds.
    stalls: RefCell<Vec<(Operations, u64)>>,
    slowness: Cell<u32>,
}

/// An error as the kernel would report it.
fn os_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Disk {
    pub fn new(node: u32, faults: DiskFaults) -> Disk {
        Disk {
            node: Cell::new(node),
            names: Namespace::new(),
            numbers: Cell::new(0),
            used: Rc::default(),
            open_files: Rc::default(),
            under_way: RefCell::default(),
            faults: RefCell::new(faults),
            orders: RefCell::default(),
            stalls: RefCell::default(),
            slowness: Cell::new(1),
        }
    }

    pub(super) fn set_node(&self, node: u32) {
        self.node.set(node);
    }

    fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    /// Bytes the disk has left.
    fn available(&self) -> u64 {
        self.faults.borrow().capacity.saturating_sub(self.used.get())
    }

    /// Bytes the disk has room for.
    fn capacity(&self) -> u64 {
        self.faults.borrow().capacity
    }

    /// How long an operation takes, before stalls.
    fn latency(&self, request: &Request, random: &Random) -> Duration {
        let faults = self.faults.borrow();
        let range = match request.operations {
            Operations::READ => &faults.read,
            Operations::WRITE => &faults.write,
            Operations::SYNC => &faults.sync,
            _ => &faults.names,
        };
        let bytes = request.range.end - request.range.start;
        let transfer = (u128::from(nanos(faults.mebibyte)) * u128::from(bytes)) >> 20;
        let transfer = Duration::from_nanos(u64::try_from(transfer).unwrap_or(u64::MAX));
        let times = if random.happens(faults.slow) { 100 } else { 1 };
        let times = self.slowness.get().saturating_mul(times);
        random.duration(range.start, range.end).saturating_add(transfer).saturating_mul(times)
    }

    /// Until when operations like this one get no answer.
    fn stalled_until(&self, operations: Operations) -> u64 {
        let stalls = self.stalls.borrow();
        let concerned = stalls.iter().filter(|(stalled, _)| stalled.overlaps(operations));
        concerned.map(|(_, until)| *until).max().unwrap_or(0)
    }

    /// Lets `work` happen after the disk's latency, and resolves to what it says.
    fn submit<T: 'static>(
        &self,
        core: &Core,
        request: Request,
        work: impl FnOnce(&Disk, &Random, io::Result<()>) -> io::Result<T> + 'static,
    ) -> Completion<io::Result<T>> {
        let world = &core.world;
        let operation = self.number();
        let latency = self.latency(&request, &world.random);
        let at = (world.now() + nanos(latency)).max(self.stalled_until(request.operations));
        let kind = u64::from(request.operations.bits());
        world.trace.record(Traced::DiskSubmit, operation, kind, request.range.start);
        let (completer, completion) = completion();
        let work: Work = Box::new(move |disk, random, fault| {
            completer.complete(work(disk, random, fault));
        });
        let Request { operations, path, range, change } = request;
        let under_way = UnderWay { change, operations, path, range, work };
        self.under_way.borrow_mut().insert(operation, under_way);
        world.add_event(at, Event::Disk { node: self.node.get(), operation });
        completion
    }

    /// Why an operation fails, if it is to: by order first, then by chance.
    fn fault(&self, under_way: &UnderWay, random: &Random) -> io::Result<()> {
        let mut orders = self.orders.borrow_mut();
        let concerned = |order: &DiskFault| {
            order.concerns(under_way.operations, &under_way.path, &under_way.range)
        };
        if let Some(found) = orders.iter().position(concerned) {
            let error = orders[found].error;
            if orders[found].used_up() {
                orders.remove(found);
            }
            return Err(error.into());
        }
        let faults = self.faults.borrow();
        let chance = match under_way.operations {
            Operations::READ => faults.read_error,
            Operations::WRITE => faults.write_error,
            Operations::SYNC => faults.sync_error,
            _ => Chance::NEVER,
        };
        if random.happens(chance) { Err(DiskError::InputOutput.into()) } else { Ok(()) }
    }

    /// An operation's time has come; one a crash has ended is no longer there.
    pub(super) fn complete(&self, world: &Rc<World>, operation: u64) {
        let found = self.under_way.borrow().get(&operation).map(|found| found.operations);
        let Some(operations) = found else { return };
        let stalled_until = self.stalled_until(operations);
        if stalled_until > world.now() {
            let event = Event::Disk { node: self.node.get(), operation };
            return world.add_event(stalled_until, event);
        }
        let Some(under_way) = self.under_way.borrow_mut().remove(&operation) else { return };
        let fault = self.fault(&under_way, &world.random);
        let failed = u64::from(fault.is_err());
        world.trace.record(Traced::DiskComplete, operation, failed, u64::from(self.node.get()));
        (under_way.work)(self, &world.random, fault);
    }

    /// Ends what is under way as a crash does, and with `Loss::Power` loses what was not durable.
    pub(super) fn crash(&self, world: &World, loss: Loss) {
        let random = &world.random;
        let mut changes: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
        for (_, interrupted) in std::mem::take(&mut *self.under_way.borrow_mut()) {
            match (interrupted.change, loss) {
                (Some((file, change)), Loss::Process) => {
                    file.apply_interrupted(self.number(), &change, random);
                }
                (Some((file, change)), Loss::Power) => {
                    changes.entry(file.number).or_default().push(change);
                }
                // Names change in one piece: now, or not at all.
                (None, _) if interrupted.operations == Operations::NAMES => {
                    if random.next_u64() & 1 == 0 {
                        (interrupted.work)(self, random, Ok(()));
                    }
                }
                (None, _) => {}
            }
        }
        self.stalls.borrow_mut().clear();
        if loss == Loss::Power {
            self.lose_power(random, &changes);
        }
        world.trace.record(Traced::DiskCrash, u64::from(self.node.get()), loss as u64, 0);
    }

    fn lose_power(&self, random: &Random, changes: &BTreeMap<u64, Vec<Change>>) {
        let faults = self.faults.borrow();
        // Everything, nothing, and shares between: each power loss has its own temper.
        let temper = |random: &Random| Chance::percent(25 * random.below(5) as u32);
        let names_kept = temper(random);
        self.names.lose_power(names_kept, random, |file| {
            let keep = temper(random);
            let whole = matches!(keep, Chance::NEVER | Chance::ALWAYS);
            let partial = if whole { Chance::NEVER } else { faults.torn };
            let loss = LossPolicy { keep, partial, torn_sector: faults.torn_inside };
            let under_way = changes.get(&file.number).map_or(&[][..], Vec::as_slice);
            file.lose_power(&loss, under_way, random);
        });
    }
}
