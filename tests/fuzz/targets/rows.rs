//! The payload of a Rows frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| net::fuzzing::rows(data));
