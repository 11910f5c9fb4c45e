//! A pattern and a name, a line each: what fits is what a naive matcher says fits.
#![no_main]

#[path = "../../tests/naive/pattern.rs"]
mod naive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| naive::check(input));
