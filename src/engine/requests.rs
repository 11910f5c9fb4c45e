//! HTTP requests on a connection: upgrades, the API, and answers in order.
//!
//! Not here: what a request means (`api`), what an upgrade must look like (`ws::handshake`).
//! Invariant: the next request is looked at when the answer to the one before it is queued.

use super::batch::{RoomRef, Sender, Topic};
use super::door::{Caller, Visitor, forbidden};
use super::gather::{Asker, By};
use super::greeting::{RAW, SUBPROTOCOLS};
use super::hash::home_of;
use super::metering::Toll;
use super::raw_asks::{Post, RawJoin};
use super::session::{Body, Exchange, Membership, Pause, PendingRoom, Phase, Raw};
use super::shard::{Notice, Shard};
use super::timers::tick_of;
use super::told::json_of;
use crate::api::{self, Intent};
use crate::auth::{Access, Grant, OriginRefused};
use crate::broker::{
    CommandError, Compression, ConnKey, Encoding, LoopId, Now, Overflow, RoomName,
};
use crate::http::{
    self, BodyReader, Connection, Fields, Head, HeadReader, Method, Response, Route, SendBody,
    Version,
};
use crate::limits::OUTBOX_HIGH_WATER_BYTES;
use crate::ws;
use std::sync::Arc;

/// What a complete head asks for.
enum Asked {
    Api(Intent, Caller),
    Raw { name: RoomName, echo: bool, upgrade: ws::Upgrade, access: Option<Arc<Access>> },
    Native { upgrade: ws::Upgrade, subprotocol: Option<&'static str>, visitor: Visitor },
    Echo { upgrade: ws::Upgrade, access: Option<Arc<Access>> },
}

impl Shard {
    /// Handles input while a request's head is awaited; returns how much was consumed.
    pub(super) fn read_head(
        &mut self,
        key: ConnKey,
        mut reader: HeadReader,
        input: &[u8],
        now: Now,
    ) -> usize {
        if let Some(head) = self.take_held_head(key) {
            self.put_phase(key, Phase::Head(reader));
            self.handle_head_bytes(key, &head, now);
            return 0;
        }
        if reader.is_idle()
            && let Some(session) = self.session(key)
        {
            if session.outbox.bytes() > OUTBOX_HIGH_WATER_BYTES {
                self.put_phase(key, Phase::Head(reader));
                self.pause(key, Pause::Output);
                return 0;
            }
            if session.served {
                session.since = tick_of(now.mono_ms); // The time for this request runs from here.
            }
        }
        let (consumed, bytes) = match reader.read(input) {
            Ok(step) => (step.consumed, step.head),
            Err(error) => {
                self.put_phase(key, Phase::Head(HeadReader::default()));
                self.refuse(key, &error.response(), SendBody::Yes, now);
                return input.len();
            }
        };
        let Some(bytes) = bytes else {
            self.put_phase(key, Phase::Head(reader));
            self.arm(key);
            return consumed;
        };
        self.put_phase(key, Phase::Head(HeadReader::default()));
        self.counters.http_requests += 1;
        self.handle_head_bytes(key, &bytes, now);
        consumed
    }

    fn handle_head_bytes(&mut self, key: ConnKey, bytes: &[u8], now: Now) {
        let mut fields = Fields::new();
        match http::parse_head(bytes, &mut fields) {
            Ok(head) if self.must_wait_for_seat(key, &head) => self.hold_head(key, bytes),
            Ok(head) => self.handle_head(key, &head, now),
            Err(error) => self.refuse(key, &error.response(), SendBody::Yes, now),
        }
    }

    fn handle_head(&mut self, key: ConnKey, head: &Head<'_>, now: Now) {
        let body = if head.method == Method::Head { SendBody::HeadOnly } else { SendBody::Yes };
        if self.is_beyond_address(key) {
            return self.refuse(key, &api::beyond_address(), body, now);
        }
        if let Some(response) = self.turn_away(key, head.path) {
            return self.refuse(key, &response, body, now);
        }
        let exchange = Exchange { keep_alive: head.keep_alive, body };
        match self.ask_head(key, head, now) {
            Ok(Asked::Api(intent, caller)) => {
                self.begin_body(key, head, (intent, caller), exchange, now);
            }
            Ok(Asked::Raw { name, echo, upgrade, access }) => {
                self.let_in(key, access.clone());
                let compression = self.compression_of(&name);
                let subprotocol = speaks_raw(head).then_some(RAW);
                self.accept(key, head, (&upgrade, subprotocol), compression);
                self.join_raw(key, (name, echo), access, now);
            }
            Ok(Asked::Native { upgrade, subprotocol, visitor }) => {
                self.accept(key, head, (&upgrade, subprotocol), Compression::Shared);
                self.open_native_door(key, subprotocol, visitor, now);
            }
            Ok(Asked::Echo { upgrade, access }) => {
                self.let_in(key, access);
                self.accept(key, head, (&upgrade, None), self.settings.compression.echo);
                self.open_websocket(key, Phase::Echo(ws::Reader::default()), now);
            }
            // A body that was announced would have to be read first: the connection ends instead.
            Err(response) if head.body != http::BodyFraming::None => {
                self.refuse(key, &response, body, now);
            }
            Err(response) => self.respond(key, &response, exchange, now),
        }
    }

