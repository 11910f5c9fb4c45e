//! What the configuration says to a shard: plain values, already checked.

use super::metering::Rates;
use crate::auth::{
    Authority, ForwardedHeader, Identity, OriginPolicy, ProxyProtocol, TrustedProxies,
};
use crate::broker::{Compression, RoomName, RoomPolicies};
use crate::limits;
use std::sync::Arc;

/// The settings of every shard of one process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Options of rooms by name.
    pub policies: RoomPolicies,
    /// Connections of the process, as enforced by `net`; only shown here.
    pub connections_max: usize,
    /// Rooms of the process; each loop holds its share.
    pub rooms_max: usize,
    /// How long an empty room is kept.
    pub room_grace_ms: u64,
    /// Largest message, and largest HTTP body.
    pub message_bytes_max: usize,
    /// Time for a handshake, and for the head of each request.
    pub handshake_timeout_ms: u64,
    /// Silence after which a ping is sent.
    pub heartbeat_interval_ms: u64,
    /// Time for any sign of life after the first ping.
    pub heartbeat_timeout_ms: u64,
    /// Time for the peer's half of a close.
    pub close_timeout_ms: u64,
    /// Time over which closes are spread when draining.
    pub drain_window_ms: u64,
    /// Whether `/echo` answers.
    pub echo_route: bool,
    /// permessage-deflate; of rooms, their options say more.
    pub compression: CompressionSettings,
    /// Bytes of history of all rooms; each loop holds its share.
    pub history_total_bytes_max: usize,
    /// Time after which a user without a connection counts as gone.
    pub presence_grace_ms: u64,
    /// How connections get their users.
    pub identity: Identity,
    /// Who decides who comes in, until another takes its place.
    pub authority: Arc<Authority>,
    /// Whether `POST /v1/auth` is served.
    pub login: bool,
    /// Connections of one address; 0 for any number.
    pub connections_per_address_max: u32,
    /// What may be sent in a second.
    pub rates: Rates,
    /// Time for the `auth` message of a native connection that came without a token.
    pub auth_timeout_ms: u64,
    /// The cookie that may hold a token.
    pub auth_cookie: Option<Box<str>>,
    /// Whose pages may connect, and publish.
    pub origins: OriginPolicy,
    /// The peers whose word about their clients is taken.
    pub trusted_proxies: TrustedProxies,
    /// The header in which they say where a client is.
    pub client_address_header: ForwardedHeader,
    /// Whether they say so before the first request.
    pub proxy_protocol: ProxyProtocol,
    /// Whether clients' addresses are noted although nobody is a trusted proxy.
    pub needs_addresses: bool,
    /// The native protocol; of rooms, their options say more.
    pub native: NativeSettings,
}

/// What holds for native connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NativeSettings {
    /// Rooms of one connection.
    pub rooms_per_conn_max: usize,
    /// Content of a message that goes to no room.
    pub content_bytes_max: usize,
    /// Rooms that every connection is in from the start.
    pub default_rooms: Vec<RoomName>,
    /// Time after which a connection leaves a room in which nothing happens; 0 for never.
    pub idle_room_timeout_ms: u64,
    /// Time for which the session of a connection that ended can be resumed.
    pub session_timeout_ms: u64,
}

impl Default for NativeSettings {
    fn default() -> Self {
        Self {
            rooms_per_conn_max: limits::ROOMS_PER_CONN_MAX,
            content_bytes_max: limits::CONTENT_BYTES_MAX,
            default_rooms: Vec::new(),
            idle_room_timeout_ms: 0,
            session_timeout_ms: limits::SESSION_TIMEOUT_MS,
        }
    }
}

/// How permessage-deflate is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompressionSettings {
    /// On `/echo`.
    pub echo: Compression,
    /// How hard to try, 1 to 9.
    pub level: u8,
    /// Payload bytes below which a message is not compressed.
    pub threshold_bytes: usize,
    /// Connections of the process that may have a context of their own; each loop has its share.
    pub contexts_max: usize,
}

impl Default for CompressionSettings {
    fn default() -> Self {
        Self {
            echo: Compression::default(),
            level: limits::COMPRESSION_LEVEL,
            threshold_bytes: limits::COMPRESSION_THRESHOLD_BYTES,
            contexts_max: 0,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policies: RoomPolicies::default(),
            connections_max: limits::CONNECTIONS_MAX,
            rooms_max: limits::ROOMS_MAX,
            room_grace_ms: limits::ROOM_GRACE_MS,
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            handshake_timeout_ms: limits::HANDSHAKE_TIMEOUT_MS,
            heartbeat_interval_ms: limits::HEARTBEAT_INTERVAL_MS,
            heartbeat_timeout_ms: limits::HEARTBEAT_TIMEOUT_MS,
            close_timeout_ms: limits::CLOSE_TIMEOUT_MS,
            drain_window_ms: limits::DRAIN_WINDOW_MS,
            echo_route: false,
            compression: CompressionSettings::default(),
            history_total_bytes_max: limits::HISTORY_TOTAL_BYTES_MAX,
            presence_grace_ms: 0,
            identity: Identity::default(),
            authority: Arc::default(),
            connections_per_address_max: 0,
            rates: Rates::default(),
            login: false,
            auth_timeout_ms: limits::AUTH_TIMEOUT_MS,
            auth_cookie: None,
            origins: OriginPolicy::default(),
            trusted_proxies: TrustedProxies::default(),
            client_address_header: ForwardedHeader::default(),
            proxy_protocol: ProxyProtocol::default(),
            needs_addresses: false,
            native: NativeSettings::default(),
        }
    }
}
