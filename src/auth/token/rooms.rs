//! The claim `rooms`: what is granted in which rooms.
//!
//! Invariant: who mistypes a claim grants nothing by it: a member that is not known is an error.

use super::BadToken;
use super::json::Members;
use crate::auth::{Grant, Grants};
use crate::broker::RoomPattern;
use crate::limits::TOKEN_PATTERNS_MAX;
use serde_json::value::RawValue;

const WRONG: BadToken = BadToken::BadClaim("rooms");

/// Reads `{join, publish, history, presence, create}`. To join and to publish nobody may without a
/// list; the rest is granted where joining is, unless it says otherwise. `true` is as `join`, and
/// `false` is nowhere.
pub(super) fn room_grants(claim: &RawValue) -> Result<Grants, BadToken> {
    let members = Members::within(claim, "rooms")?;
    if members.names().any(|name| !Grant::OF_ROOMS.iter().any(|grant| grant.word() == name)) {
        return Err(WRONG);
    }
    let join = match members.value(Grant::Join.word()) {
        Some(value) => list(value)?,
        None => Vec::new(),
    };
    let mut grants = Grants::default();
    for grant in [Grant::Publish, Grant::History, Grant::Presence, Grant::Create] {
        let patterns = match members.value(grant.word()).map(RawValue::get) {
            Some("true") => join.clone(),
            Some("false") => Vec::new(),
            Some(_) => members.value(grant.word()).map_or(Err(WRONG), list)?,
            None if grant == Grant::Publish => Vec::new(),
            None => join.clone(),
        };
        grants = grants.with(grant, patterns);
    }
    Ok(grants.with(Grant::Join, join))
}

fn list(value: &RawValue) -> Result<Vec<RoomPattern>, BadToken> {
    let raw: Vec<String> = serde_json::from_str(value.get()).map_err(|_| WRONG)?;
    if raw.len() > TOKEN_PATTERNS_MAX {
        return Err(WRONG);
    }
    raw.iter().map(|pattern| RoomPattern::parse(pattern).map_err(|_| WRONG)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Grants, BadToken> {
        room_grants(&RawValue::from_string(json.to_owned()).expect(json))
    }

    fn patterns(raw: &[&str]) -> Vec<RoomPattern> {
        raw.iter().map(|raw| RoomPattern::parse(raw).expect(raw)).collect()
    }

    #[test]
    fn what_is_not_said_follows_joining_but_for_publishing() {
        // In the order of `Grant::OF_ROOMS`.
        for (json, expected) in [
            (r#"{}"#, [&[][..], &[], &[], &[], &[]]),
            (r#"{"join":["a:*"]}"#, [&["a:*"], &[], &["a:*"], &["a:*"], &["a:*"]]),
            (
                r#"{"join":["a"],"publish":true,"history":false,"presence":["b"],"create":[]}"#,
                [&["a"], &["a"], &[], &["b"], &[]],
            ),
            (r#"{ "publish" : ["x"] , "history" : true }"#, [&[][..], &["x"], &[], &[], &[]]),
            (r#"{"join":["a"],"publish":false}"#, [&["a"][..], &[], &["a"], &["a"], &["a"]]),
        ] {
            let grants = read(json).expect(json);
            for (grant, expected) in Grant::OF_ROOMS.into_iter().zip(expected) {
                assert_eq!(grants.patterns(grant), patterns(expected), "{json} {grant}");
            }
            assert!(!grants.is_admin());
        }
    }

    #[test]
    fn what_is_mistyped_grants_nothing() {
        let many = format!(r#"{{"join":[{}"a"]}}"#, r#""a","#.repeat(TOKEN_PATTERNS_MAX));
        for json in [
            r#"["a"]"#,
            r#""a""#,
            "null",
            "true",
            r#"{"join":true}"#,
            r#"{"join":"a"}"#,
            r#"{"join":null}"#,
            r#"{"join":["a b"]}"#,
            r#"{"join":["a*"]}"#,
            r#"{"join":[1]}"#,
            r#"{"join":["a"],"histroy":false}"#,
            r#"{"join":["a"],"history":null}"#,
            r#"{"join":["a"],"history":"false"}"#,
            r#"{"join":["a"],"publish":1}"#,
            r#"{"admin":true}"#,
            &many,
        ] {
            assert_eq!(read(json), Err(WRONG), "{json}");
        }
        for twice in [r#"{"join":[],"join":["**"]}"#, r#"{"join":[],"j\u006fin":["**"]}"#] {
            assert_eq!(read(twice), Err(BadToken::Malformed), "{twice}");
        }
    }
}
