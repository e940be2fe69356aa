//! Carries out compactions: a few workers a core, each with one compaction at a time. Two of one
//! tree may run side by side as long as they share no table.

use std::rc::{Rc, Weak};
use std::time::Duration;

use runtime::time;

use super::super::core::Core;
use super::super::error::StorageError;
use super::super::job::{Change, Rewrite, Running, install, rewrite, sweep};
use super::super::merge::{Merge, Source};
use super::super::table::iter::{Run, RunIter, Walk};
use super::super::table::{Table, TableNumber};
use super::super::tree::TreeInner;
use super::choose::{Choice, choose};

/// How long a worker waits after a failure.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Compacts until the core's storage goes or a sync fails.
pub(crate) async fn run(core: Weak<Core>) {
    loop {
        let Some(strong) = core.upgrade() else { return };
        if strong.check_health().is_err() {
            return;
        }
        let Some((tree, choice)) = next(&strong) else {
            let work = strong.compaction_work.clone();
            drop(strong);
            work.notified().await;
            continue;
        };
        let busy = Busy::new(&tree, &choice);
        let running = Running::new(&tree);
        // There may be more for another worker.
        strong.compaction_work.notify_one();
        let result = compact(&tree, choice).await;
        drop((busy, running));
        let failed = result.is_err();
        if let Err(error) = &result {
            tree.note(error);
        }
        *tree.compaction_failure.borrow_mut() = result.err();
        sweep(&tree).await;
        strong.progress.notify_all();
        drop((strong, tree));
        if failed {
            time::sleep(RETRY_AFTER).await;
        }
    }
}

/// The most urgent compaction of the tree with the most tables in level 0; a tree whose last
/// compaction failed comes after the others.
fn next(core: &Core) -> Option<(Rc<TreeInner>, Choice)> {
    let mut trees = core.live_trees();
    trees.sort_by_key(|tree| {
        let failed = tree.compaction_failure.borrow().is_some();
        (failed, std::cmp::Reverse(tree.level0_tables()))
    });
    let options = core.options.levels();
    trees.into_iter().find_map(|tree| {
        let choice = choose(&tree.version(), &tree.busy.borrow(), &options)?;
        Some((tree, choice))
    })
}

/// Keeps a compaction's tables out of other compactions while it lives.
struct Busy<'a> {
    tree: &'a TreeInner,
    numbers: Vec<TableNumber>,
}

impl<'a> Busy<'a> {
    fn new(tree: &'a TreeInner, choice: &Choice) -> Self {
        let numbers: Vec<_> = choice.tables().map(|table| table.meta.number).collect();
        tree.busy.borrow_mut().extend(numbers.iter().copied());
        Self { tree, numbers }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut busy = self.tree.busy.borrow_mut();
        for number in &self.numbers {
            busy.remove(number);
        }
    }
}

async fn compact(tree: &TreeInner, choice: Choice) -> Result<(), StorageError> {
    let generation = tree.generation.get();
    let level = choice.to();
    if choice.is_move() {
        let change = Change {
            generation,
            level,
            added: Vec::new(),
            moved: choice.inputs,
            removed: Vec::new(),
            durable_index: None,
        };
        return install(tree, change).await;
    }
    let removed = choice.tables().map(|table| table.meta.number).collect();
    let merge = Merge::new(sources(choice), false);
    let table_bytes = tree.core.options.table_bytes;
    let added = rewrite(tree, Rewrite { merge, beneath: level + 1, table_bytes }).await?;
    let change =
        Change { generation, level, added, moved: Vec::new(), removed, durable_index: None };
    install(tree, change).await
}

/// The inputs, newest first.
fn sources(choice: Choice) -> Vec<Source> {
    let run = |tables: Vec<Rc<Table>>| {
        let iter = RunIter::new(Run::Tables(tables), Walk::Forward(Box::default()), None);
        Source::Run(Box::new(iter))
    };
    let mut sources: Vec<Source> = if choice.from == 0 {
        choice.inputs.into_iter().map(|table| run(vec![table])).collect()
    } else {
        vec![run(choice.inputs)]
    };
    sources.push(run(choice.overlapping));
    sources
}
