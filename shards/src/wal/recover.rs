//! Opening a log: which segments there are, what they hold, and where the log ends.

use super::error::WalError;
use super::format::{
    BLOCK, FRAME_HEADER, FrameHeader, Record, Records, SegmentHeader, frame_bytes,
};
use super::segment::{self, Segment, Slot};
use super::writer::{Next, Place, Wal, WalOptions};
use model::time::Timestamp;
use runtime::fs::{self, Buffer, File, OpenOptions};
use runtime::task;
use std::collections::VecDeque;
use std::path::PathBuf;

/// Segments are read in pieces of this size, in bytes.
const READ_BYTES: usize = 1 << 20;

/// What reading a log back yields, record by record, oldest first.
pub(crate) trait Replay {
    /// A record, and where its frame lies. The error says what is wrong with it.
    async fn record(&mut self, place: Place, record: Record<'_>) -> Result<(), &'static str>;

    /// The clock of a frame: this core's clock had reached it.
    fn clock(&mut self, clock: Timestamp);
}

/// A file of the log's directory.
struct Found {
    slot: Slot,
    path: PathBuf,
    file: File,
    size: u64,
    header: Option<SegmentHeader>,
}

/// Where reading has arrived.
#[derive(Default)]
pub(super) struct Cursor {
    /// The number of the next frame, and the checksum of the header of the one before; `None`: whichever
    /// comes is taken.
    pub(super) sequence: u64,
    pub(super) chain: Option<u32>,
    /// The newest word on which segments are needed.
    oldest: u64,
    position: u64,
    at: usize,
}

impl Wal {
    /// Opens a log that [`Wal::create`] made, and hands all that it holds to `replay`. Files of a
    /// later generation are of a change that was not finished, and go; earlier ones stay.
    ///
    /// # Errors
    /// [`WalError::Corruption`] where it is not what was written.
    pub(crate) async fn open(
        options: WalOptions,
        replay: &mut impl Replay,
    ) -> Result<Wal, WalError> {
        remove_generation(&options, |generation| generation > options.generation).await?;
        let found = find(&options).await?;
        let slots = found.iter().map(|file| file.slot.0).max().unwrap_or(0);
        let (segments, spare) = arrange(&options, found).await?;
        let log = segments[0].1.log;
        let first = segments[0].1.segment;
        let mut cursor = Cursor {
            sequence: 0,
            chain: None,
            oldest: segments.last().map_or(1, |(_, header)| header.oldest),
            position: BLOCK as u64,
            at: 0,
        };
        read_frames(&segments, &mut cursor, replay).await?;
        // The first segment begins empty; every other one that is kept has a frame, because the
        // one before it is let go only by a frame that says so.
        if first > 1 && cursor.sequence == 0 {
            return Err(corruption(segments[0].0.path.clone(), BLOCK as u64, "no frame is intact"));
        }
        if first > cursor.oldest {
            return Err(WalError::Corruption {
                file: options.directory.clone(),
                offset: 0,
                what: "a segment that is still needed is missing",
            });
        }
        let mut wal = Wal {
            options,
            log,
            live: VecDeque::new(),
            spare,
            retired: Vec::new(),
            stated_oldest: 0,
            next: Next::None,
            slots,
            position: cursor.position,
            sequence: cursor.sequence.max(1),
            chain: cursor.chain.unwrap_or(0),
            failed: None,
            full_until: None,
        };
        wal.adopt(segments, &cursor);
        wal.stated_oldest = wal.oldest_segment();
        wal.start_preparing();
        Ok(wal)
    }

    /// Removes what earlier generations have left. To be called once this one counts.
    ///
    /// # Errors
    /// The directory cannot be listed, or a file not removed.
    pub(crate) async fn remove_earlier(options: &WalOptions) -> Result<(), WalError> {
        remove_generation(options, |generation| generation < options.generation).await
    }

