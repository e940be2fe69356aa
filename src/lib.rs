//! PhantomDB as a library: the parts of the `phantomdb` program.

pub mod bench;
pub mod catalog;
pub mod cli;
pub mod logging;
pub mod router;
pub mod sim;
pub mod sql;
pub mod txn;
