//! The `phantomdb` program; everything lives in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    phantomdb::cli::main()
}
