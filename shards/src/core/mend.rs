//! Damaged files of this core's replicas are replaced by those of another replica.
//!
//! A replica that follows has its leader send the files, which take the place of its own while it goes on
//! following. One that leads gives up first: it serves nothing more, has another voter lead, and follows.
//! Where there is no other the damage stays, and who meets it is told.

use super::engine::Inner;
use crate::raft::{Group, GroupReport};
use crate::storage::DamageWatch;
use crate::txn::Partition;
use model::id::{NodeId, PartitionId};
use runtime::sync::Notify;
use runtime::time::{self, Instant};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// After an attempt that has failed the next one waits so long, and twice as long each time: a leader serves
/// nothing while it is tried.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// But no longer than this.
const TRY_AGAIN_MAX: Duration = Duration::from_secs(30);

/// How often it is looked whether another leads.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// So long a leader that has given up waits for another to lead, before it serves again what it can.
const HAND_OVER_MAX: Duration = Duration::from_secs(3);

/// Reports that are kept for who asks late.
const REPORTS_MAX: usize = 64;

/// What came of the attempts to mend a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MendReport {
    /// Reports of a core are numbered from 1.
    pub number: u64,
    /// Whose replica.
    pub partition: PartitionId,
    /// Why it has failed; it is tried again, and the same is not told twice in a row.
    pub outcome: Result<(), String>,
}

/// What was mended on this core.
#[derive(Default)]
pub(super) struct Mends {
    reports: RefCell<VecDeque<MendReport>>,
    count: Cell<u64>,
    mended: Cell<u64>,
    told: Notify,
}

impl Mends {
    fn note(&self, partition: PartitionId, outcome: Result<(), String>) {
        if outcome.is_ok() {
            self.mended.set(self.mended.get() + 1);
        }
        let mut reports = self.reports.borrow_mut();
        let last = reports.iter().rev().find(|report| report.partition == partition);
        if outcome.is_err() && last.is_some_and(|last| last.outcome == outcome) {
            return;
        }
        if reports.len() >= REPORTS_MAX {
            reports.pop_front();
        }
        self.count.set(self.count.get() + 1);
        reports.push_back(MendReport { number: self.count.get(), partition, outcome });
        self.told.notify_all();
    }

    /// Replicas that were made whole.
    pub(super) fn mended(&self) -> u64 {
        self.mended.get()
    }

    /// The first report after the one of number `seen`, as soon as there is one.
    pub(super) async fn next(&self, seen: u64) -> MendReport {
        loop {
            let next = self.reports.borrow().iter().find(|report| report.number > seen).cloned();
            match next {
                Some(next) => return next,
                None => self.told.notified().await,
            }
        }
    }
}

/// Mends one partition after the other, for as long as anybody holds the engine.
pub(super) async fn run(engine: Weak<Inner>, watch: DamageWatch) {
    // Those that were not mended: when they are tried again, and how long they had waited for this time.
    let mut waiting: BTreeMap<PartitionId, (Instant, Duration)> = BTreeMap::new();
    loop {
        let damaged = watch.damaged().await;
        waiting.retain(|partition, _| damaged.contains(partition));
        for partition in damaged {
            if waiting.get(&partition).is_some_and(|(until, _)| time::now() < *until) {
                continue;
            }
            let group = match engine.upgrade() {
                Some(inner) => inner.parts.log.group(partition),
                None => return,
            };
            // One without a group is on its way in or out.
            let Some(group) = group else { continue };
            let mended = mend(&engine, &group, partition).await;
            let waited = waiting.remove(&partition).map(|(_, waited)| waited);
            if mended.is_err() {
                let wait = waited.map_or(TRY_AGAIN, |waited| (waited * 2).min(TRY_AGAIN_MAX));
                waiting.insert(partition, (time::now() + wait, wait));
            }
            let Some(inner) = engine.upgrade() else { return };
            inner.mends.note(partition, mended);
        }
        // The damage of one that was not mended is still there.
        time::sleep(TRY_AGAIN).await;
    }
}

/// One attempt.
///
/// # Errors
/// Why it has failed.
async fn mend(engine: &Weak<Inner>, group: &Group, partition: PartitionId) -> Result<(), String> {
    let report = group.report();
    if report.leads {
        let here =
            engine.upgrade().map(|inner| inner.options.node).zip(given_up(engine, partition));
        let Some((node, _given_up)) = here else { return Ok(()) };
        hand_over(group, &report, node).await?;
    }
    group.fetch_files().await
}

/// Has another voter lead.
async fn hand_over(group: &Group, report: &GroupReport, node: NodeId) -> Result<(), String> {
    let next = successor(report, node).ok_or_else(|| "no other replica can lead".to_owned())?;
    group.transfer(next).await.map_err(|error| error.to_string())?;
    let until = time::now() + HAND_OVER_MAX;
    loop {
        let now = group.report();
        if !now.leads && now.leader.is_some() {
            return Ok(());
        }
        if time::now() >= until {
            return Err(format!("node {next} does not lead"));
        }
        time::sleep(LOOK_EVERY).await;
    }
}

/// The voter that has come furthest, besides this node.
fn successor(report: &GroupReport, node: NodeId) -> Option<NodeId> {
    let voters: BTreeSet<NodeId> = report.voters.iter().flatten().copied().collect();
    let others = voters.into_iter().filter(|voter| *voter != node);
    others.max_by_key(|voter| report.matched.get(voter).copied())
}

/// A partition that serves nothing here until this is dropped.
struct GivenUp(Rc<Partition>);

fn given_up(engine: &Weak<Inner>, partition: PartitionId) -> Option<GivenUp> {
    let here = engine.upgrade()?.parts.partitions.get(partition)?;
    here.give_up(true);
    Some(GivenUp(here))
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.give_up(false);
    }
}
