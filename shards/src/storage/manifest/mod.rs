//! The manifest: which tables make up a tree, and up to which log entry they hold everything.
//!
//! It is a log of edits in one file, `MANIFEST`. The file begins with a snapshot (all tables in
//! one edit) and is laid out in full when it is created, so that appending to it allocates no disk
//! space and cannot fail for lack of it. Every record begins on a page of its own, so that no page
//! that holds an acknowledged record is written again, and stands there twice, so that damage
//! within one copy is repaired and never mistaken for a torn tail.
//!
//! ```text
//! flush:    write table, sync it, sync the directory -> append edit, sync -> new version in memory
//! rotation: write MANIFEST.new with a snapshot, sync it -> rename to MANIFEST -> sync directory
//! ```
//!
//! The switch is atomic: before the rename the old file counts, after it the new one. Tables that
//! the manifest does not name are orphans of a crash and are removed when the tree is opened. The
//! manifest never runs ahead of the durable log: the flush waits for it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use model::id::{LogIndex, PartitionId};
use runtime::fs::{self, Buffer, File, OpenOptions};
use runtime::random;

use super::error::{Corruption, StorageError};
use super::table::TableNumber;
use super::table::format::{Damage, PAGE_BYTES};
use super::version::{Edit, Version};

pub(crate) mod record;
#[cfg(test)]
mod tests;

use record::{FileHeader, LogIdentity, encode_edit, encode_record, record_bytes, recover};

pub(crate) const FILE_NAME: &str = "MANIFEST";
pub(crate) const NEW_FILE_NAME: &str = "MANIFEST.new";
/// Space for edits behind the snapshot of a fresh file: 32 edits of the usual size.
const EDIT_SPACE_BYTES: usize = 256 * 1024;
/// The largest manifest file that is read: some two million tables.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What an opened manifest says about its tree.
pub(crate) struct Opened {
    pub(crate) manifest: Manifest,
    /// Edits in order; the first one holds all tables there were at that time.
    pub(crate) edits: Vec<Edit>,
}

/// The manifest of one tree, open for appending. One task at a time.
pub(crate) struct Manifest {
    directory: PathBuf,
    /// None where there is none that counts.
    file: Option<File>,
    header: FileHeader,
    sequence: u64,
    end: u64,
    /// The file must be replaced before anything else is appended.
    must_rotate: bool,
}

fn poisoned(file: &Path, error: std::io::Error) -> StorageError {
    StorageError::Poisoned { file: file.to_owned(), source: Rc::new(error) }
}

impl Manifest {
    /// Makes the manifest of a new, empty tree. The directory must exist.
    pub(crate) async fn create(
        directory: &Path,
        partition: PartitionId,
    ) -> Result<Manifest, StorageError> {
        let snapshot = Version::default().snapshot(LogIndex(0), TableNumber(1));
        let (file, header, end) = write_file(directory, partition, &snapshot).await?;
        Ok(Manifest {
            directory: directory.to_owned(),
            file: Some(file),
            header,
            sequence: 1,
            end,
            must_rotate: false,
        })
    }

    /// In place of one that is damaged, until it is replaced.
    pub(crate) fn absent(directory: &Path, partition: PartitionId) -> Manifest {
        let header = FileHeader { partition, identity: LogIdentity(0), file_bytes: 0 };
        Manifest {
            directory: directory.to_owned(),
            file: None,
            header,
            sequence: 0,
            end: 0,
            must_rotate: true,
        }
    }

    /// Reads the manifest of an existing tree.
    pub(crate) async fn open(
        directory: &Path,
        partition: PartitionId,
    ) -> Result<Opened, StorageError> {
        let path = directory.join(FILE_NAME);
        let options = OpenOptions { read: true, write: true, ..OpenOptions::default() };
        let io = |operation| {
            let path = path.clone();
            move |error| StorageError::io(operation, &path, error)
        };
        let file = File::open(&path, &options).await.map_err(io("open"))?;
        let bytes = file.size().await.map_err(io("measure"))?;
        if bytes > FILE_BYTES_MAX {
            return Err(Corruption { file: path, offset: 0, damage: Damage::Foreign }.into());
        }
        let content = file.read_at(0, bytes as usize).await.map_err(io("read"))?;
        let recovered = recover(&content, partition).map_err(|at| Corruption {
            file: path.clone(),
            offset: at.offset,
            damage: at.damage,
        })?;
        let manifest = Manifest {
            directory: directory.to_owned(),
            file: Some(file),
            header: recovered.header,
            sequence: recovered.edits.len() as u64,
            end: recovered.end,
            must_rotate: recovered.is_worn,
        };
        Ok(Opened { manifest, edits: recovered.edits })
    }

