//! What claims are taken, and as what.

use super::*;
use crate::auth::Grant;

const NOW_MS: u64 = 1_700_000_000_500;

fn rules() -> TokenRules {
    TokenRules { leeway_s: 5, ..TokenRules::default() }
}

fn parse(json: &str) -> Result<Claims, BadToken> {
    Claims::parse(json.as_bytes(), &rules(), NOW_MS)
}

/// Claims that are good, with these beside them.
fn with(more: &str) -> Result<Claims, BadToken> {
    parse(&format!(r#"{{"sub":"ada","exp":1700000600{more}}}"#))
}

#[test]
fn each_claim_is_taken_as_it_stands() {
    let claims = parse(
        r#"{"iss":"x","aud":"y","sub":"ada","userId":"ada","username":"Ada L.","nbf":1,
            "preferred_username":"a\nb","roles":["editor"],"rooms":{"join":["chat:*"]},
            "autojoin":["chat:1","lobby"],"info":{"a": [1]},"jti":"t-1","iat":1699999999.9,
            "exp":1700000600.25,"else":{"sub":"bob"}}"#,
    )
    .expect("good claims");
    assert_eq!((&*claims.user, claims.username.as_deref()), ("ada", Some("Ada L.")));
    assert_eq!(claims.roles, ["editor".into()]);
    assert!(claims.rooms.expect("rooms").allows(Grant::Join, "chat:1", "ada"));
    let autojoin: Vec<_> = claims.autojoin.iter().map(RoomName::as_str).collect();
    assert_eq!(autojoin, ["chat:1", "lobby"]);
    assert_eq!(claims.info.as_deref(), Some(r#"{"a": [1]}"#));
    let facts =
        TokenFacts { id: Some("t-1".into()), issued_s: 1_699_999_999, expires_s: 1_700_000_600 };
    assert_eq!(claims.facts, facts);
}

#[test]
fn a_user_is_a_text_or_a_whole_number_and_never_the_brokers_own() {
    for (ids, user) in [
        (r#""sub":"Ünal""#, "Ünal"),
        (r#""sub":42"#, "42"),
        (r#""userId":-7"#, "-7"),
        (r#""userId":18446744073709551615"#, "18446744073709551615"),
        (r#""sub":"42","userId":42"#, "42"),
        (r#""sub":"guests""#, "guests"),
    ] {
        let claims = parse(&format!(r#"{{{ids},"exp":1700000600}}"#)).expect(ids);
        assert_eq!(&*claims.user, user);
    }
    let long = format!(r#""sub":"{}""#, "x".repeat(129));
    for ids in [
        r#""user":"ada""#,
        r#""sub":"""#,
        r#""sub":"a\nb""#,
        r#""sub":"a\u0000""#,
        r#""sub":null"#,
        r#""sub":["ada"]"#,
        r#""sub":1.5"#,
        r#""sub":1e3"#,
        r#""sub":18446744073709551616"#,
        r#""sub":"ada","userId":"bob""#,
        r#""sub":"ada","userId":null"#,
        r#""sub":"server""#,
        r#""userId":"server""#,
        r#""sub":"guest-0000000000000001""#,
        &long,
    ] {
        let refused = parse(&format!(r#"{{{ids},"exp":1700000600}}"#));
        assert_eq!(refused, Err(BadToken::BadClaim("sub")), "{ids}");
    }
}

#[test]
fn time_counts_to_the_millisecond_and_by_the_leeway() {
    // It is .500, and clocks may differ by 5 s.
    for (times, expected) in [
        (r#""exp":1699999996"#, Ok(())),
        (r#""exp":1699999995.501"#, Ok(())),
        (r#""exp":1699999995.5"#, Err(BadToken::Expired)),
        (r#""exp":1699999995"#, Err(BadToken::Expired)),
        (r#""exp":0"#, Err(BadToken::Expired)),
        (r#""exp":-0"#, Err(BadToken::Expired)),
        (r#""exp":18446744073709551615"#, Ok(())),
        (r#""exp":1e300"#, Ok(())),
        (r#""exp":1.7000006e9"#, Ok(())),
        (r#""exp":1700000600,"nbf":1700000005.5"#, Ok(())),
        (r#""exp":1700000600,"nbf":1700000006"#, Err(BadToken::TooEarly)),
        (r#""exp":1700000600,"nbf":1e300"#, Err(BadToken::TooEarly)),
        (r#""exp":-1"#, Err(BadToken::BadClaim("exp"))),
        (r#""exp":"1700000600""#, Err(BadToken::BadClaim("exp"))),
        (r#""exp":null"#, Err(BadToken::BadClaim("exp"))),
        (r#""exp":[1700000600]"#, Err(BadToken::BadClaim("exp"))),
        (r#""exp":true"#, Err(BadToken::BadClaim("exp"))),
        (r#""iat":1"#, Err(BadToken::BadClaim("exp"))),
        (r#""exp":1e400"#, Err(BadToken::Malformed)),
        (r#""exp":01700000600"#, Err(BadToken::Malformed)),
        (r#""exp":NaN"#, Err(BadToken::Malformed)),
        (r#""exp":1700000600,"nbf":"0""#, Err(BadToken::BadClaim("nbf"))),
        (r#""exp":1700000600,"iat":null"#, Err(BadToken::BadClaim("iat"))),
        (r#""exp":1700000600,"iat":-1"#, Err(BadToken::BadClaim("iat"))),
    ] {
        let seen = parse(&format!(r#"{{"sub":"ada",{times}}}"#)).map(|_| ());
        assert_eq!(seen, expected, "{times}");
    }
    let strict = TokenRules { leeway_s: 0, ..TokenRules::default() };
    for (at_ms, expected) in [(999, Ok(())), (1_000, Err(BadToken::Expired))] {
        let seen = Claims::parse(br#"{"sub":"ada","exp":1}"#, &strict, at_ms).map(|_| ());
        assert_eq!(seen, expected, "{at_ms}");
    }
}

#[test]
fn audience_and_issuer_are_asked_for_only_where_rules_name_some() {
    let texts = |texts: &[&str]| texts.iter().map(|text| Box::from(*text)).collect::<Vec<_>>();
    let strict = TokenRules { audiences: texts(&["a", "b"]), issuers: texts(&["i"]), ..rules() };
    for (parties, by_rules, by_none) in [
        (r#","aud":"a","iss":"i""#, Ok(()), Ok(())),
        (r#","aud":["x","b"],"iss":"i""#, Ok(()), Ok(())),
        ("", Err(BadToken::WrongAudience), Ok(())),
        (r#","aud":[],"iss":"i""#, Err(BadToken::WrongAudience), Ok(())),
        (r#","aud":"A","iss":"i""#, Err(BadToken::WrongAudience), Ok(())),
        (r#","aud":"a,b","iss":"i""#, Err(BadToken::WrongAudience), Ok(())),
        (r#","aud":"a""#, Err(BadToken::WrongIssuer), Ok(())),
        (r#","aud":"a","iss":"i/""#, Err(BadToken::WrongIssuer), Ok(())),
        (r#","aud":1"#, Err(BadToken::BadClaim("aud")), Err(BadToken::BadClaim("aud"))),
        (r#","aud":["a",1]"#, Err(BadToken::BadClaim("aud")), Err(BadToken::BadClaim("aud"))),
        (r#","aud":null"#, Err(BadToken::BadClaim("aud")), Err(BadToken::BadClaim("aud"))),
        (
            r#","aud":"a","iss":["i"]"#,
            Err(BadToken::BadClaim("iss")),
            Err(BadToken::BadClaim("iss")),
        ),
    ] {
        let json = format!(r#"{{"sub":"ada","exp":1700000600{parties}}}"#);
        for (rules, expected) in [(&strict, by_rules), (&rules(), by_none)] {
            let seen = Claims::parse(json.as_bytes(), rules, NOW_MS).map(|_| ());
            assert_eq!(seen, expected, "{json}");
        }
    }
}

#[test]
fn a_claim_that_is_not_what_it_must_be_is_named() {
    let many = |count: usize| vec![r#""a""#; count].join(",");
    let (roles, rooms) = (many(TOKEN_ROLES_MAX + 1), many(TOKEN_AUTOJOIN_MAX + 1));
    let (role, id) = ("x".repeat(ROLE_NAME_BYTES_MAX + 1), "x".repeat(TOKEN_ID_BYTES_MAX + 1));
    let info = "1".repeat(PRESENCE_INFO_BYTES_MAX - 1);
    for (more, claim) in [
        (r#","username":"""#.to_owned(), "username"),
        (r#","username":1"#.to_owned(), "username"),
        (r#","username":null,"preferred_username":"a""#.to_owned(), "username"),
        (r#","username":"a\u0007""#.to_owned(), "username"),
        (r#","preferred_username":"""#.to_owned(), "preferred_username"),
        (r#","roles":null"#.to_owned(), "roles"),
        (r#","roles":{"admin":true}"#.to_owned(), "roles"),
        (r#","roles":["a",1]"#.to_owned(), "roles"),
        (r#","roles":["a",""]"#.to_owned(), "roles"),
        (r#","roles":"a\nb""#.to_owned(), "roles"),
        (format!(r#","roles":[{roles}]"#), "roles"),
        (format!(r#","roles":"{role}""#), "roles"),
        (r#","rooms":null"#.to_owned(), "rooms"),
        (r#","rooms":["**"]"#.to_owned(), "rooms"),
        (r#","autojoin":"lobby""#.to_owned(), "autojoin"),
        (r#","autojoin":["a b"]"#.to_owned(), "autojoin"),
        (r#","autojoin":null"#.to_owned(), "autojoin"),
        (format!(r#","autojoin":[{rooms}]"#), "autojoin"),
        (format!(r#","info":"{info}""#), "info"),
        (r#","jti":7"#.to_owned(), "jti"),
        (r#","jti":"a\rb""#.to_owned(), "jti"),
        (format!(r#","jti":"{id}""#), "jti"),
    ] {
        assert_eq!(with(&more), Err(BadToken::BadClaim(claim)), "{more}");
    }
}

#[test]
fn duplicate_claims_are_refused_on_each_level_that_is_read() {
    for more in [
        r#","sub":"ada""#,
        r#","s\u0075b":"bob""#,
        r#","exp":1700000600"#,
        r#","nobody":1,"nobody":2"#,
        r#","rooms":{"join":["a"],"join":["**"]}"#,
    ] {
        assert_eq!(with(more), Err(BadToken::Malformed), "{more}");
    }
}

#[test]
fn one_role_may_stand_alone_and_an_empty_list_grants_nothing() {
    assert_eq!(with(r#","roles":"admin""#).expect("a role").roles, ["admin".into()]);
    let nothing = with(r#","roles":[]"#).expect("no role");
    assert_eq!((nothing.roles.len(), nothing.rooms), (0, Some(Grants::default())));
    let rooms = with(r#","roles":[],"rooms":{"join":["a"]}"#).expect("rooms").rooms;
    assert!(rooms.expect("rooms").allows(Grant::Join, "a", "ada"));
    assert_eq!(with("").expect("neither").rooms, None);
}

#[test]
fn what_a_preferred_name_is_for() {
    let claims = with(r#","preferred_username":"Ada""#).expect("a name");
    assert_eq!(claims.username.as_deref(), Some("Ada"));
    assert_eq!(with("").expect("no name").username, None);
}
