//! UTF-8 over pieces: fails at the first bad byte, however the text was cut (RFC 6455 §8.1).
//!
//! Invariant: what is kept between pieces is a valid beginning of one character, at most 3 bytes.

use super::ProtocolError;
use simdutf8::compat;
use std::str;

/// Checks a text that arrives in pieces. For one that is all there, `text` is faster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8Check {
    /// The beginning of a character that the last piece cut: `cut[..cut_len]`.
    cut: [u8; 4],
    cut_len: u8,
}

/// Reads a text that is all there.
pub(super) fn text(bytes: &[u8]) -> Result<&str, ProtocolError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| ProtocolError::BadUtf8)
}

impl Utf8Check {
    /// At the beginning of a text.
    pub const fn new() -> Self {
        Self { cut: [0; 4], cut_len: 0 }
    }

    /// Checks the next piece. An error means that no continuation could make the text valid.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        let rest = self.complete_cut(piece)?;
        let Err(error) = compat::from_utf8(rest) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(ProtocolError::BadUtf8);
        }
        for &byte in rest.get(error.valid_up_to()..).unwrap_or_default() {
            self.keep(byte);
        }
        Ok(())
    }

    /// Checks that the text ends here: it must not end within a character.
    pub const fn finish(&self) -> Result<(), ProtocolError> {
        if self.cut_len == 0 { Ok(()) } else { Err(ProtocolError::BadUtf8) }
    }

    /// Feeds the cut character, if there is one, until it is whole. Returns what comes after it.
    fn complete_cut<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], ProtocolError> {
        let mut rest = piece;
        while self.cut_len > 0 {
            let Some((&byte, after)) = rest.split_first() else { break };
            rest = after;
            self.keep(byte);
            let character = self.cut.get(..usize::from(self.cut_len)).unwrap_or_default();
            match str::from_utf8(character) {
                Ok(_) => self.cut_len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(ProtocolError::BadUtf8),
            }
        }
        Ok(rest)
    }

    /// Appends a byte to the cut character. Four bytes are a whole character or an error, so that
    /// there is always a place.
    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.cut.get_mut(usize::from(self.cut_len)) {
            *place = byte;
            self.cut_len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes of `text` can be read before one proves it bad; `None`: no byte does.
    fn reference(text: &[u8]) -> Option<usize> {
        (1..=text.len()).find(|&len| {
            str::from_utf8(&text[..len]).is_err_and(|error| error.error_len().is_some())
        })
    }

    fn fed(pieces: &[&[u8]]) -> Result<(), ProtocolError> {
        let mut check = Utf8Check::default();
        pieces.iter().try_for_each(|piece| check.push(piece))?;
        check.finish()
    }

    /// Bytes that are often the edges of UTF-8, rarely anything else.
    fn nasty(dice: &mut fastrand::Rng) -> Vec<u8> {
        const EDGES: [&[u8]; 22] = [
            b"a",
            b"\x7f",
            b"\x80",
            b"\xbf",
            b"\xc1",
            b"\xc2",
            b"\xe0",
            b"\xa0",
            b"\xed",
            b"\x9f",
            b"\xef",
            b"\xf0",
            b"\x90",
            b"\xf4",
            b"\x8f",
            b"\xf5",
            b"\xff",
            "é".as_bytes(),
            "€".as_bytes(),
            "\u{10ffff}".as_bytes(),
            "κόσμε".as_bytes(),
            "😀".as_bytes(),
        ];
        let runs = dice.usize(..12);
        (0..runs).flat_map(|_| dice.choice(EDGES).unwrap_or_default().to_vec()).collect()
    }

    #[test]
    fn every_cut_of_any_bytes_agrees_with_the_standard_library() {
        for seed in 0..3_000 {
            let text = nasty(&mut fastrand::Rng::with_seed(seed));
            let expected = str::from_utf8(&text).is_ok();
            assert_eq!(super::text(&text).is_ok(), expected, "seed {seed}");
            for cut in 0..=text.len() {
                let (front, back) = text.split_at(cut);
                assert_eq!(fed(&[front, back]).is_ok(), expected, "seed {seed}, cut {cut}");
            }
        }
    }

    #[test]
    fn the_first_bad_byte_fails_fed_byte_by_byte() {
        for seed in 0..3_000 {
            let text = nasty(&mut fastrand::Rng::with_seed(seed));
            let mut check = Utf8Check::default();
            let failed = text.iter().position(|byte| check.push(&[*byte]).is_err());
            assert_eq!(failed.map(|index| index + 1), reference(&text), "seed {seed}");
        }
    }

    #[test]
    fn the_first_bad_byte_fails_at_the_end_of_a_long_piece() {
        for pad in [0, 15, 16, 31, 63, 64, 200] {
            let mut piece = "é".repeat(pad).into_bytes();
            piece.extend(b"\xed");
            assert!(
                Utf8Check::default().push(&piece).is_ok(),
                "a beginning may still become whole"
            );
            piece.push(0xa0);
            assert!(Utf8Check::default().push(&piece).is_err(), "no surrogate can");
        }
    }
}
