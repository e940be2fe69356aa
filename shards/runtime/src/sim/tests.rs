//! The simulator's promises, tested from the seam.

mod scheduler;

use super::{Options, Sim};

/// A simulation without faults.
fn sim(seed: u64) -> Sim {
    Sim::new(Options::new(seed))
}
