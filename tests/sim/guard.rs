//! What a guarded run knows of tokens: who was given which, what each grants, until when, and what
//! was revoked.
//!
//! Not here: the connections that show them (`bearer`). Invariant: a token is signed as it is noted
//! here, but for a mutation, whose fault a broken broker would show in the same way.

use super::Mutation;
use fanfare::auth::{Authority, IssuedClaims, Secret, Signer, TokenAlg, TokenKeys};
use fanfare::broker::Now;
use fanfare::limits::TOKEN_LEEWAY_S;
use serde_json::json;

/// Rooms that bearers have to do with, and nobody else.
pub(crate) const ROOMS: usize = 3;
/// Users that bearers come as.
pub(crate) const USERS: u8 = 4;
/// What a server shows.
pub(crate) const SERVER: &str = "X-API-Key: the key of a server\r\n";
const API_KEY: &[u8] = b"the key of a server";
const KEY: &[u8; 32] = b"what the simulator signs it with";
const OTHER_KEY: &[u8; 32] = b"what somebody else would sign wi";
/// As good as never.
const FAR_S: u64 = 4_000_000_000;

/// The name of one of those rooms.
pub(crate) fn room_name(room: usize) -> String {
    format!("guard:{room}")
}

/// One token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) user: String,
    pub(crate) id: String,
    pub(crate) issued_s: u64,
    pub(crate) expires_s: u64,
    /// It is signed with a key that nobody knows.
    pub(crate) forged: bool,
    pub(crate) join: [bool; ROOMS],
    pub(crate) publish: [bool; ROOMS],
}

impl Token {
    /// Whether it lets nobody in any more, by the clock alone.
    pub(crate) const fn is_past(&self, unix_ms: u64) -> bool {
        (self.expires_s + TOKEN_LEEWAY_S) * 1_000 <= unix_ms
    }
}

/// What a revocation names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Whom {
    User { id: String, before_s: Option<u64> },
    Token(String),
    IssuedBefore(u64),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Revoked {
    pub(crate) whom: Whom,
    /// When it was asked for.
    asked_s: u64,
    /// What had been said when it was answered.
    pub(crate) answered: Option<usize>,
}

impl Revoked {
    /// Whether it covers a token, whenever loops applied it from when it was asked for until `s`.
    fn covers(&self, token: &Token, s: u64) -> bool {
        match &self.whom {
            Whom::User { id, before_s } => {
                *id == token.user && token.issued_s < before_s.unwrap_or(s + 1)
            }
            Whom::Token(id) => *id == token.id,
            Whom::IssuedBefore(before_s) => token.issued_s < *before_s,
        }
    }

    /// The body of the request for it.
    pub(crate) fn body(&self) -> String {
        let body = match &self.whom {
            Whom::User { id, before_s: None } => json!({"user": id}),
            Whom::User { id, before_s: Some(s) } => json!({"user": id, "issuedBefore": s}),
            Whom::Token(id) => json!({"token": id}),
            Whom::IssuedBefore(s) => json!({"issuedBefore": s}),
        };
        body.to_string()
    }
}

/// Something that a bearer published, or tried to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    pub(crate) client: usize,
    pub(crate) room: usize,
    /// Tokens that it had shown before.
    pub(crate) after: usize,
    pub(crate) acked: bool,
}

#[derive(Debug)]
pub(crate) struct Guard {
    signer: Signer,
    stranger: Signer,
    mutation: Mutation,
    pub(crate) mutations: u32,
    issued: u64,
    pub(crate) revoked: Vec<Revoked>,
    pub(crate) said: Vec<Said>,
    /// Who sees all that is said in each room.
    pub(crate) wardens: Vec<usize>,
    /// The lowest that the wall clock ever was.
    pub(crate) lowest_s: u64,
}

/// Who decides in a guarded run.
pub(crate) fn authority() -> Authority {
    let mut keys = TokenKeys::default();
    keys.add_hmac(TokenAlg::Hs256, None, &Secret::new(*KEY)).expect("a long key");
    Authority { keys: Some(keys), api_keys: vec![Secret::new(API_KEY)], ..Authority::default() }
}

impl Guard {
    pub(crate) fn new(now: Now, mutation: Mutation) -> Self {
        let signer = |key: &[u8; 32]| {
            let secret = Secret::new(*key);
            Signer::from_secret(TokenAlg::Hs256, None, &secret).expect("a long key")
        };
        Self {
            signer: signer(KEY),
            stranger: signer(OTHER_KEY),
            mutation,
            mutations: 0,
            issued: 0,
            revoked: Vec::new(),
            said: Vec::new(),
            wardens: Vec::new(),
            lowest_s: now.unix_ms / 1_000,
        }
    }

