//! Tokens read in the plainest way: their claims as a tree of JSON. The twin of `auth::TokenKeys`
//! for `tests/tokens.rs` and the fuzz target, and what signs any bytes with a key that is known.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare::auth::{BadToken, Claims, Grant, Secret, TokenAlg, TokenKeys, TokenRules};
use fanfare::broker::RoomPattern;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::Value;
use std::collections::BTreeSet;

pub(crate) const SECRET: &[u8; 64] = include_bytes!("../tokens/secret.txt");
pub(crate) const NOW_S: u64 = 1_700_000_000;

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;
const CLAIMS: &str = r#"{"sub":"ada","exp":1700000600}"#;

/// A key of each algorithm, without names.
pub(crate) fn keys(kid: impl Fn(TokenAlg) -> Option<&'static str>) -> TokenKeys {
    let mut keys = TokenKeys::default();
    for alg in TokenAlg::ALL {
        let pem: &[u8] = match alg {
            TokenAlg::Hs256 | TokenAlg::Hs384 | TokenAlg::Hs512 => {
                keys.add_hmac(alg, kid(alg), &Secret::new(*SECRET)).expect("a secret");
                continue;
            }
            TokenAlg::Rs256 => include_bytes!("../tokens/rsa.pub.pem"),
            TokenAlg::Es256 => include_bytes!("../tokens/p256.pub.pem"),
            TokenAlg::EdDsa => include_bytes!("../tokens/ed25519.pub.pem"),
        };
        keys.add_pem(alg, kid(alg), pem).expect("a public key");
    }
    keys
}

pub(crate) fn verify(keys: &TokenKeys, token: &str) -> Result<Claims, BadToken> {
    keys.verify(token, &TokenRules::default(), NOW_S * 1_000)
}

/// What stands before the signature.
pub(crate) fn message(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// A token of these bytes, whatever they are, signed with the secret.
pub(crate) fn hs256(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let message = message(header, claims);
    let key = EncodingKey::from_secret(SECRET);
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    format!("{message}.{signature}")
}

/// One fuzz input: a byte that says what the rest is.
pub(crate) fn check(keys: &TokenKeys, input: &[u8]) {
    match input.split_first() {
        Some((b'c', claims)) => check_claims(keys, claims),
        Some((b'h', header)) => check_header(keys, header),
        Some(_) | None => check_text(keys, input),
    }
}

/// Any text: it is let in only if signing its first two parts again gives the same text.
fn check_text(keys: &TokenKeys, input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if verify(keys, text).is_ok() {
        let part = |part| URL_SAFE_NO_PAD.decode(part).expect("base64");
        let parts: Vec<_> = text.split('.').map(part).collect();
        assert_eq!(parts.len(), 3, "{text}");
        assert_eq!(hs256(&parts[0], &parts[1]), text);
        check_claims(keys, &parts[1]);
    }
}

/// Any bytes as a header: what is let in says the algorithm, and nothing that changes the rest.
fn check_header(keys: &TokenKeys, header: &[u8]) {
    if verify(keys, &hs256(header, CLAIMS)).is_ok() {
        let tree: Value = serde_json::from_slice(header).expect("what was let in is JSON");
        assert_eq!(tree["alg"], "HS256");
        assert!(["crit", "b64", "cty"].iter().all(|name| tree.get(name).is_none()), "{tree}");
    }
}

/// Any bytes as claims: what is let in says what their tree says, and is not out of date.
pub(crate) fn check_claims(keys: &TokenKeys, json: &[u8]) {
    let token = hs256(HEADER, json);
    let Ok(claims) = verify(keys, &token) else { return };
    let tree: Value = serde_json::from_slice(json).expect("what was let in is JSON");
    let [exp, nbf] = ["exp", "nbf"].map(|name| tree.get(name).map_or(0.0, number));
    assert!(exp + 5.0 > NOW_S as f64 && nbf - 5.0 <= NOW_S as f64, "{tree}");
    let ids = ["sub", "userId"].iter().filter_map(|id| tree.get(id));
    let users: BTreeSet<_> =
        ids.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).collect();
    assert_eq!(users, BTreeSet::from([claims.user.to_string()]));
    assert!(&*claims.user != "server" && !claims.user.starts_with("guest-"));
    let roles = texts(tree.get("roles"));
    assert_eq!(claims.roles.iter().map(|role| role.to_string()).collect::<Vec<_>>(), roles);
    let autojoin: Vec<_> = claims.autojoin.iter().map(|room| room.to_string()).collect();
    assert_eq!(autojoin, texts(tree.get("autojoin")));
    assert_eq!(
        claims.info.map(|info| serde_json::from_str(&info).expect("JSON")).as_ref(),
        tree.get("info")
    );
    assert_eq!(claims.facts.id.as_deref(), tree.get("jti").and_then(Value::as_str));
    let Some(grants) = claims.rooms else {
        return assert!(
            tree.get("rooms").is_none() && tree.get("roles") != Some(&Value::Array(Vec::new()))
        );
    };
    assert!(!grants.is_admin());
    for grant in Grant::OF_ROOMS {
        let rooms = tree.get("rooms");
        let [said, join] =
            [grant, Grant::Join].map(|grant| rooms.and_then(|rooms| rooms.get(grant.word())));
        let most = match said {
            Some(Value::Array(_)) => said,
            Some(Value::Bool(true)) => join,
            None if grant != Grant::Publish => join,
            Some(_) | None => None,
        };
        let granted: Vec<_> = grants.patterns(grant).iter().map(RoomPattern::as_str).collect();
        assert_eq!(granted, texts(most), "{grant} of {tree}");
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a time is a number")
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    match value {
        Some(Value::Array(values)) => values.iter().map(text).collect(),
        Some(value) => vec![text(value)],
        None => Vec::new(),
    }
}
