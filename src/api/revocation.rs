//! Revoking tokens: `POST /v1/revocations`.
//!
//! Not here: what a revocation does (`auth`), telling every loop (`engine`). Invariant: a body that
//! could mean two things is refused.

use super::fields::{given, read, wrong};
use crate::auth::{Revocation, RevocationsFull};
use crate::broker::User;
use crate::http::Response;
use crate::limits::{RETRY_AFTER_S, TOKEN_ID_BYTES_MAX};
use serde::Deserialize;

/// The last second of the year 9999: what is later was meant in milliseconds.
const SECONDS_MAX: u64 = 253_402_300_799;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, deserialize_with = "given")]
    user: Option<String>,
    #[serde(default, deserialize_with = "given")]
    token: Option<String>,
    #[serde(default, rename = "issuedBefore", deserialize_with = "given")]
    issued_before: Option<u64>,
}

/// Reads a whole body.
pub fn read_revocation(body: &[u8]) -> Result<Revocation, Response> {
    let known = "one of the strings user and token, or the number issuedBefore, alone or with user";
    let Fields { user, token, issued_before } = read(body, known)?;
    if issued_before.is_some_and(|s| s > SECONDS_MAX) {
        return Err(wrong("issuedBefore is a Unix time in seconds, up to the year 9999"));
    }
    match (user, token, issued_before) {
        (Some(user), None, issued_before_s) => {
            let id = User::check_id(&user).map_err(|rule| wrong(&format!("user: {rule}")))?;
            Ok(Revocation::User { id: id.into(), issued_before_s })
        }
        (None, Some(token), None) if (1..=TOKEN_ID_BYTES_MAX).contains(&token.len()) => {
            Ok(Revocation::Token { id: token.into() })
        }
        (None, Some(_), None) => {
            Err(wrong(&format!("token: the jti of a token, 1 to {TOKEN_ID_BYTES_MAX} bytes")))
        }
        (None, None, Some(s)) => Ok(Revocation::IssuedBefore { s }),
        (None, None, None) | (_, Some(_), _) => {
            Err(wrong(&format!("the body is a JSON object of {known}")))
        }
    }
}

/// It is in force; that many connections were closed.
pub fn revoked(closed: u32) -> Response {
    Response::json(200, format!(r#"{{"closed":{closed}}}"#).into_bytes())
}

/// There is no place for it.
pub fn revocations_full() -> Response {
    Response::problem(503, &format!("revocations-full: {RevocationsFull}"))
        .with_field("Retry-After", RETRY_AFTER_S.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::replay::{status, text};

    #[test]
    fn each_form_is_read() {
        let user = |issued_before_s| Revocation::User { id: "42".into(), issued_before_s };
        for (body, wanted) in [
            (r#"{"user":"42"}"#, user(None)),
            (r#"{"issuedBefore":1700000000,"user":"42"}"#, user(Some(1_700_000_000))),
            (r#"{"token":"a-b"}"#, Revocation::Token { id: "a-b".into() }),
            (r#"{"issuedBefore":0}"#, Revocation::IssuedBefore { s: 0 }),
        ] {
            assert_eq!(read_revocation(body.as_bytes()), Ok(wanted), "{body}");
        }
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"user":"42","token":"a"}"#,
            r#"{"token":"a","issuedBefore":1}"#,
            r#"{"user":"42","token":"a","issuedBefore":1}"#,
            r#"{"user":"42","user":"43"}"#,
            r#"{"user":"42","issuedbefore":1}"#,
            r#"{"user":"42","issuedBefore":null}"#,
            r#"{"user":"42","issuedBefore":"1"}"#,
            r#"{"user":"42","issuedBefore":-1}"#,
            r#"{"user":"42","issuedBefore":1.5}"#,
            r#"{"issuedBefore":1700000000000}"#,
            r#"{"user":42}"#,
            r#"{"user":""}"#,
            r#"{"user":"a\u0000b"}"#,
            r#"{"token":""}"#,
            r#"{"token":null}"#,
        ] {
            let refused = read_revocation(body.as_bytes()).expect_err(body);
            assert_eq!(status(&refused), 400, "{body}");
        }
        let long = format!(r#"{{"token":"{}"}}"#, "x".repeat(TOKEN_ID_BYTES_MAX + 1));
        assert!(read_revocation(long.as_bytes()).is_err(), "no token is called that");
        let slip = read_revocation(br#"{"issuedBefore":1700000000000}"#).expect_err("milliseconds");
        assert!(text(&slip).contains("in seconds"));
    }

    #[test]
    fn a_full_table_says_what_to_revoke_instead() {
        let full = revocations_full();
        assert_eq!(status(&full), 503);
        assert!(text(&full).contains("issuedBefore alone") && text(&full).contains("Retry-After"));
        assert!(text(&revoked(3)).ends_with(r#"{"closed":3}"#));
    }
}
