//! The step from the old tree to the received one.

use std::rc::Rc;

use model::id::LogIndex;
use runtime::fs;

use super::super::error::StorageError;
use super::super::job::{remove, sweep};
use super::super::memtable::Memtable;
use super::super::table::{Table, TableNumber};
use super::super::tree::TreeInner;
use super::super::version::Version;
use super::journal;
use super::receiver::{ReceiveError, Receiver};

impl Receiver {
    /// Replaces what the tree holds, in memory and in files, by what was received, and gives its
    /// applied index, which is the tree's from then on, whether it was behind that or ahead. Nothing
    /// may be applied meanwhile. After a crash there is the old tree or the new one.
    ///
    /// # Errors
    /// [`ReceiveError::OutOfPlace`] where something is still to come. After
    /// [`StorageError::OutOfSpace`] and [`StorageError::Io`] the tree is the old one, and
    /// [`Tree::receive`](super::super::Tree::receive) gives a receiver to try again with.
    pub async fn install(self) -> Result<LogIndex, ReceiveError> {
        let tree = Rc::clone(&self.tree.inner);
        tree.check_health()?;
        if self.position() != self.contents().end() {
            return Err(ReceiveError::OutOfPlace { expected: self.position() });
        }
        let index = self.contents().applied_index();
        let version = Version::default().edited(&[], self.tables());
        let replaced = replace(&tree, index, version).await;
        tree.noted(replaced)?;
        tree.installed.set(Some(self.journal.first));
        // It has nothing to keep any more. Should it stay, the next receipt or start removes it.
        remove(&tree.directory.join(journal::FILE_NAME)).await;
        drop(self);
        sweep(&tree).await;
        Ok(index)
    }
}

async fn replace(tree: &TreeInner, index: LogIndex, version: Version) -> Result<(), StorageError> {
    let synced = fs::sync_dir(&tree.directory).await;
    synced.map_err(|error| StorageError::Poisoned {
        file: tree.directory.clone(),
        source: Rc::new(error),
    })?;
    let mut manifest = tree.manifest.lock().await;
    let snapshot = version.snapshot(index, TableNumber(tree.next_number.get()));
    // Until the new manifest is known to be in or out, none of its files may go, and none of the
    // old ones.
    let was_uncertain = tree.is_edit_uncertain.replace(true);
    match manifest.replace(&snapshot).await {
        Ok(()) => {}
        Err(error @ StorageError::Poisoned { .. }) => return Err(error),
        Err(error) => {
            tree.is_edit_uncertain.set(was_uncertain);
            return Err(error);
        }
    }
    tree.is_edit_uncertain.set(false);
    swap(tree, index, version);
    Ok(())
}

/// Makes the received version the tree's, in one step of the core.
fn swap(tree: &TreeInner, index: LogIndex, version: Version) {
    // Flushes and compactions that are under way come to nothing.
    tree.generation.set(tree.generation.get() + 1);
    let mut state = tree.state.borrow_mut();
    let memtables = state.frozen.iter().chain([&state.active]);
    let bytes: usize = memtables.map(|memtable| memtable.memory_bytes()).sum();
    let old: Vec<Rc<Table>> = state.version.tables().map(Rc::clone).collect();
    state.frozen.clear();
    state.active = Rc::new(Memtable::new(index));
    state.version = Rc::new(version);
    let fresh = state.active.memory_bytes();
    let total = &tree.core.memtables_bytes;
    total.set(total.get() + fresh - bytes);
    drop(state);
    tree.obsolete.borrow_mut().extend(old);
    let quarantine = tree.quarantine.borrow_mut().take();
    tree.leftovers.borrow_mut().extend(quarantine.into_iter().flat_map(|it| it.files));
    tree.core.damages.forget(tree.partition);
    tree.applied.set(index);
    tree.flushed.set(index);
    tree.log_durable.set(tree.log_durable.get().max(index));
    *tree.flush_failure.borrow_mut() = None;
    *tree.compaction_failure.borrow_mut() = None;
    tree.core.progress.notify_all();
    tree.core.compaction_work.notify_one();
}
