//! A text message of a native client, as the request that it is.
//!
//! Not here: bounds that a room sets on its content. Invariants: work is linear in the payload, and
//! nothing is copied but texts with escapes in them; a mistake says as much as could be read.

use super::fields::{Field, Fields};
use super::mistake::{Mistake, Wrong};
use super::request::{Ask, Created, Hello, Request, RequestId};
use super::scan::{Look, look, read_strictly};
use super::value;
use crate::broker::{
    BadRoomName, ErrorCode, Overflow, PresenceMode, ReceiptStatus, Status, check_json,
};
use crate::limits::{
    LIST_ENTRIES_MAX, PRESENCE_INFO_BYTES_MAX, REQUEST_DEPTH_MAX, REQUEST_ID_BYTES_MAX,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The requests there are, for who asks for another.
const TYPES: &str = "hello, auth, refresh, join-room, leave-room, create-room, room-message, \
    direct-message, broadcast, typing, receipt, presence, get-room, get-rooms, get-members, \
    get-history, get-online-users, ping, heartbeat";

const WANTED_OPTIONS: &str = "an object of `historyMessages` (a whole number), `presence`, \
    `overflow` (words), `lastValue`, `echo` (`true` or `false`), each of which may be missing";

/// Digits of a session's id: 128 bits.
const SESSION_DIGITS: usize = 32;

const RECEIPTS: [(&str, ReceiptStatus); 2] = [
    (ReceiptStatus::Delivered.word(), ReceiptStatus::Delivered),
    (ReceiptStatus::Read.word(), ReceiptStatus::Read),
];
const STATUSES: [(&str, Status); 3] = [
    (Status::Online.word(), Status::Online),
    (Status::Away.word(), Status::Away),
    (Status::Offline.word(), Status::Offline),
];
const MODES: [(&str, PresenceMode); 4] = [
    ("off", PresenceMode::Off),
    ("count", PresenceMode::Count),
    ("diff", PresenceMode::Diff),
    ("full", PresenceMode::Full),
];
const OVERFLOWS: [(&str, Overflow); 4] = [
    ("disconnect", Overflow::Disconnect),
    ("drop-oldest", Overflow::DropOldest),
    ("drop-newest", Overflow::DropNewest),
    ("latest", Overflow::Latest),
];

/// Reads one text message as a request.
pub fn decode(payload: &[u8]) -> Result<Request<'_>, Mistake<'_>> {
    let mut fields = Fields::default();
    let request = read(&mut fields, payload).and_then(|()| request(&fields));
    request.map_err(|Wrong { code, field, message }| {
        // The id itself may be what no parser takes.
        let id = id(&fields).ok().flatten().filter(|id| check_json(id.json()).is_ok());
        let room = fields.room().ok().flatten();
        Mistake { code, field, message, id, room }
    })
}

fn read<'a>(fields: &mut Fields<'a>, payload: &'a [u8]) -> Result<(), Wrong> {
    let payload =
        simdutf8::basic::from_utf8(payload).map_err(|_| Wrong::unreadable("a request is UTF-8"))?;
    match look(payload.as_bytes()) {
        Look::Plain => fields.read(payload),
        Look::Odd => fields.read(payload).and_then(|()| read_strictly(payload)),
        Look::Deep => Err(Wrong::unreadable(format!(
            "a request has at most {REQUEST_DEPTH_MAX} arrays and objects within each other"
        ))),
    }
}

fn request<'a>(fields: &Fields<'a>) -> Result<Request<'a>, Wrong> {
    let request = Request { id: id(fields)?, ask: ask(fields)? };
    fields.check().map(|()| request)
}

fn id<'a>(fields: &Fields<'a>) -> Result<Option<RequestId<'a>>, Wrong> {
    let Some(raw) = fields.value(Field::Id) else { return Ok(None) };
    let bytes = match raw.as_bytes().first() {
        Some(b'"') => raw.len() - 2,
        Some(b'-' | b'0'..=b'9') => raw.len(),
        _ => return Err(Wrong::bad(Field::Id.name(), "a string or a number")),
    };
    let fits = bytes <= REQUEST_ID_BYTES_MAX;
    let long = || Wrong::long(Field::Id.name(), REQUEST_ID_BYTES_MAX);
    fits.then(|| Some(RequestId::of_json(raw))).ok_or_else(long)
}

