//! JSON Web Tokens (RFC 7519): checked, and issued for development.
//!
//! The signature's algorithm is the key's and never the token's; `kid` only chooses among keys that
//! are known. Time is an argument. Not here: what claims grant in the end (`authority`). Invariant:
//! a token that can't be understood to the last claim lets nobody in.

mod alg;
mod bad_key;
mod claims;
mod error;
mod header;
mod issue;
mod json;
mod jwks;
mod keys;
mod pem;
mod rooms;

pub use alg::TokenAlg;
pub use bad_key::BadKey;
pub use claims::Claims;
pub use error::BadToken;
pub use issue::{IssuedClaims, Signer};
pub use keys::{TokenKeys, TokenRules};
