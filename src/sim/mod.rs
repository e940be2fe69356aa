//! `phantomdb sim`: a whole node in the simulated world, under faults, beside an oracle.
//!
//! The node is the one that `phantomdb start` runs: [`crate::node::Assembly`], with its engines,
//! logs, storage, routers, sessions and listeners. Its host is simulated (`runtime::sim`): time,
//! chance, disk and network follow from one seed. On another simulated host, clients speak the
//! native protocol over simulated sockets.
//!
//! ```text
//!  ┌── load ──────────────────────────────┐   ┌── quiet ───────────────────────────────┐
//!  │ clients work (workload)              │   │ faults end, the node starts again where │
//!  │ the nemesis strikes, now and then    │──►│ it went down, with another number of    │──┐
//!  │ until the time is over or it is down │   │ cores too; everything is checked (check)│  │
//!  └──────────────────────────────────────┘   └─────────────────────────────────────────┘  │
//!          ▲                                                                               │
//!          └──────── again, until the time is used up; then a clean stop and a start ──────┘
//! ```
//!
//! Which faults, how many cores, partitions, clients, how large a log segment: all of it is drawn
//! from the seed, so that seeds differ in kind and not only in order. Of the faults that are
//! switched on, a seed uses some.
//!
//! What is checked, and when:
//!
//! * while faults strike: clients read their own rows as they wrote them, the bank's sum never
//!   changes, no statement is refused with an SQLSTATE that no fault and no other client explains;
//! * in quiet, with a bound on virtual time: the node serves; acknowledged rows are there, refused
//!   ones are not, those in doubt wholly or not at all; indexes lead to exactly their rows; unique
//!   codes are free or taken as the rows say; accounts hold what their movements make;
//!   every saga is wholly there or wholly undone, each of its steps once; no lock is
//!   left over; the schema is as it was acknowledged;
//! * with `bit-flip` and `zero-sector`: a refusal with XX001, or not to start, is right once data is
//!   damaged, and wrong data never is.
//!
//! The other scenario aims at commits: see `commits.rs`. Clusters of several nodes are in `cluster/`.
//!
//! What is not here: the schemas and workloads of users.

mod check;
mod client;
mod cluster;
mod commits;
mod machine;
pub mod oracle;
mod report;
mod run;
#[cfg(test)]
mod tests;
mod workload;

pub use cluster::{CLUSTER_FAULTS, ClusterFault, DEFAULT_CLUSTER_FAULTS};
pub use report::{CrashPlace, Report, Verdict};
pub use run::{DEFAULT_FAULTS, Scenario, SimOptions, run};
