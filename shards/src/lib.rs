//! The engine of one core: log, storage, transactions, execution.

pub mod core;
pub mod exec;
pub mod log;
pub mod storage;
mod txn;
pub mod wal;
