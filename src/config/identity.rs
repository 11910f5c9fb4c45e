//! Settings of who users are: the headers of a trusted proxy, who that may be, who is an admin.
//!
//! Not here: what is made of the headers (`auth`). Invariant: a header is believed only where it is
//! also said from whom.

use super::Config;
use super::error::ConfigError;
use super::layers::{Draft, named};
use super::value::{self, NONE, Value, Wanted};
use crate::auth::{Admins, ForwardedHeader, Network, ProxyProtocol, TrustedProxies};
use crate::broker::User;
use crate::limits::{ADMINS_MAX, TRUSTED_PROXIES_MAX};
use std::net::IpAddr;

/// How Unix sockets are written among the trusted.
const UNIX: &str = "unix";

/// Words for the headers in which proxies say where a client is.
pub(super) const ADDRESS_HEADERS: &[(&str, ForwardedHeader)] = &[
    ("x-forwarded-for", ForwardedHeader::XForwardedFor),
    ("forwarded", ForwardedHeader::Forwarded),
    (NONE, ForwardedHeader::None),
];

/// Words for the use of the PROXY protocol.
pub(super) const PROXY_PROTOCOLS: &[(&str, ProxyProtocol)] = &[
    ("off", ProxyProtocol::Off),
    ("optional", ProxyProtocol::Optional),
    ("required", ProxyProtocol::Required),
];

/// The name of a header, or none.
pub(super) fn header(value: &Value<'_>) -> Result<Option<Box<str>>, Wanted> {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match value::text(value) {
        Some(NONE) => Ok(None),
        Some(name) if !name.is_empty() && name.bytes().all(part) => Ok(Some(name.into())),
        Some(_) | None => Err("the name of a header, such as \"X-Forwarded-User\"".into()),
    }
}

/// Addresses and networks, and `unix`.
pub(super) fn trusted_proxies(value: &Value<'_>) -> Result<TrustedProxies, Wanted> {
    let raws = value::texts_or_none(value, "a network such as \"10.0.0.0/8\", or a list of them")?;
    let mut proxies = TrustedProxies::default();
    for raw in raws {
        let twice = || format!("each network once, and {raw:?} is there twice");
        if raw == UNIX {
            if std::mem::replace(&mut proxies.unix, true) {
                return Err(twice());
            }
            continue;
        }
        let network =
            network(raw).map_err(|rule| format!("networks, and {raw:?} is none: {rule}"))?;
        if proxies.networks.contains(&network) {
            return Err(twice());
        }
        proxies.networks.push(network);
    }
    if proxies.networks.len() > TRUSTED_PROXIES_MAX {
        return Err(format!("at most {TRUSTED_PROXIES_MAX} networks"));
    }
    Ok(proxies)
}

/// Ids of users, each once.
pub(super) fn admins(value: &Value<'_>) -> Result<Admins, Wanted> {
    let raws = value::texts_or_none(value, "a user's id, or a list of them")?;
    if raws.len() > ADMINS_MAX {
        return Err(format!("at most {ADMINS_MAX} users"));
    }
    let mut ids: Vec<Box<str>> = Vec::with_capacity(raws.len());
    for raw in raws {
        let id = User::check_id(raw)
            .map_err(|rule| format!("ids of users, and {raw:?} is none: {rule}"))?;
        if ids.iter().any(|known| **known == *id) {
            return Err(format!("each user once, and {raw:?} is there twice"));
        }
        ids.push(id.into());
    }
    Ok(Admins::new(ids))
}

