//! What a node asks of its disk: the calls behind `crate::fs`.

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::super::choice::Random;
use super::super::core::{Core, current};
use super::image::{Change, PAGE, pages_of};
use super::namespace::{DirectoryNode, FileNode, NameChange, Node};
use super::{Disk, Operations, Request, os_error};
use crate::fs::{Buffer, DirEntry, OpenOptions, with_path};

/// An open file of a simulated disk; cloning gives another handle on it.
#[derive(Clone)]
pub(crate) struct File(Rc<OpenFile>);

struct OpenFile {
    core: Core,
    disk: Rc<Disk>,
    path: PathBuf,
    /// The same for orders to fail, which are asked with every operation.
    told_as: Rc<str>,
    options: OpenOptions,
    counted: Counted,
}

/// A file that is open, and counted as such.
struct Counted {
    file: Rc<FileNode>,
    open_files: Rc<Cell<usize>>,
}

impl Counted {
    fn new(file: Rc<FileNode>, open_files: &Rc<Cell<usize>>) -> Counted {
        open_files.set(open_files.get() + 1);
        Counted { file, open_files: Rc::clone(open_files) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open_files.set(self.open_files.get() - 1);
    }
}

fn request(operations: Operations, path: &Path) -> Request {
    Request { operations, path: path.to_string_lossy().into(), range: 0..0, change: None }
}

impl File {
    /// Opens a file as `open(2)` does.
    pub async fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
        let core = current();
        let disk = core.disk();
        let (wanted, options) = (path.to_owned(), *options);
        let work = move |disk: &Disk, _: &Random, fault: io::Result<()>| {
            fault?;
            let max = disk.faults.borrow().open_files_max;
            if disk.open_files.get() >= max {
                return Err(os_error(libc::EMFILE));
            }
            let file = disk.open_node(&wanted, options)?;
            Ok(Counted::new(file, &disk.open_files))
        };
        let opened = disk.submit(&core, request(Operations::NAMES, path), work).await;
        let counted = opened.map_err(|error| with_path("open", path, error))?;
        let told_as = path.to_string_lossy().into();
        let path = path.to_owned();
        Ok(File(Rc::new(OpenFile { core, disk, path, told_as, options, counted })))
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }

    fn node(&self) -> Rc<FileNode> {
        Rc::clone(&self.0.counted.file)
    }

    pub async fn size(&self) -> io::Result<u64> {
        let file = self.node();
        on_names("measure", self.path(), move |_| Ok(file.len())).await
    }

    /// Waits for an operation of this file.
    async fn submit<T: 'static>(
        &self,
        operation: &'static str,
        request: Request,
        work: impl FnOnce(&Disk, &Random, io::Result<()>) -> io::Result<T> + 'static,
    ) -> io::Result<T> {
        let answer = self.0.disk.submit(&self.0.core, request, work).await;
        answer.map_err(|error| with_path(operation, self.path(), error))
    }

    fn request(&self, operations: Operations, range: Range<u64>) -> Request {
        Request { operations, path: Rc::clone(&self.0.told_as), range, change: None }
    }

    /// Reads at most `len` bytes from `position` on; fewer at the end of the file.
    pub async fn read_at(&self, position: u64, len: usize) -> io::Result<Buffer> {
        if !self.0.options.read {
            return Err(with_path("read", self.path(), os_error(libc::EBADF)));
        }
        let file = self.node();
        let work = move |_: &Disk, _: &Random, fault: io::Result<()>| {
            fault?;
            let left = file.len().saturating_sub(position).min(len as u64);
            let mut buffer = Buffer::zeroed(left as usize);
            file.read(position, &mut buffer);
            Ok(buffer)
        };
        let range = position..position.saturating_add(len as u64);
        self.submit("read", self.request(Operations::READ, range), work).await
    }

    /// Writes whole pages at a multiple of the page size.
    ///
    /// # Panics
    /// When the position or the length is no multiple of 4,096: direct I/O would refuse that.
    pub async fn write_at(&self, position: u64, buffer: Buffer) -> io::Result<Buffer> {
        assert!(
            position.is_multiple_of(PAGE as u64) && buffer.len().is_multiple_of(PAGE),
            "unaligned write of {} bytes at {position} of {}",
            buffer.len(),
            self.path().display()
        );
        if buffer.is_empty() {
            return Ok(buffer);
        }
        let end = position.checked_add(buffer.len() as u64);
        let end = end.ok_or_else(|| with_path("write", self.path(), os_error(libc::EINVAL)))?;
        let first_page = position / PAGE as u64;
        let change = Change::Write { first_page, pages: pages_of(&buffer).into() };
        self.change("write", change, position..end, self.0.options.dsync).await?;
        Ok(buffer)
    }

    /// Writes and syncs zeros from the end of the file up to `len`; nothing where it is as long.
    pub async fn preallocate(&self, len: u64) -> io::Result<()> {
        let from = self.0.counted.file.len();
        if from >= len {
            return Ok(());
        }
        self.change("preallocate", Change::Zero { from, to: len }, from..len, true).await
    }

    /// Makes the file `len` bytes long.
    pub async fn truncate(&self, len: u64) -> io::Result<()> {
        self.change("truncate", Change::Truncate(len), 0..0, false).await
    }

    async fn change(
        &self,
        operation: &'static str,
        change: Change,
        range: Range<u64>,
        durably: bool,
    ) -> io::Result<()> {
        if !self.0.options.write {
            return Err(with_path(operation, self.path(), os_error(libc::EBADF)));
        }
        let len = match &change {
            Change::Truncate(len) => *len,
            Change::Write { .. } | Change::Zero { .. } => range.end,
        };
        let file = self.node();
        let made = change.clone();
        let work = move |disk: &Disk, random: &Random, fault: io::Result<()>| {
            let number = disk.number();
            if let Err(error) = fault {
                file.apply_interrupted(number, &made, random);
                return Err(error);
            }
            if file.growth(len) > disk.available() {
                return Err(os_error(libc::ENOSPC));
            }
            file.apply(number, made, durably);
            Ok(())
        };
        let request = Request {
            change: Some((self.node(), change)),
            ..self.request(Operations::WRITE, range)
        };
        self.submit(operation, request, work).await
    }

    /// Makes durable what was written before this call.
    pub async fn sync(&self) -> io::Result<()> {
        let file = self.node();
        let before = self.0.disk.number();
        let work = move |_: &Disk, _: &Random, fault: io::Result<()>| {
            match &fault {
                Ok(()) => file.sync(before),
                Err(_) => file.forget_unsynced(before),
            }
            fault
        };
        self.submit("sync", self.request(Operations::SYNC, 0..0), work).await
    }
}

