//! From the settings of the user to those of the shards.

use super::descriptors::LimitsInForce;
use crate::auth::Authority;
use crate::config::{Config, RateConfig};
use crate::engine::{CompressionSettings, NativeSettings, Rate, Rates, Settings};
use std::sync::Arc;

/// What every shard of a server started with `config` goes by, under the limits in force;
/// `authority` decides who comes in.
pub fn settings_from(
    config: &Config,
    limits: LimitsInForce,
    authority: Arc<Authority>,
) -> Settings {
    Settings {
        policies: config.rooms.clone(),
        connections_max: limits.connections_max,
        rooms_max: config.rooms_max,
        room_grace_ms: config.room_grace_ms,
        message_bytes_max: config.message_bytes_max,
        handshake_timeout_ms: config.handshake_timeout_ms,
        heartbeat_interval_ms: config.heartbeat_interval_ms,
        heartbeat_timeout_ms: config.heartbeat_timeout_ms,
        close_timeout_ms: config.close_timeout_ms,
        drain_window_ms: config.drain_window_ms,
        echo_route: config.echo_route,
        compression: CompressionSettings {
            echo: config.compression.echo,
            level: config.compression.level,
            threshold_bytes: config.compression.threshold_bytes,
            contexts_max: config.compression.contexts_max,
        },
        history_total_bytes_max: config.history_total_bytes_max,
        presence_grace_ms: config.presence_grace_ms,
        identity: config.identity.clone(),
        authority,
        login: false,
        auth_timeout_ms: config.auth.timeout_ms,
        auth_cookie: config.auth.cookie.clone(),
        origins: config.origins.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        client_address_header: config.client_address_header,
        proxy_protocol: config.proxy_protocol,
        needs_addresses: config.connections_per_address_max > 0
            || config.rates.address != RateConfig::default(),
        connections_per_address_max: config.connections_per_address_max,
        rates: Rates {
            connection: rate(config.rates.connection),
            user: rate(config.rates.user),
            address: rate(config.rates.address),
        },
        native: NativeSettings {
            rooms_per_conn_max: config.rooms_per_conn_max,
            content_bytes_max: config.content_bytes_max,
            default_rooms: config.default_rooms.clone(),
            idle_room_timeout_ms: config.idle_room_timeout_ms,
            session_timeout_ms: config.session_timeout_ms,
        },
    }
}

const fn rate(RateConfig { messages, bytes }: RateConfig) -> Rate {
    Rate { messages_per_s: messages, bytes_per_s: bytes }
}
