//! Faults that need to know the cluster: who leads, who is wanted.

use super::Run;
use super::replicas;
use crate::sim::client::Client;
use model::id::{NodeId, PartitionId};
use runtime::random;
use runtime::sim::Loss;
use runtime::task::{self, Task};
use runtime::time;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long a node that flaps is cut off, or is not, at most.
const FLAP_MAX: Duration = Duration::from_millis(1_500);
/// Nodes that may join while faults strike.
pub(super) const JOINING_MAX: u32 = 2;

/// A fault that a cluster can be struck with, besides those of its hosts.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterFault {
    /// The process dies that leads a partition, or loses its power.
    LeaderCrash,
    /// The node is cut off that leads a partition.
    LeaderIsolate,
    /// A node is cut off, and is not, again and again.
    Flapping,
    /// A partition is to be led by another node.
    MoveLeader,
    /// A node is to be free of leaders and replicas, until it is quiet.
    Drain,
    /// A new node joins.
    Join,
}

impl ClusterFault {
    /// All of them, with the names they are switched on by.
    pub const ALL: &'static [(ClusterFault, &'static str)] = &[
        (ClusterFault::LeaderCrash, "leader-crash"),
        (ClusterFault::LeaderIsolate, "leader-isolate"),
        (ClusterFault::Flapping, "flapping"),
        (ClusterFault::MoveLeader, "move-leader"),
        (ClusterFault::Drain, "drain"),
        (ClusterFault::Join, "join"),
    ];

    /// The name it is switched on by.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(fault, _)| *fault == self);
        found.map_or("unnamed", |(_, name)| name)
    }
}

impl fmt::Display for ClusterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ClusterFault {
    type Err = String;

    fn from_str(name: &str) -> Result<ClusterFault, String> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(fault, _)| *fault).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(_, name)| *name).collect();
            format!("of a cluster there are besides: {}", names.join(", "))
        })
    }
}

impl Run<'_> {
    /// Lets a fault happen, to a victim that is drawn.
    pub(super) fn strike_cluster(&mut self, fault: ClusterFault) {
        let at = match fault {
            ClusterFault::LeaderCrash | ClusterFault::LeaderIsolate => self.a_leader(),
            _ => self.a_node(),
        };
        let host = self.machines[at].number();
        log::info!(node = host; "strikes: {fault}");
        *self.tally.strikes.entry(fault.name()).or_default() += 1;
        match fault {
            ClusterFault::LeaderCrash if self.machines[at].is_running() => {
                let loss = if random::below(2) == 0 { Loss::Process } else { Loss::Power };
                self.sim.crash(host, loss);
            }
            ClusterFault::LeaderCrash => {}
            ClusterFault::LeaderIsolate => self.sim.network().isolate(host),
            ClusterFault::Flapping => {
                let flapping = flap(self.sim.network(), host);
                self.beside.push(task::spawn("flapping", flapping));
            }
            ClusterFault::MoveLeader => {
                let partitions = u64::from(self.machines[at].partitions()) + 1;
                if let Some(NodeId(node)) = self.machines[at].id() {
                    let partition = random::below(partitions);
                    self.order(format!("TRANSFER LEADER OF PARTITION {partition} TO NODE {node}"));
                }
            }
            ClusterFault::Drain => {
                if let Some(NodeId(node)) = self.machines[at].id() {
                    self.drained.insert(node);
                    self.order(format!("DRAIN NODE {node}"));
                }
            }
            ClusterFault::Join => self.join(),
        }
    }

    /// The host of a node that leads a partition; of any node where none does.
    fn a_leader(&self) -> usize {
        let partitions = u64::from(self.machines[0].partitions()) + 1;
        let partition = PartitionId(random::below(partitions) as u32);
        let leader = replicas::led(&self.machines).remove(&partition).and_then(|led| led.leader);
        let at = self.machines.iter().position(|machine| machine.id() == leader);
        at.filter(|_| leader.is_some()).unwrap_or_else(|| self.a_node())
    }

    fn a_node(&self) -> usize {
        random::below(self.machines.len() as u64) as usize
    }

    /// Tells some node what is wanted; whether it does is not waited for.
    fn order(&mut self, wish: String) {
        let door = self.shared.door();
        let telling = async move {
            match Client::connect(door).await {
                Ok(mut client) => {
                    let told = client.query(&format!("ALTER SYSTEM {wish}")).await;
                    log::info!("{wish}: {:?}", told.map(|answer| answer.tag));
                }
                Err(failure) => log::info!("{wish}: {failure}"),
            }
        };
        self.beside.push(task::spawn("operator", telling));
    }

    /// Starts one of the hosts that are kept for this.
    fn join(&mut self) {
        if let Some(machine) = self.spare.pop() {
            self.machines.push(machine);
            self.start(self.machines.len() - 1);
        }
    }

    /// What was ordered is taken back, with all nodes there.
    ///
    /// # Errors
    /// It cannot be in time.
    pub(super) async fn resume_all(&mut self, within: Duration) -> Result<(), super::Halt> {
        let end = time::now() + within;
        while let Some(node) = self.drained.first().copied() {
            let at = self.a_node();
            let mut client = self.connected(at, end.saturating_since(time::now())).await?;
            match client.query(&format!("ALTER SYSTEM RESUME NODE {node}")).await {
                Ok(_) => drop(self.drained.remove(&node)),
                Err(failure) if time::now() >= end => {
                    let what = format!("node {node} cannot be taken back: {failure}");
                    return Err(super::Halt::Broken(what));
                }
                Err(_not_yet) => time::sleep(super::RETRY).await,
            }
        }
        Ok(())
    }
}

/// Until it is dropped; the network is as it was left then.
async fn flap(network: runtime::sim::NetworkControl, host: u32) {
    loop {
        network.isolate(host);
        time::sleep(super::drawn(FLAP_MAX)).await;
        network.rejoin(host);
        time::sleep(super::drawn(FLAP_MAX)).await;
    }
}

/// Something that goes on while faults strike.
pub(super) type Beside = Vec<Task<()>>;

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::Fault;

    #[test]
    fn names_are_names_of_one_fault() {
        for (fault, name) in ClusterFault::ALL {
            assert_eq!((name.parse(), fault.to_string().as_str()), (Ok(*fault), *name));
            assert!(name.parse::<Fault>().is_err(), "{name} is two faults");
        }
        assert!("flood".parse::<ClusterFault>().unwrap_err().contains("leader-crash"));
    }
}
