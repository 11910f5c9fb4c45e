//! A WebSocket client that costs less per frame than any server: one thread, one poll, one buffer.
//!
//! Not here: which load is made (`run`, `idle`, `connect`). Invariant: no payload is copied on the
//! way in but the front of one that a read cuts; what is known of a message is its [`Stamp`].

mod alarm;
mod conn;
mod dial;
mod draft;
mod fleet;
mod native;
mod stamp;
mod tally;
mod unpack;
mod walk;

pub(super) use conn::{Brought, Ending, Happening, Masking, mask};
pub(super) use draft::{Content, Draft, fill, parse_template};
pub(super) use fleet::{Fleet, Manner};
pub(super) use native::{
    Answer, Protocol, answer, batch_request, join_request, record_draft, text_draft,
};
pub(super) use stamp::{Mark, STAMP_BYTES, Stamp};
pub(super) use tally::{Faults, Receipt, Tally};
pub(super) use unpack::Unpacker;
