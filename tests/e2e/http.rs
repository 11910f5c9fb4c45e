//! A plain HTTP/1.1 client that shows what is on the wire, over any stream.
//!
//! Not here: WebSockets (`raw`). Invariant: bytes behind an answer are kept for the next one, so
//! pipelining works.

use super::wait::DEADLINE;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str;

/// A connection.
#[derive(Debug)]
pub(crate) struct Http<S = TcpStream> {
    pub(crate) stream: S,
    /// Read and not yet looked at.
    pub(crate) unread: Vec<u8>,
}

/// A response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Whether a response's body follows its head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    Body,
    HeadOnly,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        stream.set_write_timeout(Some(DEADLINE)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Self::over(stream)
    }
}

impl<S: Read + Write> Http<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
        self.answer(Expect::Body)
    }

    /// Publishes to a room.
    pub(crate) fn post(&mut self, room: &str, content_type: &str, body: &[u8]) -> Answer {
        self.post_to(&format!("/v1/rooms/{room}/messages"), content_type, body)
    }

    /// Posts to any path.
    pub(crate) fn post_to(&mut self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.post_with(path, &[&format!("Content-Type: {content_type}")], body)
    }

    /// The same with any fields.
    pub(crate) fn post_with(&mut self, path: &str, fields: &[&str], body: &[u8]) -> Answer {
        let fields: String = fields.iter().flat_map(|field| [field, "\r\n"]).collect();
        let length = body.len();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n{fields}\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.send(&request);
        self.answer(Expect::Body)
    }

    /// Reads the next response. Panics when there is none.
    pub(crate) fn answer(&mut self, expect: Expect) -> Answer {
        self.next_answer(expect).expect("an answer before the connection ends")
    }

    /// Reads the next response, if the connection does not end before it.
    pub(crate) fn next_answer(&mut self, expect: Expect) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more() {
                let unread = String::from_utf8_lossy(&self.unread);
                assert!(unread.is_empty(), "half an answer: {unread:?}");
                return None;
            }
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let mut answer = parse(str::from_utf8(&head).expect("a head is text"));
        if expect == Expect::Body && answer.status >= 200 {
            let length = answer.field("content-length").expect("a length").parse().expect("number");
            while self.unread.len() < length {
                assert!(self.more(), "the connection ended in a body");
            }
            answer.body = self.unread.drain(..length).collect();
        }
        Some(answer)
    }

    /// Everything until the connection ends, however it does.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.unread)
    }

    /// Reads some more. False: the connection has ended.
    pub(crate) fn more(&mut self) -> bool {
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(read) => {
                self.unread.extend_from_slice(&bytes[..read]);
                read > 0
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&self.unread)),
        }
    }
}

fn parse(head: &str) -> Answer {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect(head);
    let fields = lines.filter(|line| !line.is_empty());
    let fields = fields.map(|line| line.split_once(": ").expect(head));
    Answer {
        status: status[..3].parse().expect(head),
        fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: Vec::new(),
    }
}

impl Answer {
    /// The value of the field that is there exactly once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert_eq!(found.next(), None, "{name} is there once");
        value
    }

    /// The body, as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }

    /// The `detail` of a problem document.
    pub(crate) fn detail(&self) -> String {
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["detail"].as_str().expect("a detail").to_owned()
    }
}
