//! Whether a body is what its type said: UTF-8, or one JSON value.
//!
//! Not here: keeping or changing it; what is published is what was sent. Invariant: work and memory
//! are linear in the body, and the stack is bounded by [`JSON_DEPTH_MAX`].

use crate::broker::{PayloadKind, check_json as check_value};
use crate::http::Response;
use crate::limits::{NOTIFICATION_BODY_BYTES_MAX, NOTIFICATION_TITLE_BYTES_MAX};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Checks a whole body, before it is published, against the kind that the head announced.
pub fn check_payload(kind: PayloadKind, body: &[u8]) -> Result<(), Response> {
    match kind {
        PayloadKind::Binary => Ok(()),
        PayloadKind::Text => check_text(body).map(|_| ()),
        PayloadKind::Json => check_json(check_text(body)?),
    }
}

/// What a notification says, as the body of a request has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification<'a> {
    /// The headline.
    pub title: Cow<'a, str>,
    /// The text below it; may be empty.
    pub body: Cow<'a, str>,
    /// Whatever else a client is to know, as JSON.
    pub data: Option<&'a str>,
}

impl<'a> Notification<'a> {
    /// Reads a whole body; what is wrong with it names the field.
    pub fn read(body: &'a [u8]) -> Result<Self, Response> {
        let text = check_text(body)?;
        check_json(text)?;
        if !text.trim_ascii_start().starts_with('{') {
            return Err(wrong("the body is an object of title, body and data"));
        }
        let fields: NotificationFields<'_> = serde_json::from_str(text)
            .map_err(|error| wrong(&format!("the body is not a notification: {error}")))?;
        let title = fields.title.map(|raw| text_of(raw, "title", NOTIFICATION_TITLE_BYTES_MAX));
        let title = title.transpose()?.filter(|title| !title.is_empty());
        let title = title.ok_or_else(|| wrong("title: a string of at least one byte"))?;
        let body = fields.body.map(|raw| text_of(raw, "body", NOTIFICATION_BODY_BYTES_MAX));
        let body = body.transpose()?.unwrap_or_default();
        Ok(Self { title, body, data: fields.data.map(RawValue::get) })
    }
}

/// The fields of a notification as the JSON they came as; `null` is none.
#[derive(Deserialize)]
struct NotificationFields<'a> {
    #[serde(borrow)]
    title: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn text_of<'a>(raw: &'a RawValue, field: &str, bytes_max: usize) -> Result<Cow<'a, str>, Response> {
    let raw = raw.get();
    let plain = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let text = match plain.filter(|text| !text.contains('\\')) {
        Some(plain) => Some(Cow::Borrowed(plain)),
        None => serde_json::from_str(raw).ok().map(Cow::Owned),
    };
    match text {
        Some(text) if text.len() <= bytes_max => Ok(text),
        Some(_) => Err(wrong(&format!("{field}: it may have {bytes_max} bytes"))),
        None => Err(wrong(&format!("{field}: a string"))),
    }
}

fn wrong(detail: &str) -> Response {
    Response::problem(400, detail)
}

fn check_text(body: &[u8]) -> Result<&str, Response> {
    simdutf8::basic::from_utf8(body).map_err(|_| {
        // The fast check knows no position; this one runs on refused bodies alone.
        let at = std::str::from_utf8(body).err().map_or(0, |error| error.valid_up_to());
        Response::problem(400, &format!("the body is not UTF-8 at byte {at}"))
    })
}

