//! The settings as flags, and the reading of file and environment for `config`.
//!
//! Invariant: the flags are made from the table of settings, so that none is missing or differs.

use super::EXIT_CONFIG;
use super::keys;
use super::output::note;
use crate::auth::Authority;
use crate::config::{Config, ConfigError, ConfigErrors, File, Layers, Place, SETTINGS, Setting};
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The one switch that is on by default, and so has a flag to turn it off.
const NO_PIN: &str = "no-pin";
/// What the help calls the settings that stand in no section.
const HEADING: &str = "Broker";

/// The settings given as flags, by their names without dashes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Flags(Vec<(&'static str, String)>);

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        SETTINGS.iter().fold(command, |command, setting| command.arg(flag(setting))).arg(
            Arg::new(NO_PIN)
                .long(NO_PIN)
                .action(ArgAction::SetTrue)
                .conflicts_with("pin")
                .help_heading(HEADING)
                .help("Leave the loops to the scheduler, as --pin=false [env: FANFARE_NO_PIN]"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Vec::new();
        for setting in &SETTINGS {
            if let Some(values) = matches.get_many::<String>(setting.flag) {
                let values: Vec<&str> = values.map(String::as_str).collect();
                flags.push((setting.flag, values.join(",")));
            }
        }
        if matches.get_flag(NO_PIN) {
            flags.push(("pin", "false".to_owned()));
        }
        Ok(Self(flags))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let heading = match setting.key.split_once('.') {
        Some(("limits", _)) => "Limits",
        Some(("timeouts", _)) => "Time-outs",
        Some(("history" | "presence" | "session" | "native", _)) => "Native protocol",
        Some(("identity", _)) => "Identity",
        Some(("log", _)) => "Log",
        Some(("auth", _)) => "Tokens and logins",
        Some(("rates", _)) => "Rates",
        Some(_) | None => HEADING,
    };
    let (meaning, default) = (setting.meaning, setting.default);
    let arg = Arg::new(setting.flag)
        .long(setting.flag)
        .help_heading(heading)
        .help(format!("{meaning} [default: {default}] [env: {}]", setting.variable()))
        .value_parser(move |raw: &str| match setting.is_secret() {
            // Whatever is wrong with it is said where the value is not.
            true => Ok(raw.to_owned()),
            false => setting.check(raw).map(|()| raw.to_owned()),
        });
    if setting.is_switch() {
        // `--takeover` alone turns it on; `--takeover=false` overrides the file.
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL")
            .hide_possible_values(true)
    } else if setting.is_list() {
        arg.action(ArgAction::Append).value_name(setting.value_name)
    } else {
        arg.value_name(setting.value_name)
    }
}

/// The configuration file to read: the one given, else the one `FANFARE_CONFIG` names.
pub(super) fn file_named(given: Option<&Path>) -> Option<PathBuf> {
    let named = || env::var_os("FANFARE_CONFIG").filter(|name| !name.is_empty());
    given.map(Path::to_owned).or_else(|| named().map(PathBuf::from))
}

/// Reads file and environment and lays the flags over them.
pub(super) fn load(file: Option<&Path>, flags: Flags) -> Result<Config, ConfigErrors> {
    let name = file.map(|path| path.display().to_string()).unwrap_or_default();
    let text = file.map(|path| read(path, &name)).transpose()?;
    let file = text.as_deref().map(|text| File { name: &name, text });
    let environment = env::vars_os().filter_map(ours).collect::<Result<_, _>>()?;
    Config::parse(&Layers { file, environment, flags: flags.0 })
}

fn read(path: &Path, name: &str) -> Result<String, ConfigErrors> {
    let failed = |error: io::Error| ConfigError {
        place: Place::File { name: name.to_owned(), line: None },
        key: String::new(),
        wrong: format!("cannot read {name}: {error}"),
        right: None,
        suggestion: None,
    };
    fs::read_to_string(path).map_err(|error| failed(error).into())
}

/// The variable if it may concern us; an error if it does and is no text.
fn ours((name, value): (OsString, OsString)) -> Option<Result<(String, String), ConfigErrors>> {
    let name = name.to_str()?;
    if !name.starts_with("FANFARE_") && !["PORT", "RUST_LOG"].contains(&name) {
        return None;
    }
    // Not shown: it may be a secret.
    let no_text = |_| ConfigError {
        place: Place::Environment(name.to_owned()),
        key: name.to_owned(),
        wrong: format!("{name} is no text"),
        right: Some("it takes UTF-8".to_owned()),
        suggestion: None,
    };
    let value = value.into_string().map(|value| (name.to_owned(), value));
    Some(value.map_err(|value| no_text(value).into()))
}

/// Reads all there is to read: the settings, then the files of keys that they name.
pub(super) fn load_all(
    file: Option<&Path>,
    flags: Flags,
) -> Result<(Config, Authority), ConfigErrors> {
    let config = load(file, flags)?;
    let authority = keys::load(&config)?;
    Ok((config, authority))
}

/// What to say where there are no keys; nothing where there are.
pub(super) fn open_to_all(authority: &Authority) -> Option<&'static str> {
    (!authority.wants_tokens()).then_some(
        "no key for tokens is configured: anyone who reaches the broker may join and publish",
    )
}

/// Prints every mistake; the exit code of a bad configuration.
pub(super) fn refuse(errors: &ConfigErrors) -> ExitCode {
    for error in errors.iter() {
        note(format_args!("fanfare: {error}"));
    }
    ExitCode::from(EXIT_CONFIG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Flags, String> {
        let command = <Flags as clap::Args>::augment_args(Command::new("serve"));
        let words = std::iter::once("serve").chain(line.iter().copied());
        command
            .try_get_matches_from(words)
            .and_then(|matches| Flags::from_arg_matches(&matches))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_setting_is_a_flag() {
        for setting in &SETTINGS {
            let flags = parse(&[&format!("--{}={}", setting.flag, setting.default)]);
            let expected = Flags(vec![(setting.flag, setting.default.to_owned())]);
            assert_eq!(flags, Ok(expected), "{}", setting.key);
        }
    }

    #[test]
    fn a_bad_value_says_what_would_be_right() {
        let wrong = parse(&["--loops", "65"]).expect_err("too many loops");
        assert!(wrong.contains("--loops <N>") && wrong.contains("from 1 to 64"), "{wrong}");
        let wrong = parse(&["--listen", "localhost:80"]).expect_err("no name");
        assert!(wrong.contains("write 127.0.0.1:80"), "{wrong}");
    }

    #[test]
    fn switches_need_no_value_and_addresses_add_up() {
        let flags = parse(&["--echo-route", "--takeover=false", "--no-pin"]);
        let expected = [("takeover", "false"), ("echo-route", "true"), ("pin", "false")];
        assert_eq!(flags, Ok(Flags(expected.map(|(k, v)| (k, v.to_owned())).into())));
        let flags = parse(&["--listen", "127.0.0.1:1", "--listen", "unix:/x"]);
        assert_eq!(flags, Ok(Flags(vec![("listen", "127.0.0.1:1,unix:/x".to_owned())])));
        assert!(parse(&["--pin", "--no-pin"]).is_err());
        assert!(parse(&["--loops", "1", "--loops", "2"]).is_err());
    }
}