/// One address, or a network by its first address and the length of its prefix.
fn network(raw: &str) -> Result<Network, String> {
    let rule = "a network is an address, such as 192.0.2.1, or one with a prefix, such as \
                10.0.0.0/8 or fd00::/8, or unix";
    let (address, prefix) = match raw.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (raw, None),
    };
    let address: IpAddr = address.parse().map_err(|_| rule.to_owned())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let digits = |prefix: &&str| prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = match prefix {
        None => bits,
        Some(prefix) => Some(prefix)
            .filter(digits)
            .and_then(|prefix| prefix.parse::<u8>().ok())
            .filter(|prefix| *prefix <= bits)
            .ok_or_else(|| format!("its prefix is a number from 0 to {bits}"))?,
    };
    let network = match address {
        IpAddr::V4(address) => Network::v4(address.octets(), prefix),
        IpAddr::V6(address) => Network::v6(address.octets(), prefix),
    };
    network.ok_or_else(|| format!("write {}/{prefix}", first_address(address, prefix)))
}

/// The first address of the network that `address` is in; `prefix` is within its bits.
fn first_address(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

/// A header that anyone may send says nothing.
pub(super) fn check(draft: &Draft) -> Option<ConfigError> {
    let config = &draft.config;
    let header = config.identity.user_header.as_deref()?;
    if !config.trusted_proxies.is_empty() {
        return None;
    }
    let key = "identity.user_header";
    let place = draft.place(key);
    Some(ConfigError {
        wrong: format!("{} is {header:?}", named(key, &place)),
        place,
        key: key.to_owned(),
        right: Some(
            "say with identity.trusted_proxies from whom it is believed, as in \"10.0.0.0/8\": \
             anyone can send a header"
                .to_owned(),
        ),
        suggestion: None,
    })
}

/// The PROXY protocol that nobody is believed to speak.
pub(super) fn check_proxy_protocol(draft: &Draft) -> Option<ConfigError> {
    let how = match draft.config.proxy_protocol {
        ProxyProtocol::Off => return None,
        ProxyProtocol::Optional => "optional",
        ProxyProtocol::Required => "required",
    };
    if !draft.config.trusted_proxies.is_empty() {
        return None;
    }
    let key = "identity.proxy_protocol";
    let place = draft.place(key);
    Some(ConfigError {
        wrong: format!("{} is {how:?}", named(key, &place)),
        place,
        key: key.to_owned(),
        right: Some(
            "say with identity.trusted_proxies from whom it is believed, as in \"10.0.0.0/8\"; \
             without any it says nothing, or nobody may connect"
                .to_owned(),
        ),
        suggestion: None,
    })
}

/// What has no effect without a header that names users.
pub(super) fn warn(config: &Config) -> Option<String> {
    let identity = &config.identity;
    if identity.user_header.is_some() {
        return None;
    }
    let idle = [
        ("identity.username_header", identity.username_header.is_some()),
        ("identity.admins", !identity.admins.is_empty()),
    ];
    let (key, _) = idle.into_iter().find(|(_, set)| *set)?;
    Some(format!("{key} has no effect without identity.user_header: all users are guests"))
}

#[cfg(test)]
mod tests {
    use super::super::{File, Layers};
    use super::*;
    use crate::auth::Trust;
    use crate::broker::PeerAddr;

    fn parse(text: &str) -> Result<Config, String> {
        let file = Some(File { name: "f.toml", text });
        Config::parse(&Layers { file, ..Layers::default() }).map_err(|errors| errors.to_string())
    }

    #[test]
    fn networks_are_addresses_prefixes_and_unix() {
        let proxies = trusted_proxies(&Value::Bare("192.0.2.1, 10.0.0.0/8,fd00::/8,::1,unix"));
        let proxies = proxies.expect("four networks");
        assert_eq!((proxies.networks.len(), proxies.unix), (4, true));
        let six = |first: u8, last: u8| {
            let mut bytes = [0; 16];
            (bytes[0], bytes[15]) = (first, last);
            PeerAddr::v6(bytes)
        };
        for (peer, trust) in [
            (PeerAddr::v4([192, 0, 2, 1]), Trust::Proxy),
            (PeerAddr::v4([192, 0, 2, 2]), Trust::Stranger),
            (PeerAddr::v4([10, 1, 2, 3]), Trust::Proxy),
            (six(0xfd, 9), Trust::Proxy),
            (six(0, 1), Trust::Proxy),
            (six(0, 2), Trust::Stranger),
            (PeerAddr::Unix, Trust::Proxy),
        ] {
            assert_eq!(proxies.trust(&peer), trust, "{peer:?}");
        }
        assert_eq!(trusted_proxies(&Value::Text("none")), Ok(TrustedProxies::default()));
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_mend() {
        for (raw, mend) in [
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("192.0.2.7/0", "write 0.0.0.0/0"),
            ("2001:db8::1/32", "write 2001:db8::/32"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/+8", "from 0 to 32"),
            ("10.0.0.0/8/8", "from 0 to 32"),
            ("10.0.0/8", "a network is an address"),
            ("localhost", "a network is an address"),
            ("", "a network is an address"),
            ("10.0.0.0/8,10.0.0.0/8", "there twice"),
            ("unix,unix", "there twice"),
            ("192.0.2.1,::ffff:192.0.2.1", "there twice"),
        ] {
            let wrong = trusted_proxies(&Value::Bare(raw)).expect_err(raw);
            assert!(wrong.contains(mend), "{raw}: {wrong}");
        }
        let many: Vec<String> = (0..=TRUSTED_PROXIES_MAX).map(|n| format!("10.0.0.{n}")).collect();
        assert_eq!(
            trusted_proxies(&Value::Bare(&many.join(","))),
            Err("at most 64 networks".to_owned())
        );
    }

    #[test]
    fn headers_have_names_and_admins_ids() {
        assert_eq!(header(&Value::Text("X-User")), Ok(Some("X-User".into())));
        assert_eq!(header(&Value::Bare("none")), Ok(None));
        for wrong in ["", "X User", "X-User:", "Ü"] {
            assert!(header(&Value::Bare(wrong)).is_err(), "{wrong}");
        }
        let ids = admins(&Value::Bare("root, ada")).expect("two users");
        assert!(ids.contains("root") && ids.contains("ada") && !ids.contains("a"));
        for wrong in ["root,", "a\tb", "ada,ada"] {
            assert!(admins(&Value::Bare(wrong)).is_err(), "{wrong}");
        }
        let many: Vec<String> = (0..=ADMINS_MAX).map(|n| n.to_string()).collect();
        assert_eq!(admins(&Value::Bare(&many.join(","))), Err("at most 1024 users".to_owned()));
    }

    #[test]
    fn a_header_that_anyone_may_send_is_refused() {
        let wrong = parse("[identity]\nuser_header = \"X-User\"").expect_err("nobody is trusted");
        assert_eq!(
            wrong,
            "line 2: identity.user_header of f.toml is \"X-User\"; say with \
             identity.trusted_proxies from whom it is believed, as in \"10.0.0.0/8\": anyone can \
             send a header"
        );
        let config = parse("[identity]\nuser_header = \"X-User\"\ntrusted_proxies = \"unix\"");
        assert_eq!(config.map(|config| config.warnings), Ok(Vec::new()));
    }

    #[test]
    fn a_proxy_protocol_that_nobody_may_speak_is_refused() {
        for how in ["optional", "required"] {
            let text = format!("[identity]\nproxy_protocol = {how:?}");
            let wrong = parse(&text).expect_err("nobody is trusted");
            let begins = format!("line 2: identity.proxy_protocol of f.toml is {how:?}; say with ");
            assert!(wrong.starts_with(&begins), "{wrong}");
            let trusted = format!("{text}\ntrusted_proxies = \"10.0.0.0/8\"");
            assert_eq!(parse(&trusted).map(|config| config.warnings), Ok(Vec::new()));
        }
        assert!(parse("[identity]\nproxy_protocol = \"off\"").is_ok());
    }

    #[test]
    fn what_nothing_comes_of_is_warned_of() {
        for key in ["username_header", "admins"] {
            let config = parse(&format!("[identity]\n{key} = \"unix\"")).expect("allowed");
            assert!(
                matches!(&config.warnings[..], [one] if one.contains(key)),
                "{:?}",
                config.warnings
            );
        }
    }
}
