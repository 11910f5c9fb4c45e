//! Whether a body is what its type said: UTF-8, or one JSON value.
//!
//! Not here: keeping or changing it; what is published is what was sent. Invariant: work and memory
//! are linear in the body, and the stack is bounded by [`JSON_DEPTH_MAX`].

use crate::broker::PayloadKind;
use crate::http::Response;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Checks a whole body, before it is published, against the kind that the head announced.
pub fn check_payload(kind: PayloadKind, body: &[u8]) -> Result<(), Response> {
    match kind {
        PayloadKind::Binary => Ok(()),
        PayloadKind::Text => check_text(body).map(|_| ()),
        PayloadKind::Json => check_json(check_text(body)?),
    }
}

fn check_text(body: &[u8]) -> Result<&str, Response> {
    simdutf8::basic::from_utf8(body).map_err(|_| {
        // The fast check knows no position; this one runs on refused bodies alone.
        let at = std::str::from_utf8(body).err().map_or(0, |error| error.valid_up_to());
        Response::problem(400, &format!("the body is not UTF-8 at byte {at}"))
    })
}

fn check_json(body: &str) -> Result<(), Response> {
    let Err(error) = serde_json::from_str::<Value>(body) else { return Ok(()) };
    Err(Response::problem(400, &format!("the body is not one JSON value: {error}")))
}

/// Any JSON value, looked at and forgotten. Unlike `IgnoredAny`, which skips what is nested without
/// counting, it comes under the parser's bound on depth.
struct Value;

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while let Some(Self) = items.next_element()? {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while let Some((IgnoredAny, Self)) = entries.next_entry()? {}
        Ok(self)
    }
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
