//! Tokens that nobody may be let in by, forged against the keys of `naive::keys`: unsigned, signed
//! by the wrong key, and what is signed well and says what may not be said.
//!
//! Not here: how they are shown (`tests/tokens.rs`, `e2e_auth`). Invariant: each has one thing
//! wrong with it, so that it would be let in without the check of that.

use crate::naive::{SECRET, hs256, message};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use fanfare::auth::{BadToken, IssuedClaims, Secret, Signer, TokenAlg};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

const RSA: &[u8] = include_bytes!("../tokens/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("../tokens/rsa.pub.pem");
const P256: &[u8] = include_bytes!("../tokens/p256.pem");
const ED25519: &[u8] = include_bytes!("../tokens/ed25519.pem");

pub(crate) const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

/// The order of P-256, which is a zero among its scalars.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// A forged token by its name, and why it is refused.
pub(crate) type Forged = (&'static str, String, BadToken);

pub(crate) fn signer(alg: TokenAlg, kid: Option<&str>) -> Signer {
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

fn header(alg: &str) -> String {
    format!(r#"{{"alg":"{alg}"}}"#)
}

/// A token signed by that key and algorithm, whatever its header says.
fn signed(header: &str, claims: &str, key: &EncodingKey, alg: Algorithm) -> String {
    let message = message(header, claims);
    let signature = crypto::sign(message.as_bytes(), key, alg).expect("a signature");
    format!("{message}.{signature}")
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

/// Forges tokens for that moment, in Unix seconds: all but one of the checks would let them in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forger {
    pub(crate) now_s: u64,
}

impl Forger {
    /// All but those whose `kid` is odd.
    pub(crate) fn all(self) -> Vec<Forged> {
        let [algorithms, signatures] = [self.algorithms(), self.signatures()];
        [algorithms, signatures, self.headers(), self.claims(), self.shapes()].concat()
    }

    /// A token that is let in.
    pub(crate) fn good(self, alg: TokenAlg) -> String {
        let exp = self.now_s + 600;
        let claims = IssuedClaims { user: "ada".into(), exp, ..IssuedClaims::default() };
        signer(alg, None).sign(&claims).expect("a token")
    }

    /// Claims that are let in, if they are signed.
    pub(crate) fn ada(self) -> String {
        self.dated(r#"{"sub":"ada","exp":END}"#)
    }

    /// The text with its times.
    fn dated(self, text: &str) -> String {
        let Self { now_s } = self;
        text.replace("PAST", &(now_s - 5).to_string())
            .replace("LATER", &(now_s + 10_000).to_string())
            .replace("END", &(now_s + 600).to_string())
    }

    fn with_signature(self, header: &str, signature: &[u8]) -> String {
        format!("{}.{}", message(header, self.ada()), URL_SAFE_NO_PAD.encode(signature))
    }

    fn algorithms(self) -> Vec<Forged> {
        let secret = EncodingKey::from_secret(SECRET);
        let public = EncodingKey::from_secret(RSA_PUBLIC);
        let body: Vec<u8> = String::from_utf8_lossy(RSA_PUBLIC)
            .lines()
            .filter(|line| !line.starts_with('-'))
            .flat_map(|line| STANDARD.decode(line).expect("whole groups but for the last"))
            .collect();
        let der = EncodingKey::from_secret(&body);
        let hs = |alg, key: &EncodingKey| signed(&header(alg), &self.ada(), key, Algorithm::HS256);
        let mut forged: Vec<Forged> =
            ["none", "None", "NONE", "nOnE", "", " none", "hs256", "HS257"]
                .into_iter()
                .flat_map(|alg| {
                    [
                        ("no algorithm, no signature", self.with_signature(&header(alg), b"")),
                        ("no algorithm, signed", hs(alg, &secret)),
                    ]
                })
                .map(|(name, token)| (name, token, BadToken::UnknownKey))
                .collect();
        forged.extend([
            ("no signature", self.with_signature(HEADER, b""), BadToken::BadSignature),
            ("public key as a secret", hs("HS256", &public), BadToken::BadSignature),
            ("public key's DER as a secret", hs("HS256", &der), BadToken::BadSignature),
            ("HMAC under RS256", hs("RS256", &public), BadToken::BadSignature),
            ("HMAC under ES256", hs("ES256", &secret), BadToken::BadSignature),
            ("HMAC under EdDSA", hs("EdDSA", &secret), BadToken::BadSignature),
            ("HS256 under HS512", hs("HS512", &secret), BadToken::BadSignature),
            ("RS384", hs("RS384", &secret), BadToken::UnknownKey),
            ("PS256", hs("PS256", &secret), BadToken::UnknownKey),
            ("ES256K", hs("ES256K", &secret), BadToken::UnknownKey),
            ("algorithm is no text", hs256(r#"{"alg":256}"#, self.ada()), BadToken::Malformed),
            ("algorithms", hs256(r#"{"alg":["HS256"]}"#, self.ada()), BadToken::Malformed),
            ("no algorithm at all", hs256(r#"{"typ":"JWT"}"#, self.ada()), BadToken::Malformed),
        ]);
        forged
    }

    fn signatures(self) -> Vec<Forged> {
        let other = EncodingKey::from_secret(&[b'x'; 64]);
        let (token, es256) = (self.good(TokenAlg::Hs256), header("ES256"));
        let another = hs256(HEADER, self.dated(r#"{"sub":"bob","exp":END}"#));
        let point = self.good(TokenAlg::Es256);
        let (rs256, eddsa) = (header("RS256"), header("EdDSA"));
        let forged = [
            ("wrong key", signed(HEADER, &self.ada(), &other, Algorithm::HS256)),
            ("truncated", token.get(..token.len() - 3).expect("long").to_owned()),
            ("signature of another", self.with_signature(HEADER, &signature_of(&another))),
            ("signature twice", self.with_signature(HEADER, &signature_of(&token).repeat(2))),
            ("all zero", self.with_signature(&es256, &[0; 64])),
            ("orders", self.with_signature(&es256, &[P256_ORDER, P256_ORDER].concat())),
            ("order and zero", self.with_signature(&es256, &[P256_ORDER, [0; 32]].concat())),
            ("empty point", self.with_signature(&es256, b"")),
            ("half a point", self.with_signature(&es256, &[1; 32])),
            ("RSA of zeros", self.with_signature(&rs256, &[0; 256])),
            ("RSA of one", self.with_signature(&rs256, &[vec![0; 255], vec![1]].concat())),
            ("Ed25519 of zeros", self.with_signature(&eddsa, &[0; 64])),
            ("neutral point", self.with_signature(&eddsa, &[vec![1], vec![0; 63]].concat())),
        ];
        let mut forged: Vec<Forged> =
            forged.into_iter().map(|(name, token)| (name, token, BadToken::BadSignature)).collect();
        let der = URL_SAFE_NO_PAD.encode(der_of(&signature_of(&point)));
        let (said, _) = point.rsplit_once('.').expect("three parts");
        forged.push(("signature in DER", format!("{said}.{der}"), BadToken::BadSignature));
        forged
    }

    /// Those whose `kid` is odd, for keys that have names.
    pub(crate) fn kids(self) -> Vec<Forged> {
        let with = |kid: &str| hs256(format!(r#"{{"alg":"HS256","kid":{kid}}}"#), self.ada());
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

    fn headers(self) -> Vec<Forged> {
        let with = |more: &str| hs256(format!(r#"{{"alg":"HS256",{more}}}"#), self.ada());
        let mut forged: Vec<Forged> = [
            ("crit", with(r#""crit":["exp"],"exp":1"#)),
            ("empty crit", with(r#""crit":[]"#)),
            ("b64", with(r#""b64":false"#)),
            ("algorithm twice", with(r#""alg":"none""#)),
            ("algorithm twice, escaped", with(r#""\u0061lg":"HS256""#)),
            ("nested by its type", with(r#""cty":"JWT""#)),
            ("encrypted by its type", with(r#""typ":"JWE""#)),
            ("header of a list", hs256("[]", self.ada())),
            ("header of nothing", hs256("", self.ada())),
            ("header with more behind it", hs256(r#"{"alg":"HS256"}{}"#, self.ada())),
            ("header with a mark", hs256("\u{feff}{\"alg\":\"HS256\"}", self.ada())),
            ("header of no text", hs256(b"{\"alg\":\"HS256\",\"a\":\"\xff\"}", self.ada())),
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
            let token = signed(&brought, &self.ada(), &own, Algorithm::HS256);
            forged.push(("brings its key along", token, BadToken::BadSignature));
        }
        forged
    }

    fn claims(self) -> Vec<Forged> {
        let with = |claims: &str| hs256(HEADER, self.dated(claims));
        let exp = |exp: &str| with(&format!(r#"{{"sub":"ada","exp":{exp}}}"#));
        let nested = hs256(HEADER, format!("{:?}", self.good(TokenAlg::Hs256)));
        [
            ("expired", exp("PAST"), BadToken::Expired),
            ("expired, float", exp("PAST.0"), BadToken::Expired),
            ("no end", with(r#"{"sub":"ada"}"#), BadToken::BadClaim("exp")),
            ("end as text", exp(r#""9999999999""#), BadToken::BadClaim("exp")),
            ("negative end", exp("-1"), BadToken::BadClaim("exp")),
            ("endless end", exp("1e400"), BadToken::Malformed),
            ("end of null", exp("null"), BadToken::BadClaim("exp")),
            ("not yet", exp(r#"END,"nbf":LATER"#), BadToken::TooEarly),
            ("of nobody", with(r#"{"exp":END}"#), BadToken::BadClaim("sub")),
            ("of the broker", exp(r#"END,"userId":"server""#), BadToken::BadClaim("sub")),
            ("user twice", exp(r#"END,"sub":"root""#), BadToken::Malformed),
            ("end twice", exp("1,\"exp\":END"), BadToken::Malformed),
            ("roles twice", exp(r#"END,"roles":[],"roles":["admin"]"#), BadToken::Malformed),
            ("rooms of all", exp(r#"END,"rooms":true"#), BadToken::BadClaim("rooms")),
            ("a token within", nested, BadToken::Malformed),
            (
                "no text",
                hs256(
                    HEADER,
                    [b"{\"sub\":\"\xc3\x28\"," as &[u8], self.dated("\"exp\":END}").as_bytes()]
                        .concat(),
                ),
                BadToken::Malformed,
            ),
            ("no JSON", with("sub=ada"), BadToken::Malformed),
            ("deep", exp(&format!(r#"END,"a":{}"#, "[".repeat(4_000))), BadToken::Malformed),
        ]
        .into()
    }

    fn shapes(self) -> Vec<Forged> {
        let token = self.good(TokenAlg::Hs256);
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let (header, claims) = message.split_once('.').expect("three parts");
        let padded = |part: &str| URL_SAFE.encode(URL_SAFE_NO_PAD.decode(part).expect("base64"));
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let (start, last) = token.split_at(token.len() - 1);
        // The last letter of 32 bytes has two bits to spare.
        let last = letters.find(last).expect("a letter");
        let spare = letters.get(last + 1..last + 2).expect("a letter whose spare bits are 0");
        let odd = hs256(HEADER, self.dated(r#"{"sub":"ada???>>>","exp":END}"#));
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
}
