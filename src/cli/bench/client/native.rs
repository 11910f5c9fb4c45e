//! What the load tester speaks of the native protocol: joining, publishing, and where contents lie
//! in what comes.
//!
//! Not here: a parser. Invariants: a frame is scanned, never parsed; a content of the published
//! length is found by arithmetic; whatever came as a message and can't be read has no content, and
//! so no stamp.

use super::draft::Draft;
use memchr::memmem;
use serde_json::{Value, json};

/// What is spoken in rooms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// A message is its payload
    Raw,
    /// `fanfare.v1.json`: a message is a JSON object
    Json,
    /// `fanfare.v1.bin`: a message is a record
    Binary,
}

/// What is said while somebody joins.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// They are a member; the room's handle.
    Joined(u64),
    /// They are not, and why.
    Refused(String),
    /// Something else.
    Other,
}

/// With the envelope in front, the stamp is in these bytes.
const LOOK_ENVELOPED: usize = 1_024;
/// Frames with several messages are looked at as a whole.
const LOOK_WHOLE: usize = 64 * 1024 * 1024;

const MESSAGE: &[u8] = br#"{"type":"room-message","#;
const BATCH: &[u8] = br#"{"type":"message-batch","#;
const ERROR: &[u8] = br#"{"type":"error","#;
/// What a text that is no record begins with, which no record does: 34 is no operation.
const TEXT: &[u8] = br#"{""#;
/// What is in front of a content, and behind it.
const CONTENT: &[u8] = br#""content":""#;
const END: &[u8] = br#""}"#;

/// The operation of a record that is a message.
const OP_MESSAGE: u8 = 1;
const FLAG_REQUEST: u8 = 1;
const FLAG_HANDLE: u8 = 2;
const FLAG_SEQ: u8 = 4;

impl Protocol {
    /// What the handshake asks for.
    pub(crate) const fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::Raw => None,
            Self::Json => Some("fanfare.v1.json"),
            Self::Binary => Some("fanfare.v1.bin"),
        }
    }

    /// The path of a room, or of all rooms.
    pub(crate) const fn path_template(self) -> &'static str {
        match self {
            Self::Raw => "/raw/{room}",
            Self::Json | Self::Binary => "/ws",
        }
    }

    /// Bytes of each frame that must be looked at; `None` where the stamp's own suffice.
    pub(crate) const fn look(self, batch: bool) -> Option<usize> {
        match (self, batch) {
            (Self::Raw, _) => None,
            (Self::Json, false) => Some(LOOK_ENVELOPED),
            (Self::Json, true) | (Self::Binary, _) => Some(LOOK_WHOLE),
        }
    }

    /// Hands each content in a frame of `bytes` bytes, of which `front` is there, to `see`: its
    /// front and its length. `size` is the length that it should have.
    pub(crate) fn contents(
        self,
        front: &[u8],
        bytes: u64,
        size: usize,
        mut see: impl FnMut(&[u8], u64),
    ) {
        match self {
            Self::Raw => see(front, bytes),
            Self::Binary if !front.starts_with(TEXT) => records(front, &mut see),
            Self::Json | Self::Binary => texts(front, bytes, size, &mut see),
        }
    }
}

/// Contents of a text.
fn texts(front: &[u8], bytes: u64, size: usize, see: &mut impl FnMut(&[u8], u64)) {
    if front.starts_with(MESSAGE) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        match content_of(front, bytes, size).or_else(|| search(front, bytes)) {
            Some((content, bytes)) => see(content, bytes),
            None => see(&[], 0),
        }
    } else if front.starts_with(BATCH) {
        batch(front, see);
    } else if front.starts_with(ERROR) {
        see(&[], 0);
    }
}

/// The content that ends the only message of a frame, if it has that size.
fn content_of(front: &[u8], bytes: usize, size: usize) -> Option<(&[u8], u64)> {
    let at = bytes.checked_sub(size.checked_add(END.len())?)?;
    let (before, content) = front.split_at_checked(at)?;
    before.ends_with(CONTENT).then_some((content, size as u64))
}

