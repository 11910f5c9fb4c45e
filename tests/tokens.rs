//! Tokens of strangers and of others: what is forged is refused, and what the libraries of other
//! people make is let in.
//!
//! Not here: what each claim must be (`auth::token`), where a token is looked for (`e2e_*`).

#[path = "naive/token.rs"]
mod naive;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use fanfare::auth::{
    Authority, BadToken, Grant, IssuedClaims, Secret, Signer, TokenAlg, TokenKeys, TokenRules,
};
use fanfare::limits::TOKEN_BYTES_MAX;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use naive::{NOW_S, SECRET, hs256, keys, message, verify};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const RSA: &[u8] = include_bytes!("tokens/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("tokens/rsa.pub.pem");
const P256: &[u8] = include_bytes!("tokens/p256.pem");
const ED25519: &[u8] = include_bytes!("tokens/ed25519.pem");

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;
const GOOD: &str = r#"{"sub":"ada","exp":1700000600}"#;

/// The order of P-256, which is a zero among its scalars.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// A forged token by its name, and why it is refused.
type Forged = (&'static str, String, BadToken);

fn signer(alg: TokenAlg, kid: Option<&str>) -> Signer {
    let secret = Secret::new(*SECRET);
    match alg {
        TokenAlg::Hs256 | TokenAlg::Hs384 | TokenAlg::Hs512 => {
            Signer::from_secret(alg, kid, &secret)
        }
        TokenAlg::Rs256 => Signer::from_pem(alg, kid, RSA),
        TokenAlg::Es256 => Signer::from_pem(alg, kid, P256),
        TokenAlg::EdDsa => Signer::from_pem(alg, kid, ED25519),
    }
    .expect("a key")
}

fn good(alg: TokenAlg) -> String {
    let exp = NOW_S + 600;
    let claims = IssuedClaims { user: "ada".into(), exp, ..IssuedClaims::default() };
    signer(alg, None).sign(&claims).expect("a token")
}

fn header(alg: &str) -> String {
    format!(r#"{{"alg":"{alg}"}}"#)
}

/// A token signed by that key and algorithm, whatever its header says.
fn signed(header: &str, claims: &str, key: &EncodingKey, alg: Algorithm) -> String {
    let message = message(header, claims);
    let signature = crypto::sign(message.as_bytes(), key, alg).expect("a signature");
    format!("{message}.{signature}")
}

fn with_signature(header: &str, signature: &[u8]) -> String {
    format!("{}.{}", message(header, GOOD), URL_SAFE_NO_PAD.encode(signature))
}

fn signature_of(token: &str) -> Vec<u8> {
    let (_, signature) = token.rsplit_once('.').expect("three parts");
    URL_SAFE_NO_PAD.decode(signature).expect("base64")
}

/// Two numbers as ASN.1 has them: each with a zero before it, so that none is negative.
fn der_of(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(32);
    let number = |number: &[u8]| [&[2, 33, 0], number].concat();
    [vec![0x30, 70], number(r), number(s)].concat()
}

fn algorithms() -> Vec<Forged> {
    let secret = EncodingKey::from_secret(SECRET);
    let public = EncodingKey::from_secret(RSA_PUBLIC);
    let body: Vec<u8> = String::from_utf8_lossy(RSA_PUBLIC)
        .lines()
        .filter(|line| !line.starts_with('-'))
        .flat_map(|line| STANDARD.decode(line).expect("whole groups but for the last"))
        .collect();
    let der = EncodingKey::from_secret(&body);
    let hs = |alg, key: &EncodingKey| signed(&header(alg), GOOD, key, Algorithm::HS256);
    let mut forged: Vec<Forged> = ["none", "None", "NONE", "nOnE", "", " none", "hs256", "HS257"]
        .into_iter()
        .flat_map(|alg| {
            [
                ("no algorithm, no signature", with_signature(&header(alg), b"")),
                ("no algorithm, signed", hs(alg, &secret)),
            ]
        })
        .map(|(name, token)| (name, token, BadToken::UnknownKey))
        .collect();
    forged.extend([
        ("no signature", with_signature(HEADER, b""), BadToken::BadSignature),
        ("public key as a secret", hs("HS256", &public), BadToken::BadSignature),
        ("public key's DER as a secret", hs("HS256", &der), BadToken::BadSignature),
        ("HMAC under RS256", hs("RS256", &public), BadToken::BadSignature),
        ("HMAC under ES256", hs("ES256", &secret), BadToken::BadSignature),
        ("HMAC under EdDSA", hs("EdDSA", &secret), BadToken::BadSignature),
        ("HS256 under HS512", hs("HS512", &secret), BadToken::BadSignature),
        ("RS384", hs("RS384", &secret), BadToken::UnknownKey),
        ("PS256", hs("PS256", &secret), BadToken::UnknownKey),
        ("ES256K", hs("ES256K", &secret), BadToken::UnknownKey),
        ("algorithm is no text", hs256(r#"{"alg":256}"#, GOOD), BadToken::Malformed),
        ("algorithms", hs256(r#"{"alg":["HS256"]}"#, GOOD), BadToken::Malformed),
        ("no algorithm at all", hs256(r#"{"typ":"JWT"}"#, GOOD), BadToken::Malformed),
    ]);
    forged
}

fn signatures() -> Vec<Forged> {
    let other = EncodingKey::from_secret(&[b'x'; 64]);
    let (token, es256) = (good(TokenAlg::Hs256), header("ES256"));
    let another = hs256(HEADER, r#"{"sub":"bob","exp":1700000600}"#);
    let point = good(TokenAlg::Es256);
    let (rs256, eddsa) = (header("RS256"), header("EdDSA"));
    let forged = [
        ("wrong key", signed(HEADER, GOOD, &other, Algorithm::HS256)),
        ("truncated", token.get(..token.len() - 3).expect("long").to_owned()),
        ("signature of another", with_signature(HEADER, &signature_of(&another))),
        ("signature twice", with_signature(HEADER, &signature_of(&token).repeat(2))),
        ("all zero", with_signature(&es256, &[0; 64])),
        ("orders", with_signature(&es256, &[P256_ORDER, P256_ORDER].concat())),
        ("order and zero", with_signature(&es256, &[P256_ORDER, [0; 32]].concat())),
        ("empty point", with_signature(&es256, b"")),
        ("half a point", with_signature(&es256, &[1; 32])),
        ("RSA of zeros", with_signature(&rs256, &[0; 256])),
        ("RSA of one", with_signature(&rs256, &[vec![0; 255], vec![1]].concat())),
        ("Ed25519 of zeros", with_signature(&eddsa, &[0; 64])),
        ("neutral point", with_signature(&eddsa, &[vec![1], vec![0; 63]].concat())),
    ];
    let mut forged: Vec<Forged> =
        forged.into_iter().map(|(name, token)| (name, token, BadToken::BadSignature)).collect();
    let der = URL_SAFE_NO_PAD.encode(der_of(&signature_of(&point)));
    let (said, _) = point.rsplit_once('.').expect("three parts");
    forged.push(("signature in DER", format!("{said}.{der}"), BadToken::BadSignature));
    forged
}

fn kids() -> Vec<Forged> {
    let with = |kid: &str| hs256(format!(r#"{{"alg":"HS256","kid":{kid}}}"#), GOOD);
    [
        ("path", with(r#""../../../../dev/null""#), BadToken::UnknownKey),
        ("SQL", with(r#""' UNION SELECT 'x' --""#), BadToken::UnknownKey),
        ("command", with(r#""|| touch x""#), BadToken::UnknownKey),
        ("empty", with(r#""""#), BadToken::UnknownKey),
        ("NUL", with(r#""HS256\u0000""#), BadToken::UnknownKey),
        ("other key's", with(r#""RS256""#), BadToken::UnknownKey),
        ("other case", with(r#""hs256""#), BadToken::UnknownKey),
        ("number", with("0"), BadToken::Malformed),
        ("null", with("null"), BadToken::Malformed),
        ("list", with(r#"["HS256"]"#), BadToken::Malformed),
        ("half a pair", with(r#""\ud800""#), BadToken::Malformed),
        ("1 MiB", with(&format!("{:?}", "x".repeat(1 << 20))), BadToken::TooLong),
    ]
    .into()
}

fn headers() -> Vec<Forged> {
    let with = |more: &str| hs256(format!(r#"{{"alg":"HS256",{more}}}"#), GOOD);
    let mut forged: Vec<Forged> = [
        ("crit", with(r#""crit":["exp"],"exp":1"#)),
        ("empty crit", with(r#""crit":[]"#)),
        ("b64", with(r#""b64":false"#)),
        ("algorithm twice", with(r#""alg":"none""#)),
        ("algorithm twice, escaped", with(r#""\u0061lg":"HS256""#)),
        ("nested by its type", with(r#""cty":"JWT""#)),
        ("encrypted by its type", with(r#""typ":"JWE""#)),
        ("header of a list", hs256("[]", GOOD)),
        ("header of nothing", hs256("", GOOD)),
        ("header with more behind it", hs256(r#"{"alg":"HS256"}{}"#, GOOD)),
        ("header with a mark", hs256("\u{feff}{\"alg\":\"HS256\"}", GOOD)),
        ("header of no text", hs256(b"{\"alg\":\"HS256\",\"a\":\"\xff\"}", GOOD)),
    ]
    .into_iter()
    .map(|(name, token)| (name, token, BadToken::Malformed))
    .collect();
    let own = EncodingKey::from_secret(&[b'x'; 64]);
    let k = URL_SAFE_NO_PAD.encode([b'x'; 64]);
    for brought in [
        format!(r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"{k}"}}}}"#),
        r#"{"alg":"HS256","jku":"https://evil.example/keys"}"#.to_owned(),
        r#"{"alg":"HS256","x5u":"https://evil.example/chain"}"#.to_owned(),
        r#"{"alg":"HS256","x5c":["AA=="]}"#.to_owned(),
    ] {
        let token = signed(&brought, GOOD, &own, Algorithm::HS256);
        forged.push(("brings its key along", token, BadToken::BadSignature));
    }
    forged
}

fn claims() -> Vec<Forged> {
    let with = |claims: &str| hs256(HEADER, claims);
    let exp = |exp: &str| with(&format!(r#"{{"sub":"ada","exp":{exp}}}"#));
    let nested = hs256(HEADER, format!("{:?}", good(TokenAlg::Hs256)));
    [
        ("expired", exp("1699999995"), BadToken::Expired),
        ("expired, float", exp("1699999995.0"), BadToken::Expired),
        ("no end", with(r#"{"sub":"ada"}"#), BadToken::BadClaim("exp")),
        ("end as text", exp(r#""9999999999""#), BadToken::BadClaim("exp")),
        ("negative end", exp("-1"), BadToken::BadClaim("exp")),
        ("endless end", exp("1e400"), BadToken::Malformed),
        ("end of null", exp("null"), BadToken::BadClaim("exp")),
        ("not yet", exp(r#"1700000600,"nbf":1700000100"#), BadToken::TooEarly),
        ("of nobody", with(r#"{"exp":1700000600}"#), BadToken::BadClaim("sub")),
        ("of the broker", exp(r#"1700000600,"userId":"server""#), BadToken::BadClaim("sub")),
        ("user twice", exp(r#"1700000600,"sub":"root""#), BadToken::Malformed),
        ("end twice", exp("1,\"exp\":1700000600"), BadToken::Malformed),
        ("roles twice", exp(r#"1700000600,"roles":[],"roles":["admin"]"#), BadToken::Malformed),
        ("rooms of all", exp(r#"1700000600,"rooms":true"#), BadToken::BadClaim("rooms")),
        ("a token within", nested, BadToken::Malformed),
        (
            "no text",
            hs256(HEADER, b"{\"sub\":\"\xc3\x28\",\"exp\":1700000600}"),
            BadToken::Malformed,
        ),
        ("no JSON", with("sub=ada"), BadToken::Malformed),
        ("deep", exp(&format!(r#"1700000600,"a":{}"#, "[".repeat(4_000))), BadToken::Malformed),
    ]
    .into()
}

fn shapes() -> Vec<Forged> {
    let token = good(TokenAlg::Hs256);
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let (header, claims) = message.split_once('.').expect("three parts");
    let padded = |part: &str| URL_SAFE.encode(URL_SAFE_NO_PAD.decode(part).expect("base64"));
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (start, last) = token.split_at(token.len() - 1);
    // The last letter of 32 bytes has two bits to spare.
    let last = letters.find(last).expect("a letter");
    let spare = letters.get(last + 1..last + 2).expect("a letter whose spare bits are 0");
    let odd = hs256(HEADER, r#"{"sub":"ada???>>>","exp":1700000600}"#);
    [
        ("nothing", String::new()),
        ("one part", header.to_owned()),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{token}.")),
        ("five parts", format!("{token}.{claims}.{signature}")),
        ("dots", "..".to_owned()),
        ("only a signature", format!("..{signature}")),
        ("no header", format!(".{claims}.{signature}")),
        ("padding", format!("{}.{claims}.{}", padded(header), padded(signature))),
        ("space before", format!(" {token}")),
        ("line after", format!("{token}\n")),
        ("space within", format!("{header} .{claims}.{signature}")),
        ("quoted", format!("\"{token}\"")),
        ("its scheme before", format!("Bearer {token}")),
        ("NUL after", format!("{token}\0")),
        ("other alphabet", odd.replace('_', "/").replace('-', "+") + "/"),
        ("broken base64", format!("{header}.{claims}!.{signature}")),
        ("a letter that is none", token.replacen('e', "\u{435}", 1)),
        ("spare bits", format!("{start}{spare}")),
        ("two letters too many", format!("{token}AA")),
    ]
    .map(|(name, token)| (name, token, BadToken::Malformed))
    .into()
}

fn refuse(keys: &TokenKeys, forged: &[Forged]) {
    for (name, token, why) in forged {
        let short: String = token.chars().take(200).collect();
        assert_eq!(verify(keys, token), Err(*why), "{name}: {short}");
    }
}

#[test]
fn forged_tokens_are_refused() {
    let all = [algorithms(), signatures(), headers(), claims(), shapes()].concat();
    assert!(all.len() >= 40, "{}", all.len());
    refuse(&keys(|_| None), &all);
}

#[test]
fn a_kid_is_a_name_of_a_key_and_nothing_else() {
    let named = keys(|alg| Some(alg.word()));
    refuse(&named, &kids());
    let known = hs256(r#"{"alg":"HS256","kid":"HS256"}"#, GOOD);
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
