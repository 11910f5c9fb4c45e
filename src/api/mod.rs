//! The HTTP API: what a request asks for, decided on its head alone, and what it is told.
//!
//! Not here: reading and writing HTTP (`http`), carrying requests out (`engine`), upgrades (`ws`).
//! Invariants: nothing is read from a body before its head was found good; no answer repeats what
//! a client sent; `docs/protocols/http.md` shows every answer byte by byte.
#![deny(clippy::indexing_slicing)]

mod answer;
mod intent;
mod payload;

pub use answer::{
    METRICS_CONTENT_TYPE, draining, healthy, metrics, no_such_room, over_capacity, published,
    ready, room_limit, short_of_memory, told, too_fast, unanswered, unhealthy,
};
pub use intent::{Intent, decide};
pub use payload::{Notification, check_payload};

#[cfg(test)]
mod replay;