    fn ask_head(&mut self, key: ConnKey, head: &Head<'_>, now: Now) -> Result<Asked, Response> {
        let route = http::route(head.path);
        match route {
            Route::Raw { room } => {
                let upgrade = self.check_upgrade(key, head)?;
                let name = http::decode_segment(room)
                    .and_then(|name| RoomName::parse(&name).ok())
                    .ok_or_else(|| {
                        Response::problem(400, &crate::broker::BadRoomName.to_string())
                    })?;
                let echo = match head.query_param("echo").as_deref() {
                    None | Some("1" | "true") => true,
                    Some("0" | "false") => false,
                    Some(_) => return Err(Response::problem(400, "echo is 0 or 1")),
                };
                let access = self.visitor_now(key, head, now)?;
                self.check_grant(access.as_deref(), Grant::Join, name.as_str())
                    .map_err(|ungranted| forbidden(ungranted, name.as_str()))?;
                Ok(Asked::Raw { name, echo, upgrade, access })
            }
            Route::Echo if self.settings.echo_route => {
                let upgrade = self.check_upgrade(key, head)?;
                Ok(Asked::Echo { upgrade, access: self.visitor_now(key, head, now)? })
            }
            Route::Echo => Err(Response::problem(404, "the echo route is off; see --echo-route")),
            Route::Native => {
                let upgrade = self.check_upgrade(key, head)?;
                let offers = head.fields("sec-websocket-protocol");
                let subprotocol = ws::choose_subprotocol(offers, SUBPROTOCOLS)
                    .map_err(ws::UnknownSubprotocols::into_response)?;
                let visitor = self.visitor(key, head, now)?;
                Ok(Asked::Native { upgrade, subprotocol, visitor })
            }
            Route::Login if !self.settings.login => Err(api::login_off()),
            Route::Messages { .. }
            | Route::RoomNotifications { .. }
            | Route::UserMessages { .. }
            | Route::UserNotifications { .. }
            | Route::Broadcast
            | Route::Revocations => {
                // First of all, so that strangers learn nothing about what would be right.
                let caller = self.caller(key, head, now)?;
                let intent = self.decide(key, head, route)?;
                self.check_call(&caller, &intent)?;
                Ok(Asked::Api(intent, caller))
            }
            // Who logs in has nothing to show yet.
            Route::Login | Route::Healthz | Route::Readyz | Route::Metrics | Route::Unknown => {
                Ok(Asked::Api(self.decide(key, head, route)?, Caller::Server))
            }
        }
    }

    fn check_upgrade(&mut self, key: ConnKey, head: &Head<'_>) -> Result<ws::Upgrade, Response> {
        let upgrade = ws::check(head).map_err(ws::Refusal::into_response);
        let upgrade = upgrade.and_then(|upgrade| {
            match self.settings.origins.check(head.fields("origin"), head.host()) {
                Ok(()) => Ok(upgrade),
                Err(refused) => Err(self.refuse_origin(key, refused)),
            }
        });
        match &upgrade {
            Ok(_) => self.note_client(key, head),
            Err(_) => self.counters.handshakes_failed += 1,
        }
        upgrade
    }

    fn decide(
        &mut self,
        key: ConnKey,
        head: &Head<'_>,
        route: Route<'_>,
    ) -> Result<Intent, Response> {
        api::decide(head, route, &self.settings.origins).map_err(|refusal| match refusal {
            api::Refusal::Origin(refused) => self.refuse_origin(key, refused),
            api::Refusal::Request(response) => response,
        })
    }

    /// Notes that a page was not let in, and says so to its client.
    fn refuse_origin(&mut self, key: ConnKey, refused: OriginRefused) -> Response {
        self.counters.origins_refused += 1;
        let response = Response::problem(403, &refused.to_string());
        self.notice(Notice::OriginRefused { key, refused });
        response
    }

