//! Numbers in seven bits a byte, the lowest first; the top bit says that another byte follows.
//!
//! Invariant: each number has one form, the shortest, so that what is decoded can be compared as
//! bytes.

/// Bytes of the longest number.
pub(super) const BYTES_MAX: usize = 10;

/// Reads a number at the front of `bytes`, and gives what is behind it; `None` if there is none, or
/// not in its shortest form.
pub(super) fn read(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        let low = u64::from(byte & 0x7F);
        // The tenth byte has one bit left.
        if place == BYTES_MAX - 1 && low > 1 {
            return None;
        }
        number |= low << (7 * place);
        if byte & 0x80 == 0 {
            let is_shortest = *byte != 0 || place == 0;
            return bytes.get(place + 1..).filter(|_| is_shortest).map(|rest| (number, rest));
        }
    }
    None
}

/// Appends a number.
#[expect(clippy::cast_possible_truncation, reason = "the seven lowest bits are meant")]
pub(super) fn push(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that [`push`] appends.
pub(super) const fn bytes(number: u64) -> usize {
    // Zero takes a byte as well.
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_as_written_in_as_many_bytes_as_told() {
        let powers = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]);
        for number in powers.chain([u64::MAX]) {
            let mut out = Vec::new();
            push(&mut out, number);
            assert_eq!(out.len(), bytes(number), "{number}");
            assert_eq!(read(&out), Some((number, &[][..])), "{number}");
            for end in 0..out.len() {
                assert_eq!(read(&out[..end]), None, "{number} cut at {end}");
            }
        }
    }

    #[test]
    fn what_is_not_the_shortest_form_or_beyond_64_bits_is_no_number() {
        let mut beyond = [0xFF; 10];
        beyond[9] = 0x02;
        for bad in [&[0x80, 0x00][..], &[0xFF, 0x80, 0x00], &[0x80; 11], &beyond] {
            assert_eq!(read(bad), None, "{bad:x?}");
        }
        assert_eq!(read(&[0x05, 0x80]), Some((5, &[0x80][..])));
    }
}
