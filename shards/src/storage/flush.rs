//! Carries memtables to disk: one worker a core.
//!
//! ```text
//! apply -> active memtable -> frozen (full, or the core is short of memory, or flush() was called)
//!       -> the log is durable up to its last entry -> table file in level 0, synced
//!       -> manifest edit with the entry's index -> the memtable goes, the log may be cut
//! ```

use std::rc::{Rc, Weak};
use std::time::Duration;

use runtime::time;

use super::core::Core;
use super::error::StorageError;
use super::job::{Change, Rewrite, Running, install, rewrite, sweep};
use super::merge::{MemtableIter, Merge, Source};
use super::table::iter::Walk;
use super::tree::TreeInner;

/// How long the worker waits after a failure in any case, so that a full disk does not keep it busy.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);
/// How long it waits then, unless somebody asks for a flush.
const RETRY_AFTER: Duration = Duration::from_millis(450);

/// Flushes until the core's storage goes or a sync fails.
pub(crate) async fn run(core: Weak<Core>) {
    loop {
        let Some(strong) = core.upgrade() else { return };
        if strong.check_health().is_err() {
            return;
        }
        let work = strong.flush_work.clone();
        match next(&strong) {
            Some(tree) => {
                let running = Running::new(&tree);
                let result = flush_oldest(&tree).await;
                drop(running);
                let failed = result.is_err();
                finish(&strong, &tree, result);
                sweep(&tree).await;
                strong.progress.notify_all();
                drop((strong, tree));
                if failed {
                    time::sleep(PAUSE_AFTER_FAILURE).await;
                    // Asked for or not, it is tried again.
                    let _asked = time::timeout(RETRY_AFTER, work.notified()).await;
                }
            }
            None => {
                for tree in strong.live_trees() {
                    if tree.has_unread() {
                        sweep(&tree).await;
                    }
                }
                drop(strong);
                work.notified().await;
            }
        }
    }
}

fn finish(core: &Core, tree: &TreeInner, result: Result<(), StorageError>) {
    tree.flush_attempts.set(tree.flush_attempts.get() + 1);
    *tree.flush_failure.borrow_mut() = result.err();
    match &*tree.flush_failure.borrow() {
        Some(error) => tree.note(error),
        None => core.compaction_work.notify_one(),
    }
}

/// The tree to flush next: of those with a memtable that is ready, one that has not just failed;
/// otherwise, when the core is short of memory, the one with the largest memtable.
fn next(core: &Core) -> Option<Rc<TreeInner>> {
    let trees = core.live_trees();
    let ready = trees
        .iter()
        .filter(|tree| tree.has_flushable())
        .min_by_key(|tree| (tree.flush_failure.borrow().is_some(), tree.flush_attempts.get()));
    if let Some(tree) = ready {
        return Some(Rc::clone(tree));
    }
    if core.memtables_bytes.get() < core.plan.memtables_soft {
        return None;
    }
    let largest = trees.iter().max_by_key(|tree| tree.active_bytes())?;
    largest.freeze();
    largest.has_flushable().then(|| Rc::clone(largest))
}

async fn flush_oldest(tree: &TreeInner) -> Result<(), StorageError> {
    let generation = tree.generation.get();
    let Some(memtable) = tree.flushable() else { return Ok(()) };
    let durable_index = memtable.last_index();
    let walk = Walk::Forward(Box::default());
    let source = Source::Memtable(MemtableIter::new(memtable, &walk));
    let merge = Merge::new(vec![source], false);
    // One table, however large the memtable: level 0 counts tables.
    let added = rewrite(tree, Rewrite { merge, beneath: 0, table_bytes: u64::MAX }).await?;
    let change = Change {
        generation,
        level: 0,
        added,
        moved: Vec::new(),
        removed: Vec::new(),
        durable_index: Some(durable_index),
    };
    install(tree, change).await
}
