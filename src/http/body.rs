//! Reads one request body, by length or in chunks, in any pieces.
//!
//! Not here: chunk framing (`chunked`), what the body means (`api`). Invariants: memory grows with
//! what came and never with what was announced; a body over its limit is refused at the first byte
//! that announces it.

use super::chunked::ChunkDecoder;
use super::{BodyFraming, RequestError, Spill};

/// Gathers the body of one request.
#[derive(Debug)]
pub struct BodyReader {
    rest: Rest,
    bytes_max: usize,
    spill: Spill,
}

/// What is still to come.
#[derive(Debug)]
enum Rest {
    Bytes(usize),
    Chunks(ChunkDecoder),
}

/// What [`BodyReader::read`] did with its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyStep {
    /// How many bytes of the input belong to the body; all of it while the body is incomplete.
    pub consumed: usize,
    /// Whether the body is complete. What follows is the next request.
    pub done: bool,
}

impl BodyReader {
    /// A reader for a body of this framing. A length over `bytes_max` is refused before any of it
    /// came.
    pub fn new(framing: BodyFraming, bytes_max: usize) -> Result<Self, RequestError> {
        let rest = match framing {
            BodyFraming::None => Rest::Bytes(0),
            BodyFraming::Length(length) => {
                let fitting = usize::try_from(length).ok().filter(|&length| length <= bytes_max);
                Rest::Bytes(fitting.ok_or(RequestError::BodyTooLarge)?)
            }
            BodyFraming::Chunked => Rest::Chunks(ChunkDecoder::new()),
        };
        Ok(Self { rest, bytes_max, spill: Spill::new() })
    }

    /// Takes in what belongs to the body. A body without bytes is done on the first call, with any
    /// input. Once it has returned an error, the caller closes.
    pub fn read(&mut self, input: &[u8]) -> Result<BodyStep, RequestError> {
        match &mut self.rest {
            Rest::Bytes(left) => {
                let (data, _) = input.split_at(input.len().min(*left));
                self.spill.push(data);
                *left -= data.len();
                Ok(BodyStep { consumed: data.len(), done: *left == 0 })
            }
            Rest::Chunks(decoder) => {
                let mut rest = input;
                while !decoder.is_done() && !rest.is_empty() {
                    let step = decoder.read(rest, self.bytes_max - self.spill.len())?;
                    self.spill.push(step.data);
                    (_, rest) = rest.split_at(step.consumed);
                }
                Ok(BodyStep { consumed: input.len() - rest.len(), done: decoder.is_done() })
            }
        }
    }

    /// Payload bytes received so far.
    pub const fn received(&self) -> usize {
        self.spill.len()
    }

    /// Bytes of memory kept for the body so far.
    pub fn held_bytes(&self) -> usize {
        self.spill.held_bytes()
    }

