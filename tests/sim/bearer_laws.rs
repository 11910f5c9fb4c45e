//! What must hold of connections that show tokens: nobody does or hears what is not granted, nobody
//! is refused what is, who may not stay goes, and all others stay.
//!
//! Not here: the words on the wire (`bearer`), rooms that nobody guards (`laws`). Invariant: what a
//! token grants is what it was issued for (`guard`), never what the broker says of it.

use super::bearer::{Asked, Bearer, Heard, Verdict, Way};
use super::client::{Client, Kind};
use super::guard::{ROOMS, room_name};
use super::world::World;
use super::{Law, Violation, hold};
use fanfare::broker::Disconnect;
use serde_json::Value;

/// Two steps of a loop's wheel: after that much, what has ended has been seen to.
const ENDS_WITHIN_MS: u64 = 200;

/// How long the word that a seat is free may be on its way.
const SEAT_KEPT_MS: u64 = 2_000;

type Read = Result<(), Violation>;

impl World {
    /// Takes in what a bearer has read.
    pub(crate) fn hear(&mut self, id: usize) -> Read {
        let Some(mut bearer) = self.clients[id].bearer.take() else { return Ok(()) };
        let mut heard = Ok(());
        for news in std::mem::take(&mut bearer.news) {
            heard = heard.and_then(|()| match news {
                Heard::Upgraded => self.hear_upgrade(id, &mut bearer),
                Heard::Response(status, body) => {
                    self.hear_response(id, &mut bearer, (status, &body))
                }
                Heard::Text(text) => self.hear_text(id, &mut bearer, &text),
            });
        }
        self.clients[id].bearer = Some(bearer);
        heard?;
        let client = &self.clients[id];
        client.bearer.as_ref().map_or(Ok(()), |bearer| self.check_end(client, bearer))
    }

    fn hear_upgrade(&mut self, id: usize, bearer: &mut Bearer) -> Read {
        let seated = self.of_address(id, |client| client.upgraded && client.gone.is_none());
        hold(Law::Share, self.seats_max == 0 || seated <= self.seats_max, || {
            format!("client {id} is one of {seated} of its address")
        })?;
        if let Way::Raw { room } = bearer.way {
            self.hear_verdict(id, bearer, 0, Verdict::Taken)?;
            return check_grant(bearer, Asked::Join { room, after: 1 }, true);
        }
        if bearer.shows_early { self.hear_verdict(id, bearer, 0, Verdict::Taken) } else { Ok(()) }
    }

    /// A good token is taken, and no other.
    fn hear_verdict(
        &mut self,
        id: usize,
        bearer: &mut Bearer,
        token: usize,
        verdict: Verdict,
    ) -> Read {
        let (now, guard) = (self.now, self.guard.as_ref());
        let may_be_revoked =
            guard.is_some_and(|guard| guard.may_be_revoked(&bearer.tokens[token].token, now));
        let is_others = bearer.tokens[token].token.user != bearer.user;
        let shown = &mut bearer.tokens[token];
        let said = || format!("client {id} showed {shown:?}, which was {verdict:?}");
        let no_good = shown.token.forged || is_others;
        if verdict == Verdict::Taken {
            let was_good = !no_good && !shown.was_revoked && !shown.token.is_past(shown.at.unix_ms);
            hold(Law::Access, was_good, said)?;
            bearer.met.taken += 1;
        } else {
            let may_be_bad = no_good || may_be_revoked || shown.token.is_past(now.unix_ms);
            hold(Law::Access, may_be_bad, said)?;
            bearer.met.refused += 1;
            bearer.met.others_refused += u64::from(is_others);
        }
        bearer.met.refreshed += u64::from(token > 0 && verdict == Verdict::Taken);
        shown.verdict = verdict;
        Ok(())
    }

    /// Connections of a connection's address that are so.
    fn of_address(&self, id: usize, is_so: impl Fn(&Client) -> bool) -> usize {
        let Some(address) = self.clients[id].address else { return 0 };
        let same = self.clients.iter().filter(|client| client.address == Some(address));
        same.filter(|client| is_so(client)).count()
    }

    /// There was no seat for it: its address has as many connections as it may, itself not counted.
    fn hear_full(&self, id: usize, bearer: &mut Bearer) -> Read {
        let since = self.now.mono_ms.saturating_sub(SEAT_KEPT_MS);
        let is_there =
            |client: &Client| client.opened && (client.gone.is_none() || client.gone_at >= since);
        let there = self.of_address(id, is_there);
        (bearer.refused, bearer.met.one_too_many) = (true, 1);
        hold(Law::Share, self.seats_max > 0 && there > self.seats_max, || {
            format!("client {id} was refused, as one of {there} of its address")
        })
    }

