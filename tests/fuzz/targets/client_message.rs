//! One message of a client.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| net::fuzzing::client_message(data));
