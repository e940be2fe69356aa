//! Routers of several nodes, in the simulator.

pub(super) mod board;
mod leases;
mod schema;
mod sequences;
