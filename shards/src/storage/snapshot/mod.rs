//! Moving a tree as it is: from one replica to another, file by file.
//!
//! ```text
//!  sender                                           receiver
//!  Tree::checkpoint ──► Contents ──────────────────► Tree::receive ──► RECEIVING (journal)
//!  (pins its tables)                                     │ position
//!  Checkpoint::read(position) ──► Chunk ───────────► Receiver::put ──► <number>.table, beside
//!                                  ...                   │                the tree's own
//!                                                    Receiver::install ─► MANIFEST, anew
//! ```
//!
//! * **Checkpoint.** Everything up to an applied index, as table files that are pinned: compaction
//!   may drop them from the tree, their files stay. The files are one stream of bytes, one after
//!   the other, and a place in it is one number ([`StreamPosition`]).
//! * **Checks.** The sender checks every block it reads for a chunk, so that its own disk's damage
//!   is not handed on. A chunk has a checksum for the way. A file that is complete is read back from
//!   the receiver's disk and checked as a whole: every block carries the file's identity, which the
//!   contents name.
//! * **Breaks.** What has arrived is synced every few megabytes, and the journal says how far. After
//!   a break or a crash [`super::Tree::receive`] with the same contents goes on from there; with
//!   others, it begins anew. The journal's files are no orphans when the tree is opened.
//! * **Installing.** All files are in the directory under numbers of this tree before the manifest
//!   is replaced by one that names them and nothing else: one rename. Before it the old tree counts,
//!   after it the new one. Flushes and compactions that were under way on the old tree come to
//!   nothing.
//!
//! Not here: who sends what when, how fast (see [`super::Throttle`]), and transactions that are open
//! at the index. The layouts stand in `docs/formats/checkpoint.md`.

mod checkpoint;
mod contents;
mod install;
mod journal;
mod receiver;
#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, Chunk};
pub use contents::{Contents, StreamPosition};
pub use receiver::{ReceiveError, Receiver};

pub(crate) use checkpoint::CHECKPOINTS_MAX;
pub(crate) use journal::{FILE_NAME, Journal, NEW_FILE_NAME};

/// Chunks are no longer than this, in bytes: one is copied and summed within a step of a task.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
