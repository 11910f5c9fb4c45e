//! Who comes in, what it may do then, and how long it stays.

use crate::auth::{
    Authority, GUEST, Grant, Grants, IssuedClaims, Secret, Signer, TokenAlg, TokenKeys,
};
use crate::broker::{ConnKey, Now, RoomOptions, RoomPattern};
use crate::engine::rig::Rig;
use crate::engine::settings::Settings;
use crate::engine::shard::Action;
use crate::limits::UNAUTHENTICATED_MISTAKES_MAX;
use crate::ws::{self, Opcode};
use serde_json::{Value, json};
use std::sync::Arc;

const KEY: &[u8; 32] = b"a secret that nobody else has 12";
/// A moment to begin at, in Unix seconds.
const BEGIN_S: u64 = 1_800_000_000;

fn secret() -> Secret {
    Secret::new(*KEY)
}

/// A shard that wants tokens.
fn rig() -> Rig {
    let mut keys = TokenKeys::default();
    keys.add_hmac(TokenAlg::Hs256, None, &secret()).expect("a long key");
    let api_keys = vec![Secret::new(*b"the key of a server")];
    let authority = Authority { keys: Some(keys), api_keys, ..Authority::default() };
    let settings = Settings {
        authority: Arc::new(authority),
        auth_cookie: Some("session".into()),
        echo_route: true,
        heartbeat_interval_ms: 3_600_000, // Nobody here answers pings.
        ..Settings::default()
    };
    let mut rig = Rig::with(RoomOptions::default(), settings);
    rig.now = Now { mono_ms: 5_000, unix_ms: BEGIN_S * 1_000 };
    rig.shard.handle_deadlines(rig.now);
    rig
}

/// A token of `user` for that many seconds, with those claims of rooms.
fn token(user: &str, seconds: u64, rooms: Option<Value>) -> String {
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &secret()).expect("a signer");
    let claims = IssuedClaims {
        user: user.to_owned(),
        rooms,
        jti: Some(format!("{user}-1")),
        iat: BEGIN_S,
        exp: BEGIN_S + seconds,
        ..IssuedClaims::default()
    };
    signer.sign(&claims).expect("a token")
}

fn upgrade(rig: &mut Rig, target: &str, fields: &str) -> (ConnKey, String) {
    let key = rig.open();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    );
    rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
    let answer = read(rig, key);
    (key, answer)
}

fn say(rig: &mut Rig, key: ConnKey, request: &Value) -> String {
    let mut frame = Vec::new();
    let request = request.to_string();
    ws::push_masked_frame(&mut frame, Opcode::Text, request.as_bytes(), [1, 2, 3, 4]);
    rig.shard.handle_bytes(key, &mut frame, rig.now);
    read(rig, key)
}

fn read(rig: &mut Rig, key: ConnKey) -> String {
    rig.shard.end_tick(rig.now);
    String::from_utf8_lossy(&rig.read_all(key)).into_owned()
}

/// A native connection of `user`.
fn connect(rig: &mut Rig, user: &str, seconds: u64, rooms: Option<Value>) -> ConnKey {
    let bearer = format!("Authorization: Bearer {}\r\n", token(user, seconds, rooms));
    let (key, answer) = upgrade(rig, "/ws", &bearer);
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("welcome"), "{answer}");
    key
}

fn pass(rig: &mut Rig, ms: u64) {
    for _ in 0..ms.div_ceil(100) {
        rig.now = rig.now.plus_ms(100);
        rig.shard.handle_deadlines(rig.now);
        rig.shard.end_tick(rig.now);
    }
}

/// The close code that the connection was sent, if it was.
fn close_code(rig: &mut Rig, key: ConnKey) -> Option<u16> {
    let sent = rig.read_all(key);
    let at = sent.windows(2).rposition(|bytes| bytes[0] == 0x88 && bytes[1] >= 2)?;
    Some(u16::from_be_bytes([sent[at + 2], sent[at + 3]]))
}

