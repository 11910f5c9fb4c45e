//! Keys from files: each that is right, and each mistake once.

use super::*;
use crate::config::{File as ConfigFile, Layers};
use std::fs;
use std::path::PathBuf;

const SECRET: &str = "sesame-sesame-sesame-sesame-0123";

/// A directory with the key files of a test.
struct Keys(tempfile::TempDir);

impl Keys {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

/// The path of a key that the tests of tokens use too.
fn of_tests(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/tokens").join(name).display().to_string()
}

fn config(settings: &[(&str, &str)]) -> Config {
    let line = |(key, value): &(&str, &str)| format!("{key} = {value:?}\n");
    let text = format!("[auth]\n{}", settings.iter().map(line).collect::<String>());
    let file = Some(ConfigFile { name: "f.toml", text: &text });
    Config::parse(&Layers { file, ..Layers::default() }).expect("good settings")
}

fn loaded(settings: &[(&str, &str)]) -> Result<Authority, String> {
    load(&config(settings)).map_err(|errors| errors.to_string())
}

fn key_count(settings: &[(&str, &str)]) -> Option<usize> {
    loaded(settings).expect("good keys").keys.map(|keys| keys.len())
}

#[test]
fn without_settings_there_are_no_keys_and_with_a_url_alone_an_empty_set() {
    assert_eq!(loaded(&[]), Ok(Authority::default()));
    assert_eq!(key_count(&[("jwks_url", "https://id.example.com/keys")]), Some(0));
}

#[test]
fn the_newline_at_the_end_of_a_secret_does_not_count() {
    let keys = Keys::new();
    let given = loaded(&[("hs256_key", SECRET)]).expect("a good key");
    for (name, end) in [("none", ""), ("unix", "\n"), ("dos", "\r\n")] {
        let path = keys.write(name, format!("{SECRET}{end}"));
        assert_eq!(loaded(&[("hs256_key_file", &path)]), Ok(given.clone()), "{name}");
    }
    let two = keys.write("two", format!("{SECRET}\n\n"));
    assert_ne!(loaded(&[("hs256_key_file", &two)]), Ok(given));
}

#[test]
fn keys_of_all_kinds_come_from_files_and_add_up() {
    let keys = Keys::new();
    let set = r#"{"keys":[{"kty":"oct","alg":"HS256","k":"c2VzYW1lLXNlc2FtZS1zZXNhbWUtc2VzYW1lLTAxMjQ"}]}"#;
    let (rsa, p256, ed) =
        (of_tests("rsa.pub.pem"), of_tests("p256.pub.pem"), of_tests("ed25519.pub.pem"));
    let all = [
        ("hs256_key", SECRET),
        ("rs256_key_file", &rsa),
        ("es256_key_file", &p256),
        ("eddsa_key_file", &ed),
        ("jwks_file", &keys.write("set", set)),
    ];
    assert_eq!(key_count(&all), Some(5));
    let pem = fs::read_to_string(of_tests("p256.pub.pem")).expect("a key");
    assert_eq!(key_count(&[("es256_key", &pem)]), Some(1));
}

#[test]
fn keys_of_servers_stand_one_in_each_line() {
    let keys = Keys::new();
    let path = keys.write("api", "0123456789abcdef\r\n\n fedcba9876543210 \n");
    let authority = loaded(&[("api_keys_file", &path)]).expect("two keys");
    assert_eq!(authority.api_keys.len(), 2);
    assert!(authority.is_api_key(b"0123456789abcdef") && authority.is_api_key(b"fedcba9876543210"));
    assert!(!authority.is_api_key(b"0123456789abcdef\r"));
    let given = loaded(&[("api_keys", "0123456789abcdef")]).expect("a key");
    assert!(given.is_api_key(b"0123456789abcdef") && given.keys.is_none());
}

#[test]
fn every_mistake_of_a_file_names_setting_and_path_and_never_shows_what_it_holds() {
    let keys = Keys::new();
    let many: String = (0..=API_KEYS_MAX).map(|n| format!("sesame-sesame-{n:04}\n")).collect();
    let private = fs::read_to_string(of_tests("p256.pem")).expect("a key");
    for (setting, path, wrong) in [
        (
            "hs256_key_file",
            "/nowhere/key".to_owned(),
            "cannot read /nowhere/key of auth.hs256_key_file",
        ),
        ("hs256_key_file", keys.0.path().display().to_string(), "cannot read"),
        (
            "hs256_key_file",
            keys.write("short", "open sesame\n"),
            "is too short: 11 bytes; HS256 needs",
        ),
        ("hs512_key_file", keys.write("hs512", SECRET), "32 bytes; HS512 needs at least 64"),
        (
            "hs256_key_file",
            keys.write("long", "sesame".repeat(20_000)),
            "it has at most 65536 bytes",
        ),
        ("rs256_key_file", keys.write("text", "open sesame"), "is no key that can be used; a file"),
        ("rs256_key_file", of_tests("p256.pub.pem"), "this is no key for RS256"),
        ("rs256_key_file", of_tests("rsa1024.pub.pem"), "2048"),
        ("es256_key_file", of_tests("p384.pub.pem"), "this is no key for ES256"),
        ("es256_key_file", keys.write("private", &private), "this is a private key"),
        ("hs256_key_file", of_tests("rsa.pub.pem"), "is the text of a PEM key"),
        (
            "jwks_file",
            keys.write("set", "{\"sesame\":1}"),
            "is not right; this is no JSON Web Key Set",
        ),
        ("jwks_file", keys.write("empty", "{\"keys\":[]}"), "no key of the set can be used"),
        ("api_keys_file", keys.write("blank", "\n\n"), "holds no key; write one key in each line"),
        ("api_keys_file", keys.write("weak", "\nsesame\n"), "is not right; line 2 has 6 bytes"),
        ("api_keys_file", keys.write("many", many), "holds 17 keys; there may be 16"),
    ] {
        let error = loaded(&[(setting, &path)]).expect_err(wrong);
        assert!(error.contains(wrong) && error.contains(&path), "{setting}: {error}");
        assert!(error.contains(&format!("auth.{setting}")), "{error}");
        assert!(!error.contains("sesame") && !error.contains("BEGIN"), "{error}");
    }
    let both = loaded(&[("hs256_key_file", "/nowhere/a"), ("jwks_file", "/nowhere/b")]);
    assert_eq!(both.expect_err("two").lines().count(), 2, "all mistakes at once");
}

#[test]
fn the_private_key_signs_where_its_public_one_is_known_and_else_the_first_secret() {
    for (setting, public, private) in [
        ("rs256_key_file", "rsa.pub.pem", "rsa.pem"),
        ("es256_key_file", "p256.pub.pem", "p256.pem"),
        ("eddsa_key_file", "ed25519.pub.pem", "ed25519.pem"),
    ] {
        let (public, private) = (of_tests(public), of_tests(private));
        let settings = [(setting, &*public), ("signing_key_file", &private), ("hs256_key", SECRET)];
        let (authority, signer) = (loaded(&settings), signer(&config(&settings)).expect(setting));
        let keys = authority.expect(setting).keys.expect("keys");
        assert!(takes(&keys, &signer), "{setting}");
        let secret_only = loaded(&[("hs256_key", SECRET)]).expect("a key").keys.expect("keys");
        assert!(!takes(&secret_only, &signer), "the private key comes first");
    }
    let settings = [("hs512_key", &*SECRET.repeat(2)), ("hs256_key", SECRET)];
    let first = signer(&config(&settings)).expect("a secret");
    let only = loaded(&[("hs256_key", SECRET)]).expect("a key").keys.expect("keys");
    assert!(takes(&only, &first));
}

#[test]
fn what_can_not_sign_says_why() {
    let keys = Keys::new();
    let set = ("jwks_url", "https://id.example.com/keys");
    let (p256, ed) = (of_tests("p256.pub.pem"), of_tests("ed25519.pem"));
    for (settings, wrong) in [
        (&[("es256_key_file", &*p256), ("signing_key_file", &*ed)][..], "would sign in vain"),
        (&[("es256_key_file", &p256), ("signing_key_file", &p256)], "this is a public key"),
        (
            &[("es256_key_file", &p256), ("signing_key_file", &keys.write("t", "x"))],
            "one PEM block",
        ),
        (
            &[("es256_key_file", &p256), ("signing_key_file", "/nowhere/p")],
            "cannot read /nowhere/p",
        ),
    ] {
        let error = loaded(settings).expect_err(wrong);
        assert!(error.contains(wrong) && error.contains("auth.signing_key_file"), "{error}");
    }
    assert!(loaded(&[set, ("signing_key_file", &ed)]).is_ok(), "its public key may be in the set");
    let none = signer(&config(&[set])).map(|_| ()).expect_err("nothing signs").to_string();
    assert!(none.contains("no key to sign tokens with is configured"), "{none}");
}
