//! Who decides who comes in: keys, rules and roles, for all loops of the process.
//!
//! Not here: where keys come from (`cli` reads files, `side` fetches sets of keys), what of a
//! request is the token (`engine`). Invariant: with keys, nobody comes in without a good token.

use super::roles::{ADMIN, GUEST, MEMBER};
use super::token::{BadToken, Claims, TokenKeys, TokenRules};
use super::{Access, Grants, Roles, Secret};
use crate::broker::{Role, User};
use std::sync::Arc;

/// Keys, rules and roles. Made anew when keys change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Authority {
    /// The keys that tokens are checked with; `None`: there are no tokens, and anyone may come in.
    pub keys: Option<TokenKeys>,
    /// What tokens must say.
    pub rules: TokenRules,
    /// What roles grant.
    pub roles: Roles,
    /// Keys of servers, which may do everything over HTTP.
    pub api_keys: Vec<Secret>,
}

impl Authority {
    /// Whether nobody comes in without a token.
    pub const fn wants_tokens(&self) -> bool {
        self.keys.is_some()
    }

    /// Whether HTTP requests that change anything need a token or a key.
    pub fn guards_api(&self) -> bool {
        self.wants_tokens() || !self.api_keys.is_empty()
    }

    /// Checks a token at that time and says what it gives access to.
    pub fn admit(&self, token: &str, now_unix_ms: u64) -> Result<Access, BadToken> {
        let keys = self.keys.as_ref().ok_or(BadToken::NoKeys)?;
        let claims = keys.verify(token, &self.rules, now_unix_ms)?;
        Ok(self.access(claims))
    }

    /// Whether `given` is the key of a server. Takes the same time whichever it is.
    pub fn is_api_key(&self, given: &[u8]) -> bool {
        self.api_keys.iter().fold(false, |found, key| found | key.is(given))
    }

    /// What a user may do who came without a token: a guest, or one that a proxy names.
    pub fn access_of(&self, user: User) -> Access {
        let role = match user.role() {
            Role::Guest => GUEST,
            Role::Member => MEMBER,
            Role::Admin => ADMIN,
        };
        let grants = Arc::new(self.roles.sum([role]));
        Access {
            user: Arc::new(user),
            roles: Box::new([role.into()]),
            grants,
            token: None,
            autojoin: Box::default(),
            info: None,
        }
    }

    /// Joins what a token says with what its roles grant. A token that names neither rooms nor
    /// roles is a member's.
    fn access(&self, claims: Claims) -> Access {
        let Claims { user, username, roles, rooms, autojoin, info, facts } = claims;
        let mut grants = match (&rooms, roles.is_empty()) {
            (None, true) => self.roles.sum([MEMBER]),
            (_, _) => self.roles.sum(roles.iter().map(|role| &**role)),
        };
        grants.add(&rooms.unwrap_or_default());
        let role = if grants.is_admin() { Role::Admin } else { Role::Member };
        let roles = if roles.is_empty() { vec![MEMBER.into()] } else { roles };
        let username = username.as_deref().unwrap_or(&user);
        // Claims are checked: the guest stands for what can't be.
        let user = User::new(&user, username, role).unwrap_or_else(|_| User::guest(0));
        Access {
            user: Arc::new(user),
            roles: roles.into(),
            grants: Arc::new(grants),
            token: Some(facts),
            autojoin: autojoin.into(),
            info,
        }
    }

    /// What a server may do that showed its key.
    pub fn server_grants() -> Grants {
        Grants::all_rooms().with_admin()
    }
}
