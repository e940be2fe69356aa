//! PhantomDB as a library: the parts of the `phantomdb` program.

pub mod bench;
pub mod cli;
pub mod logging;
