//! How much memory this process may use: the smallest of the host's RAM and the limits of the
//! control groups it lives in (v2 and v1), each ancestor included.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::ByteSize;

/// Where the ceiling comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CeilingOrigin {
    /// `MemTotal` of `/proc/meminfo`.
    Ram,
    /// The limit file of a control group.
    ControlGroup(PathBuf),
}

/// The most memory this process can have before the kernel kills it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryCeiling {
    /// The bytes.
    pub size: ByteSize,
    /// What sets it.
    pub origin: CeilingOrigin,
}

impl fmt::Display for MemoryCeiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.size.as_u64() >> 20;
        match &self.origin {
            CeilingOrigin::Ram => write!(f, "{mib}MiB, the RAM of this host"),
            CeilingOrigin::ControlGroup(path) => {
                write!(f, "{mib}MiB, the limit in {}", path.display())
            }
        }
    }
}

/// Looks at this host.
///
/// # Errors
/// `/proc/meminfo` cannot be read or has no `MemTotal`. Control groups that cannot be read set
/// no limit: hosts without them are common.
pub fn ceiling() -> io::Result<MemoryCeiling> {
    ceiling_under(Path::new("/"))
}

/// As [`ceiling`], with `root` in front of every path (tests lay out small trees).
pub(crate) fn ceiling_under(root: &Path) -> io::Result<MemoryCeiling> {
    let meminfo = fs_err::read_to_string(root.join("proc/meminfo"))?;
    let ram = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no MemTotal")
        })?;
    let mut lowest = MemoryCeiling {
        size: ByteSize::bytes(ram.saturating_mul(1024)),
        origin: CeilingOrigin::Ram,
    };
    for file in limit_files(root) {
        let Ok(text) = fs_err::read_to_string(&file) else { continue };
        // "max" (v2) and a number close to 2^63 (v1) both mean no limit; the second loses to RAM.
        let Ok(limit) = text.trim().parse::<u64>() else { continue };
        if limit < lowest.size.as_u64() {
            lowest = MemoryCeiling {
                size: ByteSize::bytes(limit),
                origin: CeilingOrigin::ControlGroup(file),
            };
        }
    }
    Ok(lowest)
}

/// The limit files of this process's control groups and their ancestors.
fn limit_files(root: &Path) -> Vec<PathBuf> {
    let Ok(groups) = fs_err::read_to_string(root.join("proc/self/cgroup")) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for line in groups.lines() {
        // hierarchy-ID:controller-list:path (cgroups(7)); v2 has no controllers in the middle.
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (mount, file) = if controllers.is_empty() {
            (root.join("sys/fs/cgroup"), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let relative = Path::new(path.trim_start_matches('/'));
        // In a container the path may name a group outside the mount; its root is still looked at.
        files.extend(relative.ancestors().map(|group| mount.join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with 8 GiB of RAM, one line of `/proc/self/cgroup` and some limit files.
    fn host(cgroup: &str, limits: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("temporary directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs_err::create_dir_all(path.parent().expect("a parent")).expect("directories");
            fs_err::write(path, text).expect("file");
        };
        write("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");
        write("proc/self/cgroup", cgroup);
        for (path, text) in limits {
            write(path, text);
        }
        root
    }

    #[test]
    fn ram_without_limits() {
        let root = host("0::/a/b\n", &[("sys/fs/cgroup/a/b/memory.max", "max\n")]);
        let ceiling = ceiling_under(root.path()).expect("a ceiling");
        assert_eq!((ceiling.size, ceiling.origin), (ByteSize::mib(8192), CeilingOrigin::Ram));
    }

    #[test]
    fn the_lowest_ancestor_counts() {
        let root = host(
            "0::/a/b\n",
            &[
                ("sys/fs/cgroup/a/b/memory.max", "2147483648\n"),
                ("sys/fs/cgroup/a/memory.max", "1073741824\n"),
            ],
        );
        let ceiling = ceiling_under(root.path()).expect("a ceiling");
        assert_eq!(ceiling.size, ByteSize::mib(1024));
        assert_eq!(
            ceiling.origin,
            CeilingOrigin::ControlGroup(root.path().join("sys/fs/cgroup/a/memory.max"))
        );
    }

    #[test]
    fn version_one() {
        let root = host(
            "4:cpu,cpuacct:/x\n5:memory:/docker/1\n",
            &[
                ("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "536870912\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        assert_eq!(ceiling_under(root.path()).expect("a ceiling").size, ByteSize::mib(512));
    }

    #[test]
    fn this_host_has_memory() {
        assert!(ceiling().expect("a ceiling").size > ByteSize::mib(16));
    }
}
