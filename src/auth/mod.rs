//! Who may come in, and as whom: origins and what a trusted proxy says now, tokens later.
//!
//! Not here: HTTP heads (callers pass plain values), what an admitted client may do. Invariant:
//! what can't be understood is refused.
#![deny(clippy::indexing_slicing)]

mod origin;
mod proxy;
mod trusted;

pub use origin::{all_same_host, same_host};
pub use proxy::{Admins, BadIdentity, Identity};
pub use trusted::{Network, Trust, TrustedProxies};
