//! The kernel's account of a core's thread: how long it could have run and did not, because the
//! kernel ran another one, and how often it has run.
//!
//! Source: `Documentation/scheduler/sched-stats.rst` of the kernel, `/proc/<pid>/schedstat`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Three numbers of at most 20 digits.
const LINE_BYTES: usize = 64;

/// The account of one thread. It stays open: a look is one system call.
pub(crate) struct Account(File);

impl Account {
    /// That of the calling thread; none where the kernel keeps no account.
    fn own() -> Option<Account> {
        File::open("/proc/thread-self/schedstat").ok().map(Account)
    }

    /// That of a thread of this process.
    pub(crate) fn of(thread: libc::pid_t) -> Option<Account> {
        File::open(format!("/proc/self/task/{thread}/schedstat")).ok().map(Account)
    }

    /// The second number: nanoseconds in the run queue.
    fn waited(&self) -> Option<Duration> {
        self.number(1).map(Duration::from_nanos)
    }

    /// The third number: how often the thread was given a processor.
    pub(crate) fn turns(&self) -> Option<u64> {
        self.number(2)
    }

    fn number(&self, place: usize) -> Option<u64> {
        let mut line = [0; LINE_BYTES];
        let length = self.0.read_at(&mut line, 0).ok()?;
        let text = std::str::from_utf8(&line[..length]).ok()?;
        text.split_whitespace().nth(place)?.parse().ok()
    }
}

thread_local! {
    static OWN: Option<Account> = Account::own();
}

/// The time that this thread has waited for a processor in its life; zero where the kernel keeps no
/// account.
pub(crate) fn waited() -> Duration {
    OWN.with(|own| own.as_ref().and_then(Account::waited).unwrap_or_default())
}
