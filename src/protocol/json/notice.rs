//! What clients are told without having asked: who came and went, what was missed, what others say.
//!
//! Invariant: no notice to more than one has a field that depends on who gets it. `user_json` and
//! `sender_json` are as `push_user` writes them.

use super::write::{Object, push_text};
use crate::broker::{Gap, ReceiptStatus, Status};

/// What a notice of a user says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserChange {
    /// Its first connection came.
    Online,
    /// Its last connection is gone.
    Offline,
    /// It says something else of itself.
    Status,
}

/// Why a client is advised to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdviceReason {
    /// The process is shutting down.
    Drain,
    /// The process has more to do than it can.
    Overload,
}

impl UserChange {
    const fn kind(self) -> &'static str {
        match self {
            Self::Online => "user-online",
            Self::Offline => "user-offline",
            Self::Status => "user-status",
        }
    }
}

impl AdviceReason {
    /// Stable word, as in `reason` on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Overload => "overload",
        }
    }
}

/// Appends a notice of messages that a member will not get.
pub fn push_gap(out: &mut Vec<u8>, room: &str, epoch: u64, gap: &Gap) {
    Object::open(out, "gap")
        .text("room", room)
        .epoch(epoch)
        .number("from", gap.from)
        .number("to", gap.to)
        .number("count", gap.count)
        .text("reason", gap.reason.word())
        .close();
}

/// Appends a notice that a user types, or no longer does.
pub fn push_typing(out: &mut Vec<u8>, room: &str, user_json: &[u8], is_typing: bool) {
    Object::open(out, "typing")
        .text("room", room)
        .raw("user", user_json)
        .flag("isTyping", is_typing)
        .close();
}

/// Appends a notice that a user came into a room.
pub fn push_user_joined(out: &mut Vec<u8>, room: &str, user_json: &[u8], time_ms: u64) {
    push_visit(out, "user-joined", room, user_json, time_ms);
}

/// Appends a notice that a user left a room.
pub fn push_user_left(out: &mut Vec<u8>, room: &str, user_json: &[u8], time_ms: u64) {
    push_visit(out, "user-left", room, user_json, time_ms);
}

fn push_visit(out: &mut Vec<u8>, kind: &str, room: &str, user_json: &[u8], time_ms: u64) {
    Object::open(out, kind)
        .text("room", room)
        .raw("user", user_json)
        .number("time", time_ms)
        .close();
}

/// Appends a notice of who came and went, each as JSON, and of how many are there now.
pub fn push_presence_diff<T: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    room: &str,
    joined: impl IntoIterator<Item = T>,
    left: impl IntoIterator<Item = T>,
    count: u32,
) {
    let push = |out: &mut Vec<u8>, json: T| out.extend_from_slice(json.as_ref());
    Object::open(out, "presence-diff")
        .text("room", room)
        .list("joined", joined, push)
        .list("left", left, push)
        .number("count", count.into())
        .close();
}

/// Appends what became of a message, for who sent it.
pub fn push_receipt(
    out: &mut Vec<u8>,
    room: &str,
    seq: u64,
    status: ReceiptStatus,
    sender_json: &[u8],
    time_ms: u64,
) {
    Object::open(out, "receipt")
        .text("room", room)
        .number("seq", seq)
        .text("status", status.word())
        .raw("sender", sender_json)
        .number("time", time_ms)
        .close();
}

/// Appends a message from one user to another; `content` is JSON.
pub fn push_direct(out: &mut Vec<u8>, sender_json: &[u8], time_ms: u64, content: impl AsRef<[u8]>) {
    push_word(out, "direct-message", sender_json, time_ms, content.as_ref());
}

/// Appends a message to everyone; `content` is JSON.
pub fn push_admin_message(
    out: &mut Vec<u8>,
    sender_json: &[u8],
    time_ms: u64,
    content: impl AsRef<[u8]>,
) {
    push_word(out, "admin-message", sender_json, time_ms, content.as_ref());
}

fn push_word(out: &mut Vec<u8>, kind: &str, sender_json: &[u8], time_ms: u64, content: &[u8]) {
    Object::open(out, kind)
        .raw("sender", sender_json)
        .number("time", time_ms)
        .raw("content", content)
        .close();
}

/// Appends a notification from whoever runs the service; `data` is JSON.
pub fn push_notification(
    out: &mut Vec<u8>,
    room: Option<&str>,
    title: &str,
    body: &str,
    data: Option<&str>,
    time_ms: u64,
) {
    let object = Object::open(out, "notification")
        .maybe_text("room", room)
        .raw("sender", SERVER_JSON)
        .number("time", time_ms)
        .text("title", title)
        .text("body", body);
    match data {
        Some(data) => object.raw("data", data.as_bytes()).close(),
        None => object.close(),
    }
}

/// Who sends what no user did, as `push_user` would write it.
pub const SERVER_JSON: &[u8] = br#"{"id":"server","username":"server"}"#;

