//! PhantomDB: a distributed SQL and document database server.
