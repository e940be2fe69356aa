//! Files.
//!
//! Shaped for a log and for table files: positions are given with each call, writes are aligned
//! and whole, reads take any range. Direct I/O by default: what was written with
//! [`OpenOptions::dsync`], or before [`File::sync`] returned, is on the device.
//!
//! Nothing here blocks the core: reads, writes and syncs are io_uring requests, and what the
//! kernel can only do synchronously (rename, remove, directories) runs on the core's helper
//! threads. A rename or a new name is durable only after [`sync_dir`] of its directory.
//!
//! An error keeps its [`io::ErrorKind`] and names operation and path; [`os_error`] tells the
//! kernel's number, for `ENOSPC`, `EIO` and their like.
//!
//! Direct I/O needs a file system that has it. tmpfs is served through the page cache; any other
//! file system without it is refused at open with an error that says so, and `direct: false`
//! serves files that need no durability of their own.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use crate::glommio::buffer::AlignedBytes;
use crate::world::{self, World};

/// Positions and lengths of writes are multiples of this, in bytes.
pub const ALIGNMENT: usize = 4096;

/// A read asks for at most this many bytes.
pub const READ_MAX: usize = 1 << 30;

/// Owned bytes whose memory starts at a multiple of [`ALIGNMENT`].
pub struct Buffer {
    bytes: AlignedBytes,
}

impl Buffer {
    /// `len` zero bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self { bytes: AlignedBytes::zeroed(len) }
    }

    /// A copy of `data`, padded with zeros to a multiple of [`ALIGNMENT`].
    #[must_use]
    pub fn from_slice_padded(data: &[u8]) -> Self {
        Self { bytes: AlignedBytes::padded(data, data.len().next_multiple_of(ALIGNMENT)) }
    }

    /// Keeps only the first `len` bytes; does nothing if there are no more than that.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    pub(crate) fn from_bytes(bytes: AlignedBytes) -> Self {
        Self { bytes }
    }

    pub(crate) fn into_bytes(self) -> AlignedBytes {
        self.bytes
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut_slice()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

/// How [`File::open`] opens.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Allow reads.
    pub read: bool,
    /// Allow writes.
    pub write: bool,
    /// Make the file if it is not there.
    pub create: bool,
    /// Make the file, and fail if it is there.
    pub create_new: bool,
    /// Empty the file first.
    pub truncate: bool,
    /// Go past the page cache. The default.
    pub direct: bool,
    /// Each write returns only when it is on the device.
    pub dsync: bool,
}

impl Default for OpenOptions {
    /// Read only, direct.
    fn default() -> Self {
        Self {
            read: true,
            write: false,
            create: false,
            create_new: false,
            truncate: false,
            direct: true,
            dsync: false,
        }
    }
}

/// An open file; cloning gives another handle on the same open file. It is closed with its last
/// handle.
#[derive(Clone)]
pub struct File {
    inner: Inner,
}

#[derive(Clone)]
enum Inner {
    Glommio(crate::glommio::fs::File),
    Sim(crate::sim::fs::File),
}

impl File {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// The kernel's, or [`io::ErrorKind::Unsupported`] where the file system has no direct I/O.
    pub async fn open(path: &Path, options: &OpenOptions) -> io::Result<Self> {
        let inner = match world::current() {
            World::None => return Err(world::no_world("a file")),
            World::Glommio => Inner::Glommio(crate::glommio::fs::File::open(path, options).await?),
            World::Sim => Inner::Sim(crate::sim::fs::File::open(path, options).await?),
        };
        Ok(Self { inner })
    }

    /// Reads `len` bytes from `pos`, fewer only at the end of the file. Any position and length;
    /// what is read around them for alignment is not returned.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::InvalidInput`] if `len` is over [`READ_MAX`].
    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<Buffer> {
        if len > READ_MAX || pos.checked_add(len as u64).is_none() {
            let source = io::ErrorKind::InvalidInput.into();
            return Err(with_path("read", self.path(), source));
        }
        match &self.inner {
            Inner::Glommio(file) => file.read_at(pos, len).await,
            Inner::Sim(file) => file.read_at(pos, len).await,
        }
    }

