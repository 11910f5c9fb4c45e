//! Laws of compressed messages (RFC 7692): what is compressed is read back by decoders of other
//! hands and kept within its window; what is inflated equals a naive twin and keeps to its bound.

#[path = "naive/deflate.rs"]
mod naive;

use fanfare::limits::{DEFLATE_STREAMS_MAX, INFLATED_KEPT_BYTES, MESSAGE_BYTES_MAX};
use fanfare::ws::{
    Context, DataKind, Decoded, Deflated, Deflater, FrameHeader, Inflater, Level, Message,
    ProtocolError, Reader, Role, Rsv1, Rules, WindowClass, compressed_bytes_max,
};
use std::fs;
use std::io::Read as _;

const RULES: Rules =
    Rules { role: Role::Client, rsv1: Rsv1::Compressed, message_bytes_max: MESSAGE_BYTES_MAX };

/// The payload of the one compressed frame that `wire` is.
fn payload(wire: &[u8]) -> &[u8] {
    let decoded = FrameHeader::decode(wire, Role::Client, Rsv1::Compressed);
    let Ok(Decoded::Complete(header)) = decoded else { unreachable!("{decoded:?}") };
    assert!(header.fin && header.compressed, "{header:?}");
    let payload = &wire[header.header_bytes()..];
    assert_eq!(payload.len() as u64, header.payload_len);
    payload
}

fn frame(deflater: &mut Deflater, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let deflated = deflater.push_frame(&mut out, DataKind::Text, message);
    let expected =
        Deflated::Smaller { before: message.len(), after: out.len() - out_header_bytes(&out) };
    assert_eq!(deflated, expected);
    out
}

fn out_header_bytes(wire: &[u8]) -> usize {
    wire.len() - payload(wire).len()
}

fn inflated(compressed: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    let mut inflater = Inflater::new(Context::Reset);
    inflater.message(DataKind::Binary, compressed, MESSAGE_BYTES_MAX).map(<[u8]>::to_vec)
}

