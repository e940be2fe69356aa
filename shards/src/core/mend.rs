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
use runtime::time;
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Between two attempts.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How often it is looked whether another leads.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// So long a leader that has given up waits for another to lead, before it serves again what it can.
const HAND_OVER_MAX: Duration = Duration::from_secs(3);

/// Mends one partition after the other, for as long as anybody holds the engine.
pub(super) async fn run(engine: Weak<Inner>, watch: DamageWatch) {
    loop {
        let damaged = watch.damaged().await;
        for partition in damaged {
            let group = match engine.upgrade() {
                Some(inner) => inner.parts.log.group(partition),
                None => return,
            };
            // One without a group is on its way in or out.
            let Some(group) = group else { continue };
            let mended = mend(&engine, &group, partition).await;
            let Some(inner) = engine.upgrade() else { return };
            match mended {
                Ok(()) => {
                    inner.counters.mended.set(inner.counters.mended.get() + 1);
                    inner.counters.unmended.borrow_mut().remove(&partition);
                }
                Err(why) => drop(inner.counters.unmended.borrow_mut().insert(partition, why)),
            }
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