    /// A token that is good for everything, and until the end.
    pub(crate) fn master(&mut self, user: &str, now: Now) -> Token {
        self.issued += 1;
        // What was revoked by time stays so when the clock is set back.
        let revoked = self.revoked.iter().filter_map(|revoked| match &revoked.whom {
            Whom::IssuedBefore(s) => Some(*s),
            Whom::User { .. } | Whom::Token(_) => None,
        });
        let issued_s = revoked.max().unwrap_or(0).max(now.unix_ms / 1_000);
        Token {
            user: user.to_owned(),
            id: format!("t{}", self.issued),
            issued_s,
            expires_s: FAR_S,
            forged: false,
            join: [true; ROOMS],
            publish: [true; ROOMS],
        }
    }

    /// Any token for that user: most are good, some for some rooms only, some not for long.
    pub(crate) fn draw(&mut self, user: &str, now: Now, dice: &mut fastrand::Rng) -> Token {
        let now_s = now.unix_ms / 1_000;
        let lasts_s = dice.choice([1, 4, 15, 40, 200, 4_000]).unwrap_or(0);
        let mut some = || std::array::from_fn(|_| dice.u8(..4) > 0);
        let (join, publish) = (some(), some());
        let was_s = now_s - dice.u64(..100);
        let expires_s = if dice.u8(..12) == 0 { now_s - 50 } else { now_s + lasts_s };
        let forged = dice.u8(..16) == 0;
        Token { issued_s: was_s, expires_s, forged, join, publish, ..self.master(user, now) }
    }

    /// The token as it is shown. `bearer` is whose connection shows it.
    pub(crate) fn sign(&mut self, token: &Token, bearer: &str) -> String {
        let rooms = |granted: &[bool; ROOMS]| -> Vec<String> {
            (0..ROOMS).filter(|room| granted[*room]).map(room_name).collect()
        };
        let mut rooms = json!({"join": rooms(&token.join), "publish": rooms(&token.publish)});
        let is_master = token.expires_s == FAR_S;
        if is_master {
            rooms = json!({"join": ["**"], "publish": true});
        }
        let mut claims = IssuedClaims {
            user: token.user.clone(),
            jti: Some(token.id.clone()),
            iat: token.issued_s,
            exp: token.expires_s,
            ..IssuedClaims::default()
        };
        let mut signer = if token.forged { &self.stranger } else { &self.signer };
        let is = |mutation| self.mutation == mutation;
        let found = if is(Mutation::GrantPublish) && !is_master {
            rooms["publish"] = json!(["guard:*"]);
            token.publish.contains(&false)
        } else if is(Mutation::GrantJoin) && !is_master {
            rooms["join"] = json!(["guard:*"]);
            token.join.contains(&false)
        } else if is(Mutation::ForgetGrants) && !is_master {
            rooms["publish"] = json!([]);
            token.publish.contains(&true)
        } else if is(Mutation::IgnoreExpiry) && !is_master {
            claims.exp += 100_000;
            true
        } else if is(Mutation::ExpireEarly) && !is_master {
            claims.exp -= 3.min(claims.exp);
            true
        } else if is(Mutation::TrustForgers) && token.forged {
            signer = &self.signer;
            true
        } else if is(Mutation::RefreshOthers) && token.user != bearer {
            bearer.clone_into(&mut claims.user);
            true
        } else if is(Mutation::ForgetTokenIds) {
            claims.jti = None;
            true
        } else {
            false
        };
        self.mutations += u32::from(found);
        claims.rooms = Some(rooms);
        signer.sign(&claims).expect("it can be signed")
    }

    /// Notes a revocation that is asked for now; which it is.
    pub(crate) fn revoke(&mut self, whom: Whom, now: Now) -> usize {
        let asked_s = now.unix_ms / 1_000;
        self.revoked.push(Revoked { whom, asked_s, answered: None });
        self.revoked.len() - 1
    }

    /// Whether a token may have been revoked by now.
    pub(crate) fn may_be_revoked(&self, token: &Token, now: Now) -> bool {
        self.revoked.iter().any(|revoked| revoked.covers(token, now.unix_ms / 1_000))
    }

    /// What had been said when a token was revoked for all to know; none if it was not.
    pub(crate) fn revoked_at(&self, token: &Token) -> Option<usize> {
        let covering = self.revoked.iter().filter(|revoked| revoked.covers(token, revoked.asked_s));
        covering.filter_map(|revoked| revoked.answered).min()
    }

    /// All that was said is forgotten, and what was revoked is not.
    pub(crate) fn begin_again(&mut self) {
        self.said.clear();
        self.wardens.clear();
        for revoked in &mut self.revoked {
            revoked.answered = revoked.answered.map(|_| 0);
        }
    }
}
