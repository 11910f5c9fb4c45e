//! The list of all metrics: how each is called, what it means, and where its number is found.
//!
//! Not here: how they are written (`metrics`). Invariants: names carry their base unit; labels take
//! values from lists of ours, never from a client; `docs/operations.md` says the same in the same
//! words.

use super::metrics::Scrape;
use super::{Counters, SizeHistogram};
use crate::broker::Disconnect;
use prometheus_client::registry::Unit;

/// One metric family.
pub(super) struct Metric {
    /// Without the prefix, the unit and the suffix.
    pub(super) name: &'static str,
    pub(super) unit: Option<&'static Unit>,
    pub(super) help: &'static str,
    pub(super) value: Value,
}

/// The type of a metric, and where its number is found.
pub(super) enum Value {
    Info(fn(&Scrape) -> (&'static str, &'static str)),
    Seconds(fn(&Scrape) -> f64),
    Gauge(fn(&Scrape) -> u64),
    Sum(fn(&Counters) -> u64),
    Counter(fn(&Counters) -> u64),
    /// A counter of nanoseconds, told in seconds.
    Nanoseconds(fn(&Counters) -> u64),
    /// A gauge: the first number for each of the second.
    Ratio(fn(&Counters) -> (u64, u64)),
    CounterBy(&'static str, fn(&Counters) -> Vec<(&'static str, u64)>),
    Histogram(fn(&Counters) -> &SizeHistogram),
}

const BYTES: Option<&Unit> = Some(&Unit::Bytes);
const SECONDS: Option<&Unit> = Some(&Unit::Seconds);

