//! Tokens of our own: for development, and for users that log in with a password.
//!
//! Not here: who gets one. Time and chance (`iat`, `exp`, `jti`) are given. Invariant: no token is
//! issued that would be refused for what it says.

use super::keys::checked_secret;
use super::pem::Block;
use super::{BadKey, BadToken, Claims, TokenAlg};
use crate::auth::Secret;
use crate::limits::TOKEN_BYTES_CEILING;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, crypto};
use serde::Serialize;
use serde_json::Value;

/// A key that signs.
#[derive(Clone, Debug)]
pub struct Signer {
    alg: TokenAlg,
    kid: Option<Box<str>>,
    key: EncodingKey,
}

/// What an issued token says; what is empty or `None` is left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IssuedClaims {
    /// The user's id.
    #[serde(rename = "sub")]
    pub user: String,
    /// The name to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Roles by name; `Some` of an empty list says that there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Grants in rooms, as in the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Value>,
    /// Rooms that its connections are in from the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub autojoin: Vec<String>,
    /// What others are told of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Value>,
    /// The token's own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// When it is issued, in Unix seconds.
    pub iat: u64,
    /// When it ends.
    pub exp: u64,
    /// Whom it is meant for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aud: Vec<String>,
    /// Who issues it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

impl Signer {
    /// Signs with a secret.
    pub fn from_secret(alg: TokenAlg, kid: Option<&str>, secret: &Secret) -> Result<Self, BadKey> {
        let key = EncodingKey::from_secret(checked_secret(alg, secret)?);
        Self::tried(alg, kid, key)
    }

    /// Signs with a private key: one PEM block, unencrypted.
    pub fn from_pem(alg: TokenAlg, kid: Option<&str>, pem: &[u8]) -> Result<Self, BadKey> {
        if !Block::parse(pem)?.is_private() {
            return Err(BadKey::Public);
        }
        let key = match alg {
            TokenAlg::Hs256 | TokenAlg::Hs384 | TokenAlg::Hs512 => {
                return Err(BadKey::TakesSecret(alg));
            }
            TokenAlg::Rs256 => EncodingKey::from_rsa_pem(pem),
            TokenAlg::Es256 => EncodingKey::from_ec_pem(pem),
            TokenAlg::EdDsa => EncodingKey::from_ed_pem(pem),
        };
        Self::tried(alg, kid, key.map_err(|_| BadKey::WrongKind(alg))?)
    }

    /// The library looks at a key when it signs: a bad one is to be found at the start.
    fn tried(alg: TokenAlg, kid: Option<&str>, key: EncodingKey) -> Result<Self, BadKey> {
        let signer = Self { alg, kid: kid.map(Box::from), key };
        signer.signature("").map(|_| signer)
    }

    fn signature(&self, message: &str) -> Result<String, BadKey> {
        let signed = crypto::sign(message.as_bytes(), &self.key, self.alg.library());
        signed.map_err(|_| BadKey::WrongKind(self.alg))
    }

    /// Makes a token. What would be refused for its claims is not signed.
    pub fn sign(&self, claims: &IssuedClaims) -> Result<String, BadKey> {
        let header = Header { typ: "JWT", alg: self.alg.word(), kid: self.kid.as_deref() };
        let (header, claims) = (serde_json::to_vec(&header), serde_json::to_vec(claims));
        let (Ok(header), Ok(claims)) = (header, claims) else {
            return Err(BadKey::Claims(BadToken::Malformed));
        };
        Claims::check(&claims).map_err(BadKey::Claims)?;
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let message = format!("{header}.{claims}");
        let token = format!("{message}.{}", self.signature(&message)?);
        if token.len() > TOKEN_BYTES_CEILING {
            return Err(BadKey::Claims(BadToken::TooLong));
        }
        Ok(token)
    }
}

#[cfg(test)]
#[path = "issue_tests.rs"]
mod tests;
