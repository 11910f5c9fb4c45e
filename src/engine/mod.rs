//! One loop's whole state, as plain data: bytes in, bytes and batches out.
//!
//! Not here: sockets, threads, clocks, random sources (`net` has them). [`Shard`] takes `handle_*`
//! in and gives `poll_*` out, so that a simulator can run many of them in one thread with virtual
//! links and virtual time. Invariants: a room has one home loop, the only writer of its state; per
//! member, delivering touches the session and one link of its outbox and allocates nothing.
#![deny(clippy::indexing_slicing)]

mod address_seats;
mod answered;
mod answers;
mod asking;
mod asks;
mod authenticating;
mod backlog;
mod batch;
mod bucket;
mod buffers;
mod commands;
mod contexts;
mod credit;
mod deadlines;
mod directory;
mod dirty;
mod door;
mod endings;
mod errands;
mod expiry;
mod fanout;
#[doc(hidden)]
pub mod fault;
mod gaps;
mod gather;
mod greeting;
mod hash;
mod homes;
mod idle;
mod ingest;
mod joined;
mod lending;
mod members;
mod metering;
mod native;
mod outbox;
mod overflow;
mod packing;
mod papers;
mod past;
mod people;
mod posts;
mod pressure;
mod proxied;
mod publication;
mod publishing;
mod raw_asks;
mod records;
mod requests;
mod resuming;
#[cfg(test)]
mod rig;
mod seating;
mod session;
mod sessions;
mod settings;
mod shard;
mod shedding;
mod staging;
mod sweep;
mod table;
mod timers;
mod told;
mod websocket;
mod writing;

pub use batch::Batch;
pub use bucket::Rate;
pub use errands::Errand;
pub use hash::HashKey;
pub use metering::Rates;
pub use packing::Stopwatch;
pub use pressure::{MemoryUse, Pressure, Relief};
pub use settings::{CompressionSettings, NativeSettings, Settings};
pub use shard::{Action, Admission, Appetite, Notice, Progress, Setup, Shard};
#[doc(hidden)]
pub use sweep::Leftovers;
