//! The scrub: reads everything that the trees of a core have on disk, over and over and slowly, so
//! that damage is found while other replicas still have what it hit, and not when it is needed.
//!
//! A pass goes through all tables of all trees, and each tree's manifest, and begins at a random
//! place: a node that is often started again gets everywhere in time, too. It reads past the cache,
//! through a [`Throttle`], and lets other tasks run after every block. It holds one table at a time;
//! what compaction has replaced before its turn came needs no look, since compaction has read it.
//!
//! Table files are checked as [`super::Tree::verify`] does. A manifest of which one copy is damaged
//! is written anew from memory.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use runtime::task::yield_now;
use runtime::{random, time};

use super::core::Core;
use super::error::StorageError;
use super::table::{Table, TableNumber};
use super::throttle::Throttle;
use super::tree::TreeInner;
use super::verify::check_table;

/// A core that has just started has better things to do.
pub(crate) const START_AFTER: Duration = Duration::from_secs(30);
/// There is so long a rest between two passes at least.
pub(crate) const REST_MIN: Duration = Duration::from_secs(60);

/// What the scrub of a core has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubUse {
    /// Bytes that were read and checked, of damaged tables up to the damage.
    pub bytes: u64,
    /// Passes that have come to their end.
    pub passes: u64,
    /// Files that could not be read; the next pass tries them again.
    pub failures: u64,
}

/// How fast a scrub goes, and how far it has come.
pub(crate) struct Pace {
    throttle: Throttle,
    done: Rc<Cell<ScrubUse>>,
}

impl Pace {
    /// A rate in bytes a second, and where to count.
    pub(crate) fn new(bytes_per_second: u64, done: Rc<Cell<ScrubUse>>) -> Pace {
        Pace { throttle: Throttle::new(bytes_per_second), done }
    }

    /// Waits until `bytes` more may be read.
    pub(crate) async fn take(&self, bytes: usize) {
        self.throttle.take(bytes as u64).await;
        self.count(|done| done.bytes += bytes as u64);
    }

    /// Lets other tasks run.
    pub(crate) async fn rest(&self) {
        yield_now().await;
    }

    fn count(&self, change: impl FnOnce(&mut ScrubUse)) {
        let mut done = self.done.get();
        change(&mut done);
        self.done.set(done);
    }
}

/// Scrubs until the core's storage goes or a sync fails.
pub(crate) async fn run(core: Weak<Core>) {
    let pace = {
        let Some(core) = core.upgrade() else { return };
        Pace::new(core.options.scrub_bytes_per_second, Rc::clone(&core.scrubbed))
    };
    time::sleep(START_AFTER).await;
    loop {
        let began = time::now();
        let Some(strong) = core.upgrade() else { return };
        let interval = strong.options.scrub_interval;
        let mut trees: Vec<Weak<TreeInner>> =
            strong.live_trees().iter().map(Rc::downgrade).collect();
        drop(strong);
        turn(&mut trees);
        for tree in trees {
            let Some(tree) = tree.upgrade() else { continue };
            if tree.core.check_health().is_err() {
                return;
            }
            scrub_tree(&tree, &pace).await;
        }
        pace.count(|done| done.passes += 1);
        time::sleep_until((began + interval).max(time::now() + REST_MIN)).await;
    }
}

/// Has a list begin anywhere.
fn turn<T>(list: &mut [T]) {
    if !list.is_empty() {
        list.rotate_left(random::below(list.len() as u64) as usize);
    }
}

pub(crate) async fn scrub_tree(tree: &Rc<TreeInner>, pace: &Pace) {
    let mut numbers: Vec<TableNumber> =
        tree.version().tables().map(|table| table.meta.number).collect();
    turn(&mut numbers);
    for number in numbers {
        if tree.is_closed.get() {
            return;
        }
        let Some(table) = find(tree, number) else { continue };
        let checked = check_table(&tree.core, tree.partition, &table, Some(pace)).await;
        // Of one that has left the tree nobody reads any more, and its file may be gone.
        let counts =
            !tree.is_closed.get() && find(tree, number).is_some_and(|now| now.slot == table.slot);
        drop(table);
        if tree.has_unread() {
            tree.core.flush_work.notify_one();
        }
        if counts {
            note(tree, pace, checked);
        }
    }
    if !tree.is_closed.get() && tree.check_whole().is_ok() {
        let checked = scrub_manifest(tree, pace).await;
        note(tree, pace, checked);
    }
}

fn find(tree: &TreeInner, number: TableNumber) -> Option<Rc<Table>> {
    tree.version().tables().find(|table| table.meta.number == number).map(Rc::clone)
}

fn note(tree: &TreeInner, pace: &Pace, checked: Result<(), StorageError>) {
    match tree.noted(checked) {
        Ok(()) | Err(StorageError::Corruption(_) | StorageError::Closed) => {}
        Err(_) => pace.count(|done| done.failures += 1),
    }
}

async fn scrub_manifest(tree: &TreeInner, pace: &Pace) -> Result<(), StorageError> {
    let bytes = tree.manifest.lock().await.file_bytes();
    pace.take(bytes as usize).await;
    let is_worn = tree.manifest.lock().await.verify().await?;
    if is_worn { tree.renew_manifest().await } else { Ok(()) }
}
