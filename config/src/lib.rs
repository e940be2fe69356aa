//! Text, environment and flags joined into one validated [`Config`].
//!
//! A setting has one name in three spellings: `data-dir` in the TOML file, `PHANTOM_DATA_DIR` in
//! the environment, `--data-dir` on the command line. All three carry text, and one parser a
//! setting reads it, so that a size, a duration or an address is written the same everywhere.
//!
//! ```text
//!   default  <  file  <  environment  <  flag        (the last one that speaks wins)
//! ```
//!
//! [`Config::load`] takes the layers as values and never looks at the process's own environment
//! or arguments: the command line hands them in, tests hand in others. Every value remembers its
//! [`Source`], which `phantomdb config show` prints. All problems are gathered and told at once,
//! each with the file and line, variable or flag it stands in.
//!
//! An unknown key in the file is an error (with the nearest known name); an unknown `PHANTOM_*`
//! variable is a warning, since the environment is shared with programs we do not know.
//!
//! The crate is a leaf: it knows no engine, no sockets and no async. The composition root
//! (`src/node.rs`) translates a `Config` into the `Options` of each module.

mod address;
pub mod authentication;
mod file;
mod level;
mod limits;
mod load;
mod memory;
mod setting;
mod source;
mod suggest;
mod tls;
mod token;
mod units;

pub use address::HostPort;
pub use file::FILE_BYTES_MAX;
pub use level::LogLevel;
pub use load::{Config, Layers, Shown};
pub use memory::{CeilingOrigin, MemoryCeiling, ceiling as memory_ceiling};
pub use setting::{Description, ENVIRONMENT_PREFIX, SETTINGS, Setting};
pub use source::{ConfigError, Problem, Source};
pub use suggest::nearest;
pub use tls::{TlsFiles, TlsMode, TlsVersion};
pub use token::JoinToken;
pub use units::{ByteSize, format_duration, parse_duration};
