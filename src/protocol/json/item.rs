//! A room's message as its JSON members get it: laid out once, for all of them and for the history.
//!
//! Invariant: the bytes of an item are the same alone, in a batch, in a join's reply and in a page
//! of history, so that what was laid out once can be sent in each of them without a copy.

use super::RequestId;
use super::write::{Object, push_epoch, push_number, push_text};
use crate::broker::{PayloadKind, User};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use std::borrow::Cow;
use std::ops::Range;

/// One message of a room.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Item<'a> {
    /// The room's name.
    pub room: &'a str,
    /// The room's epoch.
    pub epoch: u64,
    /// The message's number.
    pub seq: u64,
    /// When the room took it, in Unix milliseconds.
    pub time_ms: u64,
    /// Who sent it, as [`push_user`] writes it.
    pub sender: &'a [u8],
    /// The publisher's request.
    pub id: Option<RequestId<'a>>,
    /// What the payload is.
    pub kind: PayloadKind,
    /// The bytes as published; UTF-8 unless binary, one JSON value if that is what they are.
    pub payload: &'a [u8],
}

/// Appends an item. Returns where the sender lies, counted from the item's first byte.
pub fn push_item(out: &mut Vec<u8>, item: &Item<'_>) -> Range<usize> {
    let start = out.len();
    out.extend_from_slice(b"{\"type\":\"room-message\",\"room\":");
    push_text(out, item.room.as_bytes());
    out.extend_from_slice(b",\"epoch\":\"");
    push_epoch(out, item.epoch);
    out.extend_from_slice(b"\",\"seq\":");
    push_number(out, item.seq);
    out.extend_from_slice(b",\"time\":");
    push_number(out, item.time_ms);
    out.extend_from_slice(b",\"sender\":");
    let sender = out.len() - start;
    out.extend_from_slice(item.sender);
    let sender = sender..out.len() - start;
    if let Some(id) = item.id {
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id.json().as_bytes());
    }
    push_content(out, item.kind, item.payload);
    out.push(b'}');
    sender
}

/// Appends the last fields of an item: what it carries, and how if that is not plain.
fn push_content(out: &mut Vec<u8>, kind: PayloadKind, payload: &[u8]) {
    match kind {
        PayloadKind::Text => {
            out.extend_from_slice(b",\"content\":");
            push_text(out, payload);
        }
        PayloadKind::Json => {
            out.extend_from_slice(b",\"content\":");
            out.extend_from_slice(payload);
        }
        PayloadKind::Binary => {
            out.extend_from_slice(b",\"encoding\":\"base64\",\"content\":\"");
            out.extend_from_slice(BASE64_STANDARD.encode(payload).as_bytes());
            out.push(b'"');
        }
    }
}

/// Appends a user as others see it: `{"id":"…","username":"…"}`.
pub fn push_user(out: &mut Vec<u8>, user: &User) {
    push_person(out, user.id(), user.username());
}

/// The same from its parts, for a sender that is no user.
pub fn push_person(out: &mut Vec<u8>, id: &str, username: &str) {
    out.extend_from_slice(b"{\"id\":");
    push_text(out, id.as_bytes());
    out.extend_from_slice(b",\"username\":");
    push_text(out, username.as_bytes());
    out.push(b'}');
}

/// The id of a sender that [`push_user`] wrote; `None` for what it never writes.
pub fn sender_id(sender_json: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Sender<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    serde_json::from_slice(sender_json).ok().map(|Sender { id }| id)
}

/// Appends what stands before the items of a batch; [`push_list_tail`] goes behind them.
pub fn push_batch_head(out: &mut Vec<u8>, room: &str) {
    Object::open(out, "message-batch").text("room", room).open_list("messages");
}

/// Appends what stands behind the items of a batch, a join's reply or a page of history. The last
/// item has no comma behind it.
pub fn push_list_tail(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Role;
    use serde_json::json;

    const ITEM: Item<'_> = Item {
        room: "chat:1",
        epoch: 0xf00d,
        seq: 7,
        time_ms: 1_784_000_000_000,
        sender: br#"{"id":"42","username":"Ada"}"#,
        id: None,
        kind: PayloadKind::Json,
        payload: br#"{"a": [1]}"#,
    };

    fn written(item: &Item<'_>) -> String {
        let mut out = b"before".to_vec();
        let sender = push_item(&mut out, item);
        let item_bytes = out.split_off(6);
        assert_eq!(item_bytes.get(sender), Some(item.sender));
        String::from_utf8(item_bytes).expect("UTF-8")
    }

    #[test]
    fn the_order_of_fields_is_fixed_and_json_goes_as_it_came() {
        let expected = concat!(
            r#"{"type":"room-message","room":"chat:1","epoch":"000000000000f00d","seq":7,"#,
            r#""time":1784000000000,"sender":{"id":"42","username":"Ada"},"content":{"a": [1]}}"#
        );
        assert_eq!(written(&ITEM), expected);
        let item = Item { id: Some(RequestId::of_json("\"m-1\"")), ..ITEM };
        let expected = expected.replace(r#","content""#, r#","id":"m-1","content""#);
        assert_eq!(written(&item), expected);
    }

    #[test]
    fn text_becomes_a_string_and_bytes_become_base64() {
        let text = Item { kind: PayloadKind::Text, payload: "say \"hi\"\n".as_bytes(), ..ITEM };
        assert!(written(&text).ends_with(r#","content":"say \"hi\"\n"}"#));
        let bytes = Item { kind: PayloadKind::Binary, payload: b"\xff\0\x01", ..ITEM };
        assert!(written(&bytes).ends_with(r#","encoding":"base64","content":"/wAB"}"#));
    }

    #[test]
    fn names_with_special_characters_stay_json() {
        let item = Item { room: r#"a"b\c"#, ..ITEM };
        let read: serde_json::Value = serde_json::from_str(&written(&item)).expect("JSON");
        assert_eq!(read["room"], json!(r#"a"b\c"#));
    }

    #[test]
    fn a_batch_holds_the_items_as_they_are() {
        let mut out = Vec::new();
        push_batch_head(&mut out, ITEM.room);
        push_item(&mut out, &ITEM);
        push_list_tail(&mut out);
        let expected = format!(
            r#"{{"type":"message-batch","room":"chat:1","messages":[{}]}}"#,
            written(&ITEM)
        );
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn a_senders_id_reads_back() {
        for id in ["42", "Ü \"x\" \\"] {
            let mut json = Vec::new();
            push_user(&mut json, &User::new(id, "Ada", Role::Member).expect("a user"));
            assert_eq!(sender_id(&json).as_deref(), Some(id));
        }
        for never in ["", "{}", "[1]", r#"{"id":1}"#] {
            assert_eq!(sender_id(never.as_bytes()), None, "{never}");
        }
    }
}
