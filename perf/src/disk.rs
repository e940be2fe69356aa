//! Direct, synchronous writes of 4 KiB over a preallocated file, one after the other.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use runtime::time;

/// Bytes of a write.
pub const WRITE_BYTES: usize = 4096;
/// The file is overwritten from its beginning when its end is reached.
const FILE_BYTES: u64 = 64 << 20;

/// Writes for `duration` to a file of its own in `directory`; gives the time of each write in
/// nanoseconds.
///
/// # Errors
/// The file system refuses, O_DIRECT included.
pub fn measure(directory: &Path, duration: Duration) -> io::Result<Histogram<u64>> {
    let path = directory.join(format!("phantomdb-floor-{}", std::process::id()));
    let written = write(&path, duration);
    let removed = std::fs::remove_file(&path);
    let times = written?;
    removed?;
    Ok(times)
}

fn write(path: &Path, duration: Duration) -> io::Result<Histogram<u64>> {
    // Written zeros, not fallocated ones: overwriting allocated blocks is what a recycled log does.
    std::fs::write(path, vec![0; FILE_BYTES as usize])?;
    std::fs::File::open(path)?.sync_all()?;
    let file =
        OpenOptions::new().write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(path)?;
    let memory = vec![7_u8; 2 * WRITE_BYTES];
    let offset = memory.as_ptr().align_offset(WRITE_BYTES);
    let block = &memory[offset..offset + WRITE_BYTES];
    let mut times = crate::histogram();
    let until = time::now() + duration;
    let mut position = 0;
    loop {
        let begun = time::now();
        if begun >= until {
            return Ok(times);
        }
        file.write_all_at(block, position)?;
        times.saturating_record(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        position = (position + WRITE_BYTES as u64) % FILE_BYTES;
    }
}
