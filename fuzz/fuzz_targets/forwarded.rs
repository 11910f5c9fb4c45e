//! Fields (one to a line) from a client, then what its proxy adds: who is behind it stays the same.
#![no_main]
use fanfare::auth::{ForwardedHeader, Network, TrustedProxies, client_address};
use fanfare::broker::PeerAddr;

const PROXY: PeerAddr = PeerAddr::v4([10, 0, 0, 1]);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let networks = Network::v4([10, 0, 0, 0], 8).into_iter().collect();
    let (proxies, nobody) = (TrustedProxies { networks, unix: false }, TrustedProxies::default());
    let fields: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    for (header, added) in [
        (ForwardedHeader::XForwardedFor, &b"[2001:db8::1]:80 ,10.0.0.7"[..]),
        (ForwardedHeader::Forwarded, b"for=\"[2001:db8::1]:80\";by=_x, For=10.0.0.7"),
    ] {
        let find =
            |fields: &[&[u8]]| client_address(PROXY, &proxies, header, fields.iter().copied());
        assert_eq!(client_address(PROXY, &nobody, header, fields.iter().copied()), PROXY);
        let found = find(&fields);
        // Once a stranger is found, whatever stands further left is nobody's business.
        if !proxies.contains(&found) {
            let before = [&[&b"192.0.2.9"[..], b"for=192.0.2.9", b"\""], &fields[..]].concat();
            assert_eq!(find(&before), found);
        }
        let found = find(&[&fields[..], &[added]].concat()).to_string();
        assert_eq!(found, "2001:db8::1");
    }
});
