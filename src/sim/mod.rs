//! Whole nodes in the simulated world.

pub mod oracle;