/// The same of any size.
#[cold]
fn search(front: &[u8], bytes: usize) -> Option<(&[u8], u64)> {
    let at = memmem::find(front, CONTENT)? + CONTENT.len();
    Some((front.get(at..)?, bytes.checked_sub(at + END.len())? as u64))
}

/// Contents of several messages. They have no quotation marks in them: ours never do.
fn batch(front: &[u8], see: &mut impl FnMut(&[u8], u64)) {
    let mut rest = front;
    while let Some(at) = memmem::find(rest, CONTENT) {
        rest = rest.get(at + CONTENT.len()..).unwrap_or_default();
        let Some(bytes) = memchr::memchr(b'"', rest) else { return see(&[], 0) };
        let (content, after) = rest.split_at(bytes);
        see(content, bytes as u64);
        rest = after;
    }
}

/// Contents of records.
fn records(frame: &[u8], see: &mut impl FnMut(&[u8], u64)) {
    let mut rest = frame;
    while !rest.is_empty() {
        let Some((record, after)) = record(rest) else { return see(&[], 0) };
        if let Some(payload) = payload(record) {
            see(payload, payload.len() as u64);
        }
        rest = after;
    }
}

/// The first record less its length, and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// The payload of a record that is a message.
fn payload(record: &[u8]) -> Option<&[u8]> {
    let [OP_MESSAGE, flags, rest @ ..] = record else { return None };
    let mut rest = rest;
    for flag in [FLAG_REQUEST, FLAG_HANDLE, FLAG_SEQ] {
        if flags & flag != 0 {
            (_, rest) = varint(rest)?;
        }
    }
    Some(rest)
}

/// A number in groups of seven bits, the lowest first, and what follows.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (nth, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7F) << (7 * nth);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(nth + 1..)?));
        }
    }
    None
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// What makes a member of a connection. It asks for nothing that the measurement does not need.
pub(crate) fn join_request(room: &str) -> String {
    let join = json!({
        "type": "join-room", "id": 1, "room": room,
        "history": 0, "presence": false, "echo": true,
    });
    join.to_string()
}

/// What asks for several messages in one frame.
pub(crate) fn batch_request() -> String {
    json!({"type": "hello", "batch": true}).to_string()
}

/// What a text means to somebody who waits to join.
pub(crate) fn answer(text: &[u8]) -> Answer {
    let Ok(said) = serde_json::from_slice::<Value>(text) else { return Answer::Other };
    match (said["type"].as_str(), said["handle"].as_u64()) {
        (Some("room-joined"), Some(handle)) => Answer::Joined(handle),
        (Some("room-joined"), None) => Answer::Refused("room-joined has no handle".to_owned()),
        (Some("error"), _) => Answer::Refused(said.to_string()),
        (Some(_) | None, _) => Answer::Other,
    }
}

/// The message that publishes a text of `bytes` bytes in a room.
pub(crate) fn text_draft(room: &str, bytes: usize) -> Draft {
    let template = format!(
        r#"{{"type":"room-message","room":{},"content":"{{payload}}"}}"#,
        Value::from(room)
    );
    Draft::templated(&template, room, bytes)
}

