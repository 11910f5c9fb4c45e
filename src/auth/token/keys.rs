//! The keys that tokens are checked with.

use super::{BadToken, Claims};
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_LEEWAY_S};

/// What tokens must say beside being signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRules {
    /// `aud` must name one of these; any, or none at all, where this is empty.
    pub audiences: Vec<Box<str>>,
    /// `iss` must be one of these; the same.
    pub issuers: Vec<Box<str>>,
    /// What clocks may differ by, for `exp` and `nbf` at the door.
    pub leeway_s: u64,
    /// Longest token.
    pub bytes_max: usize,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            audiences: Vec::new(),
            issuers: Vec::new(),
            leeway_s: TOKEN_LEEWAY_S,
            bytes_max: TOKEN_BYTES_MAX,
        }
    }
}

/// A set of keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TokenKeys {}

impl TokenKeys {
    /// Checks a token at that time: its signature, then its claims.
    pub fn verify(
        &self,
        token: &str,
        rules: &TokenRules,
        _now_unix_ms: u64,
    ) -> Result<Claims, BadToken> {
        if token.len() > rules.bytes_max {
            return Err(BadToken::TooLong);
        }
        Err(BadToken::UnknownKey)
    }
}
