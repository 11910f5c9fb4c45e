//! What a connection is told of itself: the welcome, who it is, and that it is alive.

use super::RequestId;
use super::write::{Object, push_text};
use crate::broker::{ErrorCode, User};

/// What a welcome says: the first message of a connection, and the reply to each `hello`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Welcome<'a> {
    /// The `hello` that is answered.
    pub id: Option<RequestId<'a>>,
    /// The session's id, 32 hexadecimal digits, where sessions can be resumed.
    pub session: Option<&'a str>,
    /// The server's version.
    pub version: &'a str,
    /// The server's clock, in Unix milliseconds.
    pub time_ms: u64,
    /// Silence after which the server asks for a sign of life.
    pub heartbeat_interval_ms: u64,
    /// How long it waits for one.
    pub heartbeat_timeout_ms: u64,
    /// What the connection must keep to.
    pub limits: Limits,
    /// Who the connection is, as far as is known.
    pub user: Option<Identity<'a>>,
    /// What was agreed on.
    pub agreed: Agreed,
}

/// Who a connection is, as it is told itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity<'a> {
    /// The user.
    pub user: &'a User,
    /// Its roles by name.
    pub roles: &'a [Box<str>],
    /// When its token ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
}

/// Bounds that a client can keep to if it knows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one WebSocket message.
    pub message_bytes: u64,
    /// Bytes of one message's content.
    pub content_bytes: u64,
    /// Rooms of one connection.
    pub rooms: u64,
    /// Bytes of a request's id.
    pub request_id_bytes: u64,
}

/// What a `hello` asked for and gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Agreed {
    /// Messages in batches.
    pub batch: bool,
    /// Notices of users who come and go.
    pub presence: bool,
}

/// Appends a welcome without its closing brace: the rooms of a resumed session may stand there.
pub fn push_welcome_head(out: &mut Vec<u8>, welcome: &Welcome<'_>) {
    let (limits, agreed) = (&welcome.limits, &welcome.agreed);
    let object = Object::open(out, "welcome")
        .id(welcome.id)
        .maybe_text("session", welcome.session)
        .text("server", "fanfare")
        .text("version", welcome.version)
        .number("time", welcome.time_ms)
        .object("heartbeat", |object| {
            object
                .number("interval", welcome.heartbeat_interval_ms)
                .number("timeout", welcome.heartbeat_timeout_ms)
        })
        .object("limits", |object| {
            object
                .number("messageBytes", limits.message_bytes)
                .number("contentBytes", limits.content_bytes)
                .number("rooms", limits.rooms)
                .number("requestIdBytes", limits.request_id_bytes)
        });
    let object = match welcome.user {
        Some(user) => object.object("user", |object| profile(object, &user)),
        None => object,
    };
    object.flag("batch", agreed.batch).flag("presence", agreed.presence);
}

/// Goes on with a welcome as far as the rooms of a session that is resumed: what
/// [`push_joined_head`](super::push_joined_head) began, or [`push_room_refused`], with commas
/// between them, then [`push_list_tail`](super::push_list_tail).
pub fn push_welcome_rooms(out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"rooms\":[");
}

/// Appends a room of a resumed session that could not be had again.
pub fn push_room_refused(out: &mut Vec<u8>, room: &str, code: ErrorCode) {
    out.extend_from_slice(b"{\"room\":");
    push_text(out, room.as_bytes());
    out.extend_from_slice(b",\"error\":");
    push_text(out, code.word().as_bytes());
    out.push(b'}');
}

/// Appends a whole welcome.
pub fn push_welcome(out: &mut Vec<u8>, welcome: &Welcome<'_>) {
    push_welcome_head(out, welcome);
    out.push(b'}');
}

/// Appends the reply to a token that was accepted; it is good until `expires_ms`, if that is known.
pub fn push_auth_success(out: &mut Vec<u8>, id: Option<RequestId<'_>>, identity: &Identity<'_>) {
    Object::open(out, "auth-success")
        .id(id)
        .object("user", |object| profile(object, identity))
        .close();
}

