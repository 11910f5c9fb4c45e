//! What a setting is: a key, a flag, a variable, a default, a meaning, and how it is read.
//!
//! Not here: the settings themselves (`table`). Invariant: a setting has one key, and its flag and
//! environment variable follow from one another.

use super::Config;
use super::table::SETTINGS;
use super::value::{Value, Wanted};

/// The settings that take several values.
const LISTS: [&str; 8] = [
    "listen",
    "native.default_rooms",
    "identity.trusted_proxies",
    "identity.admins",
    "origin.allowed",
    "auth.api_keys",
    "auth.audience",
    "auth.issuer",
];
/// The settings whose values are never shown.
const SECRETS: [&str; 7] = [
    "auth.hs256_key",
    "auth.hs384_key",
    "auth.hs512_key",
    "auth.rs256_key",
    "auth.es256_key",
    "auth.eddsa_key",
    "auth.api_keys",
];

/// One setting, as the user meets it.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Its key in the file, with the section: `limits.rooms_max`.
    pub key: &'static str,
    /// Its flag without the dashes.
    pub flag: &'static str,
    /// What its value is called in the help; empty where it is true or false.
    pub value_name: &'static str,
    /// The default as one would write it.
    pub default: &'static str,
    /// What it does, in one sentence without a full stop.
    pub meaning: &'static str,
    pub(super) apply: fn(&mut Config, &Value<'_>) -> Result<(), Wanted>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key)
    }
}

impl Setting {
    /// The section and the key within it; the section is empty for keys at the top.
    pub(super) fn split_key(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("FANFARE_{}", self.flag.to_ascii_uppercase().replace('-', "_"))
    }

    /// Whether the setting is a switch, true or false.
    pub const fn is_switch(&self) -> bool {
        self.value_name.is_empty()
    }

    /// Whether it takes several values: its flag may be given again.
    pub fn is_list(&self) -> bool {
        LISTS.contains(&self.key)
    }

    /// Whether its value is never shown: it is a secret, or might be one that slipped, like a
    /// private key in the place of a public one.
    pub fn is_secret(&self) -> bool {
        SECRETS.contains(&self.key)
    }

    /// Checks `raw` as a flag's value, without keeping it; the error says what would be right.
    pub fn check(&self, raw: &str) -> Result<(), String> {
        (self.apply)(&mut Config::default(), &Value::Bare(raw))
            .map_err(|wanted| format!("it takes {wanted}"))
    }
}

/// The setting with this flag, given without dashes.
pub(super) fn by_flag(flag: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.flag == flag)
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn every_default_is_written_as_it_is() {
        for setting in &SETTINGS {
            let mut config = Config::default();
            (setting.apply)(&mut config, &Value::Bare(setting.default)).expect(setting.key);
            check::fit_outbox(&mut config);
            assert_eq!(config, Config::default(), "{}", setting.key);
        }
    }

    /// For every setting of `[auth]` and `[rates]`, another value than the default.
    const AUTH_OTHERS: [&str; 32] = [
        "key", "file", "key", "file", "key", "file", "key", "file", "key", "file", "key", "file",
        "file", "http://x", "7s", "key", "file", "name", "name", "7s", "7KiB", "7s", "name",
        "true", "7s", "file", "7", "7", "7", "7", "7", "7",
    ];

    #[test]
    fn every_setting_sets_something_of_its_own() {
        let others = [
            "unix:/run/f.sock",
            "3",
            "false",
            "random",
            "true",
            "true",
            "true",
            "7",
            "2MiB",
            "7",
            "3MiB",
            "7",
            "7",
            "3KiB",
            "7",
            "7",
            "32MiB",
            "1s",
            "1s",
            "1s",
            "1s",
            "1s",
            "1s",
            "1s",
            "off",
            "off",
            "6",
            "2KiB",
            "7",
            "7",
            "7KiB",
            "7s",
            "7MiB",
            "diff",
            "7",
            "7",
            "7s",
            "7s",
            "7s",
            "7",
            "7s",
            "lobby",
            "7s",
            "X-User",
            "X-Name",
            "unix",
            "root",
            "forwarded",
            "required",
            "null",
            "false",
            "debug",
            "json",
        ];
        let others = others.into_iter().chain(AUTH_OTHERS);
        let mut outcomes: Vec<Config> = Vec::new();
        for (setting, other) in SETTINGS.iter().zip(others) {
            let mut config = Config::default();
            (setting.apply)(&mut config, &Value::Bare(other)).expect(setting.key);
            assert_ne!(config, Config::default(), "{}", setting.key);
            assert!(!outcomes.contains(&config), "{} sets another's field", setting.key);
            outcomes.push(config);
        }
        assert_eq!(outcomes.len(), SETTINGS.len());
    }

    #[test]
    fn flags_and_keys_are_unique_and_name_the_variable() {
        for (nth, setting) in SETTINGS.iter().enumerate() {
            for other in SETTINGS.iter().skip(nth + 1) {
                assert!(setting.key != other.key && setting.flag != other.flag);
            }
        }
        assert_eq!(by_flag("echo-route").map(Setting::variable), Some("FANFARE_ECHO_ROUTE".into()));
    }

    #[test]
    fn what_takes_several_values_takes_them_joined() {
        for setting in &SETTINGS {
            // A path or a secret may have a comma in it.
            let is_text = ["FILE", "SECRET", "PEM"].contains(&setting.value_name);
            let joined = setting.check("127.0.0.1:1,unix:/x").is_ok()
                || setting.check("10.0.0.0/8,unix").is_ok()
                || setting.check("null,https://a.example").is_ok();
            assert_eq!(joined && !is_text, setting.is_list(), "{}", setting.key);
        }
        let names = LISTS.iter().chain(&SECRETS);
        assert!(names.into_iter().all(|key| SETTINGS.iter().any(|known| known.key == *key)));
    }
}
