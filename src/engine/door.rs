//! Who is behind a request: the token or the key that it shows, or the word of a trusted proxy.
//!
//! Not here: what tokens and grants mean (`auth`), the `auth` message (`authenticating`).
//! Invariant: where tokens are wanted, nothing but a good one makes anybody known.

use super::shard::{Notice, Shard};
use crate::api::Intent;
use crate::auth::{Access, BadToken, GUEST, Grant, Trust, Ungranted};
use crate::broker::{ConnKey, Now, RoomName};
use crate::http::{Head, Response};
use std::borrow::Cow;
use std::sync::Arc;

/// What a subprotocol item that is a token begins with.
const SUBPROTOCOL_TOKEN: &str = "bearer.";
const SCHEME: &[u8] = b"bearer";

/// Who asks for a WebSocket.
#[derive(Clone, Debug)]
pub(super) enum Visitor {
    /// Someone whom a token or a trusted proxy names.
    Known(Arc<Access>),
    /// Nobody has to be known here.
    Guest,
    /// Somebody who has not shown the token that is wanted.
    Unknown,
}

/// Who calls the API.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// A server, by its key; anyone, where nothing is asked for.
    Server,
    User(Arc<Access>),
}

impl Shard {
    /// Who asks for a WebSocket, or the answer that refuses it.
    pub(super) fn visitor(
        &mut self,
        key: ConnKey,
        head: &Head<'_>,
        now: Now,
    ) -> Result<Visitor, Response> {
        if self.authority.wants_tokens() {
            let Some(token) = self.token_in(head)? else { return Ok(Visitor::Unknown) };
            let access = self.admit(key, &token, now).map_err(|bad| bad_token(&bad))?;
            return Ok(Visitor::Known(access));
        }
        let trust = self.session(key).map_or(Trust::Stranger, |session| session.trust);
        let user = self.settings.identity.identify(trust, |header| head.fields(header));
        let user = user.map_err(|wrong| Response::problem(400, &wrong.to_string()))?;
        let known = user.map(|user| Arc::new(self.authority.access_of(user)));
        Ok(known.map_or(Visitor::Guest, Visitor::Known))
    }

    /// The same where nobody can be asked later: who is not known is refused.
    pub(super) fn visitor_now(
        &mut self,
        key: ConnKey,
        head: &Head<'_>,
        now: Now,
    ) -> Result<Option<Arc<Access>>, Response> {
        match self.visitor(key, head, now)? {
            Visitor::Known(access) => Ok(Some(access)),
            Visitor::Guest => Ok(None),
            Visitor::Unknown => Err(no_token()),
        }
    }

    /// Who calls the API, or the answer that refuses it.
    pub(super) fn caller(
        &mut self,
        key: ConnKey,
        head: &Head<'_>,
        now: Now,
    ) -> Result<Caller, Response> {
        if !self.authority.guards_api() {
            return Ok(Caller::Server);
        }
        let shown = only(head, "x-api-key")?;
        let bearer = bearer(head)?;
        if shown.is_some() && bearer.is_some() {
            return Err(twice());
        }
        if let Some(given) = shown.or(bearer)
            && self.authority.is_api_key(given)
        {
            return Ok(Caller::Server);
        }
        match bearer.and_then(|token| str::from_utf8(token).ok()) {
            Some(token) if self.authority.wants_tokens() => {
                let access = self.admit(key, token, now).map_err(|bad| bad_token(&bad))?;
                Ok(Caller::User(access))
            }
            Some(_) | None if shown.is_some() || bearer.is_some() => {
                self.counters.tokens_refused += 1;
                Err(unauthorized("the key is not known", true))
            }
            Some(_) | None => Err(unauthorized(NO_KEY, false)),
        }
    }

    /// Checks a token; says who it lets in.
    pub(super) fn admit(
        &mut self,
        key: ConnKey,
        token: &str,
        now: Now,
    ) -> Result<Arc<Access>, BadToken> {
        let admitted = self.authority.admit(token, now.unix_ms).and_then(|access| {
            let facts = access.token.as_ref();
            let is_over =
                facts.is_some_and(|facts| self.revocations.is_revoked(access.user.id(), facts));
            if is_over { Err(BadToken::Revoked) } else { Ok(access) }
        });
        match admitted {
            Ok(access) => {
                self.counters.tokens_accepted += 1;
                Ok(Arc::new(access))
            }
            Err(bad) => {
                self.counters.tokens_refused += 1;
                self.notice(Notice::TokenRefused { key, bad });
                Err(bad)
            }
        }
    }

    /// What has become of a caller's token since it was checked, if that is the end of it: a body
    /// may take its time.
    pub(super) fn refuse_late(&mut self, caller: &Caller, now: Now) -> Option<Response> {
        let Caller::User(access) = caller else { return None };
        let facts = access.token.as_ref()?;
        let leeway_ms = self.authority.rules.leeway_s.saturating_mul(1_000);
        let end_ms = facts.expires_s.saturating_mul(1_000).saturating_add(leeway_ms);
        let bad = match end_ms <= now.unix_ms {
            true => BadToken::Expired,
            false if self.revocations.is_revoked(access.user.id(), facts) => BadToken::Revoked,
            false => return None,
        };
        self.counters.tokens_refused += 1;
        Some(bad_token(&bad))
    }

