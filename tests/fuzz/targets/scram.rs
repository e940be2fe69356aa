//! The messages of a log-in.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| net::fuzzing::scram(data));