/// Appends a notice that a user came, went, or says something else of itself.
pub fn push_user_status(
    out: &mut Vec<u8>,
    change: UserChange,
    user_json: &[u8],
    status: Status,
    time_ms: u64,
) {
    Object::open(out, change.kind())
        .raw("user", user_json)
        .number("time", time_ms)
        .text("status", status.word())
        .close();
}

/// Appends the advice to come back after a time, to one of `servers` if there are any.
pub fn push_advice(out: &mut Vec<u8>, retry_after_ms: u64, reason: AdviceReason, servers: &[&str]) {
    let object = Object::open(out, "advice")
        .number("retryAfter", retry_after_ms)
        .text("reason", reason.word());
    match servers {
        [] => object.close(),
        servers => {
            object.list("servers", servers, |out, server| push_text(out, server.as_bytes())).close()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::written;
    use super::*;
    use crate::broker::GapReason;

    const ADA: &[u8] = br#"{"id":"42","username":"Ada"}"#;

    #[test]
    fn notices_of_rooms_have_the_fields_of_the_document() {
        let gap = Gap { from: 3, to: 9, count: 5, reason: GapReason::SlowConsumer };
        assert_eq!(
            written(|out| push_gap(out, "a", 1, &gap)),
            concat!(
                r#"{"type":"gap","room":"a","epoch":"0000000000000001","from":3,"to":9,"#,
                r#""count":5,"reason":"slow-consumer"}"#
            )
        );
        assert_eq!(
            written(|out| push_typing(out, "a", ADA, true)),
            r#"{"type":"typing","room":"a","user":{"id":"42","username":"Ada"},"isTyping":true}"#
        );
        for (kind, told) in [
            ("user-joined", written(|out| push_user_joined(out, "a", ADA, 5))),
            ("user-left", written(|out| push_user_left(out, "a", ADA, 5))),
        ] {
            let rest = r#"","room":"a","user":{"id":"42","username":"Ada"},"time":5}"#;
            assert_eq!(told, format!(r#"{{"type":"{kind}{rest}"#));
        }
        assert_eq!(
            written(|out| push_presence_diff(out, "a", [ADA, ADA], [], 7)),
            concat!(
                r#"{"type":"presence-diff","room":"a","joined":[{"id":"42","username":"Ada"},"#,
                r#"{"id":"42","username":"Ada"}],"left":[],"count":7}"#
            )
        );
    }

    #[test]
    fn notices_of_users_have_the_fields_of_the_document() {
        for (change, kind) in [
            (UserChange::Online, "user-online"),
            (UserChange::Offline, "user-offline"),
            (UserChange::Status, "user-status"),
        ] {
            let told = written(|out| push_user_status(out, change, ADA, Status::Away, 5));
            let rest = r#"","user":{"id":"42","username":"Ada"},"time":5,"status":"away"}"#;
            assert_eq!(told, format!(r#"{{"type":"{kind}{rest}"#));
        }
        assert_eq!(
            written(|out| push_receipt(out, "a", 3, ReceiptStatus::Read, ADA, 5)),
            concat!(
                r#"{"type":"receipt","room":"a","seq":3,"status":"read","#,
                r#""sender":{"id":"42","username":"Ada"},"time":5}"#
            )
        );
    }

    #[test]
    fn words_to_users_say_who_and_when() {
        let rest = r#"","sender":{"id":"42","username":"Ada"},"time":5,"content":[1]}"#;
        for (kind, told) in [
            ("direct-message", written(|out| push_direct(out, ADA, 5, "[1]"))),
            ("admin-message", written(|out| push_admin_message(out, ADA, 5, b"[1]"))),
        ] {
            assert_eq!(told, format!(r#"{{"type":"{kind}{rest}"#));
        }
        assert_eq!(
            written(|out| push_notification(out, Some("a"), "T", "B", Some("{}"), 5)),
            concat!(
                r#"{"type":"notification","room":"a","sender":{"id":"server","#,
                r#""username":"server"},"time":5,"title":"T","body":"B","data":{}}"#
            )
        );
        let bare = written(|out| push_notification(out, None, "T", "B", None, 5));
        assert!(bare.ends_with(r#""title":"T","body":"B"}"#) && !bare.contains("room"), "{bare}");
    }

    #[test]
    fn advice_says_when_and_why_and_where_if_it_can() {
        assert_eq!(
            written(|out| push_advice(out, 50, AdviceReason::Drain, &[])),
            r#"{"type":"advice","retryAfter":50,"reason":"drain"}"#
        );
        assert_eq!(
            written(|out| push_advice(out, 50, AdviceReason::Overload, &["wss://b", "wss://c"])),
            concat!(
                r#"{"type":"advice","retryAfter":50,"reason":"overload","#,
                r#""servers":["wss://b","wss://c"]}"#
            )
        );
    }
}
