//! What is to change about where replicas are and who leads: a pure function of the cluster as it is.
//!
//! ```text
//!  nodes, partitions ──► decide ──► steps: at most one a partition, a bounded number in all
//!          ▲                           │
//!          └──── the worker carries them out, and looks again
//! ```
//!
//! Nothing is remembered between two decisions. What was begun is seen from what there is: a learner
//! beside all the voters wanted is one that is to take a voter's place, and does once it has caught up
//! if that is still for the better. So the worker can die at any point.
//!
//! In this order, as long as steps are left:
//!
//! 1. joint changes that somebody left half done are ended;
//! 2. nodes that are to be free give away what they lead;
//! 3. voters that are lost (dead for longer than the policy says, unknown, or on a node that is to be
//!    free and leads nothing any more) are replaced, and missing ones added: a learner first, its vote
//!    once it has caught up; surplus voters and useless learners go;
//! 4. replicas move apart, where regions or zones allow;
//! 5. replicas are spread evenly, in relation to the nodes' cores;
//! 6. leaders are spread evenly.
//!
//! **What holds for each step.** All replicas of a partition are on distinct nodes. A change of voters
//! is one joint change, between odd counts; afterwards as many voters may fail as before (or as the
//! replication factor asks), and a quorum of them is alive. A voter that answers is not given up for
//! one that does not. Nothing is decided for a partition without a leader or a living quorum: that is
//! not to be mended by moving replicas.
//!
//! **What there is no step for.** With fewer nodes than the replication factor the largest odd number
//! of voters is all that is reached, and a learner on the node that is left over. A node that is to be
//! free keeps its replicas as long as there is nowhere else for them.

mod balance;
mod repair;
mod snapshot;
#[cfg(test)]
mod tests;
mod work;

pub use snapshot::{Learner, Liveness, Load, Node, Partition, Policy, Snapshot, Step, Wanted};

use work::Work;

/// The next steps; none where all is well, or nothing can be done.
pub fn decide(snapshot: &Snapshot, policy: &Policy) -> Vec<Step> {
    let mut work = Work::new(snapshot, policy);
    repair::finish_changes(&mut work);
    repair::free_of_leaders(&mut work);
    repair::repair(&mut work);
    repair::end_moves(&mut work);
    balance::spread(&mut work);
    balance::balance_replicas(&mut work);
    balance::balance_leaders(&mut work);
    work.into_steps()
}
