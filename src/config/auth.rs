//! Settings of who comes in: keys, what tokens must say, who may log in.
//!
//! Not here: the files that keys are in (`cli` reads them), what is made of a token (`auth`).
//! Invariants: a key stands in one place; a secret is never shown, not in a mistake either; without
//! keys nobody but this machine is listened to, unless the user says so.

use super::error::{ConfigError, Place};
use super::layers::{Draft, named};
use super::listen::ListenAddr;
use super::users::LoginUser;
use super::value::{self, NONE, Value, Wanted};
use super::{roles, users};
use crate::auth::{Roles, Secret, TokenAlg, TokenRules};
use crate::limits;
use crate::limits::{API_KEY_BYTES_MAX, API_KEY_BYTES_MIN, API_KEYS_MAX, TOKEN_LEEWAY_S_MAX};
use std::path::PathBuf;

/// Most audiences or issuers. Beyond it is a slip.
const NAMES_MAX: usize = 64;
/// The longest URL.
const URL_BYTES_MAX: usize = 2_048;
/// The longest life of a token that is issued for a password: 30 days.
const LOGIN_TTL_MS_CEILING: u64 = 30 * 24 * 60 * 60 * 1000;

/// Where one key is found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum KeySource {
    /// Nowhere.
    #[default]
    None,
    /// In the configuration itself: the secret, or the PEM text of a public key.
    Given(Secret),
    /// In this file.
    File(PathBuf),
}

/// A key as it is written: by itself and by its file, which exclude one another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Written {
    pub(super) given: Option<Secret>,
    pub(super) file: Option<PathBuf>,
}

/// The keys of `[auth]`, one of each algorithm.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct WrittenKeys {
    pub(super) hs256: Written,
    pub(super) hs384: Written,
    pub(super) hs512: Written,
    pub(super) rs256: Written,
    pub(super) es256: Written,
    pub(super) eddsa: Written,
}

/// Who comes in.
#[derive(Clone, PartialEq, Debug)]
pub struct AuthConfig {
    pub(super) keys: WrittenKeys,
    /// The file with a set of keys (RFC 7517).
    pub jwks_file: Option<PathBuf>,
    /// The URL of one: `http` or `https`.
    pub jwks_url: Option<Box<str>>,
    /// Time after which it is fetched again.
    pub jwks_refresh_ms: u64,
    /// Keys of servers.
    pub api_keys: Vec<Secret>,
    /// The file with more of them, one in each line.
    pub api_keys_file: Option<PathBuf>,
    /// What tokens must say.
    pub rules: TokenRules,
    /// Time for the `auth` message.
    pub timeout_ms: u64,
    /// The cookie in which a token may come.
    pub cookie: Option<Box<str>>,
    /// Whether users may log in with a password.
    pub login: bool,
    /// How long a token holds that is issued for one, in whole seconds.
    pub login_ttl_ms: u64,
    /// The file with the private key that tokens are signed with; without one it is the first key
    /// of HS256, HS384 and HS512.
    pub signing_key_file: Option<PathBuf>,
    /// What roles grant.
    pub roles: Roles,
    /// Who may log in.
    pub users: Vec<LoginUser>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            keys: WrittenKeys::default(),
            jwks_file: None,
            jwks_url: None,
            jwks_refresh_ms: limits::JWKS_REFRESH_MS,
            api_keys: Vec::new(),
            api_keys_file: None,
            rules: TokenRules::default(),
            timeout_ms: limits::AUTH_TIMEOUT_MS,
            cookie: None,
            login: false,
            login_ttl_ms: limits::LOGIN_TTL_MS,
            signing_key_file: None,
            roles: Roles::default(),
            users: Vec::new(),
        }
    }
}

impl AuthConfig {
    /// The keys that are configured one by one: the setting of each, its algorithm, where it is.
    pub fn keys(&self) -> impl Iterator<Item = (&'static str, TokenAlg, KeySource)> {
        let written = self.written_keys().into_iter();
        written.map(|(key, alg, written)| (key, alg, written.source())).filter(is_there)
    }

