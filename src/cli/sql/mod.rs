//! `phantomdb sql`.

pub mod format;
pub mod splitter;
