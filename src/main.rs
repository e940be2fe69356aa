//! The `phantomdb` program.

fn main() {}
