//! What a token says, once its signature is believed.
//!
//! Not here: what that grants together with roles (`authority`). Invariants: each claim that is
//! known is there as it must be, or the token is refused, `null` being a value like any other;
//! claims that are not known are passed over.

use super::json::{Members, one_or_many};
use super::rooms::room_grants;
use super::{BadToken, TokenRules};
use crate::auth::{Grants, TokenFacts};
use crate::broker::{Role, RoomName, User};
use crate::limits::{
    PRESENCE_INFO_BYTES_MAX, ROLE_NAME_BYTES_MAX, TOKEN_AUTOJOIN_MAX, TOKEN_ID_BYTES_MAX,
    TOKEN_ROLES_MAX,
};

/// The claims that the broker knows, each checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// `sub`, or `userId`: a user's id.
    pub user: Box<str>,
    /// `username`, or `preferred_username`.
    pub username: Option<Box<str>>,
    /// `roles`.
    pub roles: Vec<Box<str>>,
    /// `rooms`: what is granted beside what the roles grant. A token that names an empty list of
    /// roles and no rooms is granted nothing, not what a member is.
    pub rooms: Option<Grants>,
    /// `autojoin`.
    pub autojoin: Vec<RoomName>,
    /// `info`: JSON.
    pub info: Option<Box<str>>,
    /// What is remembered.
    pub facts: TokenFacts,
}

impl Claims {
    /// Reads the claims of a token whose signature is good, and holds them against the rules at
    /// that time.
    pub(super) fn parse(json: &[u8], rules: &TokenRules, now_ms: u64) -> Result<Self, BadToken> {
        let members = Members::parse(json)?;
        check_times(&members, rules, now_ms)?;
        check_parties(&members, rules)?;
        Self::read(&members)
    }

    /// The same without the rules: what is about to be issued.
    pub(super) fn check(json: &[u8]) -> Result<(), BadToken> {
        Self::read(&Members::parse(json)?).map(|_| ())
    }

    fn read(members: &Members<'_>) -> Result<Self, BadToken> {
        let user = user(members)?;
        let username = username(members, &user)?;
        let roles = roles(members)?;
        let rooms = members.value("rooms").map(room_grants).transpose()?;
        let rooms = match &roles {
            Some(named) if named.is_empty() => Some(rooms.unwrap_or_default()),
            Some(_) | None => rooms,
        };
        let autojoin = autojoin(members)?;
        Ok(Self {
            user,
            username,
            roles: roles.unwrap_or_default(),
            rooms,
            autojoin,
            info: info(members)?,
            facts: facts(members)?,
        })
    }
}

fn check_times(members: &Members<'_>, rules: &TokenRules, now_ms: u64) -> Result<(), BadToken> {
    let leeway_ms = rules.leeway_s.saturating_mul(1_000);
    let end_ms = time_ms(members, "exp")?.ok_or(BadToken::BadClaim("exp"))?;
    if end_ms.saturating_add(leeway_ms) <= now_ms {
        return Err(BadToken::Expired);
    }
    let start_ms = time_ms(members, "nbf")?.unwrap_or(0);
    if start_ms.saturating_sub(leeway_ms) > now_ms {
        return Err(BadToken::TooEarly);
    }
    Ok(())
}

fn check_parties(members: &Members<'_>, rules: &TokenRules) -> Result<(), BadToken> {
    let audiences = match members.value("aud") {
        Some(value) => one_or_many(value).ok_or(BadToken::BadClaim("aud"))?,
        None => Vec::new(),
    };
    let fits = |audience| rules.audiences.contains(audience);
    if !rules.audiences.is_empty() && !audiences.iter().any(fits) {
        return Err(BadToken::WrongAudience);
    }
    let issuer = members.read::<Box<str>>("iss", BadToken::BadClaim("iss"))?;
    if !rules.issuers.is_empty() && !issuer.is_some_and(|issuer| rules.issuers.contains(&issuer)) {
        return Err(BadToken::WrongIssuer);
    }
    Ok(())
}

