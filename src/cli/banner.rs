//! What `fanfare serve` says once it listens.
//!
//! One line per address goes to stdout: `listening on 127.0.0.1:8080`, for programs to wait for.
//! The rest is for people and goes to stderr; where the log is set to JSON it is one log line.

use super::output::{note, say};
use super::url::URL_DEFAULT;
use crate::config::{Config, ListenAddr, LogFormat};
use crate::net::Server;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Says where the broker is, with which limits, and how to send a first message.
pub(super) fn show(config: &Config, server: &Server) {
    let facts = Facts {
        addresses: server.addresses(),
        loops: server.loops(),
        pinned: server.is_pinned(),
        descriptors: server.limits().descriptors,
        connections_max: server.limits().connections_max,
    };
    if config.log.format == LogFormat::Json {
        let addresses: Vec<String> = facts.addresses.iter().map(ToString::to_string).collect();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            addresses = addresses.join(","),
            loops = facts.loops,
            pinned = facts.pinned,
            connections_max = facts.connections_max,
            descriptors = facts.descriptors,
            message_bytes_max = config.message_bytes_max,
            outbox_bytes_max = config.outbox_bytes_max,
            access = access(config),
            "started"
        );
    } else {
        note(text(config, &facts).trim_end());
    }
    for address in facts.addresses {
        // Who started us may have closed stdout; that is no reason not to serve.
        let _ = say(format_args!("listening on {address}"));
    }
}

/// What came of the configuration.
struct Facts<'a> {
    addresses: &'a [ListenAddr],
    loops: usize,
    pinned: bool,
    descriptors: u64,
    connections_max: usize,
}

fn text(config: &Config, facts: &Facts<'_>) -> String {
    let mut out = String::new();
    write_facts(&mut out, config, facts)
        .and_then(|()| write_first_message(&mut out, config, facts))
        .ok();
    out
}

fn write_facts(out: &mut String, config: &Config, facts: &Facts<'_>) -> std::fmt::Result {
    writeln!(out, "Fanfare {}", env!("CARGO_PKG_VERSION"))?;
    let pinned = match (facts.loops, facts.pinned) {
        (1, true) => "pinned to a core",
        (_, true) => "each pinned to a core",
        (_, false) => "not pinned",
    };
    writeln!(out, "  loops        {}, {pinned}", facts.loops)?;
    writeln!(
        out,
        "  connections  {} at most ({} descriptors)",
        grouped(facts.connections_max as u64),
        grouped(facts.descriptors)
    )?;
    writeln!(out, "  messages     {} bytes at most", grouped(config.message_bytes_max as u64))?;
    writeln!(
        out,
        "  outboxes     {} bytes or {} messages at most",
        grouped(config.outbox_bytes_max as u64),
        grouped(u64::from(config.outbox_messages_max))
    )?;
    writeln!(out, "  rooms        {} at most", grouped(config.rooms_max as u64))?;
    writeln!(out, "  access       {}", access(config))
}

/// How connections get in.
fn access(config: &Config) -> String {
    let auth = &config.auth;
    if !auth.wants_tokens() {
        let who = if config.insecure { "anyone" } else { "anyone on this machine" };
        return format!("{who}, without a token");
    }
    let algorithms = auth.keys().map(|(_, alg, _)| alg.word());
    let sets =
        [(auth.jwks_file.is_some(), "a set of keys"), (auth.jwks_url.is_some(), "keys by URL")];
    let sets = sets.into_iter().filter(|(set, _)| *set).map(|(_, name)| name);
    let keys: Vec<&str> = algorithms.chain(sets).collect();
    let login = if auth.login { "; logins with a password" } else { "" };
    format!("with a token ({}){login}", keys.join(", "))
}

/// What a native client says first.
const FIRST_REQUEST: &str = r#"{"type":"join-room","room":"lobby","history":10}"#;

