//! The fixed header of a payload: who sent it, which in a row it is, and when it was due.
//!
//! It is text, so that it survives in any envelope a server wraps around it. Invariants: a stamp
//! of another phase or run is no stamp; one that is where the last one was is found without a
//! search.

/// Bytes of a stamp: the mark of the run, then four numbers.
pub(crate) const STAMP_BYTES: usize = 5 * NUMBER_CHARS;

/// Half-bytes as the letters `a` to `p`.
const NUMBER_CHARS: usize = 8;
const ZERO: u8 = b'a';
const ZEROS: u64 = u64::from_be_bytes([ZERO; 8]);

/// What a payload says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// The room, from 0.
    pub(crate) room: u32,
    /// The publisher within the room, from 0.
    pub(crate) publisher: u32,
    /// Its place among that publisher's messages of the phase, from 0.
    pub(crate) sequence: u32,
    /// When it was due, in µs since the phase began.
    pub(crate) due_us: u32,
}

/// What tells the stamps of one phase from those of another phase or run, and from chance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark([u8; NUMBER_CHARS]);

impl Mark {
    /// A mark that no other phase or process is likely to have.
    pub(crate) fn new(dice: &mut fastrand::Rng) -> Self {
        let [a, b, c, d, e] = std::array::from_fn(|_| dice.lowercase()).map(|c: char| c as u8);
        Self([b'F', b'A', b'N', a, b, c, d, e])
    }

    /// The stamp as text.
    pub(crate) fn encode(self, stamp: &Stamp) -> [u8; STAMP_BYTES] {
        let Stamp { room, publisher, sequence, due_us } = *stamp;
        let mut text = [0; STAMP_BYTES];
        let parts = [self.0, encode(room), encode(publisher), encode(sequence), encode(due_us)];
        for (place, part) in text.as_chunks_mut().0.iter_mut().zip(parts) {
            *place = part;
        }
        text
    }

    /// Finds the stamp in the front of a payload, first at `at`, then anywhere; moves `at` to it.
    pub(crate) fn find(self, payload: &[u8], at: &mut usize) -> Option<Stamp> {
        let here = payload.get(*at..).and_then(|rest| self.decode(rest));
        here.or_else(|| self.search(payload, at))
    }

    #[cold]
    fn search(self, payload: &[u8], at: &mut usize) -> Option<Stamp> {
        *at = payload.windows(NUMBER_CHARS).position(|window| window == self.0)?;
        self.decode(payload.get(*at..)?)
    }

    fn decode(self, bytes: &[u8]) -> Option<Stamp> {
        let [mark, room, publisher, sequence, due_us] =
            bytes.first_chunk::<STAMP_BYTES>()?.as_chunks::<NUMBER_CHARS>().0
        else {
            return None;
        };
        (*mark == self.0).then(|| Stamp {
            room: decode(*room),
            publisher: decode(*publisher),
            sequence: decode(*sequence),
            due_us: decode(*due_us),
        })
    }
}

fn encode(number: u32) -> [u8; NUMBER_CHARS] {
    let mut shift = u32::BITS;
    std::array::from_fn(|_| {
        shift -= 4;
        ZERO + u8::try_from((number >> shift) & 0xF).expect("half a byte")
    })
}

/// Eight letters at once: pairs, then pairs of pairs, move together.
fn decode(letters: [u8; NUMBER_CHARS]) -> u32 {
    let halves = (u64::from_be_bytes(letters).wrapping_sub(ZEROS)) & 0x0F0F_0F0F_0F0F_0F0F;
    let bytes = (halves | (halves >> 4)) & 0x00FF_00FF_00FF_00FF;
    let words = (bytes | (bytes >> 8)) & 0x0000_FFFF_0000_FFFF;
    let number = (words | (words >> 16)) & 0xFFFF_FFFF;
    u32::try_from(number).expect("masked to 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark(*b"FANvwxyz");

    fn reference(letters: [u8; NUMBER_CHARS]) -> u32 {
        letters.iter().fold(0, |sum, letter| sum * 16 + u32::from(letter - ZERO))
    }

    #[test]
    fn numbers_decode_to_themselves_and_as_the_slow_twin_says() {
        let mut dice = fastrand::Rng::with_seed(1);
        let edges = [0, 1, 15, 16, 255, 256, u32::MAX - 1, u32::MAX];
        for number in (0..2_000).map(|_| dice.u32(..)).chain(edges) {
            let letters = encode(number);
            assert_eq!((decode(letters), reference(letters)), (number, number));
        }
    }

    #[test]
    fn a_stamp_is_found_wherever_it_is_and_remembered_there() {
        let stamp = Stamp { room: 7, publisher: 1, sequence: 123_456, due_us: u32::MAX };
        let text = MARK.encode(&stamp);
        for before in [0, 1, 39, 200] {
            let payload = [&vec![b'x'; before][..], &text, b"tail"].concat();
            let mut at = 0;
            assert_eq!(MARK.find(&payload, &mut at), Some(stamp));
            assert_eq!(at, before);
            assert_eq!(MARK.find(&payload, &mut at), Some(stamp));
        }
    }

    #[test]
    fn what_is_cut_or_of_another_run_is_no_stamp() {
        let stamp = Stamp { room: 0, publisher: 0, sequence: 0, due_us: 0 };
        let text = MARK.encode(&stamp);
        for len in 0..STAMP_BYTES {
            assert_eq!(MARK.find(&text[..len], &mut 0), None, "{len}");
        }
        assert_eq!(Mark(*b"FANother").find(&text, &mut 0), None);
    }
}
