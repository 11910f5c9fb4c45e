//! What `serve` has done beside the loops: sets of keys fetched, passwords checked.

use super::keys;
use crate::auth::MEMBER;
use crate::config::{Config, ConfigError, ConfigErrors, Place};
use crate::net::SideWork;
use crate::side::{Desk, KeySource, PasswordHash};
use std::time::Duration;

/// Makes what the settings ask for.
pub(super) fn work(config: &Config) -> Result<SideWork, ConfigErrors> {
    let auth = &config.auth;
    let refresh = Duration::from_millis(auth.jwks_refresh_ms);
    let keys = auth.jwks_url.as_deref().map(|url| KeySource::new(url, refresh));
    let logins = auth.login.then(|| desk(config)).transpose()?;
    Ok(SideWork { keys, logins })
}

/// The desk where the users of the settings log in.
fn desk(config: &Config) -> Result<Desk, ConfigErrors> {
    let auth = &config.auth;
    let signer = keys::signer(config)?;
    let mut desk = Desk::signing(signer, &auth.rules, auth.login_ttl_ms / 1_000);
    for user in &auth.users {
        let phc = str::from_utf8(user.password_hash.expose()).unwrap_or_default();
        let hash = PasswordHash::parse(phc).map_err(|_| unusable(&user.name))?;
        let roles = match &user.roles[..] {
            [] => vec![MEMBER.into()],
            roles => roles.to_vec(),
        };
        desk.add(&user.name, hash, roles);
    }
    Ok(desk)
}

/// A hash that reads well and can't be checked with.
fn unusable(user: &str) -> ConfigErrors {
    ConfigErrors::from(ConfigError {
        place: Place::Default,
        key: "password_hash".to_owned(),
        wrong: format!("password_hash of the user {user:?} can't be checked with"),
        right: Some("make one with `fanfare password`".to_owned()),
        suggestion: None,
    })
}
