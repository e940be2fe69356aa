//! Compaction: keeps the levels in shape and collects versions nobody can see.
//!
//! [`choose`] decides, [`collect`] sorts out versions, [`worker`] does the work in slices.

pub(crate) mod choose;
pub(crate) mod collect;
pub(crate) mod worker;
