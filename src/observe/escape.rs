//! Text that came from outside, made fit for a line of the log.
//!
//! Not here: how lines are laid out. Invariants: what is written holds no control character, no
//! invisible or direction-changing one and no bare quote, so that one event stays one line and one
//! field; its length is bounded whatever the input's.

use crate::limits::LOG_FIELD_BYTES_MAX;
use std::fmt;

/// Bytes that a client chose, shown as text: `\n`, `\"`, `\u{202e}`, `\xff` for what is not
/// plainly printable, and cut after [`LOG_FIELD_BYTES_MAX`] with a note of the whole length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

/// Shows `text` as [`Escaped`] does.
pub const fn escape(text: &str) -> Escaped<'_> {
    Escaped(text.as_bytes())
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = LOG_FIELD_BYTES_MAX;
        // A character takes a byte or more: what lies beyond is not looked at.
        let head = self.0.get(..LOG_FIELD_BYTES_MAX + 1).unwrap_or(self.0);
        for chunk in head.utf8_chunks() {
            for char in chunk.valid().chars() {
                let shown = char.escape_debug();
                let bytes = shown.clone().map(char::len_utf8).sum();
                let Some(left) = room.checked_sub(bytes) else { return self.cut(f) };
                room = left;
                // Only double quotes delimit fields.
                if char == '\'' { f.write_str("'")? } else { shown.fmt(f)? }
            }
            for byte in chunk.invalid() {
                let Some(left) = room.checked_sub(4) else { return self.cut(f) };
                room = left;
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl Escaped<'_> {
    fn cut(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "… ({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_text_is_shown_as_it_is() {
        for text in ["", "/raw/lobby?echo=0", "it's", "grüße, 世界 🎈"] {
            assert_eq!(escape(text).to_string(), text);
        }
    }

    #[test]
    fn what_could_forge_a_line_a_field_or_a_screen_is_escaped() {
        for (bytes, shown) in [
            (&b"a\r\nb"[..], r"a\r\nb"),
            (b"\x1b[2J", r"\u{1b}[2J"),
            (b"\0\x7f", r"\0\u{7f}"),
            ("\u{9b}31m".as_bytes(), r"\u{9b}31m"),
            ("\u{202e}\u{2028}\u{feff}".as_bytes(), r"\u{202e}\u{2028}\u{feff}"),
            (br#"" reason="normal"#, r#"\" reason=\"normal"#),
            (br"\n", r"\\n"),
            (b"a\xffb\xc3", r"a\xffb\xc3"),
        ] {
            assert_eq!(Escaped(bytes).to_string(), shown);
        }
    }

    #[test]
    fn length_is_bounded_and_the_whole_length_told() {
        let fits = "x".repeat(LOG_FIELD_BYTES_MAX);
        assert_eq!(escape(&fits).to_string(), fits);
        let mebibyte = vec![b'x'; 1024 * 1024];
        assert_eq!(Escaped(&mebibyte).to_string(), format!("{fits}… (1048576 bytes)"));
    }

    #[test]
    fn any_bytes_give_one_bounded_printable_line() {
        let cut_bytes_max = format!("… ({} bytes)", usize::MAX).len();
        for seed in 0..2_000 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let pool =
                [0x00, 0x0a, 0x1b, 0x22, 0x5c, 0x61, 0x7f, 0x9b, 0xc2, 0xe2, 0x80, 0xae, 0xf0];
            let bytes: Vec<u8> = (0..dice.usize(..2 * LOG_FIELD_BYTES_MAX))
                .map(|_| if dice.bool() { dice.u8(..) } else { *dice.choice(&pool).expect("full") })
                .collect();
            let shown = Escaped(&bytes).to_string();
            assert!(shown.len() <= LOG_FIELD_BYTES_MAX + cut_bytes_max, "seed {seed}");
            assert!(!shown.chars().any(char::is_control), "seed {seed}: {shown:?}");
            // Every quote is led by an odd run of backslashes, so none ends the field.
            let mut escaped = false;
            for char in shown.chars() {
                assert!(char != '"' || escaped, "seed {seed}: {shown}");
                escaped = char == '\\' && !escaped;
            }
        }
    }
}
