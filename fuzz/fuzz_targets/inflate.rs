//! A compressed message into `ws::Inflater`: what a naive one sees, or its error, within a ceiling.
#![no_main]

#[path = "../../tests/naive/deflate.rs"]
mod naive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| naive::check(input));
