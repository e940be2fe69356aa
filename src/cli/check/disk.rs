//! The file system of the data directory.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::Finding;

/// Direct writes are made of such blocks.
const BLOCK_BYTES: usize = 4096;
/// Below this the log and a first table do not fit with room to compact.
const SPACE_MIN: u64 = 1 << 30;

/// Tries what the log does: aligned writes past the page cache that are durable when they return.
pub(super) fn direct_writes(data_dir: &Path) -> Finding {
    const SUBJECT: &str = "direct writes";
    let directory = match existing_ancestor(data_dir) {
        Ok(directory) => directory,
        Err(error) => {
            return Finding::lack(
                SUBJECT,
                error.to_string(),
                "choose a --data-dir that can be created",
            );
        }
    };
    let found = format!("O_DIRECT and O_DSYNC in {}", directory.display());
    match try_direct_write(&directory) {
        Ok(()) => Finding::good(SUBJECT, found),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::lack(
            SUBJECT,
            format!("{found}: {error}"),
            "make the data directory writable for this user",
        ),
        Err(error) => Finding::lack(
            SUBJECT,
            format!("{found}: {error}"),
            "put the data directory on ext4 or XFS; tmpfs, overlay and some network file systems lack direct writes",
        ),
    }
}

/// Writes one block to a file of its own and removes it.
fn try_direct_write(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!(".phantomdb-check-{}", std::process::id()));
    let flags = OFlags::CREATE
        | OFlags::EXCL
        | OFlags::WRONLY
        | OFlags::DIRECT
        | OFlags::DSYNC
        | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
    // Somewhere in twice the size there is an aligned block.
    let memory = vec![0_u8; 2 * BLOCK_BYTES];
    let offset = memory.as_ptr().align_offset(BLOCK_BYTES);
    let written = rustix::io::pwrite(&file, &memory[offset..offset + BLOCK_BYTES], 0);
    let removed = fs_err::remove_file(&path);
    match written? {
        BLOCK_BYTES => removed,
        short => Err(io::Error::other(format!("wrote {short} of {BLOCK_BYTES} bytes"))),
    }
}

/// Space for data.
pub(super) fn space(data_dir: &Path) -> Finding {
    const SUBJECT: &str = "disk space";
    let measured =
        existing_ancestor(data_dir).and_then(|directory| Ok(rustix::fs::statvfs(&directory)?));
    match measured {
        Ok(file_system) => {
            let free = file_system.f_bavail.saturating_mul(file_system.f_frsize);
            let found = format!("{} MiB free", free >> 20);
            if free >= SPACE_MIN {
                Finding::good(SUBJECT, found)
            } else {
                Finding::warning(
                    SUBJECT,
                    found,
                    "free some space, or choose another --data-dir; a full disk refuses writes with 53100",
                )
            }
        }
        Err(error) => Finding::lack(SUBJECT, error.to_string(), "choose another --data-dir"),
    }
}

/// The directory itself, or the nearest one above it that exists: there it would be created.
fn existing_ancestor(data_dir: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(data_dir)?;
    absolute.ancestors().find(|path| path.is_dir()).map(Path::to_path_buf).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} has no directory above it", data_dir.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_judged_by_its_parent() {
        let root = tempfile::tempdir().expect("directory");
        let wanted = root.path().join("a/b/c");
        assert_eq!(existing_ancestor(&wanted).expect("a directory"), root.path());
        assert_ne!(space(&wanted).verdict, Verdict::Lack);
    }

    #[test]
    fn the_file_of_the_trial_is_removed() {
        let root = tempfile::tempdir().expect("directory");
        let finding = direct_writes(root.path());
        assert!(fs_err::read_dir(root.path()).expect("listing").next().is_none(), "{finding:?}");
    }

    #[test]
    fn where_nothing_can_be_written_is_a_lack() {
        assert_eq!(direct_writes(Path::new("/proc/nowhere")).verdict, Verdict::Lack);
    }
}
