//! Masking (RFC 6455 §5.3), eight bytes at a time.

/// Masks or unmasks `data`, whose first byte is byte number `offset` of its frame's payload.
///
/// Applying the same mask at the same offset twice changes nothing.
pub fn apply(mask: [u8; 4], offset: usize, data: &mut [u8]) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, tail) = data.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.3, word for word.
    fn reference(mask: [u8; 4], offset: usize, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte ^= mask[(offset + i) % 4];
        }
    }

    #[test]
    fn the_rfc_example_unmasks_to_hello() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply([0x37, 0xfa, 0x21, 0x3d], 0, &mut payload);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn every_length_alignment_and_offset_equals_the_reference() {
        let mut dice = fastrand::Rng::with_seed(1);
        let bytes: Vec<u8> = (0..96).map(|_| dice.u8(..)).collect();
        for start in 0..9 {
            for len in 0..=(bytes.len() - start) {
                for offset in [0, 1, 2, 3, 4, 7, usize::MAX - 3] {
                    let mask = dice.u32(..).to_ne_bytes();
                    let (mut fast, mut slow) = (bytes.clone(), bytes.clone());
                    apply(mask, offset, &mut fast[start..start + len]);
                    reference(mask, offset % 4, &mut slow[start..start + len]);
                    assert_eq!(fast, slow, "start {start}, len {len}, offset {offset}");
                }
            }
        }
    }

    #[test]
    fn pieces_at_their_offsets_equal_the_whole() {
        let mut dice = fastrand::Rng::with_seed(2);
        let bytes: Vec<u8> = (0..100).map(|_| dice.u8(..)).collect();
        let mask = [1, 2, 3, 4];
        let mut whole = bytes.clone();
        apply(mask, 0, &mut whole);
        for cut in 0..=bytes.len() {
            let mut pieces = bytes.clone();
            let (front, back) = pieces.split_at_mut(cut);
            apply(mask, 0, front);
            apply(mask, cut, back);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }
}
