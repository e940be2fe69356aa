//! Replication: a partition is a Raft group (openraft), its log the core's.

mod core_log;
mod group_log;
mod runtime;
#[cfg(test)]
mod tests;
mod types;
mod voters;

pub use runtime::SeamRuntime;