#[test]
fn a_token_is_shown_once_in_one_of_its_places() {
    let good = token("ada", 60, None);
    let places = |token: &str| {
        [
            (String::new(), format!("Authorization: bearer {token}\r\n")),
            (format!("?token={token}"), String::new()),
            (String::new(), format!("Cookie: a=b; session={token}\r\n")),
            (String::new(), format!("Sec-WebSocket-Protocol: fanfare.v1.raw, bearer.{token}\r\n")),
        ]
    };
    for path in ["/raw/a", "/echo", "/ws"] {
        let mut rig = rig();
        for (query, fields) in places(&good) {
            let fields = if path == "/ws" { fields.replace("v1.raw", "v1.json") } else { fields };
            let (_, answer) = upgrade(&mut rig, &format!("{path}{query}"), &fields);
            assert!(answer.starts_with("HTTP/1.1 101 "), "{path} {query} {fields}: {answer}");
        }
        for (query, fields) in places(&good[..good.len() - 2]) {
            let fields = if path == "/ws" { fields.replace("v1.raw", "v1.json") } else { fields };
            let (_, answer) = upgrade(&mut rig, &format!("{path}{query}"), &fields);
            assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
            assert!(answer.contains("WWW-Authenticate: Bearer error=\"invalid_token\""));
        }
        let twice = format!("Authorization: Bearer {good}\r\n");
        let (_, answer) = upgrade(&mut rig, &format!("{path}?token={good}"), &twice);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let counters = rig.shard.counters();
        assert_eq!((counters.tokens_accepted, counters.tokens_refused), (4, 4));
    }
}

