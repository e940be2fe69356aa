//! Checking what an open log has on the disk, while everything that it says is known in memory, too.

use super::error::WalError;
use super::format::{BLOCK, SegmentHeader};
use super::recover::{Cursor, Reader};
use super::segment::Segment;

/// How far the frames of a segment go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent<'a> {
    /// So many bytes, of a segment that is being written.
    Bytes(u64),
    /// Up to the frame that the next segment begins with.
    UpTo(&'a Segment),
}

/// Reads the segment's header and its frames and compares their checksums. `pace` is told of each piece, in
/// bytes, before the next is read.
///
/// # Errors
/// [`WalError::Corruption`] where a frame is not what was written, or does not follow the one before it;
/// [`WalError::Open`] where the file cannot be read.
pub(crate) async fn check(
    segment: &Segment,
    extent: Extent<'_>,
    pace: impl AsyncFn(u64),
) -> Result<(), WalError> {
    let corruption =
        |offset, what| WalError::Corruption { file: segment.file.path().to_owned(), offset, what };
    let header = read_header(segment).await?;
    let header = header.ok_or_else(|| corruption(0, "the segment's header is damaged"))?;
    let mut reader = Reader::new(&segment.file, &header);
    let (mut cursor, mut position) = (Cursor::default(), BLOCK as u64);
    loop {
        if matches!(extent, Extent::Bytes(end) if position >= end) {
            return Ok(());
        }
        let damage = match reader.frame(position, &cursor).await? {
            Ok((frame, checksum, _)) => {
                position += frame.frame_bytes();
                cursor.sequence = frame.sequence + 1;
                cursor.chain = Some(checksum);
                pace(frame.frame_bytes()).await;
                continue;
            }
            Err(damage) => damage,
        };
        let ends_here = match extent {
            Extent::Bytes(_) => false,
            Extent::UpTo(next) => cursor.chain.is_some() && begins_with(next, &cursor).await?,
        };
        return if ends_here { Ok(()) } else { Err(corruption(position, damage)) };
    }
}

/// The header of a segment, if it is whole and the segment's own.
async fn read_header(segment: &Segment) -> Result<Option<SegmentHeader>, WalError> {
    let file = &segment.file;
    let block = file.read_at(0, BLOCK).await;
    let block = block.map_err(|error| WalError::open("read", file.path().to_owned(), error))?;
    Ok(SegmentHeader::decode(&block).filter(|header| header.segment == segment.number))
}

/// Whether a segment begins with the frame that is to come next.
async fn begins_with(segment: &Segment, cursor: &Cursor) -> Result<bool, WalError> {
    let Some(header) = read_header(segment).await? else { return Ok(false) };
    let mut reader = Reader::new(&segment.file, &header);
    Ok(reader.frame(BLOCK as u64, cursor).await?.is_ok())
}
