//! The receiver's side: files of a checkpoint grow beside the tree's own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use runtime::fs::{self, Buffer, File, OpenOptions};

use super::super::error::{Corruption, StorageError};
use super::super::job::WriteCharge;
use super::super::table::format::PAGE_BYTES;
use super::super::table::{Table, TableMeta, TableNumber};
use super::super::tree::{Tree, TreeInner};
use super::super::verify::check_table;
use super::CHUNK_BYTES_MAX;
use super::checkpoint::{Chunk, chunk_checksum};
use super::contents::{Contents, FileAt, StreamPosition};
use super::journal::{self, Journal};

/// What has arrived is synced and noted in the journal when it is so many bytes: a crash costs no
/// more than this, and a sync is paid for by many chunks.
const SYNC_BYTES: u64 = 8 << 20;

/// Why a chunk was not taken, or a checkpoint not installed.
#[derive(Clone, Debug)]
pub enum ReceiveError {
    /// The chunk is not what was sent. It is wanted again.
    Damaged {
        /// Where it belongs.
        position: StreamPosition,
    },
    /// The chunk, or the end, is not what comes next.
    OutOfPlace {
        /// What comes next.
        expected: StreamPosition,
    },
    /// A file is complete, but its blocks are not those of the checkpoint. It begins anew.
    Refused {
        /// What is wrong with it.
        corruption: Corruption,
        /// Where it begins in the stream.
        position: StreamPosition,
    },
    /// The contents are those of another partition.
    Foreign,
    /// This disk or this tree has failed: [`StorageError::OutOfSpace`] where the disk is full.
    Storage(StorageError),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { position } => {
                write!(f, "the chunk at {} was changed on its way", position.0)
            }
            Self::OutOfPlace { expected } => {
                write!(f, "out of place: the bytes from {} on come next", expected.0)
            }
            Self::Refused { corruption, .. } => {
                write!(f, "a received file is refused: {corruption}")
            }
            Self::Foreign => f.write_str("the checkpoint is one of another partition"),
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReceiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused { corruption, .. } => Some(corruption),
            Self::Storage(error) => Some(error),
            Self::Damaged { .. } | Self::OutOfPlace { .. } | Self::Foreign => None,
        }
    }
}

impl From<StorageError> for ReceiveError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// Builds the files of a checkpoint in the directory of a tree, to replace the tree's own. Dropping
/// it stops the receipt where it is: [`Tree::receive`] goes on from there. Belongs to one core.
pub struct Receiver {
    pub(super) tree: Tree,
    pub(super) journal: Journal,
    /// Everything before this is in the files.
    position: StreamPosition,
    open: Option<OpenFile>,
    _turn: Turn,
}

/// The file that grows.
struct OpenFile {
    index: usize,
    file: File,
}

/// A tree has one receiver at a time.
struct Turn(Rc<TreeInner>);