    /// Answers a handshake, with what of its offers the route agrees to.
    fn accept(
        &mut self,
        key: ConnKey,
        head: &Head<'_>,
        (upgrade, subprotocol): (&ws::Upgrade, Option<&str>),
        compression: Compression,
    ) {
        let agreement = self.agree(head, compression);
        self.push_response(key, |out| upgrade.push_response(out, subprotocol, agreement));
        if let Some(agreement) = agreement {
            self.apply_agreement(key, agreement);
        }
    }

    /// How a room's messages are compressed: with private contexts only where nothing is dropped,
    /// as what has gone through a context can't be taken back.
    fn compression_of(&self, name: &RoomName) -> Compression {
        let options = self.settings.policies.options(name.as_str());
        match (options.compression, options.raw_overflow()) {
            (Compression::Private, Overflow::Disconnect) => Compression::Private,
            (Compression::Private, _) => Compression::Shared,
            (Compression::Off, _) => Compression::Off,
            (Compression::Shared, _) => Compression::Shared,
        }
    }

    fn join_raw(
        &mut self,
        key: ConnKey,
        (name, echo): (RoomName, bool),
        access: Option<Arc<Access>>,
        now: Now,
    ) {
        let encoding = self.session(key).map_or(Encoding::RAW, |session| session.encoding);
        let hash = self.room_key.name(name.as_str());
        let home = home_of(hash, self.loops);
        if let Some(access) = &access
            && let Some(session) = self.session(key)
        {
            session.papers_mut().sender = Some(json_of(&access.user).into());
        }
        self.meter_as(key, access.as_ref().map(|access| access.user.id()), self.address(key));
        let of = |grant: Grant| self.is_granted(access.as_deref(), grant, name.as_str());
        let (may_publish, may_create) = (of(Grant::Publish), of(Grant::Create));
        let join = RawJoin { hash, encoding, may_create };
        self.submit_join(home, key, name.as_str(), join, now);
        let pending = Box::new(PendingRoom { name, hash });
        let membership = Membership::Pending(pending);
        let raw = Raw { reader: ws::Reader::default(), membership, echo, may_publish };
        self.open_websocket(key, Phase::Raw(raw), now);
    }

    pub(super) fn open_websocket(&mut self, key: ConnKey, phase: Phase, now: Now) {
        self.count_websocket(key);
        self.begin_phase(key, phase, now);
    }

    pub(super) fn count_websocket(&mut self, key: ConnKey) {
        self.counters.websockets += 1;
        let address = self.address(key);
        self.notice(Notice::Upgraded { key, address });
    }

    fn begin_body(
        &mut self,
        key: ConnKey,
        head: &Head<'_>,
        (intent, caller): (Intent, Caller),
        exchange: Exchange,
        now: Now,
    ) {
        let bytes_max = intent.body_bytes_max(self.settings.message_bytes_max);
        match BodyReader::new(head.body, bytes_max) {
            Ok(mut reader) => {
                // A body without bytes is complete before any come.
                let done = reader.read(&[]).is_ok_and(|step| step.done);
                if !done && head.expect_continue && head.version == Version::Http11 {
                    self.push_response(key, http::push_continue);
                }
                let paid = !self.meter_caller(key, head, &caller, &intent);
                let body = Box::new(Body { intent, caller, exchange, reader, done, paid });
                self.begin_phase(key, Phase::Body(body), now);
            }
            Err(error) => self.refuse(key, &error.response(), SendBody::Yes, now),
        }
    }

    /// Handles input of a request's body; returns how much was consumed.
    pub(super) fn read_body(
        &mut self,
        key: ConnKey,
        mut body: Box<Body>,
        input: &[u8],
        now: Now,
    ) -> usize {
        let mut consumed = 0;
        if !body.done {
            match body.reader.read(input) {
                Ok(step) => {
                    consumed = step.consumed;
                    body.done = step.done;
                }
                Err(error) => {
                    self.put_phase(key, Phase::Head(HeadReader::default()));
                    self.refuse(key, &error.response(), SendBody::Yes, now);
                    return input.len();
                }
            }
        }
        if !body.done {
            self.put_phase(key, Phase::Body(body));
            return consumed;
        }
        if !body.paid {
            match self.toll(key, body.reader.received(), now) {
                Toll::Go => body.paid = true,
                Toll::Wait => {
                    self.put_phase(key, Phase::Body(body));
                    self.pause(key, Pause::Answer);
                    return consumed;
                }
                refused @ (Toll::Refuse { .. } | Toll::Close) => {
                    let (exchange, response) =
                        (body.exchange, api::rate_limited(refused.wait_ms()));
                    self.put_phase(key, Phase::Head(HeadReader::default()));
                    self.respond(key, &response, exchange, now);
                    return consumed;
                }
            }
        }
        if let Some(home) = self.home_needed(&body.intent)
            && !self.may_send_to(home)
        {
            self.put_phase(key, Phase::Body(body));
            self.pause(key, Pause::Credit(home));
            return consumed;
        }
        self.put_phase(key, Phase::Head(HeadReader::default()));
        match self.refuse_late(&body.caller, now) {
            Some(response) => self.respond(key, &response, body.exchange, now),
            None => self.run(key, *body, now),
        }
        consumed
    }

