//! The HTTP API: what a request asks for, decided on its head alone, and what it is told.
//!
//! Not here: reading and writing HTTP (`http`), carrying requests out (`engine`), upgrades (`ws`).
//! Invariants: nothing is read from a body before its head was found good; no answer repeats what
//! a client sent; `docs/protocols/http.md` shows every answer byte by byte.
#![deny(clippy::indexing_slicing)]

mod answer;
mod fields;
mod intent;
mod login;
mod payload;
mod revocation;

pub use answer::{
    METRICS_CONTENT_TYPE, beyond_address, draining, healthy, metrics, no_such_room, over_capacity,
    published, rate_limited, ready, room_limit, short_of_memory, told, too_fast, unanswered,
    unhealthy,
};
pub use intent::{Intent, Refusal, decide, nowhere};
pub use login::{Credentials, logged_in, login_off};
pub use payload::{Notification, check_payload};
pub use revocation::{read_revocation, revocations_full, revoked};

#[cfg(test)]
mod replay;
