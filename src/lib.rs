//! PhantomDB as a library: the parts of the `phantomdb` program.

pub mod bench;
pub mod catalog;
pub mod cli;
pub mod cluster;
pub mod logging;
pub mod node;
pub mod pg;
pub mod router;
pub mod session;
pub mod sim;
pub mod sql;
pub mod txn;
