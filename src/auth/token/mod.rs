//! JSON Web Tokens (RFC 7519): checked, and issued for development.
//!
//! The signature's algorithm is the key's and never the token's; `kid` only chooses among keys that
//! are known. Time is an argument. Not here: what claims grant in the end (`authority`). Invariant:
//! a token that can't be understood to the last claim lets nobody in.

mod claims;
mod error;
mod keys;

pub use claims::Claims;
pub use error::BadToken;
pub use keys::{TokenKeys, TokenRules};