impl Disk {
    fn open_node(&self, path: &Path, how: OpenOptions) -> io::Result<Rc<FileNode>> {
        match self.names.find(path) {
            Some(Node::Directory(_)) => Err(os_error(libc::EISDIR)),
            Some(Node::File(_)) if how.create_new => Err(os_error(libc::EEXIST)),
            Some(Node::File(file)) => {
                if how.truncate {
                    file.apply(self.number(), Change::Truncate(0), false);
                }
                Ok(file)
            }
            None if how.create || how.create_new => {
                let (directory, name) = self.parent(path)?;
                let file = Rc::new(FileNode::new(self.number(), Rc::clone(&self.used)));
                let node = Node::File(Rc::clone(&file));
                self.names.apply(self.number(), NameChange::Link { directory, name, node });
                Ok(file)
            }
            None => Err(os_error(libc::ENOENT)),
        }
    }

    fn parent(&self, path: &Path) -> io::Result<(Rc<DirectoryNode>, String)> {
        self.names.parent(path).ok_or_else(|| os_error(libc::ENOENT))
    }

    fn directory(&self, path: &Path) -> io::Result<Rc<DirectoryNode>> {
        match self.names.find(path) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(os_error(libc::ENOTDIR)),
            None => Err(os_error(libc::ENOENT)),
        }
    }

    /// Creates a directory and those above it that are missing.
    pub(super) fn make_directories(&self, path: &Path) -> io::Result<()> {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for path in above {
            match self.names.find(path) {
                Some(Node::Directory(_)) => {}
                Some(Node::File(_)) => return Err(os_error(libc::ENOTDIR)),
                None => {
                    let (directory, name) = self.parent(path)?;
                    let node = Node::Directory(Rc::new(DirectoryNode::new(self.number())));
                    self.names.apply(self.number(), NameChange::Link { directory, name, node });
                }
            }
        }
        Ok(())
    }

    fn rename_node(&self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.names.find(from).ok_or_else(|| os_error(libc::ENOENT))?;
        let target = self.names.find(to);
        match (&node, &target) {
            (Node::File(_), Some(Node::Directory(_))) => return Err(os_error(libc::EISDIR)),
            (Node::Directory(_), Some(Node::File(_))) => return Err(os_error(libc::ENOTDIR)),
            (Node::Directory(_), Some(Node::Directory(directory))) if !directory.is_empty() => {
                return Err(os_error(libc::ENOTEMPTY));
            }
            (Node::Directory(_), _) if to.starts_with(from) && to != from => {
                return Err(os_error(libc::EINVAL));
            }
            _ => {}
        }
        if target.is_some_and(|target| target.number() == node.number()) {
            return Ok(());
        }
        let change = NameChange::Rename { from: self.parent(from)?, to: self.parent(to)?, node };
        self.names.apply(self.number(), change);
        Ok(())
    }

    /// Takes a file's name away; its bytes go with the last one who has it open.
    pub(super) fn remove_file_node(&self, path: &Path) -> io::Result<()> {
        match self.names.find(path) {
            Some(Node::File(file)) => {
                let (directory, name) = self.parent(path)?;
                let change = NameChange::Unlink { directory, name, number: file.number };
                self.names.apply(self.number(), change);
                Ok(())
            }
            Some(Node::Directory(_)) => Err(os_error(libc::EISDIR)),
            None => Err(os_error(libc::ENOENT)),
        }
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        let directory = self.directory(path)?;
        for (name, node) in directory.entries() {
            let inner = path.join(&name);
            match node {
                Node::File(_) => self.remove_file_node(&inner)?,
                Node::Directory(_) => self.remove_tree(&inner)?,
            }
        }
        if let Some((parent, name)) = self.names.parent(path) {
            let number = directory.number;
            let change = NameChange::Unlink { directory: parent, name, number };
            self.names.apply(self.number(), change);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let listed = |(name, node)| match node {
            Node::File(file) => DirEntry { name, is_dir: false, size: file.len() },
            Node::Directory(_) => DirEntry { name, is_dir: true, size: 0 },
        };
        Ok(self.directory(path)?.entries().into_iter().map(listed).collect())
    }
}

