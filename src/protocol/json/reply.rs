//! Answers to one request, each with its `id` where it had one.
//!
//! Not here: pages of lists (`list`), greetings (`greeting`).

use super::RequestId;
use super::write::{Object, push_number};
use crate::broker::{ErrorCode, RoomHandle, Unrecoverable};

/// The reply to a join, but for the messages in it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Joined<'a> {
    /// The join.
    pub id: Option<RequestId<'a>>,
    /// The room's name.
    pub room: &'a str,
    /// The room in binary records.
    pub handle: RoomHandle,
    /// Connections in the room, this one among them.
    pub members: u32,
    /// The room's epoch.
    pub epoch: u64,
    /// The last message before the next live one.
    pub seq: u64,
    /// Whether nothing is missing since the position that the join named.
    pub recovered: bool,
    /// Why not, if it named one.
    pub reason: Option<Unrecoverable>,
    /// The client's own messages that a replay to one without echo leaves out.
    pub own: &'a [u64],
    /// Who is there: a JSON array of entries.
    pub presence: Option<&'a [u8]>,
}

/// A page of a room's past, but for the messages in it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct History<'a> {
    /// The request.
    pub id: Option<RequestId<'a>>,
    /// The room's name.
    pub room: &'a str,
    /// The room's epoch.
    pub epoch: u64,
    /// Whether there is more than fits this page.
    pub more: bool,
}

/// What a client is told of a mistake.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ErrorReply<'a> {
    /// The stable word.
    pub code: ErrorCode,
    /// What is wrong and what would be right.
    pub message: &'a str,
    /// Where it is.
    pub field: Option<&'a str>,
    /// In which room.
    pub room: Option<&'a str>,
    /// The request.
    pub id: Option<RequestId<'a>>,
    /// When to try again.
    pub retry_after_ms: Option<u64>,
}

/// What is known of a room.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RoomInfo<'a> {
    /// The request.
    pub id: Option<RequestId<'a>>,
    /// The room's name.
    pub room: &'a str,
    /// Its life, if it exists.
    pub life: Option<RoomLife>,
}

/// The life of a room that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomLife {
    /// Connections in it.
    pub members: u32,
    /// Its epoch.
    pub epoch: u64,
    /// Its last message.
    pub seq: u64,
}

/// Appends the reply to a join as far as its messages: items with commas between them follow, then
/// [`push_list_tail`](super::push_list_tail).
pub fn push_joined_head(out: &mut Vec<u8>, joined: &Joined<'_>) {
    let object = Object::open(out, "room-joined")
        .id(joined.id)
        .text("room", joined.room)
        .number("handle", joined.handle.to_wire())
        .number("members", joined.members.into())
        .epoch(joined.epoch)
        .number("seq", joined.seq)
        .flag("recovered", joined.recovered)
        .maybe_text("reason", joined.reason.map(Unrecoverable::word));
    let object = match joined.own {
        [] => object,
        own => object.list("own", own, |out, seq| push_number(out, *seq)),
    };
    let object = match joined.presence {
        Some(entries) => object.raw("presence", entries),
        None => object,
    };
    object.open_list("messages");
}

/// Appends a page of history as far as its messages, which follow as those of a join do.
pub fn push_history_head(out: &mut Vec<u8>, history: &History<'_>) {
    Object::open(out, "message-history")
        .id(history.id)
        .text("room", history.room)
        .epoch(history.epoch)
        .flag("more", history.more)
        .open_list("messages");
}

/// Appends the reply to a publication; `room` where the client has to know which.
pub fn push_ack(
    out: &mut Vec<u8>,
    id: Option<RequestId<'_>>,
    room: Option<&str>,
    seq: u64,
    epoch: u64,
    receivers: u32,
) {
    Object::open(out, "ack")
        .id(id)
        .maybe_text("room", room)
        .number("seq", seq)
        .epoch(epoch)
        .number("receivers", receivers.into())
        .close();
}

/// Appends the reply to what has no room: a direct message or a broadcast.
pub fn push_ack_receivers(out: &mut Vec<u8>, id: Option<RequestId<'_>>, receivers: u32) {
    Object::open(out, "ack").id(id).number("receivers", receivers.into()).close();
}

/// Appends the reply to a leave.
pub fn push_left(out: &mut Vec<u8>, id: Option<RequestId<'_>>, room: &str) {
    Object::open(out, "room-left").id(id).text("room", room).close();
}

/// Appends what a member is told that was taken out of a room in which nothing happens.
pub fn push_left_idle(out: &mut Vec<u8>, room: &str) {
    Object::open(out, "room-left").text("room", room).text("reason", "idle").close();
}

/// Appends the reply to a creation: `success` is whether the room is new.
pub fn push_created(out: &mut Vec<u8>, id: Option<RequestId<'_>>, room: &str, success: bool) {
    Object::open(out, "room-created").id(id).text("room", room).flag("success", success).close();
}

