//! What connections that show tokens do in a run: they come in every way there is, refresh, publish
//! where they may and where they may not, and are revoked; and the wall clock is set.
//!
//! Not here: what must come of it (`bearer_laws`). Invariant: the clock is set only at rest, so
//! that no request is asked for by one clock and answered by another.

use super::bearer::{Asked, Bearer, Way};
use super::client::Kind;
use super::guard::{ROOMS, SERVER, Said, Token, USERS, Whom, room_name};
use super::world::World;
use super::{Law, Violation, hold};
use fanfare::ws::DataKind;

/// Bearers that a run has at a time.
const BEARERS_MAX: usize = 10;
/// Addresses that they come from.
const ADDRESSES: u8 = 3;

impl World {
    /// Lets one thing happen to those who show tokens.
    pub(crate) fn guard_op(&mut self, what: u8, who: usize, amount: u16) -> Result<(), Violation> {
        match what % 32 {
            0..7 => self.bring(who, amount),
            7..14 => self.speak(who, amount),
            14..19 => self.move_bearer(who, amount),
            19..23 => self.refresh(who, amount),
            23..26 => self.request(who, amount),
            26..28 => self.revoke(who, amount),
            28 => self.set_clock(amount)?,
            29 => self.part(who, amount),
            30 => self.pass(u64::from(amount % 1_500))?,
            _ => self.pass(u64::from(amount % 20_000))?,
        }
        Ok(())
    }

    /// Someone to hear all that is said in each guarded room.
    pub(crate) fn let_wardens_in(&mut self) -> Result<(), Violation> {
        if self.guard.is_none() {
            return Ok(());
        }
        for room in 0..ROOMS {
            let id = self.open_bearer(Way::Raw { room }, "warden".to_owned());
            let Some(guard) = &mut self.guard else { return Ok(()) };
            guard.wardens.push(id);
            let token = guard.master("warden", self.now);
            self.show_early(id, token, 0);
        }
        self.rest()?;
        let wardens = self.guard.iter().flat_map(|guard| &guard.wardens);
        let are_in = wardens.copied().all(|id| self.clients[id].upgraded);
        hold(Law::Access, are_in, || "a warden was not let in".to_owned())
    }

    /// How a connection of a guarded run that is not about tokens is let in.
    pub(crate) fn pass_for(&mut self, kind: Kind, user: Option<&str>, id: usize) -> String {
        let now = self.now;
        let Some(guard) = &mut self.guard else { return String::new() };
        if kind == Kind::Poster {
            return SERVER.to_owned();
        }
        let user = user.map_or_else(|| format!("nobody-{id}"), str::to_owned);
        let token = guard.master(&user, now);
        format!("Authorization: Bearer {}\r\n", guard.sign(&token, &user))
    }

