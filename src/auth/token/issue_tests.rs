//! What is issued is let in, and what would not be let in is not issued.

use super::*;
use crate::auth::{Grant, TokenKeys, TokenRules};
use serde_json::json;

const RSA: &[u8] = include_bytes!("../../../tests/tokens/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("../../../tests/tokens/rsa.pub.pem");
const P256: &[u8] = include_bytes!("../../../tests/tokens/p256.pem");
const ED25519: &[u8] = include_bytes!("../../../tests/tokens/ed25519.pem");
const ED25519_PUBLIC: &[u8] = include_bytes!("../../../tests/tokens/ed25519.pub.pem");
const SECRET: [u8; 64] = [7; 64];

fn claims() -> IssuedClaims {
    IssuedClaims { user: "ada".into(), iat: 10, exp: 20, ..IssuedClaims::default() }
}

#[test]
fn all_that_is_said_comes_back() {
    let secret = Secret::new(SECRET);
    let signer = Signer::from_secret(TokenAlg::Hs512, Some("k"), &secret).expect("a key");
    let mut keys = TokenKeys::default();
    keys.add_hmac(TokenAlg::Hs512, Some("k"), &secret).expect("a key");
    let issued = IssuedClaims {
        username: Some("Ada".into()),
        roles: Some(vec!["editor".into()]),
        rooms: Some(json!({"join": ["chat:*"]})),
        autojoin: vec!["chat:1".into()],
        info: Some(json!({"a": 1})),
        jti: Some("t".into()),
        aud: vec!["fanfare".into()],
        iss: Some("me".into()),
        ..claims()
    };
    let rules = TokenRules {
        audiences: vec!["fanfare".into()],
        issuers: vec!["me".into()],
        ..TokenRules::default()
    };
    let token = signer.sign(&issued).expect("a token");
    let seen = keys.verify(&token, &rules, 15_000).expect("let in");
    assert_eq!((&*seen.user, seen.username.as_deref()), ("ada", Some("Ada")));
    assert_eq!(seen.roles, ["editor".into()]);
    assert!(seen.rooms.expect("rooms").allows(Grant::Join, "chat:7", "ada"));
    assert_eq!(seen.autojoin.first().map(|room| room.as_str()), Some("chat:1"));
    assert_eq!(seen.info.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!((seen.facts.id.as_deref(), seen.facts.issued_s), (Some("t"), 10));
    assert_eq!(seen.facts.expires_s, 20);
    assert_eq!(keys.verify(&token, &rules, 25_000), Err(BadToken::Expired));
}

#[test]
fn what_would_be_refused_is_not_issued() {
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &Secret::new(SECRET)).expect("a key");
    let long = json!("x".repeat(TOKEN_BYTES_CEILING));
    for (claims, why) in [
        (IssuedClaims { user: "server".into(), ..claims() }, BadToken::BadClaim("sub")),
        (IssuedClaims { user: String::new(), ..claims() }, BadToken::BadClaim("sub")),
        (IssuedClaims { rooms: Some(json!(["a"])), ..claims() }, BadToken::BadClaim("rooms")),
        (IssuedClaims { autojoin: vec!["a b".into()], ..claims() }, BadToken::BadClaim("autojoin")),
        (IssuedClaims { info: Some(long), ..claims() }, BadToken::BadClaim("info")),
        (
            IssuedClaims { iss: Some("x".repeat(TOKEN_BYTES_CEILING)), ..claims() },
            BadToken::TooLong,
        ),
    ] {
        assert_eq!(signer.sign(&claims), Err(BadKey::Claims(why)), "{why:?}");
    }
}

#[test]
fn a_key_signs_by_its_own_algorithm_alone() {
    for (good, pem) in [(TokenAlg::Rs256, RSA), (TokenAlg::Es256, P256), (TokenAlg::EdDsa, ED25519)]
    {
        for alg in TokenAlg::ALL {
            let expected = match alg {
                _ if alg == good => None,
                TokenAlg::Hs256 | TokenAlg::Hs384 | TokenAlg::Hs512 => {
                    Some(BadKey::TakesSecret(alg))
                }
                TokenAlg::Rs256 | TokenAlg::Es256 | TokenAlg::EdDsa => Some(BadKey::WrongKind(alg)),
            };
            assert_eq!(Signer::from_pem(alg, None, pem).err(), expected, "{good:?}");
        }
    }
    for public in [RSA_PUBLIC, ED25519_PUBLIC] {
        let refused = Signer::from_pem(TokenAlg::Rs256, None, public);
        assert_eq!(refused.err(), Some(BadKey::Public));
    }
    let short = Signer::from_secret(TokenAlg::Hs512, None, &Secret::new([1; 63]));
    assert_eq!(short.err(), Some(BadKey::ShortSecret(TokenAlg::Hs512)));
    let cut = Signer::from_pem(TokenAlg::Es256, None, b"-----BEGIN PRIVATE KEY-----");
    assert_eq!(cut.err(), Some(BadKey::NotOnePem));
}
