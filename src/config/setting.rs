//! The table of settings: one row each, from which file, environment, flags and docs are read.
//!
//! Not here: how the rows fit together (`check`), the `[[rooms]]` of a file (`rooms`). Invariant:
//! a setting has one key, and its flag and environment variable follow from one another.

use super::listen::ListenAddr;
use super::log::{LOG_FORMATS, LOG_LEVELS, LogFilter};
use super::rooms::COMPRESSIONS;
use super::value::{self, Value, Wanted};
use super::{Accept, Config, check};
use crate::limits::{LOOPS_MAX, MESSAGE_BYTES_CEILING};

/// Highest number of connections or rooms a config may ask for: slots are numbered by 32 bits.
const SLOTS_CEILING: u64 = u32::MAX as u64;
/// Largest outbox a config may ask for: its ranges are 32-bit.
pub(super) const OUTBOX_BYTES_CEILING: usize = 4 * MESSAGE_BYTES_CEILING;

/// One setting, as the user meets it.
pub struct Setting {
    /// Its key in the file, with the section: `limits.rooms_max`.
    pub key: &'static str,
    /// Its flag without the dashes.
    pub flag: &'static str,
    /// What its value is called in the help; empty where it is true or false.
    pub value_name: &'static str,
    /// The default as one would write it.
    pub default: &'static str,
    /// What it does, in one sentence without a full stop.
    pub meaning: &'static str,
    pub(super) apply: fn(&mut Config, &Value<'_>) -> Result<(), Wanted>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key)
    }
}

impl Setting {
    /// The section and the key within it; the section is empty for keys at the top.
    pub(super) fn split_key(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("FANFARE_{}", self.flag.to_ascii_uppercase().replace('-', "_"))
    }

    /// Whether the setting is a switch, true or false.
    pub const fn is_switch(&self) -> bool {
        self.value_name.is_empty()
    }

    /// Checks `raw` as a flag's value, without keeping it; the error says what would be right.
    pub fn check(&self, raw: &str) -> Result<(), String> {
        (self.apply)(&mut Config::default(), &Value::Bare(raw))
            .map_err(|wanted| format!("it takes {wanted}"))
    }
}

/// The setting with this flag, given without dashes.
pub(super) fn by_flag(flag: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.flag == flag)
}

