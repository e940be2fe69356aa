//! Rouses cores that sleep too long.
//!
//! An executor can park although it has something to do, and its own timers with it (see
//! [`super::timer`]): then nothing inside the core can wake it any more. So one thread a process
//! interrupts each core's sleep now and then. A sleep that is interrupted ends like any other: the
//! core looks at its rings and timers and goes back to sleep. A core that is busy does not notice.
//!
//! An idle core would notice most: what it does on its own is less than what these looks cost. A
//! core whose thread has had no processor since it was last roused has nothing left to be found, so
//! it is left asleep, but for now and then ([`RESTS_MAX`]).

use super::run_queue::Account;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

/// Between two interruptions: the longest that a core can oversleep.
const INTERVAL: Duration = Duration::from_millis(50);

/// An idle core is left asleep for so many looks in a row.
const RESTS_MAX: u32 = 20;

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
        let mut looks: Vec<Look> = self.threads.iter().map(|_| Look::default()).collect();
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::park_timeout(INTERVAL);
            for (thread, look) in self.threads.iter().zip(&mut looks) {
                let thread = thread.load(Ordering::Relaxed);
                if thread != 0 && look.wants_rousing(thread) {
                    // SAFETY: sends a signal to a thread of this process; one that has ended is
                    // an error that changes nothing.
                    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) };
                }
            }
        }
    }
}

/// What the rousing thread knows of one core.
#[derive(Default)]
struct Look {
    account: Option<Account>,
    turns: Option<u64>,
    /// Whether the core was roused at the last look, which is a turn that tells nothing.
    roused: bool,
    rests: u32,
}

impl Look {
    /// Whether the core's thread is to be roused.
    fn wants_rousing(&mut self, thread: libc::pid_t) -> bool {
        if self.account.is_none() {
            self.account = Account::of(thread);
        }
        let turns = self.account.as_ref().and_then(Account::turns);
        self.judge(turns)
    }

    /// `turns` says how often the thread has had a processor; none where the kernel does not tell.
    fn judge(&mut self, turns: Option<u64>) -> bool {
        let rested = match (turns, self.turns) {
            (Some(now), Some(before)) => now.wrapping_sub(before) <= u64::from(self.roused),
            _ => false,
        };
        self.turns = turns;
        self.roused = !rested || self.rests == RESTS_MAX;
        self.rests = if self.roused { 0 } else { self.rests + 1 };
        self.roused
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_has_not_run_is_left_asleep() {
        let mut look = Look::default();
        assert!(look.judge(Some(7)), "at first");
        assert!(!look.judge(Some(8)), "it has run because it was roused");
        assert!(!look.judge(Some(8)), "it has not run");
        assert!(look.judge(Some(9)), "it has run by itself");
        assert!(look.judge(Some(11)), "and once more than it was roused");
        for rest in 0..RESTS_MAX - 1 {
            assert!(!look.judge(Some(12)), "rest {rest}");
        }
        assert!(!look.judge(Some(12)) && look.judge(Some(12)), "but not for ever");
    }

    #[test]
    fn a_core_of_which_nothing_is_known_is_roused() {
        let mut look = Look::default();
        assert!(look.judge(None) && look.judge(None) && look.judge(Some(3)) && look.judge(None));
    }

    #[test]
    fn the_kernel_counts_a_threads_turns() {
        // SAFETY: takes no arguments and cannot fail.
        let thread = unsafe { libc::gettid() };
        let account = Account::of(thread).expect("the kernel keeps an account");
        let before = account.turns().expect("a number");
        for _ in 0..3 {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let after = account.turns().expect("a number");
        assert!(after >= before + 3, "{before} turns, then {after}");
    }
}
