//! A stream of bytes, cut into pieces, as a socket brings it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| net::fuzzing::frames(data));
