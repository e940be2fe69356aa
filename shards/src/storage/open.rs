//! Opening a tree: from any state that a crash can leave behind.
//!
//! The manifest says what is part of the tree. What is read of it may be in the cache only, if the
//! process died between writing and syncing: before anything acts on it (a file that goes, a log
//! that is cut) it is made to last, by a manifest that is written anew. Table files it does not name are orphans of a flush
//! or compaction that did not end, and go, unless they are what has arrived of a checkpoint (see
//! [`snapshot`]); a `MANIFEST.new` is an unfinished rotation, and goes. A
//! table that the manifest names must be there with the length it had. Table files are not read:
//! their blocks are checked when they are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use model::id::{LogIndex, PartitionId};
use runtime::fs;

use super::core::Core;
use super::error::{Corruption, StorageError};
use super::manifest::{self, Manifest};
use super::snapshot::{self, Journal};
use super::table::format::Damage;
use super::table::{Table, TableMeta, TableNumber};
use super::tree::{Opening, Quarantine, Tree};
use super::version::{Edit, Version};

pub(crate) async fn open(
    core: &Rc<Core>,
    partition: PartitionId,
    directory: &Path,
) -> Result<Tree, StorageError> {
    let io = |operation| move |error| StorageError::io(operation, directory, error);
    fs::create_dir_all(directory).await.map_err(io("create"))?;
    let files = fs::read_dir(directory).await.map_err(io("list"))?;
    let files: HashMap<String, u64> =
        files.into_iter().filter(|file| !file.is_dir).map(|file| (file.name, file.size)).collect();
    let opening = if files.contains_key(manifest::FILE_NAME) {
        open_existing(core, partition, directory, &files).await?
    } else if files.keys().any(|name| TableNumber::from_file_name(name).is_some()) {
        let file = directory.join(manifest::FILE_NAME);
        return Err(Corruption { file, offset: 0, damage: Damage::Missing }.into());
    } else {
        create(partition, directory).await?
    };
    // The directory itself may be an earlier life's that did not come to this.
    sync_parent(directory).await?;
    let tree = Tree::new(Rc::clone(core), opening);
    core.trees.borrow_mut().push(Rc::downgrade(&tree.inner));
    core.compaction_work.notify_one();
    Ok(tree)
}

/// Opens a tree that is too damaged to be opened, for nothing but to be replaced by a checkpoint of
/// another replica. Nothing is written, and no file goes, before that.
pub(crate) async fn open_quarantined(
    core: &Rc<Core>,
    partition: PartitionId,
    directory: &Path,
    corruption: Corruption,
) -> Result<Tree, StorageError> {
    let files = fs::read_dir(directory).await;
    let files = files.map_err(|error| StorageError::io("list", directory, error))?;
    let receipt = Journal::open(directory, partition).await?;
    let received: HashSet<TableNumber> = receipt.iter().flat_map(Journal::numbers).collect();
    let numbers = || files.iter().filter_map(|file| TableNumber::from_file_name(&file.name));
    let after = |number: TableNumber| TableNumber(number.0 + 1);
    let next_number = numbers().map(after).chain(receipt.iter().map(Journal::next_number)).max();
    let old = numbers().filter(|number| !received.contains(number));
    let old = old.map(|number| directory.join(number.file_name())).collect();
    let tree = Tree::new(
        Rc::clone(core),
        Opening {
            partition,
            directory: directory.to_owned(),
            manifest: Manifest::absent(directory, partition),
            version: Version::default(),
            flushed: LogIndex(0),
            next_number: next_number.unwrap_or(TableNumber(1)),
        },
    );
    *tree.inner.quarantine.borrow_mut() = Some(Quarantine { corruption, files: old });
    core.trees.borrow_mut().push(Rc::downgrade(&tree.inner));
    Ok(tree)
}

async fn create(partition: PartitionId, directory: &Path) -> Result<Opening, StorageError> {
    let manifest = Manifest::create(directory, partition).await?;
    Ok(Opening {
        partition,
        directory: directory.to_owned(),
        manifest,
        version: Version::default(),
        flushed: LogIndex(0),
        next_number: TableNumber(1),
    })
}

/// Makes a directory's own name last.
async fn sync_parent(directory: &Path) -> Result<(), StorageError> {
    let parent = match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => directory,
    };
    fs::sync_dir(parent)
        .await
        .map_err(|error| StorageError::Poisoned { file: parent.to_owned(), source: Rc::new(error) })
}

