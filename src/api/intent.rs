//! What a request asks for, found in its head before any of its body is read.
//!
//! Not here: the routes themselves and their methods (`http`), the body (`payload`). Invariant: a
//! request that is refused here had no effect, and its answer names the rule it broke.

use crate::auth::{OriginPolicy, OriginRefused};
use crate::broker::{PayloadKind, RoomName, User};
use crate::http::{self, Head, Response, Route};
use crate::limits::{DEDUPE_KEY_BYTES_MAX, FIELDS_BYTES_MAX};

/// Something the API does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Send the body to every member of `room`, creating the room if need be.
    Publish {
        /// The room.
        room: RoomName,
        /// How the body is to be read; [`super::check_payload`] says whether it is that.
        kind: PayloadKind,
        /// By what a repeat of the request is recognised.
        dedupe: Option<Box<str>>,
    },
    /// Send the body to all connections of `user`.
    Direct {
        /// The user's id.
        user: Box<str>,
        /// How the body is to be read; never binary.
        kind: PayloadKind,
    },
    /// Send the body to every native connection.
    Broadcast {
        /// How the body is to be read; never binary.
        kind: PayloadKind,
    },
    /// Notify all connections of `user`; [`super::Notification`] reads the body.
    NotifyUser {
        /// The user's id.
        user: Box<str>,
    },
    /// Notify the native members of `room`, if it exists; [`super::Notification`] reads the body.
    NotifyRoom {
        /// The room.
        room: RoomName,
    },
    /// Get a token for a name and a password; [`super::Credentials::read`] reads the body.
    Login,
    /// Let tokens in no more; [`super::read_revocation`] reads the body.
    Revoke,
    /// Ask whether every loop runs and delivers.
    Health,
    /// Ask whether new connections are welcome.
    Ready,
    /// Ask for the counters.
    Metrics,
}

/// Why a request is not served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The page that it comes from may not ask for it.
    Origin(OriginRefused),
    /// For what it says; with the answer.
    Request(Response),
}

impl From<Response> for Refusal {
    fn from(response: Response) -> Self {
        Self::Request(response)
    }
}

impl Intent {
    /// The longest body that it takes, where messages may have `message_bytes_max`.
    pub fn body_bytes_max(&self, message_bytes_max: usize) -> usize {
        match self {
            Self::Login | Self::Revoke => FIELDS_BYTES_MAX.min(message_bytes_max),
            Self::Publish { .. }
            | Self::Direct { .. }
            | Self::Broadcast { .. }
            | Self::NotifyUser { .. }
            | Self::NotifyRoom { .. }
            | Self::Health
            | Self::Ready
            | Self::Metrics => message_bytes_max,
        }
    }
}

/// Finds what the request under `head` asks for, or the answer that refuses it.
///
/// Called once per request, when its head is complete and `route` is not served as a WebSocket:
/// [`Route::Raw`], [`Route::Native`] and [`Route::Echo`] that come this far are not served here at
/// all.
pub fn decide(
    head: &Head<'_>,
    route: Route<'_>,
    origins: &OriginPolicy,
) -> Result<Intent, Refusal> {
    let intent = match route {
        Route::Raw { .. } | Route::Native | Route::Echo | Route::Unknown => {
            return Err(nowhere().into());
        }
        Route::Healthz => Intent::Health,
        Route::Readyz => Intent::Ready,
        Route::Metrics => Intent::Metrics,
        Route::Messages { .. }
        | Route::RoomNotifications { .. }
        | Route::UserMessages { .. }
        | Route::UserNotifications { .. }
        | Route::Broadcast
        | Route::Login
        | Route::Revocations => {
            check_method(head, route)?;
            check_origin(head, origins)?;
            return Ok(decide_sending(head, route)?);
        }
    };
    check_method(head, route)?;
    Ok(intent)
}

/// As [`decide`], for what has a body that goes to others.
fn decide_sending(head: &Head<'_>, route: Route<'_>) -> Result<Intent, Response> {
    Ok(match route {
        Route::Messages { room } => Intent::Publish {
            room: room_name(room)?,
            kind: payload_kind(head)?,
            dedupe: idempotency_key(head)?,
        },
        Route::UserMessages { user } => {
            Intent::Direct { user: user_id(user)?, kind: content_kind(head)? }
        }
        Route::Broadcast => Intent::Broadcast { kind: content_kind(head)? },
        Route::UserNotifications { user } => {
            payload_kind(head)?;
            Intent::NotifyUser { user: user_id(user)? }
        }
        Route::RoomNotifications { room } => {
            payload_kind(head)?;
            Intent::NotifyRoom { room: room_name(room)? }
        }
        Route::Login => {
            payload_kind(head)?;
            Intent::Login
        }
        Route::Revocations => {
            payload_kind(head)?;
            Intent::Revoke
        }
        Route::Raw { .. }
        | Route::Native
        | Route::Echo
        | Route::Healthz
        | Route::Readyz
        | Route::Metrics
        | Route::Unknown => return Err(nowhere()),
    })
}

