//! Kernel, processors, memory, limits and clocks.

use std::path::Path;

use config::{ByteSize, CeilingOrigin, memory_ceiling};
use rustix::process::{Resource, getrlimit};

use super::Finding;

/// The executors need this kernel.
const KERNEL_MIN: (u32, u32) = (5, 8);
/// From here on the network ring can use all it knows of.
const KERNEL_GOOD: (u32, u32) = (6, 1);
/// Each executor locks its rings in memory.
const LOCKED_MEMORY_MIN: u64 = 512 << 10;
/// Files a node opens apart from its connections: segments, table files, rings.
const FILES_OF_THE_NODE: u64 = 2048;

/// The kernel's version.
pub(super) fn kernel() -> Finding {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    judge_kernel(&release)
}

fn judge_kernel(release: &str) -> Finding {
    const SUBJECT: &str = "kernel";
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < KERNEL_MIN {
        Finding::lack(
            SUBJECT,
            release,
            format!("run Linux {}.{} or later", KERNEL_MIN.0, KERNEL_MIN.1),
        )
    } else if version < KERNEL_GOOD {
        let mend = format!(
            "Linux {}.{} or later serves connections with less work",
            KERNEL_GOOD.0, KERNEL_GOOD.1
        );
        Finding::warning(SUBJECT, release, mend)
    } else {
        Finding::good(SUBJECT, release)
    }
}

/// Whether the kernel lets this process make a submission ring.
pub(super) fn ring() -> Finding {
    const SUBJECT: &str = "io_uring";
    match runtime::glommio::probe() {
        Ok(()) => Finding::good(SUBJECT, "available"),
        Err(error) => Finding::lack(
            SUBJECT,
            format!("not available: {error}"),
            "sysctl kernel.io_uring_disabled=0; in a container allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile",
        ),
    }
}

/// Processors, and the quota of the control group over them.
pub(super) fn cores(root: &Path, wanted: u16) -> Finding {
    const SUBJECT: &str = "cores";
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let quota = fs_err::read_to_string(root.join("sys/fs/cgroup/cpu.max"))
        .ok()
        .and_then(|text| parse_quota(&text));
    let found = format!("{wanted} wanted, {processors} processors");
    if let Some(quota) = quota.filter(|quota| *quota < f64::from(wanted)) {
        let mend = format!(
            "the control group grants {quota:.1} processors: set --cores accordingly, or raise cpu.max"
        );
        return Finding::warning(SUBJECT, found, mend);
    }
    if usize::from(wanted) > processors {
        let mend = "cores that share a processor are not pinned; set --cores to the processors for full speed";
        return Finding::warning(SUBJECT, found, mend);
    }
    Finding::good(SUBJECT, found)
}

/// `max 100000` is no quota, `150000 100000` is one and a half processors.
fn parse_quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

/// The memory there is, against the budget.
pub(super) fn memory(budget: ByteSize) -> Finding {
    const SUBJECT: &str = "memory";
    let ceiling = match memory_ceiling() {
        Ok(ceiling) => ceiling,
        Err(error) => return Finding::warning(SUBJECT, error.to_string(), "set --memory"),
    };
    let found = format!("budget {budget}, ceiling {ceiling}");
    // Rings, stacks and the allocator's slack come on top of the budget.
    if budget.as_u64() > ceiling.size.as_u64() / 10 * 9 {
        let mend = match ceiling.origin {
            CeilingOrigin::Ram => "lower --memory to leave room for the kernel",
            CeilingOrigin::ControlGroup(_) => "lower --memory, or raise the control group's limit",
        };
        return Finding::lack(SUBJECT, found, mend);
    }
    Finding::good(SUBJECT, found)
}

/// Memory the executors may lock.
pub(super) fn locked_memory() -> Finding {
    const SUBJECT: &str = "memlock";
    let limit = getrlimit(Resource::Memlock);
    let shown = |limit: Option<u64>| {
        limit.map_or("unlimited".into(), |bytes| format!("{} KiB", bytes >> 10))
    };
    let found = format!("{} now, up to {}", shown(limit.current), shown(limit.maximum));
    let enough = |limit: Option<u64>| limit.is_none_or(|bytes| bytes >= LOCKED_MEMORY_MIN);
    // The node raises the soft limit itself as far as the hard one lets it.
    if enough(limit.maximum) {
        return Finding::good(SUBJECT, found);
    }
    Finding::lack(
        SUBJECT,
        found,
        "raise it: `ulimit -l unlimited`, LimitMEMLOCK=infinity in the systemd unit, or memlock in /etc/security/limits.conf",
    )
}

