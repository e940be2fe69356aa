//! Starting and ending the cores.

use std::io;
use std::mem::MaybeUninit;
use std::sync::mpsc;
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder};

use super::rouse::{self, Sleepers};
use super::{net, spawn, timer};
use crate::task::{Panicked, Steps};
use crate::watchdog;
use crate::world::{self, BoxLocalFuture, World};

/// The most cores one node can have.
pub const CORES_MAX: u16 = 64;

/// The executor refuses to start with less memory that may be locked than this, in bytes.
const MEMLOCK_MIN: u64 = 512 << 10;

/// Which processor a core's thread runs on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Pinned if the cores take all processors that the process may use, else unbound: which of them others
    /// use, another node among them, only the kernel knows.
    Auto,
    /// Each on a processor of its own.
    Pinned,
    /// Wherever the kernel likes.
    Unbound,
}

/// How the cores are made.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many, 1 to 64.
    pub cores: u16,
    /// Where they run.
    pub placement: Placement,
    /// How long tasks run before the executor looks at its rings. Below 1 ms its lost wake-up
    /// becomes likely.
    pub preempt_timer: Duration,
    /// Bytes a core registers with the kernel for disk reads; more is allocated when needed.
    pub io_memory: usize,
    /// Entries in each of a core's submission queues.
    pub ring_depth: usize,
}

impl Default for Options {
    /// One core, placed automatically, 1 ms, 1 MiB, 128 entries.
    fn default() -> Self {
        Self {
            cores: 1,
            placement: Placement::Auto,
            preempt_timer: Duration::from_millis(1),
            io_memory: 1 << 20,
            ring_depth: 128,
        }
    }
}

/// Runs `f(core)` on each core until all are done, and returns what they returned, by core. Tasks
/// that are left on a core when its future is done are dropped. Raises the limits of locked memory
/// and of open files first.
///
/// # Errors
/// If the options make no sense, memory may not be locked, or an executor cannot be made: then no
/// future has run. If a future panics, that core ends; the error is returned when the others have
/// ended too, which they learn from a [`crate::mesh`] that says closed.
pub fn run<T: Send>(
    options: Options,
    f: impl Fn(u16) -> BoxLocalFuture<T> + Send + Clone,
) -> io::Result<Vec<T>> {
    if options.cores == 0 || options.cores > CORES_MAX {
        let problem = format!("{} cores: 1 to {CORES_MAX} are possible", options.cores);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    raise_memlock()?;
    raise_open_files()?;
    rouse::install()?;
    let processors = placement(&options)?;
    let sleepers = Sleepers::new(options.cores);
    std::thread::scope(|scope| {
        let (ready, started) = mpsc::channel();
        let mut starts = Vec::new();
        let mut threads = Vec::new();
        for core in 0..options.cores {
            let (start, go) = mpsc::sync_channel::<()>(1);
            let (ready, options, f) = (ready.clone(), options.clone(), f.clone());
            let sleepers = sleepers.clone();
            let processor = processors.get(usize::from(core)).copied();
            let body = move || {
                let made = make_executor(&options, core, processor);
                let (executor, failure) = match made {
                    Ok(executor) => (Some(executor), None),
                    Err(error) => (None, Some(error)),
                };
                // Both ends live as long as `run` waits: these fail only after it gave up.
                let told = ready.send(failure).is_ok();
                drop(ready);
                match executor {
                    Some(executor) if told && go.recv().is_ok() => {
                        sleepers.enter(core);
                        let result = live(&executor, core, f);
                        sleepers.leave(core);
                        Some(result)
                    }
                    _ => None,
                }
            };
            let thread = std::thread::Builder::new()
                .name(format!("core-{core}"))
                .spawn_scoped(scope, body)?;
            starts.push(start);
            threads.push(thread);
        }
        drop(ready);
        if let Some(error) = started.iter().flatten().next() {
            drop(starts);
            return Err(error);
        }
        for start in starts {
            if start.send(()).is_err() {
                return Err(io::Error::other("a core ended before it began"));
            }
        }
        let rousing = sleepers.clone();
        let rouser = std::thread::Builder::new()
            .name("rouser".to_owned())
            .spawn_scoped(scope, move || rousing.run())?;
        let mut results = Vec::with_capacity(threads.len());
        let mut failure = None;
        for thread in threads {
            match thread.join() {
                Ok(Some(Ok(result))) => results.push(result),
                Ok(Some(Err(panicked))) => failure = Some(io::Error::other(panicked)),
                Ok(None) => failure = Some(io::Error::other("a core did not run")),
                Err(_payload) => failure = Some(io::Error::other("a core's executor panicked")),
            }
        }
        sleepers.end();
        rouser.thread().unpark();
        failure.map_or(Ok(results), Err)
    })
}

/// Makes the executor of one core, on its thread, then pins the thread. In this order: the helper
/// threads that come with the executor would inherit the pin, and starve beside a busy core.
fn make_executor(
    options: &Options,
    core: u16,
    processor: Option<usize>,
) -> io::Result<LocalExecutor> {
    let executor = LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .name(&format!("core-{core}"))
        .io_memory(options.io_memory)
        .ring_depth(options.ring_depth)
        .preempt_timer(options.preempt_timer)
        .make()
        .map_err(|error| {
            io::Error::other(format!("the executor of core {core} cannot be made: {error}"))
        })?;
    if let Some(processor) = processor {
        pin(processor)?;
    }
    Ok(executor)
}

/// Runs one core from its first step to its last.
fn live<T>(
    executor: &LocalExecutor,
    core: u16,
    f: impl Fn(u16) -> BoxLocalFuture<T>,
) -> Result<T, Panicked> {
    let _world = world::enter(World::Glommio);
    watchdog::clear();
    executor.run(async {
        let driver = glommio::spawn_local(timer::Driver::new());
        let result = Steps::new("core", async { f(core).await }).await;
        spawn::cancel_all();
        net::end().await;
        timer::clear();
        driver.cancel().await;
        watchdog::clear();
        result
    })
}

/// Lets this process lock as much memory as it may.
fn raise_memlock() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the call to fill.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let hard = limit.rlim_max;
    for want in [libc::RLIM_INFINITY, hard] {
        let wanted = libc::rlimit { rlim_cur: want, rlim_max: want };
        // SAFETY: `wanted` is valid for the call to read.
        if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &wanted) } == 0 {
            limit = wanted;
            break;
        }
    }
    if limit.rlim_cur < MEMLOCK_MIN {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "this process may lock {} bytes of memory and needs {MEMLOCK_MIN}: set \
                 LimitMEMLOCK=infinity in its systemd unit, `* hard memlock unlimited` in \
                 /etc/security/limits.conf, or start the container with --ulimit memlock=-1",
                limit.rlim_cur
            ),
        ));
    }
    Ok(())
}

