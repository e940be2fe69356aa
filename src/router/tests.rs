//! Routers of several nodes, in the simulator.

pub(super) mod board;
mod deadlocks;
mod leases;
mod rollbacks;
mod schema;
mod sequences;
mod sessions;
mod statements;
