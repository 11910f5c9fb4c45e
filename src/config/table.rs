//! The settings: one row each, from which file, environment, flags and docs are read.
//!
//! Not here: what a row is (`setting`), how the rows fit together (`check`), the `[[rooms]]` of a
//! file (`rooms`).

use super::log::{LOG_FORMATS, LOG_LEVELS, LogFilter};
use super::setting::Setting;
use super::value::{self, Value, Wanted};
use super::{Accept, check, identity, listen, options, rates};
use crate::broker::RoomHandle;
use crate::limits::{LOOPS_MAX, MESSAGE_BYTES_CEILING};

/// Highest number of connections a config may ask for: slots are numbered by 32 bits.
const SLOTS_CEILING: u64 = u32::MAX as u64;
/// Highest number of rooms: more have no handles, should one loop be home to all of them.
const ROOMS_CEILING: u64 = RoomHandle::SLOTS as u64;
/// Most bytes of history a config may ask for. Beyond it is a slip.
const HISTORY_TOTAL_BYTES_CEILING: usize = 1 << 40;

/// Every setting, in the order of the documentation.
pub static SETTINGS: [Setting; 47] = [
    Setting {
        key: "listen",
        flag: "listen",
        value_name: "ADDR:PORT",
        default: "127.0.0.1:8080",
        meaning: "Address to listen on, or unix:/path; may be given several times",
        apply: |config, value| listen::several(value).map(|listen| config.listen = listen),
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
        apply: |config, value| {
            options::outbox_messages(value).map(|n| config.outbox_messages_max = n)
        },
    },
    Setting {
        key: "limits.rooms_per_conn_max",
        flag: "rooms-per-conn-max",
        value_name: "N",
        default: "1000",
        meaning: "Rooms of one native connection",
        apply: |config, value| {
            value::count(value, 1..=ROOMS_CEILING).map(|n| config.rooms_per_conn_max = n)
        },
    },
    Setting {
        key: "limits.content_bytes_max",
        flag: "content-bytes-max",
        value_name: "SIZE",
        default: "64KiB",
        meaning: "Largest content of a native message",
        apply: |config, value| options::content_bytes(value).map(|n| config.content_bytes_max = n),
    },
    Setting {
        key: "limits.accepts_per_second",
        flag: "accepts-per-second",
        value_name: "N",
        default: "0",
        meaning: "New connections in a second; 0 is any number",
        apply: |config, value| {
            value::number32(value, 0..=u32::MAX).map(|n| config.accepts_per_second = n)
        },
    },
    Setting {
        key: "limits.memory_max",
        flag: "memory-max",
        value_name: "SIZE",
        default: "auto",
        meaning: "Memory of the process, above which no new work is taken; auto is what its control \
                  group may use, none is any size",
        apply: |config, value| rates::memory_max(value).map(|max| config.memory_max = max),
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
            value::choice(value, options::COMPRESSIONS).map(|how| config.compression.rooms = how)
        },
    },
    Setting {
        key: "compression.echo",
        flag: "compression-echo",
        value_name: "HOW",
        default: "shared",
        meaning: "The same for /echo",
        apply: |config, value| {
            value::choice(value, options::COMPRESSIONS).map(|how| config.compression.echo = how)
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
        key: "history.messages_max",
        flag: "history-messages-max",
        value_name: "N",
        default: "1000",
        meaning: "Newest messages kept of a room; 0 keeps none",
        apply: |config, value| {
            options::history_messages(value).map(|n| config.history.messages_max = n)
        },
    },
    Setting {
        key: "history.bytes_max",
        flag: "history-bytes-max",
        value_name: "SIZE",
        default: "1MiB",
        meaning: "Bytes kept of a room",
        apply: |config, value| options::history_bytes(value).map(|n| config.history.bytes_max = n),
    },
    Setting {
        key: "history.age",
        flag: "history-age",
        value_name: "TIME",
        default: "5m",
        meaning: "How long a message is kept",
        apply: |config, value| options::history_age(value).map(|ms| config.history.age_ms = ms),
    },
    Setting {
        key: "history.total_bytes_max",
        flag: "history-total-bytes-max",
        value_name: "SIZE",
        default: "256MiB",
        meaning: "Bytes kept of all rooms",
        apply: |config, value| {
            value::size(value, 0..=HISTORY_TOTAL_BYTES_CEILING)
                .map(|n| config.history_total_bytes_max = n)
        },
    },
    Setting {
        key: "presence.mode",
        flag: "presence-mode",
        value_name: "HOW",
        default: "full",
        meaning: "What a room's members are told of each other: who comes and goes each time (full) \
                  or now and then in one notice (diff), how many there are (count), nothing (off)",
        apply: |config, value| {
            value::choice(value, options::PRESENCES).map(|mode| config.presence.mode = mode)
        },
    },
    Setting {
        key: "presence.full_users_max",
        flag: "presence-full-users-max",
        value_name: "N",
        default: "100",
        meaning: "Users of a room up to which full stays full",
        apply: |config, value| {
            options::presence_users(value).map(|n| config.presence.full_users_max = n)
        },
    },
    Setting {
        key: "presence.diff_users_max",
        flag: "presence-diff-users-max",
        value_name: "N",
        default: "1000",
        meaning: "Users of a room up to which diff stays diff",
        apply: |config, value| {
            options::presence_users(value).map(|n| config.presence.diff_users_max = n)
        },
    },
    Setting {
        key: "presence.interval",
        flag: "presence-interval",
        value_name: "TIME",
        default: "1s",
        meaning: "Time over which diff and count collect what changed",
        apply: |config, value| {
            options::presence_interval(value).map(|ms| config.presence.interval_ms = ms)
        },
    },
    Setting {
        key: "presence.grace",
        flag: "presence-grace",
        value_name: "TIME",
        default: "0s",
        meaning: "Time for a user to come back before the others are told that it left",
        apply: |config, value| value::duration_ms(value, 0).map(|ms| config.presence_grace_ms = ms),
    },
    Setting {
        key: "session.timeout",
        flag: "session-timeout",
        value_name: "TIME",
        default: "60s",
        meaning: "Time for which the session of a lost connection can be resumed; 0s is not at all",
        apply: |config, value| {
            value::duration_ms(value, 0).map(|ms| config.session_timeout_ms = ms)
        },
    },
    Setting {
        key: "native.batch_messages_max",
        flag: "native-batch-messages-max",
        value_name: "N",
        default: "100",
        meaning: "Messages of a room that a batch waits for, for members that asked for batches",
        apply: |config, value| {
            options::batch_messages(value).map(|n| config.batch.messages_max = n)
        },
    },
    Setting {
        key: "native.batch_interval",
        flag: "native-batch-interval",
        value_name: "TIME",
        default: "0s",
        meaning: "Time that a batch waits for them; 0s is to the end of the tick",
        apply: |config, value| {
            options::batch_interval(value).map(|ms| config.batch.interval_ms = ms)
        },
    },
    Setting {
        key: "native.default_rooms",
        flag: "native-default-rooms",
        value_name: "ROOM",
        default: "none",
        meaning: "Room that every native connection is in from the start; may be given several times",
        apply: |config, value| {
            options::default_rooms(value).map(|rooms| config.default_rooms = rooms)
        },
    },
    Setting {
        key: "native.idle_room_timeout",
        flag: "native-idle-room-timeout",
        value_name: "TIME",
        default: "0s",
        meaning: "Time after which a native connection leaves a room in which nothing happens; 0s is \
                  never",
        apply: |config, value| {
            value::duration_ms(value, 0).map(|ms| config.idle_room_timeout_ms = ms)
        },
    },
    Setting {
        key: "identity.user_header",
        flag: "identity-user-header",
        value_name: "HEADER",
        default: "none",
        meaning: "Header in which a trusted proxy names the user, such as X-Forwarded-User",
        apply: |config, value| {
            identity::header(value).map(|name| config.identity.user_header = name)
        },
    },
    Setting {
        key: "identity.username_header",
        flag: "identity-username-header",
        value_name: "HEADER",
        default: "none",
        meaning: "Header in which it says how the user is called; without it by the user's id",
        apply: |config, value| {
            identity::header(value).map(|name| config.identity.username_header = name)
        },
    },
    Setting {
        key: "identity.trusted_proxies",
        flag: "identity-trusted-proxies",
        value_name: "NETWORK",
        default: "none",
        meaning: "Address or network whose word about its users is taken, or unix for whoever comes \
                  through a Unix socket; may be given several times",
        apply: |config, value| {
            identity::trusted_proxies(value).map(|proxies| config.trusted_proxies = proxies)
        },
    },
    Setting {
        key: "identity.admins",
        flag: "identity-admins",
        value_name: "USER",
        default: "none",
        meaning: "Id of a user with the role admin; may be given several times",
        apply: |config, value| {
            identity::admins(value).map(|admins| config.identity.admins = admins)
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
    options::outbox_bytes(value).map_err(|wanted| format!("\"auto\", or {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_auto_or_within_the_bound() {
        assert_eq!(loops(&Value::Text("auto")), Ok(0));
        assert_eq!(loops(&Value::Integer(64)), Ok(64));
        assert!(loops(&Value::Bare("65")).is_err());
        assert!(loops(&Value::Bare("many")).is_err());
    }
}
