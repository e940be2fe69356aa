//! The files of a log.

use super::error::WalError;
use super::format::{BLOCK, SegmentHeader};
use runtime::fs::{self, Buffer, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// What must stay free beside a new segment, so that tables can still be written out and the log
/// shrink again.
const FREE_BYTES_MIN: u64 = 16 << 20;

/// The number of a file among those of a log; it keeps its name when it is recycled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u32);

/// The path of a slot's file.
pub(crate) fn path(directory: &Path, generation: u64, slot: Slot) -> PathBuf {
    directory.join(format!("{generation:06}-{:06}.wal", slot.0))
}

/// The generation and slot that a file's name says, or `None` for a name that is not a segment's.
pub(crate) fn parse_name(name: &str) -> Option<(u64, Slot)> {
    let (generation, slot) = name.strip_suffix(".wal")?.split_once('-')?;
    Some((generation.parse().ok()?, Slot(slot.parse().ok()?)))
}

/// A segment that can be written.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) slot: Slot,
    pub(crate) number: u64,
    pub(crate) file: File,
}

/// Makes `slot` the segment that `header` describes: fills the file with zeros where it is new,
/// and writes the header. Its frames may be written once this returns.
///
/// # Errors
/// [`WalError::Full`] where there is no room, [`WalError::Failed`] for anything else.
pub(crate) async fn prepare(
    directory: PathBuf,
    slot: Slot,
    header: SegmentHeader,
) -> Result<Segment, WalError> {
    let path = path(&directory, header.generation, slot);
    match try_prepare(&directory, &path, slot, header).await {
        Ok(segment) => Ok(segment),
        Err(error) if is_full(&error) => {
            // What was taken so far is given back: tables need the room more than the log does.
            give_back(&path, header.bytes).await;
            Err(WalError::Full { directory })
        }
        Err(error) => Err(WalError::Failed { file: path, source: error.into() }),
    }
}

async fn try_prepare(
    directory: &Path,
    path: &Path,
    slot: Slot,
    header: SegmentHeader,
) -> io::Result<Segment> {
    let options = OpenOptions { write: true, create: true, dsync: true, ..OpenOptions::default() };
    let file = File::open(path, &options).await?;
    let size = file.size().await?;
    if size < header.bytes {
        let free = fs::available_space(directory).await?;
        if free < header.bytes - size + FREE_BYTES_MIN {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.preallocate(header.bytes).await?;
        file.sync().await?;
        fs::sync_dir(directory).await?;
    }
    let mut block = Buffer::zeroed(BLOCK);
    block.copy_from_slice(&header.encode());
    file.write_at(0, block).await?;
    Ok(Segment { slot, number: header.segment, file })
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Empties a file that could not be filled. Where that fails too, the file keeps its blocks until
/// the next attempt, which goes on from there.
async fn give_back(path: &Path, bytes: u64) {
    let options = OpenOptions { write: true, ..OpenOptions::default() };
    if let Ok(file) = File::open(path, &options).await
        && file.size().await.is_ok_and(|size| size < bytes)
        && let Err(error) = file.truncate(0).await
    {
        debug_assert!(error.kind() != io::ErrorKind::InvalidInput, "{error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_generation_and_slot() {
        let path = path(Path::new("/d"), 3, Slot(12));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        assert_eq!(name, "000003-000012.wal");
        assert_eq!(parse_name(name), Some((3, Slot(12))));
        assert_eq!(parse_name("MANIFEST"), None);
        assert_eq!(parse_name("a-b.wal"), None);
    }
}
