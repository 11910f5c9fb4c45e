//! Whether a text is one JSON value that any parser reads: what one member publishes, all others
//! have to take.
//!
//! Not here: what the value means. Invariant: work is linear in the text; the stack is bounded by
//! the parser's bound on depth.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads all values within `text`, to learn whether that can be done. Half surrogate pairs, and
/// numbers beyond all doubles, are mistakes here.
pub fn check_json(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<Value>(text).map(|Value| ())
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

    #[test]
    fn what_some_parser_would_trip_over_is_no_value() {
        for good in ["null", "[1,{\"a\":\"\\ud83d\\ude00\"}]", " 1e308 "] {
            assert!(check_json(good).is_ok(), "{good}");
        }
        for bad in ["", "1 2", "[\"\\ud83d\"]", "1e999", "{\"a\":tru}", &"[".repeat(200)] {
            assert!(check_json(bad).is_err(), "{bad}");
        }
    }
}