    /// Takes over the files: those that are needed, the prepared one after them, and the rest.
    fn adopt(&mut self, segments: Vec<(Found, SegmentHeader)>, cursor: &Cursor) {
        for (at, (found, header)) in segments.into_iter().enumerate() {
            let segment = Segment { slot: found.slot, number: header.segment, file: found.file };
            if at == cursor.at + 1 {
                // Prepared ahead of time and empty.
                self.next = Next::Ready(segment);
            } else if at > cursor.at || header.segment < cursor.oldest && at < cursor.at {
                self.spare.push(found.slot);
            } else {
                self.live.push_back(segment);
            }
        }
    }
}

/// Removes the files of the generations that `which` names.
pub(super) async fn remove_generation(
    options: &WalOptions,
    which: impl Fn(u64) -> bool,
) -> Result<(), WalError> {
    let directory = &options.directory;
    let failed = |operation, error| WalError::open(operation, directory.clone(), error);
    fs::create_dir_all(directory).await.map_err(|error| failed("make", error))?;
    for entry in fs::read_dir(directory).await.map_err(|error| failed("list", error))? {
        if segment::parse_name(&entry.name).is_some_and(|(generation, _)| which(generation)) {
            let path = directory.join(&entry.name);
            fs::remove_file(&path).await.map_err(|error| WalError::open("remove", path, error))?;
        }
    }
    Ok(())
}

/// Opens the log's files and reads their first blocks.
async fn find(options: &WalOptions) -> Result<Vec<Found>, WalError> {
    let directory = &options.directory;
    let entries = fs::read_dir(directory)
        .await
        .map_err(|error| WalError::open("list", directory.clone(), error))?;
    let mut found = Vec::new();
    for entry in entries {
        let Some((generation, slot)) = segment::parse_name(&entry.name) else { continue };
        if generation != options.generation {
            continue;
        }
        let path = segment::path(directory, generation, slot);
        let failed = |error| WalError::open("read", path.clone(), error);
        let open = OpenOptions { write: true, dsync: true, ..OpenOptions::default() };
        let file = File::open(&path, &open).await.map_err(failed)?;
        let size = file.size().await.map_err(failed)?;
        let header = SegmentHeader::decode(&file.read_at(0, BLOCK).await.map_err(failed)?);
        // What an earlier life had made and not yet synced would otherwise be taken for durable.
        file.sync().await.map_err(failed)?;
        if let Some(header) = &header
            && (header.node != options.node || header.core != options.core)
        {
            return Err(corruption(path, 0, "the log of another core or node"));
        }
        found.push(Found { slot, path, file, size, header });
    }
    fs::sync_dir(directory)
        .await
        .map_err(|error| WalError::open("sync", directory.clone(), error))?;
    found.sort_by_key(|file| file.slot);
    for (at, file) in found.iter().enumerate() {
        if file.slot.0 as usize != at + 1 {
            let missing = segment::path(directory, options.generation, Slot(at as u32 + 1));
            return Err(corruption(missing, 0, "the file is missing"));
        }
    }
    Ok(found)
}

fn corruption(file: PathBuf, offset: u64, what: &'static str) -> WalError {
    WalError::Corruption { file, offset, what }
}

/// Sorts the files into the unbroken row of segments up to the newest, oldest first, and those
/// that hold nothing that is needed.
async fn arrange(
    options: &WalOptions,
    found: Vec<Found>,
) -> Result<(Vec<(Found, SegmentHeader)>, Vec<Slot>), WalError> {
    let mut spare = Vec::new();
    let mut headless = Vec::new();
    let mut segments: Vec<(Found, SegmentHeader)> = Vec::new();
    for file in found {
        match file.header {
            Some(header) if file.size < header.bytes => {
                return Err(corruption(file.path, file.size, "the file ends too early"));
            }
            Some(header) => segments.push((file, header)),
            None => headless.push(file),
        }
    }
    segments.sort_by_key(|(_, header)| header.segment);
    let Some((_, newest)) = segments.last() else {
        return Err(corruption(options.directory.clone(), 0, "the log has no intact segment"));
    };
    let newest = *newest;
    if let Some((file, _)) = segments.iter().find(|(_, header)| header.log != newest.log) {
        return Err(corruption(file.path.clone(), 0, "a segment of another log"));
    }
    let mut first = segments.len() - 1;
    while first > 0 && segments[first - 1].1.segment + 1 == segments[first].1.segment {
        first -= 1;
    }
    let needed = segments.iter().position(|(_, header)| header.segment >= newest.oldest);
    let keep = segments.split_off(first.max(needed.unwrap_or(first)));
    for file in headless {
        // A file whose first block was torn while it was being made or recycled holds no frame
        // that is needed. One that does was damaged later.
        let scan = Scan { log: newest.log, after: 0, segment_min: keep[0].1.segment };
        if scan.finds_frame(&file.file, &file.path, BLOCK as u64, file.size).await? {
            return Err(corruption(file.path, 0, "the segment's header is damaged"));
        }
        spare.push(file.slot);
    }
    spare.extend(segments.iter().map(|(file, _)| file.slot));
    Ok((keep, spare))
}

/// Reads all frames in order and finds the end of the log.
async fn read_frames(
    segments: &[(Found, SegmentHeader)],
    cursor: &mut Cursor,
    replay: &mut impl Replay,
) -> Result<(), WalError> {
    for (at, (found, header)) in segments.iter().enumerate() {
        let mut reader = Reader::new(&found.file, header);
        let mut position = BLOCK as u64;
        loop {
            let damage = match reader.frame(position, cursor).await? {
                Ok((frame, checksum, body)) => {
                    deliver(found, position, header.segment, &frame, body, cursor, replay).await?;
                    position += frame.frame_bytes();
                    cursor.sequence = frame.sequence + 1;
                    cursor.chain = Some(checksum);
                    (cursor.at, cursor.position) = (at, position);
                    task::yield_if_due().await;
                    continue;
                }
                Err(damage) => damage,
            };
            if let Some((next, next_header)) = segments.get(at + 1) {
                let mut ahead = Reader::new(&next.file, next_header);
                if ahead.frame(BLOCK as u64, cursor).await?.is_ok() {
                    break;
                }
            }
            if frame_after(&segments[at..], position, cursor.sequence).await? {
                return Err(corruption(found.path.clone(), position, damage));
            }
            (cursor.at, cursor.position) = (at, position);
            return Ok(());
        }
    }
    Ok(())
}

/// Whether a frame with a number greater than `sequence` lies after `position` of the first of
/// `segments`, or in the others.
async fn frame_after(
    segments: &[(Found, SegmentHeader)],
    position: u64,
    sequence: u64,
) -> Result<bool, WalError> {
    let mut from = position;
    for (found, header) in segments {
        let scan = Scan { log: header.log, after: sequence, segment_min: header.segment };
        if scan.finds_frame(&found.file, &found.path, from, header.bytes).await? {
            return Ok(true);
        }
        from = BLOCK as u64;
    }
    Ok(false)
}

async fn deliver(
    found: &Found,
    position: u64,
    segment: u64,
    frame: &FrameHeader,
    body: &[u8],
    cursor: &mut Cursor,
    replay: &mut impl Replay,
) -> Result<(), WalError> {
    replay.clock(frame.clock);
    for record in Records::new(body) {
        let senseless = |what| corruption(found.path.clone(), position, what);
        let record = record.ok_or_else(|| senseless("a record makes no sense"))?;
        if let Record::Purged { oldest } = record {
            cursor.oldest = cursor.oldest.max(oldest);
        }
        replay.record(Place { segment, offset: position }, record).await.map_err(senseless)?;
    }
    Ok(())
}

/// Looks for frames at block boundaries.
struct Scan {
    log: u64,
    /// Only frames with a greater number count.
    after: u64,
    /// Only frames of this segment or a later one count.
    segment_min: u64,
}

impl Scan {
    async fn finds_frame(
        &self,
        file: &File,
        path: &std::path::Path,
        from: u64,
        to: u64,
    ) -> Result<bool, WalError> {
        let mut at = from;
        while at < to {
            let bytes = file
                .read_at(at, READ_BYTES)
                .await
                .map_err(|error| WalError::open("read", path.to_owned(), error))?;
            let hit = bytes.chunks(BLOCK).any(|block| {
                FrameHeader::decode(block).is_some_and(|(frame, _)| {
                    frame.log == self.log
                        && frame.sequence > self.after
                        && frame.segment >= self.segment_min
                })
            });
            if hit {
                return Ok(true);
            }
            if bytes.is_empty() {
                return Ok(false);
            }
            at += READ_BYTES as u64;
            task::yield_if_due().await;
        }
        Ok(false)
    }
}

/// Reads frames of one segment.
pub(super) struct Reader<'a> {
    file: &'a File,
    header: &'a SegmentHeader,
    piece: Buffer,
    piece_at: u64,
}

