//! Reading one frame of a log that is open.

use super::error::WalError;
use super::format::{BLOCK, FRAME_HEADER, FrameHeader, Record, Records};
use super::segment::Segment;
use super::writer::Place;
use runtime::fs::Buffer;
use runtime::task;

/// Most frames are no longer than this, in bytes: it is read at once.
const READ_BYTES: usize = 64 << 10;

/// Summing a frame looks at the clock after so many bytes.
const SLICE_BYTES: usize = 128 << 10;

/// A frame that was written earlier, checked.
pub(crate) struct FrameReader {
    place: Place,
    frame: Buffer,
    body_bytes: usize,
}

impl FrameReader {
    /// Reads a frame of a segment.
    ///
    /// # Errors
    /// [`WalError::Corruption`] where it is not what was written there, [`WalError::Open`] where it
    /// cannot be read.
    pub(crate) async fn read(segment: &Segment, place: Place) -> Result<FrameReader, WalError> {
        let file = &segment.file;
        let corruption = |what| WalError::Corruption {
            file: file.path().to_owned(),
            offset: place.offset,
            what,
        };
        let read = async |bytes| {
            let read = file.read_at(place.offset, bytes).await;
            read.map_err(|error| WalError::open("read", file.path().to_owned(), error))
        };
        let mut frame = read(READ_BYTES).await?;
        let (header, _) = FrameHeader::decode(&frame)
            .filter(|(header, _)| header.segment == place.segment)
            .ok_or_else(|| corruption("the frame's header is damaged"))?;
        let bytes = header.frame_bytes() as usize;
        if frame.len() < bytes {
            frame = read(bytes.next_multiple_of(BLOCK)).await?;
        }
        let content = frame.get(FRAME_HEADER..bytes).unwrap_or_default();
        let mut crc = 0;
        for piece in content.chunks(SLICE_BYTES) {
            crc = crc32c::crc32c_append(crc, piece);
            task::yield_if_due().await;
        }
        if crc != header.body_crc {
            return Err(corruption("checksum mismatch"));
        }
        Ok(FrameReader { place, frame, body_bytes: header.body_bytes as usize })
    }

    /// Where it lies.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// What it says; `None` in place of a record that makes no sense.
    pub(crate) fn records(&self) -> impl Iterator<Item = Option<Record<'_>>> {
        Records::new(&self.frame[FRAME_HEADER..FRAME_HEADER + self.body_bytes])
    }
}