/// Every setting, in the order of the documentation.
pub static SETTINGS: [Setting; 25] = [
    Setting {
        key: "listen",
        flag: "listen",
        value_name: "ADDR:PORT",
        default: "127.0.0.1:8080",
        meaning: "Address to listen on, or unix:/path; may be given several times",
        apply: |config, value| listen(value).map(|listen| config.listen = listen),
    },
    Setting {
        key: "loops",
        flag: "loops",
        value_name: "N",
        default: "auto",
        meaning: "Event loops, each a thread; auto or 0 is one per core",
        apply: |config, value| loops(value).map(|loops| config.loops = loops),
    },
    Setting {
        key: "pin",
        flag: "pin",
        value_name: "",
        default: "true",
        meaning: "Pin each loop to a core",
        apply: |config, value| value::boolean(value).map(|pin| config.pin = pin),
    },
    Setting {
        key: "accept",
        flag: "accept",
        value_name: "HOW",
        default: "reuseport",
        meaning: "Who spreads connections over the loops: the kernel (reuseport), or one acceptor \
                  (round-robin, least-connections, random)",
        apply: |config, value| value::choice(value, ACCEPTS).map(|how| config.accept = how),
    },
    Setting {
        key: "takeover",
        flag: "takeover",
        value_name: "",
        default: "false",
        meaning: "Listen although another process has the port",
        apply: |config, value| value::boolean(value).map(|on| config.takeover = on),
    },
    Setting {
        key: "echo_route",
        flag: "echo-route",
        value_name: "",
        default: "false",
        meaning: "Serve /echo, which sends each message back to its sender",
        apply: |config, value| value::boolean(value).map(|on| config.echo_route = on),
    },
    Setting {
        key: "limits.connections_max",
        flag: "connections-max",
        value_name: "N",
        default: "10000",
        meaning: "Connections in all; the descriptor limit may lower it",
        apply: |config, value| {
            value::count(value, 1..=SLOTS_CEILING).map(|n| config.connections_max = n)
        },
    },
    Setting {
        key: "limits.message_bytes_max",
        flag: "message-bytes-max",
        value_name: "SIZE",
        default: "1MiB",
        meaning: "Largest message",
        apply: |config, value| {
            value::size(value, 1..=MESSAGE_BYTES_CEILING).map(|n| config.message_bytes_max = n)
        },
    },
    Setting {
        key: "limits.rooms_max",
        flag: "rooms-max",
        value_name: "N",
        default: "100000",
        meaning: "Rooms of the process",
        apply: |config, value| value::count(value, 1..=SLOTS_CEILING).map(|n| config.rooms_max = n),
    },
    Setting {
        key: "limits.outbox_bytes_max",
        flag: "outbox-bytes-max",
        value_name: "SIZE",
        default: "auto",
        meaning: "Bytes that may wait for one slow reader; auto is 8MiB, or one largest message \
                  and its header where that is more",
        apply: |config, value| outbox_auto(value).map(|n| config.outbox_bytes_max = n),
    },
    Setting {
        key: "limits.outbox_messages_max",
        flag: "outbox-messages-max",
        value_name: "N",
        default: "16384",
        meaning: "Messages that may wait for one slow reader",
        apply: |config, value| outbox_messages(value).map(|n| config.outbox_messages_max = n),
    },
    Setting {
        key: "timeouts.handshake",
        flag: "handshake-timeout",
        value_name: "TIME",
        default: "10s",
        meaning: "Time for a handshake, and for each HTTP request",
        apply: |config, value| {
            value::duration_ms(value, 1).map(|ms| config.handshake_timeout_ms = ms)
        },
    },
    Setting {
        key: "timeouts.heartbeat_interval",
        flag: "heartbeat-interval",
        value_name: "TIME",
        default: "30s",
        meaning: "Silence after which a connection is pinged",
        apply: |config, value| {
            value::duration_ms(value, 1).map(|ms| config.heartbeat_interval_ms = ms)
        },
    },
    Setting {
        key: "timeouts.heartbeat_timeout",
        flag: "heartbeat-timeout",
        value_name: "TIME",
        default: "10s",
        meaning: "Time for a sign of life after the first ping",
        apply: |config, value| {
            value::duration_ms(value, 1).map(|ms| config.heartbeat_timeout_ms = ms)
        },
    },
    Setting {
        key: "timeouts.close",
        flag: "close-timeout",
        value_name: "TIME",
        default: "5s",
        meaning: "Time for the peer's half of a close",
        apply: |config, value| value::duration_ms(value, 1).map(|ms| config.close_timeout_ms = ms),
    },
    Setting {
        key: "timeouts.drain_window",
        flag: "drain-window",
        value_name: "TIME",
        default: "5s",
        meaning: "Time over which the closes of a drain are spread",
        apply: |config, value| value::duration_ms(value, 0).map(|ms| config.drain_window_ms = ms),
    },
    Setting {
        key: "timeouts.drain",
        flag: "drain-timeout",
        value_name: "TIME",
        default: "30s",
        meaning: "Time for the whole drain",
        apply: |config, value| value::duration_ms(value, 1).map(|ms| config.drain_timeout_ms = ms),
    },
    Setting {
        key: "timeouts.room_grace",
        flag: "room-grace",
        value_name: "TIME",
        default: "60s",
        meaning: "Time an empty room is kept, with its seq and epoch",
        apply: |config, value| value::duration_ms(value, 0).map(|ms| config.room_grace_ms = ms),
    },
    Setting {
        key: "compression.rooms",
        flag: "compression-rooms",
        value_name: "HOW",
        default: "shared",
        meaning: "How rooms compress for clients that offer permessage-deflate: each message once \
                  for all (shared), not at all (off), or once for each connection with a context \
                  of its own (private)",
        apply: |config, value| {
            value::choice(value, COMPRESSIONS).map(|how| config.compression.rooms = how)
        },
    },
    Setting {
        key: "compression.echo",
        flag: "compression-echo",
        value_name: "HOW",
        default: "shared",
        meaning: "The same for /echo",
        apply: |config, value| {
            value::choice(value, COMPRESSIONS).map(|how| config.compression.echo = how)
        },
    },
    Setting {
        key: "compression.level",
        flag: "compression-level",
        value_name: "N",
        default: "1",
        meaning: "How hard to try, from 1 (fast) to 9 (small)",
        apply: |config, value| {
            value::count(value, 1..=9).map(|n| config.compression.level = level(n))
        },
    },
    Setting {
        key: "compression.threshold_bytes",
        flag: "compression-threshold-bytes",
        value_name: "SIZE",
        default: "1KiB",
        meaning: "Smallest message that is compressed",
        apply: |config, value| {
            value::size(value, 0..=MESSAGE_BYTES_CEILING)
                .map(|n| config.compression.threshold_bytes = n)
        },
    },
    Setting {
        key: "compression.contexts_max",
        flag: "compression-contexts-max",
        value_name: "N",
        default: "0",
        meaning: "Connections with a context of their own, of some 430 KiB each, where private",
        apply: |config, value| {
            value::count(value, 0..=SLOTS_CEILING).map(|n| config.compression.contexts_max = n)
        },
    },
    Setting {
        key: "log.level",
        flag: "log-level",
        value_name: "LEVEL",
        default: "info",
        meaning: "Least level that is logged: off, error, warn, info, debug, trace; above RUST_LOG",
        apply: |config, value| {
            value::choice(value, LOG_LEVELS).map(|l| config.log.filter = LogFilter::Level(l))
        },
    },
    Setting {
        key: "log.format",
        flag: "log-format",
        value_name: "FORMAT",
        default: "auto",
        meaning: "How logs look on stderr: pretty, json, or auto (pretty on a terminal, else json)",
        apply: |config, value| value::choice(value, LOG_FORMATS).map(|f| config.log.format = f),
    },
];

