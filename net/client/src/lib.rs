//! The Rust client of PhantomDB.
