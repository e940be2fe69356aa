//! One core's network ring.
//!
//! Every socket of the core has a slot here. What a task wants is queued; the pump submits all
//! that is queued with one system call, and hands what has completed to the slots, which wake the
//! tasks that wait. A slot is freed when its owner has let go of it *and* no request of it is with
//! the kernel: the memory that requests point to lives in the slot.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::Waker;

use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};

use super::buffers::{self, Buffers};
use super::connection::Connection;
use super::listener::Listening;

/// Requests that can be queued before they must be submitted.
const QUEUE: u32 = 1024;

/// Completions that the kernel can put down before it must set them aside.
const COMPLETIONS: u32 = 8192;

/// A ring, shared by the handles of its core.
pub(super) type Shared = Rc<RefCell<Ring>>;

/// What a request was for; together with its slot it is the request's name.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Receive = 1,
    Send = 2,
    Accept = 3,
    Connect = 4,
    Cancel = 5,
}

/// What the kernel says of a request.
#[derive(Copy, Clone)]
pub(super) struct Completion {
    name: u64,
    /// A count or descriptor, or an error number below zero.
    pub(super) result: i32,
    flags: u32,
}

impl Completion {
    /// Whether the request goes on and will complete again.
    pub(super) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    fn slot(self) -> u32 {
        (self.name >> 8) as u32
    }

    fn operation(self) -> Operation {
        match self.name & 0xff {
            1 => Operation::Receive,
            2 => Operation::Send,
            3 => Operation::Accept,
            4 => Operation::Connect,
            5 => Operation::Cancel,
            other => panic!("the kernel completed a request of kind {other}"),
        }
    }
}

pub(super) enum Slot {
    Connection(Connection),
    Listening(Listening),
}

/// The sockets of one core.
pub(super) struct Ring {
    // Declared before the buffers: it is dropped before them.
    ring: IoUring,
    buffers: Buffers,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    completed: Vec<Completion>,
    queue: Queue,
}

/// Requests on their way to the kernel, and who takes them there.
#[derive(Default)]
struct Queue {
    /// What did not fit into the submission queue, for the next turns.
    backlog: VecDeque<Entry>,
    pump: Option<Waker>,
    kicked: bool,
}

