//! Laws of the room `ws`, over its public face: splits don't matter, the reader equals a naive
//! twin, errors come at the first byte that proves them, memory follows what was received.

#[path = "naive/ws.rs"]
mod naive;

use fanfare::limits::EMPTY_FRAGMENTS_MAX;
use fanfare::ws::{
    self, DataKind, FrameHeader, Opcode, ProtocolError, Role, Rsv1, Rules, push_masked_frame,
};
use naive::{Event, parse, read};
use std::{fs, iter};

const SERVER: Rules =
    Rules { role: Role::Server, rsv1: Rsv1::Compressed, message_bytes_max: 1 << 20 };
const CLIENT: Rules = Rules { role: Role::Client, ..SERVER };

/// Appends a frame as the peer of `role` sends it, legal or not.
fn push(out: &mut Vec<u8>, role: Role, fin: bool, opcode: Opcode, payload: &[u8]) {
    push_rsv1(out, role, (fin, false), opcode, payload);
}

/// As [`push`], with RSV1 as `bits` have it behind FIN.
fn push_rsv1(out: &mut Vec<u8>, role: Role, bits: (bool, bool), opcode: Opcode, payload: &[u8]) {
    let ((fin, compressed), key) = (bits, [0x9c, 0x00, 0x7f, 0x80]);
    let mask = (role == Role::Server).then_some(key);
    let payload_len = payload.len() as u64;
    FrameHeader { fin, opcode, compressed, mask, payload_len }.encode(out);
    let start = out.len();
    out.extend(payload);
    if mask.is_some() {
        ws::apply_mask(key, 0, &mut out[start..]);
    }
}

fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, Role::Server, fin, opcode, payload);
    out
}

