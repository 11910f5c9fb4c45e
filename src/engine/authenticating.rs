//! Native connections that have yet to say who they are: one message counts, and time runs.
//!
//! Not here: tokens in the request itself (`door`). Invariants: nothing else is answered before,
//! and messages may hold a token and little more; who is let in goes on where the message ended.

use super::asking::plain_error;
use super::native::Go;
use super::session::Phase;
use super::shard::Shard;
use crate::auth::Access;
use crate::broker::{ConnKey, Disconnect, ErrorCode, Now};
use crate::limits::{TOKEN_BYTES_CEILING, UNAUTHENTICATED_MISTAKES_MAX};
use crate::protocol::json::{self, Ask, ErrorReply, RequestId};
use crate::ws::{self, DataKind, Message, ProtocolError};
use std::sync::Arc;

/// What an `auth` message may have beside its token.
const SLACK_BYTES: usize = 1_024;

/// A native connection that has yet to say who it is.
#[derive(Debug)]
pub(crate) struct Unauthenticated {
    pub(crate) reader: ws::Reader,
    subprotocol: Option<&'static str>,
    /// Messages that were no good.
    mistakes: u32,
}

/// What came of some input.
enum Outcome {
    /// More is needed.
    Waits,
    LetIn(Arc<Access>),
    End(Disconnect),
    Fail(ProtocolError),
    Closed(Option<u16>),
}

impl Shard {
    /// Waits for the word of a connection.
    pub(super) fn await_token(
        &mut self,
        key: ConnKey,
        subprotocol: Option<&'static str>,
        now: Now,
    ) {
        let reader = ws::Reader::default();
        let stranger = Unauthenticated { reader, subprotocol, mistakes: 0 };
        self.open_websocket(key, Phase::Unauthenticated(Box::new(stranger)), now);
    }

    /// Handles input of a connection that has yet to say who it is; returns how much was consumed.
    pub(super) fn read_unauthenticated(
        &mut self,
        key: ConnKey,
        mut stranger: Box<Unauthenticated>,
        input: &mut [u8],
        now: Now,
    ) -> usize {
        let mut at = 0;
        let outcome = self.read_until_known(key, &mut stranger, input, &mut at, now);
        let access = match outcome {
            Outcome::LetIn(access) => access,
            Outcome::Waits => {
                self.put_phase(key, Phase::Unauthenticated(stranger));
                return at;
            }
            Outcome::End(reason) => {
                self.put_phase(key, Phase::Unauthenticated(stranger));
                self.disconnect(key, reason, now);
                return input.len();
            }
            Outcome::Fail(error) => {
                self.put_phase(key, Phase::Unauthenticated(stranger));
                self.fail(key, error, now);
                return input.len();
            }
            Outcome::Closed(code) => {
                self.put_phase(key, Phase::Unauthenticated(stranger));
                self.answer_close(key, code, now);
                return input.len();
            }
        };
        self.open_native(key, stranger.subprotocol, access, stranger.reader, now);
        at
    }

    fn read_until_known(
        &mut self,
        key: ConnKey,
        stranger: &mut Unauthenticated,
        input: &mut [u8],
        at: &mut usize,
        now: Now,
    ) -> Outcome {
        let most = self.settings.message_bytes_max.min(TOKEN_BYTES_CEILING + SLACK_BYTES);
        let rules = ws::Rules { message_bytes_max: most, ..self.rules(key) };
        while *at < input.len() {
            let rest = input.get_mut(*at..).unwrap_or_default();
            let step = match stranger.reader.read(rest, &rules) {
                Ok(step) => step,
                Err(error) => return Outcome::Fail(error),
            };
            *at += step.consumed;
            let mut answered = Ok(None);
            match step.message {
                None => break,
                Some(Message::Data { kind, payload }) => {
                    answered = self.hear(key, (kind, &payload), now);
                }
                Some(Message::Compressed { kind, payload }) => {
                    let inflated = self.inflate(key, kind, &payload, |shard, payload| {
                        answered = shard.hear(key, (kind, payload), now);
                    });
                    if let Err(error) = inflated {
                        return Outcome::Fail(error);
                    }
                }
                Some(Message::Close(frame)) => return Outcome::Closed(frame.code),
                Some(Message::Ping(payload)) => self.pong(key, &payload),
                Some(Message::Pong(_)) => self.counters.pongs_in += 1,
            }
            match answered {
                Ok(Some(access)) => return Outcome::LetIn(access),
                Ok(None) => {}
                Err(Some(reason)) => return Outcome::End(reason),
                Err(None) => {
                    stranger.mistakes += 1;
                    if stranger.mistakes >= UNAUTHENTICATED_MISTAKES_MAX {
                        return Outcome::End(Disconnect::Unauthorized);
                    }
                }
            }
        }
        Outcome::Waits
    }

