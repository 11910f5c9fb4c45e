//! One value as written, and its reading as a number, a size, a duration, a word.
//!
//! Invariant: each reader either gives a value inside its bounds or says what would be right.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A value as written.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value<'a> {
    /// From the environment or a flag, where everything is text.
    Bare(&'a str),
    /// A TOML string.
    Text(&'a str),
    /// A TOML integer; beyond 64 bits it is [`Self::Other`].
    Integer(i64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    List(Vec<Self>),
    /// Anything that no setting takes, by its TOML name.
    Other(&'static str),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(text) | Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::List(_) => f.write_str("a list"),
            Self::Other(kind) => write!(f, "a TOML {kind}"),
        }
    }
}

/// How nothing at all is written.
pub(super) const NONE: &str = "none";

/// What would be right, to follow "it is …; it takes".
pub(super) type Wanted = String;

/// A whole number within `range`.
pub(super) fn number(value: &Value<'_>, range: RangeInclusive<u64>) -> Result<u64, Wanted> {
    let read = match value {
        Value::Bare(text) => text.parse().ok(),
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::Text(_) | Value::Boolean(_) | Value::List(_) | Value::Other(_) => None,
    };
    read.filter(|number| range.contains(number)).ok_or_else(|| {
        format!("a whole number from {} to {}, without quotes", range.start(), range.end())
    })
}

/// A whole number within `range` that fits a table's length.
pub(super) fn count(value: &Value<'_>, range: RangeInclusive<u64>) -> Result<usize, Wanted> {
    number(value, range).and_then(|n| usize::try_from(n).map_err(|_| "a smaller number".into()))
}

/// A whole number within `range` that fits 32 bits.
pub(super) fn number32(value: &Value<'_>, range: RangeInclusive<u32>) -> Result<u32, Wanted> {
    let (least, most) = (u64::from(*range.start()), u64::from(*range.end()));
    number(value, least..=most)
        .and_then(|n| u32::try_from(n).map_err(|_| "a smaller number".into()))
}

/// A number of bytes within `range`: plain, or text with a unit.
pub(super) fn size(value: &Value<'_>, range: RangeInclusive<usize>) -> Result<usize, Wanted> {
    let bytes = match value {
        Value::Bare(text) | Value::Text(text) => {
            text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64())
        }
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::Boolean(_) | Value::List(_) | Value::Other(_) => None,
    };
    let fits = bytes.and_then(|n| usize::try_from(n).ok()).filter(|n| range.contains(n));
    fits.ok_or_else(|| {
        let (least, most) = (show_size(*range.start()), show_size(*range.end()));
        format!("a size from {least} to {most}, such as \"64KiB\", or a number of bytes")
    })
}

/// A number of bytes in the largest unit that leaves it whole; reads back as the same number.
pub(super) fn show_size(bytes: usize) -> String {
    [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift))
        .map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// The longest duration any setting takes. Beyond a day it is a slip, not a time-out.
const DURATION_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// A duration in milliseconds: text such as "30s", at least `least_ms`, at most a day.
pub(super) fn duration_ms(value: &Value<'_>, least_ms: u64) -> Result<u64, Wanted> {
    duration_ms_within(value, least_ms..=DURATION_MS_MAX)
}

/// A duration in milliseconds within `range`.
pub(super) fn duration_ms_within(
    value: &Value<'_>,
    range: RangeInclusive<u64>,
) -> Result<u64, Wanted> {
    let duration = match value {
        Value::Bare(text) | Value::Text(text) => humantime::parse_duration(text).ok(),
        Value::Integer(_) | Value::Boolean(_) | Value::List(_) | Value::Other(_) => None,
    };
    duration
        .filter(|duration| duration.subsec_nanos().is_multiple_of(1_000_000))
        .and_then(|duration| u64::try_from(duration.as_millis()).ok())
        .filter(|ms| range.contains(ms))
        .ok_or_else(|| {
            let (least, most) = (show_ms(*range.start()), show_ms(*range.end()));
            format!("a duration from {least} to {most} in whole milliseconds, such as \"30s\"")
        })
}

/// A duration as one would write it.
pub(super) fn show_ms(ms: u64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(ms))
}

/// True or false.
pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Wanted> {
    match value {
        Value::Boolean(value) => Ok(*value),
        Value::Bare("true" | "1") => Ok(true),
        Value::Bare("false" | "0") => Ok(false),
        Value::Bare(_) | Value::Text(_) | Value::Integer(_) | Value::List(_) | Value::Other(_) => {
            Err("true or false, without quotes".into())
        }
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(value: &Value<'_>, choices: &[(&str, T)]) -> Result<T, Wanted> {
    let word = text(value).unwrap_or_default();
    let chosen = choices.iter().find(|(name, _)| *name == word);
    chosen.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        let near = super::error::near(word, choices.iter().map(|(name, _)| (*name, *name)));
        let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        format!("one of {}{hint}", names.join(", "))
    })
}

/// The value as text, if it is text.
pub(super) fn text<'a>(value: &Value<'a>) -> Option<&'a str> {
    match value {
        Value::Bare(text) | Value::Text(text) => Some(text),
        Value::Integer(_) | Value::Boolean(_) | Value::List(_) | Value::Other(_) => None,
    }
}