/// Files and sockets the node may open.
pub(super) fn open_files(connections_max: u32) -> Finding {
    const SUBJECT: &str = "nofile";
    let limit = getrlimit(Resource::Nofile);
    let shown = |limit: Option<u64>| limit.map_or("unlimited".into(), |count| count.to_string());
    let found = format!("{} now, up to {}", shown(limit.current), shown(limit.maximum));
    let wanted = u64::from(connections_max) + FILES_OF_THE_NODE;
    if limit.maximum.is_none_or(|count| count >= wanted) {
        return Finding::good(SUBJECT, found);
    }
    let mend = format!(
        "{connections_max} connections want {wanted}: `ulimit -n {wanted}`, LimitNOFILE={wanted} in the systemd unit, or lower --connections-max"
    );
    Finding::warning(SUBJECT, found, mend)
}

/// Reading the clock must not be a system call.
pub(super) fn clock_source(root: &Path) -> Finding {
    const SUBJECT: &str = "clock source";
    let path = root.join("sys/devices/system/clocksource/clocksource0/current_clocksource");
    match fs_err::read_to_string(path) {
        Ok(text) => match text.trim() {
            source @ ("tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter") => {
                Finding::good(SUBJECT, source)
            }
            source => Finding::warning(
                SUBJECT,
                source,
                "reading this clock is slow; see /sys/devices/system/clocksource/clocksource0/available_clocksource for tsc",
            ),
        },
        Err(error) => {
            Finding::warning(SUBJECT, error.to_string(), "make sure that the clock source is tsc")
        }
    }
}

/// Whether somebody keeps the wall clock right.
pub(super) fn clock_synchronization() -> Finding {
    const SUBJECT: &str = "clock";
    // SAFETY: `timex` is plain old data for which all zeros is a valid value; with `modes` 0 the
    // call only reads, and it writes to nothing but the struct it is given.
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&mut timex)
    };
    match state {
        libc::TIME_ERROR => Finding::warning(
            SUBJECT,
            "not synchronized",
            "run chrony or systemd-timesyncd: a cluster's nodes must agree on the time",
        ),
        -1 => Finding::warning(
            SUBJECT,
            std::io::Error::last_os_error().to_string(),
            "make sure that chrony or systemd-timesyncd runs",
        ),
        _ => Finding::good(SUBJECT, "synchronized"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn kernels() {
        for (release, verdict) in [
            ("6.18.44-fc", Verdict::Good),
            ("6.1.0", Verdict::Good),
            ("5.15.0-91-generic", Verdict::Warning),
            ("5.4.0", Verdict::Lack),
            ("nonsense", Verdict::Lack),
        ] {
            assert_eq!(judge_kernel(release).verdict, verdict, "{release}");
        }
    }

    #[test]
    fn quotas() {
        assert_eq!(parse_quota("max 100000\n"), None);
        assert_eq!(parse_quota("150000 100000\n"), Some(1.5));
        assert_eq!(parse_quota("1 0"), None);
        assert_eq!(parse_quota(""), None);
    }

    #[test]
    fn clock_sources() {
        let root = tempfile::tempdir().expect("directory");
        let directory = root.path().join("sys/devices/system/clocksource/clocksource0");
        fs_err::create_dir_all(&directory).expect("directories");
        for (source, verdict) in [("tsc\n", Verdict::Good), ("acpi_pm\n", Verdict::Warning)] {
            fs_err::write(directory.join("current_clocksource"), source).expect("file");
            assert_eq!(clock_source(root.path()).verdict, verdict);
        }
    }

    #[test]
    fn a_budget_beyond_the_ceiling_is_a_lack() {
        assert_eq!(memory(ByteSize::bytes(u64::MAX)).verdict, Verdict::Lack);
        assert_eq!(memory(ByteSize::mib(64)).verdict, Verdict::Good);
    }
}
