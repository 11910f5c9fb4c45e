//! The settings: file, then environment, then flags, parsed into types that cannot be wrong.
//!
//! Not here: reading files or the environment (`cli` does, this room parses what it is given), the
//! bounds that are no settings (`limits`). Invariants: a later layer wins; a [`Config`] has passed
//! every check; all mistakes that can be found at once are reported at once.
#![deny(clippy::indexing_slicing)]

mod check;
mod environment;
mod error;
mod file;
mod identity;
mod layers;
mod listen;
mod log;
mod options;
mod rates;
mod rooms;
mod setting;
mod table;
mod value;

pub use error::{ConfigError, ConfigErrors, Place};
pub use layers::{File, Layers};
pub use listen::ListenAddr;
pub use log::{Log, LogFilter, LogFormat, LogLevel};
pub use rates::MemoryMax;
pub use rooms::ROOM_KEYS;
pub use setting::Setting;
pub use table::SETTINGS;

use crate::auth::{Identity, TrustedProxies};
use crate::broker::{
    BatchOptions, Compression, HistoryOptions, PresenceOptions, RoomName, RoomPolicies,
};
use crate::limits;
use std::net::{Ipv4Addr, SocketAddr};

/// Port of the default address.
const PORT_DEFAULT: u16 = 8080;

/// Who spreads new connections over the loops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accept {
    /// The kernel: each loop has a listener of its own.
    ReusePort,
    /// One acceptor, to each loop in turn.
    RoundRobin,
    /// One acceptor, to the loop that holds the fewest.
    LeastConnections,
    /// One acceptor, to a loop drawn by lot.
    Random,
}

/// How permessage-deflate is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompressionConfig {
    /// In rooms that fit no pattern of their own.
    pub rooms: Compression,
    /// On `/echo`.
    pub echo: Compression,
    /// How hard to try, 1 to 9.
    pub level: u8,
    /// Smallest message that is compressed.
    pub threshold_bytes: usize,
    /// Connections that may have a context of their own.
    pub contexts_max: usize,
}

impl Default for CompressionConfig {
    fn default() -> Self {
        Self {
            rooms: Compression::default(),
            echo: Compression::default(),
            level: limits::COMPRESSION_LEVEL,
            threshold_bytes: limits::COMPRESSION_THRESHOLD_BYTES,
            contexts_max: 0,
        }
    }
}

/// Every setting, checked. `docs/config.md` says what each means.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Addresses to listen on, at least one, none twice.
    pub listen: Vec<ListenAddr>,
    /// Event loops, at most [`limits::LOOPS_MAX`]; 0 is one per core.
    pub loops: usize,
    /// Whether each loop is pinned to a core.
    pub pin: bool,
    /// Who spreads connections over the loops.
    pub accept: Accept,
    /// Whether to listen although another process has the port.
    pub takeover: bool,
    /// Whether `/echo` is served.
    pub echo_route: bool,
    /// Connections in all, at least 1; the descriptor limit may lower it.
    pub connections_max: usize,
    /// Largest message, at most [`limits::MESSAGE_BYTES_CEILING`].
    pub message_bytes_max: usize,
    /// Rooms of the process, at least 1.
    pub rooms_max: usize,
    /// Bytes of an outbox: room for one largest message and its header.
    pub outbox_bytes_max: usize,
    /// Messages of an outbox, at least 1.
    pub outbox_messages_max: u32,
    /// Rooms of one native connection, at least 1.
    pub rooms_per_conn_max: usize,
    /// Largest content of a native message, where its room has no bound of its own.
    pub content_bytes_max: usize,
    /// New connections in a second; 0 for any number.
    pub accepts_per_second: u32,
    /// Memory of the process.
    pub memory_max: MemoryMax,
    /// Time for a handshake and for each request.
    pub handshake_timeout_ms: u64,
    /// Silence before a ping.
    pub heartbeat_interval_ms: u64,
    /// Time for a sign of life after the first ping.
    pub heartbeat_timeout_ms: u64,
    /// Time for the peer's half of a close.
    pub close_timeout_ms: u64,
    /// Time over which the closes of a drain are spread; at most the drain's time.
    pub drain_window_ms: u64,
    /// Time for the whole drain.
    pub drain_timeout_ms: u64,
    /// Time an empty room is kept.
    pub room_grace_ms: u64,
    /// permessage-deflate.
    pub compression: CompressionConfig,
    /// What is kept of rooms that fit no pattern of their own.
    pub history: HistoryOptions,
    /// Bytes of history of all rooms.
    pub history_total_bytes_max: usize,
    /// What members are told of each other in such rooms.
    pub presence: PresenceOptions,
    /// Time for a user to come back before it counts as gone.
    pub presence_grace_ms: u64,
    /// Time for which a session can be resumed; 0 for not at all.
    pub session_timeout_ms: u64,
    /// When members that asked for batches get one, in such rooms.
    pub batch: BatchOptions,
    /// Rooms that every native connection is in, at most [`limits::DEFAULT_ROOMS_MAX`].
    pub default_rooms: Vec<RoomName>,
    /// Time after which a native connection leaves a room in which nothing happens; 0 for never.
    pub idle_room_timeout_ms: u64,
    /// How connections get their users; with a header only where there are trusted proxies.
    pub identity: Identity,
    /// Peers whose word about their users is taken.
    pub trusted_proxies: TrustedProxies,
    /// Options of rooms by pattern; the defaults carry what is said of all rooms above.
    pub rooms: RoomPolicies,
    /// The log.
    pub log: Log,
    /// What is allowed but probably not meant; for the log.
    pub warnings: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self {
            listen: vec![default_listen(PORT_DEFAULT)],
            loops: 0,
            pin: true,
            accept: Accept::ReusePort,
            takeover: false,
            echo_route: false,
            connections_max: limits::CONNECTIONS_MAX,
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            rooms_max: limits::ROOMS_MAX,
            outbox_bytes_max: check::OUTBOX_AUTO,
            outbox_messages_max: limits::OUTBOX_MESSAGES_MAX,
            rooms_per_conn_max: limits::ROOMS_PER_CONN_MAX,
            content_bytes_max: limits::CONTENT_BYTES_MAX,
            accepts_per_second: 0,
            memory_max: MemoryMax::Auto,
            handshake_timeout_ms: limits::HANDSHAKE_TIMEOUT_MS,
            heartbeat_interval_ms: limits::HEARTBEAT_INTERVAL_MS,
            heartbeat_timeout_ms: limits::HEARTBEAT_TIMEOUT_MS,
            close_timeout_ms: limits::CLOSE_TIMEOUT_MS,
            drain_window_ms: limits::DRAIN_WINDOW_MS,
            drain_timeout_ms: limits::DRAIN_TIMEOUT_MS,
            room_grace_ms: limits::ROOM_GRACE_MS,
            compression: CompressionConfig::default(),
            history: HistoryOptions::default(),
            history_total_bytes_max: limits::HISTORY_TOTAL_BYTES_MAX,
            presence: PresenceOptions::default(),
            presence_grace_ms: 0,
            session_timeout_ms: limits::SESSION_TIMEOUT_MS,
            batch: BatchOptions::default(),
            default_rooms: Vec::new(),
            idle_room_timeout_ms: 0,
            identity: Identity::default(),
            trusted_proxies: TrustedProxies::default(),
            rooms: RoomPolicies::default(),
            log: Log::default(),
            warnings: Vec::new(),
        };
        check::fit_outbox(&mut config);
        config.rooms = RoomPolicies::new(rooms::defaults(&config), Vec::new());
        config
    }
}

fn default_listen(port: u16) -> ListenAddr {
    ListenAddr::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
