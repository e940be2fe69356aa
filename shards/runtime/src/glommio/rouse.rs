//! Rouses cores that sleep too long.
//!
//! An executor can park although it has something to do, and its own timers with it (see
//! [`super::timer`]): then nothing inside the core can wake it any more. So one thread a process
//! interrupts each core's sleep now and then. A sleep that is interrupted ends like any other: the
//! core looks at its rings and timers and goes back to sleep. A core that is busy does not notice.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

/// Between two interruptions: the longest that a core can oversleep.
const INTERVAL: Duration = Duration::from_millis(50);

/// Ignored by default, so that a late one does no harm.
const SIGNAL: libc::c_int = libc::SIGURG;

/// The cores that are to be roused, by their kernel threads. Zero is a core that does not run.
#[derive(Clone)]
pub(super) struct Sleepers {
    threads: Arc<[AtomicI32]>,
    ended: Arc<AtomicBool>,
}

impl Sleepers {
    pub(super) fn new(cores: u16) -> Sleepers {
        let threads = (0..cores).map(|_| AtomicI32::new(0)).collect();
        Sleepers { threads, ended: Arc::default() }
    }

    /// Called on a core's thread before it runs.
    pub(super) fn enter(&self, core: u16) {
        // SAFETY: takes no arguments and cannot fail.
        let thread = unsafe { libc::gettid() };
        self.threads[usize::from(core)].store(thread, Ordering::Relaxed);
    }

    /// Called on a core's thread when it has run.
    pub(super) fn leave(&self, core: u16) {
        self.threads[usize::from(core)].store(0, Ordering::Relaxed);
    }

    /// No core will run any more: the rousing thread ends within an interval.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The rousing thread.
    pub(super) fn run(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::park_timeout(INTERVAL);
            for thread in self.threads.iter() {
                let thread = thread.load(Ordering::Relaxed);
                if thread != 0 {
                    // SAFETY: sends a signal to a thread of this process; one that has ended is
                    // an error that changes nothing.
                    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) };
                }
            }
        }
    }
}

/// Gives the signal a handler that does nothing: without one it would not interrupt.
pub(super) fn install() -> io::Result<()> {
    extern "C" fn nothing(_signal: libc::c_int) {}
    // SAFETY: a zeroed `sigaction` is valid: no flags (so that system calls are interrupted), an
    // empty mask; the handler is a function of the type that the kernel calls.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(SIGNAL, &action, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
