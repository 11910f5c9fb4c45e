//! Public keys as PEM (RFC 7468), and as the numbers of a JSON Web Key.
//!
//! Invariant: a key is of the kind that its algorithm takes, by its bytes and not by its label. Not
//! here: whether a point lies on its curve, which the library asks at each signature.

use super::{BadKey, TokenAlg};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

/// What stands before the 65 bytes of a point on P-256: RFC 5480 §2, all of it fixed but the point.
const P256_PREFIX: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\
    \x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
/// What stands before the 32 bytes of an Ed25519 key: RFC 8410 §4.
const ED25519_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// First byte of a point that is not compressed: SEC 1 §2.3.3.
const UNCOMPRESSED: u8 = 4;
const COORDINATE_BYTES: usize = 32;
/// What the library takes; RFC 7518 §3.3 asks for the lower bound.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// One PEM block.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    body: &'a str,
}

impl<'a> Block<'a> {
    /// Finds the only block of a text.
    pub(super) fn parse(pem: &'a [u8]) -> Result<Self, BadKey> {
        let text = std::str::from_utf8(pem).map_err(|_| BadKey::NotOnePem)?;
        let (_, text) = text.split_once(BEGIN).ok_or(BadKey::NotOnePem)?;
        let (label, text) = text.split_once(DASHES).ok_or(BadKey::NotOnePem)?;
        let (body, after) = text.split_once(DASHES).ok_or(BadKey::NotOnePem)?;
        let closes = after.strip_prefix("END ").and_then(|after| after.strip_prefix(label));
        match closes.and_then(|after| after.strip_prefix(DASHES)) {
            Some(after) if !after.contains(BEGIN) => Ok(Self { label, body }),
            Some(_) | None => Err(BadKey::NotOnePem),
        }
    }

    pub(super) fn is_private(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }

    fn der(&self) -> Option<Vec<u8>> {
        let body: String = self.body.split_ascii_whitespace().collect();
        STANDARD.decode(body).ok()
    }
}

/// Takes a public key for that algorithm.
pub(super) fn public_key(alg: TokenAlg, pem: &[u8]) -> Result<DecodingKey, BadKey> {
    if pem.windows(11).any(|window| window == b"PRIVATE KEY") {
        return Err(BadKey::Private);
    }
    let wrong = BadKey::WrongKind(alg);
    let block = Block::parse(pem)?;
    let der = block.der().ok_or(wrong)?;
    match (alg, block.label) {
        (TokenAlg::Hs256 | TokenAlg::Hs384 | TokenAlg::Hs512, _) => Err(BadKey::TakesSecret(alg)),
        (TokenAlg::Rs256, "PUBLIC KEY" | "RSA PUBLIC KEY") => {
            let components = DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key;
            let (n, e) = components(&der).map_err(|_| wrong)?;
            rsa(&n, &e)
        }
        (TokenAlg::Es256, "PUBLIC KEY") => {
            match der.strip_prefix(P256_PREFIX).and_then(<[u8]>::split_first) {
                Some((&UNCOMPRESSED, point)) if point.len() == 2 * COORDINATE_BYTES => {
                    let (x, y) = point.split_at(COORDINATE_BYTES);
                    p256(x, y)
                }
                Some(_) | None => Err(wrong),
            }
        }
        (TokenAlg::EdDsa, "PUBLIC KEY") => ed25519(der.strip_prefix(ED25519_PREFIX).ok_or(wrong)?),
        (TokenAlg::Rs256 | TokenAlg::Es256 | TokenAlg::EdDsa, _) => Err(wrong),
    }
}

/// A key by its modulus and its exponent, most significant bytes first.
pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<DecodingKey, BadKey> {
    let n = trimmed(n);
    let zeros = n.first().map_or(0, |first| first.leading_zeros());
    let bits = (8 * n.len()).saturating_sub(usize::try_from(zeros).unwrap_or(0));
    if !RSA_BITS.contains(&bits) {
        return Err(BadKey::RsaBits);
    }
    let e = trimmed(e);
    // An exponent of 1 signs nothing: the signature would be the message.
    match e.last() {
        Some(last) if last % 2 == 1 && *e != [1] => Ok(DecodingKey::from_rsa_raw_components(n, e)),
        Some(_) | None => Err(BadKey::WrongKind(TokenAlg::Rs256)),
    }
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

pub(super) fn p256(x: &[u8], y: &[u8]) -> Result<DecodingKey, BadKey> {
    if x.len() != COORDINATE_BYTES || y.len() != COORDINATE_BYTES {
        return Err(BadKey::WrongKind(TokenAlg::Es256));
    }
    Ok(DecodingKey::from_ec_der(&[&[UNCOMPRESSED], x, y].concat()))
}

pub(super) fn ed25519(x: &[u8]) -> Result<DecodingKey, BadKey> {
    if x.len() != COORDINATE_BYTES {
        return Err(BadKey::WrongKind(TokenAlg::EdDsa));
    }
    Ok(DecodingKey::from_ed_der(x))
}
