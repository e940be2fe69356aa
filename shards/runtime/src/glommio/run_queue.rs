//! How long a core's thread could have run and did not: the kernel ran another one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Three numbers of at most 20 digits.
const LINE_BYTES: usize = 64;

thread_local! {
    /// The kernel's account of this thread. It stays open: a look is one system call.
    static ACCOUNT: Option<File> = File::open("/proc/thread-self/schedstat").ok();
}

/// The time that this thread has waited for a processor in its life; zero where the kernel keeps no
/// account.
pub(crate) fn waited() -> Duration {
    ACCOUNT.with(|account| account.as_ref().and_then(read).unwrap_or_default())
}

/// The second number: nanoseconds in the run queue.
fn read(account: &File) -> Option<Duration> {
    let mut line = [0; LINE_BYTES];
    let length = account.read_at(&mut line, 0).ok()?;
    let text = std::str::from_utf8(&line[..length]).ok()?;
    text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}
