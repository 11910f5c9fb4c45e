//! What the broker says about itself: counters summed on scrape, and logs that can't be flooded.
//!
//! Not here: the counting (each loop bumps its own [`Counters`]). Invariant: no label or log field
//! grows with what clients choose.

mod counters;

pub use counters::{Counters, SizeHistogram};
