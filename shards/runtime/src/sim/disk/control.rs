//! The hand that breaks a disk while it is in use.

use std::io;
use std::ops::{BitOr, Range};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::super::choice::{Traced, nanos};
use super::super::kernel::World;
use super::super::options::DiskFaults;
use super::image::{Image, SECTOR};
use super::namespace::{FileNode, Node};
use super::{Disk, os_error};

/// Kinds of operations on a disk.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Operations(u8);

impl Operations {
    /// Reading a file.
    pub const READ: Operations = Operations(1);
    /// Writing, preallocating and truncating a file.
    pub const WRITE: Operations = Operations(2);
    /// Syncing a file or a directory.
    pub const SYNC: Operations = Operations(4);
    /// Opening, listing, creating, renaming and removing.
    pub const NAMES: Operations = Operations(8);
    /// All of them.
    pub const ALL: Operations = Operations(15);

    pub(super) fn overlaps(self, other: Operations) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Operations {
    type Output = Operations;

    fn bitor(self, other: Operations) -> Operations {
        Operations(self.0 | other.0)
    }
}

/// Errors a disk can be told to give.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// `EIO`.
    InputOutput,
    /// `ENOSPC`.
    NoSpace,
    /// `EMFILE`.
    TooManyFiles,
}

impl From<DiskError> for io::Error {
    fn from(error: DiskError) -> io::Error {
        os_error(match error {
            DiskError::InputOutput => libc::EIO,
            DiskError::NoSpace => libc::ENOSPC,
            DiskError::TooManyFiles => libc::EMFILE,
        })
    }
}

/// An order to fail: the operations it concerns, and how often.
#[derive(Clone, Debug)]
pub struct DiskFault {
    operations: Operations,
    path_part: String,
    range: Option<Range<u64>>,
    pub(super) error: DiskError,
    times_left: Option<u32>,
}

impl DiskFault {
    /// Every one of these operations fails with `error`, until the orders are cleared.
    pub fn new(operations: Operations, error: DiskError) -> DiskFault {
        DiskFault { operations, path_part: String::new(), range: None, error, times_left: None }
    }

    /// Only operations on paths that contain `part`.
    pub fn on_path(mut self, part: impl Into<String>) -> DiskFault {
        self.path_part = part.into();
        self
    }

    /// Only reads and writes that touch these bytes of a file.
    pub fn on_bytes(mut self, range: Range<u64>) -> DiskFault {
        self.range = Some(range);
        self
    }

    /// Only the next one, then success.
    pub fn once(self) -> DiskFault {
        self.times(1)
    }

    /// Only the next so many.
    pub fn times(mut self, times: u32) -> DiskFault {
        self.times_left = Some(times);
        self
    }

    pub(super) fn concerns(&self, operations: Operations, path: &str, range: &Range<u64>) -> bool {
        let touches = |wanted: &Range<u64>| wanted.start < range.end && range.start < wanted.end;
        self.times_left != Some(0)
            && self.operations.overlaps(operations)
            && path.contains(&self.path_part)
            && self.range.as_ref().is_none_or(touches)
    }

    /// Counts one failure; whether it was the last.
    pub(super) fn used_up(&mut self) -> bool {
        match &mut self.times_left {
            None => false,
            Some(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
        }
    }
}

/// A file's contents, taken out to be put back later.
#[derive(Clone, Debug)]
pub struct StoredFile(Image);

/// Breaks one node's disk, and looks into it from outside: nothing here takes virtual time.
pub struct DiskControl {
    world: Rc<World>,
    disk: Rc<Disk>,
}

impl DiskControl {
    pub(in crate::sim) fn new(world: Rc<World>, node: u32) -> DiskControl {
        let disk = world.disk(node);
        world.trace.record(Traced::Control, u64::from(node), 0, world.now());
        DiskControl { world, disk }
    }