impl Turn {
    fn take(tree: &Rc<TreeInner>) -> Result<Turn, StorageError> {
        if tree.is_receiving.replace(true) {
            return Err(StorageError::Busy { what: "another checkpoint is being received" });
        }
        Ok(Turn(Rc::clone(tree)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_receiving.set(false);
    }
}

impl Tree {
    /// Begins to receive a checkpoint, or goes on with it: where an earlier attempt with the same
    /// contents has stopped, [`Receiver::position`] says how far it had come. What was received of
    /// another checkpoint goes. The tree serves as before until [`Receiver::install`].
    ///
    /// # Errors
    /// [`StorageError::Busy`] while there is another receiver of this tree;
    /// [`StorageError::OutOfSpace`] where the disk has no room for what is still to come.
    pub async fn receive(&self, contents: Contents) -> Result<Receiver, ReceiveError> {
        let tree = &self.inner;
        if contents.partition != tree.partition {
            return Err(ReceiveError::Foreign);
        }
        tree.check_health()?;
        let turn = Turn::take(tree)?;
        let found = Journal::open(&tree.directory, tree.partition).await?;
        let mut journal =
            match found.filter(|found| *found.contents == contents && !tree.is_installed(found)) {
                Some(journal) => journal,
                None => {
                    tree.discard_received().await?;
                    let count = contents.file_count() as u64;
                    let first = TableNumber(tree.next_number.get());
                    tree.next_number.set(first.0 + count);
                    let created = Journal::create(&tree.directory, contents, first).await;
                    tree.noted(created)?
                }
            };
        let position = arrived(&tree.directory, &journal).await?;
        if position < journal.position {
            let back = journal.advance(position).await;
            tree.noted(back)?;
        }
        let missing = journal.contents.end().0 - position.0;
        let available = fs::available_space(&tree.directory).await;
        let available = available
            .map_err(|error| StorageError::io("measure the space of", &tree.directory, error))?;
        if available < missing {
            let file = tree.directory.join(journal::FILE_NAME);
            return Err(StorageError::OutOfSpace { file }.into());
        }
        Ok(Receiver { tree: self.clone(), journal, position, open: None, _turn: turn })
    }

    /// Removes what was received of a checkpoint that is not going to be installed.
    ///
    /// # Errors
    /// As for [`Self::receive`].
    pub async fn discard_received(&self) -> Result<(), StorageError> {
        self.inner.check_health()?;
        let _turn = Turn::take(&self.inner)?;
        self.inner.discard_received().await
    }
}

impl TreeInner {
    /// Whether the files of a receipt are the tree's: its journal is left over.
    fn is_installed(&self, journal: &Journal) -> bool {
        self.installed.get() == Some(journal.first)
    }

    async fn discard_received(&self) -> Result<(), StorageError> {
        // A manifest that names them may be there, where installing them was broken off.
        self.make_edit_certain().await?;
        let names = received_names(&self.directory, self).await?;
        let removed = !names.is_empty();
        for name in names {
            let path = self.directory.join(name);
            match fs::remove_file(&path).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StorageError::io("remove", &path, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        if removed {
            let synced = fs::sync_dir(&self.directory).await;
            synced.map_err(|error| StorageError::io("sync", &self.directory, error))?;
        }
        Ok(())
    }
}

/// The files of a receipt in a directory, the journal first: without it the others are orphans.
async fn received_names(directory: &Path, tree: &TreeInner) -> Result<Vec<String>, StorageError> {
    let listed = fs::read_dir(directory).await;
    let listed = listed.map_err(|error| StorageError::io("list", directory, error))?;
    let journal = Journal::open(directory, tree.partition).await?;
    let receipt = journal.filter(|journal| !tree.is_installed(journal));
    let tables = receipt.iter().flat_map(Journal::numbers).map(TableNumber::file_name);
    let names = [journal::FILE_NAME, journal::NEW_FILE_NAME].map(str::to_owned);
    let names = names.into_iter().chain(tables);
    Ok(names.filter(|name| listed.iter().any(|file| file.name == *name)).collect())
}

/// How far a receipt has come: as far as the journal says, and the files are there.
async fn arrived(directory: &Path, journal: &Journal) -> Result<StreamPosition, StorageError> {
    let listed = fs::read_dir(directory).await;
    let listed = listed.map_err(|error| StorageError::io("list", directory, error))?;
    for file in journal.contents.files() {
        let wanted = journal.position.0.min(file.ends()).saturating_sub(file.begins);
        let name = number(journal, &file).file_name();
        let bytes = listed.iter().find(|listed| listed.name == name).map_or(0, |file| file.size);
        if bytes < wanted {
            return Ok(StreamPosition(file.begins));
        }
    }
    Ok(journal.position)
}

/// A file's number in this tree. The later in the stream, the smaller: in level 0 the newest table comes
/// first and has the greatest number.
fn number(journal: &Journal, file: &FileAt<'_>) -> TableNumber {
    let behind = journal.contents.file_count() - 1 - file.index;
    TableNumber(journal.first.0 + behind as u64)
}

impl Receiver {
    /// What is received.
    pub fn contents(&self) -> &Contents {
        &self.journal.contents
    }

    /// What comes next: everything before it has arrived. At [`Contents::end`] everything has.
    pub fn position(&self) -> StreamPosition {
        self.position
    }

    /// Takes the chunk that comes next. Once a file is complete it is synced, read back and checked.
    /// After any error the receipt can go on from [`Self::position`], but after
    /// [`StorageError::Poisoned`].
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub async fn put(&mut self, chunk: &Chunk) -> Result<(), ReceiveError> {
        self.tree.inner.check_health()?;
        let contents = Rc::clone(&self.journal.contents);
        let out_of_place = ReceiveError::OutOfPlace { expected: self.position };
        if chunk.position != self.position {
            return Err(out_of_place);
        }
        let file = contents.file_at(chunk.position).ok_or(out_of_place)?;
        let offset = chunk.position.0 - file.begins;
        let len = chunk.bytes.len() as u64;
        let fits = (1..=CHUNK_BYTES_MAX as u64).contains(&len)
            && len.is_multiple_of(PAGE_BYTES as u64)
            && chunk.position.0 + len <= file.ends();
        let is_whole =
            || chunk_checksum(&chunk.bytes, file.meta.identity, offset) == chunk.checksum;
        if !fits || !is_whole() {
            return Err(ReceiveError::Damaged { position: chunk.position });
        }
        let result = self.write(&file, offset, &chunk.bytes).await;
        self.tree.inner.noted(result)?;
        let end = StreamPosition(chunk.position.0 + len);
        if end.0 == file.ends() {
            self.complete(&file).await?;
        } else if end.0 - self.journal.position.0 >= SYNC_BYTES {
            let synced = self.sync_to(end).await;
            self.tree.inner.noted(synced)?;
        }
        self.position = end;
        Ok(())
    }

    async fn write(
        &mut self,
        file: &FileAt<'_>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let path = self.path(file);
        let open = match self.open.take().filter(|open| open.index == file.index) {
            Some(open) => open,
            None => {
                let options = OpenOptions {
                    read: true,
                    write: true,
                    create: true,
                    truncate: offset == 0,
                    ..OpenOptions::default()
                };
                let opened = File::open(&path, &options).await;
                let opened = opened.map_err(|error| StorageError::io("create", &path, error))?;
                OpenFile { index: file.index, file: opened }
            }
        };
        let _charge = WriteCharge::new(&self.tree.inner.core, bytes.len());
        let written = open.file.write_at(offset, Buffer::from_slice_padded(bytes)).await;
        written.map_err(|error| StorageError::io("write", &path, error))?;
        self.open = Some(open);
        Ok(())
    }

    /// Makes what was written last, and notes it.
    async fn sync_to(&mut self, position: StreamPosition) -> Result<(), StorageError> {
        let Some(open) = &self.open else { return Ok(()) };
        let poisoned = |path: &Path, error| StorageError::Poisoned {
            file: path.to_owned(),
            source: Rc::new(error),
        };
        open.file.sync().await.map_err(|error| poisoned(open.file.path(), error))?;
        let directory = &self.tree.inner.directory;
        fs::sync_dir(directory).await.map_err(|error| poisoned(directory, error))?;
        self.journal.advance(position).await
    }

    /// Checks a file that has arrived. It counts only then.
    async fn complete(&mut self, file: &FileAt<'_>) -> Result<(), ReceiveError> {
        let tree = Rc::clone(&self.tree.inner);
        let begins = StreamPosition(file.begins);
        let table = Rc::new(self.table(file));
        match check_table(&tree.core, tree.partition, &table, None).await {
            Ok(()) => {}
            Err(StorageError::Corruption(corruption)) => {
                let back = self.journal.advance(begins).await;
                tree.noted(back)?;
                self.position = begins;
                return Err(ReceiveError::Refused { corruption, position: begins });
            }
            Err(error) => return Err(error.into()),
        }
        let synced = self.sync_to(StreamPosition(file.ends())).await;
        tree.noted(synced)?;
        self.open = None;
        Ok(())
    }

    fn path(&self, file: &FileAt<'_>) -> PathBuf {
        self.tree.inner.directory.join(number(&self.journal, file).file_name())
    }

    /// A file as a table of this tree.
    fn table(&self, file: &FileAt<'_>) -> Table {
        let meta = TableMeta { number: number(&self.journal, file), ..file.meta.clone() };
        Table::new(meta, self.tree.inner.core.next_slot(), self.path(file))
    }

    /// All files, with their levels, as tables of this tree.
    pub(super) fn tables(&self) -> Vec<(usize, Rc<Table>)> {
        let contents = &self.journal.contents;
        let files = contents.files().zip(&contents.edit.added);
        files.map(|(file, (level, _))| (*level, Rc::new(self.table(&file)))).collect()
    }
}

#[cfg(test)]
impl Receiver {
    /// How far a crash would leave the receipt.
    pub(crate) fn journal_position(&self) -> StreamPosition {
        self.journal.position
    }

    /// The checksum of a chunk of these bytes.
    pub(crate) fn checksum_at(&self, position: StreamPosition, bytes: &[u8]) -> u32 {
        let file = self.journal.contents.file_at(position).expect("a file is there");
        chunk_checksum(bytes, file.meta.identity, position.0 - file.begins)
    }
}