    fn bring(&mut self, who: usize, amount: u16) {
        let bearers = self.clients.iter().filter(|client| client.kind == Kind::Bearer);
        if bearers.filter(|client| client.gone.is_none()).count() >= BEARERS_MAX + ROOMS {
            return;
        }
        let user = format!("bearer-{}", self.dice.u8(..USERS));
        let how = usize::from(amount);
        let way = if how % 4 == 3 { Way::Raw { room: who % ROOMS } } else { Way::Native };
        let id = self.open_bearer(way, user.clone());
        let Some(guard) = &mut self.guard else { return };
        let token = guard.draw(&user, self.now, &mut self.dice);
        if way != Way::Native || how.is_multiple_of(2) {
            self.show_early(id, token, amount / 8);
            self.speak_as(id, usize::from(amount / 16 % 3));
            return;
        }
        self.push_upgrade(id, "/ws", "");
        if how / 8 % 4 == 0 {
            self.bearer_ask(id, Asked::Nothing, r#""type":"ping""#);
        }
        if how / 32 % 16 > 0 {
            self.show(id, token, "auth");
        }
        for _ in 0..how / 512 % 4 {
            self.bearer_join(id, self.clients.len() % ROOMS);
            self.speak_as(id, 1);
        }
    }

    fn open_bearer(&mut self, way: Way, user: String) -> usize {
        let id = self.open(0, Kind::Bearer);
        self.clients[id].address = user.starts_with("bearer").then(|| self.dice.u8(1..=ADDRESSES));
        self.clients[id].bearer = Some(Box::new(Bearer::new(way, user)));
        id
    }

    /// Asks for the WebSocket with a token, in one of its places.
    fn show_early(&mut self, id: usize, token: Token, place: u16) {
        let Some((text, _)) = self.sign(id, token) else { return };
        let Some(bearer) = &mut self.clients[id].bearer else { return };
        bearer.shows_early = true;
        let target = match bearer.way {
            Way::Raw { room } => format!("/raw/{}", room_name(room)),
            Way::Native | Way::Http => "/ws".to_owned(),
        };
        match place % 2 {
            0 => {
                let field = format!("Authorization: Bearer {text}\r\n");
                self.push_upgrade(id, &target, &field);
            }
            _ => self.push_upgrade(id, &format!("{target}?token={text}"), ""),
        }
    }

    fn push_upgrade(&mut self, id: usize, target: &str, fields: &str) {
        let client = &mut self.clients[id];
        client.pass = fields.to_owned();
        client.push_upgrade(target, None);
    }

    /// Notes a token as shown and signs it; which of the connection's it is.
    fn sign(&mut self, id: usize, token: Token) -> Option<(String, usize)> {
        let (now, guard) = (self.now, self.guard.as_mut()?);
        let bearer = self.clients[id].bearer.as_mut()?;
        let text = guard.sign(&token, &bearer.user);
        let was_revoked = guard.revoked_at(&token).is_some();
        Some((text, bearer.show(token, was_revoked, now)))
    }

    fn show(&mut self, id: usize, token: Token, word: &str) {
        let Some((text, token)) = self.sign(id, token) else { return };
        let fields = format!(r#""type":"{word}","token":"{text}""#);
        self.bearer_ask(id, Asked::Show { token }, &fields);
    }

    fn bearer_ask(&mut self, id: usize, asked: Asked, fields: &str) {
        let mask = self.dice.u32(..).to_le_bytes();
        let client = &mut self.clients[id];
        let Some(bearer) = &mut client.bearer else { return };
        let text = format!(r#"{{"id":{},{fields}}}"#, bearer.ask(asked));
        client.push_data(DataKind::Text, text.as_bytes(), mask, false);
    }

    fn bearer_join(&mut self, id: usize, room: usize) {
        let Some(bearer) = &self.clients[id].bearer else { return };
        if bearer.tokens.is_empty() {
            return;
        }
        let asked = Asked::Join { room, after: bearer.tokens.len() };
        let fields = format!(r#""type":"join-room","room":"{}""#, room_name(room));
        self.bearer_ask(id, asked, &fields);
    }

    /// Publishes some messages, granted or not.
    fn speak_as(&mut self, id: usize, messages: usize) {
        for _ in 0..messages {
            let Some(bearer) = &self.clients[id].bearer else { return };
            if bearer.dared || bearer.tokens.is_empty() {
                return;
            }
            let room = match bearer.way {
                Way::Raw { room } => room,
                Way::Native | Way::Http => self.dice.usize(..ROOMS),
            };
            let after = bearer.tokens.len();
            let Some(said) = self.note_said(id, room, after) else { return };
            let Some(bearer) = &mut self.clients[id].bearer else { return };
            if bearer.way == Way::Native {
                let name = room_name(room);
                let fields =
                    format!(r#""type":"room-message","room":"{name}","content":"s{said}""#);
                self.bearer_ask(id, Asked::Say { said, room, after }, &fields);
                continue;
            }
            bearer.dared = !bearer.tokens[0].token.publish[room];
            let (mask, content) = (self.dice.u32(..).to_le_bytes(), format!("s{said}"));
            self.clients[id].push_data(DataKind::Text, content.as_bytes(), mask, false);
        }
    }

    fn note_said(&mut self, client: usize, room: usize, after: usize) -> Option<usize> {
        let guard = self.guard.as_mut()?;
        guard.said.push(Said { client, room, after, acked: false });
        Some(guard.said.len() - 1)
    }

    fn pick_bearer(&self, who: usize, fits: impl Fn(&Bearer) -> bool) -> Option<usize> {
        self.pick(who, |world, id| {
            let client = &world.clients[id];
            let fits = client.bearer.as_ref().is_some_and(|bearer| !bearer.refused && fits(bearer));
            client.is_present() && fits
        })
    }

    fn speak(&mut self, who: usize, amount: u16) {
        let speaks = |bearer: &Bearer| bearer.way != Way::Http;
        let Some(id) = self.pick_bearer(who, speaks) else { return };
        self.speak_as(id, usize::from(amount % 6));
    }

    fn move_bearer(&mut self, who: usize, amount: u16) {
        let moves = |bearer: &Bearer| bearer.way == Way::Native && !bearer.tokens.is_empty();
        let Some(id) = self.pick_bearer(who, moves) else { return };
        let room = usize::from(amount / 8) % ROOMS;
        if amount.is_multiple_of(4) {
            let fields = format!(r#""type":"leave-room","room":"{}""#, room_name(room));
            self.bearer_ask(id, Asked::Leave { room }, &fields);
        } else {
            self.bearer_join(id, room);
        }
    }

    /// Another token: of the same user or of another one, for more rooms or for fewer.
    fn refresh(&mut self, who: usize, amount: u16) {
        let comes = |bearer: &Bearer| bearer.way == Way::Native && !bearer.tokens.is_empty();
        let Some(id) = self.pick_bearer(who, comes) else { return };
        let Some(guard) = &mut self.guard else { return };
        let Some(bearer) = &self.clients[id].bearer else { return };
        let user = match amount % 4 {
            0 => format!("bearer-{}", amount / 4 % u16::from(USERS)),
            _ => bearer.user.clone(),
        };
        let token = guard.draw(&user, self.now, &mut self.dice);
        self.show(id, token, "refresh");
        self.speak_as(id, usize::from(amount / 16 % 3));
    }

    /// Publishes by a request.
    fn request(&mut self, who: usize, amount: u16) {
        let calls = |bearer: &Bearer| bearer.way == Way::Http && !bearer.tokens.is_empty();
        let known = self.pick_bearer(who, calls).filter(|_| !amount.is_multiple_of(4));
        let user = format!("bearer-{}", self.dice.u8(..USERS));
        let id = known.unwrap_or_else(|| self.open_bearer(Way::Http, user));
        let Some(bearer) = &self.clients[id].bearer else { return };
        let (user, room) = (bearer.user.clone(), who % ROOMS);
        let Some(guard) = &mut self.guard else { return };
        let token = guard.draw(&user, self.now, &mut self.dice);
        let Some((text, token)) = self.sign(id, token) else { return };
        let Some(said) = self.note_said(id, room, token + 1) else { return };
        let target = format!("/v1/rooms/{}/messages", room_name(room));
        let fields = format!("Content-Type: text/plain\r\nAuthorization: Bearer {text}\r\n");
        self.push_request(id, &target, &fields, &format!("s{said}"));
        self.stand_in_line(id, Asked::Say { said, room, after: token + 1 });
    }

    fn push_request(&mut self, id: usize, target: &str, fields: &str, body: &str) {
        let len = body.len();
        let text = format!(
            "POST {target} HTTP/1.1\r\nHost: broker.test\r\n{fields}Content-Length: {len}\r\n\r\n\
             {body}"
        );
        self.clients[id].wire.extend(text.bytes());
    }

    fn stand_in_line(&mut self, id: usize, asked: Asked) {
        if let Some(bearer) = &mut self.clients[id].bearer {
            bearer.in_line.push_back(asked);
        }
    }

    /// Has a server revoke something of somebody who is there.
    fn revoke(&mut self, who: usize, amount: u16) {
        let is_known = |bearer: &Bearer| bearer.user != "warden" && !bearer.tokens.is_empty();
        let Some(of) = self.pick_bearer(who, is_known) else { return };
        let Some(bearer) = &self.clients[of].bearer else { return };
        let Some(shown) = bearer.tokens.last() else { return };
        let (token, user) = (shown.token.clone(), bearer.user.clone());
        let id = self.open_bearer(Way::Http, "server".to_owned());
        let Some(guard) = &mut self.guard else { return };
        let whom = match amount % 16 {
            0..3 => Whom::User { id: user, before_s: None },
            3..6 => Whom::User { id: user, before_s: Some(token.issued_s + 1) },
            6..9 => Whom::IssuedBefore(guard.lowest_s - u64::from(amount / 16 % 100)),
            _ => Whom::Token(token.id),
        };
        let nth = guard.revoke(whom, self.now);
        let body = guard.revoked[nth].body();
        self.push_request(id, "/v1/revocations", SERVER, &body);
        self.stand_in_line(id, Asked::Revoke { nth });
    }

    /// Sets the wall clock.
    fn set_clock(&mut self, amount: u16) -> Result<(), Violation> {
        self.heal_all();
        self.rest()?;
        let by_ms = u64::from(amount) * 8;
        match amount % 2 {
            0 => self.now.unix_ms += by_ms,
            _ => self.now.unix_ms -= by_ms,
        }
        if let Some(guard) = &mut self.guard {
            guard.lowest_s = guard.lowest_s.min(self.now.unix_ms / 1_000);
        }
        Ok(())
    }

    fn part(&mut self, who: usize, amount: u16) {
        let Some(id) = self.pick_bearer(who, |bearer| bearer.user != "warden") else { return };
        self.end(id, amount);
    }

    /// Whether a connection is one that is to stay to the end.
    pub(crate) fn is_warden(&self, id: usize) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.wardens.contains(&id))
    }
}
