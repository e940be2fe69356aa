//! The seam between PhantomDB and the world: clock, randomness, tasks, files, sockets, core-to-core channels.
