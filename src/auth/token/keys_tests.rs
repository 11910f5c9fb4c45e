//! Which keys are taken, and which of them a token is checked with.

use super::*;
use crate::auth::{IssuedClaims, Signer};
use crate::limits::JWKS_BYTES_MAX;

const RSA: &[u8] = include_bytes!("../../../tests/tokens/rsa.pub.pem");
const RSA_PKCS1: &[u8] = include_bytes!("../../../tests/tokens/rsa.pkcs1.pub.pem");
const RSA_SHORT: &[u8] = include_bytes!("../../../tests/tokens/rsa1024.pub.pem");
const RSA_PRIVATE: &[u8] = include_bytes!("../../../tests/tokens/rsa.pem");
const P256: &[u8] = include_bytes!("../../../tests/tokens/p256.pub.pem");
const P256_PRIVATE: &[u8] = include_bytes!("../../../tests/tokens/p256.pem");
const P384: &[u8] = include_bytes!("../../../tests/tokens/p384.pub.pem");
const SECP256K1: &[u8] = include_bytes!("../../../tests/tokens/secp256k1.pub.pem");
const ED25519: &[u8] = include_bytes!("../../../tests/tokens/ed25519.pub.pem");

fn secret(byte: u8, bytes: usize) -> Secret {
    Secret::new(vec![byte; bytes])
}

fn added(alg: TokenAlg, pem: &[u8]) -> Result<TokenKeys, BadKey> {
    let mut keys = TokenKeys::default();
    keys.add_pem(alg, None, pem).map(|()| keys)
}

/// Keys by their `kid` and the byte that their secret is made of.
fn set(keys: &[(Option<&str>, u8)]) -> TokenKeys {
    let mut all = TokenKeys::default();
    for (kid, byte) in keys {
        all.add_hmac(TokenAlg::Hs256, *kid, &secret(*byte, 32)).expect("a key");
    }
    all
}

fn token(kid: Option<&str>, byte: u8) -> String {
    let signer = Signer::from_secret(TokenAlg::Hs256, kid, &secret(byte, 32)).expect("a key");
    let claims = IssuedClaims { user: "ada".into(), exp: 1_000, ..IssuedClaims::default() };
    signer.sign(&claims).expect("a token")
}

#[test]
fn a_secret_is_as_long_as_its_hash_and_no_key_file() {
    let mut keys = TokenKeys::default();
    for (alg, least) in [(TokenAlg::Hs256, 32), (TokenAlg::Hs384, 48), (TokenAlg::Hs512, 64)] {
        let short = keys.add_hmac(alg, None, &secret(1, least - 1));
        assert_eq!(short, Err(BadKey::ShortSecret(alg)));
        assert!(BadKey::ShortSecret(alg).to_string().contains(&least.to_string()));
        assert_eq!(keys.add_hmac(alg, None, &secret(1, least)), Ok(()));
    }
    assert_eq!(keys.len(), 3);
    let pem = Secret::new(RSA);
    assert_eq!(keys.add_hmac(TokenAlg::Hs256, None, &pem), Err(BadKey::KeyAsSecret));
    for alg in [TokenAlg::Rs256, TokenAlg::Es256, TokenAlg::EdDsa] {
        assert_eq!(keys.add_hmac(alg, None, &secret(1, 64)), Err(BadKey::TakesPem(alg)));
    }
}

