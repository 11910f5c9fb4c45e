//! A message to be sent again and again, with a fresh stamp each time.

use super::stamp::{Mark, STAMP_BYTES, Stamp};
use crate::ws::{self, DataKind, Opcode};

/// What stands for the payload in a message template.
const PAYLOAD: &str = "{payload}";
/// What stands for the room's name in a template.
const ROOM: &str = "{room}";

/// What a message is made of beside its stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Content {
    /// Nothing but dots
    Dots,
    /// Text like a list of orders in JSON, which compresses as such documents do
    Json,
}

/// One room's message.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    opcode: Opcode,
    payload: Vec<u8>,
    stamp_at: usize,
}

impl Draft {
    /// A message of exactly `bytes` bytes, at least [`STAMP_BYTES`].
    pub(crate) fn plain(kind: DataKind, content: Content, bytes: usize) -> Self {
        let bytes = bytes.max(STAMP_BYTES);
        let payload = match content {
            Content::Dots => vec![b'.'; bytes],
            Content::Json => document(bytes),
        };
        Self { opcode: kind.opcode(), payload, stamp_at: 0 }
    }

    /// A text message: `template` with the room's name and `bytes` bytes filled in.
    pub(crate) fn templated(template: &str, room: &str, bytes: usize) -> Self {
        let text = fill(template, room);
        let filler = ".".repeat(bytes.max(STAMP_BYTES));
        let stamp_at = text.find(PAYLOAD).unwrap_or(0);
        let payload = text.replacen(PAYLOAD, &filler, 1).into_bytes();
        Self { opcode: Opcode::Text, payload, stamp_at }
    }

    /// A binary message: `head`, then `bytes` bytes, the stamp in front of them.
    pub(super) fn headed(head: &[u8], bytes: usize) -> Self {
        let payload = [head, &vec![b'.'; bytes.max(STAMP_BYTES)]].concat();
        Self { opcode: Opcode::Binary, payload, stamp_at: head.len() }
    }

    /// Appends the message as a masked frame with that stamp.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, mark: Mark, stamp: &Stamp, mask: [u8; 4]) {
        let rest = self.payload.get_mut(self.stamp_at..).unwrap_or_default();
        if let Some(place) = rest.first_chunk_mut() {
            *place = mark.encode(stamp);
        }
        ws::push_masked_frame(out, self.opcode, &self.payload, mask);
    }
}

/// Text like a list of orders in JSON, behind room for a stamp; the same for the same length.
fn document(bytes: usize) -> Vec<u8> {
    let mut dice = fastrand::Rng::with_seed(7);
    let mut text = ".".repeat(STAMP_BYTES);
    while text.len() < bytes {
        let (id, quantity, price) = (dice.u32(10_000..99_999), dice.u8(1..20), dice.u32(99..9_999));
        let state = dice.choice(["open", "paid", "shipped", "returned"]).unwrap_or_default();
        text.push_str(&format!(
            "{{\"order\":{id},\"quantity\":{quantity},\"price\":\"{}.{:02}\",\"state\":\"{state}\"}},",
            price / 100,
            price % 100
        ));
    }
    text.truncate(bytes);
    text.into_bytes()
}

/// `template` with the room's name filled in.
pub(crate) fn fill(template: &str, room: &str) -> String {
    template.replace(ROOM, room)
}

/// Takes `raw` as a message template, or says what would be one.
pub(crate) fn parse_template(raw: &str) -> Result<String, String> {
    match raw.matches(PAYLOAD).count() {
        1 => Ok(raw.to_owned()),
        found => Err(format!("a message template has {PAYLOAD} once, this one {found} times")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{Message, Reader, Role, Rsv1, Rules};

    const STAMP: Stamp = Stamp { room: 1, publisher: 2, sequence: 3, due_us: 4 };

    /// What a server reads.
    fn sent(draft: &mut Draft, mark: Mark) -> (DataKind, Vec<u8>) {
        let mut wire = Vec::new();
        draft.push(&mut wire, mark, &STAMP, [1, 2, 3, 4]);
        let rules = Rules { role: Role::Server, rsv1: Rsv1::Reserved, message_bytes_max: 1 << 20 };
        match Reader::default().read(&mut wire, &rules).expect("a frame").message {
            Some(Message::Data { kind, payload }) => (kind, payload.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_message_has_its_size_and_its_stamp_in_front() {
        let mark = Mark::new(&mut fastrand::Rng::with_seed(1));
        for bytes in [STAMP_BYTES, 128, 70_000] {
            let (kind, payload) =
                sent(&mut Draft::plain(DataKind::Binary, Content::Json, bytes), mark);
            assert_eq!((kind, payload.len()), (DataKind::Binary, bytes));
            let mut at = 0;
            assert_eq!((mark.find(&payload, &mut at), at), (Some(STAMP), 0));
        }
    }

    #[test]
    fn a_template_is_filled_and_its_stamp_is_found_within() {
        let template =
            parse_template(r#"{"room":"{room}","text":"{payload}"}"#).expect("a payload");
        let mark = Mark::new(&mut fastrand::Rng::with_seed(1));
        let (kind, payload) = sent(&mut Draft::templated(&template, "lobby", 100), mark);
        let text = String::from_utf8(payload).expect("text");
        assert_eq!(kind, DataKind::Text);
        assert!(text.starts_with(r#"{"room":"lobby","text":"FAN"#) && text.ends_with("...\"}"));
        assert_eq!(mark.find(text.as_bytes(), &mut 0), Some(STAMP));
        assert!(parse_template("{}").is_err() && parse_template("{payload}{payload}").is_err());
    }
}
