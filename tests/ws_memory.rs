//! What a `ws::Reader` holds: nothing at rest, what was received plus a constant otherwise.

use fanfare::limits::SPILL_SLACK_BYTES;
use fanfare::ws::{
    FrameHeader, Message, Opcode, Payload, Reader, Role, Rsv1, Rules, apply_mask, push_masked_frame,
};

const RULES: Rules =
    Rules { role: Role::Server, rsv1: Rsv1::Compressed, message_bytes_max: 1 << 20 };
const MASK: [u8; 4] = [0xa1, 0x02, 0x7f, 0xff];
/// What a reader may hold beyond the payload that it received and its slack.
const CONSTANT: usize = 512;

fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let payload_len = payload.len() as u64;
    FrameHeader { fin, opcode, compressed: false, mask: Some(MASK), payload_len }.encode(&mut out);
    let start = out.len();
    out.extend(payload);
    apply_mask(MASK, 0, &mut out[start..]);
    out
}

/// Reads `wire`, which must be legal and finish no message.
fn take_in(reader: &mut Reader, wire: &mut [u8], rules: &Rules) {
    let step = reader.read(wire, rules).expect("legal");
    assert!(step.message.is_none(), "{step:?}");
}

#[test]
fn what_was_only_announced_costs_nothing() {
    let rules = Rules { message_bytes_max: usize::MAX, ..RULES };
    let mut huge = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
    let mut reader = Reader::default();
    take_in(&mut reader, &mut huge, &rules);
    assert!(reader.held_bytes() <= CONSTANT, "{}", reader.held_bytes());
    take_in(&mut reader, &mut [5], &rules);
    assert!(reader.held_bytes() <= SPILL_SLACK_BYTES + CONSTANT, "{}", reader.held_bytes());
}

#[test]
fn announced_lengths_whose_sum_is_beyond_63_bits_do_not_wrap() {
    let rules = Rules { message_bytes_max: usize::MAX, ..RULES };
    let mut reader = Reader::default();
    take_in(&mut reader, &mut frame(false, Opcode::Binary, b"12"), &rules);
    let mut more = [0x80, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 5];
    take_in(&mut reader, &mut more, &rules);
    let mut reader = Reader::default();
    take_in(&mut reader, &mut frame(false, Opcode::Binary, b"12"), &RULES);
    assert!(reader.read(&mut more, &RULES).is_err());
}

#[test]
fn tiny_fragments_cost_what_they_carry_plus_a_constant() {
    let mut reader = Reader::default();
    take_in(&mut reader, &mut frame(false, Opcode::Text, b"x"), &RULES);
    for received in 2..=300_000_usize {
        take_in(&mut reader, &mut frame(false, Opcode::Continuation, b"x"), &RULES);
        // One part in 64 is the list of segments.
        let bound = received + received / 64 + SPILL_SLACK_BYTES + CONSTANT;
        assert!(reader.held_bytes() <= bound, "{} for {received}", reader.held_bytes());
    }
    let mut last = frame(true, Opcode::Continuation, b"");
    let step = reader.read(&mut last, &RULES).expect("legal");
    let Some(Message::Data { payload: Payload::Owned(payload), .. }) = step.message else {
        panic!("{step:?}");
    };
    assert_eq!((payload.len(), payload.capacity()), (300_000, 300_000));
    assert_eq!(reader.held_bytes(), 0);
}

#[test]
fn forty_held_messages_of_16_000_fragments_move_less_than_two_mebibytes() {
    let mut readers: Vec<Reader> = (0..40).map(|_| Reader::default()).collect();
    for reader in &mut readers {
        take_in(reader, &mut frame(false, Opcode::Binary, b"x"), &RULES);
        let mut fragments = frame(false, Opcode::Continuation, b"x").repeat(16_000);
        take_in(reader, &mut fragments, &RULES);
    }
    let held: usize = readers.iter().map(Reader::held_bytes).sum();
    assert!((640_000..2 << 20).contains(&held), "{held}");
}

#[test]
fn nothing_is_held_after_a_message_or_an_error() {
    let mut wire = Vec::new();
    push_masked_frame(&mut wire, Opcode::Text, "né".repeat(50).as_bytes(), MASK);
    let mut reader = Reader::default();
    for cut in 1..wire.len() {
        let mut copy = wire.clone();
        let (front, back) = copy.split_at_mut(cut);
        take_in(&mut reader, front, &RULES);
        assert!(reader.held_bytes() > 0, "{cut}");
        assert!(reader.read(back, &RULES).is_ok_and(|step| step.message.is_some()), "{cut}");
        assert_eq!(reader.held_bytes(), 0, "{cut}");
    }
    take_in(&mut reader, &mut frame(false, Opcode::Text, b"open"), &RULES);
    assert!(reader.held_bytes() > 0);
    assert!(reader.read(&mut [0x83], &RULES).is_err());
    assert_eq!(reader.held_bytes(), 0);
}
