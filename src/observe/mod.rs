//! What the broker says about itself: counters summed on scrape, and logs that can't be flooded.
//!
//! Not here: the counting (each loop bumps its own [`Counters`]), the writing of lines (`cli` sets
//! it up). Invariant: no label or log field grows with what clients choose.
#![deny(clippy::indexing_slicing)]

mod catalogue;
mod counters;
mod metrics;
mod rate_limit;

pub use counters::{Counters, SizeHistogram};
pub use metrics::{ProcessFacts, render};
pub use rate_limit::{Admitted, LineLimiter};
