//! JSON Web Key Sets (RFC 7517, RFC 7518 §6, RFC 8037).
//!
//! Not here: fetching them. Invariant: the algorithm of a key is what its set says, or the only one
//! of its kind; a secret without one is refused, as any HMAC would fit.

use super::keys::checked_secret;
use super::{BadKey, TokenAlg, TokenKeys, pem};
use crate::auth::Secret;
use crate::limits::{JWKS_BYTES_MAX, TOKEN_KEYS_MAX};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: String,
    n: String,
    e: String,
    x: String,
    y: String,
    k: String,
    /// The private part, of all kinds that have one.
    d: Option<String>,
}

pub(super) fn parse(json: &[u8]) -> Result<TokenKeys, BadKey> {
    if json.len() > JWKS_BYTES_MAX {
        return Err(BadKey::LongSet);
    }
    let set: Set<'_> = serde_json::from_slice(json).map_err(|_| BadKey::NoSet)?;
    if set.keys.len() > TOKEN_KEYS_MAX {
        return Err(BadKey::TooMany);
    }
    let (mut keys, mut why) = (TokenKeys::default(), BadKey::NoneUsable);
    for key in set.keys {
        // A key that can't be read is of a kind that is not known.
        let Ok(jwk) = serde_json::from_str::<Jwk>(key.get()) else { continue };
        let Some(alg) = jwk.alg() else { continue };
        if jwk.d.is_some() {
            return Err(BadKey::Private);
        }
        match jwk.key(alg) {
            Ok(key) => keys.push(alg, jwk.kid.as_deref(), key)?,
            Err(bad) => why = bad,
        }
    }
    if keys.is_empty() { Err(why) } else { Ok(keys) }
}

impl Jwk {
    /// What it signs with; `None` where it is not for that, or of a kind that is not known.
    fn alg(&self) -> Option<TokenAlg> {
        let verifies = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let of_kind: &[TokenAlg] = match (&*self.kty, &*self.crv) {
            ("oct", _) => &[TokenAlg::Hs256, TokenAlg::Hs384, TokenAlg::Hs512],
            ("RSA", _) => &[TokenAlg::Rs256],
            ("EC", "P-256") => &[TokenAlg::Es256],
            ("OKP", "Ed25519") => &[TokenAlg::EdDsa],
            (_, _) => &[],
        };
        let alg = match (self.alg.as_deref(), of_kind) {
            (Some(word), _) => TokenAlg::parse(word).filter(|alg| of_kind.contains(alg)),
            (None, [only]) => Some(*only),
            (None, _) => None,
        };
        alg.filter(|_| verifies)
    }

    fn key(&self, alg: TokenAlg) -> Result<DecodingKey, BadKey> {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| BadKey::WrongKind(alg));
        match alg {
            TokenAlg::Hs256 | TokenAlg::Hs384 | TokenAlg::Hs512 => {
                let secret = Secret::new(bytes(&self.k)?);
                checked_secret(alg, &secret).map(DecodingKey::from_secret)
            }
            TokenAlg::Rs256 => pem::rsa(&bytes(&self.n)?, &bytes(&self.e)?),
            TokenAlg::Es256 => pem::p256(&bytes(&self.x)?, &bytes(&self.y)?),
            TokenAlg::EdDsa => pem::ed25519(&bytes(&self.x)?),
        }
    }
}
