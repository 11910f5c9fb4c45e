//! The load tester's native protocol, against a server of this process: one thread, one room, two
//! members, of which the second publishes.

use crate::setup::{assert_faultless, bench, number, told};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tungstenite::{Bytes, Message, WebSocket};

type Socket = WebSocket<TcpStream>;

const MEMBERS: usize = 2;
/// How long a second message is waited for; nothing depends on it.
const SOON: Duration = Duration::from_millis(20);
/// A handle of three bytes.
const HANDLE: u64 = 70_000;
const BRIEF: &str = "--subs 2 --secs 0.2 --warm-up 0.1";

/// What the members get of messages, all of which arrived together.
type Frames = fn(u64, &[Bytes]) -> Vec<Message>;

/// A server that speaks `subprotocol` and answers a join by `joined`.
fn serve(
    subprotocol: &'static str,
    joined: Value,
    frames: Frames,
) -> (String, JoinHandle<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let body = move || {
        let accept = |_| {
            let (stream, _) = listener.accept().expect("the load tester");
            greet(stream, subprotocol)
        };
        let mut sockets: Vec<Socket> = (0..MEMBERS).map(accept).collect();
        let mut asked = Vec::new();
        for socket in &mut sockets {
            loop {
                let text = socket.read().expect("a request").into_text().expect("text");
                asked.push(serde_json::from_str(&text).expect("JSON"));
                if text.contains("join-room") {
                    break;
                }
            }
            // A notice between request and answer, as there may be.
            say(socket, &json!({"type": "user-joined", "room": "bench"}));
            say(socket, &joined);
        }
        fan_out(&mut sockets, frames);
        asked
    };
    (address, thread::Builder::new().spawn(body).expect("a thread"))
}

#[expect(clippy::result_large_err, reason = "the type of the callback is not ours")]
fn greet(stream: TcpStream, subprotocol: &'static str) -> Socket {
    let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        assert_eq!(request.uri().path(), "/ws");
        let asked = request.headers().get(SEC_WEBSOCKET_PROTOCOL).cloned();
        assert_eq!(asked, Some(HeaderValue::from_static(subprotocol)));
        response.headers_mut().extend(asked.map(|chosen| (Some(SEC_WEBSOCKET_PROTOCOL), chosen)));
        Ok(response)
    };
    let mut socket = tungstenite::accept_hdr(stream, choose).expect("a handshake");
    // Longer than what is looked at.
    say(&mut socket, &json!({"type": "welcome", "limits": "x".repeat(2_000)}));
    socket
}

fn say(socket: &mut Socket, what: &Value) {
    // Who was refused may be gone.
    let _ = socket.send(Message::text(what.to_string()));
}

/// Sends all that the last member publishes to everybody, two messages at a time where a second
/// one comes soon.
fn fan_out(sockets: &mut [Socket], frames: Frames) {
    let mut seq = 1;
    while let Some(publisher) = sockets.last_mut() {
        let Some(first) = next(publisher, None) else { return };
        let second = next(publisher, Some(SOON));
        let came: Vec<Bytes> = [first].into_iter().chain(second).collect();
        for message in frames(seq, &came) {
            for socket in &mut *sockets {
                let _ = socket.send(message.clone());
            }
        }
        seq += came.len() as u64;
    }
}

/// The next message, if it comes in time.
fn next(socket: &mut Socket, patience: Option<Duration>) -> Option<Bytes> {
    socket.get_ref().set_read_timeout(patience).expect("a socket");
    let message = socket.read().ok()?;
    (!message.is_close()).then(|| message.into_data())
}

fn item(seq: u64, publish: &Bytes) -> String {
    let publish: Value = serde_json::from_slice(publish).expect("JSON");
    assert_eq!(publish["type"], "room-message");
    assert_eq!(publish["room"], "bench");
    format!(
        r#"{{"type":"room-message","room":"bench","epoch":"00000000000000aa","seq":{seq},"time":1763640000000,"sender":{{"id":"guest-0000000000000001","username":"guest"}},"content":{}}}"#,
        publish["content"]
    )
}