    /// Whether there is any key that tokens are checked with, so that nobody comes in without one.
    pub fn wants_tokens(&self) -> bool {
        self.keys().next().is_some() || self.jwks_file.is_some() || self.jwks_url.is_some()
    }

    /// Whether there is a key to sign tokens with.
    pub fn can_sign(&self) -> bool {
        self.signing_key_file.is_some()
            || self.keys().any(|(_, alg, _)| alg.secret_bytes_min().is_some())
    }

    fn written_keys(&self) -> [(&'static str, TokenAlg, &Written); 6] {
        let keys = &self.keys;
        [
            ("auth.hs256_key", TokenAlg::Hs256, &keys.hs256),
            ("auth.hs384_key", TokenAlg::Hs384, &keys.hs384),
            ("auth.hs512_key", TokenAlg::Hs512, &keys.hs512),
            ("auth.rs256_key", TokenAlg::Rs256, &keys.rs256),
            ("auth.es256_key", TokenAlg::Es256, &keys.es256),
            ("auth.eddsa_key", TokenAlg::EdDsa, &keys.eddsa),
        ]
    }
}

impl Written {
    fn source(&self) -> KeySource {
        match (&self.given, &self.file) {
            (Some(given), _) => KeySource::Given(given.clone()),
            (None, Some(file)) => KeySource::File(file.clone()),
            (None, None) => KeySource::None,
        }
    }
}

fn is_there((_, _, source): &(&'static str, TokenAlg, KeySource)) -> bool {
    *source != KeySource::None
}

/// What is wrong with a secret for that algorithm, to follow its name.
pub fn secret_mistake(alg: TokenAlg, secret: &[u8]) -> Option<String> {
    let least = alg.secret_bytes_min().filter(|least| secret.len() < *least)?;
    let bytes = secret.len();
    Some(format!("is too short: {bytes} bytes; {} needs at least {least}", alg.word()))
}

/// What is wrong with the key of a server, to follow its name.
pub fn api_key_mistake(key: &[u8]) -> Option<String> {
    let rule = format!(
        "a key has {API_KEY_BYTES_MIN} to {API_KEY_BYTES_MAX} bytes, all of visible ASCII, so \
         that a header can hold it"
    );
    if !(API_KEY_BYTES_MIN..=API_KEY_BYTES_MAX).contains(&key.len()) {
        return Some(format!("has {} bytes; {rule}", key.len()));
    }
    let is_visible = key.iter().all(u8::is_ascii_graphic);
    (!is_visible).then(|| format!("has other characters; {rule}"))
}

// --- readers -------------------------------------------------------------------------------------

/// A secret, or the text of a key; none.
pub(super) fn key(value: &Value<'_>) -> Result<Option<Secret>, Wanted> {
    match value::text(value) {
        Some(NONE) => Ok(None),
        Some(text) if !text.is_empty() => Ok(Some(Secret::new(text.as_bytes()))),
        Some(_) | None => Err("text that is not empty".into()),
    }
}

/// Keys of servers. What is wrong with one is said in [`check`], without it.
pub(super) fn api_keys(value: &Value<'_>) -> Result<Vec<Secret>, Wanted> {
    let wanted = "a key, or a list of them";
    let raws = value::texts_or_none(value, wanted).map_err(|_| wanted.to_owned())?;
    if raws.len() > API_KEYS_MAX {
        return Err(format!("at most {API_KEYS_MAX} keys"));
    }
    Ok(raws.into_iter().map(|raw| Secret::new(raw.as_bytes())).collect())
}

/// The path of a file, or none.
pub(super) fn path(value: &Value<'_>) -> Result<Option<PathBuf>, Wanted> {
    match value::text(value) {
        Some(NONE) => Ok(None),
        Some(path) if !path.is_empty() => Ok(Some(path.into())),
        Some(_) | None => Err("the path of a file".into()),
    }
}

/// A URL of `http` or `https`, or none.
pub(super) fn url(value: &Value<'_>) -> Result<Option<Box<str>>, Wanted> {
    let is_url = |url: &str| {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
        url.len() <= URL_BYTES_MAX
            && url.bytes().all(|byte| byte.is_ascii_graphic())
            && host.is_some_and(|host| !host.is_empty())
    };
    match value::text(value) {
        Some(NONE) => Ok(None),
        Some(url) if is_url(url) => Ok(Some(url.into())),
        Some(_) | None => {
            Err("a URL such as \"https://id.example.com/.well-known/jwks.json\"".into())
        }
    }
}

/// Audiences or issuers, each once.
pub(super) fn names(value: &Value<'_>) -> Result<Vec<Box<str>>, Wanted> {
    let mut names: Vec<Box<str>> = Vec::new();
    for raw in value::texts_or_none(value, "a name, or a list of them")? {
        if raw.is_empty() || names.iter().any(|known| **known == *raw) {
            return Err(format!("each name once and none empty, and there is {raw:?}"));
        }
        names.push(raw.into());
    }
    if names.len() > NAMES_MAX {
        return Err(format!("at most {NAMES_MAX} names"));
    }
    Ok(names)
}

/// What clocks may differ by, in whole seconds.
pub(super) fn leeway_s(value: &Value<'_>) -> Result<u64, Wanted> {
    whole_seconds(value, 0, TOKEN_LEEWAY_S_MAX * 1_000).map(|ms| ms / 1_000)
}

/// How long a token for a password holds.
pub(super) fn login_ttl_ms(value: &Value<'_>) -> Result<u64, Wanted> {
    whole_seconds(value, 1_000, LOGIN_TTL_MS_CEILING)
}

fn whole_seconds(value: &Value<'_>, least_ms: u64, most_ms: u64) -> Result<u64, Wanted> {
    let (least, most) = (value::show_ms(least_ms), value::show_ms(most_ms));
    value::duration_ms_within(value, least_ms..=most_ms)
        .ok()
        .filter(|ms| ms.is_multiple_of(1_000))
        .ok_or_else(|| format!("a duration from {least} to {most} in whole seconds, as in \"5s\""))
}

/// The name of a cookie (RFC 6265 §4.1.1), or none.
pub(super) fn cookie(value: &Value<'_>) -> Result<Option<Box<str>>, Wanted> {
    let is_token = |name: &str| {
        let part = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
        !name.is_empty() && name.bytes().all(part)
    };
    match value::text(value) {
        Some(NONE) => Ok(None),
        Some(name) if is_token(name) => Ok(Some(name.into())),
        Some(_) | None => Err("the name of a cookie, such as \"session\"".into()),
    }
}

// --- how they fit together -----------------------------------------------------------------------

/// All that does not fit together.
pub(super) fn check(draft: &Draft) -> Vec<ConfigError> {
    let auth = &draft.config.auth;
    let mut errors = Vec::new();
    for (key, alg, written) in auth.written_keys() {
        let file_key = format!("{key}_file");
        if written.given.is_some() && written.file.is_some() {
            errors.push(twice(draft, key, &file_key));
        } else if let Some(secret) = &written.given {
            let mistake = secret_mistake(alg, secret.expose());
            errors.extend(mistake.map(|mistake| wrong(draft, key, &mistake, None)));
        }
    }
    if !auth.api_keys.is_empty() && auth.api_keys_file.is_some() {
        errors.push(twice(draft, "auth.api_keys", "auth.api_keys_file"));
    }
    for (nth, key) in (1..).zip(&auth.api_keys) {
        let mistake = api_key_mistake(key.expose());
        errors.extend(mistake.map(|mistake| {
            wrong(draft, "auth.api_keys", "is not right", Some(&format!("key #{nth} {mistake}")))
        }));
    }
    errors.extend(check_login(draft));
    errors.extend(check_exposed(draft));
    let described = roles::described(draft);
    errors.extend(roles::check(draft));
    errors.extend(users::check(draft, &described));
    errors
}

/// Takes over what the entries say, which has been checked.
pub(super) fn take_entries(draft: &mut Draft) {
    draft.config.auth.roles = roles::described(draft);
    draft.config.auth.users = draft.users.drain(..).map(|draft| draft.user).collect();
}

fn check_login(draft: &Draft) -> Option<ConfigError> {
    let auth = &draft.config.auth;
    let signs =
        [("auth.login", auth.login), ("auth.signing_key_file", auth.signing_key_file.is_some())];
    if let Some((key, _)) = signs.into_iter().find(|(_, on)| *on && !auth.wants_tokens()) {
        let right = "set a key too that the tokens are checked with, such as auth.hs256_key_file";
        return Some(wrong(draft, key, "is set", Some(right)));
    }
    if auth.login && !auth.can_sign() {
        let right = "tokens must be signed: set auth.signing_key_file, or auth.hs256_key_file";
        return Some(wrong(draft, "auth.login", "is true", Some(right)));
    }
    if auth.login && draft.users.is_empty() {
        let right = "say who may log in: write [[users]] into the file";
        return Some(wrong(draft, "auth.login", "is true", Some(right)));
    }
    None
}

/// Without keys anyone may do anything: only this machine may, unless the user wants it so.
fn check_exposed(draft: &Draft) -> Option<ConfigError> {
    let config = &draft.config;
    if config.insecure || config.auth.wants_tokens() {
        return None;
    }
    let exposed = config.listen.iter().find(|address| is_exposed(address))?;
    let right = "whoever reaches this address could join and publish, since no key for tokens is \
                 configured: set one, as in FANFARE_AUTH_HS256_KEY, or say --insecure";
    Some(wrong(draft, "listen", &format!("names {exposed}"), Some(right)))
}

fn is_exposed(address: &ListenAddr) -> bool {
    match address {
        ListenAddr::Tcp(address) => !address.ip().to_canonical().is_loopback(),
        ListenAddr::Unix(_) => false,
    }
}

/// What is allowed but probably not meant.
pub(super) fn warn(draft: &Draft) -> Vec<String> {
    let auth = &draft.config.auth;
    let mut warnings = Vec::new();
    if !draft.users.is_empty() && !auth.login {
        warnings.push("[[users]] have no effect without auth.login".to_owned());
    }
    let idle = [
        ("auth.cookie", auth.cookie.is_some()),
        ("auth.audience", !auth.rules.audiences.is_empty()),
        ("auth.issuer", !auth.rules.issuers.is_empty()),
    ];
    if let Some((key, _)) = idle.into_iter().find(|(_, set)| *set && !auth.wants_tokens()) {
        warnings.push(format!("{key} has no effect without a key for tokens"));
    }
    for secret in ["auth.hs256_key", "auth.hs384_key", "auth.hs512_key", "auth.api_keys"] {
        if let Place::Flag(flag) = draft.place(secret) {
            warnings.push(format!(
                "{flag} can be read by every user of this machine in its list of processes; use \
                 {flag}-file, or the environment"
            ));
        }
    }
    warnings
}

fn twice(draft: &Draft, key: &str, file_key: &str) -> ConfigError {
    let other = named(file_key, &draft.place(file_key));
    wrong(draft, key, "is set", Some(&format!("{other} is set too; which one holds? Keep one")))
}

/// A mistake in the whole; never with a value.
fn wrong(draft: &Draft, key: &str, is: &str, right: Option<&str>) -> ConfigError {
    let place = draft.place(key);
    ConfigError {
        wrong: format!("{} {is}", named(key, &place)),
        place,
        key: key.to_owned(),
        right: right.map(str::to_owned),
        suggestion: None,
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
