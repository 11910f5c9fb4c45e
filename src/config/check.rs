//! How the settings fit together: checked once, when all layers are laid.
//!
//! Runs only where each setting is right by itself, so that no mistake is told twice.

use super::Config;
use super::error::{ConfigError, ConfigErrors, Place};

use super::layers::{Draft, named};
use super::rooms::{self, RoomDraft};
use super::value::{show_ms, show_size};
use super::{auth, identity};
use crate::broker::{Compression, Overflow, RawDrops, RoomOptions, RoomPolicies};
use crate::limits::{FRAME_HEADER_BYTES_MAX, OUTBOX_BYTES_MAX};

/// Stands for an outbox bound that follows the largest message, until [`fit_outbox`] replaces it.
pub(super) const OUTBOX_AUTO: usize = 0;

/// Checks the whole and makes it a configuration.
pub(super) fn finish(mut draft: Draft) -> Result<Config, ConfigErrors> {
    if let Some(errors) = ConfigErrors::found(std::mem::take(&mut draft.errors)) {
        return Err(errors);
    }
    if draft.place("limits.outbox_bytes_max") == Place::Default {
        draft.config.outbox_bytes_max = OUTBOX_AUTO;
    }
    fit_outbox(&mut draft.config);
    let defaults = rooms::defaults(&draft.config);
    let errors = [
        check_outbox(&draft),
        check_drain(&draft),
        check_default_rooms(&draft),
        identity::check(&draft),
        identity::check_proxy_protocol(&draft),
        draft.rooms.iter().find_map(|room| check_room_outbox(&draft, room, &defaults)),
        draft.rooms.iter().find_map(|room| check_repeated(&draft, room)),
    ];
    let errors = errors.into_iter().flatten().chain(auth::check(&draft)).collect();
    if let Some(errors) = ConfigErrors::found(errors) {
        return Err(errors);
    }
    let auth_warnings = auth::warn(&draft);
    auth::take_entries(&mut draft);
    let patterns: Vec<_> =
        draft.rooms.iter().map(|room| (room.pattern.clone(), room.options(&defaults))).collect();
    let mut config = draft.config;
    config.warnings = draft.rooms.iter().filter_map(|room| warn(room, &defaults)).collect();
    config.warnings.extend(warn_contexts(&config, &draft.rooms));
    config.warnings.extend(identity::warn(&config));
    config.warnings.extend(auth_warnings);
    config.rooms = RoomPolicies::new(defaults, patterns);
    Ok(config)
}

/// Puts a number in the place of [`OUTBOX_AUTO`].
pub(super) fn fit_outbox(config: &mut Config) {
    if config.outbox_bytes_max == OUTBOX_AUTO {
        config.outbox_bytes_max = OUTBOX_BYTES_MAX.max(outbox_bytes_least(config));
    }
}

/// An outbox that can't hold the largest message would disconnect whoever is sent one.
const fn outbox_bytes_least(config: &Config) -> usize {
    config.message_bytes_max + FRAME_HEADER_BYTES_MAX
}

fn check_outbox(draft: &Draft) -> Option<ConfigError> {
    let key = "limits.outbox_bytes_max";
    let place = draft.place(key);
    let named = named(key, &place);
    outbox_error(draft, key, place, &named, draft.config.outbox_bytes_max)
}

fn check_room_outbox(
    draft: &Draft,
    room: &RoomDraft,
    defaults: &RoomOptions,
) -> Option<ConfigError> {
    let bytes = room.options(defaults).outbox_bytes_max;
    if bytes == defaults.outbox_bytes_max {
        return None; // Told once, for all.
    }
    let key = format!("outbox_bytes_max in [[rooms]] #{}", room.nth);
    let named = named(&key, &room.place);
    outbox_error(draft, &key, room.place.clone(), &named, bytes)
}

fn outbox_error(
    draft: &Draft,
    key: &str,
    place: Place,
    named_key: &str,
    bytes: usize,
) -> Option<ConfigError> {
    let least = outbox_bytes_least(&draft.config);
    if bytes >= least {
        return None;
    }
    let message = "limits.message_bytes_max";
    let message_place = draft.place(message);
    Some(ConfigError {
        place,
        key: key.to_owned(),
        wrong: format!("{named_key} is {}", show_size(bytes)),
        right: Some(format!(
            "an outbox must hold one message and its header: at least {least} bytes, since {} is \
             {}; raise the one or lower the other",
            named(message, &message_place),
            show_size(draft.config.message_bytes_max)
        )),
        suggestion: None,
    })
}