fn items(seq: u64, came: &[Bytes]) -> Vec<String> {
    (seq..).zip(came).map(|(seq, publish)| item(seq, publish)).collect()
}

fn single(seq: u64, came: &[Bytes]) -> Vec<Message> {
    items(seq, came).into_iter().map(Message::text).collect()
}

fn batched(seq: u64, came: &[Bytes]) -> Vec<Message> {
    let items = items(seq, came).join(",");
    let text = format!(r#"{{"type":"message-batch","room":"bench","messages":[{items}]}}"#);
    vec![Message::text(text)]
}

/// A number of up to three groups of seven bits.
fn varint(number: u64) -> Vec<u8> {
    let group = |shift: u32| u8::try_from((number >> shift) & 0x7F).expect("seven bits");
    match number {
        0..0x80 => vec![group(0)],
        0x80..0x4000 => vec![group(0) | 0x80, group(7)],
        _ => vec![group(0) | 0x80, group(7) | 0x80, group(14)],
    }
}

/// All records in one frame.
fn records(seq: u64, came: &[Bytes]) -> Vec<Message> {
    let mut frame = Vec::new();
    for (seq, publish) in (seq..).zip(came) {
        // Two bytes of length, operation 1, flags for a handle, the handle, the payload.
        let head = [&[1, 2][..], &varint(HANDLE)].concat();
        let payload = publish[2..].strip_prefix(&head[..]).expect("a publish");
        assert_eq!(payload.len(), 128);
        let body = [&[1, 6][..], &varint(HANDLE), &varint(seq), payload].concat();
        frame.extend(varint(body.len() as u64));
        frame.extend(body);
    }
    vec![Message::binary(frame)]
}

fn joined() -> Value {
    json!({"type": "room-joined", "id": 1, "room": "bench", "handle": HANDLE, "messages": []})
}

#[test]
fn messages_are_found_in_objects_in_batches_and_in_records() {
    let of: [(&str, &str, Frames); 3] = [
        ("json", "fanfare.v1.json", single),
        ("json --batch", "fanfare.v1.json", batched),
        ("binary", "fanfare.v1.bin", records),
    ];
    for (protocol, subprotocol, frames) in of {
        let (address, server) = serve(subprotocol, joined(), frames);
        let output = bench(&address, &format!("{BRIEF} --window 2 --protocol {protocol}"));
        let (report, _) = told(&output, 0);
        assert_faultless(&report);
        let envelope = if protocol == "binary" { 3.0..=10.0 } else { 100.0..=250.0 };
        let bytes = number(&report, "/wire_bytes_each") - 128.0;
        assert!(envelope.contains(&bytes), "{protocol}: {report}");
        let asked = server.join().expect("no assertion failed");
        let hello = protocol.ends_with("--batch");
        assert_eq!(asked.len(), if hello { 2 * MEMBERS } else { MEMBERS });
        assert_eq!(asked.iter().any(|said| said["batch"] == true), hello);
        for join in asked.iter().filter(|said| said["type"] == "join-room") {
            assert_eq!((&join["room"], &join["history"]), (&json!("bench"), &json!(0)));
        }
    }
}

#[test]
fn a_content_cut_short_is_damaged() {
    let (address, server) = serve("fanfare.v1.json", joined(), |seq, came| {
        let items = items(seq, came).into_iter();
        items.map(|item| Message::text(item.replacen(r#"."}"#, r#""}"#, 1))).collect()
    });
    let (report, _) = told(&bench(&address, &format!("{BRIEF} --window 2 --protocol json")), 1);
    server.join().expect("no assertion failed");
    assert!(number(&report, "/damaged") > 0.0, "{report}");
    assert_eq!(number(&report, "/deliveries"), 0.0, "{report}");
}

#[test]
fn who_may_not_join_is_told_why() {
    let refused = json!({"type": "error", "code": "forbidden", "id": 1});
    let (address, server) = serve("fanfare.v1.json", refused, single);
    let output = bench(&address, &format!("{BRIEF} --protocol json"));
    server.join().expect("no assertion failed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("0 of 2") && said.contains("forbidden"), "{said}");
}
