//! The binary protocol: frames, messages, and the server's side of a connection.
//!
//! The byte layout stands in `docs/formats/wire.md`. The layers, from the bytes up:
//!
//! * [`frame`] cuts chunks into checked frames and writes frames;
//! * [`codec`], [`value`], [`rows`], [`message`] say what a payload means. They know no I/O, so
//!   the Rust client shares them;
//! * [`scram`] is the log-in with a password, both sides, without I/O;
//! * `server` (feature `server`) runs a connection over the runtime's sockets: reading, the
//!   handshake, flow control, limits, gathered writes;
//! * `link` (the same feature) is the transport between nodes: one connection between two cores,
//!   with bounded queues, calls, deadlines, and ways through a third node;
//! * [`fuzzing`] holds one function a decoder of untrusted bytes, for the fuzz targets and for an
//!   ordinary test that runs the same over seeded bytes.
//!
//! net never imports shards, and knows no SQL: a request is handed on as text or as a prepared
//! statement's number with values.

pub mod codec;
pub mod frame;
pub mod fuzzing;
#[cfg(feature = "server")]
pub mod link;
pub mod message;
pub mod rows;
pub mod scram;
#[cfg(feature = "server")]
pub mod server;
pub mod value;
