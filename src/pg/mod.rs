//! The PostgreSQL wire protocol, version 3: a second door to the same sessions.

pub mod binary;
