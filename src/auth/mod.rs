//! Who may come in, as whom, and what they may do: tokens, grants, origins, what a proxy says.
//!
//! Not here: HTTP heads (callers pass plain values), where keys come from. Invariant: what can't be
//! understood is refused.
#![deny(clippy::indexing_slicing)]

mod access;
mod authority;
mod forwarded;
mod grants;
mod login;
mod origin;
mod proxy;
mod proxy_header;
mod revocation;
mod roles;
mod same_host;
mod secret;
mod token;
mod trusted;

pub use access::{Access, TokenFacts};
pub use authority::Authority;
pub use forwarded::{ForwardedHeader, client_address};
pub use grants::{Grant, Grants, Ungranted};
pub use login::{Login, LoginOutcome};
pub use origin::{BadOrigin, OriginPolicy, OriginRefused};
pub use proxy::{Admins, BadIdentity, Identity};
pub use proxy_header::{BadProxyHeader, ProxyHeader, ProxyProtocol, ProxyReader, ProxyStep};
pub use revocation::{Revocation, Revocations, RevocationsFull};
pub use roles::{ADMIN, GUEST, MEMBER, Roles};
pub use secret::Secret;
pub use token::{BadKey, BadToken, Claims, IssuedClaims, Signer, TokenAlg, TokenKeys, TokenRules};
pub use trusted::{Network, Trust, TrustedProxies};
