//! The cluster: which nodes there are, which of them live, and where replicas belong.

pub mod decide;
pub mod gossip;
