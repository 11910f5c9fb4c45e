//! Settings from environment variables.
//!
//! Invariant: a variable that begins with `FANFARE_` and is not known is a mistake; what an
//! orchestrator puts there because a service of its own is called "fanfare" is not.

use super::default_listen;
use super::error::{ConfigError, Place, near};
use super::layers::Draft;
use super::log::LogFilter;
use super::setting::Setting;
use super::table::SETTINGS;
use super::value::{self, Value};

/// What every variable of ours begins with.
const PREFIX: &str = "FANFARE_";
/// Variables that the command line reads itself.
const OF_THE_COMMAND_LINE: [&str; 3] = ["FANFARE_CONFIG", "FANFARE_TOKEN", "FANFARE_URL"];
/// The switch that is on by default may also be turned off by a name of its own, like its flag.
const NO_PIN: &str = "FANFARE_NO_PIN";

/// Applies the variables; an empty one counts as not set.
pub(super) fn apply(draft: &mut Draft, pairs: &[(String, String)]) {
    let set: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, raw)| (name.as_str(), raw.as_str()))
        .filter(|(_, raw)| !raw.is_empty())
        .collect();
    if let Some((_, directives)) = set.iter().find(|(name, _)| *name == "RUST_LOG") {
        draft.config.log.filter = LogFilter::Directives((*directives).to_owned());
    }
    for (name, raw) in set.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let place = Place::Environment((*name).to_owned());
        match SETTINGS.iter().find(|setting| setting.variable() == *name) {
            Some(setting) => draft.set(setting, &Value::Bare(raw), place),
            None if *name == NO_PIN => apply_no_pin(draft, raw, &set),
            None if OF_THE_COMMAND_LINE.contains(name) || is_service_link(name) => {}
            None => draft.errors.push(unknown(name, place)),
        }
    }
}

/// Applies `PORT`, which platforms set, to the default address: only where no address was given.
pub(super) fn apply_port(draft: &mut Draft, pairs: &[(String, String)]) {
    let port = pairs.iter().find(|(name, raw)| name == "PORT" && !raw.is_empty());
    let (Some((_, raw)), Place::Default) = (port, draft.place("listen")) else { return };
    match raw.parse::<u16>() {
        Ok(port) => draft.config.listen = vec![default_listen(port)],
        Err(_) => draft.errors.push(ConfigError {
            place: Place::Environment("PORT".into()),
            key: "listen".into(),
            wrong: format!("PORT is {raw:?}"),
            right: Some("it takes a port, or set FANFARE_LISTEN and PORT is not read".into()),
            suggestion: None,
        }),
    }
}

fn apply_no_pin(draft: &mut Draft, raw: &str, set: &[(&str, &str)]) {
    let place = Place::Environment(NO_PIN.to_owned());
    let right = match value::boolean(&Value::Bare(raw)) {
        Ok(_) if set.iter().any(|(name, _)| *name == "FANFARE_PIN") => {
            "set it or FANFARE_PIN, not both".to_owned()
        }
        Ok(no_pin) => {
            draft.config.pin = !no_pin;
            return;
        }
        Err(wanted) => format!("it takes {wanted}"),
    };
    let wrong = format!("{NO_PIN} is {raw:?}");
    let key = "pin".to_owned();
    draft.errors.push(ConfigError { place, key, wrong, right: Some(right), suggestion: None });
}

fn unknown(name: &str, place: Place) -> ConfigError {
    let variables: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let known = variables.iter().map(String::as_str).chain(OF_THE_COMMAND_LINE);
    let meant = near(name, known.map(|known| (known, known)));
    ConfigError {
        place,
        key: name.to_owned(),
        wrong: format!("unknown environment variable {name}"),
        right: None,
        suggestion: meant.map(str::to_owned),
    }
}

