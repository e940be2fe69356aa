//! The real world: one executor a core, io_uring beneath.
//!
//! [`run`] starts one thread a core, each with its executor, and returns when the last one has
//! ended. The executor's defects that this folder works around are told where they are met: its
//! lost wake-up in `timer` and `rouse`, panics in `spawn`, helper threads in `fs`.
//!
//! The time line of a core:
//!
//! ```text
//! memlock ─► executors made on all threads ─► pinned ─► the core's future runs ─► tasks that are
//! raised     (one that fails ends them all)                                       left are dropped
//! ```

pub(crate) mod buffer;
pub(crate) mod fs;
pub(crate) mod net;
mod probe;
mod rouse;
mod run;
pub(crate) mod run_queue;
pub(crate) mod spawn;
pub(crate) mod timer;

pub use probe::probe;
pub use run::{Options, Placement, run};
