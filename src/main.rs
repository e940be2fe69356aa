//! The `phantomdb` program; everything lives in the library, where tests reach it.

use std::process::ExitCode;

/// Each request allocates some dozens of small things on its core and frees them there: with the C
/// library's allocator that took a sixth of a core's time under pipelined point reads.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads at its start. `--memory` bounds what is resident: what was freed goes back
/// to the system soon.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8; 36] = b"dirty_decay_ms:200,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    phantomdb::cli::main()
}
