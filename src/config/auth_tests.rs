//! What may be wrong with the settings of who comes in, each mistake once.

use super::*;
use crate::config::{Config, File, Layers};

/// As long as HS256 needs, and easy to find where it must not be.
const SECRET: &str = "sesame-sesame-sesame-sesame-0123";

fn parse(text: &str) -> Result<Config, String> {
    let file = Some(File { name: "f.toml", text });
    Config::parse(&Layers { file, ..Layers::default() }).map_err(|errors| errors.to_string())
}

fn auth(rest: &str) -> Result<AuthConfig, String> {
    parse(&format!("[auth]\n{rest}")).map(|config| config.auth)
}

#[test]
fn a_key_is_given_by_itself_or_by_its_file() {
    let given = auth(&format!("hs256_key = \"{SECRET}\"\nes256_key_file = \"/k\"")).expect("two");
    let keys: Vec<_> = given.keys().collect();
    let secret = KeySource::Given(Secret::new(SECRET.as_bytes()));
    assert_eq!(
        keys,
        [
            ("auth.hs256_key", TokenAlg::Hs256, secret),
            ("auth.es256_key", TokenAlg::Es256, KeySource::File("/k".into())),
        ]
    );
    assert!(given.wants_tokens() && given.can_sign());
    for (text, wants, signs) in [
        ("", false, false),
        ("hs256_key = \"none\"", false, false),
        ("api_keys = \"0123456789abcdef\"", false, false),
        ("jwks_file = \"/k\"", true, false),
        ("jwks_url = \"https://id.example.com/keys\"", true, false),
        ("eddsa_key_file = \"/k\"", true, false),
        ("eddsa_key_file = \"/k\"\nsigning_key_file = \"/p\"", true, true),
    ] {
        let auth = auth(text).expect(text);
        assert_eq!((auth.wants_tokens(), auth.can_sign()), (wants, signs), "{text}");
    }
}

#[test]
fn a_short_secret_is_refused_and_named() {
    assert_eq!(
        auth("hs256_key = \"open sesame!\"").map(|_| ()),
        Err("line 2: auth.hs256_key of f.toml is too short: 12 bytes; HS256 needs at least 32"
            .to_owned())
    );
    for (alg, least) in [("hs256", 32), ("hs384", 48), ("hs512", 64)] {
        let key = |bytes: usize| auth(&format!("{alg}_key = \"{}\"", "x".repeat(bytes)));
        assert!(key(least).is_ok() && key(least - 1).is_err(), "{alg}");
    }
}

