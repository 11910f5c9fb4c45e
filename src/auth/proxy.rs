//! Who a user is by the word of a trusted proxy, which has checked it and says so in a header.
//!
//! Not here: which peers are trusted (`trusted`), the header fields' syntax (`http`). Invariant: a
//! stranger's header changes nothing, and a proxy's that can't be understood lets nobody in.

use super::Trust;
use crate::broker::{BadUser, Role, User};
use crate::limits::{USER_ID_BYTES_MAX, USERNAME_BYTES_MAX};
use std::fmt;

const _: () = assert!(USERNAME_BYTES_MAX >= USER_ID_BYTES_MAX, "an id stands in for a name");

/// How connections get their users.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// The header in which a trusted proxy names the user; without it all are guests.
    pub user_header: Option<Box<str>>,
    /// The header in which it says how the user is called.
    pub username_header: Option<Box<str>>,
    /// Users with the role admin.
    pub admins: Admins,
}

/// Ids of the users with the role admin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Admins(Vec<Box<str>>);

/// A trusted proxy's header names no user; [`fmt::Display`] says which, and what would be right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadIdentity<'a> {
    header: &'a str,
    wrong: Wrong,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Repeated,
    Value,
}

impl Identity {
    /// The user behind a request, `None` for a guest. `fields` gives the values of a header by its
    /// name; they are taken as they stand, without any decoding.
    ///
    /// Called once per connection, when it asks for a WebSocket.
    pub fn identify<'s, 'a, Values>(
        &'s self,
        trust: Trust,
        fields: impl Fn(&'s str) -> Values,
    ) -> Result<Option<User>, BadIdentity<'s>>
    where
        Values: Iterator<Item = &'a [u8]>,
    {
        let Some(header) = self.user_header.as_deref() else { return Ok(None) };
        match trust {
            Trust::Stranger => return Ok(None),
            Trust::Proxy => {}
        }
        let Some(id) = only(header, fields(header))? else { return Ok(None) };
        if User::is_reserved(id) {
            return Err(bad(header, Wrong::Value)); // The broker's own.
        }
        let role = if self.admins.contains(id) { Role::Admin } else { Role::Member };
        // The id by itself first, so that what is wrong with it is not said of the name.
        let user = User::new(id, id, role).map_err(|BadUser| bad(header, Wrong::Value))?;
        let Some(header) = self.username_header.as_deref() else { return Ok(Some(user)) };
        let Some(username) = only(header, fields(header))? else { return Ok(Some(user)) };
        let user = User::new(id, username, role).map_err(|BadUser| bad(header, Wrong::Value))?;
        Ok(Some(user))
    }
}

impl Admins {
    /// The users with these ids.
    pub fn new(mut ids: Vec<Box<str>>) -> Self {
        ids.sort_unstable();
        Self(ids)
    }

    /// Whether the user with this id is one.
    pub fn contains(&self, id: &str) -> bool {
        self.0.binary_search_by(|admin| (**admin).cmp(id)).is_ok()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The one value of a header as text, if it is there.
fn only<'s, 'a>(
    header: &'s str,
    mut values: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<&'a str>, BadIdentity<'s>> {
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad(header, Wrong::Repeated)); // One of them may be the client's own.
    }
    str::from_utf8(first).map(Some).map_err(|_| bad(header, Wrong::Value))
}

const fn bad(header: &str, wrong: Wrong) -> BadIdentity<'_> {
    BadIdentity { header, wrong }
}

impl fmt::Display for BadIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header;
        match self.wrong {
            Wrong::Repeated => write!(
                f,
                "{header} is there more than once: the proxy must replace what the client sent"
            ),
            Wrong::Value => write!(f, "{header} is not UTF-8, or breaks the rule: {BadUser}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "X-User";
    const NAME: &str = "X-Name";

    fn identity() -> Identity {
        Identity {
            user_header: Some(ID.into()),
            username_header: Some(NAME.into()),
            admins: Admins::new(vec!["root".into(), "ada".into()]),
        }
    }

    /// What is made of a request with these fields: id, name and role, or the complaint.
    fn identify(
        identity: &Identity,
        trust: Trust,
        fields: &[(&str, &'static [u8])],
    ) -> Result<Option<(String, String, Role)>, String> {
        let values = |name: &str| {
            let named = fields.iter().filter(|(known, _)| *known == name);
            named.map(|(_, value)| *value).collect::<Vec<_>>().into_iter()
        };
        let user = identity.identify(trust, values).map_err(|wrong| wrong.to_string())?;
        Ok(user.map(|user| (user.id().to_owned(), user.username().to_owned(), user.role())))
    }

    #[test]
    fn a_trusted_proxy_names_the_user_and_perhaps_how_it_is_called() {
        let user = |id: &str, name: &str, role| Ok(Some((id.to_owned(), name.to_owned(), role)));
        for (fields, found) in [
            (&[(ID, &b"42"[..])][..], user("42", "42", Role::Member)),
            (&[(ID, b"42"), (NAME, b"Ada L.")], user("42", "Ada L.", Role::Member)),
            (&[(ID, b"ada")], user("ada", "ada", Role::Admin)),
            (&[(ID, b"root"), (NAME, b"ada")], user("root", "ada", Role::Admin)),
            (&[(ID, b"adA"), (NAME, b"root")], user("adA", "root", Role::Member)),
            (&[(ID, b"a%20b")], user("a%20b", "a%20b", Role::Member)),
            (&[(ID, "Ünal".as_bytes())], user("Ünal", "Ünal", Role::Member)),
            (&[], Ok(None)),
            (&[(NAME, b"ada")], Ok(None)),
        ] {
            assert_eq!(identify(&identity(), Trust::Proxy, fields), found, "{fields:?}");
        }
    }

    #[test]
    fn a_strangers_headers_change_nothing() {
        for fields in [&[(ID, &b"root"[..])][..], &[(ID, b"")], &[(ID, b"a"), (ID, b"\xff")], &[]] {
            assert_eq!(identify(&identity(), Trust::Stranger, fields), Ok(None), "{fields:?}");
        }
    }

    #[test]
    fn without_a_header_to_look_for_all_are_guests() {
        let identity = Identity { user_header: None, ..identity() };
        assert_eq!(identify(&identity, Trust::Proxy, &[(ID, b"root")]), Ok(None));
        assert_eq!(identify(&Identity::default(), Trust::Proxy, &[(ID, b"root")]), Ok(None));
    }

    #[test]
    fn a_proxys_header_that_names_nobody_is_refused_by_its_name() {
        let long: &'static [u8] = &[b'x'; USER_ID_BYTES_MAX + 1];
        for (fields, header) in [
            (&[(ID, &b""[..])][..], ID),
            (&[(ID, b"a\tb")], ID),
            (&[(ID, b"server")], ID),
            (&[(ID, b"guest-0000000000000001")], ID),
            (&[(ID, b"\xff")], ID),
            (&[(ID, long)], ID),
            (&[(ID, b"a"), (ID, b"a")], ID),
            (&[(ID, b"a"), (NAME, b"")], NAME),
            (&[(ID, b"a"), (NAME, b"\xc3")], NAME),
            (&[(ID, b"a"), (NAME, long)], NAME),
            (&[(ID, b"a"), (NAME, b"a"), (NAME, b"b")], NAME),
            (&[(ID, b""), (NAME, b"")], ID),
        ] {
            let wrong = identify(&identity(), Trust::Proxy, fields).expect_err("no user");
            assert!(wrong.starts_with(&format!("{header} is ")), "{fields:?}: {wrong}");
        }
    }
}
