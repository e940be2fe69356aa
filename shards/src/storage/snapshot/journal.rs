//! The journal of a receipt: what is being received, under which numbers, and how far it has come.
//! No part of the tree: it only keeps the files that have arrived from being taken for orphans.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use model::id::PartitionId;
use runtime::fs::{self, Buffer, File, OpenOptions};

use super::super::codec::{u32_at, u64_at};
use super::super::error::StorageError;
use super::super::table::TableNumber;
use super::super::table::format::PAGE_BYTES;
use super::contents::{Contents, StreamPosition};

pub(crate) const FILE_NAME: &str = "RECEIVING";
pub(crate) const NEW_FILE_NAME: &str = "RECEIVING.new";

const MAGIC: u32 = u32::from_le_bytes(*b"PHRC");
const PROGRESS_MAGIC: u32 = u32::from_le_bytes(*b"PHRP");
/// 2: files have their numbers in the order in which they were made. A journal of version 1 does not count.
const FORMAT_VERSION: u32 = 2;
const HEADER_BYTES: usize = 32;
/// Progress is written to two pages in turn, so that a torn one leaves the one before.
const PROGRESS_PAGES: u64 = 2;
/// The largest journal that is read: that of some two million tables.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A receipt that has begun.
pub(crate) struct Journal {
    pub(super) contents: Rc<Contents>,
    /// The number of the stream's last file in this tree; the others have those after it.
    pub(super) first: TableNumber,
    /// How far it is known to have come.
    pub(super) position: StreamPosition,
    file: File,
    sequence: u64,
    /// Where the pages of progress begin.
    progress_at: u64,
    /// Ties the pages of progress to the head.
    seal: u32,
}

/// The head: everything but the progress.
pub(super) fn encode_head(contents: &Contents, first: TableNumber) -> Vec<u8> {
    let body = contents.encode();
    let body_len = u32::try_from(body.len()).expect("contents stay below 4 GiB");
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&body_len.to_le_bytes());
    out.extend_from_slice(&first.0.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&body);
    let crc = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// A page of progress.