    /// Writes all of `buf` at `pos` and gives it back. `pos` and the length are multiples of
    /// [`ALIGNMENT`]. If it fails, any part may have been written, and the buffer is gone. If the
    /// future is dropped, the write may happen all the same.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::InvalidInput`] if not aligned.
    pub async fn write_at(&self, pos: u64, buf: Buffer) -> io::Result<Buffer> {
        let aligned = pos.is_multiple_of(ALIGNMENT as u64) && buf.len().is_multiple_of(ALIGNMENT);
        if !aligned {
            let source = io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} bytes at {pos} are not aligned", buf.len()),
            );
            return Err(with_path("write", self.path(), source));
        }
        match &self.inner {
            Inner::Glommio(file) => file.write_at(pos, buf).await,
            Inner::Sim(file) => file.write_at(pos, buf).await,
        }
    }

    /// Waits until all that was written, and the size, is on the device (`fdatasync`). After an
    /// error what is on the device is unknown: a later success proves nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn sync(&self) -> io::Result<()> {
        match &self.inner {
            Inner::Glommio(file) => file.sync().await,
            Inner::Sim(file) => file.sync().await,
        }
    }

    /// Extends the file to `len` bytes with zeros that are written and synced, so that later
    /// writes change no metadata and sync at the device's pace. What is there stays; a file that
    /// is as long or longer is left alone. Writes in pieces and lets other tasks run between them.
    ///
    /// # Errors
    /// The kernel's, `ENOSPC` above all; the file may then have any size up to `len`.
    pub async fn preallocate(&self, len: u64) -> io::Result<()> {
        match &self.inner {
            Inner::Glommio(file) => file.preallocate(len).await,
            Inner::Sim(file) => file.preallocate(len).await,
        }
    }

    /// Cuts the file, or extends it with a hole, to `len` bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn truncate(&self, len: u64) -> io::Result<()> {
        match &self.inner {
            Inner::Glommio(file) => file.truncate(len).await,
            Inner::Sim(file) => file.truncate(len).await,
        }
    }

    /// The file's size in bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn size(&self) -> io::Result<u64> {
        match &self.inner {
            Inner::Glommio(file) => file.size().await,
            Inner::Sim(file) => file.size().await,
        }
    }

    /// The path it was opened by; a rename since does not show.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.inner {
            Inner::Glommio(file) => file.path(),
            Inner::Sim(file) => file.path(),
        }
    }

    /// Closes the file if this is its last handle, and tells if that failed. Syncs nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn close(self) -> io::Result<()> {
        match self.inner {
            Inner::Glommio(file) => file.close().await,
            Inner::Sim(file) => {
                drop(file);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({})", self.path().display())
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name; what is not UTF-8 in it is shown as replacement characters.
    pub name: String,
    /// Whether it is a directory. A symbolic link is not.
    pub is_dir: bool,
    /// Size in bytes.
    pub size: u64,
}

/// Renames `from` to `to`, replacing what is there.
///
/// # Errors
/// The kernel's.
pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match world::current() {
        World::None => Err(world::no_world("renaming a file")),
        World::Glommio => crate::glommio::fs::rename(from, to).await,
        World::Sim => crate::sim::fs::rename(from, to).await,
    }
}

/// Removes a file.
///
/// # Errors
/// The kernel's.
pub async fn remove_file(path: &Path) -> io::Result<()> {
    match world::current() {
        World::None => Err(world::no_world("removing a file")),
        World::Glommio => crate::glommio::fs::remove_file(path).await,
        World::Sim => crate::sim::fs::remove_file(path).await,
    }
}

/// Makes a directory and its parents, as far as they are not there.
///
/// # Errors
/// The kernel's.
pub async fn create_dir_all(path: &Path) -> io::Result<()> {
    match world::current() {
        World::None => Err(world::no_world("making a directory")),
        World::Glommio => crate::glommio::fs::create_dir_all(path).await,
        World::Sim => crate::sim::fs::create_dir_all(path).await,
    }
}

/// Removes a directory with all that is in it.
///
/// # Errors
/// The kernel's.
pub async fn remove_dir_all(path: &Path) -> io::Result<()> {
    match world::current() {
        World::None => Err(world::no_world("removing a directory")),
        World::Glommio => crate::glommio::fs::remove_dir_all(path).await,
        World::Sim => crate::sim::fs::remove_dir_all(path).await,
    }
}

/// What is in a directory, sorted by name.
///
/// # Errors
/// The kernel's.
pub async fn read_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    match world::current() {
        World::None => Err(world::no_world("reading a directory")),
        World::Glommio => crate::glommio::fs::read_dir(path).await,
        World::Sim => crate::sim::fs::read_dir(path).await,
    }
}