/// A bit of everything that is legal, and what it says.
fn rich_wire(role: Role) -> (Vec<u8>, Vec<Event>) {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    let long = "é€😀".repeat(40);
    let (plain, rsv1) = (false, true);
    let frames: [(bool, bool, Opcode, &[u8]); 23] = [
        (true, plain, Text, "κόσμε".as_bytes()),
        (true, plain, Text, b""),
        (true, plain, Binary, &[0xff; 125]),
        (false, plain, Text, b"cut \xf0\x9f"),
        (true, plain, Ping, b"in between"),
        (false, plain, Continuation, b""),
        (false, plain, Continuation, b"\x98"),
        (true, plain, Pong, &[7; 125]),
        (true, plain, Continuation, b"\x80 through"),
        (false, plain, Binary, b""),
        (true, plain, Ping, b""),
        (true, plain, Continuation, b""),
        (true, plain, Text, long.as_bytes()),
        (false, plain, Binary, &[0xc3; 126]),
        (true, plain, Continuation, &[0x28; 130]),
        (true, plain, Ping, b"last"),
        (true, plain, Binary, b"x"),
        (true, rsv1, Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
        (false, rsv1, Binary, b"\xff"),
        (false, plain, Continuation, b""),
        (true, plain, Ping, b"?"),
        (true, plain, Continuation, &[0xfe; 200]),
        (true, plain, Close, b"\x03\xe9going \xc3\xa9"),
    ];
    let mut wire = Vec::new();
    for (fin, rsv1, opcode, payload) in frames {
        push_rsv1(&mut wire, role, (fin, rsv1), opcode, payload);
    }
    let text = |text: &str| Event::Data(DataKind::Text, text.into());
    let binary = |bytes: &[u8]| Event::Data(DataKind::Binary, bytes.into());
    let events = vec![
        text("κόσμε"),
        text(""),
        binary(&[0xff; 125]),
        Event::Ping(b"in between".into()),
        Event::Pong(vec![7; 125]),
        text("cut 😀 through"),
        Event::Ping(Vec::new()),
        binary(b""),
        text(&long),
        binary(&[[0xc3; 126].as_slice(), &[0x28; 130]].concat()),
        Event::Ping(b"last".into()),
        binary(b"x"),
        Event::Compressed(DataKind::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00".into()),
        Event::Ping(b"?".into()),
        Event::Compressed(DataKind::Binary, [[0xff].as_slice(), &[0xfe; 200]].concat()),
        Event::Close(Some(1001), "going é".into()),
    ];
    (wire, events)
}

/// Sizes of pieces: often tiny, sometimes large.
fn random_sizes(dice: &mut fastrand::Rng) -> impl Iterator<Item = usize> + use<> {
    let up_to = *dice.choice(&[1, 2, 4, 16, 200, 5_000]).expect("not empty") + 1;
    let mut dice = dice.fork();
    iter::repeat_with(move || dice.usize(..up_to)).take(2_000)
}

/// Frames in a mostly legal order, some of them then damaged, some cut off.
fn random_wire(dice: &mut fastrand::Rng, role: Role) -> Vec<u8> {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    const TEXTS: [&[u8]; 8] =
        [b"", b"a", "é".as_bytes(), "😀".as_bytes(), b"\xe2\x82", b"\xac", b"\xed\xa0", b"\xff"];
    let (mut wire, mut open) = (Vec::new(), false);
    for _ in 0..dice.usize(1..10) {
        let opcode = match dice.u8(..20) {
            0..=3 => *dice.choice(&[Ping, Pong]).expect("not empty"),
            4 => Close,
            5 => *dice.choice(&[Text, Binary, Continuation]).expect("not empty"),
            _ if open => Continuation,
            6..=14 => Text,
            _ => Binary,
        };
        let fin = opcode.is_control() || dice.u8(..10) < 6;
        open = if opcode.is_control() { open } else { !fin };
        let payload: Vec<u8> = match (opcode, dice.u8(..10)) {
            (Close, _) => dice
                .choice([&b""[..], b"\x03\xe8", b"\x03\xe8ok", b"\x03\xed", b"\x03\xe8\xc3"])
                .expect("not empty")
                .to_vec(),
            (Ping | Pong, _) => vec![b'p'; dice.usize(..126)],
            (Text | Binary | Continuation, 0) => vec![b'x'; dice.usize(100..300)],
            (Text | Binary | Continuation, 1) => vec![b'y'; dice.usize(65_530..65_540)],
            (Text | Binary | Continuation, nasty) => {
                let kinds = if nasty < 9 { 4 } else { TEXTS.len() };
                (0..dice.usize(..6)).flat_map(|_| TEXTS[dice.usize(..kinds)].to_vec()).collect()
            }
        };
        let begins = matches!(opcode, Text | Binary) || dice.u8(..50) == 0;
        let compressed = begins && dice.u8(..4) == 0;
        push_rsv1(&mut wire, role, (fin, compressed), opcode, &payload);
    }
    if dice.bool() {
        for _ in 0..dice.usize(..4) {
            let at = dice.usize(..wire.len().min(300));
            wire[at] ^= 1 << dice.u8(..8);
        }
    }
    if dice.u8(..4) == 0 {
        wire.truncate(dice.usize(..wire.len()));
    }
    wire
}

#[test]
fn every_single_split_yields_the_same_messages() {
    for rules in [SERVER, CLIENT] {
        let (wire, events) = rich_wire(rules.role);
        assert_eq!(parse(&wire, &rules), events, "the naive twin");
        for cut in 0..=wire.len() {
            assert_eq!(read(&wire, iter::once(cut), &rules), events, "cut at {cut}");
        }
        assert_eq!(read(&wire, iter::repeat_n(1, wire.len()), &rules), events, "byte by byte");
    }
}

#[test]
fn any_split_yields_the_same_messages() {
    let (wire, events) = rich_wire(Role::Server);
    for seed in 0..2_000 {
        let sizes = random_sizes(&mut fastrand::Rng::with_seed(seed));
        assert_eq!(read(&wire, sizes, &SERVER), events, "seed {seed}");
    }
}

#[test]
fn any_split_of_any_wire_reads_as_the_naive_twin_does() {
    let mut breaches = 0;
    for seed in 0..4_000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let role = if dice.bool() { Role::Server } else { Role::Client };
        let message_bytes_max = *dice.choice(&[10, 200, 1 << 20]).expect("not empty");
        let rsv1 = if dice.u8(..5) == 0 { Rsv1::Reserved } else { Rsv1::Compressed };
        let rules = Rules { role, rsv1, message_bytes_max };
        let wire = random_wire(&mut dice, role);
        let expected = parse(&wire, &rules);
        breaches += usize::from(matches!(expected.last(), Some(Event::Breach(_))));
        assert!(read(&wire, iter::empty(), &rules) == expected, "seed {seed}, whole");
        let split = read(&wire, random_sizes(&mut dice), &rules);
        assert!(split == expected, "seed {seed}, split: {split:?} is not {expected:?}");
    }
    assert!((1_000..3_500).contains(&breaches), "{breaches} of 4,000 wires were bad");
}

#[test]
fn fuzz_seeds_read_as_the_naive_twin_does() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/ws_reader");
    let mut checked = 0;
    for seed in fs::read_dir(seeds).expect("seeds are committed") {
        let seed = seed.expect("a directory that can be read").path();
        naive::check(&fs::read(&seed).expect("a seed that can be read"));
        checked += 1;
    }
    assert!(checked >= 10, "{checked} seeds");
}

#[test]
fn what_is_written_is_read_at_every_length_where_the_header_changes() {
    for len in [0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537] {
        let payload: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
        let expected = [Event::Data(DataKind::Binary, payload.clone())];
        let mut masked = Vec::new();
        push_masked_frame(&mut masked, Opcode::Binary, &payload, [1, 2, 3, 4]);
        let mut bare = Vec::new();
        ws::push_frame(&mut bare, Opcode::Binary, &payload);
        for (wire, rules) in [(masked, SERVER), (bare, CLIENT)] {
            assert!(read(&wire, iter::empty(), &rules) == expected, "{len} whole");
            for cut in (0..wire.len().min(20)).chain([wire.len() - 1]) {
                assert!(read(&wire, iter::once(cut), &rules) == expected, "{len} cut at {cut}");
            }
        }
    }
}