    /// Whether somebody, or a guest, may do that in a room.
    pub(super) fn check_grant(
        &mut self,
        access: Option<&Access>,
        grant: Grant,
        room: &str,
    ) -> Result<(), Ungranted> {
        if self.is_granted(access, grant, room) {
            return Ok(());
        }
        self.counters.requests_forbidden += 1;
        Err(Ungranted { grant })
    }

    pub(super) fn is_granted(&self, access: Option<&Access>, grant: Grant, room: &str) -> bool {
        match access {
            Some(access) => access.allows(grant, room),
            None => {
                let grants = self.authority.roles.grants(GUEST);
                grants.is_some_and(|grants| grants.allows(grant, room, ""))
            }
        }
    }

    /// Whether the caller may have that done.
    pub(super) fn check_call(&mut self, caller: &Caller, intent: &Intent) -> Result<(), Response> {
        let Caller::User(access) = caller else { return Ok(()) };
        let (grant, room) = match intent {
            Intent::Publish { room, .. } => (Grant::Publish, Some(room)),
            Intent::Direct { .. }
            | Intent::Broadcast { .. }
            | Intent::NotifyUser { .. }
            | Intent::NotifyRoom { .. }
            | Intent::Revoke => (Grant::Admin, None),
            Intent::Login | Intent::Health | Intent::Ready | Intent::Metrics => return Ok(()),
        };
        let room = room.map_or("", RoomName::as_str);
        let checked = self.check_grant(Some(access), grant, room);
        checked.map_err(|ungranted| forbidden(ungranted, room))
    }

    /// The token that a request shows, in the one place where it may.
    fn token_in<'a>(&self, head: &Head<'a>) -> Result<Option<Cow<'a, str>>, Response> {
        let text = |bytes: &'a [u8]| {
            let text = str::from_utf8(bytes).map(Cow::Borrowed);
            text.map_err(|_| Response::problem(400, "a token is ASCII"))
        };
        let cookie = self.settings.auth_cookie.as_deref();
        let texts = bearer(head)?
            .into_iter()
            .chain(cookie.into_iter().flat_map(|name| cookies_in(head, name)))
            .chain(subprotocols_in(head));
        let mut shown = texts.map(text).chain(head.query_params("token").flatten().map(Ok));
        let first = shown.next().transpose()?;
        if shown.next().is_some() { Err(twice()) } else { Ok(first) }
    }
}

/// The one value of a field.
fn only<'a>(head: &Head<'a>, name: &str) -> Result<Option<&'a [u8]>, Response> {
    let mut values = head.fields(name);
    let first = values.next();
    if values.next().is_some() { Err(twice()) } else { Ok(first) }
}

/// What `Authorization` says after `Bearer` (RFC 6750 §2.1). Other schemes are for others.
fn bearer<'a>(head: &Head<'a>) -> Result<Option<&'a [u8]>, Response> {
    let Some(value) = only(head, "authorization")? else { return Ok(None) };
    let split = value.split_at_checked(SCHEME.len());
    let rest = split.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
    let token = rest.and_then(|(_, rest)| rest.strip_prefix(b" ")).map(<[u8]>::trim_ascii);
    Ok(token.filter(|token| !token.is_empty()))
}

/// The values of a cookie (RFC 6265 §5.4). There is one, unless someone tosses another.
fn cookies_in<'a>(head: &Head<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = head.fields("cookie").flat_map(|field| field.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = pair.split_at_checked(at)?;
        (key.trim_ascii() == name.as_bytes()).then_some(value.get(1..)?.trim_ascii())
    })
}

/// The tokens among the subprotocols: browsers can send it nowhere else.
fn subprotocols_in<'a>(head: &Head<'a>) -> impl Iterator<Item = &'a [u8]> {
    let offers = head.fields("sec-websocket-protocol");
    let items = offers.flat_map(|offer| offer.split(|byte| *byte == b','));
    items.filter_map(|item| item.trim_ascii().strip_prefix(SUBPROTOCOL_TOKEN.as_bytes()))
}

/// What who calls the API without a word is told.
const NO_KEY: &str = "a token or a key is needed: in Authorization, or the key in X-API-Key";

fn twice() -> Response {
    Response::problem(400, "a request shows one token or key, once")
}

fn no_token() -> Response {
    unauthorized("a token is needed: in Authorization, as ?token=, or as a subprotocol", false)
}

fn bad_token(bad: &BadToken) -> Response {
    unauthorized(&bad.to_string(), true)
}

/// 401 with the challenge of RFC 6750 §3.
fn unauthorized(detail: &str, was_shown: bool) -> Response {
    let challenge = if was_shown { "Bearer error=\"invalid_token\"" } else { "Bearer" };
    Response::problem(401, &format!("unauthorized: {detail}"))
        .with_field("WWW-Authenticate", challenge)
}

/// 403 that names the grant.
pub(super) fn forbidden(ungranted: Ungranted, room: &str) -> Response {
    Response::problem(403, &format!("forbidden: {}", ungranted.in_room(room)))
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
