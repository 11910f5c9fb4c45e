//! Each request, each alias, and each mistake with its code, its field and what else is told.

use super::*;
use crate::broker::Position;
use crate::limits::{DEDUPE_KEY_BYTES_MAX, POSITIONS_MAX, REQUEST_FIELDS_MAX, ROOM_NAME_BYTES_MAX};

fn ask(json: &str) -> Ask<'_> {
    decode(json.as_bytes()).expect(json).ask
}

fn mistake(json: &str) -> Mistake<'_> {
    decode(json.as_bytes()).expect_err(json)
}

const HERE: Position = Position { epoch: 0xf00d, seq: 7 };
const HERE_JSON: &str = r#"{"epoch":"000000000000f00d","seq":7}"#;

const ROOM: Cow<'_, str> = Cow::Borrowed("a");
const SESSION: &str = "0123456789abcdef0123456789abcdef";

/// Requests that have more fields than fit a line, from `type` on.
fn long_requests() -> Vec<(String, Ask<'static>)> {
    let hello = Hello {
        batch: Some(true),
        heartbeat: Some(false),
        presence: None,
        session: Some(SESSION.into()),
        positions: vec![(ROOM, HERE)],
    };
    let join = Ask::Join {
        room: ROOM,
        since: Some(HERE),
        history: Some(5),
        presence: Some(true),
        echo: Some(false),
    };
    let options = Created {
        history_messages: Some(5),
        presence: Some(PresenceMode::Diff),
        overflow: Some(Overflow::DropOldest),
        last_value: Some(true),
        echo: Some(false),
    };
    let create = concat!(
        r#""create-room","room":"a","options":{"historyMessages":5,"presence":"diff","#,
        r#""overflow":"drop-oldest","lastValue":true,"echo":false,"colour":"red"}"#
    );
    let publish = Ask::Publish {
        room: ROOM,
        content: r#"{"a": 1}"#,
        key: Some("k".into()),
        dedupe: Some("d".into()),
    };
    let prefix = Some("a:".into());
    let rooms = Ask::Rooms { prefix, limit: Some(LIST_ENTRIES_MAX), after: Some("a:1".into()) };
    let history = Ask::History { room: ROOM, limit: Some(5), before: Some(6), since: Some(HERE) };
    [
        (
            r#""hello","batch":true,"heartbeat":false,"session":SESSION,"positions":{"a":HERE}"#,
            Ask::Hello(Box::new(hello)),
        ),
        (r#""join-room","room":"a","since":HERE,"history":5,"presence":true,"echo":false"#, join),
        (create, Ask::Create { room: ROOM, options }),
        (r#""room-message","room":"a","content": {"a": 1} ,"key":"k","dedupe":"d""#, publish),
        (r#""get-rooms","prefix":"a:","limit":5000,"after":"a:1""#, rooms),
        (r#""get-history","room":"a","limit":5,"before":6,"since":HERE"#, history),
    ]
    .map(|(json, ask)| {
        (json.replace("HERE", HERE_JSON).replace("SESSION", &format!("\"{SESSION}\"")), ask)
    })
    .into()
}

/// The other requests, from `type` on.
fn short_requests() -> Vec<(String, Ask<'static>)> {
    let info = Some(r#"{"mood":1}"#);
    [
        (r#""auth","token":"t""#, Ask::Auth { token: "t".into() }),
        (r#""refresh","token":"t""#, Ask::Refresh { token: "t".into() }),
        (r#""leave-room","room":"a""#, Ask::Leave { room: ROOM }),
        (
            r#""direct-message","user":"42","content":[1]"#,
            Ask::Direct { user: "42".into(), content: "[1]" },
        ),
        (r#""broadcast","content":null"#, Ask::Broadcast { content: "null", echo: None }),
        (r#""typing","room":"a","isTyping":true"#, Ask::Typing { room: ROOM, is_typing: true }),
        (
            r#""receipt","room":"a","seq":7,"status":"read""#,
            Ask::Receipt { room: ROOM, seq: 7, status: ReceiptStatus::Read },
        ),
        (
            r#""presence","status":"away","info":{"mood":1}"#,
            Ask::Presence { status: Status::Away, info },
        ),
        (r#""get-room","room":"a""#, Ask::Room { room: ROOM }),
        (r#""get-members","room":"a""#, Ask::Members { room: ROOM, limit: None, after: None }),
        (
            r#""get-online-users","limit":1,"after":"42""#,
            Ask::OnlineUsers { limit: Some(1), after: Some("42".into()) },
        ),
        (r#""ping""#, Ask::Ping),
        (r#""heartbeat""#, Ask::Heartbeat),
    ]
    .map(|(json, ask)| (json.to_owned(), ask))
    .into()
}

#[test]
fn each_type_is_a_request_of_its_own() {
    let cases = [long_requests(), short_requests()].concat();
    for (json, wanted) in &cases {
        assert_eq!(ask(&format!("{{\"type\":{json}}}")), *wanted);
    }
    for kind in TYPES.split(", ") {
        let is_tried = cases.iter().any(|(json, _)| json.starts_with(&format!("\"{kind}\"")));
        assert!(is_tried, "{kind}");
    }
    assert_eq!(TYPES.split(", ").count(), cases.len());
}

#[test]
fn names_that_people_already_use_mean_the_same() {
    for (alias, kind) in [
        ("join_room", "join-room"),
        ("room:join", "join-room"),
        ("leave_room", "leave-room"),
        ("room:leave", "leave-room"),
        ("create_room", "create-room"),
        ("room:create", "create-room"),
        ("chat-message", "room-message"),
        ("chat:message", "room-message"),
        ("message", "room-message"),
    ] {
        for room in ["room", "roomId"] {
            for content in ["content", "text", "data", "message"] {
                let json = |kind| format!(r#"{{"type":"{kind}","{room}":"a","{content}":"hi"}}"#);
                let wanted = json(kind).replace("roomId", "room");
                let wanted = wanted.replace(&format!("\"{content}\":"), "\"content\":");
                assert_eq!(ask(&json(alias)), ask(&wanted), "{alias} {room} {content}");
            }
        }
    }
}

#[test]
fn ids_are_kept_as_they_came() {
    let longest = format!("\"{}\"", "x".repeat(REQUEST_ID_BYTES_MAX));
    for id in ["1", "-1.5", r#""a""#, r#""\u00e9""#, &longest] {
        let json = format!(r#"{{"type":"ping","id": {id} }}"#);
        let request = decode(json.as_bytes()).expect(id);
        assert_eq!(request.id.map(RequestId::json), Some(id));
    }
    assert_eq!(decode(br#"{"type":"ping","id":null}"#).expect("a ping").id, None);
    let long = format!(r#"{{"type":"ping","id":"{}x"}}"#, longest.trim_matches('"'));
    assert_eq!((mistake(&long).code, mistake(&long).field), (ErrorCode::TooLong, Some("id")));
    for bad in ["true", "[]", "{}"] {
        let json = format!(r#"{{"type":"ping","id":{bad}}}"#);
        assert_eq!(mistake(&json).field, Some("id"), "{bad}");
    }
}

#[test]
fn escapes_are_read_where_we_read_and_kept_where_we_do_not() {
    let json = r#"{"type":"room\u002dmessage","room":"\u0061","content":"\u0061\n"}"#;
    let wanted =
        Ask::Publish { room: "a".into(), content: r#""\u0061\n""#, key: None, dedupe: None };
    assert_eq!(ask(json), wanted);
}

#[test]
fn what_is_not_one_readable_object_is_bad_json() {
    let deep = format!(r#"{{"type":"ping","x":{}"#, "[".repeat(REQUEST_DEPTH_MAX));
    let many: String = (0..REQUEST_FIELDS_MAX).map(|n| format!(",\"f{n}\":0")).collect();
    let many = format!(r#"{{"type":"ping"{many}}}"#);
    for bad in [
        "",
        "1",
        "[]",
        "null",
        r#""{}""#,
        "{",
        "{}{}",
        r#"{"type":"ping",}"#,
        r#"{"type":"ping"} x"#,
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"room-message","room":"a","text":1,"content":2}"#,
        r#"{"type":"room-message","room":"a","content":"\ud800"}"#,
        r#"{"type":"room-message","room":"a","content":1e999}"#,
        r#"{"type":"ping","x":"\x"}"#,
        &deep,
        &many,
    ] {
        assert_eq!(mistake(bad).code, ErrorCode::BadJson, "{bad}");
    }
    assert_eq!(decode(b"{\"type\":\"\xff\"}").expect_err("no UTF-8").code, ErrorCode::BadJson);
    let shown = |json: &str| mistake(json).message.len();
    assert!(shown(&format!("\"{}\"", "x".repeat(10_000))) < 200);
}

#[test]
fn a_wrong_field_is_named_and_what_could_be_read_is_told() {
    for (json, field) in [
        (r#"{"room":"a"}"#, "type"),
        (r#"{"type":1}"#, "type"),
        (r#"{"type":"join-room"}"#, "room"),
        (r#"{"type":"join-room","room":""}"#, "room"),
        (r#"{"type":"join-room","room":"a b"}"#, "room"),
        (r#"{"type":"join-room","room":1}"#, "room"),
        (r#"{"type":"join-room","room":"a","since":1}"#, "since"),
        (r#"{"type":"join-room","room":"a","since":{"epoch":"f","seq":1}}"#, "since"),
        (r#"{"type":"join-room","room":"a","since":["000000000000f00d",1]}"#, "since"),
        (r#"{"type":"join-room","room":"a","history":-1}"#, "history"),
        (r#"{"type":"join-room","room":"a","history":1.5}"#, "history"),
        (r#"{"type":"join-room","room":"a","presence":"yes"}"#, "presence"),
        (r#"{"type":"join-room","room":"a","echo":0}"#, "echo"),
        (r#"{"type":"room-message","room":"a"}"#, "content"),
        (r#"{"type":"room-message","room":"a","content":1,"key":""}"#, "key"),
        (r#"{"type":"room-message","room":"a","content":1,"dedupe":1}"#, "dedupe"),
        (r#"{"type":"create-room","room":"a","options":[]}"#, "options"),
        (r#"{"type":"create-room","room":"a","options":{"echo":1}}"#, "options"),
        (r#"{"type":"create-room","room":"a","options":{"overflow":"spill"}}"#, "options.overflow"),
        (r#"{"type":"create-room","room":"a","options":{"presence":true}}"#, "options.presence"),
        (r#"{"type":"direct-message","content":1}"#, "user"),
        (r#"{"type":"direct-message","user":"","content":1}"#, "user"),
        (r#"{"type":"direct-message","user":"42"}"#, "content"),
        (r#"{"type":"broadcast"}"#, "content"),
        (r#"{"type":"auth"}"#, "token"),
        (r#"{"type":"refresh","token":1}"#, "token"),
        (r#"{"type":"typing","room":"a"}"#, "isTyping"),
        (r#"{"type":"receipt","room":"a","status":"read"}"#, "seq"),
        (r#"{"type":"receipt","room":"a","seq":1}"#, "status"),
        (r#"{"type":"receipt","room":"a","seq":1,"status":"eaten"}"#, "status"),
        (r#"{"type":"presence"}"#, "status"),
        (r#"{"type":"presence","status":"asleep"}"#, "status"),
        (r#"{"type":"get-rooms","prefix":1}"#, "prefix"),
        (r#"{"type":"get-rooms","limit":0}"#, "limit"),
        (r#"{"type":"get-members","room":"a","after":1}"#, "after"),
        (r#"{"type":"get-history","room":"a","before":"1"}"#, "before"),
        (r#"{"type":"hello","batch":1}"#, "batch"),
        (r#"{"type":"hello","heartbeat":1}"#, "heartbeat"),
        (r#"{"type":"hello","session":"f00d"}"#, "session"),
        (r#"{"type":"hello","positions":[]}"#, "positions"),
        (r#"{"type":"hello","positions":{"a":1}}"#, "positions"),
    ] {
        let json = json.replacen('{', r#"{"id":"i","#, 1);
        let wrong = mistake(&json);
        assert_eq!((wrong.code, wrong.field), (ErrorCode::BadField, Some(field)), "{json}");
        assert!(wrong.message.starts_with(field), "{json}: {}", wrong.message);
        assert_eq!(wrong.id.map(RequestId::json), Some(r#""i""#), "{json}");
        assert_eq!(
            wrong.room.is_some(),
            json.contains(r#""room":"a""#) && field != "room",
            "{json}"
        );
    }
}

#[test]
fn what_is_too_long_is_said_to_be() {
    let key = "k".repeat(DEDUPE_KEY_BYTES_MAX + 1);
    let info = "1".repeat(PRESENCE_INFO_BYTES_MAX + 1);
    let name = "n".repeat(ROOM_NAME_BYTES_MAX + 1);
    for (json, field) in [
        (format!(r#"{{"type":"room-message","room":"a","content":1,"key":"{key}"}}"#), "key"),
        (format!(r#"{{"type":"room-message","room":"a","text":1,"dedupe":"{key}"}}"#), "dedupe"),
        (format!(r#"{{"type":"presence","status":"away","info":"{info}"}}"#), "info"),
        (format!(r#"{{"type":"get-rooms","prefix":"{name}"}}"#), "prefix"),
    ] {
        let wrong = mistake(&json);
        assert_eq!((wrong.code, wrong.field), (ErrorCode::TooLong, Some(field)), "{json}");
    }
}

#[test]
fn an_unknown_type_is_told_the_known_ones() {
    let wrong = mistake(r#"{"id":1,"type":"dance","room":"a"}"#);
    assert_eq!((wrong.code, wrong.field), (ErrorCode::UnknownType, Some("type")));
    assert!(wrong.message.contains("join-room"));
    assert_eq!((wrong.id.map(RequestId::json), wrong.room.as_deref()), (Some("1"), Some("a")));
}

#[test]
fn an_id_that_is_no_json_is_not_told_again() {
    for id in [r#""\ude00""#, "1e999"] {
        let json = format!(r#"{{"type":"ping","id":{id}}}"#);
        let wrong = mistake(&json);
        assert_eq!((wrong.code, wrong.id), (ErrorCode::BadJson, None), "{id}");
    }
}

#[test]
fn a_hello_names_so_many_positions_and_no_more() {
    let hello = |count: usize| {
        let positions: Vec<String> = (0..count).map(|n| format!("\"r{n}\":{HERE_JSON}")).collect();
        format!(r#"{{"type":"hello","positions":{{{}}}}}"#, positions.join(","))
    };
    assert!(decode(hello(POSITIONS_MAX).as_bytes()).is_ok());
    assert_eq!(mistake(&hello(POSITIONS_MAX + 1)).field, Some("positions"));
}

#[test]
fn a_mistake_is_told_with_all_that_is_known() {
    let wrong = mistake(r#"{"id":1,"type":"typing","room":"a"}"#);
    let mut out = Vec::new();
    crate::protocol::json::push_error(&mut out, &wrong.reply());
    let told = String::from_utf8(out).expect("UTF-8");
    assert_eq!(
        told,
        concat!(
            r#"{"type":"error","id":1,"code":"bad-field","message":"isTyping is missing: "#,
            r#"`true` or `false`","field":"isTyping","room":"a"}"#
        )
    );
}
