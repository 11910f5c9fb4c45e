//! Tokens of strangers and of others: what is forged is refused, and what the libraries of other
//! people make is let in.
//!
//! Not here: what each claim must be (`auth::token`), where a token is looked for (`e2e_*`).

#[path = "naive/forged.rs"]
mod forged;
#[path = "naive/token.rs"]
mod naive;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare::auth::{Authority, BadToken, Grant, IssuedClaims, TokenAlg, TokenKeys, TokenRules};
use fanfare::limits::TOKEN_BYTES_MAX;
use forged::{Forged, Forger, HEADER, signer};
use naive::{NOW_S, SECRET, hs256, keys, verify};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const FORGER: Forger = Forger { now_s: NOW_S };

fn good(alg: TokenAlg) -> String {
    FORGER.good(alg)
}

fn refuse(keys: &TokenKeys, forged: &[Forged]) {
    for (name, token, why) in forged {
        let short: String = token.chars().take(200).collect();
        assert_eq!(verify(keys, token), Err(*why), "{name}: {short}");
    }
}

#[test]
fn forged_tokens_are_refused() {
    let all = FORGER.all();
    assert!(all.len() >= 40, "{}", all.len());
    refuse(&keys(|_| None), &all);
}

#[test]
fn a_kid_is_a_name_of_a_key_and_nothing_else() {
    let named = keys(|alg| Some(alg.word()));
    refuse(&named, &FORGER.kids());
    let known = hs256(r#"{"alg":"HS256","kid":"HS256"}"#, FORGER.ada());
    assert!(verify(&named, &known).is_ok());
}

#[test]
fn tokens_are_bounded() {
    let keys = keys(|_| None);
    let info = |bytes: usize| {
        let claims = format!(r#"{{"sub":"ada","exp":1700000600,"x":"{}"}}"#, "x".repeat(bytes));
        hs256(HEADER, claims)
    };
    let length = |bytes| info(bytes).len();
    let most = (0..TOKEN_BYTES_MAX).rev().find(|bytes| length(*bytes) <= TOKEN_BYTES_MAX);
    let most = most.expect("a token within the bound");
    assert!(verify(&keys, &info(most)).is_ok());
    assert_eq!(verify(&keys, &info(most + 4)), Err(BadToken::TooLong));
    assert_eq!(verify(&keys, &info(64 * 1024)), Err(BadToken::TooLong));
    assert_eq!(verify(&keys, &"a".repeat(1 << 20)), Err(BadToken::TooLong));
}

#[test]
fn audience_and_issuer_are_held_against_the_rules() {
    let rules = TokenRules {
        audiences: vec!["fanfare".into()],
        issuers: vec!["us".into()],
        ..TokenRules::default()
    };
    let keys = keys(|_| None);
    for (parties, expected) in [
        (r#""aud":"fanfare","iss":"us""#, Ok(())),
        (r#""aud":["x","fanfare"],"iss":"us""#, Ok(())),
        (r#""aud":"others","iss":"us""#, Err(BadToken::WrongAudience)),
        (r#""aud":"fanfare.evil.example","iss":"us""#, Err(BadToken::WrongAudience)),
        (r#""iss":"us""#, Err(BadToken::WrongAudience)),
        (r#""aud":"fanfare","iss":"them""#, Err(BadToken::WrongIssuer)),
        (r#""aud":"fanfare""#, Err(BadToken::WrongIssuer)),
    ] {
        let token = hs256(HEADER, format!(r#"{{"sub":"ada","exp":1700000600,{parties}}}"#));
        let seen = keys.verify(&token, &rules, NOW_S * 1_000).map(|_| ());
        assert_eq!(seen, expected, "{parties}");
    }
}

#[test]
fn tokens_by_each_algorithm_are_let_in_by_their_own_key_alone() {
    let all = keys(|_| None);
    for alg in TokenAlg::ALL {
        let token = good(alg);
        assert_eq!(verify(&all, &token).map(|claims| claims.user), Ok("ada".into()), "{alg:?}");
        for other in TokenAlg::ALL {
            let mut one = TokenKeys::default();
            let named = keys(|alg| (alg == other).then_some("only"));
            one.extend(&named).expect("few");
            let named = signer(alg, Some("only"));
            let claims =
                IssuedClaims { user: "ada".into(), exp: NOW_S + 600, ..IssuedClaims::default() };
            let token = named.sign(&claims).expect("a token");
            let expected = if alg == other { Ok(()) } else { Err(BadToken::UnknownKey) };
            assert_eq!(verify(&one, &token).map(|_| ()), expected, "{alg:?} {other:?}");
        }
    }
}

#[test]
fn a_key_sets_algorithm_is_not_the_tokens_to_choose() {
    let k = URL_SAFE_NO_PAD.encode(SECRET);
    let set = format!(r#"{{"keys":[{{"kty":"oct","alg":"HS512","k":"{k}"}}]}}"#);
    let keys = TokenKeys::from_jwks(set.as_bytes()).expect("a set");
    assert!(verify(&keys, &good(TokenAlg::Hs512)).is_ok());
    for alg in [TokenAlg::Hs256, TokenAlg::Hs384, TokenAlg::Rs256] {
        assert_eq!(verify(&keys, &good(alg)), Err(BadToken::UnknownKey), "{alg:?}");
    }
}

#[test]
fn no_bit_of_a_token_can_be_turned() {
    let keys = keys(|_| None);
    for alg in TokenAlg::ALL {
        let token = good(alg);
        let mut turned = 0;
        for (at, bit) in (0..token.len()).flat_map(|at| (0..7).map(move |bit| (at, bit))) {
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let text = String::from_utf8(bytes).expect("ASCII");
            assert!(verify(&keys, &text).is_err(), "{alg:?}: bit {bit} of byte {at}: {text}");
            turned += 1;
        }
        assert_eq!(turned, 7 * token.len());
    }
}

#[test]
fn parts_of_different_tokens_make_none() {
    let keys = keys(|_| None);
    let tokens: Vec<String> = TokenAlg::ALL.into_iter().map(good).collect();
    let other = hs256(HEADER, r#"{"sub":"bob","exp":1700000600}"#);
    let tokens: Vec<Vec<&str>> =
        tokens.iter().chain([&other]).map(|token| token.split('.').collect()).collect();
    for (a, b, c) in (0..343).map(|n| (n % 7, n / 7 % 7, n / 49)) {
        let token = [tokens[a][0], tokens[b][1], tokens[c][2]].join(".");
        let whole = tokens.iter().any(|parts| parts.join(".") == token);
        assert_eq!(verify(&keys, &token).is_ok(), whole, "{a} {b} {c}");
    }
}

#[test]
fn any_claims_are_read_as_their_tree_says() {
    let keys = keys(|_| None);
    let names = ["sub", "userId", "exp", "nbf", "roles", "rooms", "autojoin", "info", "jti", "x"];
    let values = [
        "\"ada\"",
        "\"\"",
        "7",
        "-7",
        "1.5",
        "null",
        "true",
        "[]",
        "{}",
        "[\"a\"]",
        "[1]",
        "{\"join\":[\"a:*\"],\"publish\":true}",
        "{\"join\":[\"a\"],\"history\":false}",
        "1700000600",
        "1699999996.5",
        "1e400",
        "\"guest-1\"",
        "\"a\\nb\"",
        "{\"publish\":[\"**\"]}",
    ];
    let mut accepted = 0;
    for seed in 0..4_000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut claims = vec!["\"exp\":1700000600".to_owned(), "\"sub\":\"ada\"".to_owned()];
        claims.truncate(dice.usize(1..=2));
        for _ in 0..dice.usize(0..4) {
            let (name, value) =
                (names[dice.usize(..names.len())], values[dice.usize(..values.len())]);
            claims.push(format!("{name:?}:{value}"));
        }
        let json = format!("{{{}}}", claims.join(","));
        eprintln!("seed {seed}: {json}");
        naive::check_claims(&keys, json.as_bytes());
        accepted += usize::from(verify(&keys, &hs256(HEADER, json)).is_ok());
    }
    assert!(accepted > 400, "only {accepted} were let in: the law says little");
}

#[test]
fn any_input_of_the_fuzz_target_keeps_the_laws() {
    let keys = keys(|_| None);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/token");
    let mut seeds = 0;
    for seed in folder.read_dir().expect("seeds") {
        let input = std::fs::read(seed.expect("a seed").path()).expect("a seed");
        naive::check(&keys, &input);
        for at in 0..input.len() {
            naive::check(&keys, &input[..at]);
        }
        seeds += 1;
    }
    assert!(seeds > 0);
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Lets in each token that the program prints, and holds what it says against what was asked for.
fn admit_all(interpreter: &Path, program: &str, algs: &[TokenAlg]) {
    let mut command = Command::new(interpreter);
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(clients().join(program));
    command.arg(clients().join("../tokens")).arg(NOW_S.to_string());
    let output = command.output().expect("what ./test installs is there");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} fails: {told}");
    let tokens: BTreeMap<String, String> =
        serde_json::from_slice(&output.stdout).expect("an object of tokens");
    assert_eq!(tokens.len(), algs.len());
    let rules = TokenRules {
        audiences: vec!["fanfare".into()],
        issuers: vec!["https://issuer.example".into()],
        leeway_s: 0,
        ..TokenRules::default()
    };
    let named = keys(|alg| Some(alg.word()));
    let authority = Authority { keys: Some(named), rules, ..Authority::default() };
    for alg in algs {
        let token = tokens.get(alg.word()).expect("a token by that algorithm");
        let access = authority.admit(token, NOW_S * 1_000).expect(token);
        assert_eq!((access.user.id(), access.user.username()), ("Zoë", "Zoë Ünal"));
        assert_eq!(*access.roles, ["editor".into()]);
        assert!(access.allows(Grant::Publish, "chat:1") && !access.allows(Grant::Join, "x"));
        let facts = access.token.expect("facts");
        assert_eq!((facts.id.as_deref(), facts.issued_s), (Some("t-1"), NOW_S));
        assert_eq!(facts.expires_s, NOW_S + 600);
        for (at_s, why) in [(NOW_S + 600, BadToken::Expired), (NOW_S - 1, BadToken::TooEarly)] {
            assert_eq!(authority.admit(token, at_s * 1_000), Err(why), "{alg:?}");
        }
    }
}

#[test]
fn tokens_of_pyjwt_are_let_in() {
    let python = clients().join(".venv/bin/python");
    assert!(python.exists(), "PyJWT is not installed: tests/clients/install");
    admit_all(&python, "make_tokens.py", &TokenAlg::ALL);
}

#[test]
fn tokens_of_node_jsonwebtoken_are_let_in() {
    let installed = clients().join("node_modules/jsonwebtoken").exists();
    assert!(installed, "Node's jsonwebtoken is not installed: tests/clients/install");
    // The library does not know EdDSA.
    let [hs256, hs384, hs512, rs256, es256, _] = TokenAlg::ALL;
    admit_all("node".as_ref(), "make_tokens.mjs", &[hs256, hs384, hs512, rs256, es256]);
}
