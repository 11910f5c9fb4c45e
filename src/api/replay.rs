//! The examples of `docs/protocols/http.md`, asked and answered without a socket.
//!
//! Not here: requests that `http` refuses, and the broker itself; where an answer depends on it,
//! the document has a word in braces. Invariant: every block marked `http` is a request followed
//! by its response, and is replayed; so is one marked `http auth`.

use super::{
    Credentials, Intent, Notification, Refusal, check_payload, decide, healthy, logged_in, metrics,
    published, read_revocation, ready, revoked, told,
};
use crate::auth::{LoginOutcome, OriginPolicy};
use crate::http::{Connection, Fields, Response, SendBody, parse_head, route};

/// What the API makes of a request with this head.
pub(super) fn decided(head: &[u8]) -> Result<Intent, Response> {
    let mut fields = Fields::new();
    let head = parse_head(head, &mut fields).expect("a head");
    decide(&head, route(head.path), &OriginPolicy::default()).map_err(|refusal| match refusal {
        Refusal::Origin(refused) => Response::problem(403, &refused.to_string()),
        Refusal::Request(response) => response,
    })
}

/// The response as it goes on the wire.
pub(super) fn text(response: &Response) -> String {
    sent(response, Connection::KeepAlive, SendBody::Yes)
}

/// The status that the wire shows.
pub(super) fn status(response: &Response) -> u16 {
    let text = text(response);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
}

fn sent(response: &Response, connection: Connection, body: SendBody) -> String {
    let mut out = Vec::new();
    response.push(&mut out, connection, body, 784_111_777_000);
    String::from_utf8(out).expect("our answers are UTF-8")
}

/// A message as the document shows it, as it is on the wire.
fn wire(block: &str) -> String {
    let (head, body) = block.split_once("\n\n").unwrap_or((block, ""));
    format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n"))
}

/// What a broker with two loops answers to its first request.
fn answer(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    // A request that is refused before its body was read can't be followed by another.
    let closing =
        if head.contains("Content-Length") { Connection::Close } else { Connection::KeepAlive };
    let send = if head.starts_with("HEAD ") { SendBody::HeadOnly } else { SendBody::Yes };
    let intent = match decided(format!("{head}\r\n\r\n").as_bytes()) {
        Ok(intent) => intent,
        Err(refusal) => return sent(&refusal, closing, send),
    };
    let response = match intent {
        Intent::Publish { kind, .. } => match check_payload(kind, body.as_bytes()) {
            Ok(()) => published(1, 0x0123_4567_89ab_cdef, 0),
            Err(refusal) => refusal,
        },
        Intent::Direct { kind, .. } | Intent::Broadcast { kind } => {
            match check_payload(kind, body.as_bytes()) {
                Ok(()) => told(0),
                Err(refusal) => refusal,
            }
        }
        Intent::NotifyUser { .. } | Intent::NotifyRoom { .. } => {
            match Notification::read(body.as_bytes()) {
                Ok(_) => told(0),
                Err(refusal) => refusal,
            }
        }
        Intent::Login => match Credentials::read(body.as_bytes()) {
            Ok(_) => logged_in(&LoginOutcome::Wrong),
            Err(refusal) => refusal,
        },
        Intent::Revoke => match read_revocation(body.as_bytes()) {
            Ok(_) => revoked(0),
            Err(refusal) => refusal,
        },
        Intent::Health => healthy(2),
        Intent::Ready => ready(true),
        Intent::Metrics => metrics("# EOF\n".to_owned()),
    };
    sent(&response, Connection::KeepAlive, send)
}

#[test]
fn the_document_shows_what_is_answered() {
    let document = include_str!("../../docs/protocols/http.md");
    let blocks: Vec<String> = document
        // What is marked `http auth` or `http rates` is replayed on the wire alone.
        .split("\n```http\n")
        .skip(1)
        .map(|rest| wire(rest.split_once("\n```").expect("a closed block").0))
        .collect();
    assert!(blocks.len() > 10, "the document has examples");
    for example in blocks.chunks(2) {
        let [request, response] = example else { panic!("a request without a response") };
        let response = response
            .replace("{date}", "Sun, 06 Nov 1994 08:49:37 GMT")
            .replace("{epoch}", "0123456789abcdef")
            .replace("{loops}", "2")
            .replace("{length}", "6")
            .replace("{metrics}", "# EOF\n");
        assert_eq!(answer(request), response, "to {request}");
        let body = request.split_once("\r\n\r\n").expect("a head").1;
        let announced = request.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let announced = announced.map_or(Ok(0), str::parse).expect("a length");
        assert_eq!(body.len(), announced, "the length announced by {request}");
    }
}