fn check_drain(draft: &Draft) -> Option<ConfigError> {
    let (window, drain) = (draft.config.drain_window_ms, draft.config.drain_timeout_ms);
    if window <= drain {
        return None;
    }
    let (window_key, drain_key) = ("timeouts.drain_window", "timeouts.drain");
    let (window_place, drain_place) = (draft.place(window_key), draft.place(drain_key));
    let wrong = format!("{} is {}", named(window_key, &window_place), show_ms(window));
    let right = format!(
        "closes must be spread within the drain, and {} is {}; lower the one or raise the other",
        named(drain_key, &drain_place),
        show_ms(drain)
    );
    // Where only the drain was set, that is the line to look at.
    let place = if window_place == Place::Default { drain_place } else { window_place };
    Some(ConfigError {
        place,
        key: window_key.to_owned(),
        wrong,
        right: Some(right),
        suggestion: None,
    })
}

fn check_default_rooms(draft: &Draft) -> Option<ConfigError> {
    let (rooms, most) = (draft.config.default_rooms.len(), draft.config.rooms_per_conn_max);
    if rooms <= most {
        return None;
    }
    let (rooms_key, most_key) = ("native.default_rooms", "limits.rooms_per_conn_max");
    let (place, most_place) = (draft.place(rooms_key), draft.place(most_key));
    Some(ConfigError {
        wrong: format!("{} names {rooms} rooms", named(rooms_key, &place)),
        place,
        key: rooms_key.to_owned(),
        right: Some(format!(
            "a connection must be able to be in all of them, and {} is {most}; name fewer or raise \
             the other",
            named(most_key, &most_place)
        )),
        suggestion: None,
    })
}

fn check_repeated(draft: &Draft, room: &RoomDraft) -> Option<ConfigError> {
    let first = draft.rooms.iter().find(|other| other.pattern == room.pattern)?;
    if first.nth == room.nth {
        return None;
    }
    let is = format!("repeats {:?} of #{}", room.pattern.as_str(), first.nth);
    let right = "the first that fits decides, so put all options there";
    Some(rooms::TABLE.wrong(&room.place, "pattern", room.nth, &is, right))
}

fn warn(room: &RoomDraft, defaults: &RoomOptions) -> Option<String> {
    let options = room.options(defaults);
    (options.raw_drops == RawDrops::Silent && options.overflow == Overflow::Disconnect).then(|| {
        format!(
            "raw_drops = \"silent\" in [[rooms]] #{} has no effect: with overflow = \"disconnect\" \
             nothing is dropped",
            room.nth
        )
    })
}

/// What asks for contexts in vain.
fn warn_contexts(config: &Config, rooms: &[RoomDraft]) -> Option<String> {
    if config.compression.contexts_max > 0 {
        return None;
    }
    let defaults = rooms::defaults(config);
    let of_all = [
        ("compression.rooms".to_owned(), config.compression.rooms),
        ("compression.echo".to_owned(), config.compression.echo),
    ];
    let of_each = rooms.iter().map(|room| {
        let key = format!("compression in [[rooms]] #{}", room.nth);
        (key, room.options(&defaults).compression)
    });
    let mut asks = of_all.into_iter().chain(of_each);
    asks.find(|(_, how)| *how == Compression::Private).map(|(key, _)| {
        format!("{key} = \"private\" is as \"shared\" while compression.contexts_max is 0")
    })
}