impl Ring {
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .setup_clamp()
            .build(QUEUE)?;
        let buffers = Buffers::register(&ring)?;
        Ok(Self {
            ring,
            buffers,
            slots: Vec::new(),
            free: Vec::new(),
            completed: Vec::new(),
            queue: Queue::default(),
        })
    }

    /// Lets the kernel count completions on `event` while the eventfd is enabled.
    pub(super) fn register_event(&self, event: i32) -> io::Result<()> {
        self.ring.submitter().register_eventfd(event)
    }

    /// Gives a socket a slot.
    pub(super) fn insert(&mut self, slot: Slot) -> u32 {
        match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = Some(slot);
                id
            }
            None => {
                let id = u32::try_from(self.slots.len()).expect("fewer sockets than descriptors");
                self.slots.push(Some(slot));
                id
            }
        }
    }

    /// Whether any socket is left.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// The connection in a slot and what it needs to make requests.
    pub(super) fn connection(&mut self, id: u32) -> (&mut Connection, Requests<'_>) {
        let requests = Requests { ring: &mut self.ring, queue: &mut self.queue, slot: id };
        match self.slots[id as usize].as_mut() {
            Some(Slot::Connection(connection)) => (connection, requests),
            _ => panic!("slot {id} is no connection"),
        }
    }

    /// The listener in a slot and what it needs to make requests.
    pub(super) fn listening(&mut self, id: u32) -> (&mut Listening, Requests<'_>) {
        let requests = Requests { ring: &mut self.ring, queue: &mut self.queue, slot: id };
        match self.slots[id as usize].as_mut() {
            Some(Slot::Listening(listening)) => (listening, requests),
            _ => panic!("slot {id} is no listener"),
        }
    }

    /// Frees a slot if nobody needs it any more.
    pub(super) fn release(&mut self, id: u32) {
        let done = match &self.slots[id as usize] {
            Some(Slot::Connection(connection)) => connection.is_done(),
            Some(Slot::Listening(listening)) => listening.is_done(),
            None => false,
        };
        if done {
            self.slots[id as usize] = None;
            self.free.push(id);
        }
    }

    /// Says who turns the ring.
    pub(super) fn pumped_by(&mut self, waker: &Waker) {
        self.queue.kicked = false;
        match &mut self.queue.pump {
            Some(known) => known.clone_from(waker),
            None => self.queue.pump = Some(waker.clone()),
        }
    }

    /// Wakes whoever turns the ring.
    pub(super) fn nudge(&self) {
        if let Some(pump) = &self.queue.pump {
            pump.wake_by_ref();
        }
    }

    /// Submits what is queued and hands out what has completed. Returns whether there was any.
    pub(super) fn turn(&mut self) -> bool {
        while let Some(entry) = self.queue.backlog.front() {
            // SAFETY: as when it was put there.
            if unsafe { self.ring.submission().push(entry) }.is_err() {
                break;
            }
            self.queue.backlog.pop_front();
        }
        let submitted = enter(&mut self.ring);
        let mut completed = std::mem::take(&mut self.completed);
        completed.extend(self.ring.completion().map(|entry| Completion {
            name: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
        let any = !completed.is_empty();
        for completion in completed.drain(..) {
            self.complete(completion);
        }
        self.completed = completed;
        if any {
            self.buffers.publish();
        }
        any || submitted
    }

    fn complete(&mut self, completion: Completion) {
        let id = completion.slot();
        let operation = completion.operation();
        let mut requests = Requests { ring: &mut self.ring, queue: &mut self.queue, slot: id };
        let received = cqueue::buffer_select(completion.flags);
        match self.slots[id as usize].as_mut() {
            Some(Slot::Connection(connection)) => {
                let len = usize::try_from(completion.result).unwrap_or(0);
                let bytes = received.map_or(&[][..], |buffer| self.buffers.bytes(buffer, len));
                connection.complete(operation, completion, bytes, &mut requests);
            }
            Some(Slot::Listening(listening)) => {
                listening.complete(operation, completion, &mut requests);
            }
            None => panic!("{operation:?} completed for slot {id}, which is free"),
        }
        if let Some(buffer) = received {
            self.buffers.put(buffer);
        }
        self.release(id);
    }

    /// Lets the kernel count completions for the waker, or not.
    pub(super) fn enable_event(&mut self, enable: bool) {
        let completions = self.ring.completion();
        if enable {
            completions.enable_eventfd();
        } else {
            completions.disable_eventfd();
        }
    }

    /// Whether a turn would find something: checked once more after the eventfd was enabled.
    pub(super) fn has_work(&mut self) -> bool {
        let waiting = {
            let queue = self.ring.submission();
            !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
        };
        waiting || !self.queue.backlog.is_empty() || !self.ring.completion().is_empty()
    }
}

/// Tells the kernel of what is queued, if there is any or it asks for the call. Returns whether
/// something was submitted.
fn enter(ring: &mut IoUring) -> bool {
    let (queued, asked) = {
        let queue = ring.submission();
        (queue.len(), queue.taskrun() || queue.cq_overflow())
    };
    if queued == 0 && !asked {
        return false;
    }
    // At most `QUEUE` entries.
    let count = queued as u32;
    // SAFETY: entries point to memory of their slots, which live until they complete; no signal
    // mask is passed.
    let entered = unsafe {
        ring.submitter().enter::<libc::sigset_t>(count, 0, EnterFlags::GETEVENTS.bits(), None)
    };
    match entered {
        Ok(_) => {}
        // The kernel is short of memory or waits for us to take completions: the next turn asks
        // again.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
        Err(error) => panic!("the network ring is broken: {error}"),
    }
    queued > 0
}

/// Where a socket puts its requests.
pub(super) struct Requests<'a> {
    ring: &'a mut IoUring,
    queue: &'a mut Queue,
    slot: u32,
}

impl Requests<'_> {
    /// Queues a request that completes as `operation` of this slot.
    ///
    /// # Safety
    /// What `entry` points to must live and not move until it has completed.
    unsafe fn push(&mut self, operation: Operation, entry: Entry) {
        let entry = entry.user_data(u64::from(self.slot) << 8 | operation as u64);
        // SAFETY: by the caller.
        let push = |ring: &mut IoUring| unsafe { ring.submission().push(&entry) }.is_ok();
        let room = self.queue.backlog.is_empty();
        let queued = room && (push(self.ring) || (enter(self.ring) && push(self.ring)));
        if !queued {
            // Bounded by the sockets: each has a handful of requests at most.
            self.queue.backlog.push_back(entry);
        }
        if !std::mem::replace(&mut self.queue.kicked, true)
            && let Some(pump) = &self.queue.pump
        {
            pump.wake_by_ref();
        }
    }

    /// Receives again and again, into the core's buffers.
    pub(super) fn receive(&mut self, fd: i32) {
        let entry = opcode::RecvMulti::new(Fd(fd), buffers::GROUP).build();
        // SAFETY: it points to nothing.
        unsafe { self.push(Operation::Receive, entry) }
    }

    /// Accepts again and again.
    pub(super) fn accept(&mut self, fd: i32) {
        let entry = opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: it points to nothing.
        unsafe { self.push(Operation::Accept, entry) }
    }

    /// Connects to the address at `name`.
    ///
    /// # Safety
    /// The address must live and not move until this has completed.
    pub(super) unsafe fn connect(
        &mut self,
        fd: i32,
        name: *const libc::sockaddr,
        len: libc::socklen_t,
    ) {
        let entry = opcode::Connect::new(Fd(fd), name, len).build();
        // SAFETY: by the caller.
        unsafe { self.push(Operation::Connect, entry) }
    }

    /// Sends `len` bytes at `bytes`.
    ///
    /// # Safety
    /// The bytes must live and not move until this has completed.
    pub(super) unsafe fn send(&mut self, fd: i32, bytes: *const u8, len: usize) {
        // A longer piece is sent short, and the rest then.
        let len = u32::try_from(len).unwrap_or(1 << 30);
        let entry = opcode::Send::new(Fd(fd), bytes, len)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        // SAFETY: by the caller.
        unsafe { self.push(Operation::Send, entry) }
    }

    /// Sends what `message` lists.
    ///
    /// # Safety
    /// The message, its list and its bytes must live and not move until this has completed.
    pub(super) unsafe fn send_gathered(&mut self, fd: i32, message: *const libc::msghdr) {
        let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32;
        let entry = opcode::SendMsg::new(Fd(fd), message).flags(flags).build();
        // SAFETY: by the caller.
        unsafe { self.push(Operation::Send, entry) }
    }

    /// Cancels one of this slot's requests; it completes with `ECANCELED` unless it was faster.
    pub(super) fn cancel(&mut self, operation: Operation) {
        let name = u64::from(self.slot) << 8 | operation as u64;
        let entry = opcode::AsyncCancel::new(name).build();
        // SAFETY: it points to nothing.
        unsafe { self.push(Operation::Cancel, entry) }
    }

    /// Cancels all requests on a descriptor.
    pub(super) fn cancel_all(&mut self, fd: i32) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(fd)).all()).build();
        // SAFETY: it points to nothing.
        unsafe { self.push(Operation::Cancel, entry) }
    }
}
