//! A look at a payload's bytes before it is parsed: is it so plain that a lenient parse will do?
//!
//! Values that are only passed on are skipped, not read, and skipping neither counts depth nor
//! refuses what some receivers can't read (half a surrogate pair, a number beyond all doubles). One
//! member must not be able to send others what breaks their parser. Invariant: the answer is
//! [`Look::Plain`] only where a strict parse would say no more than a lenient one.

use super::mistake::Wrong;
use crate::broker::check_json;
use crate::limits::REQUEST_DEPTH_MAX;

/// Digits in a row from which a number may be beyond all doubles; 309 is the least.
const DIGITS_SUSPICIOUS: usize = 256;

/// What the look found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Nothing that needs more than a lenient parse.
    Plain,
    /// Something that a strict parse may refuse.
    Odd,
    /// Arrays and objects too deep within each other.
    Deep,
}

/// Looks at a payload. Two passes that compile to vector instructions, and for the few payloads
/// that need it one of a byte at a time.
pub(super) fn look(payload: &[u8]) -> Look {
    // `[` and `{` differ in one bit; `]`, `}` and `\` are not among them.
    let opening = payload.iter().filter(|byte| **byte | 0x20 == b'{').count();
    let is_shallow = opening <= REQUEST_DEPTH_MAX;
    if is_shallow && !may_be_odd(payload) { Look::Plain } else { look_closely(payload) }
}

/// Whether there is a backslash, or what may be an exponent or a very long number.
fn may_be_odd(payload: &[u8]) -> bool {
    let pairs = payload.iter().zip(payload.get(1..).unwrap_or_default());
    let found = pairs.fold(false, |found, (first, second)| {
        let escape = *first == b'\\';
        let exponent = first.is_ascii_digit() & (*second | 0x20 == b'e');
        found | escape | exponent
    });
    // A run of digits twice as long as a chunk contains one.
    found
        || payload
            .chunks_exact(DIGITS_SUSPICIOUS / 2)
            .any(|chunk| chunk.iter().all(u8::is_ascii_digit))
}

fn look_closely(payload: &[u8]) -> Look {
    let (mut depth, mut digits, mut is_odd) = (0_usize, 0_usize, false);
    let mut rest = payload.iter();
    while let Some(byte) = rest.next() {
        let is_digit = byte.is_ascii_digit();
        match byte {
            b'"' => is_odd |= skip_string(&mut rest),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'e' | b'E' if digits > 0 => is_odd = true,
            _ => {}
        }
        digits = if is_digit { digits + 1 } else { 0 };
        is_odd |= digits >= DIGITS_SUSPICIOUS;
        if depth > REQUEST_DEPTH_MAX {
            return Look::Deep;
        }
    }
    if is_odd { Look::Odd } else { Look::Plain }
}

/// Leaves `rest` behind the string that began; whether there may be half a surrogate pair in it.
fn skip_string<'a>(rest: &mut impl Iterator<Item = &'a u8>) -> bool {
    let mut is_odd = false;
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => break,
            // Surrogates are U+D800 to U+DFFF.
            b'\\' => {
                let escape = rest.next();
                is_odd |= escape == Some(&b'u') && matches!(rest.next(), Some(b'd' | b'D' | b'"'));
            }
            _ => {}
        }
    }
    is_odd
}

/// Reads all values within `payload`, to learn whether that can be done.
pub(super) fn read_strictly(payload: &str) -> Result<(), Wrong> {
    check_json(payload).map_err(|error| Wrong::unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_payloads_are_plain() {
        for plain in [
            "",
            r#"{"type":"ping"}"#,
            r#"{"a":"[[[","b":[1,-2.5,true,false,null]}"#,
            r#"{"a":"\n\"\\\u00e9 1e5"}"#,
            r#"{"id":"7e9f","n":12}"#,
        ] {
            assert_eq!(look(plain.as_bytes()), Look::Plain, "{plain}");
        }
    }

    #[test]
    fn what_a_strict_parser_may_refuse_is_odd() {
        let long = format!("[{}]", "1".repeat(2 * DIGITS_SUSPICIOUS));
        for odd in ["[1e5]", "[1.5E5]", r#"["\ud800"]"#, r#"["\uDFFF"]"#, &long] {
            assert_eq!(look(odd.as_bytes()), Look::Odd, "{odd}");
        }
    }

    #[test]
    fn only_what_is_open_at_once_counts_as_depth() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(look(nested(REQUEST_DEPTH_MAX).as_bytes()), Look::Plain);
        assert_eq!(look(nested(REQUEST_DEPTH_MAX + 1).as_bytes()), Look::Deep);
        assert_eq!(look("[]{}".repeat(1_000).as_bytes()), Look::Plain);
        assert_eq!(look(format!("\"\\\"{}\"", "[".repeat(1_000)).as_bytes()), Look::Plain);
    }
}