    /// The loop that a request needs credit at.
    fn home_needed(&self, intent: &Intent) -> Option<LoopId> {
        match intent {
            Intent::Publish { room, .. } | Intent::NotifyRoom { room } => {
                Some(home_of(self.room_key.name(room.as_str()), self.loops))
            }
            Intent::Direct { user, .. } | Intent::NotifyUser { user } => {
                Some(self.home_of_user(user))
            }
            Intent::Broadcast { .. }
            | Intent::Login
            | Intent::Revoke
            | Intent::Health
            | Intent::Ready
            | Intent::Metrics => None,
        }
    }

    /// Carries out a complete request.
    fn run(&mut self, key: ConnKey, body: Body, now: Now) {
        let Body { intent, caller, exchange, reader, .. } = body;
        match intent {
            Intent::Publish { room, kind, dedupe } => {
                let (payload, dedupe) = (reader.take(), dedupe.as_deref().unwrap_or_default());
                let sender = sender_json(&caller);
                let may_create = match &caller {
                    Caller::Server => true,
                    Caller::User(access) => access.allows(Grant::Create, room.as_str()),
                };
                let post = Post { kind, payload: &payload, dedupe, sender: &sender, may_create };
                self.run_publish(key, &room, post, exchange, now);
            }
            Intent::Direct { user, kind } => {
                self.run_direct(key, user, (kind, &reader.take()), exchange, now);
            }
            Intent::Broadcast { kind } => {
                self.run_broadcast(key, (kind, &reader.take()), exchange, now);
            }
            Intent::NotifyUser { user } => {
                self.run_notify_user(key, user, &reader.take(), exchange, now);
            }
            Intent::NotifyRoom { room } => {
                self.run_notify_room(key, room, &reader.take(), exchange, now);
            }
            Intent::Login => self.run_login(key, &reader.take(), exchange, now),
            Intent::Revoke => self.run_revoke(key, &reader.take(), exchange, now),
            Intent::Health => self.gather(key, exchange, Topic::Health, now),
            Intent::Metrics => self.gather(key, exchange, Topic::Metrics, now),
            Intent::Ready => {
                let is_ready = !self.draining && !self.is_short_of_memory();
                self.respond(key, &api::ready(is_ready), exchange, now);
            }
        }
    }

    fn run_publish(
        &mut self,
        key: ConnKey,
        room: &RoomName,
        post: Post<'_>,
        exchange: Exchange,
        now: Now,
    ) {
        if let Err(response) = api::check_payload(post.kind, post.payload) {
            return self.respond(key, &response, exchange, now);
        }
        self.wait_for_answer(key, exchange, now);
        let hash = self.room_key.name(room.as_str());
        let home = home_of(hash, self.loops);
        let room = RoomRef::Name { name: room.as_str(), hash };
        self.submit_publish(home, room, post, Sender::Outsider(key), now);
    }

    pub(super) fn gather(&mut self, key: ConnKey, exchange: Exchange, what: Topic, now: Now) {
        if self.ask_all(Asker { key, by: By::Request, what }, now) {
            self.wait_for_answer(key, exchange, now);
        } else {
            let text = "too many questions to all loops are under way; try again";
            self.respond(key, &Response::problem(503, text), exchange, now);
        }
    }

    pub(super) fn wait_for_answer(&mut self, key: ConnKey, exchange: Exchange, now: Now) {
        if self.take_phase(key).is_some() {
            self.begin_phase(key, Phase::Waiting(exchange), now);
            self.pause(key, Pause::Answer);
        }
    }

    /// Answers the request that a connection waits for. A stale key misses.
    pub(super) fn answer(&mut self, key: ConnKey, response: &Response, now: Now) {
        let Some(session) = self.session(key) else { return };
        let Phase::Waiting(exchange) = session.phase else { return };
        self.respond(key, response, exchange, now);
        self.unpause(key);
    }

