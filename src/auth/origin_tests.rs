//! Origins against the list: who is let in, and the many who would like to be.

use super::*;

const HOST: Option<&str> = Some("broker.example.net");

fn policy(raws: &[&str]) -> OriginPolicy {
    let mut policy = OriginPolicy::default();
    policy.allow(raws.iter().copied()).expect("a list");
    policy
}

fn lets_in(policy: &OriginPolicy, origin: &str) -> bool {
    policy.check([origin.as_bytes()], HOST).is_ok()
}

/// The list that most of these tests are about.
fn usual() -> OriginPolicy {
    policy(&[
        "https://app.example.com",
        "http://localhost:5173",
        "https://*.example.org",
        "https://xn--bcher-kva.example",
        "https://[2001:db8::1]:8443",
        "capacitor://localhost",
        "bare.example",
    ])
}

#[test]
fn what_is_listed_comes_in() {
    for origin in [
        "https://app.example.com",
        "https://app.example.com:443",
        "HTTPS://App.Example.COM",
        "http://localhost:5173",
        "https://a.example.org",
        "https://a.b.c.example.org",
        "https://A-1.Example.Org:443",
        "https://xn--bcher-kva.example",
        "https://[2001:DB8::1]:8443",
        "capacitor://localhost",
        "http://bare.example",
        "https://bare.example:443",
    ] {
        assert!(lets_in(&usual(), origin), "{origin}");
    }
}

/// Origins that the list does not have, however much they look like it.
const HOSTILE: &[&str] = &[
    // Before it, behind it, and parts of it.
    "https://evil-app.example.com",
    "https://evilapp.example.com",
    "https://app.example.com.evil.com",
    "https://app.example.comevil.com",
    "https://app-example.com",
    "https://appxexample.com",
    "https://example.com",
    "https://sub.app.example.com",
    // Another scheme or port.
    "http://app.example.com",
    "wss://app.example.com",
    "https://app.example.com:80",
    "https://app.example.com:8443",
    "http://localhost",
    "http://localhost:51731",
    "https://localhost:5173",
    "http://127.0.0.1:5173",
    "https://bare.example:8443",
    "http://bare.example:443",
    "capacitor://bare.example",
    "capacitor://localhost:80",
    "ionic://localhost",
    // More than an origin.
    "https://app.example.com/",
    "https://app.example.com/path",
    "https://app.example.com?a",
    "https://app.example.com#a",
    "https://app.example.com@evil.com",
    "https://user@app.example.com",
    "https://user:pass@app.example.com",
    "https://evil.com\\@app.example.com",
    "https://app.example.com, https://evil.com",
    "https://app.example.com https://evil.com",
    " https://app.example.com",
    "https://app.example.com\t",
    "https://app.example.com\0",
    "https://app.example.com:443:443",
    "https://app.example.com:+443",
    "https://app.example.com:65979",
    // Less than one.
    "null",
    "NULL",
    "",
    "*",
    "app.example.com",
    "//app.example.com",
    "https:app.example.com",
    "https://",
    "https://:443",
    // Trailing dots and empty labels.
    "https://app.example.com.",
    "https://a.example.org.",
    "https://.example.org",
    "https://..example.org",
    "https://a..example.org",
    "https://.a.example.org",
    // Wildcards.
    "https://example.org",
    "http://a.example.org",
    "https://a.example.org:8443",
    "https://aexample.org",
    "https://a.example.org.evil.com",
    "https://a.evil.com#.example.org",
    "https://evil.com/.example.org",
    "https://evil.com:a.example.org",
    "https://[::1].example.org",
    "https://*.example.org",
    // Names that look alike.
    "https://bücher.example",
    "https://xn--bcher-kva.example.evil.com",
    "https://аpp.example.com",
    "https://app。example.com",
    "https://app%2eexample.com",
    // Addresses.
    "https://[2001:db8::1]",
    "https://[2001:db8::1",
    "https://2001:db8::1:8443",
    "https://[2001:db8::1%25eth0]:8443",
    "https://[app.example.com]",
    // The host that is connected to, which this list leaves out.
    "https://broker.example.net",
];