    /// The body's payload: all of it once [`BodyStep::done`] was true.
    pub fn take(self) -> Vec<u8> {
        self.spill.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{HTTP_CHUNK_LINE_BYTES_MAX, HTTP_TRAILER_BYTES_MAX, SPILL_SLACK_BYTES};

    /// Body and bytes consumed, or the error and the count of bytes at which it came.
    type Outcome = Result<(Vec<u8>, usize), (RequestError, usize)>;

    fn read_bytewise(framing: BodyFraming, wire: &[u8], bytes_max: usize) -> Outcome {
        let mut reader = BodyReader::new(framing, bytes_max).map_err(|error| (error, 0))?;
        for (at, byte) in wire.chunks(1).enumerate() {
            let step = reader.read(byte).map_err(|error| (error, at + 1))?;
            if step.done {
                return Ok((reader.take(), at + step.consumed));
            }
            assert_eq!(step.consumed, 1);
        }
        panic!("incomplete: {}", wire.escape_ascii())
    }

    fn chunked(wire: &[u8]) -> Outcome {
        let bytewise = read_bytewise(BodyFraming::Chunked, wire, 1_000);
        let mut reader = BodyReader::new(BodyFraming::Chunked, 1_000).expect("nothing announced");
        match (reader.read(wire), &bytewise) {
            (Ok(step), Ok((body, consumed))) => {
                assert_eq!((step.consumed, step.done), (*consumed, true));
                assert_eq!(reader.take(), *body);
            }
            (whole, _) => {
                assert_eq!(whole.err(), bytewise.as_ref().err().map(|(error, _)| *error));
            }
        }
        bytewise
    }

    fn ok(body: &[u8], consumed: usize) -> Outcome {
        Ok((body.to_vec(), consumed))
    }

    #[test]
    fn lengths_are_taken_to_the_byte() {
        let mut reader = BodyReader::new(BodyFraming::Length(5), 5).expect("fits");
        assert_eq!(reader.read(b"he"), Ok(BodyStep { consumed: 2, done: false }));
        assert_eq!(reader.read(b""), Ok(BodyStep { consumed: 0, done: false }));
        assert_eq!(reader.read(b"lloGET"), Ok(BodyStep { consumed: 3, done: true }));
        assert_eq!(reader.read(b"GET"), Ok(BodyStep { consumed: 0, done: true }));
        assert_eq!(reader.take(), b"hello");
    }

    #[test]
    fn bodies_without_bytes_are_done_without_input() {
        for framing in [BodyFraming::None, BodyFraming::Length(0)] {
            let mut reader = BodyReader::new(framing, 0).expect("fits");
            assert_eq!(reader.read(b""), Ok(BodyStep { consumed: 0, done: true }));
            assert_eq!(reader.read(b"GET"), Ok(BodyStep { consumed: 0, done: true }));
        }
    }

    #[test]
    fn an_announced_length_over_the_limit_is_refused_and_one_within_allocates_nothing() {
        for length in [6, 1 << 40, u64::MAX] {
            let reader = BodyReader::new(BodyFraming::Length(length), 5);
            assert_eq!(reader.err(), Some(RequestError::BodyTooLarge), "{length}");
        }
        let reader = BodyReader::new(BodyFraming::Length(1 << 28), 1 << 28).expect("fits");
        assert_eq!(reader.held_bytes(), 0);
    }

    #[test]
    fn well_formed_chunks_give_their_payload() {
        assert_eq!(chunked(b"0\r\n\r\nGET"), ok(b"", 5));
        assert_eq!(chunked(b"5\r\nhello\r\n0\r\n\r\n"), ok(b"hello", 15));
        assert_eq!(
            chunked(b"00A\r\n0123456789\r\n1\r\n\n\r\n000\r\n\r\n"),
            ok(b"0123456789\n", 30)
        );
        assert_eq!(chunked(b"1;a=b;c=\"d e\"\r\nx\r\n0;z\r\n\r\n"), ok(b"x", 25));
        assert_eq!(chunked(b"1 \t;a\r\nx\r\n0\r\n\r\n"), ok(b"x", 15));
        assert_eq!(chunked(b"1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n"), ok(b"x", 21));
    }

    #[test]
    fn malformed_chunks_are_refused_at_their_first_bad_byte() {
        for (wire, at) in [
            (&b"\r\n"[..], 1),
            (b"g\r\n", 1),
            (b"-1\r\n", 1),
            (b"+1\r\n", 1),
            (b" 1\r\n", 1),
            (b";a\r\n", 1),
            (b"0x1\r\n", 2),
            (b"1_0\r\n", 2),
            (b"1 \r\n", 3),
            (b"1 1\r\n", 3),
            (b"1\nx", 2),
            (b"1\rx", 3),
            (b"1;a\nx", 4),
            (b"1;a\rx", 5),
            (b"1;\0", 3),
            (b"1\r\nxy", 5),
            (b"1\r\nx\n", 5),
            (b"1\r\nx\r\r", 6),
            (b"1\r\nx\r\n\r\n", 7),
        ] {
            let name = wire.escape_ascii();
            assert_eq!(chunked(wire), Err((RequestError::BadChunk, at)), "{name}");
        }
    }

    #[test]
    fn malformed_trailers_are_refused() {
        for (trailer, at) in [
            (&b"a b\r\n"[..], 5),
            (b" a: b\r\n", 4),
            (b": b\r\n", 4),
            (b"a\r\n", 5),
            (b"a : b\r\n", 5),
            (b"a: b\n", 8),
            (b"a: \0", 7),
            (b"a: b\rc", 9),
            (b"\rx", 5),
            (b"\n", 4),
        ] {
            let wire = [b"0\r\n", trailer].concat();
            let name = wire.escape_ascii();
            assert_eq!(chunked(&wire), Err((RequestError::BadField, at)), "{name}");
        }
    }

    #[test]
    fn chunks_over_the_limit_are_refused_at_the_digit_that_says_so() {
        let most = [b"3e8\r\n".as_slice(), &[b'x'; 1_000], b"\r\n0\r\n\r\n"].concat();
        assert_eq!(chunked(&most), ok(&[b'x'; 1_000], 1_012));
        assert_eq!(chunked(b"3e9\r\n"), Err((RequestError::BodyTooLarge, 3)));
        let second = [&most[..1_007], b"1\r\nx\r\n"].concat();
        assert_eq!(chunked(&second), Err((RequestError::BodyTooLarge, 1_008)));
        let wide = read_bytewise(BodyFraming::Chunked, &b"f".repeat(20), usize::MAX);
        assert_eq!(wide, Err((RequestError::BodyTooLarge, 17)));
        let wraps = read_bytewise(BodyFraming::Chunked, b"10000000000000001\r\n", usize::MAX);
        assert_eq!(wraps, Err((RequestError::BodyTooLarge, 17)));
    }

    #[test]
    fn size_lines_and_trailers_are_bounded_to_the_byte() {
        let line = |bytes: usize| [b"0;".as_slice(), &b"x".repeat(bytes - 4), b"\r\n\r\n"].concat();
        let most = line(HTTP_CHUNK_LINE_BYTES_MAX);
        assert_eq!(chunked(&most), ok(b"", most.len()));
        let long = line(HTTP_CHUNK_LINE_BYTES_MAX + 1);
        let at = HTTP_CHUNK_LINE_BYTES_MAX + 1;
        assert_eq!(chunked(&long), Err((RequestError::BadChunk, at)));
        let trailer =
            |bytes: usize| [b"0\r\na:".as_slice(), &b"x".repeat(bytes - 4), b"\r\n\r\n"].concat();
        let most = trailer(HTTP_TRAILER_BYTES_MAX);
        assert_eq!(chunked(&most), ok(b"", most.len()));
        let long = trailer(HTTP_TRAILER_BYTES_MAX + 1);
        let at = 3 + HTTP_TRAILER_BYTES_MAX + 1;
        assert_eq!(chunked(&long), Err((RequestError::TrailerTooLarge, at)));
    }

    #[test]
    fn framing_that_outweighs_its_payload_is_refused_and_never_kept() {
        let tiny = [b"1;".as_slice(), &[b'x'; 250], b"\r\n", b"y\r\n"].concat();
        let mut reader = BodyReader::new(BodyFraming::Chunked, 1 << 20).expect("nothing announced");
        let served = (0..10_000).find(|_| reader.read(&tiny).is_err());
        // 254 bytes a line, 17 of them earned: 4,096 of excess are used up at the 18th.
        assert_eq!(served, Some(17));
        assert!(reader.held_bytes() <= SPILL_SLACK_BYTES + 128);
    }

    #[test]
    fn a_flood_of_tiny_chunks_holds_what_it_carries() {
        let mut reader = BodyReader::new(BodyFraming::Chunked, 1 << 20).expect("nothing announced");
        for count in 1..=100_000 {
            assert_eq!(reader.read(b"1\r\nx\r\n"), Ok(BodyStep { consumed: 6, done: false }));
            assert!(reader.held_bytes() <= count + SPILL_SLACK_BYTES + count / 50 + 128);
        }
    }
}
