//! Settings from a TOML file, with the line of every mistake.
//!
//! Invariant: every key of the file is either applied or reported, so no slip goes unseen.

use super::entries::Table;
use super::error::{ConfigError, Place, near};
use super::layers::{Draft, File};
use super::table::SETTINGS;
use super::value::Value;
use super::{roles, rooms, users};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The tables of a file that stand there once.
const SECTIONS: [&str; 12] = [
    "limits",
    "timeouts",
    "compression",
    "history",
    "presence",
    "session",
    "native",
    "identity",
    "origin",
    "log",
    "auth",
    "rates",
];

/// Those that stand there as often as there is something to describe.
static TABLES: [&Table; 3] = [&rooms::TABLE, &roles::TABLE, &users::TABLE];

/// Applies the file, noting all its mistakes in the order of its lines.
pub(super) fn apply(draft: &mut Draft, file: &File<'_>) {
    let (root, errors) = DeTable::parse_recoverable(file.text);
    let before = draft.errors.len();
    if errors.is_empty() {
        apply_root(draft, file, root.get_ref());
    }
    for error in errors {
        let line = error.span().map(|span| line_at(file, span.start));
        let place = Place::File { name: file.name.to_owned(), line };
        let message = error.message().replace('\n', ", ");
        draft.errors.push(ConfigError {
            place,
            key: String::new(),
            wrong: format!("{} is not TOML: {message}", file.name),
            right: None,
            suggestion: None,
        });
    }
    if let Some(ours) = draft.errors.get_mut(before..) {
        ours.sort_by_key(|error| match error.place {
            Place::File { line, .. } => line,
            Place::Default | Place::Environment(_) | Place::Flag(_) => None,
        });
    }
}