/// Every metric, in the order of the text.
pub(super) const METRICS: &[Metric] = &[
    // The process.
    Metric {
        name: "build",
        unit: None,
        help: "The build that answers.",
        value: Value::Info(|scrape| ("version", scrape.facts.version)),
    },
    Metric {
        name: "uptime",
        unit: SECONDS,
        help: "Time since the process started.",
        value: Value::Seconds(|scrape| scrape.facts.uptime_ms as f64 / 1_000.0),
    },
    gauge("loops", "Loops that the sums are over.", |scrape| scrape.loops),
    // Connections.
    sum("connections", "Connections held, of any kind.", |sum| sum.connections),
    gauge("connections_max", "Connections that may be held; further ones are refused.", |scrape| {
        scrape.facts.connections_max
    }),
    sum("websockets", "Connections upgraded to WebSocket and not yet closing.", |sum| {
        sum.websockets
    }),
    count("connections_opened", "Connections accepted.", |sum| sum.connections_opened),
    count("connections_refused", "Connections refused: over capacity or draining.", |sum| {
        sum.connections_refused
    }),
    Metric {
        name: "connections_closed",
        unit: None,
        help: "Connections ended, by reason.",
        value: Value::CounterBy("reason", by_reason),
    },
    count("accepts_exhausted", "Times accept found no descriptor left.", |sum| {
        sum.accepts_exhausted
    }),
    // HTTP.
    count("handshakes_failed", "WebSocket upgrades refused.", |sum| sum.handshakes_failed),
    count("http_requests", "HTTP requests with a complete head, upgrades included.", |sum| {
        sum.http_requests
    }),
    Metric {
        name: "http_responses",
        unit: None,
        help: "HTTP responses, by class of status.",
        value: Value::CounterBy("class", by_class),
    },
    // Bytes and system calls.
    count_bytes("received", "Bytes read from sockets.", |sum| sum.bytes_in),
    count_bytes("sent", "Bytes written to sockets.", |sum| sum.bytes_out),
    count("reads", "Read system calls.", |sum| sum.reads),
    count("writes", "Write system calls.", |sum| sum.writes),
    count("writes_blocked", "Writes that the kernel took in part or not at all.", |sum| {
        sum.writes_blocked
    }),
    // Messages.
    count("messages_received", "WebSocket messages received.", |sum| sum.messages_in),
    count("messages_delivered", "WebSocket messages queued for members and echo clients.", |sum| {
        sum.messages_out
    }),
    count("publications", "Messages numbered by their room.", |sum| sum.publications),
    count("dropped_messages", "Messages that a member's full outbox did not take.", |sum| {
        sum.messages_dropped
    }),
    count("gaps", "Gaps recorded for members, of one or more dropped messages each.", |sum| {
        sum.gaps
    }),
    Metric {
        name: "run_messages",
        unit: None,
        help: "Messages of one room laid out in one tick.",
        value: Value::Histogram(|sum| &sum.run_messages),
    },
    // Pings.
    count("pings_received", "Pings received.", |sum| sum.pings_in),
    count("pongs_sent", "Pongs queued.", |sum| sum.pongs_out),
    count("pongs_coalesced", "Pings answered by a newer one's pong.", |sum| sum.pongs_coalesced),
    count("pings_sent", "Heartbeat pings sent.", |sum| sum.pings_out),
    count("pongs_received", "Pongs received.", |sum| sum.pongs_in),
    // Native connections.
    sum("natives", "Native connections among the WebSockets.", |sum| sum.natives),
    count("requests_refused", "Native requests answered with an error.", |sum| {
        sum.requests_refused
    }),
    count("repeats", "Messages recognised by their dedupe key and not delivered again.", |sum| {
        sum.repeats
    }),
    count("dedupe_evictions", "Dedupe keys forgotten before their time.", |sum| {
        sum.dedupe_evictions
    }),
    Metric {
        name: "history",
        unit: BYTES,
        help: "Bytes that rooms' histories keep allocated.",
        value: Value::Sum(|sum| sum.history_bytes),
    },
    count(
        "history_evictions",
        "Pieces of history forgotten because all histories were too large.",
        |sum| sum.history_evictions,
    ),
    count(
        "volatile_dropped",
        "Typing notices and receipts that a full socket was spared.",
        |sum| sum.volatile_dropped,
    ),
    count("gaps_told", "Gap notices sent to native members.", |sum| sum.gaps_told),
    sum("sessions_parked", "Native sessions that wait to be resumed.", |sum| sum.sessions_parked),
    count("sessions_resumed", "Native sessions taken up by another connection.", |sum| {
        sum.sessions_resumed
    }),
    count("sessions_ended", "Native sessions that nobody came back for.", |sum| sum.sessions_ended),
    sum("users_online", "Users with a native connection, of this node.", |sum| sum.users_online),
    // Who comes in, and how often.
    count("tokens_accepted", "Tokens that let someone in, or stay.", |sum| sum.tokens_accepted),
    count("tokens_refused", "Tokens that did not.", |sum| sum.tokens_refused),
    count("tokens_expired", "WebSockets closed because their token had expired.", |sum| {
        sum.tokens_expired
    }),
    count("tokens_revoked", "WebSockets closed because their token was revoked.", |sum| {
        sum.tokens_revoked
    }),
    sum("revocations", "Revocations in force.", |sum| sum.revocations),
    count("auth_timeouts", "Native connections closed because no token came in time.", |sum| {
        sum.auth_timeouts
    }),
    count("requests_forbidden", "Requests refused for want of a grant.", |sum| {
        sum.requests_forbidden
    }),
    count("origins_refused", "Requests refused because of the page that they came from.", |sum| {
        sum.origins_refused
    }),
    count("logins_refused", "Logins refused.", |sum| sum.logins_refused),
    sum("addresses", "Addresses whose connections are counted.", |sum| sum.addresses),
    count("addresses_refused", "Connections refused because their address had too many.", |sum| {
        sum.addresses_refused
    }),
    count(
        "proxy_headers_refused",
        "Connections closed for what they said, or left out, by the PROXY protocol.",
        |sum| sum.proxy_headers_refused,
    ),
    count("accepts_limited", "Connections refused because too many came at once.", |sum| {
        sum.accepts_limited
    }),
    sum("buckets", "Users and addresses whose messages are counted.", |sum| sum.buckets),
    count("rate_limited", "Messages and requests refused because too many came.", |sum| {
        sum.rate_limited
    }),
    count("pressure_refused", "Connections and rooms refused because memory was short.", |sum| {
        sum.pressure_refused
    }),
    count("pressure_shed", "Slow members closed because memory was short.", |sum| {
        sum.pressure_shed
    }),
    // Compression.
    count("upgrades_compressed", "Upgrades that agreed on permessage-deflate.", |sum| {
        sum.upgrades_compressed
    }),
    sum("contexts", "Connections with a compression context of their own.", |sum| sum.contexts),
    count(
        "contexts_refused",
        "Upgrades that got the shared compression for want of a context.",
        |sum| sum.contexts_refused,
    ),
    count("deflated_messages", "Messages compressed, each once for all who get it.", |sum| {
        sum.deflated_messages
    }),
    count_bytes("deflate_input", "Bytes of messages before they were compressed.", |sum| {
        sum.deflate_bytes_in
    }),
    count_bytes("deflate_output", "Bytes of messages after they were compressed.", |sum| {
        sum.deflate_bytes_out
    }),
    Metric {
        name: "deflate",
        unit: Some(&Unit::Ratios),
        help: "Bytes before for each byte after, since the start.",
        value: Value::Ratio(|sum| (sum.deflate_bytes_in, sum.deflate_bytes_out)),
    },
    count_bytes(
        "deflate_saved",
        "Bytes that clients were not sent thanks to compression.",
        |sum| sum.deflate_bytes_saved,
    ),
    Metric {
        name: "deflate",
        unit: SECONDS,
        help: "Time spent compressing.",
        value: Value::Nanoseconds(|sum| sum.deflate_ns),
    },
    count("inflated_messages", "Compressed messages received.", |sum| sum.inflated_messages),
    count_bytes("inflate_input", "Bytes of compressed payloads as they came.", |sum| {
        sum.inflate_bytes_in
    }),
    count_bytes("inflate_output", "Bytes of compressed payloads inflated.", |sum| {
        sum.inflate_bytes_out
    }),
    Metric {
        name: "inflate",
        unit: SECONDS,
        help: "Time spent inflating.",
        value: Value::Nanoseconds(|sum| sum.inflate_ns),
    },
    // Rooms.
    sum("rooms", "Rooms held.", |sum| sum.rooms),
    count("rooms_created", "Rooms created.", |sum| sum.rooms_created),
    count("rooms_deleted", "Rooms deleted after their grace.", |sum| sum.rooms_deleted),
    count("rooms_refused", "Joins and publishes refused for too many rooms.", |sum| {
        sum.rooms_refused
    }),
    sum("members", "Memberships of connections in rooms.", |sum| sum.members),
    count("joins", "Joins that took effect.", |sum| sum.joins),
    count("leaves", "Memberships that ended.", |sum| sum.leaves),
    // Loops and links.
    count("ticks", "Turns of the loops.", |sum| sum.ticks),
    count("wakes", "Wake-up system calls made for other loops.", |sum| sum.wakes),
    count("batches", "Batches handed to other loops.", |sum| sum.batches_out),
    Metric {
        name: "batch",
        unit: BYTES,
        help: "Sizes of the batches handed to other loops.",
        value: Value::Histogram(|sum| &sum.batch_bytes),
    },
    count("batches_held", "Batches that a full inbox did not take at once.", |sum| {
        sum.batches_held
    }),
    count("credit_pauses", "Times a connection was not read on for want of credit.", |sum| {
        sum.credit_pauses
    }),
    count("commands_parked", "Commands parked behind a full destination.", |sum| {
        sum.commands_parked
    }),
    count("notices_dropped", "Notices for the log that found no place.", |sum| sum.notices_dropped),
    // Memory.
    gauge_bytes("memory", "Memory that the process uses, as it was last looked at.", |scrape| {
        scrape.facts.memory_bytes
    }),
    gauge_bytes("memory_max", "Memory that it may use; 0 is as much as there is.", |scrape| {
        scrape.facts.memory_max_bytes
    }),
    sum_bytes("spill", "Bytes held for unfinished requests and messages.", |sum| sum.spill_bytes),
    sum_bytes("outbox", "Bytes queued in outboxes, shared ones once per member.", |sum| {
        sum.outbox_bytes
    }),
    sum_bytes("pinned", "Capacity of the buffers that outboxes keep alive.", |sum| {
        sum.pinned_bytes
    }),
    sum_bytes("outgoing", "Bytes waiting for other loops to take them.", |sum| sum.outgoing_bytes),
];