/// JSON-like text of about `len` bytes.
fn json(dice: &mut fastrand::Rng, len: usize) -> String {
    let mut text = String::from("[");
    while text.len() < len {
        let (user, price) = (dice.u32(..5_000), dice.u16(..));
        text.push_str(&format!(r#"{{"user":"u{user}","price":{price},"text":"so it is é"}},"#));
    }
    text.truncate(text.floor_char_boundary(len));
    text
}

/// Messages of many sizes and kinds.
fn messages(dice: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for len in [0, 1, 2, 20, 125, 126, 127, 250, 600, 4_096, 65_535, 65_536, 70_000, 1 << 20] {
        all.push(json(dice, len).into_bytes());
        if len < 100_000 {
            all.push((0..len).map(|_| dice.u8(..)).collect());
            all.push(vec![b'z'; len]);
            // Runs and noise in turns.
            let run = |dice: &mut fastrand::Rng| vec![dice.u8(..); dice.usize(1..400)];
            let mut mixed: Vec<u8> = (0..len / 100).flat_map(|_| run(dice)).collect();
            mixed.truncate(len);
            all.push(mixed);
        }
    }
    all
}

#[test]
fn the_rfc_examples_inflate_as_the_rfc_says() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for (compressed, expected) in [
        (&hello[..], &b"Hello"[..]),                                 // §7.2.3.1
        (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello"), // §7.2.3.3
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),             // §7.2.3.4
        (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello"), // §7.2.3.5
        (b"\x00", b""),                                              // §7.2.3.6
    ] {
        assert_eq!(inflated(compressed).as_deref(), Ok(expected), "{compressed:02x?}");
        assert_eq!(naive::inflate(compressed, 5).map(|seen| seen.bytes).as_deref(), Ok(expected));
    }
    // §7.2.3.2: the second message refers to the first, or is the same again.
    let mut kept = Inflater::new(Context::Kept);
    for compressed in [&hello[..], &[0xf2, 0x00, 0x11, 0x00, 0x00], &hello] {
        let message = kept.message(DataKind::Text, compressed, MESSAGE_BYTES_MAX);
        assert_eq!(message, Ok(&b"Hello"[..]), "{compressed:02x?}");
    }
    let reset = inflated(&[0xf2, 0x00, 0x11, 0x00, 0x00]);
    assert_eq!(reset, Err(ProtocolError::BadDeflate), "there is no first message");
}

#[test]
fn the_rfc_frames_read_as_the_rfc_says() {
    let whole = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec();
    let pieces = b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00".to_vec();
    for mut wire in [whole, pieces] {
        let mut reader = Reader::default();
        let step = reader.read(&mut wire, &RULES).expect("a message");
        let Some(Message::Compressed { kind: DataKind::Text, payload }) = step.message else {
            panic!("{step:?}");
        };
        assert_eq!(inflated(&payload).as_deref(), Ok(&b"Hello"[..]));
    }
}

#[test]
fn what_is_compressed_is_read_back_by_other_hands_within_its_window() {
    for (window, distance_max) in [(WindowClass::Small, 512), (WindowClass::Full, 32_768)] {
        for level in [1, 3, 6, 9] {
            let mut dice = fastrand::Rng::with_seed(u64::from(level));
            let level = Level::new(level).expect("1 to 9");
            let mut deflater = Deflater::new(window, level, Context::Reset);
            let mut inflater = Inflater::new(Context::Reset);
            let (mut farthest, mut smaller) = (0, 0);
            for message in messages(&mut dice) {
                let mut wire = b"before".to_vec();
                let deflated = deflater.push_frame(&mut wire, DataKind::Binary, &message);
                let Deflated::Smaller { before, after } = deflated else {
                    assert_eq!(wire, b"before", "{} bytes", message.len());
                    continue;
                };
                smaller += 1;
                let compressed = payload(&wire[6..]);
                assert_eq!((before, after), (message.len(), compressed.len()));
                assert!(after < before);
                let seen = inflater.message(DataKind::Binary, compressed, MESSAGE_BYTES_MAX);
                assert!(seen == Ok(&message), "{before} bytes, {level:?}, {window:?}");
                let stream = [compressed, &[0, 0, 0xff, 0xff]].concat();
                let mut by_miniz = Vec::new();
                let decoder = flate2::read::DeflateDecoder::new(&stream[..]);
                let read = decoder.take(before as u64).read_to_end(&mut by_miniz);
                assert!(read.is_ok() && by_miniz == message, "{before} bytes: {read:?}");
                if before > 100_000 && level != Level::MIN {
                    continue; // The plainest way takes its time.
                }
                let naive = naive::inflate(compressed, before).expect("what was compressed");
                assert!(naive.bytes == message, "{before} bytes, {level:?}, {window:?}");
                farthest = farthest.max(naive.distance_max);
            }
            assert!(smaller >= 25, "{smaller} were compressed");
            assert!(
                (distance_max / 4..=distance_max).contains(&farthest),
                "{farthest}: {window:?}"
            );
        }
    }
}

#[test]
fn a_kept_context_is_read_by_a_kept_one() {
    for window in [WindowClass::Small, WindowClass::Full] {
        let mut dice = fastrand::Rng::with_seed(7);
        let mut deflater = Deflater::new(window, Level::MIN, Context::Kept);
        let mut inflater = Inflater::new(Context::Kept);
        let (mut again, mut first) = (usize::MAX, 0);
        for round in 0..3 {
            for message in messages(&mut dice) {
                let mut wire = Vec::new();
                let deflated = deflater.push_frame(&mut wire, DataKind::Binary, &message);
                let Deflated::Smaller { .. } = deflated else { continue };
                let seen = inflater.message(DataKind::Binary, payload(&wire), MESSAGE_BYTES_MAX);
                assert!(seen == Ok(&message), "{} bytes, round {round}", message.len());
                inflater.rest();
            }
        }
        for _ in 0..2 {
            let wire = frame(&mut deflater, &b"the same words, once and again".repeat(3));
            first = first.max(wire.len());
            again = wire.len();
            let seen = inflater.message(DataKind::Text, payload(&wire), MESSAGE_BYTES_MAX);
            assert!(seen.is_ok());
        }
        assert!(again < first, "{again} after {first}: it refers to the first");
    }
}

#[test]
fn a_reset_context_gives_the_same_bytes_whatever_came_before() {
    let message = json(&mut fastrand::Rng::with_seed(3), 2_000);
    let mut deflater = Deflater::new(WindowClass::Full, Level::MIN, Context::Reset);
    let fresh = frame(&mut deflater, message.as_bytes());
    for seed in 0..20 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let noise: Vec<u8> = (0..dice.usize(..100_000)).map(|_| dice.u8(..)).collect();
        let mut out = vec![1, 2, 3];
        assert_eq!(deflater.push_frame(&mut out, DataKind::Text, &noise), Deflated::NotSmaller);
        assert_eq!(out, [1, 2, 3]);
        assert_eq!(frame(&mut deflater, message.as_bytes()), fresh, "seed {seed}");
    }
}

#[test]
fn noise_without_end_breaks_no_compressor() {
    // zlib-rs 0.6 panics after some resets with output pending, if one lets it come to that.
    let mut dice = fastrand::Rng::with_seed(11);
    for window in [WindowClass::Small, WindowClass::Full] {
        for (level, context) in [(1, Context::Reset), (1, Context::Kept), (6, Context::Kept)] {
            let level = Level::new(level).expect("a level");
            let mut deflater = Deflater::new(window, level, context);
            let mut inflater = Inflater::new(context);
            for nth in 0..2_000 {
                let noise: Vec<u8> = (0..dice.usize(1..3_000)).map(|_| dice.u8(..)).collect();
                let text = json(&mut dice, 700).into_bytes();
                let mut out = Vec::new();
                let deflated = deflater.push_frame(&mut out, DataKind::Binary, &noise);
                assert_eq!((deflated, out.len()), (Deflated::NotSmaller, 0), "{nth}");
                if context == Context::Kept {
                    inflater = Inflater::new(context); // It never saw that.
                }
                let wire = frame(&mut deflater, &text);
                let read = inflater.message(DataKind::Binary, payload(&wire), 1 << 20);
                assert_eq!(read, Ok(text.as_slice()), "{window:?} {level:?} {nth}");
            }
        }
    }
}

#[test]
fn masked_frames_are_what_a_server_reads() {
    let mut deflater = Deflater::new(WindowClass::Full, Level::MAX, Context::Reset);
    for len in [120, 126, 200, 1_000, 70_000, 140_000] {
        let message = json(&mut fastrand::Rng::with_seed(len as u64), len);
        let mut wire = Vec::new();
        let deflated =
            deflater.push_masked_frame(&mut wire, DataKind::Text, message.as_bytes(), [9, 0, 7, 5]);
        assert!(matches!(deflated, Deflated::Smaller { .. }), "{len}");
        let rules = Rules { role: Role::Server, ..RULES };
        let step = Reader::default().read(&mut wire, &rules).expect("a frame");
        let Some(Message::Compressed { payload, .. }) = step.message else { panic!("{step:?}") };
        assert!(inflated(&payload).as_deref() == Ok(message.as_bytes()), "{len}");
    }
}

#[test]
fn streams_of_other_hands_inflate() {
    for seed in 0..3 {
        let mut dice = fastrand::Rng::with_seed(seed);
        for (index, message) in messages(&mut dice).into_iter().enumerate() {
            let level = flate2::Compression::new([1, 3, 6, 9][index % 4]);
            let mut compress = flate2::Compress::new(level, false);
            // A stream that was finished, and the byte that RFC 7692 §7.2.3.4 wants behind it.
            let mut stream = Vec::with_capacity(compressed_bytes_max(message.len()));
            let flush = flate2::FlushCompress::Finish;
            compress.compress_vec(&message, &mut stream, flush).expect("it compresses");
            assert!(stream.len() < stream.capacity(), "it fits what is allowed on the wire");
            assert!(inflated(&stream).as_ref() == Ok(&message), "seed {seed}: without the byte");
            stream.push(0);
            assert!(inflated(&stream).as_ref() == Ok(&message), "seed {seed}");
            // And two streams in a row are one message.
            let both = [&stream[..stream.len() - 1], &stream].concat();
            let bytes_max = 2 * MESSAGE_BYTES_MAX;
            let mut inflater = Inflater::new(Context::Reset);
            let seen = inflater.message(DataKind::Binary, &both, bytes_max);
            assert!(seen == Ok(&message.repeat(2)), "seed {seed}, twice");
        }
    }
}

#[test]
fn damaged_streams_inflate_as_the_naive_twin_does() {
    let (mut bad, mut big) = (0, 0);
    for seed in 0..3_000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let level = Level::new(dice.u8(1..=9)).expect("1 to 9");
        let mut deflater = Deflater::new(WindowClass::Full, level, Context::Reset);
        let text = json(&mut dice, 400);
        let message = &text.as_bytes()[..text.floor_char_boundary(dice.usize(60..=400))];
        let mut compressed = payload(&frame(&mut deflater, message)).to_vec();
        for _ in 0..dice.usize(..3) {
            let at = dice.usize(..compressed.len());
            compressed[at] ^= 1 << dice.u8(..8);
        }
        compressed.truncate(compressed.len() - dice.usize(..compressed.len()).saturating_sub(40));
        let mut input = vec![dice.u8(..)];
        input.extend(&compressed);
        naive::check(&input);
        match naive::inflate(&compressed, 300).map(|_| ()) {
            Ok(()) => {}
            Err(ProtocolError::MessageTooBig) => big += 1,
            Err(_) => bad += 1,
        }
    }
    assert!(bad > 500 && big > 200, "{bad} bad, {big} too big");
}

