//! Finds the end of a request head in bytes that come in any pieces.
//!
//! Not here: what the head says (`head`). Invariants: each byte is searched once, because the
//! search sees new bytes only ([`Scan`] remembers the rest); a head that comes whole is borrowed,
//! not copied; bounds and line ends are judged at the first byte that breaks them, so the verdict
//! does not depend on the pieces.

use super::RequestError;
use super::target::is_token_byte;
use crate::limits::{
    HTTP_FIELDS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_TARGET_BYTES_MAX, SPILL_SLACK_BYTES,
};
use memchr::memchr_iter;
use std::borrow::Cow;
use std::ops::Deref;

/// Bytes of empty lines before a request: RFC 9112 §2.2 asks for one line of patience. Two are
/// given, for clients that end a body with one of their own.
const EMPTY_LINES_BYTES_MAX: u8 = 4;

/// A request line may be this long: the longest target, with room for a method and a version.
const REQUEST_LINE_BYTES_MAX: usize = HTTP_TARGET_BYTES_MAX + 32;

/// Reads request heads of one connection. Between requests, and while heads come whole, it owns
/// nothing but its eight bytes. Once it has returned an error, no byte that follows means anything:
/// the caller closes.
#[derive(Default, Debug)]
pub struct HeadReader(Option<Box<Held>>);

const _: () = assert!(size_of::<HeadReader>() == 8);

/// What [`HeadReader::read`] did with its input.
#[derive(PartialEq, Eq, Debug)]
pub struct HeadStep<'a> {
    /// How many bytes of the input are dealt with; all of it while the head is incomplete.
    pub consumed: usize,
    /// The head, once it is complete.
    pub head: Option<HeadBytes<'a>>,
}

/// A complete head, from its request line to its empty line: a slice of the input where it came
/// whole, else bytes of its own.
#[derive(PartialEq, Eq, Debug)]
pub struct HeadBytes<'a>(Cow<'a, [u8]>);

impl Deref for HeadBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl HeadReader {
    /// Looks for the end of a head at the front of `input`. Without one, all of `input` is taken in
    /// and kept. Empty lines before the head are dropped, within bounds.
    pub fn read<'a>(&mut self, input: &'a [u8]) -> Result<HeadStep<'a>, RequestError> {
        let mut scan = self.0.as_ref().map_or_else(Scan::default, |held| held.scan);
        let skipped = scan.skip_empty_lines(input)?;
        let (_, rest) = input.split_at(skipped);
        let Some(end) = scan.advance(rest)? else {
            self.hold(scan, rest);
            return Ok(HeadStep { consumed: input.len(), head: None });
        };
        let (last, _) = rest.split_at(end);
        let head = match self.0.take() {
            Some(mut held) if !held.bytes.is_empty() => {
                held.bytes.reserve_exact(last.len());
                held.bytes.extend_from_slice(last);
                Cow::Owned(held.bytes)
            }
            Some(_) | None => Cow::Borrowed(last),
        };
        Ok(HeadStep { consumed: skipped + end, head: Some(HeadBytes(head)) })
    }

    /// Bytes of memory kept beyond the reader itself.
    pub fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |held| size_of::<Held>() + held.bytes.capacity())
    }

    /// Whether nothing of a request has come; empty lines are nothing.
    pub fn is_idle(&self) -> bool {
        self.0.as_ref().is_none_or(|held| held.bytes.is_empty())
    }

    #[cold]
    fn hold(&mut self, scan: Scan, bytes: &[u8]) {
        if scan == Scan::default() {
            return;
        }
        let held = self.0.get_or_insert_default();
        held.scan = scan;
        // Doubling while small, then by steps: what is held is bounded by what came plus the slack.
        let len = held.bytes.len();
        if held.bytes.capacity() - len < bytes.len() {
            held.bytes.reserve_exact(bytes.len() + len.min(SPILL_SLACK_BYTES));
        }
        held.bytes.extend_from_slice(bytes);
    }
}

/// An incomplete head. Invariant: `scan.bytes == bytes.len()`.
#[derive(Default, Debug)]
struct Held {
    bytes: Vec<u8>,
    scan: Scan,
}

/// How far the search came. It never sees a byte twice.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Scan {
    /// Bytes of the head searched so far.
    bytes: usize,
    /// Bytes of the line under way.
    line_bytes: usize,
    /// Lines complete.
    lines: usize,
    /// Whether the last byte was a carriage return.
    after_cr: bool,
    /// Bytes of empty lines before the head.
    empty_lines_bytes: u8,
}

