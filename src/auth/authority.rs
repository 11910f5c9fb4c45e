//! Who decides who comes in: keys, rules and roles, for all loops of the process.
//!
//! Not here: where keys come from (`cli` reads files, `side` fetches sets of keys), what of a
//! request is the token (`engine`). Invariant: with keys, nobody comes in without a good token.

use super::roles::{ADMIN, GUEST, MEMBER};
use super::token::{BadToken, Claims, TokenKeys, TokenRules};
use super::{Access, Grant, Grants, Roles, Secret};
use crate::broker::{Role, RoomName, RoomPattern, User};
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
        self.access(keys.verify(token, &self.rules, now_unix_ms)?)
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
        let grants = self.roles.sum([role]);
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
    fn access(&self, claims: Claims) -> Result<Access, BadToken> {
        let Claims { user, username, roles, rooms, autojoin, info, facts } = claims;
        let mut grants = match (&rooms, roles.is_empty()) {
            (None, true) => self.roles.sum([MEMBER]),
            (_, _) => self.roles.sum(roles.iter().map(|role| &**role)),
        };
        if let Some(rooms) = &rooms {
            Arc::make_mut(&mut grants).add(rooms);
        }
        // Whom it puts into a room it lets be there, and read what was said.
        let literal = |room: &RoomName| RoomPattern::parse(room.as_str()).ok();
        let put_in: Vec<RoomPattern> = autojoin.iter().filter_map(literal).collect();
        if !put_in.is_empty() {
            let all = Grants::clone(&grants);
            let all = all.with(Grant::History, put_in.clone()).with(Grant::Join, put_in);
            grants = Arc::new(all);
        }
        let role = if grants.is_admin() { Role::Admin } else { Role::Member };
        let roles = if roles.is_empty() { vec![MEMBER.into()] } else { roles };
        let username = username.as_deref().unwrap_or(&user);
        let user = User::new(&user, username, role).map_err(|_| BadToken::BadClaim("sub"))?;
        Ok(Access {
            user: Arc::new(user),
            roles: roles.into(),
            grants,
            token: Some(facts),
            autojoin: autojoin.into(),
            info,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Grant, IssuedClaims, Signer, TokenAlg};
    use serde_json::json;

    const EXP_S: u64 = 1_000;

    fn secret() -> Secret {
        Secret::new([7; 32])
    }

    fn authority() -> Authority {
        let mut keys = TokenKeys::default();
        keys.add_hmac(TokenAlg::Hs256, None, &secret()).expect("a key");
        Authority { keys: Some(keys), ..Authority::default() }
    }

    fn admit(authority: &Authority, claims: IssuedClaims) -> Access {
        let signer = Signer::from_secret(TokenAlg::Hs256, None, &secret()).expect("a key");
        let token = signer.sign(&claims).expect("a token");
        authority.admit(&token, 0).expect("let in")
    }

    fn claims() -> IssuedClaims {
        IssuedClaims { user: "ada".into(), exp: EXP_S, ..IssuedClaims::default() }
    }

    #[test]
    fn without_keys_no_token_is_good_and_with_keys_one_is_needed() {
        let open = Authority::default();
        assert!(!open.wants_tokens() && !open.guards_api());
        assert_eq!(open.admit("a.b.c", 0), Err(BadToken::NoKeys));
        let closed = authority();
        assert!(closed.wants_tokens() && closed.guards_api());
        assert_eq!(closed.admit("a.b.c", 0), Err(BadToken::Malformed));
        let empty = Authority { keys: Some(TokenKeys::default()), ..Authority::default() };
        assert!(empty.wants_tokens());
    }

    #[test]
    fn a_token_that_names_neither_rooms_nor_roles_is_a_members() {
        let access = admit(&authority(), claims());
        assert_eq!((access.user.id(), access.user.username()), ("ada", "ada"));
        assert_eq!((access.user.role(), &*access.roles), (Role::Member, &[MEMBER.into()][..]));
        assert!(access.allows(Grant::Publish, "chat:1") && !access.allows(Grant::Admin, ""));
        assert_eq!(access.expires_ms(), Some(EXP_S * 1_000));
    }

    #[test]
    fn what_a_token_names_is_all_that_it_grants() {
        let authority = authority();
        let rooms = Some(json!({"join": ["chat:*"]}));
        let access = admit(&authority, IssuedClaims { rooms: rooms.clone(), ..claims() });
        assert!(access.allows(Grant::Join, "chat:1") && !access.allows(Grant::Join, "news"));
        assert!(!access.allows(Grant::Publish, "chat:1"));
        for roles in [vec![], vec!["nobody".to_owned()]] {
            let access = admit(&authority, IssuedClaims { roles: Some(roles), ..claims() });
            assert_eq!(*access.grants, Grants::default());
        }
        let both = IssuedClaims { roles: Some(vec![ADMIN.into()]), rooms, ..claims() };
        let access = admit(&authority, both);
        assert!(access.grants.is_admin() && access.user.role() == Role::Admin);
    }

    #[test]
    fn who_comes_without_a_token_is_what_its_role_grants() {
        let mut authority = Authority::default();
        authority.roles.set(GUEST, Grants::default());
        let guest = authority.access_of(User::guest(1));
        assert!(!guest.allows(Grant::Join, "chat:1") && guest.expires_ms().is_none());
        let admin = User::new("root", "root", Role::Admin).expect("a user");
        assert!(authority.access_of(admin).grants.is_admin());
    }

    #[test]
    fn keys_of_servers_are_known_whole() {
        let keys = [&b"one"[..], b"two"].map(Secret::new);
        let authority = Authority { api_keys: keys.into(), ..Authority::default() };
        assert!(authority.guards_api() && !authority.wants_tokens());
        for (given, known) in [(&b"one"[..], true), (b"two", true), (b"on", false), (b"", false)] {
            assert_eq!(authority.is_api_key(given), known, "{given:?}");
        }
    }
}
