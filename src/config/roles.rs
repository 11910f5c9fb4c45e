//! `[[roles]]` of a file: what roles grant.
//!
//! Not here: who has which role (`auth`). Invariant: what an entry does not say it does not grant,
//! but for history, presence and creating, which follow the joining.

use super::entries::Table;
use super::error::{ConfigError, Place};
use super::layers::{Draft, File};
use super::value::{self, Value, Wanted};
use crate::auth::{Grant, Grants, Roles};
use crate::broker::{BadPattern, RoomPattern};
use crate::limits::{ROLE_NAME_BYTES_MAX, ROLES_MAX, TOKEN_PATTERNS_MAX};
use toml::Spanned;
use toml::de::DeValue;

/// Where roles stand in a file.
pub(super) static TABLE: Table =
    Table { key: "roles", most: ROLES_MAX, keys: &ROLE_KEYS, secrets: &[] };

/// The keys of one `[[roles]]`: name, default, meaning.
pub static ROLE_KEYS: [(&str, &str, &str); 7] = [
    (
        "name",
        "none, must be given",
        "The role's name, as tokens have it; guest, member and admin may be described too",
    ),
    ("join", "false", "Rooms that it may join: patterns, or true for all"),
    ("publish", "false", "Rooms that it may publish to: patterns, or true for those it may join"),
    ("history", "true", "Rooms whose past it may read; the same"),
    ("presence", "true", "Rooms of which it may ask who is there; the same"),
    ("create", "true", "Rooms that it may create; the same"),
    (
        "admin",
        "false",
        "Whether it may speak to everyone and every user, to the rooms of users too, and revoke \
         tokens",
    ),
];

/// Where something is granted.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Where {
    /// In rooms that fit one of these.
    Patterns(Vec<RoomPattern>),
    /// Wherever the role may join; for joining itself in all rooms.
    AsJoin,
    /// Nowhere.
    Nowhere,
}

/// What one entry says.
#[derive(Default)]
struct Written {
    name: Option<Box<str>>,
    rooms: [Option<Where>; Grant::OF_ROOMS.len()],
    admin: bool,
}

/// One entry without mistakes of its own.
#[derive(Clone, Debug)]
pub(super) struct RoleDraft {
    nth: usize,
    place: Place,
    pub(super) name: Box<str>,
    grants: Grants,
}

impl Written {
    fn grants(&self) -> Grants {
        let of = |grant: Grant| match self.rooms.get(grant as usize) {
            Some(Some(said)) => said.clone(),
            Some(None) | None => match grant {
                Grant::Join | Grant::Publish | Grant::Admin => Where::Nowhere,
                Grant::History | Grant::Presence | Grant::Create => Where::AsJoin,
            },
        };
        let join = match of(Grant::Join) {
            Where::Patterns(patterns) => patterns,
            Where::AsJoin => Grants::all_rooms().patterns(Grant::Join).to_vec(),
            Where::Nowhere => Vec::new(),
        };
        let grants = Grant::OF_ROOMS.into_iter().fold(Grants::default(), |grants, grant| {
            let patterns = match of(grant) {
                _ if grant == Grant::Join => join.clone(),
                Where::Patterns(patterns) => patterns,
                Where::AsJoin => join.clone(),
                Where::Nowhere => Vec::new(),
            };
            grants.with(grant, patterns)
        });
        if self.admin { grants.with_admin() } else { grants }
    }
}

/// Reads the `nth` entry, noting its mistakes.
pub(super) fn apply(draft: &mut Draft, file: &File<'_>, nth: usize, entry: &Spanned<DeValue<'_>>) {
    let mut written = Written::default();
    let set = |key: &str, value: &Value<'_>| set(&mut written, key, value);
    let Some(place) = TABLE.read(draft, file, (nth, entry), set) else { return };
    match written.name.clone() {
        Some(name) => {
            draft.roles.push(RoleDraft { nth, place, name, grants: written.grants() });
        }
        None => {
            let right = "say how it is called, as in name = \"editor\"";
            draft.errors.push(TABLE.wrong(&place, "", nth, "has no name", right));
        }
    }
}

/// Sets one key of an entry; `None` where there is no such key.
fn set(written: &mut Written, key: &str, value: &Value<'_>) -> Option<Result<(), Wanted>> {
    match key {
        "name" => return Some(name(value).map(|name| written.name = Some(name.into()))),
        "admin" => return Some(value::boolean(value).map(|on| written.admin = on)),
        _ => {}
    }
    let grant = Grant::OF_ROOMS.into_iter().find(|grant| grant.word() == key)?;
    let slot = written.rooms.get_mut(grant as usize)?;
    Some(rooms(value).map(|rooms| *slot = Some(rooms)))
}

/// The name of a role, as tokens may have it.
pub(super) fn name<'a>(value: &Value<'a>) -> Result<&'a str, Wanted> {
    value::text(value).filter(|name| is_name(name)).ok_or_else(|| {
        format!("a name of 1 to {ROLE_NAME_BYTES_MAX} bytes without spaces and control characters")
    })
}

/// Whether a role may be called that.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |char: char| !char.is_control() && !char.is_whitespace();
    (1..=ROLE_NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(fits)
}

