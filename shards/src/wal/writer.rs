//! Appending frames. One task owns the log and writes one frame at a time.

use super::error::WalError;
use super::format::{
    BLOCK, FRAME_HEADER, FrameHeader, RECORD_HEADER, Record, SegmentHeader, frame_bytes,
};
use super::segment::{self, Segment, Slot};
use model::id::{CoreId, NodeId};
use model::time::Timestamp;
use runtime::fs::Buffer;
use runtime::task::{self, Task};
use runtime::time::{self, Instant};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

/// After a segment could not be made, the next attempt comes no sooner.
const FULL_RETRY_AFTER: Duration = Duration::from_millis(100);

/// The last part of a segment, one in so many, is kept for frames that end what was begun, while
/// no further segment can be made.
const RESERVE_PART: u64 = 8;

/// Copying and summing a frame looks at the clock after so many bytes.
const SLICE_BYTES: usize = 128 << 10;

/// Settings of a log.
#[derive(Debug, Clone)]
pub(crate) struct WalOptions {
    /// Where its files are.
    pub(crate) directory: PathBuf,
    /// Which layout of the node's data the log belongs to; files of others are removed.
    pub(crate) generation: u64,
    /// Size of a segment, a multiple of [`BLOCK`] and at least four.
    pub(crate) segment_bytes: u64,
    pub(crate) node: NodeId,
    pub(crate) core: CoreId,
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the segment.
    pub(crate) segment: u64,
    /// Where in its file, in bytes.
    pub(crate) offset: u64,
}

/// The log of one core, at its end. See the module's essay.
#[derive(Debug)]
pub(crate) struct Wal {
    pub(super) options: WalOptions,
    pub(super) log: u64,
    /// Segments that are needed, oldest first; the last one is written.
    pub(super) live: VecDeque<Segment>,
    /// Files that hold nothing that is needed.
    pub(super) spare: Vec<Slot>,
    /// Files that will be spare once the next frame, which says so, is durable.
    pub(super) retired: Vec<Slot>,
    /// The oldest segment that is needed, as the log itself says.
    pub(super) stated_oldest: u64,
    /// The segment after the last live one, made ahead of time.
    pub(super) next: Next,
    pub(super) slots: u32,
    /// Where the next frame goes in the last live segment.
    pub(super) position: u64,
    /// The next frame's number.
    pub(super) sequence: u64,
    /// Checksum of the last frame's header.
    pub(super) chain: u32,
    pub(super) failed: Option<WalError>,
    pub(super) full_until: Option<Instant>,
}

/// The state of the segment to come.
#[derive(Debug)]
pub(super) enum Next {
    None,
    Preparing(Slot, Preparing),
    Ready(Segment),
}

pub(super) struct Preparing(Task<Result<Segment, WalError>>);

impl std::fmt::Debug for Preparing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Preparing")
    }
}

impl Wal {
    /// Makes a new, empty log. What another attempt left in the directory is overwritten.
    pub(crate) async fn create(options: WalOptions) -> Result<(), WalError> {
        super::recover::remove_generation(&options, |generation| generation == options.generation)
            .await?;
        let header = SegmentHeader {
            log: runtime::random::next_u64(),
            generation: options.generation,
            segment: 1,
            oldest: 1,
            bytes: options.segment_bytes,
            node: options.node,
            core: options.core,
        };
        let segment = segment::prepare(options.directory.clone(), Slot(1), header).await?;
        let file = segment.file.path().to_owned();
        segment.file.close().await.map_err(|error| WalError::open("close", file, error))
    }

    /// The most bytes of records that one frame can hold.
    pub(crate) fn body_bytes_max(&self) -> usize {
        self.options.segment_bytes as usize - BLOCK - FRAME_HEADER
    }

    /// Number of the segment that is written.
    pub(crate) fn current_segment(&self) -> u64 {
        self.live.back().map_or(0, |segment| segment.number)
    }

    /// Number of the oldest segment that is kept.
    pub(crate) fn oldest_segment(&self) -> u64 {
        self.live.front().map_or(0, |segment| segment.number)
    }

    /// Where the segment that is written ends so far, in bytes.
    pub(crate) fn end(&self) -> u64 {
        self.position
    }

