//! Who may come in, as whom, and what they may do: tokens, grants, origins, what a proxy says.
//!
//! Not here: HTTP heads (callers pass plain values), where keys come from. Invariant: what can't be
//! understood is refused.
#![deny(clippy::indexing_slicing)]

mod access;
mod authority;
mod grants;
mod origin;
mod proxy;
mod roles;
mod secret;
mod token;
mod trusted;

pub use access::{Access, TokenFacts};
pub use authority::Authority;
pub use grants::{Grant, Grants, Ungranted};
pub use origin::{all_same_host, same_host};
pub use proxy::{Admins, BadIdentity, Identity};
pub use roles::{ADMIN, GUEST, MEMBER, Roles};
pub use secret::Secret;
pub use token::{BadKey, BadToken, Claims, IssuedClaims, Signer, TokenAlg, TokenKeys, TokenRules};
pub use trusted::{Network, Trust, TrustedProxies};