/// Lines to paste into other terminals, for the first address.
fn write_first_message(out: &mut String, config: &Config, facts: &Facts<'_>) -> std::fmt::Result {
    let path = "/v1/rooms/lobby/messages";
    writeln!(out, "Try it, each in a terminal of its own:")?;
    let (mut bearer, mut query) = ("", "");
    if config.auth.wants_tokens() {
        if config.auth.can_sign() {
            writeln!(out, "  export FANFARE_TOKEN=$(fanfare token --user me)   # in each of them")?;
        } else {
            writeln!(out, "  export FANFARE_TOKEN=...   # in each of them: a token of a user")?;
        }
        bearer = "-H \"Authorization: Bearer $FANFARE_TOKEN\" ";
        query = "?token=...";
    }
    match facts.addresses.first() {
        None => Ok(()),
        Some(ListenAddr::Unix(socket)) => {
            let socket = socket.display();
            writeln!(out, "  curl --unix-socket {socket} {bearer}-d hello http://localhost{path}")
        }
        Some(ListenAddr::Tcp(address)) => {
            let address = reachable(*address);
            let url = format!("ws://{address}");
            let flag = if url == URL_DEFAULT { String::new() } else { format!(" --url {url}") };
            writeln!(out, "  fanfare sub lobby{flag}")?;
            writeln!(out, "  fanfare pub lobby hello{flag}")?;
            writeln!(out, "  curl {bearer}-d hello http://{address}{path}")?;
            writeln!(out, "Any WebSocket client: {url}/raw/lobby{query}")?;
            writeln!(out, "With history and presence: {url}/ws{query}, then {FIRST_REQUEST}")
        }
    }
}

/// An address that this machine can connect to: "any" stands for the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Layers};

    fn shown(raw: &str) -> String {
        let address = ListenAddr::parse(raw).expect(raw);
        let addresses = &[address];
        text(&Config::default(), &facts(addresses))
    }

    fn facts(addresses: &[ListenAddr]) -> Facts<'_> {
        let (descriptors, connections_max) = (20_000, 10_000);
        Facts { addresses, loops: 2, pinned: true, descriptors, connections_max }
    }

    #[test]
    fn loops_that_could_not_be_pinned_are_not_called_pinned() {
        let text = text(&Config::default(), &Facts { pinned: false, ..facts(&[]) });
        assert!(text.contains("  loops        2, not pinned\n"), "{text}");
    }

    #[test]
    fn the_default_address_gives_the_shortest_lines() {
        let text = shown("127.0.0.1:8080");
        for line in [
            "  loops        2, each pinned to a core",
            "  connections  10,000 at most (20,000 descriptors)",
            "  fanfare sub lobby",
            "  curl -d hello http://127.0.0.1:8080/v1/rooms/lobby/messages",
            "Any WebSocket client: ws://127.0.0.1:8080/raw/lobby",
            "With history and presence: ws://127.0.0.1:8080/ws, then \
             {\"type\":\"join-room\",\"room\":\"lobby\",\"history\":10}",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn other_addresses_are_named_as_they_can_be_reached() {
        assert!(shown("0.0.0.0:9000").contains("fanfare sub lobby --url ws://127.0.0.1:9000\n"));
        assert!(shown("[::]:9000").contains("curl -d hello http://[::1]:9000/v1"));
        assert!(shown("unix:/run/f.sock").contains("curl --unix-socket /run/f.sock -d hello"));
    }

    #[test]
    fn with_keys_the_first_lines_bring_a_token() {
        let shown = |text: &str| {
            let file = Some(File { name: "f.toml", text });
            let config = Config::parse(&Layers { file, ..Layers::default() }).expect(text);
            super::text(&config, &facts(&[ListenAddr::parse("127.0.0.1:8080").expect("one")]))
        };
        let signed = shown("[auth]\nhs256_key_file = \"k\"");
        for needle in [
            "  export FANFARE_TOKEN=$(fanfare token --user me)",
            "  curl -H \"Authorization: Bearer $FANFARE_TOKEN\" -d hello http://127.0.0.1:8080/v1",
            "ws://127.0.0.1:8080/raw/lobby?token=...\n",
        ] {
            assert!(signed.contains(needle), "{needle} in\n{signed}");
        }
        assert!(shown("[auth]\njwks_file = \"k\"").contains("FANFARE_TOKEN=...   #"));
    }

    #[test]
    fn it_says_who_gets_in() {
        for (text, who) in [
            ("", "anyone on this machine, without a token"),
            ("insecure = true", "anyone, without a token"),
            (
                "[auth]\nhs256_key_file = \"a\"\neddsa_key_file = \"b\"\njwks_url = \"http://c\"",
                "with a token (HS256, EdDSA, keys by URL)",
            ),
            ("[auth]\njwks_file = \"a\"", "with a token (a set of keys)"),
        ] {
            let file = Some(File { name: "f.toml", text });
            let config = Config::parse(&Layers { file, ..Layers::default() }).expect(text);
            assert_eq!(access(&config), who);
        }
        assert!(shown("127.0.0.1:1").contains("\n  access       anyone on this machine, without"));
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_048_590, "1,048,590")] {
            assert_eq!(grouped(number), text);
        }
    }
}