/// The same as a record, to the room with that handle.
pub(crate) fn record_draft(handle: u64, bytes: usize) -> Draft {
    let mut head = vec![OP_MESSAGE, FLAG_HANDLE];
    push_varint(&mut head, handle);
    let mut whole = Vec::new();
    push_varint(&mut whole, (head.len() + bytes) as u64);
    whole.append(&mut head);
    Draft::headed(&whole, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &str = r#"{"type":"room-message","room":"r","epoch":"00000000000000aa","seq":7,"time":1,"sender":{"id":"guest-1","username":"guest"},"content":"0123456789"}"#;

    fn found(protocol: Protocol, frame: &[u8], size: usize) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        protocol.contents(frame, frame.len() as u64, size, |content, bytes| {
            let whole = content.get(..usize::try_from(bytes).expect("short")).expect("all of it");
            found.push((String::from_utf8_lossy(whole).into_owned(), bytes));
        });
        found
    }

    fn record_of(flags: u8, numbers: &[u64], payload: &[u8]) -> Vec<u8> {
        let mut body = vec![OP_MESSAGE, flags];
        numbers.iter().for_each(|number| push_varint(&mut body, *number));
        body.extend_from_slice(payload);
        let mut record = Vec::new();
        push_varint(&mut record, body.len() as u64);
        [record, body].concat()
    }

    #[test]
    fn the_content_of_a_message_is_found_whatever_its_size_should_be() {
        for size in [0, 5, 10, 11, 500, usize::MAX] {
            let contents = found(Protocol::Json, ITEM.as_bytes(), size);
            assert_eq!(contents, [("0123456789".to_owned(), 10)], "{size}");
        }
        let other = ITEM.replace("\"0123456789\"", "[1]");
        assert_eq!(found(Protocol::Json, other.as_bytes(), 10), [(String::new(), 0)]);
    }

    #[test]
    fn the_front_of_a_long_message_suffices() {
        let long = ITEM.replace("0123456789", &"x".repeat(5_000));
        let mut seen = Vec::new();
        let front = &long.as_bytes()[..LOOK_ENVELOPED];
        Protocol::Json.contents(front, long.len() as u64, 5_000, |content, bytes| {
            seen.push((content.starts_with(b"xxxx"), bytes));
        });
        assert_eq!(seen, [(true, 5_000)]);
    }

    #[test]
    fn a_batch_has_the_contents_of_its_messages() {
        let items = [ITEM, &ITEM.replace("0123456789", "abc"), ITEM].join(",");
        let frame = format!(r#"{{"type":"message-batch","room":"r","messages":[{items}]}}"#);
        let contents = found(Protocol::Json, frame.as_bytes(), 10);
        let (whole, short) = (("0123456789".to_owned(), 10), ("abc".to_owned(), 3));
        assert_eq!(contents, [whole.clone(), short, whole]);
    }

    #[test]
    fn notices_have_no_content_and_errors_are_told() {
        for text in [r#"{"type":"user-joined","room":"r","content":"x"}"#, r#"{"type":"welcome"}"#]
        {
            for protocol in [Protocol::Json, Protocol::Binary] {
                assert_eq!(found(protocol, text.as_bytes(), 1), []);
            }
        }
        let error = br#"{"type":"error","code":"rate-limited"}"#;
        assert_eq!(found(Protocol::Binary, error, 1), [(String::new(), 0)]);
    }

    #[test]
    fn all_records_of_a_frame_are_seen_and_damaged_ones_have_no_content() {
        let message = record_of(FLAG_HANDLE | FLAG_SEQ, &[1 << 40, 300], b"payload");
        let all = record_of(FLAG_REQUEST | FLAG_HANDLE | FLAG_SEQ | 0x20, &[1, 2, 3], &[b'y'; 200]);
        let ack = [3, 2, 0, 9];
        let frame = [&message[..], &ack, &all].concat();
        let contents = found(Protocol::Binary, &frame, 7);
        assert_eq!(contents, [("payload".to_owned(), 7), ("y".repeat(200), 200)]);
        for len in 1..message.len() {
            assert_eq!(found(Protocol::Binary, &message[..len], 7), [(String::new(), 0)], "{len}");
        }
        assert_eq!(found(Protocol::Binary, &[0xFF; 12], 7), [(String::new(), 0)]);
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in [0, 1, 127, 128, 300, (1 << 53) - 1] {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, number);
            bytes.push(b'x');
            assert_eq!(varint(&bytes), Some((number, &b"x"[..])), "{number}");
        }
        assert_eq!((varint(&[]), varint(&[0x80])), (None, None));
    }

    #[test]
    fn who_joined_knows_the_handle_and_who_did_not_knows_why() {
        let joined = br#"{"type":"room-joined","id":1,"room":"r","handle":77,"messages":[]}"#;
        assert_eq!(answer(joined), Answer::Joined(77));
        assert_eq!(answer(br#"{"type":"welcome"}"#), Answer::Other);
        assert_eq!(answer(b"\x01\x02"), Answer::Other);
        let refused = answer(br#"{"type":"error","code":"forbidden"}"#);
        assert!(
            matches!(&refused, Answer::Refused(why) if why.contains("forbidden")),
            "{refused:?}"
        );
    }
}
