//! The only room with sockets, polls and pinned threads: loops that turn readiness into calls of
//! the shard, and its answers into system calls.
//!
//! Not here: what the bytes mean (`engine` and below), the reading of settings (`config`), signals
//! (`cli`). Invariants: loops share nothing but their inboxes and the numbers in [`wake`]; no lock
//! is taken on a loop; a loop reads the clock once a tick.

mod accept;
mod accept_rate;
mod arrivals;
mod clock;
mod deal;
mod descriptors;
mod errands;
mod event_loop;
pub mod link;
mod listener;
mod log;
mod memory;
mod peer;
mod seats;
mod server;
mod settings;
mod socket;
mod sockets;
mod start_error;
mod token;
mod traffic;
mod trim;
pub mod wake;

pub use descriptors::{LimitsInForce, raise as raise_descriptor_limit};
pub use errands::SideWork;
pub use server::{Drainer, Server};
pub use settings::settings_from;
pub use start_error::StartError;
