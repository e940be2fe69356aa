//! Whether this host lets us make a ring at all.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// `struct io_uring_params` of `linux/io_uring.h`: 120 bytes, which are all zero for a plain ring.
#[repr(C, align(8))]
struct Parameters([u8; 120]);

/// Makes a ring of one entry and closes it again.
///
/// # Errors
/// What the kernel says: no such call (too old), not permitted (sysctl, seccomp), no memory.
pub fn probe() -> io::Result<()> {
    const ENTRIES: libc::c_uint = 1;
    let mut parameters = Parameters([0; 120]);
    // SAFETY: the call reads and fills `struct io_uring_params`, which has the size and alignment
    // of `Parameters`, and keeps no pointer to it.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut parameters.0) };
    let ring = i32::try_from(ring).map_err(io::Error::other)?;
    if ring < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made by the call above and belongs to nobody else.
    drop(unsafe { OwnedFd::from_raw_fd(ring) });
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn where_executors_start_the_probe_succeeds() {
        super::probe().unwrap();
    }
}
