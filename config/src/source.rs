//! Where a value came from, and what is wrong with one.

use std::fmt;
use std::path::PathBuf;

use crate::Setting;

/// Where a value came from; later variants win over earlier ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// Nobody said anything; the value follows from the host or from another setting.
    Derived(String),
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable, named.
    Environment(String),
    /// A flag of the command line.
    Flag(Setting),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Derived(from) => write!(f, "default: {from}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(setting) => write!(f, "flag --{}", setting.name()),
        }
    }
}

/// One thing wrong with the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is no TOML.
    Syntax {
        /// Where.
        source: Source,
        /// What the parser says.
        reason: String,
    },
    /// A key that no setting has.
    UnknownKey {
        /// Where.
        source: Source,
        /// The key.
        key: String,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A value that its setting does not take.
    BadValue {
        /// Where.
        source: Source,
        /// Whose value.
        setting: Setting,
        /// The value as written.
        value: String,
        /// A sentence that goes on from the value.
        reason: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Syntax { source, reason } => write!(f, "{source}: {reason}"),
            Self::UnknownKey { source, key, nearest } => {
                write!(f, "{source}: unknown setting {key:?}")?;
                match nearest {
                    Some(name) => write!(f, "; did you mean {name:?}?"),
                    None => f.write_str("; see `phantomdb config show` for the known ones"),
                }
            }
            Self::BadValue { source, setting, value, reason } => {
                write!(f, "{source}: {} = {value:?} {reason}", setting.name())
            }
        }
    }
}

/// Everything wrong with the configuration, in the order in which it is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
