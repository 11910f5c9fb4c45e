//! Who is behind a connection: an id that the broker trusts, and a name to show.

use crate::limits::{USER_ID_BYTES_MAX, USERNAME_BYTES_MAX};
use std::fmt;

/// A user, shared by all that belongs to one connection. Valid by existing.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct User {
    id: Box<str>,
    username: Box<str>,
    role: Role,
}

/// What a user may do beyond what everyone may.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Role {
    /// Made up by the broker for a connection that brought no identity.
    #[default]
    Guest,
    /// Named by whoever the broker trusts to name users.
    Member,
    /// The same, and may speak to everyone.
    Admin,
}

/// The text is no user's id or name; [`fmt::Display`] says what would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadUser;

impl User {
    /// Takes `id` and `username` as a user's. Both are UTF-8 without control characters.
    pub fn new(id: &str, username: &str, role: Role) -> Result<Self, BadUser> {
        Self::check(id, USER_ID_BYTES_MAX)?;
        Self::check(username, USERNAME_BYTES_MAX)?;
        Ok(Self { id: id.into(), username: username.into(), role })
    }

    /// Checks that `raw` may be a user's id, without keeping it.
    pub fn check_id(raw: &str) -> Result<&str, BadUser> {
        Self::check(raw, USER_ID_BYTES_MAX).map(|()| raw)
    }

    /// Whether the id is one that the broker itself gives: nobody else may go by it.
    pub fn is_reserved(id: &str) -> bool {
        id == "server" || id.starts_with("guest-")
    }

    /// The user that stands for a connection without an identity; `number` is drawn for it alone.
    pub fn guest(number: u64) -> Self {
        let id = format!("guest-{number:016x}").into_boxed_str();
        Self { id, username: "guest".into(), role: Role::Guest }
    }

    /// The id: the same for all connections of one user.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name to show.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// What it may do.
    pub const fn role(&self) -> Role {
        self.role
    }

    fn check(raw: &str, bytes_max: usize) -> Result<(), BadUser> {
        let fits = (1..=bytes_max).contains(&raw.len());
        if fits && !raw.chars().any(char::is_control) { Ok(()) } else { Err(BadUser) }
    }
}

impl Role {
    /// The role's stable word, as in `roles` on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for BadUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a user's id is 1 to {USER_ID_BYTES_MAX} bytes, a name 1 to {USERNAME_BYTES_MAX}, \
             without control characters"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_bounded_and_printable() {
        let long = "x".repeat(USER_ID_BYTES_MAX + 1);
        for (id, name, fits) in [
            ("42", "Ada Lovelace", true),
            ("Ünal", "Ü", true),
            ("", "x", false),
            ("x", "", false),
            ("a\nb", "x", false),
            (&long, "x", false),
            ("x", &long, false),
        ] {
            assert_eq!(User::new(id, name, Role::Member).is_ok(), fits, "{id:?} {name:?}");
        }
    }

    #[test]
    fn guests_differ_by_their_number() {
        assert_eq!(User::guest(0xf00d).id(), "guest-000000000000f00d");
        assert!(User::check_id(User::guest(u64::MAX).id()).is_ok());
        assert!(User::is_reserved(User::guest(7).id()) && User::is_reserved("server"));
        assert!(!User::is_reserved("guest") && !User::is_reserved("servers"));
    }
}
