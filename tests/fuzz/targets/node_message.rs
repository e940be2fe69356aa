//! A message of another node.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| net::fuzzing::node_message(data));