#[test]
fn no_hostile_variant_comes_in() {
    for origin in HOSTILE {
        assert!(!lets_in(&usual(), origin), "{origin}");
    }
    for origin in [&b"\xff"[..], b"https://app.example.com\xff", b"https://a\xff.example.org"] {
        assert!(usual().check([origin], HOST).is_err(), "{}", origin.escape_ascii());
    }
}

#[test]
fn more_than_one_origin_stays_out_even_where_everyone_comes_in() {
    let own = &b"https://app.example.com"[..];
    for policy in [usual(), policy(&["*"])] {
        assert!(policy.check([own], HOST).is_ok());
        assert_eq!(policy.check([own, own], HOST), Err(OriginRefused::Several));
        assert_eq!(policy.check([own, b"https://evil.com"], HOST), Err(OriginRefused::Several));
    }
}

#[test]
fn the_words_mean_what_they_say() {
    let page = |policy: &[&str], origin| lets_in(&self::policy(policy), origin);
    assert!(page(&["same-host"], "https://broker.example.net"));
    assert!(!page(&["same-host"], "https://app.example.com"));
    assert!(page(&["same-host", "https://app.example.com"], "https://app.example.com"));
    assert!(page(&["null"], "null") && !page(&["null"], "Null"));
    assert!(!page(&["null"], "https://broker.example.net"));
    for origin in ["https://evil.com", "null", "", "nonsense"] {
        assert!(page(&["*"], origin), "{origin}");
        assert!(!page(&[], origin), "{origin}");
        assert!(!lets_in(&OriginPolicy::default(), origin), "{origin}");
    }
    assert!(policy(&["*"]).is_open() && !usual().is_open());
}

#[test]
fn who_sends_no_origin_comes_in_unless_that_is_not_wanted() {
    let mut policy = OriginPolicy::default();
    assert_eq!(policy.check([], HOST), Ok(()));
    assert_eq!(policy.check([], None), Ok(()));
    policy.allow_missing(false);
    assert_eq!(policy.check([], HOST), Err(OriginRefused::Missing));
    // Servers that publish have no page.
    assert_eq!(policy.check_request([], HOST), Ok(()));
    let evil = &b"https://evil.com"[..];
    assert_eq!(policy.check_request([evil], HOST), policy.check([evil], HOST));
    assert_eq!(policy.check_request([evil, evil], HOST), Err(OriginRefused::Several));
}

#[test]
fn what_is_no_origin_is_not_listed() {
    for raw in [
        "",
        "https://",
        "https://*",
        "https://*.",
        "*.",
        "**.example.com",
        "https://a.*.com",
        "https://*app.example.com",
        "https://.example.com",
        "https://app.example.com.",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://user@app.example.com",
        "https://bücher.example",
        "https://app.example.com:0x50",
        "https://app.example.com:65536",
        "localhost:5173",
        "https://*.1.2.3.4",
        "https://*.[::1]",
        "://app.example.com",
        "1https://app.example.com",
        "https//app.example.com",
        "app example.com",
        "Null ",
    ] {
        let mut policy = OriginPolicy::default();
        assert_eq!(policy.allow([raw]), Err(BadOrigin), "{raw}");
    }
}

#[test]
fn a_refusal_shows_the_origin_escaped_and_cut() {
    let refused = |origin: &[u8]| usual().check([origin], HOST).expect_err("refused");
    let evil = refused(b"https://evil.example");
    assert_eq!(evil.to_string(), "pages of https://evil.example may not connect");
    let remedy = "origin.allowed would have to list \"https://evil.example\"";
    assert_eq!(evil.remedy().to_string(), remedy);
    let OriginRefused::Foreign(shown) = refused(b"a\r\n\"\x1b[0m\xff") else { panic!("foreign") };
    assert_eq!(&*shown, "a\\r\\n\\\"\\x1b[0m\\xff");
    let OriginRefused::Foreign(shown) = refused(&[b'\n'; 4_096]) else { panic!("foreign") };
    assert_eq!(shown.len(), ORIGIN_SHOWN_BYTES_MAX);
}

#[test]
fn the_readme_of_a_proxy_can_be_followed() {
    // The default lets the broker's own pages in, whatever it is called.
    for (host, origin) in [("a.example", "https://a.example"), ("[::1]:80", "http://[::1]")] {
        let found = OriginPolicy::default().check([origin.as_bytes()], Some(host));
        assert_eq!(found, Ok(()), "{origin}");
    }
}
