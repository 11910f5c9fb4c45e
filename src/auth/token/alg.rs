//! The algorithms that tokens may be signed with (RFC 7518 §3.1, RFC 8037).
//!
//! Not here: keys (`keys`). Invariant: `none` is no algorithm.

use jsonwebtoken::Algorithm;

/// How a token is signed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TokenAlg {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl TokenAlg {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Hs256, Self::Hs384, Self::Hs512, Self::Rs256, Self::Es256, Self::EdDsa];

    /// Its name, as in `alg`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Takes a name as [`Self::word`] spells it, and in no other case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.word() == word)
    }

    /// The shortest secret, for those that have one: as long as the hash (RFC 7518 §3.2).
    pub const fn secret_bytes_min(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            Self::Rs256 | Self::Es256 | Self::EdDsa => None,
        }
    }

    /// The library's word for it.
    pub(super) const fn library(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Hs384 => Algorithm::HS384,
            Self::Hs512 => Algorithm::HS512,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_spelled_and_none_is_none() {
        for alg in TokenAlg::ALL {
            assert_eq!(TokenAlg::parse(alg.word()), Some(alg));
            let word = alg.word();
            for odd in [word.to_lowercase(), format!("{word} "), format!(" {word}")] {
                assert_eq!(TokenAlg::parse(&odd), None, "{odd:?}");
            }
        }
        for odd in ["", "none", "None", "NONE", "HS1", "RS384", "PS256", "ES256K", "Ed25519"] {
            assert_eq!(TokenAlg::parse(odd), None, "{odd:?}");
        }
    }
}
