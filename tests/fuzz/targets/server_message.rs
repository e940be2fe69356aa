//! One message of a server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| net::fuzzing::server_message(data));