#[test]
fn without_a_token_only_a_native_connection_gets_to_say_something() {
    let mut rig = rig();
    for path in ["/raw/a", "/echo"] {
        let (_, answer) = upgrade(&mut rig, path, "");
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("WWW-Authenticate: Bearer\r\n"), "{answer}");
    }
    let (key, answer) = upgrade(&mut rig, "/ws", "");
    assert!(answer.starts_with("HTTP/1.1 101 ") && !answer.contains("welcome"), "{answer}");
    for early in [json!({"type":"join-room","room":"a","id":1}), json!({"type":"ping","id":1})] {
        let told = say(&mut rig, key, &early);
        assert!(told.contains(r#""code":"unauthorized""#) && told.contains(r#""id":1"#), "{told}");
    }
    let auth = json!({"type":"auth","id":2,"token":token("ada", 60, None)});
    let told = say(&mut rig, key, &auth);
    let (success, welcome) = (told.find("auth-success"), told.find("welcome"));
    assert!(success.is_some() && success < welcome, "{told}");
    assert!(told.contains(r#""id":"ada","username":"ada","roles":["member"]"#), "{told}");
    assert!(say(&mut rig, key, &json!({"type":"join-room","room":"a"})).contains("room-joined"));
}

#[test]
fn who_says_nothing_good_in_time_is_closed() {
    let mut rig = rig();
    let (silent, _) = upgrade(&mut rig, "/ws", "");
    let (liar, _) = upgrade(&mut rig, "/ws", "");
    let (chatty, _) = upgrade(&mut rig, "/ws", "");
    let (long, _) = upgrade(&mut rig, "/ws", "");
    let told = say(&mut rig, liar, &json!({"type":"auth","token":"a.b.c"}));
    assert!(told.contains("auth-failed") && told.ends_with("\u{f}\u{fffd}"), "{told:?}");
    for _ in 0..UNAUTHENTICATED_MISTAKES_MAX - 1 {
        assert!(say(&mut rig, chatty, &json!({"type":"ping"})).contains("unauthorized"));
    }
    rig.shard.end_tick(rig.now);
    let mut frame = Vec::new();
    ws::push_masked_frame(&mut frame, Opcode::Text, b"{}", [1, 2, 3, 4]);
    rig.shard.handle_bytes(chatty, &mut frame, rig.now);
    assert_eq!(close_code(&mut rig, chatty), Some(4001));
    let mut frame = Vec::new();
    ws::push_masked_frame(&mut frame, Opcode::Text, &vec![b' '; 64 * 1_024], [1, 2, 3, 4]);
    rig.shard.handle_bytes(long, &mut frame[..20], rig.now);
    assert_eq!(close_code(&mut rig, long), Some(1009), "on the header alone");
    pass(&mut rig, 9_900);
    assert_eq!(close_code(&mut rig, silent), None);
    pass(&mut rig, 200);
    assert_eq!(close_code(&mut rig, silent), Some(4001));
    assert_eq!(rig.shard.counters().auth_timeouts, 1);
}

#[test]
fn what_is_not_granted_is_refused_by_its_name() {
    let mut rig = rig();
    let rooms = json!({"join":["chat:*"],"publish":["chat:1"],"history":false,"presence":["chat:1"],
        "create":["chat:1","chat:2","chat:3"]});
    let key = connect(&mut rig, "ada", 600, Some(rooms));
    let join = |room: &str| json!({"type":"join-room","room":room,"id":"j"});
    for (request, missing) in [
        (join("news"), "join in `news`"),
        (join("user:bob"), "join in `user:bob`"),
        (json!({"type":"join-room","room":"chat:1","history":5}), "history in `chat:1`"),
        (json!({"type":"join-room","room":"chat:2","presence":true}), "presence in `chat:2`"),
        (json!({"type":"create-room","room":"news"}), "create in `news`"),
        (json!({"type":"get-room","room":"news"}), "join in `news`"),
        (json!({"type":"broadcast","content":1}), "admin"),
    ] {
        let told = say(&mut rig, key, &request);
        assert!(told.contains(r#""code":"forbidden""#) && told.contains(missing), "{told}");
    }
    assert!(say(&mut rig, key, &join("chat:4")).contains("no-such-room"), "create is missing");
    for room in ["chat:1", "chat:2", "user:ada"] {
        assert!(say(&mut rig, key, &join(room)).contains("room-joined"), "{room}");
    }
    let publish = |room: &str| json!({"type":"room-message","room":room,"content":1,"id":"m"});
    assert!(say(&mut rig, key, &publish("chat:1")).contains(r#""type":"ack""#));
    for request in [publish("chat:2"), json!({"type":"typing","room":"chat:2","isTyping":true})] {
        let told = say(&mut rig, key, &request);
        assert!(told.contains("forbidden") && told.contains("publish in `chat:2`"), "{told}");
    }
    let told = say(&mut rig, key, &json!({"type":"get-history","room":"chat:1"}));
    assert!(told.contains("history in `chat:1`"), "{told}");
    let told = say(&mut rig, key, &json!({"type":"get-members","room":"chat:2"}));
    assert!(told.contains("presence in `chat:2`"), "{told}");
    connect(&mut rig, "root", 600, None);
    let other = connect(&mut rig, "root", 600, None);
    say(&mut rig, other, &join("news"));
    let told = say(&mut rig, key, &json!({"type":"get-rooms"}));
    assert!(told.contains("chat:1") && !told.contains("news"), "{told}");
    assert!(rig.shard.counters().requests_forbidden >= 10);
}

#[test]
fn a_raw_member_needs_grants_too_and_is_named_as_who_it_is() {
    let mut rig = rig();
    let rooms = json!({"join":["a","b"],"publish":["a"],"create":["a"]});
    let bearer = format!("Authorization: Bearer {}\r\n", token("ada", 600, Some(rooms)));
    let (_, answer) = upgrade(&mut rig, "/raw/c", &bearer);
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("join in `c`"), "{answer}");
    let native = connect(&mut rig, "bob", 600, None);
    say(&mut rig, native, &json!({"type":"join-room","room":"a"}));
    let (key, _) = upgrade(&mut rig, "/raw/a", &bearer);
    rig.publish(key, b"hello");
    assert!(read(&mut rig, native).contains(r#""sender":{"id":"ada","username":"ada"}"#));
    let (key, answer) = upgrade(&mut rig, "/raw/b", &bearer);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(close_code(&mut rig, key), None);
    rig.shard.end_tick(rig.now);
    let closed = rig.shard.session(key).is_none_or(|session| session.close_code == 1008);
    assert!(closed, "the room does not exist, and create is not granted there");
    say(&mut rig, native, &json!({"type":"join-room","room":"b"}));
    let (key, _) = upgrade(&mut rig, "/raw/b", &bearer);
    rig.publish(key, b"no");
    assert_eq!(close_code(&mut rig, key), Some(1008));
    assert!(!read(&mut rig, native).contains("no"));
}

#[test]
fn a_token_ends_to_the_second_and_whoever_refreshes_it_stays() {
    let mut rig = rig();
    let ada = connect(&mut rig, "ada", 60, None);
    let bob = connect(&mut rig, "bob", 60, None);
    let bearer = format!("Authorization: Bearer {}\r\n", token("raw", 60, None));
    let (raw, _) = upgrade(&mut rig, "/raw/a", &bearer);
    pass(&mut rig, 29_900);
    assert!(!read(&mut rig, ada).contains("unauthorized"));
    pass(&mut rig, 200);
    for key in [ada, bob] {
        let told = read(&mut rig, key);
        assert!(told.contains(r#""code":"unauthorized""#) && told.contains("refresh"), "{told}");
        assert!(told.contains(r#""retryAfter":"#), "{told}");
    }
    for (user, code) in [("bob", "forbidden"), ("ada", "auth-success")] {
        let refresh = json!({"type":"refresh","id":7,"token":token(user, 120, None)});
        let told = say(&mut rig, ada, &refresh);
        assert!(told.contains(code) && told.contains(r#""id":7"#), "{told}");
    }
    assert!(say(&mut rig, ada, &json!({"type":"refresh","token":"x"})).contains("unauthorized"));
    pass(&mut rig, 29_800);
    assert_eq!([close_code(&mut rig, bob), close_code(&mut rig, raw)], [None; 2]);
    pass(&mut rig, 200);
    let codes = [ada, bob, raw].map(|key| close_code(&mut rig, key));
    assert_eq!(codes, [None, Some(4001), Some(4001)]);
    pass(&mut rig, 59_800);
    assert_eq!(close_code(&mut rig, ada), None);
    pass(&mut rig, 300);
    assert_eq!(close_code(&mut rig, ada), Some(4001));
    assert_eq!(rig.shard.counters().tokens_expired, 3);
}

#[test]
fn a_clock_that_is_set_moves_the_end_of_tokens_and_nothing_else() {
    let mut rig = rig();
    let (ada, bob) =
        (connect(&mut rig, "ada", 3_600, None), connect(&mut rig, "bob", 90_000, None));
    rig.now.unix_ms += 24 * 3_600 * 1_000;
    pass(&mut rig, 100);
    assert_eq!([close_code(&mut rig, ada), close_code(&mut rig, bob)], [Some(4001), None]);
    rig.now.unix_ms -= 2 * 24 * 3_600 * 1_000;
    pass(&mut rig, 1_000);
    assert_eq!(close_code(&mut rig, bob), None);
}

#[test]
fn a_token_that_grants_less_than_the_one_before_takes_rooms_away() {
    let mut rig = rig();
    let key = connect(&mut rig, "ada", 60, None);
    for room in ["a", "b"] {
        say(&mut rig, key, &json!({"type":"join-room","room":room}));
    }
    let less = token("ada", 600, Some(json!({"join":["a"]})));
    let told = say(&mut rig, key, &json!({"type":"refresh","token":less}));
    assert!(told.contains("join in `b`") && told.contains(r#""room-left","room":"b""#), "{told}");
    let told = say(&mut rig, key, &json!({"type":"room-message","room":"a","content":1}));
    assert!(told.contains("publish in `a`"), "{told}");
    assert_eq!(rig.shard.counters().members, 1);
}

#[test]
fn the_api_asks_who_calls_before_anything_else() {
    let mut rig = rig();
    let post = |rig: &mut Rig, target: &str, fields: &str| {
        let key = rig.open();
        let request =
            format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n{fields}\r\nhi");
        rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
        let answer = read(rig, key);
        while let Some(Action::Close { .. }) = rig.shard.poll_action() {}
        answer
    };
    let rooms = json!({"join":["a"],"publish":["a"]});
    let ada = format!("Authorization: Bearer {}\r\n", token("ada", 60, Some(rooms)));
    let server = "X-API-Key: the key of a server\r\n";
    let bearer = "Authorization: Bearer the key of a server\r\n";
    for (target, fields, status) in [
        ("/v1/rooms/a/messages", "", 401),
        ("/v1/rooms/%ff/messages", "", 401),
        ("/v1/rooms/a/messages", "X-API-Key: the key of a servers\r\n", 401),
        ("/v1/rooms/a/messages", "Authorization: Basic eDp5\r\n", 401),
        ("/v1/rooms/a/messages", "Authorization: Bearer x.y.z\r\n", 401),
        ("/v1/rooms/a/messages", server, 200),
        ("/v1/rooms/a/messages", bearer, 200),
        ("/v1/rooms/a/messages", &ada, 200),
        ("/v1/rooms/b/messages", &ada, 403),
        ("/v1/users/bob/messages", &ada, 403),
        ("/v1/broadcast", &ada, 403),
        ("/v1/broadcast", server, 200),
        ("/v1/rooms/a/messages", &format!("{server}{ada}"), 400),
    ] {
        let answer = post(&mut rig, target, fields);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {fields}: {answer}");
    }
    assert_eq!(rig.shard.counters().publications, 3, "what was refused had no effect");
    let bob = connect(&mut rig, "bob", 60, None);
    say(&mut rig, bob, &json!({"type":"join-room","room":"a"}));
    post(&mut rig, "/v1/rooms/a/messages", &ada);
    assert!(read(&mut rig, bob).contains(r#""sender":{"id":"ada","username":"ada"}"#));
}

#[test]
fn who_is_revoked_is_closed_at_once_and_does_not_come_back() {
    let mut rig = rig();
    let revoke = |rig: &mut Rig, body: Value| {
        let key = rig.open();
        let body = body.to_string();
        let request = format!(
            "POST /v1/revocations HTTP/1.1\r\nHost: h\r\nX-API-Key: the key of a server\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
        read(rig, key)
    };
    let native = connect(&mut rig, "ada", 600, None);
    let bearer = format!("Authorization: Bearer {}\r\n", token("ada", 600, None));
    let (raw, _) = upgrade(&mut rig, "/raw/a", &bearer);
    let (bob, eve) = (connect(&mut rig, "bob", 600, None), connect(&mut rig, "eve", 600, None));
    let answer = revoke(&mut rig, json!({"user":"ada"}));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"closed":2}"#), "{answer}");
    let codes = [native, raw, bob].map(|key| close_code(&mut rig, key));
    assert_eq!(codes, [Some(4001), Some(4001), None]);
    let (_, answer) = upgrade(&mut rig, "/ws", &bearer);
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("revoked"), "{answer}");
    let answer = revoke(&mut rig, json!({"token":"bob-1"}));
    assert!(answer.ends_with(r#"{"closed":1}"#), "{answer}");
    assert_eq!([bob, eve].map(|key| close_code(&mut rig, key)), [Some(4001), None]);
    let answer = revoke(&mut rig, json!({"issuedBefore":BEGIN_S + 1}));
    assert!(answer.ends_with(r#"{"closed":1}"#), "{answer}");
    assert_eq!(close_code(&mut rig, eve), Some(4001));
    assert!(revoke(&mut rig, json!({"user":1})).starts_with("HTTP/1.1 400 "));
    let counters = rig.shard.counters();
    assert_eq!((counters.tokens_revoked, counters.natives), (4, 0));
    assert!(counters.revocations > 0);
}

#[test]
fn who_is_put_into_rooms_by_its_token_resumes_its_session_and_is_listed_as_the_token_says() {
    let mut rig = rig();
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &secret()).expect("a signer");
    let claims = IssuedClaims {
        user: "ada".to_owned(),
        rooms: Some(json!({"join":["chat:*"]})),
        autojoin: vec!["news".to_owned()],
        info: Some(json!({"team":7})),
        iat: BEGIN_S,
        exp: BEGIN_S + 600,
        ..IssuedClaims::default()
    };
    let bearer = format!("Authorization: Bearer {}\r\n", signer.sign(&claims).expect("a token"));
    let (key, answer) = upgrade(&mut rig, "/ws", &bearer);
    let told = answer + &read(&mut rig, key);
    assert!(told.contains(r#""room-joined","room":"news""#), "not granted, but put there: {told}");
    let session = told.split_once(r#""session":""#).map(|(_, rest)| rest[..32].to_owned());
    let told = say(&mut rig, key, &json!({"type":"get-online-users"}));
    assert!(told.contains(r#""info":{"team":7}"#), "{told}");
    rig.shard.handle_error(key, rig.now);
    while rig.shard.poll_action().is_some() {}
    rig.shard.end_tick(rig.now);
    let (key, _) = upgrade(&mut rig, "/ws", &bearer);
    read(&mut rig, key);
    let hello = json!({"type":"hello","id":1,"session":session.expect("a session")});
    let mut frame = Vec::new();
    ws::push_masked_frame(&mut frame, Opcode::Text, hello.to_string().as_bytes(), [0; 4]);
    rig.shard.handle_bytes(key, &mut frame, rig.now);
    (0..3).for_each(|_| rig.shard.end_tick(rig.now)); // Nothing is written until all is there.
    let told = read(&mut rig, key);
    assert!(told.contains(r#""rooms":[{"type":"room-joined","room":"news""#), "{told}");
}

#[test]
fn clocks_that_differ_by_a_little_close_nobody_before_its_token_ends() {
    let mut rig = rig();
    let ada = connect(&mut rig, "ada", 60, None);
    let bearer = format!("Authorization: Bearer {}\r\n", token("raw", 60, None));
    let (raw, _) = upgrade(&mut rig, "/raw/a", &bearer);
    read(&mut rig, raw);
    rig.now.unix_ms -= 400; // Too little for deadlines to be set again.
    pass(&mut rig, 59_900);
    pass(&mut rig, 400);
    let pings = rig.shard.counters().pings_out;
    assert_eq!((close_code(&mut rig, ada), close_code(&mut rig, raw), pings), (None, None, 0));
    pass(&mut rig, 200);
    assert_eq!([ada, raw].map(|key| close_code(&mut rig, key)), [Some(4001); 2]);
}

#[test]
fn where_tokens_end_a_clock_that_was_set_is_noticed_within_a_second() {
    let mut rig = rig();
    let (_key, _) = upgrade(&mut rig, "/ws", "");
    rig.shard.end_tick(rig.now);
    while rig.shard.poll_dirty().is_some() {}
    let look = rig.shard.poll_clock_ms();
    assert!(look.is_some_and(|ms| ms < 1_000), "{look:?}");
}

#[test]
fn who_says_who_it_is_during_a_drain_is_closed_when_its_turn_comes() {
    let mut rig = rig();
    let (key, _) = upgrade(&mut rig, "/ws", "");
    let ada = connect(&mut rig, "ada", 600, None);
    rig.shard.handle_drain(rig.now);
    let told = say(&mut rig, key, &json!({"type":"auth","token":token("ada", 60, None)}));
    assert!(told.contains("auth-success"), "{told}");
    say(&mut rig, ada, &json!({"type":"refresh","token":token("ada", 700, None)}));
    pass(&mut rig, 500);
    assert_eq!([key, ada].map(|key| close_code(&mut rig, key)), [Some(1001); 2]);
}

#[test]
fn a_token_that_ends_while_a_body_is_on_its_way_publishes_nothing() {
    let mut rig = rig();
    let begin = |rig: &mut Rig, seconds: u64| {
        let key = rig.open();
        let token = token("ada", seconds, None);
        let request = format!(
            "POST /v1/rooms/a/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\
             Authorization: Bearer {token}\r\n\r\nh"
        );
        rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
        key
    };
    let finish = |rig: &mut Rig, key| {
        rig.shard.handle_bytes(key, &mut b"i".to_vec(), rig.now);
        read(rig, key)
    };
    let (short, long) = (begin(&mut rig, 2), begin(&mut rig, 600));
    rig.now = rig.now.plus_ms(9_000);
    rig.now.unix_ms += 60_000;
    let answer = finish(&mut rig, short);
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("expired"), "{answer}");
    let revocation = crate::auth::Revocation::Token { id: "ada-1".into() };
    rig.shard.apply_revocation(&revocation, rig.now);
    let answer = finish(&mut rig, long);
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("revoked"), "{answer}");
    assert_eq!(rig.shard.counters().publications, 0);
}

#[test]
fn a_token_that_is_shown_twice_in_one_place_is_refused_too() {
    let mut rig = rig();
    let (one, other) = (token("ada", 60, None), token("bob", 60, None));
    for (target, fields) in [
        ("/ws".to_owned(), format!("Cookie: session={one}; session={other}\r\n")),
        ("/ws".to_owned(), format!("Cookie: session={one}\r\nCookie: session={other}\r\n")),
        (format!("/ws?token={one}&token={other}"), String::new()),
        (
            "/ws".to_owned(),
            format!("Sec-WebSocket-Protocol: fanfare.v1.json, bearer.{one}, bearer.{other}\r\n"),
        ),
    ] {
        let (_, answer) = upgrade(&mut rig, &target, &fields);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target} {fields}: {answer}");
    }
}

#[test]
fn who_may_not_publish_sends_no_receipts_either() {
    let mut rig = rig();
    let bob = connect(&mut rig, "bob", 60, None);
    say(&mut rig, bob, &json!({"type":"join-room","room":"a"}));
    say(&mut rig, bob, &json!({"type":"room-message","room":"a","content":1}));
    let key = connect(&mut rig, "ada", 60, Some(json!({"join":["a"]})));
    say(&mut rig, key, &json!({"type":"join-room","room":"a"}));
    let receipt = json!({"type":"receipt","room":"a","seq":1,"status":"read"});
    let told = say(&mut rig, key, &receipt);
    assert!(told.contains("publish in `a`"), "{told}");
    assert!(!read(&mut rig, bob).contains("receipt"));
}

#[test]
fn a_session_comes_back_with_a_token_that_puts_it_in_rooms_and_with_no_more_than_it_grants() {
    let mut rig = rig();
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &secret()).expect("a signer");
    let connect = |rig: &mut Rig, rooms: Value| {
        let claims = IssuedClaims {
            user: "ada".to_owned(),
            rooms: Some(rooms),
            autojoin: vec!["news".to_owned()],
            iat: BEGIN_S,
            exp: BEGIN_S + 600,
            ..IssuedClaims::default()
        };
        let token = signer.sign(&claims).expect("a token");
        upgrade(rig, "/ws", &format!("Authorization: Bearer {token}\r\n"))
    };
    let (key, answer) = connect(&mut rig, json!({"join":["**"]}));
    let session = answer.split_once(r#""session":""#).expect("a session").1;
    let session = session.split('"').next().expect("its id").to_owned();
    let join = json!({"type":"join-room","room":"a","presence":true});
    assert!(say(&mut rig, key, &join).contains("ada"));
    rig.shard.handle_error(key, rig.now);
    rig.shard.end_tick(rig.now);
    let (key, _) = connect(&mut rig, json!({"join":["**"],"presence":false}));
    let told = say(&mut rig, key, &json!({"type":"hello","session":session,"id":1}));
    rig.shard.end_tick(rig.now);
    let told = told + &read(&mut rig, key);
    assert!(told.contains(r#""room":"a""#) && !told.contains("before any room"), "{told}");
    assert!(!told.contains(r#""presence":["#), "{told}");
}

#[test]
fn without_the_grant_a_newcomer_gets_no_latest_message_either() {
    let mut rig = rig();
    let options = RoomOptions { last_value: true, ..RoomOptions::default() };
    let settings = Settings { authority: Arc::clone(&rig.shard.authority), ..Settings::default() };
    let now = rig.now;
    rig = Rig::with(options, settings);
    rig.now = now;
    let join = json!({"type":"join-room","room":"a"});
    let bob = connect(&mut rig, "bob", 60, None);
    say(&mut rig, bob, &join);
    say(&mut rig, bob, &json!({"type":"room-message","room":"a","content":"secret"}));
    for (rooms, is_told) in
        [(json!({"join":["a"]}), true), (json!({"join":["a"],"history":false}), false)]
    {
        let key = connect(&mut rig, "ada", 60, Some(rooms));
        assert_eq!(say(&mut rig, key, &join).contains("secret"), is_told);
    }
}

#[test]
fn who_needs_no_token_sees_only_rooms_that_its_role_may_join() {
    let mut authority = Authority::default();
    let lobby = RoomPattern::parse("lobby").expect("a pattern");
    authority.roles.set(GUEST, Grants::default().with(Grant::Join, [lobby]));
    let settings = Settings { authority: Arc::new(authority), ..Settings::default() };
    let mut rig = Rig::with(RoomOptions::default(), settings);
    for room in ["lobby", "hidden"] {
        let key = rig.open();
        let request = format!(
            "POST /v1/rooms/{room}/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
        );
        rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
        assert!(read(&mut rig, key).starts_with("HTTP/1.1 200 "));
    }
    let (key, _) = upgrade(&mut rig, "/ws", "");
    let told = say(&mut rig, key, &json!({"type":"get-rooms"}));
    assert!(told.contains("lobby") && !told.contains("hidden"), "{told}");
}
