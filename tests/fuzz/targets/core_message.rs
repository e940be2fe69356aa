//! A message of a core of another node.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    shards::core::wire::fuzzing::message(data);
});
