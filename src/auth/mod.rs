//! Who may come in: origins now, tokens later.
//!
//! Not here: HTTP heads (callers pass plain values), what an admitted client may do. Invariant:
//! what can't be understood is refused.
#![deny(clippy::indexing_slicing)]

mod origin;

pub use origin::{all_same_host, same_host};