const fn gauge(name: &'static str, help: &'static str, of: fn(&Scrape) -> u64) -> Metric {
    Metric { name, unit: None, help, value: Value::Gauge(of) }
}

const fn gauge_bytes(name: &'static str, help: &'static str, of: fn(&Scrape) -> u64) -> Metric {
    Metric { name, unit: BYTES, help, value: Value::Gauge(of) }
}

const fn sum(name: &'static str, help: &'static str, of: fn(&Counters) -> u64) -> Metric {
    Metric { name, unit: None, help, value: Value::Sum(of) }
}

const fn sum_bytes(name: &'static str, help: &'static str, of: fn(&Counters) -> u64) -> Metric {
    Metric { name, unit: BYTES, help, value: Value::Sum(of) }
}

const fn count(name: &'static str, help: &'static str, of: fn(&Counters) -> u64) -> Metric {
    Metric { name, unit: None, help, value: Value::Counter(of) }
}

const fn count_bytes(name: &'static str, help: &'static str, of: fn(&Counters) -> u64) -> Metric {
    Metric { name, unit: BYTES, help, value: Value::Counter(of) }
}

fn by_reason(sum: &Counters) -> Vec<(&'static str, u64)> {
    Disconnect::ALL.iter().map(|reason| reason.label()).zip(sum.connections_closed).collect()
}

fn by_class(sum: &Counters) -> Vec<(&'static str, u64)> {
    ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(sum.http_responses).collect()
}
