//! What the configuration says to a shard: plain values, already checked.

use crate::broker::{Compression, RoomPolicies};
use crate::limits;

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
        }
    }
}
