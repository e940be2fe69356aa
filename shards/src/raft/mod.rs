//! Partitions as Raft groups (openraft): their log over the core's write-ahead log, the partition as
//! state machine, and the runtime and network that a group runs on.

mod beats;
mod campaign;
mod core_log;
mod group;
mod group_log;
mod joining;
mod life;
mod machine;
mod network;
mod pipeline;
mod runtime;
#[cfg(test)]
mod tests;
mod types;
mod voters;
mod wire;

pub(crate) use beats::Beats;
pub use core_log::LogDamage;
pub(crate) use core_log::{CoreLog, CoreLogOptions, Watcher};
pub(crate) use group::{Beginning, Group, LEASE, LEASE_BY_ANY_CLOCK, Leading, answer, config};
pub use group::{Change, GroupReport};
pub(crate) use joining::Invitation;
pub(crate) use machine::{Applier, Held};
pub use network::{Alone, Nodes, Unreached};
#[cfg(test)]
pub(crate) use tests::{is_append, partition_asked};
pub(crate) use types::{Answer, Batch, Flight, Flights, LogId, Partitions};
