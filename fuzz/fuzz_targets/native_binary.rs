//! Any bytes as a frame of records: read as byte by byte, and written again as they were.
#![no_main]

#[expect(dead_code, reason = "requests are the other target's")]
#[path = "../../tests/naive/native.rs"]
mod naive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| naive::check_binary(input));
