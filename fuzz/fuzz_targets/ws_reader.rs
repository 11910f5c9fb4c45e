//! Bytes in pieces into `ws::Reader`; what it sees must be what a naive parser sees in the whole.
#![no_main]

#[path = "../../tests/naive/ws.rs"]
mod naive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| naive::check(input));