#[test]
fn a_public_key_is_taken_by_its_own_algorithm_alone() {
    for (good, pem) in [
        (TokenAlg::Rs256, RSA),
        (TokenAlg::Rs256, RSA_PKCS1),
        (TokenAlg::Es256, P256),
        (TokenAlg::EdDsa, ED25519),
    ] {
        for alg in TokenAlg::ALL {
            let expected = match alg {
                _ if alg == good => Ok(1),
                TokenAlg::Hs256 | TokenAlg::Hs384 | TokenAlg::Hs512 => {
                    Err(BadKey::TakesSecret(alg))
                }
                TokenAlg::Rs256 | TokenAlg::Es256 | TokenAlg::EdDsa => Err(BadKey::WrongKind(alg)),
            };
            assert_eq!(added(alg, pem).map(|keys| keys.len()), expected, "{good:?}");
        }
    }
    assert_eq!(added(TokenAlg::Rs256, RSA), added(TokenAlg::Rs256, RSA_PKCS1));
    for curve in [P384, SECP256K1] {
        assert_eq!(added(TokenAlg::Es256, curve), Err(BadKey::WrongKind(TokenAlg::Es256)));
    }
    assert_eq!(added(TokenAlg::Rs256, RSA_SHORT), Err(BadKey::RsaBits));
}

#[test]
fn private_keys_and_noise_are_told_apart_and_refused() {
    for private in [RSA_PRIVATE, P256_PRIVATE, &[RSA, P256_PRIVATE].concat()] {
        assert_eq!(added(TokenAlg::Rs256, private), Err(BadKey::Private));
    }
    let cut = RSA.get(..RSA.len() / 2).expect("half");
    for none in [&b""[..], b"\xff", b"-----BEGIN ", cut, &[RSA, P256].concat()] {
        assert_eq!(added(TokenAlg::Rs256, none), Err(BadKey::NotOnePem), "{none:?}");
    }
    let noise = b"-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n";
    for alg in [TokenAlg::Rs256, TokenAlg::Es256, TokenAlg::EdDsa] {
        assert_eq!(added(alg, noise), Err(BadKey::WrongKind(alg)));
    }
    assert!(added(TokenAlg::EdDsa, &[b"A word before.\n", ED25519].concat()).is_ok());
}

#[test]
fn kid_chooses_among_the_keys_that_have_one() {
    let named = set(&[(Some("a"), 1), (Some("b"), 2), (None, 3)]);
    let nameless = set(&[(None, 1), (None, 2)]);
    for (keys, kid, byte, expected) in [
        (&named, Some("a"), 1, Ok(())),
        (&named, Some("a"), 2, Err(BadToken::BadSignature)),
        (&named, Some("a"), 3, Err(BadToken::BadSignature)),
        (&named, Some("c"), 1, Err(BadToken::UnknownKey)),
        (&named, Some(""), 3, Err(BadToken::UnknownKey)),
        (&named, None, 1, Ok(())),
        (&named, None, 3, Ok(())),
        (&named, None, 4, Err(BadToken::BadSignature)),
        (&nameless, Some("a"), 2, Ok(())),
        (&nameless, None, 3, Err(BadToken::BadSignature)),
        (&TokenKeys::default(), None, 1, Err(BadToken::UnknownKey)),
    ] {
        let seen = keys.verify(&token(kid, byte), &TokenRules::default(), 0).map(|_| ());
        assert_eq!(seen, expected, "{kid:?} {byte}");
    }
}

#[test]
fn sets_are_joined_without_repeats_and_bounded() {
    let mut keys = set(&[(Some("a"), 1), (Some("a"), 1), (None, 1)]);
    assert_eq!(keys.len(), 2);
    keys.extend(&set(&[(None, 1), (Some("a"), 2)])).expect("room for one more");
    assert_eq!(keys.len(), 3);
    assert_eq!(keys, set(&[(Some("a"), 1), (None, 1), (Some("a"), 2)]));
    assert_ne!(keys, set(&[(Some("a"), 1), (None, 1), (Some("a"), 3)]));
    let bytes = u8::try_from(TOKEN_KEYS_MAX).expect("few");
    let most: Vec<_> = (0..bytes).map(|byte| (None, byte)).collect();
    let mut most = set(&most);
    assert_eq!(most.extend(&keys), Err(BadKey::TooMany));
    assert_eq!(most.extend(&set(&[(None, 0)])), Ok(()));
}

