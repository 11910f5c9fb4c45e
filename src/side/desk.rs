//! Who may log in, and what they get for their password.
//!
//! Not here: the thread (`logins`), the signature (`auth`). Invariant: an unknown user
//! costs the same time as a known one, and gets the same answer.

use super::attempts::Attempts;
use super::passwords::PasswordHash;
use crate::auth::{IssuedClaims, Login, LoginOutcome, Secret, Signer, TokenRules};
use crate::broker::Now;
use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;

/// What a token is to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pass<'a> {
    /// The user's id, and name.
    user: &'a str,
    roles: &'a [Box<str>],
    /// From when on, in Unix seconds.
    issued_s: u64,
    /// Until when.
    expires_s: u64,
}

/// Makes a token of what it is to say, or says why it can't.
type Sign = Box<dyn Fn(Pass<'_>) -> Result<String, String> + Send>;

struct Account {
    user: Box<str>,
    hash: PasswordHash,
    roles: Vec<Box<str>>,
}

/// Checks passwords and gives tokens for them.
pub struct Desk {
    accounts: Vec<Account>,
    /// Their places by name. The hash is keyed.
    places: HashMap<Box<str>, usize>,
    attempts: Attempts,
    ttl_s: u64,
    sign: Sign,
}

impl Desk {
    /// A desk where nobody has an account yet. Its tokens last `ttl_s`, and say what `rules` ask
    /// tokens to say.
    pub fn signing(signer: Signer, rules: &TokenRules, ttl_s: u64) -> Self {
        let aud: Vec<String> =
            rules.audiences.first().map(|aud| aud.to_string()).into_iter().collect();
        let iss = rules.issuers.first().map(|iss| iss.to_string());
        Self::new(ttl_s, move |pass| {
            let Pass { user, roles, issued_s, expires_s } = pass;
            let roles: Vec<String> = roles.iter().map(|role| role.to_string()).collect();
            let claims = IssuedClaims {
                user: user.to_owned(),
                roles: Some(roles).filter(|roles| !roles.is_empty()),
                jti: Some(random_id()?),
                iat: issued_s,
                exp: expires_s,
                aud: aud.clone(),
                iss: iss.clone(),
                ..IssuedClaims::default()
            };
            signer.sign(&claims).map_err(|bad| bad.to_string())
        })
    }

    /// A desk where nobody has an account yet, and whose tokens last `ttl_s`.
    pub(super) fn new(
        ttl_s: u64,
        sign: impl Fn(Pass<'_>) -> Result<String, String> + Send + 'static,
    ) -> Self {
        let (accounts, places) = (Vec::new(), HashMap::new());
        Self { accounts, places, attempts: Attempts::default(), ttl_s, sign: Box::new(sign) }
    }

    /// Opens an account; a second one of the same user takes the place of the first.
    pub fn add(&mut self, user: &str, hash: PasswordHash, roles: Vec<Box<str>>) {
        self.places.insert(user.into(), self.accounts.len());
        self.accounts.push(Account { user: user.into(), hash, roles });
    }

    /// Checks a password, which takes long. `now` is when it was sent.
    pub(super) fn check(&mut self, user: &str, password: &Secret, now: Now) -> LoginOutcome {
        if let Err(after) = self.attempts.count(user, now.mono_ms) {
            let retry_after_s = u32::try_from(after.0.div_ceil(1_000)).unwrap_or(u32::MAX);
            return LoginOutcome::TooMany { retry_after_s };
        }
        let known = self.places.get(user).copied();
        let Some(account) = self.accounts.get(known.unwrap_or_else(|| self.stand_in(user))) else {
            return LoginOutcome::Wrong; // Nobody has an account.
        };
        let is_right = account.hash.is_of(password.expose());
        if !is_right || known.is_none() {
            return LoginOutcome::Wrong;
        }
        self.grant(account, now)
    }

    /// Whose password an unknown user's is compared with: for each name always the same, so that
    /// accounts whose hashes take longer than others give nothing away.
    fn stand_in(&self, user: &str) -> usize {
        let hash = self.places.hasher().hash_one(user);
        let accounts = self.accounts.len().max(1) as u64;
        usize::try_from(hash % accounts).unwrap_or_default()
    }

    fn grant(&self, account: &Account, now: Now) -> LoginOutcome {
        let issued_s = now.unix_ms / 1_000;
        let expires_s = issued_s.saturating_add(self.ttl_s);
        let Account { user, roles, .. } = account;
        match (self.sign)(Pass { user, roles, issued_s, expires_s }) {
            Ok(token) => {
                let (user, roles) = (user.clone(), roles.clone());
                let token = Secret::new(token.into_bytes());
                LoginOutcome::Granted(Box::new(Login { token, expires_s, user, roles }))
            }
            Err(error) => {
                tracing::error!(error, "cannot issue a token for a login");
                LoginOutcome::Failed
            }
        }
    }
}

/// A name for a token that no other has.
fn random_id() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accounts = self.accounts.len();
        f.debug_struct("Desk").field("accounts", &accounts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Authority, TokenAlg, TokenKeys};
    use crate::limits::LOGINS_PER_MINUTE_MAX;
    use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
    use std::time::{Duration, Instant};

    const HOUR_S: u64 = 3_600;

    fn hash(password: &str, passes: u32) -> PasswordHash {
        let params = Params::new(64, passes, 1, None).expect("cheap");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash: argon2::password_hash::phc::PasswordHash =
            argon2.hash_password(password.as_bytes()).expect("a hash");
        PasswordHash::parse(&hash.to_string()).expect("a hash")
    }

    fn sign(pass: Pass<'_>) -> Result<String, String> {
        let Pass { user, roles, issued_s, expires_s } = pass;
        Ok(format!("{user} {roles:?} {issued_s} {expires_s}"))
    }

    fn desk() -> Desk {
        let mut desk = Desk::new(HOUR_S, sign);
        desk.add("ada", hash("open sesame", 1), vec!["admin".into()]);
        desk.add("bob", hash("hush", 1), Vec::new());
        desk
    }

    fn check(desk: &mut Desk, user: &str, password: &str, now: Now) -> LoginOutcome {
        desk.check(user, &Secret::new(password.as_bytes()), now)
    }

    #[test]
    fn a_password_buys_a_token_of_its_user_and_nothing_else_does() {
        let mut desk = desk();
        let now = Now { mono_ms: 0, unix_ms: 1_700_000_000_999 };
        let granted = check(&mut desk, "ada", "open sesame", now);
        let expires_s = 1_700_000_000 + HOUR_S;
        let token = format!("ada [\"admin\"] 1700000000 {expires_s}");
        let (user, roles) = ("ada".into(), vec!["admin".into()]);
        let login = Login { token: Secret::new(token.into_bytes()), expires_s, user, roles };
        assert_eq!(granted, LoginOutcome::Granted(login.into()));
        for (user, password) in [
            ("ada", "open sesame "),
            ("ada", "hush"),
            ("bob", "open sesame"),
            ("Ada", "open sesame"),
            ("eve", "open sesame"),
            ("eve", "hush"),
            ("", ""),
        ] {
            let outcome = check(&mut desk, user, password, now);
            assert_eq!(outcome, LoginOutcome::Wrong, "{user} {password}");
        }
        assert!(matches!(check(&mut desk, "bob", "hush", now), LoginOutcome::Granted(_)));
        assert!(!format!("{desk:?}").contains("argon2"));
    }

    #[test]
    fn a_token_is_one_that_the_broker_lets_in() {
        let secret = Secret::new([7; 32]);
        let rules = TokenRules {
            audiences: vec!["chat".into(), "other".into()],
            issuers: vec!["us".into()],
            ..TokenRules::default()
        };
        let signer = Signer::from_secret(TokenAlg::Hs256, None, &secret).expect("a key");
        let mut desk = Desk::signing(signer, &rules, HOUR_S);
        desk.add("ada", hash("x", 1), vec!["admin".into()]);
        desk.add("bob", hash("x", 1), Vec::new());
        let mut keys = TokenKeys::default();
        keys.add_hmac(TokenAlg::Hs256, None, &secret).expect("a key");
        let authority = Authority { keys: Some(keys), rules, ..Authority::default() };
        let mut ids = Vec::new();
        for (user, role, is_admin) in [("ada", "admin", true), ("bob", "member", false)] {
            let now = Now { mono_ms: 0, unix_ms: 1_700_000_000_000 };
            let LoginOutcome::Granted(login) = check(&mut desk, user, "x", now) else {
                panic!("{user} is let in")
            };
            let token = str::from_utf8(login.token.expose()).expect("text");
            let access = authority.admit(token, now.unix_ms).expect("a good token");
            assert_eq!((access.user.id(), access.user.username()), (user, user));
            assert_eq!((&*access.roles, access.grants.is_admin()), (&[role.into()][..], is_admin));
            assert_eq!(access.expires_ms(), Some((1_700_000_000 + HOUR_S) * 1_000));
            ids.push(access.token.and_then(|facts| facts.id).expect("a name of its own"));
        }
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn without_accounts_nobody_gets_in_and_without_a_key_nobody_is_told_who_is_right() {
        let mut empty = Desk::new(HOUR_S, sign);
        assert_eq!(check(&mut empty, "ada", "x", Now::default()), LoginOutcome::Wrong);
        let mut keyless = Desk::new(HOUR_S, |_| Err("no key".to_owned()));
        keyless.add("ada", hash("x", 1), Vec::new());
        assert_eq!(check(&mut keyless, "ada", "x", Now::default()), LoginOutcome::Failed);
        assert_eq!(check(&mut keyless, "ada", "y", Now::default()), LoginOutcome::Wrong);
    }

    #[test]
    fn a_later_account_of_the_same_user_takes_the_place_of_the_first() {
        let mut desk = desk();
        desk.add("ada", hash("another", 1), Vec::new());
        let now = Now::default();
        assert_eq!(check(&mut desk, "ada", "open sesame", now), LoginOutcome::Wrong);
        assert!(matches!(check(&mut desk, "ada", "another", now), LoginOutcome::Granted(_)));
    }

    #[test]
    fn too_many_attempts_are_refused_right_or_wrong_known_or_not() {
        for user in ["ada", "eve"] {
            let mut desk = desk();
            for _ in 0..LOGINS_PER_MINUTE_MAX {
                assert_eq!(check(&mut desk, user, "x", Now::default()), LoginOutcome::Wrong);
            }
            let later = Now { mono_ms: 500, unix_ms: 500 };
            let outcome = check(&mut desk, user, "open sesame", later);
            assert_eq!(outcome, LoginOutcome::TooMany { retry_after_s: 60 }, "{user}");
            assert!(matches!(check(&mut desk, "bob", "hush", later), LoginOutcome::Granted(_)));
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "how long it takes is what is looked at")]
    fn an_unknown_user_takes_as_long_as_a_wrong_password() {
        let mut desk = Desk::new(HOUR_S, sign);
        desk.add("ada", hash("open sesame", 50), Vec::new());
        let mut least = [Duration::MAX; 2];
        for _ in 0..LOGINS_PER_MINUTE_MAX {
            for (user, least) in ["ada", "eve"].into_iter().zip(&mut least) {
                let start = Instant::now();
                assert_eq!(check(&mut desk, user, "x", Now::default()), LoginOutcome::Wrong);
                *least = start.elapsed().min(*least);
            }
        }
        let [known, unknown] = least;
        assert!(unknown > known / 2, "{unknown:?} for nobody, {known:?} for a user");
    }

    #[test]
    fn an_unknown_name_always_has_the_same_stand_in_and_not_all_names_the_same() {
        let desk = desk();
        let places: Vec<usize> = (0..100).map(|n| desk.stand_in(&n.to_string())).collect();
        assert!(places.iter().all(|place| *place < 2));
        assert!(places.contains(&0) && places.contains(&1));
        assert_eq!(desk.stand_in("7"), desk.stand_in("7"));
    }
}
