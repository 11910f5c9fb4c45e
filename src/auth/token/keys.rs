//! The keys that tokens are checked with.
//!
//! Not here: where keys come from, when they are replaced. Invariant: each key has one algorithm
//! and is never used with another, whatever a token says.

use super::claims::Claims;
use super::header::Header;
use super::{BadKey, BadToken, TokenAlg, jwks, pem};
use crate::auth::Secret;
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_KEYS_MAX, TOKEN_LEEWAY_S};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, DecodingKeyKind, crypto};
use serde_json::Value;

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

/// A set of keys. The default is empty and lets nobody in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TokenKeys {
    keys: Vec<Key>,
    /// Headers as libraries write them for these keys, so that most need not be read.
    usual: Vec<(String, Header)>,
}

/// [`std::fmt::Debug`] does not show the key: the library's type doesn't.
#[derive(Clone, Debug)]
struct Key {
    alg: TokenAlg,
    kid: Option<Box<str>>,
    key: DecodingKey,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let same_key = match (self.key.kind(), other.key.kind()) {
            (DecodingKeyKind::SecretOrDer(mine), DecodingKeyKind::SecretOrDer(theirs)) => {
                Secret::new(mine.as_slice()).is(theirs)
            }
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: their_n, e: their_e },
            ) => n == their_n && e == their_e,
            (
                DecodingKeyKind::SecretOrDer(_) | DecodingKeyKind::RsaModulusExponent { .. },
                DecodingKeyKind::SecretOrDer(_) | DecodingKeyKind::RsaModulusExponent { .. },
            ) => false,
        };
        self.alg == other.alg && self.kid == other.kid && same_key
    }
}

impl Eq for Key {}

impl TokenKeys {
    /// Adds a secret, for one of the algorithms that have one.
    pub fn add_hmac(
        &mut self,
        alg: TokenAlg,
        kid: Option<&str>,
        secret: &Secret,
    ) -> Result<(), BadKey> {
        let secret = checked_secret(alg, secret)?;
        self.push(alg, kid, DecodingKey::from_secret(secret))
    }

    /// Adds a public key: one PEM block, for one of the algorithms that have key pairs.
    pub fn add_pem(&mut self, alg: TokenAlg, kid: Option<&str>, pem: &[u8]) -> Result<(), BadKey> {
        let key = pem::public_key(alg, pem)?;
        self.push(alg, kid, key)
    }

    /// Reads a JSON Web Key Set (RFC 7517). Keys that are not for signatures by algorithms known
    /// here are passed over; a set without any other is an error, and so is one with private keys.
    pub fn from_jwks(json: &[u8]) -> Result<Self, BadKey> {
        jwks::parse(json)
    }

    /// Adds the keys of `other` that are not known yet.
    pub fn extend(&mut self, other: &Self) -> Result<(), BadKey> {
        for key in &other.keys {
            self.push(key.alg, key.kid.as_deref(), key.key.clone())?;
        }
        Ok(())
    }

    /// How many keys there are.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn push(
        &mut self,
        alg: TokenAlg,
        kid: Option<&str>,
        key: DecodingKey,
    ) -> Result<(), BadKey> {
        let key = Key { alg, kid: kid.map(Box::from), key };
        if self.keys.contains(&key) {
            return Ok(());
        }
        if self.keys.len() == TOKEN_KEYS_MAX {
            return Err(BadKey::TooMany);
        }
        self.add_usual(&key);
        self.keys.push(key);
        Ok(())
    }

    /// Notes the usual headers of that key's tokens: the members in each order, and nothing else.
    fn add_usual(&mut self, key: &Key) {
        let alg = format!(r#""alg":"{}""#, key.alg.word());
        let typ = r#""typ":"JWT""#;
        let kid = key.kid.as_deref().map(|kid| format!("\"kid\":{}", Value::from(kid)));
        let orders = match &kid {
            None => vec![format!("{{{alg},{typ}}}"), format!("{{{typ},{alg}}}")],
            Some(kid) => vec![
                format!("{{{alg},{typ},{kid}}}"),
                format!("{{{alg},{kid},{typ}}}"),
                format!("{{{typ},{alg},{kid}}}"),
            ],
        };
        for json in orders {
            let text = URL_SAFE_NO_PAD.encode(&json);
            let is_new = !self.usual.iter().any(|(known, _)| *known == text);
            if let Ok(header) = Header::parse(json.as_bytes())
                && is_new
            {
                self.usual.push((text, header));
            }
        }
    }

    /// Checks a token at that time: its signature, then its claims. Costs at most one signature for
    /// each key of the token's algorithm; one where `kid` names the key.
    pub fn verify(
        &self,
        token: &str,
        rules: &TokenRules,
        now_unix_ms: u64,
    ) -> Result<Claims, BadToken> {
        if token.len() > rules.bytes_max {
            return Err(BadToken::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(BadToken::Malformed)?;
        // Strict: no padding, no other alphabet, no bits beyond the last byte.
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| BadToken::Malformed);
        let read;
        let usual = self.usual.iter().find(|(known, _)| known == header);
        let header = match usual {
            Some((_, header)) => header,
            None => {
                read = Header::parse(&decode(header)?)?;
                &read
            }
        };
        let claims = decode(claims)?;
        decode(signature)?;
        let mut keys = self.fitting(header).peekable();
        if keys.peek().is_none() {
            return Err(BadToken::UnknownKey);
        }
        if !keys.any(|key| key.signed(message, signature)) {
            return Err(BadToken::BadSignature);
        }
        Claims::parse(&claims, rules, now_unix_ms)
    }

    /// The keys that may have signed a token with that header: those that its `kid` names; all of
    /// its algorithm if it names none, or if no key here has a name.
    fn fitting(&self, header: &Header) -> impl Iterator<Item = &Key> {
        let kid = header.kid.as_deref().filter(|_| self.keys.iter().any(|key| key.kid.is_some()));
        let alg = header.alg;
        self.keys.iter().filter(move |key| {
            key.alg == alg && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
        })
    }
}

impl Key {
    fn signed(&self, message: &str, signature: &str) -> bool {
        let alg = self.alg.library();
        crypto::verify(signature, message.as_bytes(), &self.key, alg).unwrap_or(false)
    }
}

/// The bytes of a secret that is one for that algorithm.
pub(super) fn checked_secret(alg: TokenAlg, secret: &Secret) -> Result<&[u8], BadKey> {
    let bytes_min = alg.secret_bytes_min().ok_or(BadKey::TakesPem(alg))?;
    let secret = secret.expose();
    if secret.len() < bytes_min {
        return Err(BadKey::ShortSecret(alg));
    }
    if secret.windows(10).any(|window| window == b"-----BEGIN") {
        return Err(BadKey::KeyAsSecret);
    }
    Ok(secret)
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