#[test]
fn keys_are_never_shown() {
    let secret = Secret::new(*b"0123456789abcdef0123456789abcdef");
    let mut keys = TokenKeys::default();
    keys.add_hmac(TokenAlg::Hs256, Some("a"), &secret).expect("a key");
    keys.add_pem(TokenAlg::Rs256, None, RSA).expect("a key");
    let shown = format!("{keys:?}");
    assert!(!shown.contains("0123") && !shown.contains("48, 49"), "{shown}");
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &secret).expect("a key");
    let shown = format!("{signer:?}");
    assert!(!shown.contains("0123") && !shown.contains("48, 49"), "{shown}");
}

/// RFC 7517 §A.1's RSA key, RFC 7515 §A.3's on P-256, RFC 8037 §A.2's on Ed25519.
const SET: &str = r#"{"note":1,"keys":[
  {"kty":"RSA","kid":"r","use":"sig","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"},
  {"kty":"EC","kid":"e","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
  {"kty":"OKP","kid":"o","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
  {"kty":"oct","kid":"h","alg":"HS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
  {"kty":"oct","kid":"h","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
  {"kty":"oct","alg":"RS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
  {"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
  {"kty":"OKP","crv":"Ed25519","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
  {"kty":"OKP","crv":"Ed25519","key_ops":["sign"],"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
  {"kty":"EC","crv":"P-384","x":"AA","y":"AA"},
  {"kty":"EC","crv":"P-256","alg":"ES384","x":"AA","y":"AA"},
  {"kty":"RSA","alg":"PS256","n":"AQ","e":"AQ"},
  {"kty":"RSA","n":"AQAB","e":"AQAB"},
  {"kty":"new"}, 7
]}"#;

#[test]
fn of_a_set_the_keys_that_can_check_signatures_are_taken() {
    let keys = TokenKeys::from_jwks(SET.as_bytes()).expect("a set");
    let taken: Vec<_> = keys.keys.iter().map(|key| (key.kid.as_deref(), key.alg)).collect();
    let expected = [
        (Some("r"), TokenAlg::Rs256),
        (Some("e"), TokenAlg::Es256),
        (Some("o"), TokenAlg::EdDsa),
        (Some("h"), TokenAlg::Hs256),
    ];
    assert_eq!(taken, expected);
}

#[test]
fn the_rfcs_own_tokens_are_signed_by_the_keys_of_the_set() {
    let keys = TokenKeys::from_jwks(SET.as_bytes()).expect("a set");
    // RFC 7515 §A.1 and §A.3; both are of no user, which is found out behind the signature.
    for token in [
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ] {
        let rules = TokenRules::default();
        assert_eq!(keys.verify(token, &rules, 0), Err(BadToken::BadClaim("sub")));
        assert_eq!(keys.verify(token, &rules, u64::MAX), Err(BadToken::Expired));
    }
}

#[test]
fn a_set_without_a_good_key_is_refused() {
    let many = format!(r#"{{"keys":[{}0]}}"#, "0,".repeat(TOKEN_KEYS_MAX));
    let long = " ".repeat(JWKS_BYTES_MAX + 1);
    let private = SET.replace(r#""kid":"o","#, r#""d":"AA","#);
    for (json, why) in [
        ("", BadKey::NoSet),
        ("{}", BadKey::NoSet),
        (r#"{"keys":{}}"#, BadKey::NoSet),
        (r#"{"keys":[],"keys":[]}"#, BadKey::NoSet),
        (r#"{"keys":[]}"#, BadKey::NoneUsable),
        (r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#, BadKey::RsaBits),
        (
            r#"{"keys":[{"kty":"oct","alg":"HS256","k":"AA"}]}"#,
            BadKey::ShortSecret(TokenAlg::Hs256),
        ),
        (
            r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#,
            BadKey::WrongKind(TokenAlg::Es256),
        ),
        (
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"A="}]}"#,
            BadKey::WrongKind(TokenAlg::EdDsa),
        ),
        (&many, BadKey::TooMany),
        (&long, BadKey::LongSet),
        (&private, BadKey::Private),
    ] {
        assert_eq!(TokenKeys::from_jwks(json.as_bytes()), Err(why), "{json}");
    }
}
