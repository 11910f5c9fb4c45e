//! What clients speak over a WebSocket: the only room where `broker` and `ws` words meet.
//!
//! Not here: frames (`ws`), what a command does (`broker`, `engine`). Invariant: each protocol maps
//! [`broker::Disconnect`](crate::broker::Disconnect) by one exhaustive `const fn`, and
//! `docs/close-codes.md` is compared with it by a test.
#![deny(clippy::indexing_slicing)]

pub mod raw;
