//! The protocol's bytes: golden vectors, round trips, and a slice of fuzzing.

mod fuzz_slice;
mod golden;
mod round_trip;
mod samples;