    fn hear_response(
        &mut self,
        id: usize,
        bearer: &mut Bearer,
        (status, body): (u16, &str),
    ) -> Read {
        let said = || format!("client {id} was answered {status} {body}");
        if status == 429 {
            return self.hear_full(id, bearer);
        }
        if bearer.refused {
            return Ok(()); // What it sent for a WebSocket makes no request.
        }
        let asked = match bearer.way {
            Way::Http => bearer.in_line.pop_front(),
            Way::Raw { room } => Some(Asked::Join { room, after: 1 }),
            Way::Native => Some(Asked::Show { token: 0 }),
        };
        let Some(asked) = asked else { return hold(Law::Wire, false, said) };
        if let Asked::Revoke { nth } = asked {
            hold(Law::Access, status == 200, said)?;
            bearer.met.revoked += 1;
            if let Some(guard) = &mut self.guard {
                guard.revoked[nth].answered = Some(guard.said.len());
            }
            return Ok(());
        }
        let (Asked::Join { after, .. } | Asked::Say { after, .. }) = asked else {
            hold(Law::Access, status == 401, said)?;
            bearer.refused = true;
            return self.hear_verdict(id, bearer, 0, Verdict::Refused);
        };
        bearer.refused = bearer.way != Way::Http;
        match status {
            401 => return self.hear_verdict(id, bearer, after - 1, Verdict::Refused),
            200 | 403 => {}
            _ => return hold(Law::Grant, false, said),
        }
        self.hear_verdict(id, bearer, after - 1, Verdict::Taken)?;
        check_grant(bearer, asked, status == 200)?;
        match (status, asked) {
            (200, Asked::Say { said, .. }) => self.note_acked(said),
            (_, _) => {
                bearer.met.forbidden += 1;
                names_grant(asked, body)?;
            }
        }
        Ok(())
    }

    fn note_acked(&mut self, said: usize) {
        if let Some(guard) = &mut self.guard {
            guard.said[said].acked = true;
        }
    }

    fn hear_text(&mut self, id: usize, bearer: &mut Bearer, text: &str) -> Read {
        if matches!(bearer.way, Way::Raw { .. }) {
            return self.hear_said(bearer, text);
        }
        let object: Value = serde_json::from_str(text).unwrap_or_default();
        let word = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let asked = object.get("id").and_then(Value::as_u64);
        let asked = asked.and_then(|number| bearer.waiting.remove(&number));
        let room = (0..ROOMS).find(|room| room_name(*room) == word("room"));
        let said = || format!("client {id} was told {text} in answer to {asked:?}");
        match (word("type"), asked, room) {
            ("auth-success", Some(Asked::Show { token }), _) => {
                self.hear_verdict(id, bearer, token, Verdict::Taken)
            }
            ("auth-failed", Some(Asked::Show { token }), _) => {
                bearer.refused = true;
                self.hear_verdict(id, bearer, token, Verdict::Refused)
            }
            ("error", asked, room) => self.hear_error(id, bearer, (asked, room), &object),
            ("ack", Some(asked @ Asked::Say { said, .. }), _) => {
                self.note_acked(said);
                check_grant(bearer, asked, true)
            }
            ("room-joined", Some(asked @ Asked::Join { .. }), Some(room)) => {
                bearer.is_in[room] = true;
                check_grant(bearer, asked, true)
            }
            // It may be put out as it asks to leave.
            ("room-left", Some(Asked::Leave { .. }) | None, Some(room)) => {
                bearer.is_in[room] = false;
                Ok(())
            }
            ("room-message", None, Some(room)) => {
                hold(Law::Close, bearer.is_in[room], said)?;
                self.hear_said(bearer, word("content"))?;
                check_grant(bearer, Asked::Join { room, after: bearer.tokens.len() }, true)
            }
            ("user-joined" | "user-left" | "presence-diff", None, Some(room)) => {
                check_grant(bearer, Asked::Join { room, after: bearer.tokens.len() }, true)
            }
            ("welcome", None, None) | ("advice", _, _) => Ok(()),
            (_, Some(Asked::Nothing), _) => Ok(()),
            (_, _, _) => hold(Law::Wire, false, said),
        }
    }

    /// What somebody said has come to somebody.
    fn hear_said(&self, bearer: &mut Bearer, content: &str) -> Read {
        let number = content.strip_prefix('s').and_then(|number| number.parse().ok());
        let known = self.guard.as_ref().map_or(0, |guard| guard.said.len());
        let token = bearer.good(bearer.tokens.len());
        let Some((number, token)) = number.filter(|number| *number < known).zip(token) else {
            return hold(Law::Wire, false, || format!("{bearer:?} heard {content}"));
        };
        bearer.met.heard += 1;
        bearer.heard.push((number, token));
        Ok(())
    }

