//! Any bytes as a native request, read as their tree says; and any parts as a publication.
#![no_main]

#[expect(dead_code, reason = "records are the other target's")]
#[path = "../../tests/naive/native.rs"]
mod naive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    naive::check_json(input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut parts = text.splitn(3, '\n').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    naive::check_publish(&part(), &part(), &part());
});
