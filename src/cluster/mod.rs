//! The cluster: which nodes there are, which of them live, and where replicas belong.
//!
//! Pure parts that know no link and no Raft group; whoever runs them carries their answers out.
//!
//! | | |
//! |---|---|
//! | [`registry`] | the nodes let in, and where replicas are: rows of the system partition |
//! | [`gossip`] | who lives and how busy they are |
//! | [`decide`] | what is to change about replicas and leaders |
//! | [`book`] | where the nodes are, as last known |
//! | [`join`] | how a new node asks to be let in |
//! | [`seeds`] | where those are whom a new node asks |

pub mod book;
pub mod decide;
pub mod gossip;
pub mod join;
pub mod registry;
pub mod seeds;