fn check_json(body: &str) -> Result<(), Response> {
    let Err(error) = check_value(body) else { return Ok(()) };
    Err(Response::problem(400, &format!("the body is not one JSON value: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::replay::{status, text};
    use crate::limits::JSON_DEPTH_MAX;

    fn is_fine(kind: PayloadKind, body: &[u8]) -> bool {
        match check_payload(kind, body) {
            Ok(()) => true,
            Err(response) => {
                assert_eq!(status(&response), 400);
                false
            }
        }
    }

    #[test]
    fn a_notification_has_a_title_and_perhaps_more() {
        let read = |body: &'static str| Notification::read(body.as_bytes()).map_err(|r| text(&r));
        let (title, body) = ("T".into(), "".into());
        let whole = Notification { title, body, data: None };
        assert_eq!(read(r#"{"title":"T"}"#), Ok(whole.clone()));
        assert_eq!(read(r#" {"title":"T","body":null,"other":[]}"#), Ok(whole.clone()));
        let data = Some(r#"{"a":1}"#);
        let whole = Notification { body: "\"B".into(), data, ..whole };
        assert_eq!(read(r#"{"body":"\"B","title":"\u0054","data":{"a":1}}"#), Ok(whole));
        for (body, said) in [
            ("{}", "title: a string of at least one byte"),
            (r#"{"title":""}"#, "title: a string"),
            (r#"{"title":null}"#, "title: a string"),
            (r#"{"title":5}"#, "title: a string"),
            (r#"{"title":"T","body":{}}"#, "body: a string"),
            (r#"{"title":"T","title":"U"}"#, "duplicate field `title`"),
            (r#"["T"]"#, "an object of title"),
            (r#"{"title":"T""#, "not one JSON value"),
        ] {
            let refusal = read(body).expect_err(body);
            assert!(refusal.starts_with("HTTP/1.1 400 ") && refusal.contains(said), "{refusal}");
        }
        for (field, bytes_max) in
            [("title", NOTIFICATION_TITLE_BYTES_MAX), ("body", NOTIFICATION_BODY_BYTES_MAX)]
        {
            let of = |bytes: usize| {
                let long = "x".repeat(bytes);
                let (title, body) = if field == "title" { (&*long, "") } else { ("T", &*long) };
                format!(r#"{{"title":"{title}","body":"{body}"}}"#)
            };
            assert!(Notification::read(of(bytes_max).as_bytes()).is_ok(), "{field}");
            let refusal = Notification::read(of(bytes_max + 1).as_bytes()).expect_err(field);
            assert!(text(&refusal).contains(&format!("{field}: it may have {bytes_max} bytes")));
        }
    }

    #[test]
    fn any_bytes_are_binary_and_only_utf8_is_text() {
        assert!(is_fine(PayloadKind::Binary, b"\xff\0"));
        assert!(is_fine(PayloadKind::Text, b""));
        assert!(is_fine(PayloadKind::Text, "grüße\0".as_bytes()));
        for bad in [&b"\xff"[..], b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80"] {
            assert!(!is_fine(PayloadKind::Text, bad), "{bad:?}");
        }
    }

    #[test]
    fn json_is_one_value_as_rfc_8259_has_it() {
        for good in [
            "null",
            "true",
            "0",
            "-1.5e3",
            "18446744073709551616",
            "\"\"",
            "[]",
            "{}",
            " [1] \n",
            r#"{"a":[{"b":"\u00e9\n"},null],"a":1}"#,
        ] {
            assert!(is_fine(PayloadKind::Json, good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            " ",
            "nul",
            "01",
            "1.",
            "[1,]",
            "{'a':1}",
            "{\"a\"}",
            "{1:2}",
            "1 2",
            "{} x",
            "\"\n\"",
            "\"\\x\"",
            "\"a",
            "[",
            "NaN",
            "\u{feff}1",
            "// c\n1",
            "1e999",
        ] {
            assert!(!is_fine(PayloadKind::Json, bad.as_bytes()), "{bad}");
        }
        assert!(!is_fine(PayloadKind::Json, b"\"\xff\""), "strings are UTF-8");
        assert!(!is_fine(PayloadKind::Json, b"{\"\xff\":1}"), "keys are UTF-8");
    }

    #[test]
    fn depth_is_bounded_whatever_is_nested() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth| format!("{}{}", open.repeat(depth), close.repeat(depth));
            let nested = |depth| nested(depth).replace(":}", ":0}");
            assert!(is_fine(PayloadKind::Json, nested(JSON_DEPTH_MAX).as_bytes()), "{open}");
            assert!(!is_fine(PayloadKind::Json, nested(JSON_DEPTH_MAX + 1).as_bytes()), "{open}");
            assert!(!is_fine(PayloadKind::Json, open.repeat(300_000).as_bytes()), "{open}");
        }
    }

    #[test]
    fn the_refusal_says_where() {
        let said = |kind, body: &[u8]| text(&check_payload(kind, body).expect_err("refused"));
        assert!(said(PayloadKind::Text, b"abc\xff").contains("byte 3"));
        assert!(said(PayloadKind::Json, b"{\n\"a\": }").contains("line 2 column 6"));
    }
}
