//! A client of the native protocol that shows every message as it came.
//!
//! Not here: what the protocol promises (`e2e_native`, `native_docs`). Invariants: nothing is
//! answered by itself; what came while an answer was waited for is kept, in its order.

use super::broker::Broker;
use super::http::{Answer, Expect, Http};
use super::raw::{BINARY, CLOSE, Frame, Raw, TEXT, upgrade};
use fanfare::protocol::binary;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// One message, or the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Came {
    Text(String),
    Binary(Vec<u8>),
    Close(Option<u16>),
}

/// A connection to `/ws`.
#[derive(Debug)]
pub(crate) struct Native {
    pub(crate) raw: Raw,
    /// Came before an answer that was waited for.
    kept: VecDeque<Value>,
    asked: u64,
    /// What it was greeted with.
    pub(crate) welcome: String,
}

/// Asks for a WebSocket at `/ws` with these further fields; what came of it.
pub(crate) fn ask_to_open(broker: &Broker, fields: &[&str]) -> (Http, Answer) {
    let mut http = Http::connect(broker.address());
    http.send(&upgrade("/ws", "test", fields));
    let answer = http.answer(Expect::HeadOnly);
    (http, answer)
}

impl Native {
    /// Connects as a guest.
    pub(crate) fn open(broker: &Broker) -> Self {
        Self::open_with(broker, &[])
    }

    /// Connects through a proxy that says who the user is.
    pub(crate) fn open_as(broker: &Broker, user: &str) -> Self {
        Self::open_with(broker, &[&format!("X-User: {user}")])
    }

    /// A connection that was upgraded and has got nothing yet.
    pub(crate) fn over(http: Http) -> Self {
        Self { raw: Raw(http), kept: VecDeque::new(), asked: 0, welcome: String::new() }
    }

    /// Connects with these further fields where that is not enough to be known: nothing comes yet.
    pub(crate) fn open_unknown(broker: &Broker, fields: &[&str]) -> Self {
        let (http, answer) = ask_to_open(broker, fields);
        assert_eq!(answer.status, 101, "{answer:?}");
        Self::over(http)
    }

    /// Connects with these further fields, and reads the welcome.
    pub(crate) fn open_with(broker: &Broker, fields: &[&str]) -> Self {
        let mut client = Self::open_unknown(broker, fields);
        match client.came() {
            Came::Text(welcome) => client.welcome = welcome,
            other @ (Came::Binary(_) | Came::Close(_)) => panic!("instead of a welcome: {other:?}"),
        }
        client
    }

    /// Sends a text message.
    pub(crate) fn send_text(&mut self, text: &str) {
        self.raw.send(TEXT, text.as_bytes());
    }

    /// Sends a request, whose answer is not waited for.
    pub(crate) fn send(&mut self, request: &Value) {
        self.send_text(&request.to_string());
    }

    /// Sends a binary message.
    pub(crate) fn send_records(&mut self, records: &[u8]) {
        self.raw.send(BINARY, records);
    }

    /// What comes next from the connection, whatever is kept.
    pub(crate) fn came(&mut self) -> Came {
        let Frame { first, payload } = self.raw.next().expect("a frame before the end");
        match first {
            TEXT => Came::Text(String::from_utf8(payload).expect("text is UTF-8")),
            BINARY => Came::Binary(payload),
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                Came::Close(code)
            }
            other => panic!("a frame that begins with {other:x}"),
        }
    }

    /// The next message, as JSON.
    pub(crate) fn next(&mut self) -> Value {
        if let Some(kept) = self.kept.pop_front() {
            return kept;
        }
        self.next_of_wire()
    }

    fn next_of_wire(&mut self) -> Value {
        match self.came() {
            Came::Text(text) => serde_json::from_str(&text).expect("a message is JSON"),
            other @ (Came::Binary(_) | Came::Close(_)) => panic!("instead of JSON: {other:?}"),
        }
    }

    /// The next message of that type; others are thrown away.
    pub(crate) fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let next = self.next();
            if next["type"] == kind {
                return next;
            }
        }
    }

    /// Sends a request with an id of its own; its answer. What comes before that is kept.
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        let id = self.submit(request);
        self.answer(&id)
    }

    /// Sends a request with an id of its own, which is returned.
    pub(crate) fn submit(&mut self, request: &Value) -> Value {
        self.asked += 1;
        let id = json!(format!("ask-{}", self.asked));
        let mut request = request.clone();
        request["id"] = id.clone();
        self.send(&request);
        id
    }

    /// The answer to the request of that id. Other people's messages carry their own ids.
    pub(crate) fn answer(&mut self, id: &Value) -> Value {
        loop {
            let next = self.next_of_wire();
            if next["id"] == *id && next["type"] != "room-message" {
                return next;
            }
            self.kept.push_back(next);
        }
    }

    /// Joins a room; the reply, which must be that it is in.
    pub(crate) fn join(&mut self, room: &str) -> Value {
        self.join_with(&json!({ "room": room }))
    }

    /// The same, with further fields.
    pub(crate) fn join_with(&mut self, fields: &Value) -> Value {
        let mut request = fields.clone();
        request["type"] = json!("join-room");
        let joined = self.ask(&request);
        assert_eq!(joined["type"], "room-joined", "{joined}");
        joined
    }

    /// Publishes; the ack.
    pub(crate) fn say(&mut self, room: &str, content: &Value) -> Value {
        let request = json!({ "type": "room-message", "room": room, "content": content });
        let ack = self.ask(&request);
        assert_eq!(ack["type"], "ack", "{ack}");
        ack
    }

    /// The error that a request is answered with; the connection must be there afterwards.
    pub(crate) fn refused(&mut self, request: &Value) -> Value {
        let error = self.ask(request);
        assert_eq!(error["type"], "error", "{error}");
        assert_eq!(self.ask(&json!({ "type": "ping" }))["type"], "pong");
        error
    }

    /// All that came until now, by the order of one connection: until a pong to a ping of now.
    pub(crate) fn so_far(&mut self) -> Vec<Value> {
        self.ask(&json!({ "type": "ping" }));
        self.kept.drain(..).collect()
    }

    /// The numbers of the next `count` messages of rooms, of batches too; other types are passed
    /// over.
    pub(crate) fn next_messages(&mut self, count: usize) -> Vec<Value> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let next = self.next();
            match next["type"].as_str() {
                Some("room-message") => messages.push(next),
                Some("message-batch") => {
                    messages.extend(next["messages"].as_array().expect("a list").iter().cloned());
                }
                _ => {}
            }
        }
        assert_eq!(messages.len(), count, "a batch goes beyond what was waited for");
        messages
    }
}

/// The records of a binary message.
pub(crate) fn records(frame: &[u8]) -> Vec<binary::Record<'_>> {
    binary::decode(frame).collect::<Result<_, _>>().expect("records")
}

/// The `seq` of a message or an answer.
pub(crate) fn seq(message: &Value) -> u64 {
    message["seq"].as_u64().unwrap_or_else(|| panic!("no seq in {message}"))
}

/// The numbers of a list of messages.
pub(crate) fn seqs(messages: &Value) -> Vec<u64> {
    messages.as_array().expect("a list").iter().map(seq).collect()
}