impl Scan {
    /// How many bytes of empty lines `input` starts with, while no byte of a head has come; then
    /// judges the head's first byte, so that a TLS client, say, is refused at once.
    fn skip_empty_lines(&mut self, input: &[u8]) -> Result<usize, RequestError> {
        if self.bytes > 0 {
            return Ok(0);
        }
        for (at, &byte) in input.iter().enumerate() {
            let half_line = self.empty_lines_bytes % 2 == 1;
            match byte {
                b'\n' if half_line => {}
                b'\r' if !half_line && self.empty_lines_bytes < EMPTY_LINES_BYTES_MAX => {}
                b'\n' | b'\r' => return Err(RequestError::BadLineEnd),
                first if is_token_byte(first) && !half_line => return Ok(at),
                _ => return Err(RequestError::BadRequestLine),
            }
            self.empty_lines_bytes += 1;
        }
        Ok(input.len())
    }

    /// Searches new bytes; gives the length of the part of `input` that completes the head.
    fn advance(&mut self, input: &[u8]) -> Result<Option<usize>, RequestError> {
        // One byte more than fits is enough to refuse, and the rest of a large read is not
        // searched.
        let fits = (HTTP_HEAD_BYTES_MAX + 1).saturating_sub(self.bytes);
        let (input, _) = input.split_at(fits.min(input.len()));
        let mut taken = 0;
        let ends = memchr_iter(b'\n', input).map(|at| at + 1).chain([input.len()]);
        let mut start = 0;
        for end in ends {
            let line = input.get(start..end).unwrap_or_default();
            start = end;
            self.bytes += line.len();
            self.line_bytes += line.len();
            taken += line.len();
            if self.lines == 0 && self.line_bytes > REQUEST_LINE_BYTES_MAX {
                return Err(RequestError::TargetTooLong);
            }
            if self.bytes > HTTP_HEAD_BYTES_MAX {
                return Err(RequestError::HeadTooLarge);
            }
            match line {
                [.., b'\r', b'\n'] => {}
                [b'\n'] if self.after_cr => {}
                [.., b'\n'] => return Err(RequestError::BadLineEnd),
                [.., last] => {
                    self.after_cr = *last == b'\r';
                    continue; // The line is incomplete, so this was the last piece.
                }
                [] => continue,
            }
            if self.line_bytes == b"\r\n".len() {
                return Ok(Some(taken));
            }
            self.lines += 1;
            self.line_bytes = 0;
            self.after_cr = false;
            if self.lines > 1 + HTTP_FIELDS_MAX {
                return Err(RequestError::TooManyFields);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET /raw/lobby HTTP/1.1\r\nHost: a\r\n\r\n";

    fn read_bytewise(wire: &[u8]) -> (usize, Result<Option<Vec<u8>>, RequestError>) {
        let mut reader = HeadReader::default();
        for (at, byte) in wire.chunks(1).enumerate() {
            match reader.read(byte) {
                Ok(HeadStep { head: Some(head), .. }) => return (at + 1, Ok(Some(head.to_vec()))),
                Ok(HeadStep { consumed, head: None }) => assert_eq!(consumed, 1),
                Err(error) => return (at + 1, Err(error)),
            }
        }
        (wire.len(), Ok(None))
    }

    fn head_of(bytes: usize) -> Vec<u8> {
        let mut wire = b"GET / HTTP/1.1\r\n".to_vec();
        while wire.len() + 1_000 < bytes - 4 {
            wire.extend_from_slice(&[b'x'; 998]);
            wire.extend_from_slice(b"\r\n");
        }
        wire.resize(bytes - 4, b'y');
        wire.extend_from_slice(b"\r\n\r\n");
        wire
    }

    #[test]
    fn a_whole_head_is_borrowed_and_leaves_the_rest() {
        let mut reader = HeadReader::default();
        let wire = [HEAD, b"next"].concat();
        let step = reader.read(&wire).expect("a valid head");
        assert_eq!(step.consumed, HEAD.len());
        let head = step.head.expect("a complete head");
        assert!(matches!(&head, HeadBytes(Cow::Borrowed(bytes)) if *bytes == HEAD));
        assert_eq!(reader.held_bytes(), 0);
    }

    #[test]
    fn a_dribbled_head_is_searched_once() {
        let wire = head_of(HTTP_HEAD_BYTES_MAX);
        let mut reader = HeadReader::default();
        for (at, byte) in wire[..wire.len() - 1].chunks(1).enumerate() {
            assert_eq!(reader.read(byte), Ok(HeadStep { consumed: 1, head: None }));
            let held = reader.0.as_ref().expect("an incomplete head is held");
            // What was searched is what came: no byte was counted, so none was seen, twice.
            assert_eq!((held.scan.bytes, held.bytes.len()), (at + 1, at + 1));
            assert!(reader.held_bytes() <= at + 1 + SPILL_SLACK_BYTES + size_of::<Held>());
            assert!(reader.held_bytes() <= 2 * (at + 1) + size_of::<Held>());
        }
        let last = reader.read(b"\n").expect("a head of exactly the limit");
        assert_eq!(last.head.as_deref(), Some(&*wire));
        assert_eq!(reader.held_bytes(), 0);
        assert!(reader.is_idle());
    }

    #[test]
    fn a_head_beyond_the_limit_is_refused_at_its_first_byte_too_many() {
        let wire = head_of(HTTP_HEAD_BYTES_MAX + 1);
        assert_eq!(
            read_bytewise(&wire),
            (HTTP_HEAD_BYTES_MAX + 1, Err(RequestError::HeadTooLarge))
        );
        assert_eq!(HeadReader::default().read(&wire), Err(RequestError::HeadTooLarge));
    }

    #[test]
    fn of_a_large_read_no_more_is_searched_than_a_head_may_have() {
        let mut scan = Scan::default();
        assert_eq!(scan.advance(b"GET / HTTP/1.1\r\n"), Ok(None));
        assert_eq!(scan.advance(&[b'x'; 250_000]), Err(RequestError::HeadTooLarge));
        assert_eq!(scan.bytes, HTTP_HEAD_BYTES_MAX + 1);
    }

    #[test]
    fn a_request_line_beyond_the_limit_is_refused_at_its_first_byte_too_many() {
        let wire = [b"GET /".as_slice(), &[b'x'; 60_000]].concat();
        assert_eq!(
            read_bytewise(&wire),
            (REQUEST_LINE_BYTES_MAX + 1, Err(RequestError::TargetTooLong))
        );
        assert_eq!(HeadReader::default().read(&wire), Err(RequestError::TargetTooLong));
    }

    #[test]
    fn fields_beyond_the_limit_are_refused_before_the_head_ends() {
        let fields = |count| [b"GET / HTTP/1.1\r\n".as_slice(), &b"a:\r\n".repeat(count)].concat();
        let most = [&fields(HTTP_FIELDS_MAX)[..], b"\r\n"].concat();
        assert_eq!(read_bytewise(&most).1, Ok(Some(most.clone())));
        let wire = fields(HTTP_FIELDS_MAX + 1);
        assert_eq!(read_bytewise(&wire), (wire.len(), Err(RequestError::TooManyFields)));
    }

    #[test]
    fn bare_line_feeds_are_refused_where_they_stand() {
        for (wire, at) in [
            (&b"GET / HTTP/1.1\nHost: a\n\n"[..], 15),
            (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 24),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 26),
            (b"\nGET / HTTP/1.1\r\n\r\n", 1),
        ] {
            let name = wire.escape_ascii();
            assert_eq!(read_bytewise(wire), (at, Err(RequestError::BadLineEnd)), "{name}");
            assert_eq!(HeadReader::default().read(wire), Err(RequestError::BadLineEnd), "{name}");
        }
    }

    #[test]
    fn a_first_byte_that_starts_no_method_is_refused_at_once() {
        for first in [0x16, 0, b' ', b'\t', b':', b'(', 0x80] {
            let wire = [first];
            let step = HeadReader::default().read(&wire);
            assert_eq!(step, Err(RequestError::BadRequestLine), "{first:#x}");
        }
    }

    #[test]
    fn two_empty_lines_are_dropped_and_a_third_is_refused() {
        for lines in 0..=2 {
            let wire = [&b"\r\n".repeat(lines), HEAD].concat();
            assert_eq!(read_bytewise(&wire), (wire.len(), Ok(Some(HEAD.to_vec()))));
            let mut reader = HeadReader::default();
            let step = reader.read(&wire).expect("a valid head");
            assert_eq!((step.consumed, step.head.as_deref()), (wire.len(), Some(HEAD)));
        }
        assert_eq!(read_bytewise(b"\r\n\r\n\r\n"), (5, Err(RequestError::BadLineEnd)));
        assert_eq!(read_bytewise(b"\rGET"), (2, Err(RequestError::BadRequestLine)));
        assert_eq!(read_bytewise(b"\r\r"), (2, Err(RequestError::BadLineEnd)));
    }

    #[test]
    fn empty_input_and_empty_lines_are_nothing_of_a_request() {
        let mut reader = HeadReader::default();
        assert_eq!(reader.read(b""), Ok(HeadStep { consumed: 0, head: None }));
        assert!(reader.is_idle());
        assert_eq!(reader.held_bytes(), 0);
        assert_eq!(reader.read(b"\r\n"), Ok(HeadStep { consumed: 2, head: None }));
        assert!(reader.is_idle());
        assert_eq!(reader.read(b"G"), Ok(HeadStep { consumed: 1, head: None }));
        assert!(!reader.is_idle());
    }
}