/// Runs `work` on the core's disk as one operation of names on `path`.
async fn on_names<T: 'static>(
    operation: &'static str,
    path: &Path,
    work: impl FnOnce(&Disk) -> io::Result<T> + 'static,
) -> io::Result<T> {
    let core = current();
    let request = request(Operations::NAMES, path);
    let work = move |disk: &Disk, _: &Random, fault: io::Result<()>| {
        fault?;
        work(disk)
    };
    let answer = core.disk().submit(&core, request, work).await;
    answer.map_err(|error| with_path(operation, path, error))
}

/// Renames a file or a directory, over what is there; durable once the target's directory is synced.
pub(crate) async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let (source, target) = (from.to_owned(), to.to_owned());
    on_names("rename", from, move |disk| disk.rename_node(&source, &target)).await
}

/// Removes a file; durable once its directory is synced.
pub(crate) async fn remove_file(path: &Path) -> io::Result<()> {
    let wanted = path.to_owned();
    on_names("remove", path, move |disk| disk.remove_file_node(&wanted)).await
}

/// Creates a directory and those above it; each durable once the one above it is synced.
pub(crate) async fn create_dir_all(path: &Path) -> io::Result<()> {
    let wanted = path.to_owned();
    on_names("make directory", path, move |disk| disk.make_directories(&wanted)).await
}

/// Removes a directory and everything in it; durable name by name.
pub(crate) async fn remove_dir_all(path: &Path) -> io::Result<()> {
    let wanted = path.to_owned();
    on_names("remove directory", path, move |disk| disk.remove_tree(&wanted)).await
}

/// The entries of a directory, by name.
pub(crate) async fn read_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    let wanted = path.to_owned();
    on_names("read directory", path, move |disk| disk.list(&wanted)).await
}

/// Whether there is something by this name.
pub(crate) async fn exists(path: &Path) -> io::Result<bool> {
    let wanted = path.to_owned();
    on_names("look for", path, move |disk| Ok(disk.names.find(&wanted).is_some())).await
}

/// Makes the changes of names in a directory durable that were made before this call.
pub(crate) async fn sync_dir(path: &Path) -> io::Result<()> {
    let wanted = path.to_owned();
    let core = current();
    let disk = core.disk();
    let before = disk.number();
    let work = move |disk: &Disk, _: &Random, fault: io::Result<()>| {
        fault?;
        let directory = disk.directory(&wanted)?;
        disk.names.sync(&directory, before);
        Ok(())
    };
    let answer = disk.submit(&core, request(Operations::SYNC, path), work).await;
    answer.map_err(|error| with_path("sync directory", path, error))
}

/// Bytes the disk has left.
pub(crate) async fn available_space(path: &Path) -> io::Result<u64> {
    on_names("measure", path, |disk| Ok(disk.available())).await
}

/// Bytes the disk has room for.
pub(crate) async fn total_space(path: &Path) -> io::Result<u64> {
    on_names("measure", path, |disk| Ok(disk.capacity())).await
}