    /// Makes an edit durable; `next` is the version after it.
    ///
    /// After [`StorageError::OutOfSpace`] and [`StorageError::Io`] the edit is not part of the
    /// tree, now or after a crash, once a later append has succeeded; until then it may be, so that
    /// no file it names may be removed. After [`StorageError::Poisoned`] nobody knows.
    pub(crate) async fn append(&mut self, edit: &Edit, next: &Version) -> Result<(), StorageError> {
        let payload = encode_edit(edit);
        let fits = self.end + record_bytes(payload.len()) as u64 <= self.header.file_bytes;
        let file = self.file.clone().filter(|_| !self.must_rotate && fits);
        let Some(file) = file else {
            return self.rotate(&next.snapshot(edit.durable_index, edit.next_number)).await;
        };
        let record = encode_record(&self.header, self.sequence, &payload);
        let path = self.directory.join(FILE_NAME);
        // Until the record is known to be whole: after an error, or if this future is dropped.
        self.must_rotate = true;
        let buffer = Buffer::from_slice_padded(&record);
        let written = file.write_at(self.end, buffer).await;
        written.map_err(|error| StorageError::io("append to", &path, error))?;
        file.sync().await.map_err(|error| poisoned(&path, error))?;
        self.must_rotate = false;
        self.sequence += 1;
        self.end += record.len() as u64;
        Ok(())
    }

    /// Length of the file, in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.header.file_bytes
    }

    /// Reads the file again and checks it. Gives whether it should be written anew: of each record
    /// one copy is whole, but not both.
    pub(crate) async fn verify(&self) -> Result<bool, StorageError> {
        let path = self.directory.join(FILE_NAME);
        let Some(file) = &self.file else {
            return Err(Corruption { file: path, offset: 0, damage: Damage::Missing }.into());
        };
        let content = file
            .read_at(0, self.header.file_bytes as usize)
            .await
            .map_err(|error| StorageError::io("read", &path, error))?;
        let corrupt =
            |offset, damage| StorageError::from(Corruption { file: path.clone(), offset, damage });
        let recovered =
            recover(&content, self.header.partition).map_err(|at| corrupt(at.offset, at.damage))?;
        let agrees = recovered.header == self.header
            && recovered.edits.len() as u64 == self.sequence
            && recovered.end == self.end;
        // A file that is to be replaced may end in a record that does not count.
        if agrees || self.must_rotate {
            Ok(recovered.is_worn)
        } else {
            Err(corrupt(recovered.end, Damage::Checksum))
        }
    }

    /// Makes what was read last, whatever of it an earlier life had synced: `snapshot` is written
    /// as a new file. Syncing the old one is not enough where an earlier sync of it failed; on a
    /// full disk it is all that can be done, and the next edit that fits makes up for it.
    pub(crate) async fn renew(&mut self, snapshot: &Edit) -> Result<(), StorageError> {
        match self.rotate(snapshot).await {
            Err(StorageError::OutOfSpace { .. }) => {}
            renewed => return renewed,
        }
        self.must_rotate = true;
        let path = self.directory.join(FILE_NAME);
        if let Some(file) = &self.file {
            file.sync().await.map_err(|error| poisoned(&path, error))?;
        }
        let synced = fs::sync_dir(&self.directory).await;
        synced.map_err(|error| poisoned(&self.directory, error))
    }

    /// Replaces everything that the file says by `snapshot`, in one step.
    ///
    /// After [`StorageError::OutOfSpace`] and [`StorageError::Io`] the old file counts; after
    /// [`StorageError::Poisoned`], or if this future is dropped, nobody knows.
    pub(crate) async fn replace(&mut self, snapshot: &Edit) -> Result<(), StorageError> {
        self.rotate(snapshot).await
    }

    async fn rotate(&mut self, snapshot: &Edit) -> Result<(), StorageError> {
        // Should this future be dropped, the file may not be the one under the name any more.
        self.must_rotate = true;
        let (file, header, end) =
            write_file(&self.directory, self.header.partition, snapshot).await?;
        self.file = Some(file);
        self.header = header;
        self.sequence = 1;
        self.end = end;
        self.must_rotate = false;
        Ok(())
    }
}

/// Writes a manifest file with a snapshot and gives it its name.
async fn write_file(
    directory: &Path,
    partition: PartitionId,
    snapshot: &Edit,
) -> Result<(File, FileHeader, u64), StorageError> {
    let new_path = directory.join(NEW_FILE_NAME);
    let path = directory.join(FILE_NAME);
    let payload = encode_edit(snapshot);
    let end = record_bytes(payload.len());
    let file_bytes = (end + EDIT_SPACE_BYTES).next_multiple_of(PAGE_BYTES) as u64;
    let header = FileHeader { partition, identity: LogIdentity(random::next_u64()), file_bytes };
    let record = encode_record(&header, 0, &payload);
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
    file.preallocate(file_bytes).await.map_err(io("preallocate"))?;
    file.write_at(0, Buffer::from_slice_padded(&record)).await.map_err(io("write"))?;
    file.sync().await.map_err(|error| poisoned(&new_path, error))?;
    fs::rename(&new_path, &path).await.map_err(|error| poisoned(&path, error))?;
    fs::sync_dir(directory).await.map_err(|error| poisoned(directory, error))?;
    Ok((file, header, end as u64))
}
