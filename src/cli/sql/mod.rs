//! `phantomdb sql`.

pub mod splitter;
