//! Fanfare, a single-binary WebSocket fan-out broker: the map, one line per room of the house.
//!
//! Bytes come in through `net`, become messages in `ws`, commands in `protocol`, and are applied,
//! ordered and fanned out by `engine`; see `docs/ARCHITECTURE.md` for the journey of one message.

pub mod api;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod config;
pub mod engine;
pub mod http;
pub mod limits;
pub mod net;
pub mod observe;
pub mod protocol;
pub mod side;
pub mod ws;