async fn open_existing(
    core: &Core,
    partition: PartitionId,
    directory: &Path,
    files: &HashMap<String, u64>,
) -> Result<Opening, StorageError> {
    let opened = Manifest::open(directory, partition).await?;
    let receipt = Journal::open(directory, partition).await?;
    let manifest_path = directory.join(manifest::FILE_NAME);
    let replayed = replay(opened.edits).map_err(|damage| Corruption {
        file: manifest_path,
        offset: 0,
        damage,
    })?;
    for (_, meta) in replayed.tables.values() {
        let file = directory.join(meta.number.file_name());
        let damage = match files.get(&meta.number.file_name()) {
            None => Damage::Missing,
            Some(bytes) if *bytes != meta.file_bytes => Damage::Truncated,
            Some(_) => continue,
        };
        let offset = files.get(&meta.number.file_name()).copied().unwrap_or(0);
        return Err(Corruption { file, offset, damage }.into());
    }
    let tables = replayed.tables.values().map(|(level, meta)| {
        let path = directory.join(meta.number.file_name());
        (*level, Rc::new(Table::new(meta.clone(), core.next_slot(), path)))
    });
    let version = Version::default().edited(&[], tables);
    let mut manifest = opened.manifest;
    manifest.renew(&version.snapshot(replayed.durable_index, replayed.next_number)).await?;
    // One that has been installed has nothing to keep, nor one of an empty tree.
    let receipt = receipt.filter(|receipt| {
        let mut numbers = receipt.numbers().peekable();
        numbers.peek().is_some() && numbers.all(|number| !replayed.tables.contains_key(&number))
    });
    remove_orphans(directory, files, &replayed.tables, receipt.as_ref()).await?;
    let received = receipt.map_or(TableNumber(1), |receipt| receipt.next_number());
    Ok(Opening {
        partition,
        directory: directory.to_owned(),
        manifest,
        version,
        flushed: replayed.durable_index,
        next_number: replayed.next_number.max(received),
    })
}

pub(crate) struct Replayed {
    tables: BTreeMap<TableNumber, (usize, TableMeta)>,
    durable_index: LogIndex,
    next_number: TableNumber,
}

/// Adds up the edits, and checks that they make sense.
pub(crate) fn replay(edits: Vec<Edit>) -> Result<Replayed, Damage> {
    let mut all = Replayed {
        tables: BTreeMap::new(),
        durable_index: LogIndex(0),
        next_number: TableNumber(1),
    };
    for edit in edits {
        if edit.durable_index < all.durable_index || edit.next_number < all.next_number {
            return Err(Damage::Inconsistent);
        }
        all.durable_index = edit.durable_index;
        all.next_number = edit.next_number;
        for number in &edit.removed {
            all.tables.remove(number).ok_or(Damage::Inconsistent)?;
        }
        for (level, meta) in edit.added {
            let is_new = meta.number < all.next_number
                && all.tables.insert(meta.number, (level, meta)).is_none();
            if !is_new {
                return Err(Damage::Inconsistent);
            }
        }
    }
    let mut ranges: Vec<(usize, &[u8], &[u8])> = all
        .tables
        .values()
        .filter(|(level, _)| *level > 0)
        .map(|(level, meta)| (*level, &*meta.smallest, &*meta.largest))
        .collect();
    ranges.sort_unstable();
    let overlap = ranges.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].2 >= pair[1].1);
    if overlap { Err(Damage::Inconsistent) } else { Ok(all) }
}

async fn remove_orphans(
    directory: &Path,
    files: &HashMap<String, u64>,
    tables: &BTreeMap<TableNumber, (usize, TableMeta)>,
    receipt: Option<&Journal>,
) -> Result<(), StorageError> {
    let received: HashSet<TableNumber> = receipt.iter().flat_map(|it| it.numbers()).collect();
    let mut orphans: Vec<&String> = files
        .keys()
        .filter(|name| match TableNumber::from_file_name(name) {
            Some(number) => !tables.contains_key(&number) && !received.contains(&number),
            None if *name == snapshot::FILE_NAME => receipt.is_none(),
            None => [manifest::NEW_FILE_NAME, snapshot::NEW_FILE_NAME].contains(&name.as_str()),
        })
        .collect();
    orphans.sort();
    if orphans.is_empty() {
        return Ok(());
    }
    for name in orphans {
        let path = directory.join(name);
        match fs::remove_file(&path).await {
            Ok(()) => {}
            // A removal that the last life of this tree had begun has come to its end.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StorageError::io("remove", &path, error)),
        }
    }
    // Their numbers are used again: a removal that lasts only later must not take the new file.
    fs::sync_dir(directory).await.map_err(|error| StorageError::io("sync", directory, error))
}
