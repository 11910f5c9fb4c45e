//! What the end-to-end tests share: the real binary, and clients of every kind to put before it.
//!
//! Not here: any test. Invariants: no process outlives its test; nothing waits for time to pass,
//! only for conditions, each with a deadline; who fails shows the broker's log.

#![expect(clippy::panic, reason = "a client that can't go on fails its test, and says why")]

pub(crate) mod broker;
pub(crate) mod bystander;
pub(crate) mod crowd;
pub(crate) mod drip;
pub(crate) mod http;
pub(crate) mod native;
pub(crate) mod node;
pub(crate) mod plan;
pub(crate) mod raw;
pub(crate) mod scrape;
pub(crate) mod token;
pub(crate) mod wait;

use std::env;

/// How many of `count` repetitions to run: all, unless `FANFARE_E2E_SCALE` (per cent) says less.
pub(crate) fn scaled(count: usize) -> usize {
    let percent = env::var("FANFARE_E2E_SCALE").ok().and_then(|scale| scale.parse().ok());
    (count * percent.unwrap_or(100_usize) / 100).max(1)
}
