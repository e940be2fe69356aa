//! `phantomdb sql`.

pub mod catalog;
pub mod format;
pub mod meta;
pub mod report;
pub mod runner;
pub mod session;
pub mod splitter;
