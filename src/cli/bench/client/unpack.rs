//! What compressed messages say, each inflated once for all members that get it.
//!
//! A broadcast has the same bytes for everybody, and inflating them for each member would cost the
//! client several times what sending them costs the server. So the last ones are remembered. Sound
//! only where a message stands for itself, which is what the client asks for ([`OFFER`]).

use crate::cli::bench::bounds::SIZE_BYTES_MAX;
use crate::ws::{ClientWindow, Context, DataKind, DeflateOffer, Inflater, compressed_bytes_max};
use std::collections::VecDeque;

/// What the client offers: compression without contexts.
pub(crate) const OFFER: DeflateOffer = DeflateOffer {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: None,
    client_max_window_bits: ClientWindow::Any,
};

/// Messages remembered: more than a room has under way in any usual load.
const KNOWN_MAX: usize = 1_024;
/// Compressed bytes of those together. Beyond that the oldest go, and may be inflated once more.
const KNOWN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest message that is inflated: an envelope may be as large as what is in it.
const BYTES_MAX: usize = 2 * SIZE_BYTES_MAX;
/// Bytes of a compressed message that are looked at: more can't come to so few.
pub(super) const COMPRESSED_BYTES_MAX: usize = compressed_bytes_max(BYTES_MAX);

/// The last compressed messages and what they said.
#[derive(Debug)]
pub(crate) struct Unpacker {
    inflater: Inflater,
    /// Bytes of each payload that are kept.
    look: usize,
    /// In the order of their coming.
    known: VecDeque<Known>,
    /// Compressed bytes of those.
    known_bytes: usize,
    /// The place after the one that was found last: members get the same messages in a row.
    next: usize,
}

#[derive(Debug)]
struct Known {
    compressed: Vec<u8>,
    front: Vec<u8>,
    bytes: u64,
}

impl Unpacker {
    /// One that remembers nothing yet, and keeps the first `look` bytes of payloads.
    pub(crate) fn new(look: usize) -> Self {
        let inflater = Inflater::new(Context::Reset);
        Self { inflater, look, known: VecDeque::new(), known_bytes: 0, next: 0 }
    }

    /// The front of a payload and its length; `None` for what can't be inflated.
    pub(crate) fn unpack(&mut self, compressed: &[u8]) -> Option<(&[u8], u64)> {
        let is_it = |known: &Known| known.compressed == compressed;
        let place = if self.known.get(self.next).is_some_and(is_it) {
            self.next
        } else {
            // What is under way is the newest.
            match self.known.iter().rposition(is_it) {
                Some(place) => place,
                None => self.learn(compressed)?,
            }
        };
        self.next = place + 1;
        self.known.get(place).map(|known| (known.front.as_slice(), known.bytes))
    }

    #[cold]
    fn learn(&mut self, compressed: &[u8]) -> Option<usize> {
        let payload = self.inflater.message(DataKind::Binary, compressed, BYTES_MAX).ok()?;
        let front = payload.get(..self.look).unwrap_or(payload).to_vec();
        let known = Known { compressed: compressed.to_vec(), front, bytes: payload.len() as u64 };
        self.known_bytes += compressed.len();
        self.known.push_back(known);
        let is_more = |known: &VecDeque<Known>, bytes: usize| {
            known.len() > KNOWN_MAX || bytes > KNOWN_BYTES_MAX
        };
        while is_more(&self.known, self.known_bytes)
            && let Some(oldest) = self.known.pop_front()
        {
            self.known_bytes -= oldest.compressed.len();
        }
        self.known.len().checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{Deflater, Level, WindowClass};

    fn compressed(payload: &[u8]) -> Vec<u8> {
        let mut deflater = Deflater::new(WindowClass::Full, Level::MIN, Context::Reset);
        let mut frame = Vec::new();
        deflater.push_frame(&mut frame, DataKind::Binary, payload);
        frame.split_off(if frame.len() < 128 { 2 } else { 4 })
    }

    #[test]
    fn messages_are_what_they_were_however_often_and_in_whatever_order_they_come() {
        let mut unpacker = Unpacker::new(8);
        let payloads: Vec<Vec<u8>> =
            (0..3 * KNOWN_MAX).map(|nth| format!("{nth:08}{}", "x".repeat(500)).into()).collect();
        let mut dice = fastrand::Rng::with_seed(1);
        for round in 0..4 * KNOWN_MAX {
            let nth = if round % 3 == 0 { dice.usize(..payloads.len()) } else { round / 2 };
            let payload = &payloads[nth];
            let (front, bytes) = unpacker.unpack(&compressed(payload)).expect("it inflates");
            assert_eq!((front, bytes), (&payload[..8], 508), "{nth}");
        }
        assert!(unpacker.known.len() <= KNOWN_MAX);
        assert_eq!(unpacker.unpack(b"\xff\xff"), None);
    }

    #[test]
    fn large_messages_are_remembered_up_to_so_many_bytes() {
        const BYTES: usize = 4 * 1024 * 1024;
        let mut unpacker = Unpacker::new(8);
        for nth in 0..40_u8 {
            // A block of stored bytes for each 65,535: nothing is gained, as of random bytes.
            let mut stored = Vec::new();
            for _ in 0..BYTES / 65_535 {
                stored.extend(b"\x00\xff\xff\x00\x00");
                stored.resize(stored.len() + 65_535, nth);
            }
            stored.push(0);
            for _ in 0..2 {
                let (front, bytes) = unpacker.unpack(&stored).expect("it inflates");
                assert_eq!((front, bytes), (&[nth; 8][..], (BYTES / 65_535 * 65_535) as u64));
            }
        }
        let held: usize = unpacker.known.iter().map(|known| known.compressed.len()).sum();
        assert!(held <= KNOWN_BYTES_MAX, "{held} bytes are held");
    }
}
