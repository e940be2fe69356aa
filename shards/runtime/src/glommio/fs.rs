//! Files of a real core: direct I/O by io_uring, the rest on the helper threads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs as os;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glommio::GlommioError;
use glommio::io::{BufferedFile, DmaFile, ReadResult};

use super::buffer::AlignedBytes;
use crate::fs::{ALIGNMENT, Buffer, DirEntry, OpenOptions, with_path};
use crate::{random, task};

thread_local! {
    /// Writes and syncs of this core that the kernel works on.
    static UNDER_WAY: Cell<u32> = const { Cell::new(0) };
}

/// Whether the core waits for the device to take something in. Its kernel worker shares the
/// core's processor, so a core that spins meanwhile waits for itself.
pub(crate) fn writes_are_under_way() -> bool {
    UNDER_WAY.get() > 0
}

/// Counts a write as under way for as long as it lives.
struct UnderWay;

impl UnderWay {
    fn begin() -> Self {
        UNDER_WAY.set(UNDER_WAY.get() + 1);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.set(UNDER_WAY.get() - 1);
    }
}

/// Bytes of zeros written at once by `preallocate`.
const PREALLOCATE_STEP: usize = 1 << 20;

/// An open file.
#[derive(Clone)]
pub(crate) struct File {
    handle: Handle,
    path: Rc<Path>,
}

#[derive(Clone)]
enum Handle {
    Direct(Rc<DmaFile>),
    Buffered(Rc<BufferedFile>),
}

/// The kernel's error inside the executor's.
fn io_error<T>(error: GlommioError<T>) -> io::Error {
    match error {
        GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => source,
        other => io::Error::other(other.to_string()),
    }
}

