//! Any text as a token, and any header or claims signed with a key that is known: nobody is let in
//! who was not signed for, and whoever is let in is who the claims' tree says.
#![no_main]

use std::sync::LazyLock;

#[path = "../../tests/naive/token.rs"]
mod naive;

static KEYS: LazyLock<fanfare::auth::TokenKeys> = LazyLock::new(|| naive::keys(|_| None));

libfuzzer_sys::fuzz_target!(|input: &[u8]| naive::check(&KEYS, input));