const ACCEPTS: &[(&str, Accept)] = &[
    ("reuseport", Accept::ReusePort),
    ("round-robin", Accept::RoundRobin),
    ("least-connections", Accept::LeastConnections),
    ("random", Accept::Random),
];

fn loops(value: &Value<'_>) -> Result<usize, Wanted> {
    match value {
        Value::Bare("auto") | Value::Text("auto") => Ok(0),
        Value::Bare(_)
        | Value::Text(_)
        | Value::Integer(_)
        | Value::Boolean(_)
        | Value::List(_)
        | Value::Other(_) => value::count(value, 0..=LOOPS_MAX as u64)
            .map_err(|_| format!("\"auto\", or a whole number from 1 to {LOOPS_MAX}")),
    }
}

/// A level that was found to be within its bounds.
fn level(checked: usize) -> u8 {
    u8::try_from(checked).unwrap_or(u8::MAX)
}

/// An outbox's bound in bytes, or auto, which `check` replaces by a number.
fn outbox_auto(value: &Value<'_>) -> Result<usize, Wanted> {
    if value::text(value) == Some("auto") {
        return Ok(check::OUTBOX_AUTO);
    }
    outbox_bytes(value).map_err(|wanted| format!("\"auto\", or {wanted}"))
}

/// An outbox's bound in bytes; shared with `[[rooms]]`.
pub(super) fn outbox_bytes(value: &Value<'_>) -> Result<usize, Wanted> {
    value::size(value, 1..=OUTBOX_BYTES_CEILING)
}

/// An outbox's bound in messages; shared with `[[rooms]]`.
pub(super) fn outbox_messages(value: &Value<'_>) -> Result<u32, Wanted> {
    value::number(value, 1..=u64::from(u32::MAX))
        .and_then(|n| u32::try_from(n).map_err(|_| "a smaller number".into()))
}

