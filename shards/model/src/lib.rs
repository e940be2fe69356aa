//! The vocabulary of PhantomDB: what nodes, cores, partitions, clients and the SQL layer say to
//! each other. No I/O, no async, no clock: everything here is a value.
//!
//! * [`id`], [`time`]: who and when. Every identifier is a type of its own.
//! * [`types`], [`value`], [`array`], [`row`], [`key`]: what is stored. A row is encoded once (rkyv) and read
//!   in place; a key is encoded so that comparing bytes compares values.
//! * [`schema`], [`placement`]: how rows are described and which partition holds them.
//! * [`expression`], [`lookup`], [`plan`], [`batch`]: bound expressions, physical operators and the batches
//!   that flow between them. Fragments and the router's gather trees are made of the same nodes.
//! * [`command`], [`row_lock`], [`probe`]: what a router asks of a partition, and what a partition writes to its log.
//! * [`archive`]: how those travel to another node.
//! * [`json`]: what is inside a `jsonb`.
//! * [`text`]: how values are printed, as PostgreSQL does.
//! * [`error`]: what a statement's failure looks like, in PostgreSQL's terms.

pub mod archive;
pub mod array;
pub mod batch;
#[expect(missing_docs, reason = "the fields of the resolvers that rkyv derives have no docs")]
pub mod command;
pub mod error;
#[expect(missing_docs, reason = "the fields of the resolvers that rkyv derives have no docs")]
pub mod expression;
pub mod id;
pub mod json;
pub mod key;
pub mod locality;
#[expect(missing_docs, reason = "the fields of the resolvers that rkyv derives have no docs")]
pub mod lookup;
pub mod moment;
pub mod numeric;
pub mod placement;
#[expect(missing_docs, reason = "the fields of the resolvers that rkyv derives have no docs")]
pub mod plan;
pub mod probe;
pub mod row;
pub mod row_lock;
pub mod schema;
pub mod text;
pub mod time;
pub mod types;
pub mod value;
