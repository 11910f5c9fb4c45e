//! JSON objects of a token, read so that two readers can't differ on them.
//!
//! Not here: what members mean (`header`, `claims`). Invariant: no object names a member twice,
//! however it is spelled, and all of the text is JSON, in the parts that nobody knows too.

use super::BadToken;
use crate::broker::check_json;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// The members of one object, in the order of their names; values as they are written.
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// Reads a whole text, down to its last value.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, BadToken> {
        let text = std::str::from_utf8(text).map_err(|_| BadToken::Malformed)?;
        if !is_plain(text.as_bytes()) {
            check_json(text).map_err(|_| BadToken::Malformed)?;
        }
        serde_json::from_str(text).map_err(|_| BadToken::Malformed)
    }

    /// Reads the object that is the value of the claim `name`.
    pub(super) fn within(value: &'a RawValue, name: &'static str) -> Result<Self, BadToken> {
        if !value.get().starts_with('{') {
            return Err(BadToken::BadClaim(name));
        }
        serde_json::from_str(value.get()).map_err(|_| BadToken::Malformed)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    /// The member, if there is one, as what it has to be: else `wrong`. `null` is a value.
    pub(super) fn read<T: Deserialize<'a>>(
        &self,
        name: &str,
        wrong: BadToken,
    ) -> Result<Option<T>, BadToken> {
        let value = self.value(name).map(|value| serde_json::from_str(value.get()));
        value.transpose().map_err(|_| wrong)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = BTreeMap<String, &'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that names nothing twice")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name stands twice"));
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object).map(Members)
    }
}

/// Arrays and objects up to which a text is not too deep for certain.
const PLAIN_DEPTH_MAX: u32 = 32;
/// A number without an exponent, and of no more digits than that, is within all doubles.
const PLAIN_DIGITS_MAX: u32 = 64;

/// Whether a text that reads as JSON is one for every parser: without escapes, which may be half of
/// a pair, without large numbers, and not deep. Of what it says no of, most is fine too.
fn is_plain(text: &[u8]) -> bool {
    let (mut opened, mut digits) = (0, 0);
    for byte in text {
        match byte {
            b'\\' => return false,
            b'e' | b'E' if digits > 0 => return false,
            b'0'..=b'9' => digits += 1,
            _ => {
                digits = 0;
                opened += u32::from(matches!(byte, b'{' | b'['));
            }
        }
        if digits > PLAIN_DIGITS_MAX || opened > PLAIN_DEPTH_MAX {
            return false;
        }
    }
    true
}

/// One text, or a list of texts.
pub(super) fn one_or_many(value: &RawValue) -> Option<Vec<Box<str>>> {
    let one = serde_json::from_str(value.get()).map(|one| vec![one]);
    one.or_else(|_| serde_json::from_str(value.get())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Option<Vec<String>> {
        Members::parse(text).ok().map(|members| members.names().map(str::to_owned).collect())
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_spelled() {
        assert_eq!(parse(br#" {"b":1,"a":{"c":1,"d":1}} "#), Some(vec!["a".into(), "b".into()]));
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"":1,"":1}"#] {
            assert_eq!(parse(twice.as_bytes()), None, "{twice}");
        }
    }

    #[test]
    fn what_is_no_json_object_to_the_end_is_refused() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        for bad in ["", "[]", "1", "null", "{}{}", "{\"a\":1e400}", "{\"a\":NaN}", "{a:1}", &deep] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        for bad in [&b"\xef\xbb\xbf{}"[..], b"{\"a\":\"\xff\"}", br#"{"a":"\ud800"}"#, b"{}\0"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        assert_eq!(parse(b"{}"), Some(Vec::new()));
    }

    #[test]
    fn what_is_called_plain_is_plain_to_a_strict_reader_too() {
        let mut dice = fastrand::Rng::with_seed(7);
        let parts = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"",
            "\\",
            "\\ud800",
            "1",
            "9",
            "e",
            "E9",
            "-",
            ".",
            "1e999",
            "0",
            "true",
            "null",
            " ",
            "\u{1}",
            "12345678901234567890",
        ];
        let (mut plain, mut read) = (0, 0);
        for _ in 0..200_000 {
            let text: String =
                (0..dice.usize(1..9)).map(|_| parts[dice.usize(..parts.len())]).collect();
            let text = format!("{{\"k\":{text}}}");
            let members: Result<Members<'_>, _> = serde_json::from_str(&text);
            if members.is_ok() {
                read += 1;
                plain += u32::from(is_plain(text.as_bytes()));
                assert!(!is_plain(text.as_bytes()) || check_json(&text).is_ok(), "{text}");
            }
        }
        assert!(plain > 100 && read > plain, "both kinds were tried: {plain} of {read}");
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(is_plain(deep(32).as_bytes()) && !is_plain(deep(33).as_bytes()));
        assert!(!is_plain("1".repeat(400).as_bytes()));
    }
}
