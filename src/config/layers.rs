//! The layers of a configuration, laid over each other: defaults, file, environment, flags.

use super::error::{ConfigError, ConfigErrors, Place};
use super::roles::RoleDraft;
use super::rooms::RoomDraft;
use super::setting::{self, Setting};
use super::users::UserDraft;
use super::value::Value;
use super::{Config, check, environment, file};
use std::collections::BTreeMap;

/// A configuration file: its name, for messages, and its text.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// The name, as the user gave it.
    pub name: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// Everything a configuration is made from; later fields win over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Layers<'a> {
    /// The file, if there is one.
    pub file: Option<File<'a>>,
    /// All environment variables, or those that begin with `FANFARE_`, `PORT` and `RUST_LOG`.
    pub environment: Vec<(String, String)>,
    /// Flags by their names without dashes, as [`Setting::flag`] has them; each once.
    pub flags: Vec<(&'static str, String)>,
}

impl Config {
    /// Lays the layers over the defaults and checks the whole.
    pub fn parse(layers: &Layers<'_>) -> Result<Self, ConfigErrors> {
        let mut draft = Draft::default();
        if let Some(file) = &layers.file {
            file::apply(&mut draft, file);
        }
        environment::apply(&mut draft, &layers.environment);
        for (flag, raw) in &layers.flags {
            if let Some(setting) = setting::by_flag(flag) {
                draft.set(setting, &Value::Bare(raw), Place::Flag(format!("--{flag}")));
            }
        }
        environment::apply_port(&mut draft, &layers.environment);
        check::finish(draft)
    }
}

/// A configuration while its layers are laid.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) rooms: Vec<RoomDraft>,
    pub(super) roles: Vec<RoleDraft>,
    pub(super) users: Vec<UserDraft>,
    pub(super) errors: Vec<ConfigError>,
    places: BTreeMap<&'static str, Place>,
}

impl Draft {
    /// Sets one setting, or notes why not.
    pub(super) fn set(&mut self, setting: &'static Setting, value: &Value<'_>, place: Place) {
        match (setting.apply)(&mut self.config, value) {
            Ok(()) => {
                self.places.insert(setting.key, place);
            }
            Err(wanted) => {
                let named = named(setting.key, &place);
                let wrong = match setting.is_secret() {
                    true => format!("{named} is not right"),
                    false => format!("{named} is {value}"),
                };
                let right = Some(format!("it takes {wanted}"));
                let key = setting.key.to_owned();
                self.errors.push(ConfigError { place, key, wrong, right, suggestion: None });
            }
        }
    }

    /// Where a setting was last set.
    pub(super) fn place(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or(Place::Default)
    }
}

/// A key as its user knows it: by the file, the variable or the flag.
pub(super) fn named(key: &str, place: &Place) -> String {
    match place {
        Place::Default => format!("{key} (the default)"),
        Place::File { name, .. } => format!("{key} of {name}"),
        Place::Environment(name) | Place::Flag(name) => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers<'a>(text: &'a str, variable: &str, flag: &str) -> Layers<'a> {
        let pair = |value: &str| ("FANFARE_LOOPS".to_owned(), value.to_owned());
        Layers {
            file: Some(File { name: "f.toml", text }),
            environment: vec![pair(variable)],
            flags: if flag.is_empty() { vec![] } else { vec![("loops", flag.to_owned())] },
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let loops = |layers: &Layers<'_>| Config::parse(layers).expect("a good config").loops;
        assert_eq!(loops(&layers("loops = 3", "", "")), 3);
        assert_eq!(loops(&layers("loops = 3", "4", "")), 4);
        assert_eq!(loops(&layers("loops = 3", "4", "5")), 5);
        assert_eq!(loops(&layers("loops = 3", "4", "auto")), 0);
    }

    #[test]
    fn a_mistake_is_told_even_where_a_later_layer_hides_it() {
        let errors = Config::parse(&layers("loops = 'x'", "y", "z")).expect_err("three mistakes");
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let takes = "it takes \"auto\", or a whole number from 1 to 64";
        assert_eq!(
            lines,
            [
                format!("line 1: loops of f.toml is \"x\"; {takes}"),
                format!("FANFARE_LOOPS is \"y\"; {takes}"),
                format!("--loops is \"z\"; {takes}"),
            ]
        );
    }

    #[test]
    fn no_layers_are_the_defaults() {
        assert_eq!(Config::parse(&Layers::default()), Ok(Config::default()));
    }
}