    /// Bytes of the segments that are kept.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live.len() as u64 * self.options.segment_bytes
    }

    /// The segments that are kept, oldest first.
    pub(crate) fn live_segments(&self) -> Vec<Segment> {
        self.live.iter().cloned().collect()
    }

    /// Bytes on disk of a frame of so many bytes of records.
    pub(crate) fn frame_bytes(body_bytes: usize) -> u64 {
        frame_bytes(body_bytes) as u64
    }

    /// The largest frame, in bytes, that leaves the reserve alone; see [`Wal::spare_reserve`].
    pub(crate) fn unreserved_bytes(&self) -> u64 {
        let reserve = self.options.segment_bytes / RESERVE_PART;
        let here = (self.options.segment_bytes - reserve).saturating_sub(self.position);
        match self.next {
            Next::Ready(_) => self.options.segment_bytes - BLOCK as u64,
            Next::None | Next::Preparing(..) => here,
        }
    }

    /// Sees to it that a frame of `body_bytes` of records leaves the reserve alone: it ends before the
    /// last part of the segment, or there is a segment after it. What ends transactions is written without
    /// this, so that a full disk keeps nobody waiting for an outcome.
    ///
    /// # Errors
    /// [`WalError::Full`] leaves the log as it was; [`WalError::Failed`] ends it.
    pub(crate) async fn spare_reserve(&mut self, body_bytes: usize) -> Result<(), WalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let end = self.position + frame_bytes(body_bytes) as u64;
        let reserve = self.options.segment_bytes / RESERVE_PART;
        // Nothing is made ahead of the first frame; see `append`.
        let is_first = self.position == BLOCK as u64;
        if is_first || end <= self.options.segment_bytes - reserve {
            return Ok(());
        }
        let segment = self.next_segment().await?;
        self.next = Next::Ready(segment);
        Ok(())
    }

    /// Writes `records` as one frame; they are durable when it returns. Returns where it lies.
    ///
    /// # Errors
    /// [`WalError::Full`] and [`WalError::TooLarge`] leave the log as it was;
    /// [`WalError::Failed`] ends it.
    pub(crate) async fn append(
        &mut self,
        clock: Timestamp,
        records: &[Record<'_>],
    ) -> Result<Place, WalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let body_bytes = records.iter().map(Record::encoded_bytes).sum::<usize>();
        if body_bytes > self.body_bytes_max() {
            return Err(WalError::TooLarge { bytes: body_bytes, bytes_max: self.body_bytes_max() });
        }
        let bytes = frame_bytes(body_bytes);
        if self.position + bytes as u64 > self.options.segment_bytes {
            self.advance().await?;
        }
        let (frame, chain) = self.assemble(clock, records, body_bytes).await;
        let current = self.live.back().expect("a log has a segment").clone();
        if let Err(error) = current.file.write_at(self.position, frame).await {
            return Err(self.fail(current.file.path().to_owned(), error));
        }
        let place = Place { segment: current.number, offset: self.position };
        self.position += bytes as u64;
        self.sequence += 1;
        self.chain = chain;
        let stated = records.iter().find_map(|record| match record {
            Record::Purged { oldest } => Some(*oldest),
            _ => None,
        });
        if let Some(oldest) = stated {
            self.stated_oldest = oldest;
            self.spare.append(&mut self.retired);
        }
        // Not before this segment has a frame: a log never has two segments without any.
        self.start_preparing();
        Ok(place)
    }

    fn fail(&mut self, file: PathBuf, error: std::io::Error) -> WalError {
        let error = WalError::Failed { file, source: error.into() };
        self.failed = Some(error.clone());
        error
    }

    async fn assemble(
        &self,
        clock: Timestamp,
        records: &[Record<'_>],
        body_bytes: usize,
    ) -> (Buffer, u32) {
        let mut frame = Buffer::zeroed(frame_bytes(body_bytes));
        let mut at = FRAME_HEADER;
        for record in records {
            let (fixed, fixed_bytes) = record.fixed();
            frame[at..at + RECORD_HEADER].copy_from_slice(&record.header());
            at += RECORD_HEADER;
            frame[at..at + fixed_bytes].copy_from_slice(&fixed[..fixed_bytes]);
            at += fixed_bytes;
            for piece in record.tail().chunks(SLICE_BYTES) {
                frame[at..at + piece.len()].copy_from_slice(piece);
                at += piece.len();
                if piece.len() == SLICE_BYTES {
                    task::yield_if_due().await;
                }
            }
        }
        let mut body_crc = 0;
        for piece in frame[FRAME_HEADER..].chunks(SLICE_BYTES) {
            body_crc = crc32c::crc32c_append(body_crc, piece);
            if piece.len() == SLICE_BYTES {
                task::yield_if_due().await;
            }
        }
        let header = FrameHeader {
            log: self.log,
            segment: self.current_segment(),
            sequence: self.sequence,
            clock,
            previous: self.chain,
            body_crc,
            body_bytes: body_bytes as u32,
        };
        let (bytes, chain) = header.encode();
        frame[..FRAME_HEADER].copy_from_slice(&bytes);
        (frame, chain)
    }

    /// Goes to the next segment, making it first where it is not ready.
    async fn advance(&mut self) -> Result<(), WalError> {
        let segment = self.next_segment().await?;
        self.live.push_back(segment);
        self.position = BLOCK as u64;
        Ok(())
    }

    /// Begins the next segment before this one is full. A frame must follow at once: a log never has two
    /// segments without any. One that has none itself stays until it has.
    ///
    /// # Errors
    /// [`WalError::Full`] leaves the log as it was; [`WalError::Failed`] ends it.
    pub(crate) async fn leave_segment(&mut self) -> Result<(), WalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.position == BLOCK as u64 {
            true => Ok(()),
            false => self.advance().await,
        }
    }

    /// Takes the segment to come, making it first where it is not ready.
    async fn next_segment(&mut self) -> Result<Segment, WalError> {
        if self.full_until.is_some_and(|until| time::now() < until) {
            return Err(WalError::Full { directory: self.options.directory.clone() });
        }
        self.full_until = None;
        self.start_preparing();
        let ready = match std::mem::replace(&mut self.next, Next::None) {
            Next::Ready(segment) => Ok(segment),
            Next::Preparing(slot, Preparing(task)) => {
                let done = task.await.unwrap_or_else(|panicked| {
                    let source = std::io::Error::other(panicked.to_string());
                    Err(WalError::Failed {
                        file: self.options.directory.clone(),
                        source: source.into(),
                    })
                });
                done.inspect_err(|_| self.spare.push(slot))
            }
            Next::None => unreachable!("preparing was started"),
        };
        match &ready {
            Ok(_) => {}
            Err(WalError::Full { .. }) => self.full_until = Some(time::now() + FULL_RETRY_AFTER),
            Err(error) => self.failed = Some(error.clone()),
        }
        ready
    }

    /// Has the next segment made in the background, unless it is being made or there.
    pub(super) fn start_preparing(&mut self) {
        if !matches!(self.next, Next::None) {
            return;
        }
        let slot = self.spare.pop().unwrap_or_else(|| {
            self.slots += 1;
            Slot(self.slots)
        });
        let header = SegmentHeader {
            log: self.log,
            generation: self.options.generation,
            segment: self.current_segment() + 1,
            oldest: self.stated_oldest,
            bytes: self.options.segment_bytes,
            node: self.options.node,
            core: self.options.core,
        };
        let preparing = segment::prepare(self.options.directory.clone(), slot, header);
        self.next = Next::Preparing(slot, Preparing(task::spawn("wal-segment", preparing)));
    }

    /// Lets go of all segments before `oldest`, but never of the one that is written. Returns the
    /// record that must go into the next frame, which makes the files reusable, or `None` where
    /// the log says so already.
    pub(crate) fn purge(&mut self, oldest: u64) -> Option<Record<'static>> {
        let oldest = oldest.min(self.current_segment());
        while self.live.front().is_some_and(|segment| segment.number < oldest) {
            self.retired.extend(self.live.pop_front().map(|segment| segment.slot));
        }
        let oldest = self.oldest_segment();
        (oldest > self.stated_oldest).then_some(Record::Purged { oldest })
    }

    /// Waits for the background and closes the files. The log ends with a seal, if it is intact.
    pub(crate) async fn close(mut self, clock: Timestamp) -> Result<(), WalError> {
        let sealed = self.append(clock, &[Record::Seal]).await;
        if let Next::Preparing(_, Preparing(task)) = std::mem::replace(&mut self.next, Next::None) {
            // A segment that could not be made is not needed any more either.
            drop(task.await);
        }
        sealed.map(|_| ())
    }
}