#[test]
fn every_prefix_of_a_message_is_judged_as_by_the_naive_twin() {
    let message = json(&mut fastrand::Rng::with_seed(5), 700);
    for level in [1, 6] {
        let level = Level::new(level).expect("1 to 9");
        let mut deflater = Deflater::new(WindowClass::Full, level, Context::Reset);
        let wire = frame(&mut deflater, message.as_bytes());
        let compressed = payload(&wire);
        for len in 0..compressed.len() {
            let cut = inflated(&compressed[..len]);
            let naive = naive::inflate(&compressed[..len], MESSAGE_BYTES_MAX);
            assert_eq!(cut, naive.map(|seen| seen.bytes), "{len}");
            assert!(len == 0 || cut.is_err(), "{len} of {}", compressed.len());
        }
    }
}

#[test]
fn fuzz_seeds_inflate_as_the_naive_twin_does() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/inflate");
    let mut checked = 0;
    for seed in fs::read_dir(seeds).expect("seeds are committed") {
        let seed = seed.expect("a directory that can be read").path();
        naive::check(&fs::read(&seed).expect("a seed that can be read"));
        checked += 1;
    }
    assert!(checked >= 8, "{checked} seeds");
}

#[test]
fn a_bomb_ends_one_byte_beyond_the_bound() {
    // A mebibyte of zeros in a kibibyte, 1,024 times.
    let mut zeros = Vec::with_capacity(1 << 11);
    let mut compress = flate2::Compress::new(flate2::Compression::new(9), false);
    let flush = flate2::FlushCompress::Full;
    compress.compress_vec(&vec![0; 1 << 20], &mut zeros, flush).expect("it compresses");
    let mut stream = zeros.repeat(1 << 10);
    stream.push(0);
    assert!(stream.len() <= compressed_bytes_max(MESSAGE_BYTES_MAX), "it gets that far");
    let mut inflater = Inflater::new(Context::Reset);
    let at_rest = inflater.heap_bytes();
    for bytes_max in [0, 1, 1_023, 1_024, INFLATED_KEPT_BYTES, MESSAGE_BYTES_MAX] {
        let refused = inflater.message(DataKind::Binary, &stream, bytes_max);
        assert_eq!(refused, Err(ProtocolError::MessageTooBig));
        assert!(inflater.heap_bytes() <= at_rest + INFLATED_KEPT_BYTES, "it lets go");
        // The largest message that is allowed passes, one byte more does not.
        let mut whole = Vec::with_capacity(bytes_max / 500 + 100);
        let mut compress = flate2::Compress::new(flate2::Compression::new(9), false);
        let flush = flate2::FlushCompress::Finish;
        compress.compress_vec(&vec![0; bytes_max], &mut whole, flush).expect("it compresses");
        let passed = inflater.message(DataKind::Binary, &whole, bytes_max).map(<[u8]>::len);
        assert_eq!(passed, Ok(bytes_max));
        assert!(inflater.heap_bytes() <= at_rest + (bytes_max + 1).max(INFLATED_KEPT_BYTES));
        let one_less = bytes_max.saturating_sub(1);
        let refused = inflater.message(DataKind::Binary, &whole, one_less).map(<[u8]>::len);
        assert_eq!(refused.is_err(), bytes_max > 0, "{bytes_max}");
        inflater.rest();
        assert!(inflater.heap_bytes() <= at_rest + INFLATED_KEPT_BYTES);
    }
}

