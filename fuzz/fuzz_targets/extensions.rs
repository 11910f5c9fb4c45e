//! Fields of extensions (a byte of policy first, then one to a line): an answer keeps the promises.
#![no_main]
use fanfare::ws::{DeflatePolicy, WindowBits, agree_on_deflate};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&bits, fields)) = input.split_first() else { return };
    let [enabled, client_takeover, server_takeover] = [1, 2, 4].map(|bit| bits & bit != 0);
    let policy = DeflatePolicy { enabled, client_takeover, server_takeover };
    let fields = || fields.split(|&byte| byte == b'\n');
    let Some(agreed) = agree_on_deflate(fields(), policy) else { return };
    assert!(enabled && agreed.server_max_window_bits != Some(WindowBits::Eight));
    assert!(client_takeover || agreed.client_no_context_takeover);
    assert!(server_takeover || agreed.server_no_context_takeover);
    // A mere list more changes nothing, and what is no list ends it.
    let more = |last| agree_on_deflate(fields().chain([last]), policy);
    assert_eq!(more(&b", x; y=\"\\\"\", permessage-deflate"[..]), Some(agreed));
    assert_eq!(more(&b"a b"[..]), None);
});