/// Whether there is something at `path`.
///
/// # Errors
/// The kernel's, where it cannot tell.
pub async fn exists(path: &Path) -> io::Result<bool> {
    match world::current() {
        World::None => Err(world::no_world("looking for a file")),
        World::Glommio => crate::glommio::fs::exists(path).await,
        World::Sim => crate::sim::fs::exists(path).await,
    }
}

/// Makes the names in the directory durable: those that were made, renamed or removed before.
///
/// # Errors
/// The kernel's.
pub async fn sync_dir(path: &Path) -> io::Result<()> {
    match world::current() {
        World::None => Err(world::no_world("syncing a directory")),
        World::Glommio => crate::glommio::fs::sync_dir(path).await,
        World::Sim => crate::sim::fs::sync_dir(path).await,
    }
}

/// A lock on a file that no other process holds; it ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct LockFile {
    /// In the simulator a node's disk has no other user.
    _held: Option<std::fs::File>,
}

/// Locks the file at `path` against other processes, making it where it is not there; `None` where
/// another process holds it. Blocks the core for two system calls: for the start only.
///
/// # Errors
/// The kernel's.
pub async fn lock(path: &Path) -> io::Result<Option<LockFile>> {
    match world::current() {
        World::None => Err(world::no_world("locking a file")),
        World::Sim => Ok(Some(LockFile { _held: None })),
        World::Glommio => {
            let open =
                std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
            let file = open.map_err(|error| with_path("open", path, error))?;
            match file.try_lock() {
                Ok(()) => Ok(Some(LockFile { _held: Some(file) })),
                Err(std::fs::TryLockError::WouldBlock) => Ok(None),
                Err(std::fs::TryLockError::Error(error)) => Err(with_path("lock", path, error)),
            }
        }
    }
}

/// Bytes that an unprivileged process can still write to the file system that holds `path`.
///
/// # Errors
/// The kernel's.
pub async fn available_space(path: &Path) -> io::Result<u64> {
    match world::current() {
        World::None => Err(world::no_world("measuring a file system")),
        World::Glommio => crate::glommio::fs::available_space(path).await,
        World::Sim => crate::sim::fs::available_space(path).await,
    }
}

/// Bytes of the file system that holds `path`: those in use, by whomever, and those that
/// [`available_space`] tells. Free ones that are kept for the superuser are none of them, as with `df`.
///
/// # Errors
/// The kernel's.
pub async fn total_space(path: &Path) -> io::Result<u64> {
    match world::current() {
        World::None => Err(world::no_world("measuring a file system")),
        World::Glommio => crate::glommio::fs::total_space(path).await,
        World::Sim => crate::sim::fs::total_space(path).await,
    }
}

/// What a file operation failed on; inside the [`io::Error`]s of this module.
#[derive(Debug)]
pub struct FileError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "cannot {} {path}: {}", self.operation, self.source)
    }
}

impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Says what failed where. The kind stays.
pub(crate) fn with_path(operation: &'static str, path: &Path, source: io::Error) -> io::Error {
    let path = path.to_owned();
    io::Error::new(source.kind(), FileError { operation, path, source })
}

/// The kernel's error number behind `error`, as in `libc::EIO`, also behind the context that this
/// module adds.
#[must_use]
pub fn os_error(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let context = error.get_ref()?.downcast_ref::<FileError>()?;
        context.source.raw_os_error()
    })
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    #[test]
    fn buffers_are_aligned_and_padded() {
        let buffer = Buffer::from_slice_padded(b"hello");
        assert_eq!(buffer.len(), ALIGNMENT);
        assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
        assert_eq!(&buffer[..6], b"hello\0");
        assert!(buffer[5..].iter().all(|&b| b == 0));
        let mut odd = Buffer::zeroed(10);
        odd[9] = 1;
        odd.truncate(4);
        assert_eq!(*odd, [0; 4]);
        assert!(Buffer::zeroed(0).is_empty());
        assert!(Buffer::from_slice_padded(b"").is_empty());
    }

    #[test]
    fn errors_keep_kind_and_number() {
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        let error = with_path("write", Path::new("/data/wal"), full);
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(os_error(&error), Some(libc::ENOSPC));
        assert!(error.to_string().starts_with("cannot write /data/wal: No space"));
    }

    #[test]
    fn a_plain_thread_has_no_files() {
        let options = OpenOptions::default();
        let opening = std::pin::pin!(File::open(Path::new("/tmp/x"), &options));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Err(error)) = opening.poll(&mut cx) else {
            panic!("it waits, or worse, opens");
        };
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }
}
