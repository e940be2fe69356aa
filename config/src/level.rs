//! Log levels.

use std::fmt;

/// How severe a log line must be to be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LogLevel {
    /// Nothing is written.
    Off,
    /// Something failed that an operator must look at.
    Error,
    /// Something is wrong that the node copes with.
    Warn,
    /// What an operator wants to see of a healthy node.
    Info,
    /// What a developer wants to see.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    const NAMES: [(&'static str, LogLevel); 6] = [
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// Reads one of the six names, in any case.
    ///
    /// # Errors
    /// A sentence that goes on from the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, level)| *level).ok_or_else(
            || "is not a log level; write error, warn, info, debug, trace or off".into(),
        )
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES[*self as usize].0)
    }
}
