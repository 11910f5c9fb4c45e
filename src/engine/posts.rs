//! HTTP requests that go to users and not through a room: messages and notifications from whoever
//! runs the service.
//!
//! Not here: what such a request must look like (`api`), what homes do with it (`directory`).

use super::asks::{Asked, Tell, Told, What};
use super::batch::Topic;
use super::people::admin_message;
use super::publication::SERVER;
use super::session::Exchange;
use super::shard::Shard;
use super::told::Notice;
use crate::api::{self, Notification};
use crate::broker::{ConnKey, LoopId, Now, PayloadKind, RoomName, User};
use crate::http::Response;
use crate::protocol::json;
use std::borrow::Cow;
use std::sync::Arc;

impl Shard {
    /// Sends a message to all connections of a user.
    pub(super) fn run_direct(
        &mut self,
        key: ConnKey,
        user: Box<str>,
        body: (PayloadKind, &[u8]),
        exchange: Exchange,
        now: Now,
    ) {
        let content = match content(body) {
            Ok(content) => content,
            Err(response) => return self.respond(key, &response, exchange, now),
        };
        let mut text = Vec::new();
        json::push_direct(&mut text, SERVER, now.unix_ms, content);
        self.tell_user(key, user, text, exchange, now);
    }

    /// Notifies all connections of a user.
    pub(super) fn run_notify_user(
        &mut self,
        key: ConnKey,
        user: Box<str>,
        body: &[u8],
        exchange: Exchange,
        now: Now,
    ) {
        match Notification::read(body) {
            Ok(notification) => {
                let text = notice(None, &notification, now);
                self.tell_user(key, user, text, exchange, now);
            }
            Err(response) => self.respond(key, &response, exchange, now),
        }
    }

    fn tell_user(
        &mut self,
        key: ConnKey,
        user: Box<str>,
        text: Vec<u8>,
        exchange: Exchange,
        now: Now,
    ) {
        let home = self.home_of_user(&user);
        let (text, notice, told) = (text.into_boxed_slice(), Notice::Kept, Told::Request);
        let what = What::Tell(Tell { to: user, text, notice, told });
        self.ask_for_request(key, home, what, exchange, now);
    }

    /// Notifies the native members of a room.
    pub(super) fn run_notify_room(
        &mut self,
        key: ConnKey,
        room: RoomName,
        body: &[u8],
        exchange: Exchange,
        now: Now,
    ) {
        match Notification::read(body) {
            Ok(notification) => {
                let hash = self.room_key.name(room.as_str());
                let home = super::hash::home_of(hash, self.loops);
                let text = notice(Some(room.as_str()), &notification, now).into_boxed_slice();
                let what = What::Notify { name: room, hash, text };
                self.ask_for_request(key, home, what, exchange, now);
            }
            Err(response) => self.respond(key, &response, exchange, now),
        }
    }

    /// Sends a message to every native connection.
    pub(super) fn run_broadcast(
        &mut self,
        key: ConnKey,
        body: (PayloadKind, &[u8]),
        exchange: Exchange,
        now: Now,
    ) {
        match content(body) {
            Ok(content) => {
                let frame = admin_message(SERVER, &content, now);
                let topic = Topic::Broadcast { frame, left_out: None };
                self.gather(key, exchange, topic, now);
            }
            Err(response) => self.respond(key, &response, exchange, now),
        }
    }

    fn ask_for_request(
        &mut self,
        key: ConnKey,
        home: LoopId,
        what: What,
        exchange: Exchange,
        now: Now,
    ) {
        self.wait_for_answer(key, exchange, now);
        let user = Arc::new(User::guest(0)); // Nobody is told of it.
        self.submit_ask(home, Asked { key, id: None, user, tag: 0, what }, now);
    }
}

/// A body as the content of a native message.
fn content((kind, body): (PayloadKind, &[u8])) -> Result<Cow<'_, [u8]>, Response> {
    api::check_payload(kind, body)?;
    Ok(match kind {
        PayloadKind::Json => Cow::Borrowed(body),
        PayloadKind::Text | PayloadKind::Binary => {
            debug_assert!(kind == PayloadKind::Text, "binary bodies are refused by their head");
            let mut text = Vec::new();
            json::push_text(&mut text, body);
            Cow::Owned(text)
        }
    })
}

fn notice(room: Option<&str>, notification: &Notification<'_>, now: Now) -> Vec<u8> {
    let Notification { title, body, data } = notification;
    let mut text = Vec::new();
    json::push_notification(&mut text, room, title, body, *data, now.unix_ms);
    text
}
