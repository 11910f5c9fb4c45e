//! Why a token lets nobody in.

use std::fmt;

/// What is wrong with a token. Never says what the token holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BadToken {
    /// There are no keys to check it with.
    NoKeys,
    /// It is longer than the bound.
    TooLong,
    /// It is no JSON Web Token.
    Malformed,
    /// No key that is known fits its `kid` and its algorithm.
    UnknownKey,
    /// Its signature is not that of the key.
    BadSignature,
    /// It has ended.
    Expired,
    /// It is not valid yet.
    TooEarly,
    /// It is meant for others.
    WrongAudience,
    /// Someone else issued it.
    WrongIssuer,
    /// A claim is missing or is not what it must be.
    BadClaim(&'static str),
    /// It was revoked.
    Revoked,
}

impl BadToken {
    /// Stable words for the metrics, in the order of [`Self::index`].
    pub const LABELS: [&'static str; 11] = [
        "no-keys",
        "too-long",
        "malformed",
        "unknown-key",
        "bad-signature",
        "expired",
        "too-early",
        "wrong-audience",
        "wrong-issuer",
        "bad-claim",
        "revoked",
    ];

    /// Place in a table with one entry per reason.
    pub const fn index(self) -> usize {
        match self {
            Self::NoKeys => 0,
            Self::TooLong => 1,
            Self::Malformed => 2,
            Self::UnknownKey => 3,
            Self::BadSignature => 4,
            Self::Expired => 5,
            Self::TooEarly => 6,
            Self::WrongAudience => 7,
            Self::WrongIssuer => 8,
            Self::BadClaim(_) => 9,
            Self::Revoked => 10,
        }
    }
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKeys => "no keys for tokens are configured",
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is no JSON Web Token",
            Self::UnknownKey => "no key fits the token's kid and algorithm",
            Self::BadSignature => "the token's signature is wrong",
            Self::Expired => "the token has expired: get a new one",
            Self::TooEarly => "the token is not valid yet",
            Self::WrongAudience => "the token is meant for another audience",
            Self::WrongIssuer => "the token is of another issuer",
            Self::BadClaim(claim) => {
                return write!(f, "the token's claim {claim} is missing or not what it must be");
            }
            Self::Revoked => "the token was revoked: get a new one",
        })
    }
}