/// A frame's header, the checksum of that, and what the frame holds; or what is wrong with it.
type FrameRead<'b> = Result<(FrameHeader, u32, &'b [u8]), &'static str>;

impl Reader<'_> {
    pub(super) fn new<'a>(file: &'a File, header: &'a SegmentHeader) -> Reader<'a> {
        Reader { file, header, piece: Buffer::zeroed(0), piece_at: 0 }
    }

    /// The frame at `position`, if it is the one that `cursor` expects there; otherwise what is
    /// wrong with it.
    pub(super) async fn frame(
        &mut self,
        position: u64,
        cursor: &Cursor,
    ) -> Result<FrameRead<'_>, WalError> {
        if position + BLOCK as u64 > self.header.bytes {
            return Ok(Err("the frame is missing"));
        }
        self.fill(position, BLOCK).await?;
        let Some((frame, checksum)) = FrameHeader::decode(self.bytes(position, FRAME_HEADER))
        else {
            return Ok(Err("the frame's header is damaged"));
        };
        let continues = cursor
            .chain
            .is_none_or(|chain| frame.previous == chain && frame.sequence == cursor.sequence);
        if frame.log != self.header.log || frame.segment != self.header.segment || !continues {
            return Ok(Err("the frame does not continue the log"));
        }
        let bytes = frame_bytes(frame.body_bytes as usize);
        if position + bytes as u64 > self.header.bytes {
            return Ok(Err("the frame is longer than its segment"));
        }
        self.fill(position, bytes).await?;
        let content = self.bytes(position + FRAME_HEADER as u64, bytes - FRAME_HEADER);
        let mut crc = 0;
        for piece in content.chunks(READ_BYTES) {
            crc = crc32c::crc32c_append(crc, piece);
            task::yield_if_due().await;
        }
        if crc != frame.body_crc {
            return Ok(Err("checksum mismatch"));
        }
        Ok(Ok((frame, checksum, &content[..frame.body_bytes as usize])))
    }

    fn bytes(&self, position: u64, len: usize) -> &[u8] {
        let start = (position - self.piece_at) as usize;
        self.piece.get(start..start + len).unwrap_or(&[])
    }

    /// Has `len` bytes from `position` in memory, where the file has them.
    async fn fill(&mut self, position: u64, len: usize) -> Result<(), WalError> {
        let end = self.piece_at + self.piece.len() as u64;
        if position >= self.piece_at && position + len as u64 <= end {
            return Ok(());
        }
        self.piece = self
            .file
            .read_at(position, len.max(READ_BYTES))
            .await
            .map_err(|error| WalError::open("read", self.file.path().to_owned(), error))?;
        self.piece_at = position;
        Ok(())
    }
}
