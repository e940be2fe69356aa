//! The cluster: which nodes there are, which of them live, and where replicas belong.
//!
//! Parts that know no link and no engine: whoever runs them gives them hands.
//!
//! | | |
//! |---|---|
//! | [`registry`] | the nodes let in, and where replicas are: rows of the system partition |
//! | [`gossip`] | who lives and how busy they are |
//! | [`decide`] | what is to change about replicas and leaders |
//! | [`book`] | where the nodes are, as last known |
//! | [`join`] | how a new node asks to be let in |
//! | [`driver`] | runs the gossip of a node |
//! | [`groups`] | what is there: groups, as their replicas tell of them |
//! | [`orders`] | what replicas are told to do, and when they refuse |
//! | [`wants`] | what an operator may want |
//! | [`worker`] | has done what was decided |
//! | [`seeds`] | where those are whom a new node asks |

pub mod book;
pub mod decide;
pub mod driver;
pub mod gossip;
pub mod groups;
pub mod join;
#[expect(missing_docs, reason = "the fields of the resolvers that rkyv derives have no docs")]
pub mod orders;
pub mod registry;
pub mod seeds;
pub mod wants;
pub mod worker;