#[test]
fn blocks_that_carry_nothing_are_taken_and_streams_that_do_are_counted() {
    let stored = [0x00, 0x00, 0x00, 0xff, 0xff].repeat(200_000);
    assert_eq!(inflated(&[&stored[..], &[0]].concat()).as_deref(), Ok(&b""[..]));
    // A stream costs more than a block: there may be only so many.
    let ended = [0x03, 0x00].repeat(500_000);
    assert_eq!(inflated(&ended), Err(ProtocolError::BadDeflate));
    let few = [0x03, 0x00].repeat(DEFLATE_STREAMS_MAX);
    assert_eq!(inflated(&few).as_deref(), Ok(&b""[..]));
}

#[test]
fn text_is_utf8_once_it_is_inflated() {
    let mut inflater = Inflater::new(Context::Reset);
    for (message, expected) in
        [(&b"\xe2\x82\xac"[..], true), (b"\xe2\x82", false), (b"\xff", false)]
    {
        let len = u8::try_from(message.len()).expect("short");
        let stored = [&[0, len, 0, !len, 0xff][..], message, &[0]].concat();
        let text = inflater.message(DataKind::Text, &stored, 100).map(<[u8]>::to_vec);
        let wanted = if expected { Ok(message.to_vec()) } else { Err(ProtocolError::BadUtf8) };
        assert_eq!(text, wanted);
        let binary = inflater.message(DataKind::Binary, &stored, 100);
        assert_eq!(binary, Ok(message));
    }
}

#[test]
fn the_breach_that_comes_first_is_the_one_that_counts() {
    // A block of three bytes, then one of no known kind.
    let bad = [0x4a, 0x4c, 0x4a, 0x06, 0x1c];
    for bytes_max in 0..5 {
        let mut inflater = Inflater::new(Context::Reset);
        let seen = inflater.message(DataKind::Binary, &bad, bytes_max).map(<[u8]>::to_vec);
        let naive = naive::inflate(&bad, bytes_max).map(|seen| seen.bytes);
        assert_eq!(seen, naive, "{bytes_max}");
        let too_big = seen == Err(ProtocolError::MessageTooBig);
        assert_eq!(too_big, bytes_max < 3, "{bytes_max}: {seen:?}");
    }
}