/// Appends the reply to a token that was not.
pub fn push_auth_failed(
    out: &mut Vec<u8>,
    id: Option<RequestId<'_>>,
    code: ErrorCode,
    message: &str,
) {
    Object::open(out, "auth-failed")
        .id(id)
        .text("code", code.word())
        .text("message", message)
        .close();
}

/// Appends the reply to a ping.
pub fn push_pong(out: &mut Vec<u8>, id: Option<RequestId<'_>>) {
    Object::open(out, "pong").id(id).close();
}

/// Appends a heartbeat, asked for or not.
pub fn push_heartbeat(out: &mut Vec<u8>, id: Option<RequestId<'_>>) {
    Object::open(out, "heartbeat").id(id).close();
}

/// A user as it sees itself.
fn profile<'o>(object: Object<'o>, identity: &Identity<'_>) -> Object<'o> {
    object
        .text("id", identity.user.id())
        .text("username", identity.user.username())
        .list("roles", identity.roles, |out, role| push_text(out, role.as_bytes()))
        .maybe_number("expires", identity.expires_ms)
}

#[cfg(test)]
mod tests {
    use super::super::written;
    use super::*;
    use crate::broker::Role;

    #[test]
    fn a_welcome_says_what_was_agreed_and_what_to_keep_to() {
        let user = User::new("42", "Ada", Role::Admin).expect("a user");
        let welcome = Welcome {
            id: Some(RequestId::of_json("1")),
            session: Some("0123456789abcdef0123456789abcdef"),
            version: "0.1.0",
            time_ms: 5,
            heartbeat_interval_ms: 30_000,
            heartbeat_timeout_ms: 10_000,
            limits: Limits { message_bytes: 4, content_bytes: 3, rooms: 2, request_id_bytes: 1 },
            user: Some(Identity { user: &user, roles: &["admin".into()], expires_ms: None }),
            agreed: Agreed { batch: true, presence: false },
        };
        let head = concat!(
            r#"{"type":"welcome","id":1,"session":"0123456789abcdef0123456789abcdef","#,
            r#""server":"fanfare","version":"0.1.0","time":5,"#,
            r#""heartbeat":{"interval":30000,"timeout":10000},"#,
            r#""limits":{"messageBytes":4,"contentBytes":3,"rooms":2,"requestIdBytes":1},"#,
            r#""user":{"id":"42","username":"Ada","roles":["admin"]},"#,
            r#""batch":true,"presence":false"#
        );
        assert_eq!(written(|out| push_welcome(out, &welcome)), format!("{head}}}"));
        let mut open = Vec::new();
        push_welcome_head(&mut open, &welcome);
        assert_eq!(open, head.as_bytes());
        push_welcome_rooms(&mut open);
        push_room_refused(&mut open, "a", ErrorCode::RoomLimit);
        super::super::push_list_tail(&mut open);
        let rooms = r#","rooms":[{"room":"a","error":"room-limit"}]}"#;
        assert_eq!(open, format!("{head}{rooms}").into_bytes());
        let bare = Welcome { id: None, session: None, user: None, ..welcome };
        let bare = written(|out| push_welcome(out, &bare));
        assert!(bare.starts_with(r#"{"type":"welcome","server":"fanfare","#), "{bare}");
    }

    #[test]
    fn tokens_are_answered() {
        let user = User::new("42", "Ada", Role::Member).expect("a user");
        let roles = ["member".into()];
        let identity = Identity { user: &user, roles: &roles, expires_ms: Some(9) };
        assert_eq!(
            written(|out| push_auth_success(out, None, &identity)),
            concat!(
                r#"{"type":"auth-success","user":{"id":"42","username":"Ada","#,
                r#""roles":["member"],"expires":9}}"#
            )
        );
        assert_eq!(
            written(|out| push_auth_failed(out, None, ErrorCode::Unauthorized, "too old")),
            r#"{"type":"auth-failed","code":"unauthorized","message":"too old"}"#
        );
    }

    #[test]
    fn signs_of_life_echo_the_id() {
        let id = Some(RequestId::of_json("\"a\""));
        assert_eq!(written(|out| push_pong(out, id)), r#"{"type":"pong","id":"a"}"#);
        assert_eq!(written(|out| push_heartbeat(out, None)), r#"{"type":"heartbeat"}"#);
    }
}