impl File {
    pub(crate) async fn open(path: &Path, options: &OpenOptions) -> io::Result<Self> {
        // The executor creates without asking whether writing was asked for; say it in its words.
        let mut how = glommio::io::OpenOptions::new();
        how.read(options.read)
            .write(options.write)
            .create(options.create)
            .create_new(options.create_new)
            .truncate(options.truncate);
        if options.dsync {
            how.custom_flags(libc::O_DSYNC);
        }
        let opened = if options.direct {
            probe_device(path).await?;
            how.dma_open(path).await.map(|file| Handle::Direct(Rc::new(file)))
        } else {
            how.buffered_open(path).await.map(|file| Handle::Buffered(Rc::new(file)))
        };
        match opened {
            Ok(handle) => Ok(Self { handle, path: path.into() }),
            Err(error) => Err(open_error(path, options, io_error(error))),
        }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> io::Error {
        with_path(operation, &self.path, source)
    }

    pub(crate) async fn read_at(&self, pos: u64, len: usize) -> io::Result<Buffer> {
        if len == 0 {
            return Ok(Buffer::zeroed(0));
        }
        let align = ALIGNMENT as u64;
        let begin = pos - pos % align;
        let skip = (pos - begin) as usize;
        let whole = (skip + len).next_multiple_of(ALIGNMENT);
        let first = self.read_aligned(begin, whole).await?;
        if first.len() >= skip + len || !first.len().is_multiple_of(ALIGNMENT) || first.is_empty() {
            let found = first.len().saturating_sub(skip).min(len);
            let bytes = ReadResult::slice(&first, skip.min(first.len()), found);
            return Ok(Buffer::from_bytes(bytes.map_or(AlignedBytes::Empty, AlignedBytes::Read)));
        }
        self.read_rest(begin, whole, first).await.map(|gathered| {
            let found = gathered.len().saturating_sub(skip).min(len);
            let bytes = gathered.get(skip..skip + found).unwrap_or_default();
            Buffer::from_bytes(AlignedBytes::padded(bytes, bytes.len()))
        })
    }

    /// Goes on where a read came back short at a block's end: the file ends there, or the kernel
    /// was interrupted.
    async fn read_rest(&self, begin: u64, whole: usize, first: ReadResult) -> io::Result<Vec<u8>> {
        let mut gathered = first.to_vec();
        while gathered.len() < whole && gathered.len().is_multiple_of(ALIGNMENT) {
            let more =
                self.read_aligned(begin + gathered.len() as u64, whole - gathered.len()).await?;
            if more.is_empty() {
                break;
            }
            gathered.extend_from_slice(&more);
        }
        Ok(gathered)
    }

    async fn read_aligned(&self, pos: u64, len: usize) -> io::Result<ReadResult> {
        let read = match &self.handle {
            Handle::Direct(file) => file.read_at_aligned(pos, len).await,
            Handle::Buffered(file) => file.read_at(pos, len).await,
        };
        read.map_err(|error| self.failed("read", io_error(error)))
    }

    pub(crate) async fn write_at(&self, pos: u64, buf: Buffer) -> io::Result<Buffer> {
        let _under_way = UnderWay::begin();
        let len = buf.len();
        let mut rest = match buf.into_bytes() {
            AlignedBytes::Empty => return Ok(Buffer::zeroed(0)),
            AlignedBytes::Owned(memory) => Rc::new(memory),
            AlignedBytes::Read(result) => match AlignedBytes::padded(&result, result.len()) {
                AlignedBytes::Owned(memory) => Rc::new(memory),
                AlignedBytes::Empty | AlignedBytes::Read(_) => return Ok(Buffer::zeroed(0)),
            },
        };
        let whole = rest.clone();
        let mut done = 0;
        loop {
            let written = match &self.handle {
                Handle::Direct(file) => file.write_rc_at(rest.clone(), pos + done as u64).await,
                Handle::Buffered(file) => {
                    file.write_at(rest.as_bytes().to_vec(), pos + done as u64).await
                }
            };
            let written = written.map_err(|error| self.failed("write", io_error(error)))?;
            done += written;
            if done >= len {
                break;
            }
            if written == 0 {
                return Err(self.failed("write", io::ErrorKind::WriteZero.into()));
            }
            // A short write: the device is full, or the kernel was interrupted. Asking for the
            // rest tells which. Blocks that were half written are written again.
            done -= done % ALIGNMENT;
            let AlignedBytes::Owned(tail) =
                AlignedBytes::padded(&whole.as_bytes()[done..], len - done)
            else {
                break;
            };
            rest = Rc::new(tail);
        }
        drop(rest);
        Ok(match Rc::try_unwrap(whole) {
            Ok(memory) => Buffer::from_bytes(AlignedBytes::Owned(memory)),
            // The executor may let go of its reference a turn later.
            Err(shared) => Buffer::from_bytes(AlignedBytes::padded(shared.as_bytes(), len)),
        })
    }

    pub(crate) async fn sync(&self) -> io::Result<()> {
        let _under_way = UnderWay::begin();
        let synced = match &self.handle {
            Handle::Direct(file) => file.fdatasync().await,
            Handle::Buffered(file) => file.fdatasync().await,
        };
        synced.map_err(|error| self.failed("sync", io_error(error)))
    }

    pub(crate) async fn preallocate(&self, len: u64) -> io::Result<()> {
        let align = ALIGNMENT as u64;
        let size = self.size().await?;
        if size >= len {
            return Ok(());
        }
        // The rest of the last block is a hole of the file system's making, and reads as zeros.
        let mut pos = size.next_multiple_of(align);
        let end = len.next_multiple_of(align);
        let mut zeros = Buffer::zeroed(PREALLOCATE_STEP.min((end - pos) as usize));
        while pos < end {
            let step = (end - pos).min(PREALLOCATE_STEP as u64);
            zeros.truncate(step as usize);
            zeros = self.write_at(pos, zeros).await?;
            pos += step;
            task::yield_now().await;
        }
        if self.size().await? != len {
            self.truncate(len).await?;
        }
        self.sync().await
    }

    pub(crate) async fn truncate(&self, len: u64) -> io::Result<()> {
        let truncated = match &self.handle {
            Handle::Direct(file) => file.truncate(len).await,
            Handle::Buffered(file) => file.truncate(len).await,
        };
        truncated.map_err(|error| self.failed("truncate", io_error(error)))
    }

    pub(crate) async fn size(&self) -> io::Result<u64> {
        let size = match &self.handle {
            Handle::Direct(file) => file.file_size().await,
            Handle::Buffered(file) => file.file_size().await,
        };
        size.map_err(|error| self.failed("measure", io_error(error)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) async fn close(self) -> io::Result<()> {
        let closed = match self.handle {
            Handle::Direct(file) => file.close_rc().await.map(drop),
            Handle::Buffered(file) => match Rc::try_unwrap(file) {
                Ok(file) => file.close().await,
                Err(_others_use_it) => Ok(()),
            },
        };
        closed.map_err(|error| with_path("close", &self.path, io_error(error)))
    }
}

thread_local! {
    /// Devices whose polling the executor has found out about, on this core.
    static PROBED: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
}

/// Lets the executor find out on a file with content whether the device of `path` can be polled.
/// It asks once a device and core, by a read of the first file it opens there; a new, empty file
/// answers yes wherever it is, and all later reads fail.
async fn probe_device(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let device = match blocking("open", parent, |dir| os::metadata(dir).map(|m| m.dev())).await {
        Ok(device) => device,
        // The open itself will say what is wrong.
        Err(_unreachable) => return Ok(()),
    };
    if PROBED.with_borrow(|probed| probed.contains(&device)) {
        return Ok(());
    }
    let probe = parent.join(format!(".probe-{:016x}", random::next_u64()));
    let written = blocking("write", &probe, |probe| {
        os::write(probe, [0; ALIGNMENT])?;
        os::File::open(probe)?.sync_all()
    });
    // A directory that cannot be written holds files with content only.
    if written.await.is_ok() {
        if let Ok(file) = DmaFile::open(&probe).await {
            drop(file.close().await);
        }
        PROBED.with_borrow_mut(|probed| probed.insert(device));
    }
    drop(remove_file(&probe).await);
    Ok(())
}

/// Says what can be done where the file system refuses direct I/O.
fn open_error(path: &Path, options: &OpenOptions, source: io::Error) -> io::Error {
    let refused = options.direct && source.raw_os_error() == Some(libc::EINVAL);
    let source = if refused {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "the file system has no direct I/O (O_DIRECT): put the data on ext4, xfs or btrfs",
        )
    } else {
        source
    };
    with_path("open", path, source)
}

/// Runs what the kernel can only do synchronously on a helper thread.
async fn blocking<T: Send + 'static>(
    operation: &'static str,
    path: &Path,
    f: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let at: PathBuf = path.to_owned();
    // A panic on the helper thread would leave the core waiting for ever.
    let guarded = move || {
        catch_unwind(AssertUnwindSafe(|| f(&at)))
            .unwrap_or_else(|_panic| Err(io::Error::other("the helper thread panicked")))
    };
    let done = glommio::executor().spawn_blocking(guarded).await;
    done.map_err(|source| with_path(operation, path, source))
}

pub(crate) async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let to = to.to_owned();
    blocking("rename", from, move |from| os::rename(from, to)).await
}