    fn file(&self, path: impl AsRef<Path>) -> io::Result<Rc<FileNode>> {
        match self.disk.names.find(path.as_ref()) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Gives an order to fail. Orders are asked in the order in which they were given.
    pub fn fail(&self, fault: DiskFault) {
        self.disk.orders.borrow_mut().push(fault);
    }

    /// Takes all orders to fail back.
    pub fn clear_failures(&self) {
        self.disk.orders.borrow_mut().clear();
    }

    /// Changes the disk's habits from now on.
    pub fn change(&self, change: impl FnOnce(&mut DiskFaults)) {
        change(&mut self.disk.faults.borrow_mut());
    }

    /// Sets how many bytes the disk holds.
    pub fn set_capacity(&self, bytes: u64) {
        self.change(|faults| faults.capacity = bytes);
    }

    /// Makes every operation take `times` as long.
    pub fn set_slowness(&self, times: u32) {
        self.disk.slowness.set(times.max(1));
    }

    /// These operations get no answer for `duration`; those under way neither.
    pub fn stall(&self, operations: Operations, duration: Duration) {
        let until = self.world.now().saturating_add(nanos(duration));
        let mut stalls = self.disk.stalls.borrow_mut();
        stalls.retain(|(_, until)| *until > self.world.now());
        stalls.push((operations, until));
    }

    /// Ends all stalls: operations are answered when their own time has come. Those that were
    /// stalled while under way still wait for the end of the stall that caught them.
    pub fn end_stalls(&self) {
        self.disk.stalls.borrow_mut().clear();
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.disk.used.get()
    }

    /// Operations under way.
    pub fn under_way(&self) -> usize {
        self.disk.under_way.borrow().len()
    }

    /// Changes to a file that no sync has made durable yet.
    pub fn unsynced_changes(&self, path: impl AsRef<Path>) -> io::Result<usize> {
        Ok(self.file(path)?.unsynced_changes())
    }

    /// All files: path from the root, and length.
    pub fn files(&self) -> Vec<(String, u64)> {
        let files = self.disk.names.files();
        files.into_iter().map(|(path, file)| (path, file.len())).collect()
    }

    /// A file's bytes as a read would see them.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let file = self.file(path)?;
        let mut bytes = vec![0; file.len() as usize];
        file.read(0, &mut bytes);
        Ok(bytes)
    }

    /// Inverts bit `bit` (0 to 7) of the byte at `offset`; false beyond the end.
    pub fn flip_bit(&self, path: impl AsRef<Path>, offset: u64, bit: u8) -> io::Result<bool> {
        let file = self.file(path)?;
        let inside = offset < file.len();
        file.damage(|image| {
            image.flip_bit(offset, bit);
        });
        Ok(inside)
    }

    /// Zeros the sector of 512 bytes in which `offset` lies.
    pub fn zero_sector(&self, path: impl AsRef<Path>, offset: u64) -> io::Result<()> {
        let start = offset - offset % SECTOR as u64;
        self.file(path)?.damage(|image| image.zero(start, start + SECTOR as u64));
        Ok(())
    }

    /// Cuts a file off, durably.
    pub fn truncate(&self, path: impl AsRef<Path>, len: u64) -> io::Result<()> {
        self.file(path)?.damage(|image| image.truncate(len.min(image.len())));
        Ok(())
    }

    /// Copies `len` bytes of a file to another place in it, as a write would that went astray.
    pub fn misdirect(
        &self,
        path: impl AsRef<Path>,
        from: u64,
        to: u64,
        len: usize,
    ) -> io::Result<()> {
        self.file(path)?.damage(|image| image.copy_within(from, to, len));
        Ok(())
    }

    /// Removes a file, durably.
    pub fn remove(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.disk.remove_file_node(path.as_ref())?;
        self.settle_names();
        Ok(())
    }

    /// Creates a directory and those above it, durably.
    pub fn create_dir_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.disk.make_directories(path.as_ref())?;
        self.settle_names();
        Ok(())
    }

    /// Makes all names durable.
    pub fn settle_names(&self) {
        self.disk.names.settle();
    }

    /// Takes a file's contents, to restore them later: an old version that comes back.
    pub fn store(&self, path: impl AsRef<Path>) -> io::Result<StoredFile> {
        Ok(StoredFile(self.file(path)?.image()))
    }

    /// Puts contents back that were taken before.
    pub fn restore(&self, path: impl AsRef<Path>, stored: &StoredFile) -> io::Result<()> {
        self.file(path)?.damage(|image| image.clone_from(&stored.0));
        Ok(())
    }
}