fn apply_root(draft: &mut Draft, file: &File<'_>, root: &DeTable<'_>) {
    for (key, item) in root {
        let name = key.get_ref().as_ref();
        match item.get_ref() {
            DeValue::Table(table) if SECTIONS.contains(&name) => {
                apply_section(draft, file, name, table);
            }
            other if SECTIONS.contains(&name) => {
                let right = format!("it takes a table: write [{name}]");
                draft.errors.push(mismatch(file, key.span().start, name, other, right));
            }
            found if name == rooms::TABLE.key => {
                rooms::TABLE.apply(draft, file, (key.span().start, found), rooms::apply);
            }
            found if name == roles::TABLE.key => {
                roles::TABLE.apply(draft, file, (key.span().start, found), roles::apply);
            }
            found if name == users::TABLE.key => {
                users::TABLE.apply(draft, file, (key.span().start, found), users::apply);
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => apply_key(draft, file, "", key.span().start, (name, item)),
        }
    }
}

fn apply_section(draft: &mut Draft, file: &File<'_>, section: &str, table: &DeTable<'_>) {
    for (key, item) in table {
        apply_key(draft, file, section, key.span().start, (key.get_ref(), item));
    }
}

fn apply_key(
    draft: &mut Draft,
    file: &File<'_>,
    section: &str,
    at: usize,
    (name, item): (&str, &Spanned<DeValue<'_>>),
) {
    let place = place_at(file, at);
    match SETTINGS.iter().find(|setting| setting.split_key() == (section, name)) {
        Some(setting) => draft.set(setting, &value(item.get_ref()), place),
        None => {
            let table = if section.is_empty() { None } else { Some(format!("[{section}]")) };
            let meant = meant(section, name);
            draft.errors.push(unknown_key(file, at, name, table.as_deref(), meant));
        }
    }
}

/// The key that was probably meant: one of this section by its own name, else one of another
/// section by its full name. A flag's name counts too, so that `drain_timeout` finds `drain`.
fn meant(section: &str, name: &str) -> Option<&'static str> {
    let tables =
        SECTIONS.into_iter().chain(TABLES.map(|table| table.key)).map(|table| (table, table));
    let aliases = |own: bool| {
        SETTINGS.iter().filter(move |setting| (setting.split_key().0 == section) == own).flat_map(
            move |setting| {
                let leaf = setting.split_key().1;
                let shown = if own { leaf } else { setting.key };
                [(leaf, shown), (setting.flag, shown)]
            },
        )
    };
    near(name, tables.filter(|_| section.is_empty()).chain(aliases(false)).chain(aliases(true)))
}

/// The mistake of a key that nothing knows.
pub(super) fn unknown_key(
    file: &File<'_>,
    at: usize,
    name: &str,
    table: Option<&str>,
    meant: Option<&str>,
) -> ConfigError {
    let table = table.map_or_else(|| "in".to_owned(), |table| format!("in {table} of"));
    ConfigError {
        place: place_at(file, at),
        key: name.to_owned(),
        wrong: format!("unknown key {name:?} {table} {}", file.name),
        right: None,
        suggestion: meant.map(str::to_owned),
    }
}

/// The mistake of a key that has a value where it takes a table, or the other way round.
pub(super) fn mismatch(
    file: &File<'_>,
    at: usize,
    key: &str,
    found: &DeValue<'_>,
    right: String,
) -> ConfigError {
    ConfigError {
        place: place_at(file, at),
        key: key.to_owned(),
        // A text in the place of a table may be a secret that slipped.
        wrong: match found {
            DeValue::String(_) => format!("{key} of {} is a text", file.name),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => format!("{key} of {} is {}", file.name, value(found)),
        },
        right: Some(right),
        suggestion: None,
    }
}

/// A place in the file, by its offset in bytes.
pub(super) fn place_at(file: &File<'_>, at: usize) -> Place {
    Place::File { name: file.name.to_owned(), line: Some(line_at(file, at)) }
}

fn line_at(file: &File<'_>, at: usize) -> usize {
    1 + file.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// A TOML value as settings read it.
pub(super) fn value<'a>(found: &'a DeValue<'_>) -> Value<'a> {
    match found {
        DeValue::String(text) => Value::Text(text),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or(Value::Other("integer beyond 64 bits"), Value::Integer),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| value(item.get_ref())).collect())
        }
        DeValue::Float(_) => Value::Other("float"),
        DeValue::Datetime(_) => Value::Other("date"),
        DeValue::Table(_) => Value::Other("table"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Accept, Config, Layers, LogFormat};
    use super::*;

    fn parse(text: &str) -> Result<Config, Vec<String>> {
        let file = Some(File { name: "fanfare.toml", text });
        Config::parse(&Layers { file, ..Layers::default() })
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_whole_file_is_read() {
        let text = r#"
            listen = ["127.0.0.1:9000", "unix:/run/fanfare.sock"]
            loops = 0x2
            pin = false
            accept = "least-connections"
            takeover = true
            echo_route = true
            limits = { connections_max = 1_000, message_bytes_max = "64KiB" }
            [timeouts]
            handshake = "5s"
            drain = "1m"
            [log]
            format = "json"
        "#;
        let config = parse(text).expect("a good file");
        assert_eq!(config.listen.len(), 2);
        assert_eq!((config.loops, config.pin, config.takeover), (2, false, true));
        assert_eq!((config.accept, config.echo_route), (Accept::LeastConnections, true));
        assert_eq!((config.connections_max, config.message_bytes_max), (1_000, 65_536));
        assert_eq!((config.handshake_timeout_ms, config.drain_timeout_ms), (5_000, 60_000));
        assert_eq!(config.log.format, LogFormat::Json);
    }

    #[test]
    fn every_setting_has_its_place_in_a_file() {
        for setting in &SETTINGS {
            let (section, name) = setting.split_key();
            let section = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            let unknown = |line: &String| line.contains("unknown");
            let read = parse(&format!("{section}{name} = \"?\""));
            let lines = read.err().unwrap_or_default();
            assert!(!lines.iter().any(unknown), "{lines:?}");
        }
    }

    #[test]
    fn all_mistakes_come_at_once_each_with_its_line() {
        let text = "loops = 65\nlopps = 1\n[limits]\nrooms_max = \"many\"\nhandshake = \"1s\"\n\
                    [timeouts]\nhandshake = 10\ndrain_timeout = \"1s\"\n[limts]\n";
        let lines = parse(text).expect_err("six mistakes");
        assert_eq!(
            lines,
            [
                "line 1: loops of fanfare.toml is 65; it takes \"auto\", or a whole number from 1 \
                 to 64",
                "line 2: unknown key \"lopps\" in fanfare.toml; did you mean \"loops\"?",
                "line 4: limits.rooms_max of fanfare.toml is \"many\"; it takes a whole number \
                 from 1 to 4294967295, without quotes",
                "line 5: unknown key \"handshake\" in [limits] of fanfare.toml; did you mean \
                 \"timeouts.handshake\"?",
                "line 7: timeouts.handshake of fanfare.toml is 10; it takes a duration from 1ms \
                 to 1day in whole milliseconds, such as \"30s\"",
                "line 8: unknown key \"drain_timeout\" in [timeouts] of fanfare.toml; did you \
                 mean \"drain\"?",
                "line 9: unknown key \"limts\" in fanfare.toml; did you mean \"limits\"?",
            ]
        );
    }

    #[test]
    fn a_table_in_a_values_place_and_the_other_way_round_is_refused() {
        for (text, wrong) in [
            ("limits = 5", "limits of fanfare.toml is 5; it takes a table: write [limits]"),
            ("[rooms]", "rooms of fanfare.toml is a TOML table; it takes tables"),
            ("rooms = [1]", "[[rooms]] #1 of fanfare.toml is 1; it takes a table"),
            ("[loops]", "loops of fanfare.toml is a TOML table; it takes \"auto\""),
            ("loops = 99999999999999999999", "is a TOML integer beyond 64 bits"),
            ("loops = 1.5", "is a TOML float"),
            ("pin = 1979-05-27", "is a TOML date"),
            ("pin = \"true\"", "without quotes"),
        ] {
            let lines = parse(text).expect_err(text);
            assert!(matches!(&lines[..], [line] if line.contains(wrong)), "{text}: {lines:?}");
        }
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_lines() {
        let lines = parse("loops = \n[limits\npin = true\npin = false\n").expect_err("not TOML");
        assert!(lines.len() >= 2, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("fanfare.toml is not TOML")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("line 1:")), "{lines:?}");
    }
}
