//! `[[users]]` of a file: who may log in with a password.
//!
//! Not here: the login itself. Invariants: a hash is one that argon2 can check; it is never shown.

use super::entries::Table;
use super::error::{ConfigError, Place};
use super::layers::{Draft, File};
use super::value::{self, Value, Wanted};
use super::{roles, roles::is_name};
use crate::auth::{Roles, Secret};
use crate::broker::User;
use crate::limits::{LOGIN_USERS_MAX, TOKEN_ROLES_MAX};
use argon2::password_hash::phc::PasswordHash;
use toml::Spanned;
use toml::de::DeValue;

/// Where users stand in a file.
pub(super) static TABLE: Table =
    Table { key: "users", most: LOGIN_USERS_MAX, keys: &USER_KEYS, secrets: &["password_hash"] };

/// The keys of one `[[users]]`: name, default, meaning.
pub static USER_KEYS: [(&str, &str, &str); 3] = [
    ("name", "none, must be given", "The user's id, which is also what the user logs in with"),
    ("password_hash", "none, must be given", "What `fanfare password` made of the password"),
    ("roles", "none", "Names of the user's roles; without one the user is a member"),
];

/// A user that may log in with a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginUser {
    /// The user's id.
    pub name: Box<str>,
    /// The password's hash, as a PHC string of argon2: UTF-8 that argon2 reads.
    pub password_hash: Secret,
    /// The names of the user's roles, all described.
    pub roles: Vec<Box<str>>,
}

/// What one entry says.
#[derive(Default)]
struct Written {
    name: Option<Box<str>>,
    password_hash: Option<Secret>,
    roles: Vec<Box<str>>,
}

/// One entry without mistakes of its own.
#[derive(Clone, Debug)]
pub(super) struct UserDraft {
    nth: usize,
    place: Place,
    pub(super) user: LoginUser,
}

/// Reads the `nth` entry, noting its mistakes.
pub(super) fn apply(draft: &mut Draft, file: &File<'_>, nth: usize, entry: &Spanned<DeValue<'_>>) {
    let mut written = Written::default();
    let set = |key: &str, value: &Value<'_>| set(&mut written, key, value);
    let Some(place) = TABLE.read(draft, file, (nth, entry), set) else { return };
    let (is, right) = match written {
        Written { name: Some(name), password_hash: Some(password_hash), roles } => {
            let user = LoginUser { name, password_hash, roles };
            draft.users.push(UserDraft { nth, place, user });
            return;
        }
        Written { name: None, .. } => ("has no name", "say who it is, as in name = \"ada\""),
        Written { password_hash: None, .. } => {
            ("has no password_hash", "`fanfare password` makes one")
        }
    };
    draft.errors.push(TABLE.wrong(&place, "", nth, is, right));
}

/// Sets one key of an entry; `None` where there is no such key.
fn set(written: &mut Written, key: &str, value: &Value<'_>) -> Option<Result<(), Wanted>> {
    Some(match key {
        "name" => name(value).map(|name| written.name = Some(name)),
        "password_hash" => hash(value).map(|hash| written.password_hash = Some(hash)),
        "roles" => role_names(value).map(|roles| written.roles = roles),
        _ => return None,
    })
}

fn name(value: &Value<'_>) -> Result<Box<str>, Wanted> {
    let raw = value::text(value).ok_or("a user's id")?;
    let id = User::check_id(raw).map_err(|rule| format!("a user's id: {rule}"))?;
    // No token may be theirs.
    if id == "server" || id.starts_with("guest-") {
        return Err("a user's id; server and guest-… are the broker's own".to_owned());
    }
    Ok(id.into())
}

fn hash(value: &Value<'_>) -> Result<Secret, Wanted> {
    let wanted = "the hash of a password by argon2, which `fanfare password` makes";
    let raw = value::text(value).ok_or(wanted)?;
    let hash = PasswordHash::new(raw).map_err(|_| wanted)?;
    let is_whole = hash.salt.is_some() && hash.hash.is_some();
    // An unknown algorithm or parameters out of bounds would fail each login.
    let is_known = argon2::Algorithm::try_from(hash.algorithm.as_str()).is_ok();
    if is_whole && is_known && argon2::Params::try_from(&hash).is_ok() {
        Ok(Secret::new(raw.as_bytes()))
    } else {
        Err(wanted.to_owned())
    }
}

