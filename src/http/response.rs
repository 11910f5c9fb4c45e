//! Answers: status line, fields and a body of known length.
//!
//! Not here: who answers what, the 101 of an upgrade (`ws`). Invariants: every answer has its
//! length and its date; no control character gets into a field, whoever its value came from.

use serde::Serialize;
use std::borrow::Cow;
use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

/// The last second that a Date field can name: the end of the year 9999.
const DATE_SECONDS_MAX: u64 = 253_402_300_799;

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection {
    /// Another request may follow.
    KeepAlive,
    /// The answer is the last.
    Close,
}

/// Whether an answer's body is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendBody {
    /// It is.
    Yes,
    /// Only its length is told: the request was HEAD.
    HeadOnly,
}

/// An answer to one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    content_type: &'static str,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: Vec<u8>,
}

/// A problem document: RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Response {
    /// A problem document that says what is wrong; `detail` is for people.
    pub fn problem(status: u16, detail: &str) -> Self {
        let problem = Problem { kind: "about:blank", title: reason(status), status, detail };
        let body = serde_json::to_vec(&problem).expect("strings and a number always serialise");
        Self::text(status, "application/problem+json", body)
    }

    /// An answer with a JSON text.
    pub const fn json(status: u16, body: Vec<u8>) -> Self {
        Self::text(status, "application/json", body)
    }

    /// An answer with a body of this type.
    pub const fn text(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, fields: Vec::new(), body }
    }

    /// The same answer with one more field. Control characters in `value` are sent as blanks, so
    /// that no value can start a field or an answer of its own.
    pub fn with_field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let mut value = value.into();
        if value.contains(char::is_control) {
            value = Cow::Owned(value.replace(char::is_control, " "));
        }
        self.fields.push((name, value));
        self
    }

    /// The body as it will be sent.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Appends the answer to `out`.
    pub fn push(&self, out: &mut Vec<u8>, connection: Connection, body: SendBody, unix_ms: u64) {
        self.push_head(out, connection, unix_ms).expect("writing to a Vec never fails");
        match body {
            SendBody::Yes if has_content(self.status) => out.extend_from_slice(&self.body),
            SendBody::Yes | SendBody::HeadOnly => {}
        }
    }

    fn push_head(
        &self,
        out: &mut Vec<u8>,
        connection: Connection,
        unix_ms: u64,
    ) -> std::io::Result<()> {
        let seconds = (unix_ms / 1_000).min(DATE_SECONDS_MAX);
        let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds));
        write!(out, "HTTP/1.1 {} {}\r\nDate: {date}\r\n", self.status, reason(self.status))?;
        if has_content(self.status) {
            let (kind, length) = (self.content_type, self.body.len());
            write!(out, "Content-Type: {kind}\r\nContent-Length: {length}\r\n")?;
        }
        for (name, value) in &self.fields {
            write!(out, "{name}: {value}\r\n")?;
        }
        out.extend_from_slice(match connection {
            // HTTP/1.1 takes it for granted; an HTTP/1.0 client that asked needs to be told.
            Connection::KeepAlive => b"Connection: keep-alive\r\n\r\n",
            Connection::Close => b"Connection: close\r\n\r\n",
        });
        Ok(())
    }
}

/// Appends the interim answer that tells a client to send its body: RFC 9110 §15.2.1.
pub fn push_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// RFC 9110 §8.6: these never have a body, nor a length.
const fn has_content(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

/// The phrase that goes with a status.
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(response: &Response, connection: Connection, body: SendBody) -> String {
        let mut out = Vec::new();
        // RFC 9110 §5.6.7's own example of a date.
        response.push(&mut out, connection, body, 784_111_777_999);
        String::from_utf8(out).expect("an answer of ASCII")
    }

    #[test]
    fn an_answer_reads_byte_for_byte() {
        let response = Response::json(200, b"{}".to_vec()).with_field("Retry-After", "5");
        assert_eq!(
            pushed(&response, Connection::KeepAlive, SendBody::Yes),
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\nRetry-After: 5\r\n\
             Connection: keep-alive\r\n\r\n{}"
        );
    }

    #[test]
    fn a_head_is_answered_with_the_length_alone_and_a_close_is_said() {
        let response = Response::text(503, "text/plain", b"not ready".to_vec());
        assert_eq!(
            pushed(&response, Connection::Close, SendBody::HeadOnly),
            "HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Content-Type: text/plain\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn a_problem_is_escaped_json() {
        let response = Response::problem(404, "no \"room\"\r\n\u{e9}");
        assert_eq!(
            str::from_utf8(response.body()),
            Ok("{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\
                \"detail\":\"no \\\"room\\\"\\r\\n\u{e9}\"}")
        );
        assert_eq!(response.content_type, "application/problem+json");
    }

    #[test]
    fn statuses_without_content_send_none() {
        for status in [204, 304] {
            let response = Response::text(status, "text/plain", b"never".to_vec());
            let sent = pushed(&response, Connection::KeepAlive, SendBody::Yes);
            assert!(sent.ends_with("\r\n\r\n") && !sent.contains("Content-"), "{sent}");
        }
    }

    #[test]
    fn a_field_value_can_not_start_another_field() {
        let response =
            Response::json(200, Vec::new()).with_field("A", "b\r\nSet-Cookie: c\0\u{85}");
        let sent = pushed(&response, Connection::Close, SendBody::Yes);
        assert!(sent.contains("\r\nA: b  Set-Cookie: c  \r\n"), "{sent}");
    }

    #[test]
    fn dates_no_calendar_has_are_the_last_it_has() {
        let mut out = Vec::new();
        Response::json(200, Vec::new()).push(&mut out, Connection::Close, SendBody::Yes, u64::MAX);
        let sent = String::from_utf8(out).expect("an answer of ASCII");
        assert!(sent.contains("Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n"), "{sent}");
    }

    #[test]
    fn continue_is_an_answer_without_fields() {
        let mut out = Vec::new();
        push_continue(&mut out);
        assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
    }
}
