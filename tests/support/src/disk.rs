//! File systems that fail.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// `EXT4_IOC_SHUTDOWN`, which XFS and F2FS know as well.
const SHUTDOWN: libc::Ioctl = 0x8004_587d_u32 as libc::Ioctl;
/// What is in its journal by then is written first.
static DEFAULT: u32 = 0;

/// Has the file system that is mounted at `mount` answer every operation with EIO, until it is mounted
/// again. What was synced stays.
///
/// # Errors
/// It cannot do that, or we may not.
pub fn fail_file_system(mount: &Path) -> io::Result<()> {
    let root = File::open(mount)?;
    // SAFETY: the file is open, and the request reads one number, which lives through the call.
    match unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const DEFAULT) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
