//! `fanfare token`: prints a token, signed by the configured key, for development and for servers.
//!
//! Invariant: no token is printed that a broker with the same configuration would refuse.

use super::keys;
use super::output::{fail, say};
use super::settings::{self, Flags};
use crate::auth::{Authority, IssuedClaims, Signer};
use crate::config::{Config, ConfigErrors};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest life that is given: 10 years.
const TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Whom the token is for, and what it grants.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Id of the user
    #[arg(long, value_name = "ID")]
    user: String,
    /// How the user is called, where not by the id
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Roles of the user; without roles and rooms it is a member
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    roles: Vec<String>,
    /// Rooms as they stand in the token, as in '{"join":["chat:*"],"publish":true}'
    #[arg(long, value_name = "JSON", value_parser = object, conflicts_with_all = ["join", "publish"])]
    rooms: Option<Value>,
    /// Rooms to join; may be given several times
    #[arg(long, value_name = "PATTERN")]
    join: Vec<String>,
    /// Rooms to publish to; may be given several times
    #[arg(long, value_name = "PATTERN")]
    publish: Vec<String>,
    /// Room to be in from the start; may be given several times
    #[arg(long, value_name = "ROOM")]
    autojoin: Vec<String>,
    /// How long it holds
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
    /// Read settings from this TOML file; the environment wins over it [env: FANFARE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints the token.
pub(super) fn run(args: &Args) -> ExitCode {
    let (config, authority, signer) = match configured(args) {
        Ok(configured) => configured,
        Err(errors) => return settings::refuse(&errors),
    };
    let token = now()
        .and_then(|now| claims(args, &config, now).map(|claims| (now, claims)))
        .and_then(|(now, claims)| issue(&authority, &signer, &claims, now));
    match token.map(say) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(format_args!("cannot write to stdout: {error}")),
        Err(reason) => fail(reason),
    }
}

fn configured(args: &Args) -> Result<(Config, Authority, Signer), ConfigErrors> {
    let file = settings::file_named(args.config.as_deref());
    let config = settings::load(file.as_deref(), Flags::default())?;
    let authority = keys::load(&config)?;
    let signer = keys::signer(&config)?;
    Ok((config, authority, signer))
}

fn claims(args: &Args, config: &Config, now: Duration) -> Result<IssuedClaims, String> {
    let jti = getrandom::u64().and_then(|high| getrandom::u64().map(|low| (high, low)));
    let (high, low) = jti.map_err(|error| format!("no random bytes: {error}"))?;
    let rules = &config.auth.rules;
    Ok(IssuedClaims {
        user: args.user.clone(),
        username: args.username.clone(),
        roles: (!args.roles.is_empty()).then(|| args.roles.clone()),
        rooms: rooms(args),
        autojoin: args.autojoin.clone(),
        jti: Some(format!("{high:016x}{low:016x}")),
        iat: now.as_secs(),
        exp: now.saturating_add(args.ttl).as_secs(),
        aud: rules.audiences.first().map(ToString::to_string).into_iter().collect(),
        iss: rules.issuers.first().map(ToString::to_string),
        ..IssuedClaims::default()
    })
}

/// The claim `rooms`: as it was given, or made of patterns.
fn rooms(args: &Args) -> Option<Value> {
    let Args { rooms, join, publish, .. } = args;
    match (rooms, join.is_empty() && publish.is_empty()) {
        (Some(rooms), _) => Some(rooms.clone()),
        (None, true) => None,
        (None, false) => Some(json!({ "join": join, "publish": publish })),
    }
}

/// Signs, and tries the token at the door.
fn issue(
    authority: &Authority,
    signer: &Signer,
    claims: &IssuedClaims,
    now: Duration,
) -> Result<String, String> {
    let token = signer.sign(claims).map_err(|bad| bad.to_string())?;
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    // The key may be in a set that is not fetched here.
    if authority.keys.as_ref().is_some_and(|keys| !keys.is_empty()) {
        let admitted = authority.admit(&token, now_ms);
        admitted.map_err(|bad| format!("the broker would refuse this: {bad}"))?;
    }
    Ok(token)
}

fn now() -> Result<Duration, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_err(|_| "the clock stands before 1970".to_owned())
}

/// A JSON object.
fn object(raw: &str) -> Result<Value, String> {
    match serde_json::from_str(raw) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("it takes a JSON object".to_owned()),
        Err(error) => Err(format!("it takes a JSON object: {error}")),
    }
}

/// A time in whole seconds, at least one.
fn ttl(raw: &str) -> Result<Duration, String> {
    humantime::parse_duration(raw)
        .ok()
        .filter(|ttl| (1..=TTL_MAX.as_secs()).contains(&ttl.as_secs()) && ttl.subsec_nanos() == 0)
        .ok_or_else(|| "it takes whole seconds, at most 10 years, such as \"1h\"".to_owned())
}
