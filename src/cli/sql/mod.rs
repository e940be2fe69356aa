//! `phantomdb sql`.

pub mod catalog;
pub mod completion;
pub mod format;
pub mod interrupts;
pub mod meta;
pub mod report;
pub mod runner;
pub mod session;
pub mod shell;
pub mod splitter;