    fn hear_error(
        &mut self,
        id: usize,
        bearer: &mut Bearer,
        (asked, room): (Option<Asked>, Option<usize>),
        object: &Value,
    ) -> Read {
        let word = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let said = || format!("client {id} was told {object} in answer to {asked:?}");
        match (word("code"), asked, room) {
            ("unauthorized" | "forbidden", Some(Asked::Show { token }), _) => {
                self.hear_verdict(id, bearer, token, Verdict::Refused)
            }
            ("forbidden", Some(asked @ (Asked::Say { .. } | Asked::Join { .. })), _) => {
                bearer.met.forbidden += 1;
                names_grant(asked, word("message"))?;
                check_grant(bearer, asked, false)
            }
            ("forbidden", None, Some(room)) => {
                bearer.met.put_out += 1;
                bearer.is_in[room] = false;
                check_grant(bearer, Asked::Join { room, after: bearer.tokens.len() }, false)
            }
            // It is told that its token is about to end.
            ("unauthorized", None, None) => Ok(()),
            // It has yet to say who it is.
            ("unauthorized", Some(Asked::Nothing), _) => Ok(()),
            ("not-in-room", Some(Asked::Say { room, .. } | Asked::Leave { room }), _) => {
                let mut waiting = bearer.waiting.values();
                let leaves = waiting.any(|asked| *asked == Asked::Leave { room });
                hold(Law::Grant, leaves || !bearer.is_in[room], said)
            }
            (_, _, _) => hold(Law::Wire, false, said),
        }
    }

    /// Looks at each bearer of a loop that has had its turn: whose token has ended is closed.
    pub(crate) fn see_ends(&mut self, at: usize) {
        let Some(guard) = &self.guard else { return };
        let (now, said) = (self.now, guard.said.len());
        for client in self.clients.iter_mut().filter(|client| client.shard == at) {
            let Some(bearer) = &mut client.bearer else { continue };
            let Some(token) = bearer.settled() else { continue };
            let shown = &mut bearer.tokens[token];
            if shown.token.expires_s * 1_000 <= now.unix_ms {
                let since = *shown.seen_past.get_or_insert(now.mono_ms);
                if now.mono_ms >= since + ENDS_WITHIN_MS && shown.over.is_none() {
                    shown.over = Some(said);
                }
            }
        }
    }

    /// A close of a bearer has its reason.
    pub(crate) fn check_end(&self, client: &Client, bearer: &Bearer) -> Read {
        let Some(code) = client.close.filter(|_| !client.left) else { return Ok(()) };
        let said = || format!("client {} was closed with {code:?}: {bearer:?}", client.id);
        let (now, guard) = (self.now, self.guard.as_ref());
        match code {
            Some(4001) => {
                let is_over = |shown: &super::bearer::Shown| {
                    let token = &shown.token;
                    token.expires_s * 1_000 <= now.unix_ms
                        || shown.seen_past.is_some()
                        || guard.is_some_and(|guard| guard.may_be_revoked(token, now))
                };
                let mut possible = bearer.possible(bearer.tokens.len());
                let is_known = bearer.good(bearer.tokens.len()).is_some();
                hold(Law::Access, !is_known || possible.any(is_over), said)
            }
            Some(1008) => hold(Law::Grant, bearer.dared, said),
            Some(4201) => {
                hold(Law::Heartbeat, !client.responsive, || format!("{} {client:?}", said()))
            }
            Some(1001) => Ok(()),
            Some(_) | None => hold(Law::Access, false, said),
        }
    }

    pub(crate) fn bearers(&self) -> impl Iterator<Item = &Bearer> {
        self.clients.iter().filter_map(|client| client.bearer.as_deref())
    }

    /// Checks all that must hold of bearers at rest.
    pub(crate) fn check_bearers(&self) -> Read {
        let Some(guard) = &self.guard else { return Ok(()) };
        for client in &self.clients {
            let Some(bearer) = &client.bearer else { continue };
            self.check_present(client, bearer)?;
            for (number, token) in &bearer.heard {
                let shown = &bearer.tokens[*token];
                let ends = [shown.over, guard.revoked_at(&shown.token)];
                let end = ends.into_iter().flatten().min();
                hold(Law::Access, end.is_none_or(|end| *number < end), || {
                    format!("client {} heard {number} after {end:?}: {shown:?}", client.id)
                })?;
                let said = guard.said[*number];
                let Some(speaker) = &self.clients[said.client].bearer else { continue };
                let mut shown = speaker.possible(said.after);
                hold(Law::Grant, shown.any(|shown| shown.token.publish[said.room]), || {
                    format!("{number} was said without a grant: {said:?} {speaker:?}")
                })?;
            }
        }
        self.check_wardens()
    }

