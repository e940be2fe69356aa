//! The seam between PhantomDB and the world: clock, randomness, tasks, files, sockets,
//! core-to-core channels.
//!
//! # The idea
//!
//! The engine, the router and the transport are written once and run in two worlds: on glommio
//! with real disks and sockets, and inside one test process under a seeded scheduler. They ask
//! this crate for everything that is not computation. What they get are concrete types, with no
//! type parameter to carry about: each holds an enum of its two implementations and the world a
//! thread is in, a thread-local, chooses when the value is made.
//!
//! ```text
//!            engine, router, transport
//!                      │
//!   time  random  task  sync  fs  net  mesh  thread  watchdog      (this crate's root: the seam)
//!                      │ thread-local world
//!          ┌───────────┴───────────┐
//!      glommio/                  sim/
//!   io_uring, real time     one thread, seeded scheduler,
//!   one thread a core       virtual time, faulty disk and net
//! ```
//!
//! A plain thread has no world. There [`time::now`], [`time::wall_clock`], [`random`] and
//! [`thread::spawn`] work, straight from the operating system; files and sockets answer with
//! [`std::io::ErrorKind::Unsupported`]; spawning a task or sleeping is a bug in the caller and
//! panics with a message that says so.
//!
//! # Invariants
//!
//! - Only `glommio/` names glommio or io_uring.
//! - Nothing here is shared between cores except what [`mesh`] and [`thread`] carry. Handles are
//!   `Rc` inside and `!Send`; a core's clock wheel, random stream, watchdog and network ring are
//!   its own.
//! - A panic in a spawned task never reaches the executor: it ends that task and is handed to
//!   whoever awaits it.
//! - Everything that can grow is bounded or owned by the caller: channels have a capacity, a read
//!   returns at most [`net::READ_MAX`] bytes, a connection that is idle holds no buffer.
//! - A future of this crate can be dropped at any await point. A timer is then unregistered; a
//!   disk request that is already with the kernel completes in the background.
//!
//! # What is not here
//!
//! No threads pool for computation, no locks, no thread-safe primitives: cores exchange messages.
//! No tokio: threads of another kind talk to a core by a `flume` channel.

pub mod fs;
pub mod glommio;
pub mod mesh;
pub mod net;
pub mod random;
pub mod sim;
pub mod sync;
pub mod task;
pub mod thread;
pub mod time;
pub mod watchdog;
mod world;

pub use world::BoxLocalFuture;