/// Texts: one, a list, or several joined by commas where everything is text. `wanted` says what is
/// right where it is none of these.
pub(super) fn texts<'a>(value: &Value<'a>, wanted: &str) -> Result<Vec<&'a str>, Wanted> {
    match value {
        Value::Bare(joined) => Ok(joined.split(',').map(str::trim).collect()),
        Value::Text(one) => Ok(vec![one]),
        Value::List(items) => items
            .iter()
            .map(|item| text(item).ok_or_else(|| format!("texts in its list, not {item}")))
            .collect(),
        Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => Err(wanted.to_owned()),
    }
}

/// As [`texts`], and [`NONE`] is an empty list.
pub(super) fn texts_or_none<'a>(value: &Value<'a>, wanted: &str) -> Result<Vec<&'a str>, Wanted> {
    if text(value) == Some(NONE) { Ok(Vec::new()) } else { texts(value, wanted) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_bounds() {
        assert_eq!(number(&Value::Integer(64), 1..=64), Ok(64));
        assert_eq!(number(&Value::Bare("1"), 1..=64), Ok(1));
        for value in [
            Value::Integer(65),
            Value::Integer(0),
            Value::Integer(-1),
            Value::Bare("65"),
            Value::Bare("1.0"),
            Value::Bare(""),
            Value::Text("4"),
            Value::Boolean(true),
        ] {
            assert!(number(&value, 1..=64).is_err(), "{value}");
        }
    }

    #[test]
    fn sizes_are_numbers_or_text_with_a_unit() {
        for (value, bytes) in [
            (Value::Text("64KiB"), 65_536),
            (Value::Text("64 kib"), 65_536),
            (Value::Bare("1MB"), 1_000_000),
            (Value::Bare("1000"), 1_000),
            (Value::Text("1.5KiB"), 1_536),
            (Value::Integer(7), 7),
        ] {
            assert_eq!(size(&value, 1..=usize::MAX), Ok(bytes), "{value}");
        }
        for value in [
            Value::Text("much"),
            Value::Text("-1KiB"),
            Value::Text("99999999999999999999"),
            Value::Text("2GiB"),
            Value::Integer(0),
            Value::Integer(-5),
            Value::Boolean(true),
        ] {
            assert!(size(&value, 1..=1 << 30).is_err(), "{value}");
        }
    }

    #[test]
    fn a_size_shown_reads_back_as_the_same_size() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 20) + 14, 3 << 30, 5_000_000] {
            assert_eq!(size(&Value::Text(&show_size(bytes)), 0..=usize::MAX), Ok(bytes));
        }
        assert_eq!(show_size(1 << 20), "1MiB");
    }

    #[test]
    fn durations_carry_a_unit_and_are_whole_milliseconds() {
        assert_eq!(duration_ms(&Value::Text("1m 30s"), 1), Ok(90_000));
        assert_eq!(duration_ms(&Value::Bare("250ms"), 1), Ok(250));
        assert_eq!(duration_ms(&Value::Text("0s"), 0), Ok(0));
        for value in [
            Value::Text("0s"),
            Value::Text("30"),
            Value::Text("500us"),
            Value::Text("1500us"),
            Value::Text("25h"),
            Value::Text("-1s"),
            Value::Integer(30),
        ] {
            assert!(duration_ms(&value, 1).is_err(), "{value}");
        }
    }

    #[test]
    fn a_duration_keeps_bounds_of_its_own() {
        assert_eq!(duration_ms_within(&Value::Text("10s"), 0..=10_000), Ok(10_000));
        let wanted = duration_ms_within(&Value::Text("10001ms"), 0..=10_000).expect_err("too long");
        assert!(wanted.starts_with("a duration from 0s to 10s in whole milliseconds"), "{wanted}");
    }

    #[test]
    fn texts_come_alone_joined_or_listed() {
        let listed = Value::List(vec![Value::Text("a,b"), Value::Text("none")]);
        for (value, texts) in [
            (Value::Bare("a, b"), &["a", "b"][..]),
            (Value::Text("a, b"), &["a, b"]),
            (listed, &["a,b", "none"]),
            (Value::List(vec![]), &[]),
            (Value::Bare("none"), &[]),
            (Value::Text("none"), &[]),
        ] {
            assert_eq!(texts_or_none(&value, "texts"), Ok(texts.to_vec()), "{value:?}");
        }
        assert_eq!(texts(&Value::Bare("none"), "texts"), Ok(vec!["none"]));
        for wrong in [Value::Integer(1), Value::List(vec![Value::Integer(1)])] {
            assert!(texts_or_none(&wrong, "texts").is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn words_are_chosen_exactly_and_a_slip_gets_a_hint() {
        let choices = [("drop-oldest", 1), ("drop-newest", 2)];
        assert_eq!(choice(&Value::Text("drop-newest"), &choices), Ok(2));
        let wanted = choice(&Value::Text("drop_oldest"), &choices).expect_err("a slip");
        assert_eq!(
            wanted,
            "one of \"drop-oldest\", \"drop-newest\"; did you mean \"drop-oldest\"?"
        );
        assert!(choice(&Value::Integer(1), &choices).is_err());
    }
}