pub(crate) async fn remove_file(path: &Path) -> io::Result<()> {
    blocking("remove", path, |path| os::remove_file(path)).await
}

pub(crate) async fn create_dir_all(path: &Path) -> io::Result<()> {
    blocking("create", path, |path| os::create_dir_all(path)).await
}

pub(crate) async fn remove_dir_all(path: &Path) -> io::Result<()> {
    blocking("remove", path, |path| os::remove_dir_all(path)).await
}

pub(crate) async fn read_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    blocking("list", path, |path| {
        let mut entries = Vec::new();
        for entry in os::read_dir(path)? {
            let entry = entry?;
            let about = match entry.metadata() {
                Ok(about) => about,
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: about.is_dir(),
                size: about.len(),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    })
    .await
}

pub(crate) async fn exists(path: &Path) -> io::Result<bool> {
    blocking("look for", path, |path| path.try_exists()).await
}

pub(crate) async fn sync_dir(path: &Path) -> io::Result<()> {
    blocking("sync", path, |path| os::File::open(path)?.sync_all()).await
}

pub(crate) async fn available_space(path: &Path) -> io::Result<u64> {
    let about = about_file_system(path).await?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

pub(crate) async fn total_space(path: &Path) -> io::Result<u64> {
    let about = about_file_system(path).await?;
    Ok(usable_blocks(&about).saturating_mul(about.f_frsize))
}

/// Those in use and those that may be: without the free ones that are kept for the superuser.
fn usable_blocks(about: &libc::statvfs) -> u64 {
    about.f_blocks.saturating_sub(about.f_bfree).saturating_add(about.f_bavail)
}

async fn about_file_system(path: &Path) -> io::Result<libc::statvfs> {
    blocking("measure", path, |path| {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        let mut about = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `path` ends in a zero byte and `about` has room for the answer.
        if unsafe { libc::statvfs(path.as_ptr(), about.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so it filled all of `about`.
        Ok(unsafe { about.assume_init() })
    })
    .await
}