fn role_names(value: &Value<'_>) -> Result<Vec<Box<str>>, Wanted> {
    let raws = value::texts(value, "the name of a role, or a list of them")?;
    if raws.len() > TOKEN_ROLES_MAX {
        return Err(format!("at most {TOKEN_ROLES_MAX} roles"));
    }
    let name = |raw: &str| match is_name(raw) {
        true => Ok(raw.into()),
        false => Err(format!("names of roles, and {raw:?} is none")),
    };
    raws.into_iter().map(name).collect()
}

/// The second of two entries for one user, and roles that nobody described.
pub(super) fn check(draft: &Draft, described: &Roles) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for UserDraft { nth, place, user } in &draft.users {
        let first = draft.users.iter().find(|other| other.user.name == user.name);
        if let Some(first) = first.filter(|first| first.nth < *nth) {
            let is = format!("repeats {:?} of #{}", user.name, first.nth);
            errors.push(TABLE.wrong(place, "name", *nth, &is, "each user is there once"));
        }
        let unknown = user.roles.iter().find(|role| described.grants(role).is_none());
        if let Some(role) = unknown {
            let is = format!("names {role:?}");
            let right = format!("describe that role under [[{}]]", roles::TABLE.key);
            errors.push(TABLE.wrong(place, "roles", *nth, &is, &right));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Layers};
    use super::*;

    /// Of "sesame", with little memory.
    const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$\
                        R0tIhEtUHDlFSIRCMTjfOQkXZzPVfBXwNsM6Aq5fZUk";
    const LOGIN: &str = "[auth]\nlogin = true\nhs256_key = \"0123456789abcdef0123456789abcdef\"\n";

    fn parse(text: &str) -> Result<Config, String> {
        let text = &format!("{LOGIN}{text}");
        let file = Some(File { name: "f.toml", text });
        Config::parse(&Layers { file, ..Layers::default() }).map_err(|errors| errors.to_string())
    }

    fn user(rest: &str) -> String {
        format!("[[users]]\nname = \"ada\"\npassword_hash = \"{HASH}\"\n{rest}")
    }

    #[test]
    fn users_have_hashes_that_are_never_shown_and_roles_that_are_described() {
        let config = parse(&user("roles = [\"admin\", \"member\"]")).expect("a good file");
        let [ada] = &config.auth.users[..] else { panic!("one user") };
        assert_eq!((&*ada.name, ada.roles.len()), ("ada", 2));
        assert!(ada.password_hash.is(HASH.as_bytes()));
        assert!(!format!("{config:?}").contains("R0tIhEtU"));
    }

    #[test]
    fn what_is_no_user_is_refused_and_the_hash_not_shown() {
        let hash = |hash: &str| format!("[[users]]\nname = \"a\"\npassword_hash = \"{hash}\"");
        for (text, wrong) in [
            ("[[users]]".to_owned(), "[[users]] #1 of f.toml has no name"),
            ("[[users]]\nname = \"a\"".into(), "has no password_hash; `fanfare password` makes"),
            ("[[users]]\nname = \"a\\tb\"".into(), "it takes a user's id"),
            ("[[users]]\nname = \"server\"".into(), "are the broker's own"),
            ("[[users]]\nname = \"guest-1\"".into(), "are the broker's own"),
            (hash("sesame"), "password_hash in [[users]] #1 of f.toml is not right; it takes the"),
            (hash("$2b$12$sesame"), "is not right; it takes the hash of a password by argon2"),
            (hash("$argon2id$v=19$m=8,t=1,p=1$sesamesesame"), "is not right"),
            (hash(&HASH.replace("argon2id", "scrypt")), "is not right"),
            (hash(&HASH.replace("m=8", "m=0")), "is not right"),
            (user("roles = [\"editor\"]"), "names \"editor\"; describe that role under [[roles]]"),
            (user("roles = [\"a b\"]"), "\"a b\" is none"),
            (user("passwort = \"sesame\""), "unknown key \"passwort\" in [[users]] #1"),
            (user(&user("")), "name in [[users]] #2 of f.toml repeats \"ada\" of #1"),
        ] {
            let error = parse(&text).expect_err(&text);
            assert!(error.contains(wrong), "{text}: {error}");
            assert!(!error.contains("sesame") && !error.contains("R0tI"), "{error}");
        }
        let roles: Vec<String> = (0..=TOKEN_ROLES_MAX).map(|_| "\"admin\"".into()).collect();
        let error = parse(&user(&format!("roles = [{}]", roles.join(",")))).expect_err("too many");
        assert!(error.contains("at most 32 roles"), "{error}");
    }
}