pub(super) fn encode_progress(seal: u32, sequence: u64, position: StreamPosition) -> Vec<u8> {
    let mut out = Vec::with_capacity(28);
    out.extend_from_slice(&PROGRESS_MAGIC.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&seal.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&position.0.to_le_bytes());
    let crc = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// What a journal's bytes say.
pub(super) struct Decoded {
    pub(super) contents: Contents,
    pub(super) first: TableNumber,
    pub(super) position: StreamPosition,
    sequence: u64,
    progress_at: u64,
    seal: u32,
}

/// Reads a journal; `None` where it is none that counts.
pub(super) fn decode(bytes: &[u8]) -> Option<Decoded> {
    if u32_at(bytes, 0)? != MAGIC || u32_at(bytes, 8)? != FORMAT_VERSION {
        return None;
    }
    let seal = u32_at(bytes, 4)?;
    let end = HEADER_BYTES.checked_add(u32_at(bytes, 12)? as usize)?;
    if crc32c::crc32c(bytes.get(8..end)?) != seal {
        return None;
    }
    let contents = Contents::decode(&bytes[HEADER_BYTES..end]).ok()?;
    let first = TableNumber(u64_at(bytes, 16)?);
    first.0.checked_add(contents.file_count() as u64)?;
    let progress_at = end.next_multiple_of(PAGE_BYTES);
    let pages = (0..PROGRESS_PAGES as usize).filter_map(|page| {
        let page = bytes.get(progress_at + page * PAGE_BYTES..)?;
        progress(page, seal).filter(|(_, position)| *position <= contents.end())
    });
    let (sequence, position) = pages.max().unwrap_or((0, StreamPosition(0)));
    Some(Decoded { contents, first, position, sequence, progress_at: progress_at as u64, seal })
}

fn progress(page: &[u8], seal: u32) -> Option<(u64, StreamPosition)> {
    let is_whole = u32_at(page, 0)? == PROGRESS_MAGIC
        && u32_at(page, 8)? == seal
        && u32_at(page, 4)? == crc32c::crc32c(page.get(8..28)?);
    is_whole.then_some((u64_at(page, 12)?, StreamPosition(u64_at(page, 20)?)))
}

fn poisoned(file: &Path, error: std::io::Error) -> StorageError {
    StorageError::Poisoned { file: file.to_owned(), source: Rc::new(error) }
}

impl Journal {
    /// Begins a receipt: from here on its files are kept, whatever happens.
    pub(super) async fn create(
        directory: &Path,
        contents: Contents,
        first: TableNumber,
    ) -> Result<Journal, StorageError> {
        let (path, new_path) = (directory.join(FILE_NAME), directory.join(NEW_FILE_NAME));
        let head = encode_head(&contents, first);
        let progress_at = head.len().next_multiple_of(PAGE_BYTES) as u64;
        let options = OpenOptions {
            read: true,
            write: true,
            create: true,
            truncate: true,
            ..OpenOptions::default()
        };
        let io = |operation| {
            let path = new_path.clone();
            move |error| StorageError::io(operation, &path, error)
        };
        let file = File::open(&new_path, &options).await.map_err(io("create"))?;
        let file_bytes = progress_at + PROGRESS_PAGES * PAGE_BYTES as u64;
        file.preallocate(file_bytes).await.map_err(io("preallocate"))?;
        let seal = u32_at(&head, 4).unwrap_or_default();
        file.write_at(0, Buffer::from_slice_padded(&head)).await.map_err(io("write"))?;
        file.sync().await.map_err(|error| poisoned(&new_path, error))?;
        fs::rename(&new_path, &path).await.map_err(|error| poisoned(&path, error))?;
        fs::sync_dir(directory).await.map_err(|error| poisoned(directory, error))?;
        let position = StreamPosition(0);
        let contents = Rc::new(contents);
        Ok(Journal { contents, first, position, file, sequence: 0, progress_at, seal })
    }

    /// The receipt that an earlier attempt or life has left, if it is one of this partition.
    pub(crate) async fn open(
        directory: &Path,
        partition: PartitionId,
    ) -> Result<Option<Journal>, StorageError> {
        let path = directory.join(FILE_NAME);
        let options = OpenOptions { read: true, write: true, ..OpenOptions::default() };
        let file = match File::open(&path, &options).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("open", &path, error)),
        };
        let io = |operation| {
            let path = path.clone();
            move |error| StorageError::io(operation, &path, error)
        };
        let bytes = file.size().await.map_err(io("measure"))?.min(FILE_BYTES_MAX);
        let content = file.read_at(0, bytes as usize).await.map_err(io("read"))?;
        let decoded = decode(&content).filter(|found| found.contents.partition == partition);
        Ok(decoded.map(|found| Journal {
            contents: Rc::new(found.contents),
            first: found.first,
            position: found.position,
            file,
            sequence: found.sequence,
            progress_at: found.progress_at,
            seal: found.seal,
        }))
    }

    /// The numbers in this tree that belong to the receipt.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = TableNumber> + use<> {
        (self.first.0..self.next_number().0).map(TableNumber)
    }

    /// No table of the receipt has this number or a greater one.
    pub(crate) fn next_number(&self) -> TableNumber {
        TableNumber(self.first.0 + self.contents.file_count() as u64)
    }

    /// Remembers that everything before `position` has arrived; it must be synced.
    pub(super) async fn advance(&mut self, position: StreamPosition) -> Result<(), StorageError> {
        let sequence = self.sequence + 1;
        let page = encode_progress(self.seal, sequence, position);
        let at = self.progress_at + (sequence % PROGRESS_PAGES) * PAGE_BYTES as u64;
        let path = self.path();
        let written = self.file.write_at(at, Buffer::from_slice_padded(&page)).await;
        written.map_err(|error| StorageError::io("write", &path, error))?;
        self.file.sync().await.map_err(|error| poisoned(&path, error))?;
        (self.sequence, self.position) = (sequence, position);
        Ok(())
    }

    /// The file was opened under the name it had while it was new.
    fn path(&self) -> PathBuf {
        self.file.path().with_file_name(FILE_NAME)
    }
}
