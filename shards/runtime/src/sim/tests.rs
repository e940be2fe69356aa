//! The simulator's promises, tested from the seam.

mod disk;
mod nemesis;
mod network;
mod power_loss;
mod scheduler;

use std::rc::Rc;
use std::time::Duration;

use super::{CLIENT, Loss, Options, Sim};
use crate::fs::{self, Buffer, File, OpenOptions};

const MS: Duration = Duration::from_millis(1);

/// A simulation without faults.
fn sim(seed: u64) -> Sim {
    Sim::new(Options::new(seed))
}

/// Opens a file for reading and writing, and creates it where it is missing.
async fn open(path: &str, dsync: bool) -> File {
    let options = OpenOptions { write: true, create: true, dsync, ..OpenOptions::default() };
    File::open(path.as_ref(), &options).await.unwrap()
}

/// A page of one byte.
fn page(byte: u8) -> Buffer {
    Buffer::from_slice_padded(&[byte; fs::ALIGNMENT])
}

/// The number of the kernel's error that `result` must be.
fn os_error_of<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<i32> {
    fs::os_error(&result.unwrap_err())
}