    /// As [`Self::answer`], for a publish.
    pub(super) fn answer_refused(&mut self, key: ConnKey, error: CommandError, now: Now) {
        match error {
            CommandError::RoomLimit => self.answer(key, &api::room_limit(), now),
            CommandError::ShortOfMemory => self.answer(key, &api::short_of_memory(), now),
            CommandError::MayNotCreate => self.answer(key, &api::no_such_room(), now),
        }
    }

    /// Queues a response; the connection goes on if both sides want it to.
    pub(super) fn respond(
        &mut self,
        key: ConnKey,
        response: &Response,
        exchange: Exchange,
        now: Now,
    ) {
        let eof = self.session(key).is_none_or(|session| session.eof);
        if !exchange.keep_alive || self.draining || eof {
            return self.send_last(key, response, exchange.body, now);
        }
        self.count_response(key, response.status);
        self.push_response(key, |out| {
            response.push(out, Connection::KeepAlive, exchange.body, now.unix_ms);
        });
        if self.take_phase(key).is_some() {
            self.begin_phase(key, Phase::Head(HeadReader::default()), now);
        }
        if let Some(session) = self.session(key) {
            session.served = true;
        }
    }

    /// Answers a request that can't be followed by another one on its connection.
    pub(super) fn refuse(&mut self, key: ConnKey, response: &Response, body: SendBody, now: Now) {
        self.notice(Notice::Refused { key, status: response.status });
        self.send_last(key, response, body, now);
        self.unpause(key);
    }

    fn send_last(&mut self, key: ConnKey, response: &Response, body: SendBody, now: Now) {
        self.count_response(key, response.status);
        self.push_response(key, |out| response.push(out, Connection::Close, body, now.unix_ms));
        self.linger(key, now);
    }

    fn count_response(&mut self, key: ConnKey, status: u16) {
        debug_assert!(self.session(key).is_some());
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(count) = self.counters.http_responses.get_mut(class) {
            *count += 1;
        }
    }
}

/// Who is told to have sent what a caller publishes; empty for a server.
fn sender_json(caller: &Caller) -> Box<[u8]> {
    match caller {
        Caller::Server => Box::default(),
        Caller::User(access) => json_of(&access.user).into(),
    }
}

/// Whether the client of a raw room offers to speak what it would speak anyway: one that has to
/// offer something, to bring a token among the subprotocols, needs one that can be chosen.
fn speaks_raw(head: &Head<'_>) -> bool {
    ws::choose_subprotocol(head.fields("sec-websocket-protocol"), &[RAW]) == Ok(Some(RAW))
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::super::settings::Settings;
    use crate::auth::{Identity, Trust};
    use crate::broker::RoomOptions;
    use crate::http::{Fields, parse_head};

    #[test]
    fn only_a_trusted_peer_says_who_its_users_are() {
        let identity = Identity { user_header: Some("X-User".into()), ..Identity::default() };
        let settings = Settings { identity, ..Settings::default() };
        let mut rig = Rig::with(RoomOptions::default(), settings);
        let (proxy, stranger) = (rig.open_as(Trust::Proxy), rig.open_as(Trust::Stranger));
        let mut identify = |key, fields: &str| {
            let request = format!("GET /ws HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            let mut room = Fields::new();
            let head = parse_head(request.as_bytes(), &mut room).expect("a head that http takes");
            let access = rig.shard.visitor_now(key, &head, rig.now);
            access
                .map(|access| access.map(|access| access.user.id().to_owned()))
                .map_err(|response| response.status)
        };
        assert_eq!(identify(proxy, "x-user: ada\r\n"), Ok(Some("ada".to_owned())));
        assert_eq!(identify(stranger, "x-user: ada\r\n"), Ok(None));
        assert_eq!(identify(proxy, ""), Ok(None));
        assert_eq!(identify(proxy, "x-user: ada\r\nX-User: bob\r\n"), Err(400));
        assert_eq!(identify(stranger, "x-user: ada\r\nX-User: bob\r\n"), Ok(None));
    }

    #[test]
    fn a_refused_head_request_gets_no_body() {
        for (method, ends) in [("HEAD", "\r\n\r\n"), ("GET", "}")] {
            let mut rig = Rig::new(RoomOptions::default());
            let key = rig.open();
            let request =
                format!("{method} /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
            rig.shard.handle_bytes(key, &mut request.into_bytes(), rig.now);
            let response = String::from_utf8(rig.read_all(key)).expect("text");
            assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
            assert!(response.ends_with(ends), "{response}");
        }
    }
}
