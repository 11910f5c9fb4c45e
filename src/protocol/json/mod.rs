//! The native protocol in JSON (`fanfare.v1.json`): one object to a text message, both ways.
//!
//! Not here: what a request does (`engine`), frames (`ws`), documents (`docs/protocols/`).
//! Invariants: [`decode`] is linear and takes nothing for granted; encoders append the text alone,
//! are given only what is valid, and what goes to all members has no field that depends on one.

mod decode;
mod fields;
mod greeting;
mod item;
mod list;
mod mistake;
mod notice;
mod reply;
mod request;
mod scan;
mod value;
mod write;

pub use decode::decode;
pub use greeting::{
    Agreed, Identity, Limits, Welcome, push_auth_failed, push_auth_success, push_heartbeat,
    push_pong, push_room_refused, push_welcome, push_welcome_head, push_welcome_rooms,
};
pub use item::{
    Item, push_batch_head, push_item, push_list_tail, push_person, push_user, sender_id,
};
pub use list::{Entry, push_entry, push_members_list, push_online_users, push_rooms_list};
pub use mistake::Mistake;
pub use notice::{
    AdviceReason, SERVER_JSON, UserChange, push_admin_message, push_advice, push_direct, push_gap,
    push_notification, push_presence_diff, push_receipt, push_typing, push_user_joined,
    push_user_left, push_user_status,
};
pub use reply::{
    ErrorReply, History, Joined, RoomInfo, RoomLife, push_ack, push_ack_receivers, push_created,
    push_error, push_history_head, push_joined_head, push_left, push_left_idle, push_room_info,
};
pub use request::{Ask, Created, Hello, Request, RequestId};
pub use write::push_text;

/// What `push` appends, which must be one JSON value.
#[cfg(test)]
fn written(push: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    push(&mut out);
    let text = String::from_utf8(out).expect("our JSON is UTF-8");
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    text
}
