//! Replication: a partition is a Raft group (openraft), its log the core's.

mod runtime;

pub use runtime::SeamRuntime;