#[test]
fn every_mistake_names_its_setting_and_what_would_be_right() {
    let many_keys = vec!["\"0123456789abcdef\""; API_KEYS_MAX + 1].join(",");
    let many_names = (0..=NAMES_MAX).map(|n| format!("\"n{n}\"")).collect::<Vec<_>>().join(",");
    for (text, wrong) in [
        (
            format!("hs256_key = \"{SECRET}\"\nhs256_key_file = \"k\""),
            "auth.hs256_key of f.toml is \
          set; auth.hs256_key_file of f.toml is set too; which one holds?",
        ),
        ("rs256_key = \"-----\"\nrs256_key_file = \"k\"".into(), "which one holds?"),
        ("api_keys = \"0123456789abcdef\"\napi_keys_file = \"k\"".into(), "which one holds?"),
        ("hs256_key = 12345678901234567".into(), "auth.hs256_key of f.toml is not right; it takes"),
        ("hs256_key = \"\"".into(), "it takes text that is not empty"),
        (
            "api_keys = [\"0123456789abcde\"]".into(),
            "auth.api_keys of f.toml is not right; key #1 \
          has 15 bytes; a key has 16 to 512 bytes",
        ),
        ("api_keys = [\"0123456789abcdef\", \"0123456789 abcdef\"]".into(), "key #2 has other"),
        ("api_keys = [1]".into(), "is not right; it takes a key, or a list of them"),
        (format!("api_keys = [{many_keys}]"), "at most 16 keys"),
        ("jwks_file = \"\"".into(), "it takes the path of a file"),
        ("jwks_url = \"id.example.com\"".into(), "it takes a URL such as"),
        ("jwks_url = \"ftp://id.example.com\"".into(), "it takes a URL such as"),
        ("jwks_url = \"https:///keys\"".into(), "it takes a URL such as"),
        ("jwks_url = \"https://a b\"".into(), "it takes a URL such as"),
        ("jwks_refresh = \"10ms\"".into(), "from 1s to 1day"),
        ("audience = [\"a\", \"a\"]".into(), "each name once"),
        ("issuer = \"\"".into(), "none empty"),
        (format!("issuer = [{many_names}]"), "at most 64 names"),
        ("leeway = \"31s\"".into(), "from 0s to 30s in whole seconds"),
        ("leeway = \"1500ms\"".into(), "in whole seconds"),
        ("token_bytes_max = \"13KiB\"".into(), "a size from 1 to 12KiB"),
        ("timeout = \"0s\"".into(), "from 1ms"),
        ("cookie = \"a=b\"".into(), "the name of a cookie"),
        ("login_ttl = \"31days\"".into(), "from 1s to 30days"),
        ("hs256_kye = \"open sesame\"".into(), "did you mean \"hs256_key\"?"),
        ("login = true".into(), "auth.login of f.toml is set; set a key too"),
        (
            "signing_key_file = \"p\"".into(),
            "auth.signing_key_file of f.toml is set; set a key too",
        ),
        ("login = true\nrs256_key_file = \"k\"".into(), "tokens must be signed: set"),
        ("login = true\nhs256_key_file = \"k\"".into(), "say who may log in: write [[users]]"),
    ] {
        let error = auth(&text).expect_err(&text);
        assert!(error.contains(wrong), "{text}: {error}");
        for secret in ["sesame", "0123456", "1234567890"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[test]
fn a_secret_is_never_shown() {
    let config = auth(&format!(
        "hs256_key = \"{SECRET}\"\nrs256_key = \"{SECRET}\"\napi_keys = [\"{SECRET}\"]"
    ));
    assert!(!format!("{config:?}").contains("sesame"));
    for broken in
        ["auth = \"sesame\"", "[auth]\nhs256_key = \"sesame", "[auth]\nhs256_key = sesame"]
    {
        let error = parse(broken).expect_err(broken);
        assert!(!error.contains("sesame"), "{error}");
    }
    for (name, raw) in [("FANFARE_AUTH_HS256_KEY", "sesame"), ("FANFARE_AUTH_HS265_KEY", "sesame")]
    {
        let environment = vec![(name.to_owned(), raw.to_owned())];
        let error = Config::parse(&Layers { environment, ..Layers::default() });
        let error = error.expect_err(name).to_string();
        assert!(error.contains(name) && !error.contains("sesame"), "{error}");
    }
}

#[test]
fn a_secret_in_a_flag_is_warned_of() {
    let flags = vec![("auth-hs256-key", SECRET.to_owned())];
    let config = Config::parse(&Layers { flags, ..Layers::default() }).expect("allowed");
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(warning.starts_with("--auth-hs256-key can be read by every user"), "{warning}");
    assert!(!warning.contains("sesame"));
    let environment = vec![("FANFARE_AUTH_HS256_KEY".to_owned(), SECRET.to_owned())];
    let config = Config::parse(&Layers { environment, ..Layers::default() });
    assert_eq!(config.map(|config| config.warnings), Ok(Vec::new()));
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$\
                R0tIhEtUHDlFSIRCMTjfOQkXZzPVfBXwNsM6Aq5fZUk";
    let users = format!("[[users]]\nname = \"ada\"\npassword_hash = \"{hash}\"");
    for (text, idle) in [
        (users.as_str(), "[[users]]"),
        ("[auth]\ncookie = \"session\"", "auth.cookie"),
        ("[auth]\naudience = \"a\"", "auth.audience"),
        ("[auth]\nissuer = \"a\"", "auth.issuer"),
    ] {
        let warnings = parse(text).expect(text).warnings;
        assert!(matches!(&warnings[..], [one] if one.starts_with(idle)), "{warnings:?}");
    }
}

#[test]
fn without_keys_only_this_machine_is_listened_to() {
    for (listen, exposed) in [
        ("127.0.0.1:1", false),
        ("127.9.9.9:1", false),
        ("[::1]:1", false),
        ("[::ffff:127.0.0.1]:1", false),
        ("unix:/x", false),
        ("0.0.0.0:1", true),
        ("[::]:1", true),
        ("10.0.0.1:1", true),
        ("[::ffff:10.0.0.1]:1", true),
    ] {
        let listen = format!("listen = [\"127.0.0.1:9\", \"{listen}\"]");
        let alone = parse(&listen);
        assert_eq!(alone.is_err(), exposed, "{listen}");
        for text in [
            format!("{listen}\ninsecure = true"),
            format!("{listen}\n[auth]\nhs256_key = \"{SECRET}\""),
            format!("{listen}\n[auth]\njwks_url = \"https://id.example.com/keys\""),
        ] {
            assert!(parse(&text).is_ok(), "{text}");
        }
    }
    let proxies = "[identity]\nuser_header = \"X-User\"\ntrusted_proxies = \"10.0.0.0/8\"";
    let error = parse(&format!("listen = \"0.0.0.0:80\"\n{proxies}")).expect_err("guests may come");
    assert_eq!(
        error,
        "line 1: listen of f.toml names 0.0.0.0:80; whoever reaches this address could join and \
         publish, since no key for tokens is configured: set one, as in FANFARE_AUTH_HS256_KEY, \
         or say --insecure"
    );
}