    /// Wardens hear all that was acked, once, and stay.
    fn check_wardens(&self) -> Read {
        let Some(guard) = &self.guard else { return Ok(()) };
        for (room, warden) in guard.wardens.iter().enumerate() {
            let client = &self.clients[*warden];
            let Some(bearer) = &client.bearer else { continue };
            hold(Law::Access, client.is_present(), || format!("{client:?} is gone"))?;
            let mut heard: Vec<usize> = bearer.heard.iter().map(|(number, _)| *number).collect();
            heard.sort_unstable();
            hold(Law::Join, heard.is_sorted_by(|a, b| a < b), || format!("twice: {heard:?}"))?;
            for (number, said) in guard.said.iter().enumerate() {
                let is_heard = heard.binary_search(&number).is_ok();
                hold(Law::Loss, said.room != room || !said.acked || is_heard, || {
                    format!("{number} was acked and not heard: {said:?}")
                })?;
                hold(Law::Grant, said.room == room || !is_heard, || {
                    format!("{number} was heard in room {room}: {said:?}")
                })?;
            }
        }
        Ok(())
    }

    /// Who may not be there any more is gone, and who may has all its answers.
    fn check_present(&self, client: &Client, bearer: &Bearer) -> Read {
        let said = || format!("client {} is there: {client:?}", client.id);
        if !client.is_present() || bearer.way == Way::Http {
            let answered = bearer.in_line.is_empty() || bearer.refused || !client.is_present();
            return hold(Law::Loss, answered, said);
        }
        let waits = bearer.waiting.len();
        hold(Law::Loss, waits == 0 || bearer.refused, || {
            format!("client {} waits for {:?}", client.id, bearer.waiting)
        })?;
        let Some(token) = bearer.settled().filter(|_| !bearer.refused) else { return Ok(()) };
        let token = &bearer.tokens[token].token;
        let is_past = token.expires_s * 1_000 + ENDS_WITHIN_MS <= self.now.unix_ms;
        hold(Law::Access, !is_past, said)?;
        let revoked = self.guard.as_ref().and_then(|guard| guard.revoked_at(token));
        hold(Law::Access, revoked.is_none(), said)
    }

    /// Whom the broker ends without a word was to be ended.
    pub(crate) fn check_bearer_gone(&mut self, id: usize) -> Read {
        let client = &mut self.clients[id];
        let (Some(bearer), Some((reason, _))) = (&mut client.bearer, client.gone) else {
            return Ok(());
        };
        bearer.met.ended += u64::from(reason == Disconnect::Unauthorized);
        let is_websocket = client.kind == Kind::Bearer && bearer.way != Way::Http;
        let fits = client.left || bearer.refused || client.close.is_some() || !is_websocket;
        let said = || format!("client {id} was ended, {reason:?}");
        hold(Law::Access, fits || !client.responsive, said)
    }
}

/// Whether what was asked is granted must be as it was answered.
fn check_grant(bearer: &Bearer, asked: Asked, was_granted: bool) -> Read {
    let (what, room, after) = match asked {
        Asked::Say { room, after, .. } => ("publish", room, after),
        Asked::Join { room, after } => ("join", room, after),
        Asked::Show { .. } | Asked::Leave { .. } | Asked::Revoke { .. } | Asked::Nothing => {
            return Ok(());
        }
    };
    let token = bearer.good(after).map(|token| &bearer.tokens[token].token);
    let granted = token.is_some_and(|token| match what {
        "publish" => token.publish[room],
        _ => token.join[room],
    });
    hold(Law::Grant, granted == was_granted, || {
        format!("{asked:?} was granted: {was_granted}, by {token:?}: {bearer:?}")
    })
}

/// A refusal says what is missing.
fn names_grant(asked: Asked, message: &str) -> Read {
    let named = match asked {
        Asked::Say { room, .. } => format!("publish in `{}`", room_name(room)),
        Asked::Join { room, .. } => format!("join in `{}`", room_name(room)),
        Asked::Show { .. } | Asked::Leave { .. } | Asked::Revoke { .. } | Asked::Nothing => {
            return Ok(());
        }
    };
    hold(Law::Grant, message.contains(&named), || format!("{named} is not named by {message}"))
}