fn rooms(value: &Value<'_>) -> Result<Where, Wanted> {
    if let Value::Boolean(on) = value {
        return Ok(if *on { Where::AsJoin } else { Where::Nowhere });
    }
    let raws = value::texts(value, "patterns of rooms such as [\"chat:*\"], or true, or false")?;
    if raws.len() > TOKEN_PATTERNS_MAX {
        return Err(format!("at most {TOKEN_PATTERNS_MAX} patterns"));
    }
    let pattern = |raw: &str| {
        RoomPattern::parse(raw)
            .map_err(|_| format!("patterns of rooms, and {raw:?} is none: {BadPattern}"))
    };
    raws.into_iter().map(pattern).collect::<Result<_, _>>().map(Where::Patterns)
}

/// The second of two entries for one role.
pub(super) fn check(draft: &Draft) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for role in &draft.roles {
        let first = draft.roles.iter().find(|other| other.name == role.name);
        if let Some(first) = first.filter(|first| first.nth < role.nth) {
            let is = format!("repeats {:?} of #{}", role.name, first.nth);
            let right = "put all that the role grants there";
            errors.push(TABLE.wrong(&role.place, "name", role.nth, &is, right));
        }
    }
    errors
}

/// The roles that the broker knows and those that are described.
pub(super) fn described(draft: &Draft) -> Roles {
    let mut roles = Roles::default();
    for role in &draft.roles {
        roles.set(&role.name, role.grants.clone());
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Layers};
    use super::*;
    use crate::auth::{ADMIN, GUEST, MEMBER};

    fn parse(text: &str) -> Result<Config, String> {
        let file = Some(File { name: "f.toml", text });
        Config::parse(&Layers { file, ..Layers::default() }).map_err(|errors| errors.to_string())
    }

    fn role(text: &str) -> Grants {
        let config = parse(&format!("[[roles]]\nname = \"r\"\n{text}")).expect(text);
        Grants::clone(config.auth.roles.grants("r").expect("it is described"))
    }

    #[test]
    fn what_a_role_does_not_say_follows_the_joining_and_publishing_does_not() {
        for (text, allowed) in [
            ("", [false; 5]),
            ("join = [\"a\"]", [true, false, true, true, true]),
            ("join = \"a\"\npublish = true", [true; 5]),
            ("join = true\ncreate = false", [true, false, true, true, false]),
            (
                "join = [\"a\"]\nhistory = [\"b\"]\npublish = [\"a\", \"c\"]",
                [true, true, false, true, true],
            ),
            ("join = false\npublish = [\"**\"]", [false, true, false, false, false]),
            ("join = []", [false; 5]),
        ] {
            let grants = role(text);
            let given = Grant::OF_ROOMS.map(|grant| grants.allows(grant, "a", "ada"));
            assert_eq!(given, allowed, "{text}");
            assert!(!grants.is_admin());
        }
        assert!(role("admin = true").is_admin());
    }

    #[test]
    fn the_roles_that_the_broker_knows_may_be_described() {
        let config = parse("[[roles]]\nname = \"guest\"\njoin = \"news:*\"").expect("a good file");
        let roles = &config.auth.roles;
        let guest = roles.grants(GUEST).expect("a guest");
        assert!(guest.allows(Grant::Join, "news:1", "g") && !guest.allows(Grant::Join, "a", "g"));
        assert!(roles.grants(ADMIN).is_some_and(|grants| grants.is_admin()));
        assert_eq!(roles.grants(MEMBER), Roles::default().grants(MEMBER));
        assert_eq!(parse("").expect("empty").auth.roles, Roles::default());
    }

    #[test]
    fn what_is_no_role_is_refused_with_its_line() {
        let long = "x".repeat(65);
        let many = (0..=TOKEN_PATTERNS_MAX).map(|n| format!("\"r{n}\"")).collect::<Vec<_>>();
        for (text, wrong) in [
            ("[[roles]]", "line 1: [[roles]] #1 of f.toml has no name; say how it is called"),
            ("roles = 1", "line 1: roles of f.toml is 1; it takes tables: write [[roles]]"),
            ("roles = [1]", "line 1: [[roles]] #1 of f.toml is 1; it takes a table"),
            ("[[roles]]\nname = \"a b\"", "line 2: name in [[roles]] #1 of f.toml is \"a b\""),
            ("[[roles]]\nname = \"\"", "a name of 1 to 64 bytes"),
            (&format!("[[roles]]\nname = \"{long}\""), "a name of 1 to 64 bytes"),
            ("[[roles]]\nname = \"r\"\npublsh = true", "did you mean \"publish\"?"),
            ("[[roles]]\nname = \"r\"\njoin = [\"a:**:b\"]", "\"a:**:b\" is none: a pattern is"),
            ("[[roles]]\nname = \"r\"\njoin = 1", "patterns of rooms such as"),
            ("[[roles]]\nname = \"r\"\njoin = [1]", "texts in its list, not 1"),
            ("[[roles]]\nname = \"r\"\nadmin = \"yes\"", "true or false, without quotes"),
            (
                &format!("[[roles]]\nname = \"r\"\njoin = [{}]", many.join(",")),
                "at most 256 patterns",
            ),
            (
                "[[roles]]\nname = \"r\"\n[[roles]]\nname = \"r\"",
                "line 3: name in [[roles]] #2 of f.toml repeats \"r\" of #1",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(wrong), "{text}: {error}");
        }
        let entry = |n: usize| format!("[[roles]]\nname = \"r{n}\"\n");
        let most: String = (0..ROLES_MAX).map(entry).collect();
        assert!(parse(&most).is_ok());
        let error = parse(&format!("{most}{}", entry(ROLES_MAX))).expect_err("one too many");
        assert!(error.contains("[[roles]] #257 of f.toml is one too many; there may be 256"));
    }
}
