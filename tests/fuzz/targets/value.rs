//! One value.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| net::fuzzing::value(data));