fn ask<'a>(fields: &Fields<'a>) -> Result<Ask<'a>, Wrong> {
    let name = needed(fields.text(Field::Type)?, Field::Type, "what the request is")?;
    Ok(match &*name {
        "room-message" | "chat-message" | "chat:message" | "message" => Ask::Publish {
            room: room(fields)?,
            content: content(fields)?,
            key: fields.key(Field::Key)?,
            dedupe: fields.key(Field::Dedupe)?,
        },
        "hello" => hello(fields)?,
        "auth" => Ask::Auth { token: token(fields)? },
        "refresh" => Ask::Refresh { token: token(fields)? },
        "join-room" | "join_room" | "room:join" => Ask::Join {
            room: room(fields)?,
            since: fields.position(Field::Since)?,
            history: fields.count(Field::History)?,
            presence: fields.flag(Field::Presence)?,
            echo: fields.flag(Field::Echo)?,
        },
        "leave-room" | "leave_room" | "room:leave" => Ask::Leave { room: room(fields)? },
        "create-room" | "create_room" | "room:create" => {
            Ask::Create { room: room(fields)?, options: created(fields)? }
        }
        "direct-message" => {
            let user =
                needed(fields.user(Field::User)?, Field::User, "the id of who is to get it")?;
            Ask::Direct { user, content: content(fields)? }
        }
        "broadcast" => {
            Ask::Broadcast { content: content(fields)?, echo: fields.flag(Field::Echo)? }
        }
        "typing" => {
            let is_typing = fields.flag(Field::IsTyping)?;
            let is_typing = needed(is_typing, Field::IsTyping, "`true` or `false`")?;
            Ask::Typing { room: room(fields)?, is_typing }
        }
        "receipt" => receipt(fields)?,
        "presence" => presence(fields)?,
        "get-room" => Ask::Room { room: room(fields)? },
        "get-rooms" => Ask::Rooms {
            prefix: fields.name_part(Field::Prefix)?,
            limit: page(fields)?,
            after: fields.name_part(Field::After)?,
        },
        "get-members" => Ask::Members {
            room: room(fields)?,
            limit: page(fields)?,
            after: fields.user(Field::After)?,
        },
        "get-history" => Ask::History {
            room: room(fields)?,
            limit: fields.limit()?,
            before: fields.number(Field::Before)?,
            since: fields.position(Field::Since)?,
        },
        "get-online-users" => {
            Ask::OnlineUsers { limit: page(fields)?, after: fields.user(Field::After)? }
        }
        "ping" => Ask::Ping,
        "heartbeat" => Ask::Heartbeat,
        _ => return Err(unknown_type()),
    })
}

#[cold]
fn unknown_type() -> Wrong {
    let field = Some(Field::Type.name());
    Wrong { code: ErrorCode::UnknownType, field, message: format!("type: one of {TYPES}").into() }
}

fn needed<T>(value: Option<T>, field: Field, wanted: &str) -> Result<T, Wrong> {
    value.ok_or_else(|| Wrong::missing(field.name(), wanted))
}

fn room<'a>(fields: &Fields<'a>) -> Result<Cow<'a, str>, Wrong> {
    fields.room()?.ok_or_else(|| Wrong::missing(Field::Room.name(), &BadRoomName.to_string()))
}

fn content<'a>(fields: &Fields<'a>) -> Result<&'a str, Wrong> {
    needed(fields.raw(Field::Content), Field::Content, "any JSON")
}

fn token<'a>(fields: &Fields<'a>) -> Result<Cow<'a, str>, Wrong> {
    needed(fields.text(Field::Token)?, Field::Token, "a string")
}

fn page(fields: &Fields<'_>) -> Result<Option<u32>, Wrong> {
    Ok(fields.limit()?.map(|limit| limit.min(LIST_ENTRIES_MAX)))
}

fn hello<'a>(fields: &Fields<'a>) -> Result<Ask<'a>, Wrong> {
    let session = fields.text(Field::Session)?;
    let is_session = |said: &Cow<'_, str>| {
        said.len() == SESSION_DIGITS && said.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    if session.as_ref().is_some_and(|said| !is_session(said)) {
        let wanted = "32 hexadecimal digits, as the welcome of that session said";
        return Err(Wrong::bad(Field::Session.name(), wanted));
    }
    Ok(Ask::Hello(Box::new(Hello {
        batch: fields.flag(Field::Batch)?,
        heartbeat: fields.flag(Field::Heartbeat)?,
        presence: fields.flag(Field::Presence)?,
        session,
        positions: fields.positions()?,
    })))
}

fn receipt<'a>(fields: &Fields<'a>) -> Result<Ask<'a>, Wrong> {
    let (seq, status) = (fields.number(Field::Seq)?, fields.word(Field::Status, &RECEIPTS)?);
    Ok(Ask::Receipt {
        room: room(fields)?,
        seq: needed(seq, Field::Seq, "the message's `seq`")?,
        status: needed(status, Field::Status, "\"delivered\" or \"read\"")?,
    })
}

fn presence<'a>(fields: &Fields<'a>) -> Result<Ask<'a>, Wrong> {
    let status = fields.word(Field::Status, &STATUSES)?;
    let status = needed(status, Field::Status, "\"online\", \"away\" or \"offline\"")?;
    let info = fields.value(Field::Info);
    if info.is_some_and(|info| info.len() > PRESENCE_INFO_BYTES_MAX) {
        return Err(Wrong::long(Field::Info.name(), PRESENCE_INFO_BYTES_MAX));
    }
    Ok(Ask::Presence { status, info })
}

/// What the creator of a room chose, of what it may choose.
fn created(fields: &Fields<'_>) -> Result<Created, Wrong> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Options<'a> {
        history_messages: Option<u32>,
        #[serde(borrow)]
        presence: Option<&'a RawValue>,
        #[serde(borrow)]
        overflow: Option<&'a RawValue>,
        last_value: Option<bool>,
        echo: Option<bool>,
    }
    let Some(raw) = fields.value(Field::Options) else { return Ok(Created::default()) };
    let options: Option<Options<'_>> =
        serde_json::from_str(raw).ok().filter(|_| raw.starts_with('{'));
    let options = options.ok_or_else(|| Wrong::bad(Field::Options.name(), WANTED_OPTIONS))?;
    let mode = options.presence.map(|raw| value::word("options.presence", raw.get(), &MODES));
    let overflow =
        options.overflow.map(|raw| value::word("options.overflow", raw.get(), &OVERFLOWS));
    Ok(Created {
        history_messages: options.history_messages,
        presence: mode.transpose()?,
        overflow: overflow.transpose()?,
        last_value: options.last_value,
        echo: options.echo,
    })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