#[test]
fn every_error_comes_at_the_first_byte_that_proves_it() {
    use ProtocolError::*;
    let rules = Rules { message_bytes_max: 300, ..SERVER };
    let text = |payload: &[u8]| frame(true, Opcode::Text, payload);
    let open = |payload: &[u8]| frame(false, Opcode::Text, payload);
    let deflated = |payload: &[u8]| {
        let mut out = Vec::new();
        push_rsv1(&mut out, Role::Server, (false, true), Opcode::Text, payload);
        out
    };
    let more = |payload: &[u8]| frame(false, Opcode::Continuation, payload);
    let last = |payload: &[u8]| frame(true, Opcode::Continuation, payload);
    let close = |payload: &[u8]| frame(true, Opcode::Close, payload);
    let empty = more(b"").repeat(usize::from(EMPTY_FRAGMENTS_MAX) + 1);
    // Each wire ends with the byte that proves the breach.
    for (wire, expected) in [
        (vec![0xC0], ReservedBits),
        (vec![0xC9], ReservedBits),
        (vec![0xC3], ReservedBits),
        (vec![0xD1], ReservedBits),
        ([deflated(b"a"), vec![0x40]].concat(), ReservedBits),
        ([deflated(b"a"), vec![0xC0]].concat(), ReservedBits),
        ([deflated(b"a"), vec![0xC1]].concat(), InterruptedMessage),
        // What is compressed may have an eighth more on the wire, and a little.
        (vec![0xC1, 0xFE, 0x01, 0x92], MessageTooBig),
        ([deflated(&[0; 401]), vec![0x80, 0x81]].concat(), MessageTooBig),
        ([text(b"fine"), vec![0xA2]].concat(), ReservedBits),
        (vec![0x87], ReservedOpcode),
        (vec![0x09], FragmentedControl),
        (vec![0x8A, 0xFE], LongControl),
        (vec![0x81, 0x00], UnmaskedFrame),
        (vec![0x82, 0xFE, 0, 125], LengthNotMinimal),
        (vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0], LengthNotMinimal),
        (vec![0x82, 0xFF, 0x80], LengthTopBit),
        (vec![0x80], UnexpectedContinuation),
        ([open(b"a"), vec![0x81]].concat(), InterruptedMessage),
        ([open(b"a"), vec![0x02]].concat(), InterruptedMessage),
        (vec![0x88, 0x81], BadCloseLength),
        (close(b"\x03\xed"), BadCloseCode),
        (close(b"\x03\xe8\xff"), BadUtf8),
        (vec![0x82, 0xFE, 0x02], MessageTooBig),
        (vec![0x82, 0xFE, 0x01, 0x2D], MessageTooBig),
        (vec![0x82, 0xFF, 0, 0, 0, 0, 0, 1], MessageTooBig),
        ([open(&[b'a'; 200]), vec![0x80, 0x80 | 101]].concat(), MessageTooBig),
        ([open(b"a"), empty].concat(), EmptyFragments),
        (text(b"ab\xff"), BadUtf8),
        (text(b"ab\xe2\x82"), BadUtf8),
        (text(b"ab\xed\xa0\x80 and so on")[..10].to_vec(), BadUtf8),
        (open(b"ab\xf4\x90\x80\x80")[..10].to_vec(), BadUtf8),
        ([open(b"\xe2"), more(b"\x82"), more(b"\x28")].concat(), BadUtf8),
        ([open(b"\xe2"), more(b""), last(b"\x82")].concat(), BadUtf8),
    ] {
        let at_once = read(&wire, iter::empty(), &rules);
        assert_eq!(at_once.last(), Some(&Event::Breach(expected)), "{wire:?}");
        let before = &wire[..wire.len() - 1];
        let early = read(before, iter::repeat_n(1, before.len()), &rules);
        let failed = early.iter().any(|event| matches!(event, Event::Breach(_)));
        assert!(!failed, "{expected:?} too early in {wire:?}");
        let bytewise = read(&wire, iter::repeat_n(1, wire.len()), &rules);
        assert_eq!(bytewise, at_once, "{wire:?}");
    }
}

#[test]
fn empty_fragments_are_counted_in_a_row() {
    let empty = frame(false, Opcode::Continuation, b"").repeat(EMPTY_FRAGMENTS_MAX.into());
    let start = frame(false, Opcode::Binary, b"a");
    let last = frame(true, Opcode::Continuation, b"");
    let more = frame(false, Opcode::Continuation, b"b");
    let served = [&start[..], &empty, &more, &empty, &last].concat();
    let expected = [Event::Data(DataKind::Binary, b"ab".into())];
    assert_eq!(read(&served, iter::empty(), &SERVER), expected);
    let refused = [start, empty, frame(false, Opcode::Continuation, b"")].concat();
    let expected = [Event::Breach(ProtocolError::EmptyFragments)];
    assert_eq!(read(&refused, iter::empty(), &SERVER), expected);
    assert_eq!(parse(&refused, &SERVER), expected);
}
