//! A connection URL.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        phantomdb_client::fuzz_url(text);
    }
});