/// There is no such path, or it is not served.
pub fn nowhere() -> Response {
    Response::problem(
        404,
        "nothing is served here; try /raw/{room} with a WebSocket, \
         POST /v1/rooms/{room}/messages, or GET /healthz, /readyz, /metrics",
    )
}

fn check_method(head: &Head<'_>, route: Route<'_>) -> Result<(), Response> {
    if route.allowed_methods().contains(&head.method) {
        return Ok(());
    }
    let allow = route.allow_field();
    let problem = Response::problem(405, &format!("the methods allowed here are: {allow}"));
    Err(problem.with_field("Allow", allow))
}

/// A browser tells where the page comes from that makes it send: a page that may not connect may
/// not publish in its visitor's name either. Clients that are no browsers send no Origin.
fn check_origin(head: &Head<'_>, origins: &OriginPolicy) -> Result<(), Refusal> {
    origins.check_request(head.fields("origin"), head.host()).map_err(Refusal::Origin)
}

fn room_name(segment: &str) -> Result<RoomName, Response> {
    let decoded = http::decode_segment(segment)
        .ok_or_else(|| Response::problem(400, "the room's name in the path is badly encoded"))?;
    RoomName::parse(&decoded).map_err(|rule| Response::problem(400, &rule.to_string()))
}

fn user_id(segment: &str) -> Result<Box<str>, Response> {
    let decoded = http::decode_segment(segment)
        .ok_or_else(|| Response::problem(400, "the user's id in the path is badly encoded"))?;
    match User::check_id(&decoded) {
        Ok(id) => Ok(id.into()),
        Err(rule) => Err(Response::problem(400, &rule.to_string())),
    }
}

/// The key under which a repeat of the request is recognised.
fn idempotency_key(head: &Head<'_>) -> Result<Option<Box<str>>, Response> {
    let mut keys = head.fields("idempotency-key");
    let Some(first) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Response::problem(400, "Idempotency-Key is there more than once"));
    }
    let key =
        str::from_utf8(first).ok().filter(|key| (1..=DEDUPE_KEY_BYTES_MAX).contains(&key.len()));
    key.map(|key| Some(key.into())).ok_or_else(|| {
        let rule = format!("Idempotency-Key is 1 to {DEDUPE_KEY_BYTES_MAX} bytes of text");
        Response::problem(400, &rule)
    })
}

/// The kind of a body that becomes the content of a native message.
fn content_kind(head: &Head<'_>) -> Result<PayloadKind, Response> {
    match payload_kind(head)? {
        PayloadKind::Binary => {
            let rule =
                "the content of a native message is JSON or text: application/json or text/*";
            Err(Response::problem(415, rule))
        }
        kind @ (PayloadKind::Text | PayloadKind::Json) => Ok(kind),
    }
}

fn payload_kind(head: &Head<'_>) -> Result<PayloadKind, Response> {
    // A coded body is bytes that no member could read: RFC 9110 §15.5.16 has an answer for it.
    if head.fields("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        let problem = Response::problem(415, "Content-Encoding is not supported: send plain bytes");
        return Err(problem.with_field("Accept-Encoding", "identity"));
    }
    let mut types = head.fields("content-type");
    let first = types.next().unwrap_or_default();
    if types.next().is_some() {
        return Err(Response::problem(400, "Content-Type is there more than once"));
    }
    Ok(kind_of(first))
}