/// Lets this process open as many files and sockets as it may: the usual first limit of 1,024 is
/// no server's.
fn raise_open_files() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the call to fill.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is valid for the call to read.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The processors to pin the cores to; empty for none.
fn placement(options: &Options) -> io::Result<Vec<usize>> {
    choose(options.placement, usize::from(options.cores), allowed_processors()?)
}

/// Those of the processors that a process may use to which its cores are pinned.
fn choose(placement: Placement, cores: usize, mut allowed: Vec<usize>) -> io::Result<Vec<usize>> {
    match placement {
        Placement::Unbound => Ok(Vec::new()),
        Placement::Auto if allowed.len() != cores => Ok(Vec::new()),
        Placement::Pinned if allowed.len() < cores => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{cores} pinned cores on {} processors", allowed.len()),
        )),
        Placement::Auto | Placement::Pinned => {
            allowed.truncate(cores);
            Ok(allowed)
        }
    }
}

/// The processors that this thread may run on.
fn allowed_processors() -> io::Result<Vec<usize>> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: `set` has the size that is said, and zero bytes are a valid, empty set.
    let set = unsafe {
        if libc::sched_getaffinity(0, size, set.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        set.assume_init()
    };
    // SAFETY: the number is below the set's size in bits.
    let is_allowed = |&n: &usize| unsafe { libc::CPU_ISSET(n, &set) };
    Ok((0..libc::CPU_SETSIZE as usize).filter(is_allowed).collect())
}

/// Keeps this thread on one processor.
fn pin(processor: usize) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: zero bytes are a valid, empty set; the number came from such a set; and the set has
    // the size that is said.
    let failed = unsafe {
        libc::CPU_SET(processor, set.assume_init_mut());
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set.as_ptr())
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Several nodes of a few cores each on one machine would all take its first processors.
    #[test]
    fn cores_that_leave_processors_over_are_placed_by_the_kernel() {
        let chosen = |placement, cores| choose(placement, cores, vec![1, 3, 5]).ok();
        assert_eq!(chosen(Placement::Auto, 1), Some(Vec::new()));
        assert_eq!(chosen(Placement::Auto, 3), Some(vec![1, 3, 5]));
        assert_eq!(chosen(Placement::Auto, 4), Some(Vec::new()));
        assert_eq!(chosen(Placement::Pinned, 2), Some(vec![1, 3]));
        assert_eq!(chosen(Placement::Pinned, 4), None);
        assert_eq!(chosen(Placement::Unbound, 3), Some(Vec::new()));
    }
}