/// Whether an orchestrator set `name` to announce a service called "fanfare" or "fanfare-…":
/// `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_SERVICE_PORT_WEB`, `…_PORT`, `…_PORT_80_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let port_number = |rest: &str| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let transport = rest.get(digits..).unwrap_or_default();
        digits > 0 && ["_TCP", "_UDP", "_SCTP"].iter().any(|t| transport.starts_with(t))
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split("_PORT_").skip(1).any(port_number)
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Layers, ListenAddr};
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let environment =
            pairs.iter().map(|(name, raw)| ((*name).to_owned(), (*raw).to_owned())).collect();
        Config::parse(&Layers { environment, ..Layers::default() })
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn every_setting_has_its_variable() {
        for setting in &SETTINGS {
            let config = parse(&[(&setting.variable(), setting.default)]);
            assert_eq!(config, Ok(Config::default()), "{}", setting.key);
        }
    }

    #[test]
    fn an_unknown_variable_is_a_mistake_and_others_are_not_ours() {
        let wrong = parse(&[("FANFARE_LOPS", "1")]).expect_err("a slip");
        assert_eq!(
            wrong,
            "unknown environment variable FANFARE_LOPS; did you mean \"FANFARE_LOOPS\"?"
        );
        let wrong = parse(&[("FANFARE_LIMITS_ROOMS_MAX", "1")]).expect_err("a slip");
        assert!(wrong.contains("did you mean \"FANFARE_ROOMS_MAX\"?"), "{wrong}");
        assert_eq!(parse(&[("PATH", "/bin"), ("FANFARES_LOOPS", "1")]), Ok(Config::default()));
        assert_eq!(parse(&[("FANFARE_CONFIG", "f"), ("FANFARE_LOOPS", "")]), Ok(Config::default()));
    }

    #[test]
    fn a_service_called_fanfare_does_not_stop_the_broker() {
        for name in [
            "FANFARE_SERVICE_HOST",
            "FANFARE_SERVICE_PORT",
            "FANFARE_SERVICE_PORT_HTTP",
            "FANFARE_PORT",
            "FANFARE_PORT_8080_TCP",
            "FANFARE_PORT_8080_TCP_ADDR",
            "FANFARE_EDGE_PORT_53_UDP_PROTO",
        ] {
            assert_eq!(parse(&[(name, "tcp://10.0.0.1:8080")]), Ok(Config::default()), "{name}");
        }
        assert!(parse(&[("FANFARE_PORT_NAME", "x")]).is_err());
    }

    #[test]
    fn port_moves_the_default_address_and_no_other() {
        let port = |pairs: &[(&str, &str)]| parse(pairs).map(|config| config.listen);
        let at = |raw| Ok(vec![ListenAddr::parse(raw).expect(raw)]);
        assert_eq!(port(&[("PORT", "9000")]), at("127.0.0.1:9000"));
        let other = ("FANFARE_LISTEN", "127.0.0.2:1");
        assert_eq!(port(&[("PORT", "9000"), other]), at("127.0.0.2:1"));
        assert_eq!(port(&[("PORT", "tcp://x"), other]), at("127.0.0.2:1"));
        assert!(port(&[("PORT", "tcp://x")]).is_err());
    }

    #[test]
    fn pinning_has_two_names_that_do_not_contradict_each_other() {
        assert_eq!(parse(&[("FANFARE_NO_PIN", "1")]).map(|config| config.pin), Ok(false));
        assert_eq!(parse(&[("FANFARE_PIN", "false")]).map(|config| config.pin), Ok(false));
        assert!(parse(&[("FANFARE_PIN", "true"), ("FANFARE_NO_PIN", "1")]).is_err());
        assert!(parse(&[("FANFARE_NO_PIN", "perhaps")]).is_err());
    }

    #[test]
    fn rust_log_counts_unless_our_own_variable_is_set() {
        let filter = |pairs: &[(&str, &str)]| parse(pairs).map(|config| config.log.filter);
        let rust_log = ("RUST_LOG", "fanfare::net=trace");
        let directives = LogFilter::Directives("fanfare::net=trace".into());
        assert_eq!(filter(&[rust_log]), Ok(directives));
        let level = LogFilter::Level(super::super::LogLevel::Warn);
        assert_eq!(filter(&[("FANFARE_LOG_LEVEL", "warn"), rust_log]), Ok(level));
    }
}
