//! The client's address behind trusted proxies, by `X-Forwarded-For` or `Forwarded` (RFC 7239).
//!
//! Each proxy adds whom it was spoken to by at the right end, so that is where reading begins: as
//! long as who speaks is trusted, its word is taken for who spoke to it. What stands further left
//! was written by the client, and is not looked at. Not here: which peers are trusted (`trusted`).
//! Invariant: a stranger's header changes nothing, and what can't be read names nobody.

use super::TrustedProxies;
use crate::broker::PeerAddr;
use crate::limits::FORWARDED_HOPS_MAX;
use std::ops::ControlFlow;

/// In which header trusted proxies say whom they speak for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ForwardedHeader {
    /// In none: the proxy is the client.
    None,
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded`.
    Forwarded,
}

impl ForwardedHeader {
    /// The name of the header.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::XForwardedFor => Some("x-forwarded-for"),
            Self::Forwarded => Some("forwarded"),
        }
    }
}

/// The client's address. `fields` are all fields called [`ForwardedHeader::name`], in order.
///
/// The answer is the first address from the right that is no trusted proxy's, or that of the last
/// trusted one, where it does not say whom it speaks for. At most [`FORWARDED_HOPS_MAX`] are asked.
pub fn client_address<'a>(
    peer: PeerAddr,
    proxies: &TrustedProxies,
    header: ForwardedHeader,
    fields: impl Iterator<Item = &'a [u8]>,
) -> PeerAddr {
    if !proxies.contains(&peer) {
        return peer;
    }
    let mut walk = Walk { at: peer, proxies, left: FORWARDED_HOPS_MAX };
    let fields: Vec<&[u8]> = match header {
        ForwardedHeader::None => return peer,
        ForwardedHeader::XForwardedFor | ForwardedHeader::Forwarded => fields.collect(),
    };
    for field in fields.into_iter().rev() {
        let walked = match header {
            ForwardedHeader::None => return peer,
            ForwardedHeader::XForwardedFor => {
                field.rsplit(|byte| *byte == b',').map(node).try_for_each(|hop| walk.go(hop))
            }
            ForwardedHeader::Forwarded => match elements(field) {
                Some(hops) => hops.into_iter().rev().try_for_each(|hop| walk.go(hop)),
                None => ControlFlow::Break(()),
            },
        };
        if walked.is_break() {
            break;
        }
    }
    walk.at
}

/// A walk from the peer towards the client.
struct Walk<'a> {
    at: PeerAddr,
    proxies: &'a TrustedProxies,
    left: usize,
}

impl Walk<'_> {
    /// Goes to the hop that the one before it named; ends where that is nobody, or no proxy.
    fn go(&mut self, hop: Option<PeerAddr>) -> ControlFlow<()> {
        let Some(hop) = hop.filter(|_| self.left > 0) else { return ControlFlow::Break(()) };
        self.left -= 1;
        self.at = hop;
        if self.proxies.contains(&hop) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// An address, perhaps in brackets and with a port; `unknown`, `_hidden` and noise are none.
fn node(raw: &[u8]) -> Option<PeerAddr> {
    let text = str::from_utf8(raw).ok()?.trim_matches([' ', '\t']);
    if let Some(inside) = text.strip_prefix('[') {
        let (address, port) = inside.split_once(']')?;
        let named = address.contains(':').then_some(address)?;
        return PeerAddr::parse(named).filter(|_| port.is_empty() || is_port(port));
    }
    match text.split_once(':') {
        // An address of more colons than one is an IPv6 one without brackets.
        Some((address, _)) if text.matches(':').count() == 1 => {
            let port = text.get(address.len()..)?;
            PeerAddr::parse(address).filter(|_| is_port(port))
        }
        Some(_) | None => PeerAddr::parse(text),
    }
}

/// A colon and a port, or the word for one that is hidden (RFC 7239 §6).
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return false };
    let hidden = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    digits || port.strip_prefix('_').is_some_and(hidden)
}

/// The hops that one `Forwarded` field names, `None` for each that says nobody; of a field that is
/// not well formed nothing is known, since its quotes may be a client's.
fn elements(field: &[u8]) -> Option<Vec<Option<PeerAddr>>> {
    let mut hops = Vec::new();
    let mut rest = field;
    loop {
        let (hop, end) = element(&mut rest)?;
        hops.push(hop);
        match end {
            End::Element => {}
            End::Pair => debug_assert!(false, "an element has all of its pairs"),
            End::Field => return Some(hops),
        }
    }
}

/// What a pair ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Pair,
    Element,
    Field,
}

/// Takes one element off `rest`, and what it ends with.
fn element(rest: &mut &[u8]) -> Option<(Option<PeerAddr>, End)> {
    let (mut hop, mut found) = (None, false);
    loop {
        let (name, value, end) = pair(rest)?;
        if name.eq_ignore_ascii_case(b"for") {
            if std::mem::replace(&mut found, true) {
                return None; // RFC 7239 §4: each parameter once.
            }
            hop = node(value);
        }
        if end != End::Pair {
            return Some((hop, end));
        }
    }
}

/// Takes `name=value` off `rest`, with what ends it. An element may be empty: it names nobody.
fn pair<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8], End)> {
    let bytes = rest.trim_ascii_start();
    let name_end = bytes.iter().position(|byte| b"=;,".contains(byte)).unwrap_or(bytes.len());
    let (name, after) = bytes.split_at_checked(name_end)?;
    let (value, after) = match after.split_first() {
        Some((b'=', after)) => value(after)?,
        Some(_) | None if name.trim_ascii().is_empty() => (&[][..], after),
        Some(_) | None => return None,
    };
    let after = after.trim_ascii_start();
    let (end, after) = match after.split_first() {
        Some((b';', after)) => (End::Pair, after),
        Some((b',', after)) => (End::Element, after),
        Some(_) => return None,
        None => (End::Field, after),
    };
    *rest = after;
    Some((name, value, end))
}

/// A value and what follows it. One in quotes is taken as it stands: what needs a backslash is no
/// address.
fn value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(quoted) = bytes.strip_prefix(b"\"") else {
        let end = bytes.iter().position(|byte| b";,".contains(byte)).unwrap_or(bytes.len());
        let (value, after) = bytes.split_at_checked(end)?;
        return (!value.contains(&b'"')).then_some((value, after));
    };
    let mut escaped = false;
    let end = quoted.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    let (value, after) = quoted.split_at_checked(end)?;
    Some((value, after.strip_prefix(b"\"")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Network;

    const PROXY: PeerAddr = PeerAddr::v4([10, 0, 0, 1]);
    use ForwardedHeader::{Forwarded, XForwardedFor};

    fn proxies() -> TrustedProxies {
        let ours = Network::v4([10, 0, 0, 0], 8);
        let mut six = [0; 16];
        six[0] = 0xfd;
        let networks = ours.into_iter().chain(Network::v6(six, 8)).collect();
        TrustedProxies { networks, unix: true }
    }

    fn client(header: ForwardedHeader, fields: &[&str]) -> String {
        let fields = fields.iter().map(|field| field.as_bytes());
        client_address(PROXY, &proxies(), header, fields).to_string()
    }

    #[test]
    fn the_first_stranger_from_the_right_is_the_client() {
        for (fields, found) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            (&["198.51.100.9,192.0.2.1 ,\t10.0.0.7"], "192.0.2.1"),
            (&["198.51.100.9", "192.0.2.1", "10.0.0.7", "10.0.0.8"], "192.0.2.1"),
            (&["10.0.0.9, 10.0.0.7"], "10.0.0.9"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:4711, fd00::1, [fd00::2]:80"], "2001:db8::1"),
            (&["::ffff:192.0.2.1, ::ffff:10.1.2.3"], "192.0.2.1"),
        ] {
            assert_eq!(client(XForwardedFor, fields), found, "{fields:?}");
        }
    }

    #[test]
    fn what_names_nobody_ends_the_walk_at_the_last_proxy() {
        for hop in [
            "unknown",
            "_hidden",
            "",
            " ",
            "evil",
            "1.2.3",
            "1.2.3.4.5",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:123456",
            "[192.0.2.1]",
            "[2001:db8::1",
            "[2001:db8::1]4711",
            "2001:db8::1]",
            "fe80::1%eth0",
            "\"192.0.2.1\"",
            "unix:",
            "192.0.2.1 192.0.2.2",
        ] {
            let one = format!("198.51.100.9, {hop}, 10.0.0.7");
            assert_eq!(client(XForwardedFor, &[&one]), "10.0.0.7", "{hop:?}");
            assert_eq!(client(XForwardedFor, &["198.51.100.9", hop]), "10.0.0.1", "{hop:?}");
        }
        let bytes: [&[u8]; 2] = [b"198.51.100.9", b"\xff"];
        let found = client_address(PROXY, &proxies(), XForwardedFor, bytes.into_iter());
        assert_eq!(found, PROXY);
    }

    #[test]
    fn forwarded_is_read_in_all_its_forms() {
        for (fields, found) in [
            (&["for=192.0.2.1"][..], "192.0.2.1"),
            (&["For=\"192.0.2.1\""], "192.0.2.1"),
            (&["FOR=\"[2001:db8::1]:4711\""], "2001:db8::1"),
            (&["for=\"192.0.2.1:_port\""], "192.0.2.1"),
            (&["for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http"], "198.51.100.17"),
            (&["proto=http;by=203.0.113.60;for=198.51.100.17 , for=10.0.0.9"], "198.51.100.17"),
            (&["for=198.51.100.9", "for=192.0.2.1", "by=_x;for=10.0.0.7"], "192.0.2.1"),
            (&["host=\"a,b;for=1.1.1.1\";for=192.0.2.1"], "192.0.2.1"),
            (&["host=\"a\\\",for=1.1.1.1\";for=192.0.2.1"], "192.0.2.1"),
            (&["for=192.0.2.1;"], "192.0.2.1"),
        ] {
            assert_eq!(client(Forwarded, fields), found, "{fields:?}");
        }
    }

    #[test]
    fn forwarded_that_hides_or_breaks_ends_the_walk() {
        for field in [
            "for=unknown",
            "for=\"_gazonk\"",
            "for=_hidden",
            "for=\"unknown:80\"",
            "proto=https;by=10.0.0.9",
            "",
            ",",
            "for=",
            "for",
            "for=192.0.2.1;for=192.0.2.2",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\"x",
            "for=192.0.2.1\"",
            "for=\"192.0.2.1\\\"",
            "for=\"192\\.0.2.1\"",
            "192.0.2.1",
        ] {
            for before in ["", "for=198.51.100.9"] {
                let fields = [before, field, "for=10.0.0.7"];
                assert_eq!(client(Forwarded, &fields), "10.0.0.7", "{field:?}");
            }
        }
        // A quote that the client opened swallows what its proxy wrote, and no more comes of it.
        let open = "for=9.9.9.9;x=\", for=192.0.2.1";
        assert_eq!(client(Forwarded, &[open]), "10.0.0.1");
        let open = "for=9.9.9.9;x=\", for=\"[2001:db8::1]\"";
        assert_eq!(client(Forwarded, &[open]), "10.0.0.1");
    }

    #[test]
    fn only_the_chosen_header_of_a_trusted_peer_is_looked_at() {
        let fields = || [&b"192.0.2.1"[..]].into_iter();
        let stranger = PeerAddr::v4([203, 0, 113, 5]);
        assert_eq!(client_address(stranger, &proxies(), XForwardedFor, fields()), stranger);
        let nobody = TrustedProxies::default();
        assert_eq!(client_address(PROXY, &nobody, XForwardedFor, fields()), PROXY);
        assert_eq!(client_address(PROXY, &proxies(), ForwardedHeader::None, fields()), PROXY);
        let found = client_address(PeerAddr::Unix, &proxies(), XForwardedFor, fields());
        assert_eq!(found.to_string(), "192.0.2.1");
    }

    #[test]
    fn a_chain_without_end_is_followed_so_far_and_no_further() {
        let chain = |hops: usize| vec!["10.0.0.9"; hops].join(",");
        for (hops, found) in [
            (FORWARDED_HOPS_MAX - 1, "192.0.2.1"),
            (FORWARDED_HOPS_MAX, "10.0.0.9"),
            (100 * FORWARDED_HOPS_MAX, "10.0.0.9"),
        ] {
            let field = format!("192.0.2.1,{}", chain(hops));
            assert_eq!(client(XForwardedFor, &[&field]), found, "{hops} hops");
        }
    }

    /// What a client writes to the left of what its proxy adds changes nothing, and fields are one
    /// list.
    #[test]
    fn what_the_client_wrote_changes_nothing() {
        let alphabet = b"0123456789.:,[]\"=;_ forunknwx\\\t";
        for seed in 0..2_000 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let length = dice.usize(..40);
            let noise: String =
                (0..length).map(|_| char::from(alphabet[dice.usize(..alphabet.len())])).collect();
            let added = "192.0.2.1, 10.0.0.7";
            let joined = format!("{noise},{added}");
            assert_eq!(client(XForwardedFor, &[&joined]), "192.0.2.1", "seed {seed}");
            assert_eq!(client(XForwardedFor, &[&noise, added]), "192.0.2.1", "seed {seed}");
            let added = "for=192.0.2.1, for=10.0.0.7";
            assert_eq!(client(Forwarded, &[&noise, added]), "192.0.2.1", "seed {seed}");
        }
    }
}
