//! Standard output as a pipe that may close: `phantomdb sql ... | head` ends quietly.

use std::io;

use super::exit::{Exit, Failure};

/// Turns the result of writing into the command's end. A reader that went away has seen all it
/// wanted: that is no failure.
///
/// # Errors
/// Any other error of standard output.
pub fn finish(written: io::Result<()>) -> Result<Exit, Failure> {
    match written {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
    }
}