/// The kind of a body of this media type: parameters don't count, unknown types are binary.
fn kind_of(content_type: &[u8]) -> PayloadKind {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    match essence.as_slice() {
        b"" | b"application/x-www-form-urlencoded" => PayloadKind::Text,
        b"application/json" => PayloadKind::Json,
        other if other.starts_with(b"text/") => PayloadKind::Text,
        other if other.starts_with(b"application/") && other.ends_with(b"+json") => {
            PayloadKind::Json
        }
        _other => PayloadKind::Binary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::replay::{decided, status};

    /// Asks with these lines as the head: request line, then fields other than Host.
    fn ask(line: &str, fields: &[&[u8]]) -> Result<Intent, u16> {
        let mut head = format!("{line} HTTP/1.1\r\nHost: chat.example\r\n").into_bytes();
        for field in fields {
            head.extend_from_slice(field);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        decided(&head).map_err(|response| status(&response))
    }

    fn post(fields: &[&[u8]]) -> Result<Intent, u16> {
        ask("POST /v1/rooms/lobby/messages", fields)
    }

    fn kind(content_type: &[u8]) -> PayloadKind {
        match post(&[&[b"Content-Type: ", content_type].concat()]) {
            Ok(Intent::Publish { kind, .. }) => kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_route_has_its_intent_and_head_is_as_get() {
        for method in ["GET", "HEAD"] {
            assert_eq!(ask(&format!("{method} /healthz"), &[]), Ok(Intent::Health));
            assert_eq!(ask(&format!("{method} /readyz"), &[]), Ok(Intent::Ready));
            assert_eq!(ask(&format!("{method} /metrics"), &[]), Ok(Intent::Metrics));
        }
        let room = RoomName::parse("lobby").expect("a name");
        let (kind, dedupe) = (PayloadKind::Text, None);
        assert_eq!(post(&[]), Ok(Intent::Publish { room: room.clone(), kind, dedupe }));
        let user: Box<str> = "a/b c".into();
        let asked = ask("POST /v1/users/a%2Fb%20c/messages", &[]);
        assert_eq!(asked, Ok(Intent::Direct { user: user.clone(), kind }));
        let asked = ask("POST /v1/users/a%2Fb%20c/notifications", &[]);
        assert_eq!(asked, Ok(Intent::NotifyUser { user }));
        let asked = ask("POST /v1/rooms/lobby/notifications", &[]);
        assert_eq!(asked, Ok(Intent::NotifyRoom { room }));
        let json: &[&[u8]] = &[b"Content-Type: application/json"];
        assert_eq!(
            ask("POST /v1/broadcast", json),
            Ok(Intent::Broadcast { kind: PayloadKind::Json })
        );
        assert_eq!(ask("POST /v1/auth", json), Ok(Intent::Login));
        assert_eq!(ask("POST /v1/revocations", &[]), Ok(Intent::Revoke));
    }

    #[test]
    fn a_body_that_holds_fields_may_be_short_only() {
        let intents =
            [Intent::Login, Intent::Revoke, Intent::Broadcast { kind: PayloadKind::Json }];
        let most = intents.map(|intent| intent.body_bytes_max(1 << 20));
        assert_eq!(most, [FIELDS_BYTES_MAX, FIELDS_BYTES_MAX, 1 << 20]);
        assert_eq!(Intent::Login.body_bytes_max(10), 10, "never more than a message");
    }

    #[test]
    fn what_goes_to_users_has_the_rules_of_publishing() {
        let evil: &[u8] = b"Origin: http://evil.example";
        for (path, binary) in [
            ("/v1/users/42/messages", Err(415)),
            ("/v1/broadcast", Err(415)),
            ("/v1/users/42/notifications", Ok(())),
            ("/v1/rooms/lobby/notifications", Ok(())),
            ("/v1/auth", Ok(())),
            ("/v1/revocations", Ok(())),
        ] {
            let post = |fields: &[&[u8]]| ask(&format!("POST {path}"), fields).map(|_| ());
            assert_eq!(post(&[evil]), Err(403), "{path}");
            assert_eq!(post(&[b"Content-Encoding: gzip"]), Err(415), "{path}");
            assert_eq!(post(&[b"Content-Type: image/png"]), binary, "{path}");
            assert_eq!(ask(&format!("GET {path}"), &[]).map(|_| ()), Err(405), "{path}");
        }
        for user in ["%ff", "a%00b", &"x".repeat(129)] {
            assert_eq!(ask(&format!("POST /v1/users/{user}/messages"), &[]), Err(400), "{user}");
        }
    }

    #[test]
    fn an_idempotency_key_is_there_once_and_bounded() {
        let key = |fields: &[&[u8]]| match post(fields) {
            Ok(Intent::Publish { dedupe, .. }) => Ok(dedupe.map(String::from)),
            Ok(other) => panic!("{other:?}"),
            Err(status) => Err(status),
        };
        let field = |bytes: usize| format!("Idempotency-Key: {}", "k".repeat(bytes)).into_bytes();
        assert_eq!(key(&[]), Ok(None));
        let most = DEDUPE_KEY_BYTES_MAX;
        assert_eq!(key(&[&field(most)]), Ok(Some("k".repeat(most))));
        for bad in [field(0), field(most + 1), b"Idempotency-Key: \xff".to_vec()] {
            assert_eq!(key(&[&bad]), Err(400), "{}", bad.escape_ascii());
        }
        assert_eq!(key(&[&field(1), &field(1)]), Err(400));
    }

    #[test]
    fn unknown_paths_are_404_and_unserved_websocket_routes_too() {
        for path in ["/", "/v1", "/v1/rooms/lobby", "/healthz/x", "/echo", "/raw/lobby"] {
            for method in ["GET", "POST", "OPTIONS"] {
                assert_eq!(ask(&format!("{method} {path}"), &[]), Err(404), "{method} {path}");
            }
        }
    }

    #[test]
    fn wrong_methods_are_405_and_the_right_ones_are_told() {
        for line in [
            "GET /v1/rooms/lobby/messages",
            "HEAD /v1/rooms/lobby/messages",
            "PUT /v1/rooms/lobby/messages",
            "OPTIONS /v1/rooms/lobby/messages",
            "POST /healthz",
            "DELETE /readyz",
            "BREW /metrics",
        ] {
            assert_eq!(ask(line, &[]), Err(405), "{line}");
        }
    }

    #[test]
    fn room_names_are_decoded_and_their_rule_is_named() {
        let name = |room| match ask(&format!("POST /v1/rooms/{room}/messages"), &[]) {
            Ok(Intent::Publish { room, .. }) => Ok(room.to_string()),
            Ok(other) => panic!("{other:?}"),
            Err(status) => Err(status),
        };
        assert_eq!(name("chat:42"), Ok("chat:42".to_owned()));
        assert_eq!(name("a%2Fb%25"), Ok("a/b%".to_owned()));
        for bad in ["a%20b", "%00", "a%0d%0ab", "%ff", "gr%C3%BC%C3%9F", &"x".repeat(129)] {
            assert_eq!(name(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn a_page_of_another_host_may_not_publish() {
        assert!(post(&[b"Origin: http://chat.example"]).is_ok());
        for evil in [
            "http://evil.example",
            "null",
            "",
            "http://chat.example.evil.example",
            "http://evilchat.example",
            "http://chat.example:8080",
        ] {
            assert_eq!(post(&[format!("Origin: {evil}").as_bytes()]), Err(403), "{evil}");
        }
        let ours = b"Origin: http://chat.example";
        assert_eq!(post(&[ours, b"Origin: http://evil.example"]), Err(403));
        assert_eq!(post(&[ours, ours]), Err(403));
        // A page may ask for what changes nothing; its browser keeps the answer from it.
        assert_eq!(ask("GET /healthz", &[b"Origin: http://evil.example"]), Ok(Intent::Health));
    }

    #[test]
    fn the_content_type_decides_the_kind() {
        for text in [
            &b""[..],
            b" ",
            b"text/plain",
            b"TEXT/html; charset=utf-8",
            b"text/json",
            b"application/x-www-form-urlencoded",
            b"application/x-www-form-urlencoded ; a=b",
        ] {
            assert_eq!(kind(text), PayloadKind::Text, "{}", text.escape_ascii());
        }
        for json in
            [&b"application/json"[..], b"Application/JSON;charset=utf-8", b"application/ld+json"]
        {
            assert_eq!(kind(json), PayloadKind::Json, "{}", json.escape_ascii());
        }
        for binary in [
            &b"application/octet-stream"[..],
            b"image/png",
            b"application/jsonp",
            b"text",
            b"multipart/form-data; boundary=x",
            b"application/json, text/plain",
            b"\xff",
        ] {
            assert_eq!(kind(binary), PayloadKind::Binary, "{}", binary.escape_ascii());
        }
    }

    #[test]
    fn ambiguous_types_and_coded_bodies_are_refused() {
        let twice: [&[u8]; 2] = [b"Content-Type: text/plain", b"content-type: application/json"];
        assert_eq!(post(&twice), Err(400));
        assert_eq!(post(&[b"Content-Encoding: gzip"]), Err(415));
        assert!(post(&[b"Content-Encoding: Identity"]).is_ok());
    }
}