/// A number of seconds since 1970 (RFC 7519 §2), in milliseconds.
fn time_ms(members: &Members<'_>, name: &'static str) -> Result<Option<u64>, BadToken> {
    let Some(value) = members.value(name) else { return Ok(None) };
    if let Ok(seconds) = value.get().parse::<u64>() {
        return Ok(Some(seconds.saturating_mul(1_000)));
    }
    let seconds = serde_json::from_str::<f64>(value.get()).ok();
    let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let ms = seconds.ok_or(BadToken::BadClaim(name))? * 1_000.0;
    #[expect(clippy::cast_possible_truncation, reason = "not negative; `as` saturates")]
    Ok(Some(ms as u64))
}

fn user(members: &Members<'_>) -> Result<Box<str>, BadToken> {
    let wrong = BadToken::BadClaim("sub");
    let id = |name| members.value(name).map(|value| id_text(value.get()).ok_or(wrong)).transpose();
    let user = match (id("sub")?, id("userId")?) {
        (Some(sub), Some(user)) if sub != user => return Err(wrong),
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => return Err(wrong),
    };
    if User::is_reserved(&user) || User::check_id(&user).is_err() { Err(wrong) } else { Ok(user) }
}

/// A text, or a whole number as its digits.
fn id_text(json: &str) -> Option<Box<str>> {
    let number = || serde_json::from_str::<i64>(json).map(|number| number.to_string().into());
    let large = || serde_json::from_str::<u64>(json).map(|number| number.to_string().into());
    serde_json::from_str(json).or_else(|_| number()).or_else(|_| large()).ok()
}

fn username(members: &Members<'_>, user: &str) -> Result<Option<Box<str>>, BadToken> {
    for name in ["username", "preferred_username"] {
        if let Some(username) = members.read::<Box<str>>(name, BadToken::BadClaim(name))? {
            let fits = User::new(user, &username, Role::Member);
            return fits.map(|_| Some(username)).map_err(|_| BadToken::BadClaim(name));
        }
    }
    Ok(None)
}

fn roles(members: &Members<'_>) -> Result<Option<Vec<Box<str>>>, BadToken> {
    let Some(value) = members.value("roles") else { return Ok(None) };
    let roles = one_or_many(value).filter(|roles| {
        roles.len() <= TOKEN_ROLES_MAX
            && roles.iter().all(|role| {
                (1..=ROLE_NAME_BYTES_MAX).contains(&role.len())
                    && !role.chars().any(char::is_control)
            })
    });
    roles.map(Some).ok_or(BadToken::BadClaim("roles"))
}

fn autojoin(members: &Members<'_>) -> Result<Vec<RoomName>, BadToken> {
    let wrong = BadToken::BadClaim("autojoin");
    let names = members.read::<Vec<String>>("autojoin", wrong)?.unwrap_or_default();
    if names.len() > TOKEN_AUTOJOIN_MAX {
        return Err(wrong);
    }
    names.iter().map(|name| RoomName::parse(name).map_err(|_| wrong)).collect()
}

fn info(members: &Members<'_>) -> Result<Option<Box<str>>, BadToken> {
    let info = members.value("info").map(|info| info.get());
    if info.is_some_and(|info| info.len() > PRESENCE_INFO_BYTES_MAX) {
        return Err(BadToken::BadClaim("info"));
    }
    Ok(info.map(Box::from))
}

fn facts(members: &Members<'_>) -> Result<TokenFacts, BadToken> {
    let wrong = BadToken::BadClaim("jti");
    let id = members.read::<Box<str>>("jti", wrong)?;
    let fits = |id: &str| id.len() <= TOKEN_ID_BYTES_MAX && !id.chars().any(char::is_control);
    if id.as_deref().is_some_and(|id| !fits(id)) {
        return Err(wrong);
    }
    let expires_ms = time_ms(members, "exp")?.ok_or(BadToken::BadClaim("exp"))?;
    let issued_ms = time_ms(members, "iat")?.unwrap_or(0);
    time_ms(members, "nbf")?;
    Ok(TokenFacts { id, issued_s: issued_ms / 1_000, expires_s: expires_ms / 1_000 })
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