/// One address, several joined by commas, or a list.
fn listen(value: &Value<'_>) -> Result<Vec<ListenAddr>, Wanted> {
    let raws: Vec<&str> = match value {
        Value::Bare(joined) => joined.split(',').map(str::trim).collect(),
        Value::Text(one) => vec![one],
        Value::List(items) => items
            .iter()
            .map(|item| value::text(item).ok_or_else(|| format!("texts in its list, not {item}")))
            .collect::<Result<_, _>>()?,
        Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => {
            return Err("an address such as \"127.0.0.1:8080\", or a list of them".into());
        }
    };
    if raws.is_empty() {
        return Err("at least one address, such as \"127.0.0.1:8080\"".into());
    }
    let mut addresses = Vec::with_capacity(raws.len());
    for raw in raws {
        let address = ListenAddr::parse(raw)
            .map_err(|rule| format!("addresses, and {raw:?} is none: {rule}"))?;
        let ephemeral = matches!(&address, ListenAddr::Tcp(tcp) if tcp.port() == 0);
        if addresses.contains(&address) && !ephemeral {
            return Err(format!("each address once, and {raw:?} is there twice"));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_written_as_it_is() {
        for setting in &SETTINGS {
            let mut config = Config::default();
            (setting.apply)(&mut config, &Value::Bare(setting.default)).expect(setting.key);
            check::fit_outbox(&mut config);
            assert_eq!(config, Config::default(), "{}", setting.key);
        }
    }

    #[test]
    fn every_setting_sets_something_of_its_own() {
        let others = [
            "unix:/run/f.sock",
            "3",
            "false",
            "random",
            "true",
            "true",
            "7",
            "2MiB",
            "7",
            "3MiB",
            "7",
            "1s",
            "1s",
            "1s",
            "1s",
            "1s",
            "1s",
            "1s",
            "off",
            "off",
            "6",
            "2KiB",
            "7",
            "debug",
            "json",
        ];
        let mut outcomes: Vec<Config> = Vec::new();
        for (setting, other) in SETTINGS.iter().zip(others) {
            let mut config = Config::default();
            (setting.apply)(&mut config, &Value::Bare(other)).expect(setting.key);
            assert_ne!(config, Config::default(), "{}", setting.key);
            assert!(!outcomes.contains(&config), "{} sets another's field", setting.key);
            outcomes.push(config);
        }
        assert_eq!(outcomes.len(), SETTINGS.len());
    }

    #[test]
    fn flags_and_keys_are_unique_and_name_the_variable() {
        for (nth, setting) in SETTINGS.iter().enumerate() {
            for other in SETTINGS.iter().skip(nth + 1) {
                assert!(setting.key != other.key && setting.flag != other.flag);
            }
        }
        assert_eq!(by_flag("echo-route").map(Setting::variable), Some("FANFARE_ECHO_ROUTE".into()));
    }

    #[test]
    fn addresses_come_alone_joined_or_listed_and_never_twice() {
        let two = listen(&Value::Bare("127.0.0.1:1, unix:/x")).expect("two addresses");
        let listed = Value::List(vec![Value::Text("127.0.0.1:1"), Value::Text("unix:/x")]);
        assert_eq!(listen(&listed), Ok(two));
        assert!(listen(&Value::Bare("127.0.0.1:0,127.0.0.1:0")).is_ok(), "two ports of its choice");
        for wrong in [
            Value::Bare("127.0.0.1:1,127.0.0.1:1"),
            Value::Bare(""),
            Value::List(vec![]),
            Value::List(vec![Value::Integer(8080)]),
            Value::Integer(8080),
        ] {
            assert!(listen(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn loops_are_auto_or_within_the_bound() {
        assert_eq!(loops(&Value::Text("auto")), Ok(0));
        assert_eq!(loops(&Value::Integer(64)), Ok(64));
        assert!(loops(&Value::Bare("65")).is_err());
        assert!(loops(&Value::Bare("many")).is_err());
    }
}
