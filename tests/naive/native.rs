//! The native protocol read in the plainest way: a request as a tree of JSON, a frame byte by byte.
//! The twin of `protocol::json` and `protocol::binary` for `tests/native_laws.rs` and the fuzz
//! targets.

use fanfare::broker::{ErrorCode, PayloadKind, RoomHandle};
use fanfare::protocol::binary::{self, Op, Record};
use fanfare::protocol::json::{self, Ask, ErrorReply, Item, Mistake, Request, RequestId};
use serde_json::{Map, Value};

/// Any bytes as a request: it must be read as its tree says, and a mistake must be told in JSON.
pub(crate) fn check_json(payload: &[u8]) {
    let tree = serde_json::from_slice::<Value>(payload).ok();
    match json::decode(payload) {
        Ok(request) => {
            let tree = tree.as_ref().and_then(Value::as_object);
            check_request(&request, tree.expect("what was read is an object"));
        }
        Err(mistake) => check_mistake(&mistake, tree),
    }
}

fn check_request(request: &Request<'_>, tree: &Map<String, Value>) {
    let of = |names: &[&str]| names.iter().find_map(|name| tree.get(*name));
    let id = of(&["id"]).filter(|id| !id.is_null());
    assert_eq!(request.id.map(|id| tree_of(id.json())).as_ref(), id);
    if let Ask::Publish { content, .. }
    | Ask::Direct { content, .. }
    | Ask::Broadcast { content, .. } = &request.ask
    {
        assert_eq!(Some(&tree_of(content)), of(&["content", "text", "data", "message"]));
    }
    if let Ask::Publish { room, .. } | Ask::Join { room, .. } | Ask::Typing { room, .. } =
        &request.ask
    {
        assert_eq!(Some(&Value::from(&**room)), of(&["room", "roomId"]));
    }
}

fn check_mistake(mistake: &Mistake<'_>, tree: Option<Value>) {
    if let (ErrorCode::BadJson, Some(Value::Object(_))) = (mistake.code, &tree) {
        // A tree knows neither fields that are there twice nor our bounds.
        let ours = ["twice", "at most"].iter().any(|word| mistake.message.contains(word));
        assert!(ours, "{mistake:?}");
    }
    let ErrorReply { code, message, field, .. } = mistake.reply();
    let mut told = Vec::new();
    json::push_error(&mut told, &mistake.reply());
    assert!(told.len() < 2_048, "an error is bounded");
    let told: Value = serde_json::from_slice(&told).expect("an error is JSON");
    assert_eq!((&told["code"], &told["message"]), (&code.word().into(), &message.into()));
    assert_eq!(told.get("field"), field.map(Value::from).as_ref());
}

fn tree_of(json: &str) -> Value {
    serde_json::from_str(json).expect("what is passed on is JSON")
}

/// A request made of any parts is read back as those parts, and its item says them again.
pub(crate) fn check_publish(id: &str, room: &str, content: &str) {
    let [id_json, room_json, content_json] =
        [id, room, content].map(|text| Value::from(text).to_string());
    let request = format!(
        r#"{{"content":{content_json},"room":{room_json},"id":{id_json},"type":"message"}}"#
    );
    let Ok(request) = json::decode(request.as_bytes()) else {
        let is_name = fanfare::broker::RoomName::check(room).is_ok();
        assert!(!is_name || id_json.len() > RequestId::JSON_BYTES_MAX);
        return;
    };
    assert_eq!(request.id.map(RequestId::json), Some(&*id_json));
    let wanted =
        Ask::Publish { room: room.into(), content: &content_json, key: None, dedupe: None };
    assert_eq!(request.ask, wanted);
    // As text, so that our own way of writing strings is tried.
    let item = Item {
        room,
        epoch: 1,
        seq: 2,
        time_ms: 3,
        sender: b"{}",
        id: request.id,
        kind: PayloadKind::Text,
        payload: content.as_bytes(),
    };
    let mut out = Vec::new();
    json::push_item(&mut out, &item);
    let told: Value = serde_json::from_slice(&out).expect("an item is JSON");
    assert_eq!((&told["room"], &told["content"]), (&room.into(), &content.into()));
    assert_eq!(told["id"], Value::from(id));
}

/// Any bytes as a frame of records: read as byte by byte, and written again as they were.
pub(crate) fn check_binary(frame: &[u8]) {
    let (mut again, mut plain) = (Vec::new(), frame.iter().copied().peekable());
    for record in binary::decode(frame) {
        let naive = if plain.peek().is_some() { naive_record(&mut plain) } else { None };
        let Ok(record) = record else {
            assert_eq!(naive, None);
            return;
        };
        let wire = record.handle.map(RoomHandle::to_wire);
        let kind = record.kind as u8;
        let numbers = [record.request_id, wire, record.seq];
        assert_eq!(naive, Some((record.op, kind, numbers, record.payload.to_vec())));
        binary::push_record(&mut again, &Record { ..record });
    }
    assert_eq!(again, frame);
}

type NaiveRecord = (Op, u8, [Option<u64>; 3], Vec<u8>);

fn naive_record(bytes: &mut impl Iterator<Item = u8>) -> Option<NaiveRecord> {
    let length = usize::try_from(naive_number(bytes)?).ok()?;
    let body: Vec<u8> = bytes.take(length).collect();
    let mut body_bytes = body.iter().copied().take(length);
    let op = match (body.len() == length, body_bytes.next()?) {
        (true, 1) => Op::Message,
        (true, 2) => Op::Ack,
        (true, 3) => Op::Error,
        _ => return None,
    };
    let flags = body_bytes.next()?;
    // As `PayloadKind` lists them: text, binary, JSON.
    let kind = match flags >> 3 {
        0 => 1,
        2 => 0,
        4 => 2,
        _ => return None,
    };
    let mut numbers = [None; 3];
    for (bit, number) in numbers.iter_mut().enumerate() {
        if flags >> bit & 1 == 1 {
            *number = Some(naive_number(&mut body_bytes)?);
        }
    }
    let is_handle = numbers[1].is_none_or(|wire| wire < 1 << 53);
    is_handle.then(|| (op, kind, numbers, body_bytes.collect()))
}

fn naive_number(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0_u128;
    for place in 0..10 {
        let byte = bytes.next()?;
        number += u128::from(byte % 128) << (7 * place);
        if byte < 128 {
            return u64::try_from(number).ok().filter(|_| byte != 0 || place == 0);
        }
    }
    None
}
