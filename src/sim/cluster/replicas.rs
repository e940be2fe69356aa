//! What must hold of the replicas of a cluster: that there are as many as are wanted, and that they
//! are the same.

use crate::sim::machine::Machine;
use model::id::{NodeId, PartitionId};
use runtime::time;
use shards::core::Contents;
use shards::raft::GroupReport;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Every partition has its voters within this time once all nodes are there.
const VOTERS_WITHIN: Duration = Duration::from_secs(180);
/// Replicas are the same within this time once nothing is written.
const AGREE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Of each partition what its leader of the newest term says.
pub(super) fn led(machines: &[Machine<'_>]) -> BTreeMap<PartitionId, GroupReport> {
    let mut led: BTreeMap<PartitionId, GroupReport> = BTreeMap::new();
    for group in machines.iter().flat_map(|machine| machine.gauges().groups()) {
        let newer = led.get(&group.partition).is_none_or(|known| known.term < group.term);
        if group.leads && newer {
            led.insert(group.partition, group);
        }
    }
    led
}

/// How many voters a partition comes to have.
fn voters_wanted(machines: &[Machine<'_>], replication_factor: u8) -> usize {
    let most = machines.len().min(usize::from(replication_factor));
    // A number of voters is odd.
    most - (most + 1) % 2
}

/// The voters of every partition; why not all have as many as they are to have.
fn voters(
    machines: &[Machine<'_>],
    replication_factor: u8,
) -> Result<BTreeMap<PartitionId, BTreeSet<NodeId>>, String> {
    let wanted = voters_wanted(machines, replication_factor);
    let led = led(machines);
    let partitions = machines.first().map_or(0, Machine::partitions);
    let mut voters = BTreeMap::new();
    for partition in (0..=partitions).map(PartitionId) {
        let Some(group) = led.get(&partition) else {
            return Err(format!("nobody leads partition {partition}"));
        };
        match &group.voters[..] {
            [all] if all.len() == wanted => drop(voters.insert(partition, all.clone())),
            sets => return Err(format!("partition {partition} has the voters {sets:?}")),
        }
    }
    Ok(voters)
}

/// Waits until every partition has as many voters as it is to have.
///
/// # Errors
/// They have not in time.
pub(super) async fn await_voters(
    machines: &[Machine<'_>],
    replication_factor: u8,
) -> Result<(), String> {
    let end = time::now() + VOTERS_WITHIN;
    loop {
        match voters(machines, replication_factor) {
            Ok(_) => return Ok(()),
            Err(what) if time::now() >= end => {
                return Err(format!("{VOTERS_WITHIN:?} after all nodes were there {what}"));
            }
            Err(_not_yet) => time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Waits until every partition has its voters and all its replicas hold the same.
///
/// # Errors
/// They do not in time; or a replica cannot be read.
pub(super) async fn await_agreement(
    machines: &[Machine<'_>],
    replication_factor: u8,
) -> Result<(), String> {
    await_voters(machines, replication_factor).await?;
    let end = time::now() + AGREE_WITHIN;
    loop {
        let differ = match voters(machines, replication_factor) {
            Ok(voters) => disagreement(machines, &voters).await?,
            Err(what) => Some(what),
        };
        match differ {
            None => return Ok(()),
            Some(what) if time::now() >= end => {
                return Err(format!("{AGREE_WITHIN:?} after the last write {what}"));
            }
            Some(_not_yet) => time::sleep(LOOK_EVERY).await,
        }
    }
}

/// In what the replicas of some partition differ.
async fn disagreement(
    machines: &[Machine<'_>],
    voters: &BTreeMap<PartitionId, BTreeSet<NodeId>>,
) -> Result<Option<String>, String> {
    let mut held: BTreeMap<PartitionId, BTreeMap<NodeId, Contents>> = BTreeMap::new();
    for machine in machines {
        let Some(node) = machine.id() else { continue };
        let contents = machine.gauges().contents().await;
        let contents = contents.map_err(|why| format!("a replica of node {node}: {why}"))?;
        for contents in contents {
            held.entry(contents.partition).or_default().insert(node, contents);
        }
    }
    for (partition, voters) in voters {
        let held = held.remove(partition).unwrap_or_default();
        // Whoever takes part no more has stopped somewhere.
        let mut of_voters = voters.iter().map(|voter| held.get(voter));
        let first = of_voters.next().flatten();
        if first.is_none() || of_voters.any(|other| other != first) {
            let held: Vec<_> = voters.iter().map(|voter| (voter, held.get(voter))).collect();
            return Ok(Some(format!("the replicas of partition {partition} differ: {held:?}")));
        }
        if first.is_some_and(|held| held.prepared > 0 || held.decisions > 0) {
            return Ok(Some(format!("in partition {partition} a transaction is left: {first:?}")));
        }
    }
    Ok(None)
}
