//! Why a key is not taken.

use super::{BadToken, TokenAlg};
use crate::limits::{JWKS_BYTES_MAX, TOKEN_KEYS_MAX};
use std::fmt;

/// What is wrong with a key, or with a set of them. Never says what the key is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadKey {
    /// The secret is shorter than the algorithm's hash.
    ShortSecret(TokenAlg),
    /// The secret is the text of a key: whoever has that public text could sign.
    KeyAsSecret,
    /// The algorithm has no secret.
    TakesPem(TokenAlg),
    /// The algorithm has no key pair.
    TakesSecret(TokenAlg),
    /// There is no PEM block, or more than one.
    NotOnePem,
    /// It is a private key where a public one will do.
    Private,
    /// It is a public key where a private one is needed.
    Public,
    /// It is a key of another kind, or can't be read.
    WrongKind(TokenAlg),
    /// The RSA key has a bad length.
    RsaBits,
    /// The text is no set of keys (RFC 7517 §5).
    NoSet,
    /// The set is longer than the bound.
    LongSet,
    /// There are more keys than the bound.
    TooMany,
    /// No key of the set can be used.
    NoneUsable,
    /// What is to be signed would not be let in.
    Claims(BadToken),
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortSecret(alg) => {
                let least = alg.secret_bytes_min().unwrap_or(0);
                write!(f, "a secret for {} has at least {least} bytes", alg.word())
            }
            Self::KeyAsSecret => f.write_str("the secret is the text of a PEM key: name its file"),
            Self::TakesPem(alg) => write!(f, "{} takes a PEM key, not a secret", alg.word()),
            Self::TakesSecret(alg) => write!(f, "{} takes a secret, not a PEM key", alg.word()),
            Self::NotOnePem => f.write_str("a file of a key holds one PEM block"),
            Self::Private => f.write_str(
                "this is a private key: tokens are checked with the public one \
                 (openssl pkey -pubout)",
            ),
            Self::Public => {
                f.write_str("this is a public key: tokens are signed with the private one")
            }
            Self::WrongKind(alg) => {
                let (word, kind) = (alg.word(), kind(*alg));
                write!(f, "this is no key for {word}, which takes {kind}, unencrypted")
            }
            Self::RsaBits => f.write_str("an RSA key has 2048 to 8192 bits"),
            Self::NoSet => f.write_str("this is no JSON Web Key Set"),
            Self::LongSet => write!(f, "a key set has at most {JWKS_BYTES_MAX} bytes"),
            Self::TooMany => write!(f, "there are at most {TOKEN_KEYS_MAX} keys"),
            Self::NoneUsable => f.write_str("no key of the set can be used to check signatures"),
            Self::Claims(why) => write!(f, "such a token would be refused: {why}"),
        }
    }
}

const fn kind(alg: TokenAlg) -> &'static str {
    match alg {
        TokenAlg::Hs256 | TokenAlg::Hs384 | TokenAlg::Hs512 => "a secret",
        TokenAlg::Rs256 => "an RSA key (SPKI or PKCS #1; private: PKCS #8 or PKCS #1)",
        TokenAlg::Es256 => "a key on P-256 (SPKI; private: PKCS #8)",
        TokenAlg::EdDsa => "an Ed25519 key (SPKI; private: PKCS #8)",
    }
}