/// Appends what a client is told of a mistake.
pub fn push_error(out: &mut Vec<u8>, error: &ErrorReply<'_>) {
    Object::open(out, "error")
        .id(error.id)
        .text("code", error.code.word())
        .text("message", error.message)
        .maybe_text("field", error.field)
        .maybe_text("room", error.room)
        .maybe_number("retryAfter", error.retry_after_ms)
        .close();
}

/// Appends what is known of a room.
pub fn push_room_info(out: &mut Vec<u8>, info: &RoomInfo<'_>) {
    let members = info.life.map_or(0, |life| life.members);
    let object = Object::open(out, "room-info")
        .id(info.id)
        .text("room", info.room)
        .flag("exists", info.life.is_some())
        .number("members", members.into());
    match info.life {
        Some(life) => object.epoch(life.epoch).number("seq", life.seq).close(),
        None => object.close(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{push_list_tail, written};
    use super::*;
    use crate::broker::LoopId;

    const ID: Option<RequestId<'_>> = Some(RequestId::of_json("\"j-1\""));

    #[test]
    fn a_joins_messages_come_last_and_what_does_not_hold_is_left_out() {
        let joined = Joined {
            id: ID,
            room: "lobby",
            handle: RoomHandle { home: LoopId(1), slot: 1, generation: 0 },
            members: 3,
            epoch: 0xf00d,
            seq: 9,
            recovered: false,
            reason: Some(Unrecoverable::Evicted),
            own: &[7, 8],
            presence: Some(b"[]"),
        };
        let whole = |joined: &Joined<'_>| {
            written(|out| {
                push_joined_head(out, joined);
                push_list_tail(out);
            })
        };
        assert_eq!(
            whole(&joined),
            concat!(
                r#"{"type":"room-joined","id":"j-1","room":"lobby","handle":65,"members":3,"#,
                r#""epoch":"000000000000f00d","seq":9,"recovered":false,"reason":"evicted","#,
                r#""own":[7,8],"presence":[],"messages":[]}"#
            )
        );
        let plain =
            Joined { id: None, recovered: true, reason: None, own: &[], presence: None, ..joined };
        assert_eq!(
            whole(&plain),
            concat!(
                r#"{"type":"room-joined","room":"lobby","handle":65,"members":3,"#,
                r#""epoch":"000000000000f00d","seq":9,"recovered":true,"messages":[]}"#
            )
        );
    }

    #[test]
    fn replies_have_the_fields_of_the_document() {
        let page = History { id: ID, room: "lobby", epoch: 1, more: true };
        assert_eq!(
            written(|out| {
                push_history_head(out, &page);
                push_list_tail(out);
            }),
            concat!(
                r#"{"type":"message-history","id":"j-1","room":"lobby","#,
                r#""epoch":"0000000000000001","more":true,"messages":[]}"#
            )
        );
        assert_eq!(
            written(|out| push_ack(out, ID, Some("lobby"), 5, 1, 2)),
            concat!(
                r#"{"type":"ack","id":"j-1","room":"lobby","seq":5,"#,
                r#""epoch":"0000000000000001","receivers":2}"#
            )
        );
        assert_eq!(
            written(|out| push_ack_receivers(out, ID, 2)),
            r#"{"type":"ack","id":"j-1","receivers":2}"#
        );
        assert_eq!(
            written(|out| push_left_idle(out, "lobby")),
            r#"{"type":"room-left","room":"lobby","reason":"idle"}"#
        );
        assert_eq!(
            written(|out| push_left(out, None, "lobby")),
            r#"{"type":"room-left","room":"lobby"}"#
        );
        assert_eq!(
            written(|out| push_created(out, None, "lobby", true)),
            r#"{"type":"room-created","room":"lobby","success":true}"#
        );
    }

    #[test]
    fn an_error_names_what_it_can() {
        let bare = ErrorReply {
            code: ErrorCode::BadJson,
            message: "no \"object\"",
            field: None,
            room: None,
            id: None,
            retry_after_ms: None,
        };
        assert_eq!(
            written(|out| push_error(out, &bare)),
            r#"{"type":"error","code":"bad-json","message":"no \"object\""}"#
        );
        let full = ErrorReply {
            field: Some("room"),
            room: Some("lobby"),
            id: ID,
            retry_after_ms: Some(50),
            ..bare
        };
        let told = written(|out| push_error(out, &full));
        assert!(told.ends_with(r#","field":"room","room":"lobby","retryAfter":50}"#), "{told}");
    }

    #[test]
    fn a_room_that_does_not_exist_has_no_life() {
        let info = RoomInfo { id: None, room: "a", life: None };
        assert_eq!(
            written(|out| push_room_info(out, &info)),
            r#"{"type":"room-info","room":"a","exists":false,"members":0}"#
        );
        let life = Some(RoomLife { members: 2, epoch: 1, seq: 3 });
        assert_eq!(
            written(|out| push_room_info(out, &RoomInfo { life, ..info })),
            concat!(
                r#"{"type":"room-info","room":"a","exists":true,"members":2,"#,
                r#""epoch":"0000000000000001","seq":3}"#
            )
        );
    }
}