    /// Takes a message as the connection's word; an error without a reason is a mistake that was
    /// answered.
    fn hear(
        &mut self,
        key: ConnKey,
        (kind, payload): (DataKind, &[u8]),
        now: Now,
    ) -> Result<Option<Arc<Access>>, Option<Disconnect>> {
        self.counters.messages_in += 1;
        let request = match (kind, json::decode(payload)) {
            (DataKind::Text, Ok(request)) => request,
            (DataKind::Text, Err(mistake)) => return self.mistake(key, &mistake.reply()),
            (DataKind::Binary, _) => {
                let message = "say `auth` with a token first, in a text message";
                return self.mistake(key, &plain_error(ErrorCode::Unauthorized, message, None));
            }
        };
        let id = request.id;
        let Ask::Auth { token } = request.ask else {
            let message = "say `auth` with a token first";
            return self.mistake(key, &plain_error(ErrorCode::Unauthorized, message, id));
        };
        match self.admit(key, &token, now) {
            Ok(access) => {
                self.tell_auth_success(key, id, &access);
                Ok(Some(access))
            }
            Err(bad) => {
                let (code, message) = (ErrorCode::Unauthorized, bad.to_string());
                self.answer_now(key, |out| json::push_auth_failed(out, id, code, &message));
                Err(Some(Disconnect::Unauthorized))
            }
        }
    }

    fn mistake(
        &mut self,
        key: ConnKey,
        error: &ErrorReply<'_>,
    ) -> Result<Option<Arc<Access>>, Option<Disconnect>> {
        self.answer_error(key, error);
        Err(None)
    }

    /// Says who a connection is now, and until when.
    pub(super) fn tell_auth_success(
        &mut self,
        key: ConnKey,
        id: Option<RequestId<'_>>,
        access: &Access,
    ) {
        let identity = json::Identity {
            user: &access.user,
            roles: &access.roles,
            expires_ms: access.expires_ms(),
        };
        self.answer_now(key, |out| json::push_auth_success(out, id, &identity));
    }

    /// What a connection says that is known already: with a good token of the same user it stays
    /// longer, or may do other things. A bad one changes nothing.
    pub(super) fn refresh(
        &mut self,
        key: ConnKey,
        native: &mut super::native::Native,
        (token, id): (&str, Option<RequestId<'_>>),
        now: Now,
    ) -> Go {
        if native.rooms.has_pending() {
            return Go::Wait { pause: super::session::Pause::Answer, from: 0 };
        }
        let access = match self.admit(key, token, now) {
            Ok(access) if access.user.id() == native.user.id() => access,
            Ok(_) => {
                let message = "token: it is another user's; connect anew with it";
                let error = plain_error(ErrorCode::Forbidden, message, id);
                self.answer_error(key, &ErrorReply { field: Some("token"), ..error });
                return Go::On;
            }
            Err(bad) => {
                let message = format!("token: {bad}");
                let error = plain_error(ErrorCode::Unauthorized, &message, id);
                self.answer_error(key, &ErrorReply { field: Some("token"), ..error });
                return Go::On;
            }
        };
        native.become_user(&access);
        self.tell_auth_success(key, id, &access);
        self.let_in(key, Some(Arc::clone(&access)));
        native.rearm = true;
        self.leave_ungranted(key, native, now);
        Go::On
    }
}