#[cfg(test)]
mod tests {
    use super::super::{File, Layers};
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let file = Some(File { name: "f.toml", text });
        Config::parse(&Layers { file, ..Layers::default() }).map_err(|errors| errors.to_string())
    }

    #[test]
    fn an_outbox_holds_the_largest_message_and_its_header() {
        let config = parse("[limits]\nmessage_bytes_max = \"16MiB\"").expect("auto follows");
        assert_eq!(config.outbox_bytes_max, (16 << 20) + FRAME_HEADER_BYTES_MAX);
        assert_eq!(config.rooms.options("any").outbox_bytes_max, config.outbox_bytes_max);
        let exact = "[limits]\nmessage_bytes_max = 1010\noutbox_bytes_max = 1024";
        assert_eq!(parse(exact).map(|config| config.outbox_bytes_max), Ok(1024));
        let wrong = parse("[limits]\nmessage_bytes_max = 1011\noutbox_bytes_max = \"1KiB\"");
        assert_eq!(
            wrong,
            Err("line 3: limits.outbox_bytes_max of f.toml is 1KiB; an outbox must hold one \
                 message and its header: at least 1025 bytes, since limits.message_bytes_max of \
                 f.toml is 1011; raise the one or lower the other"
                .to_owned())
        );
    }

    #[test]
    fn a_rooms_outbox_holds_the_largest_message_too() {
        let wrong = parse("[[rooms]]\npattern = \"a\"\noutbox_bytes_max = 4096").expect_err("4096");
        assert!(wrong.starts_with("line 1: outbox_bytes_max in [[rooms]] #1 of f.toml is 4KiB;"));
        assert!(wrong.contains("limits.message_bytes_max (the default) is 1MiB"), "{wrong}");
    }

    #[test]
    fn closes_are_spread_within_the_drain() {
        assert!(parse("[timeouts]\ndrain = \"5s\"\ndrain_window = \"5s\"").is_ok());
        let wrong = parse("[timeouts]\ndrain = \"4s\"").expect_err("shorter than the window");
        assert!(wrong.starts_with("line 2: timeouts.drain_window (the default) is 5s;"), "{wrong}");
        assert!(wrong.contains("timeouts.drain of f.toml is 4s"), "{wrong}");
    }

    #[test]
    fn a_connection_has_room_for_the_default_rooms() {
        let native = "[native]\ndefault_rooms = [\"a\", \"b\"]\n";
        assert!(parse(&format!("{native}[limits]\nrooms_per_conn_max = 2")).is_ok());
        let wrong = parse(&format!("{native}[limits]\nrooms_per_conn_max = 1"));
        assert_eq!(
            wrong,
            Err("line 2: native.default_rooms of f.toml names 2 rooms; a connection must be able \
                 to be in all of them, and limits.rooms_per_conn_max of f.toml is 1; name fewer or \
                 raise the other"
                .to_owned())
        );
    }

    #[test]
    fn a_repeated_pattern_is_refused() {
        let wrong = parse("[[rooms]]\npattern = \"a\"\n[[rooms]]\npattern = \"a\"\n");
        assert_eq!(
            wrong,
            Err("line 3: pattern in [[rooms]] #2 of f.toml repeats \"a\" of #1; the first that \
                 fits decides, so put all options there"
                .to_owned())
        );
    }

    #[test]
    fn silence_about_drops_that_cannot_happen_is_warned_of() {
        let config = parse("[[rooms]]\npattern = \"a\"\nraw_drops = \"silent\"").expect("allowed");
        assert!(matches!(&config.warnings[..], [one] if one.contains("[[rooms]] #1")));
        let quiet = "[[rooms]]\npattern = \"a\"\nraw_drops = \"silent\"\noverflow = \"latest\"";
        assert_eq!(parse(quiet).map(|config| config.warnings.len()), Ok(0));
    }

    #[test]
    fn contexts_that_nobody_can_have_are_warned_of() {
        let room = "[[rooms]]\npattern = \"a\"\ncompression = \"private\"\n";
        for (text, key) in [
            ("[compression]\nrooms = \"private\"", Some("compression.rooms")),
            ("[compression]\necho = \"private\"", Some("compression.echo")),
            (room, Some("compression in [[rooms]] #1")),
            (&format!("{room}[compression]\ncontexts_max = 1"), None),
            ("[compression]\nrooms = \"off\"", None),
        ] {
            let warnings = parse(text).map(|config| config.warnings).expect("a good file");
            let named = warnings.iter().map(|warning| warning.split(" = ").next());
            assert_eq!(named.collect::<Vec<_>>(), Vec::from_iter(key.map(Some)), "{text}");
        }
    }
}
