//! Who decides who comes in, made from the settings and from the files that they name.
//!
//! Not here: sets of keys that are fetched. Invariants: every mistake of every file is told at
//! once, by its setting and its path and never with what the file holds; tokens are signed only
//! where the broker would take them.

use crate::auth::{
    Authority, BadKey, IssuedClaims, Secret, Signer, TokenAlg, TokenKeys, TokenRules,
};
use crate::config::{
    AuthConfig, Config, ConfigError, ConfigErrors, KeySource, Place, api_key_mistake,
    secret_mistake,
};
use crate::limits::{API_KEYS_MAX, JWKS_BYTES_MAX};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest file of one key, or of the keys of servers.
const KEY_FILE_BYTES_MAX: usize = 64 * 1024;

/// One mistake; on the heap, as it is much larger than what goes well.
type Mistake = Box<ConfigError>;

/// Reads all keys. With the URL of a set and nothing else the keys are empty until it is fetched.
pub(super) fn load(config: &Config) -> Result<Authority, ConfigErrors> {
    let auth = &config.auth;
    let mut errors = Vec::new();
    let keys = keys(auth, &mut errors);
    let api_keys = api_keys(auth, &mut errors);
    if errors.is_empty() && auth.signing_key_file.is_some() {
        errors.extend(signer_within(auth, &keys).err());
    }
    let authority = Authority {
        keys: auth.wants_tokens().then_some(keys),
        rules: auth.rules.clone(),
        roles: auth.roles.clone(),
        api_keys,
    };
    all(errors).map_or(Ok(authority), Err)
}

/// What tokens are signed with: the private key, else the first secret.
pub(super) fn signer(config: &Config) -> Result<Signer, ConfigErrors> {
    let mut errors = Vec::new();
    let keys = keys(&config.auth, &mut errors);
    match all(errors) {
        Some(errors) => Err(errors),
        None => signer_within(&config.auth, &keys).map_err(|mistake| (*mistake).into()),
    }
}

// --- keys that tokens are checked with -----------------------------------------------------------

fn keys(auth: &AuthConfig, errors: &mut Vec<Mistake>) -> TokenKeys {
    let mut keys = TokenKeys::default();
    for (setting, alg, source) in auth.keys() {
        let added = secret_or_pem(setting, alg, &source).and_then(|(name, key)| {
            let added = match alg.secret_bytes_min() {
                Some(_) => keys.add_hmac(alg, None, &key),
                None => keys.add_pem(alg, None, key.expose()),
            };
            added.map_err(|bad| wrong(setting, format!("{name} is no key that can be used"), bad))
        });
        errors.extend(added.err());
    }
    if let Some(path) = &auth.jwks_file {
        let setting = "auth.jwks_file";
        let added = read(setting, path, JWKS_BYTES_MAX).and_then(|text| {
            TokenKeys::from_jwks(text.expose())
                .and_then(|set| keys.extend(&set))
                .map_err(|bad| wrong(setting, in_file(setting, path, "is not right"), bad))
        });
        errors.extend(added.err());
    }
    keys
}

/// The key of one algorithm, and what it is called where it is wrong.
fn secret_or_pem(
    setting: &'static str,
    alg: TokenAlg,
    source: &KeySource,
) -> Result<(String, Secret), Mistake> {
    let path = match source {
        KeySource::None => return Ok((setting.to_owned(), Secret::new([]))),
        KeySource::Given(key) => return Ok((setting.to_owned(), key.clone())),
        KeySource::File(path) => path,
    };
    let setting = format!("{setting}_file");
    let key = read(&setting, path, KEY_FILE_BYTES_MAX)?;
    let key = if alg.secret_bytes_min().is_some() { trimmed(key.expose()) } else { key };
    match secret_mistake(alg, key.expose()) {
        Some(mistake) => {
            let (is, right) = mistake.split_once("; ").unwrap_or((&mistake, ""));
            Err(wrong(&setting, in_file(&setting, path, is), right))
        }
        None => Ok((format!("{setting} ({})", path.display()), key)),
    }
}

/// A secret as it was before an editor or `echo` ended its line.
fn trimmed(secret: &[u8]) -> Secret {
    let line = secret.strip_suffix(b"\n").unwrap_or(secret);
    Secret::new(line.strip_suffix(b"\r").unwrap_or(line))
}

// --- keys of servers -----------------------------------------------------------------------------

fn api_keys(auth: &AuthConfig, errors: &mut Vec<Mistake>) -> Vec<Secret> {
    let Some(path) = &auth.api_keys_file else { return auth.api_keys.clone() };
    let setting = "auth.api_keys_file";
    let text = match read(setting, path, KEY_FILE_BYTES_MAX) {
        Ok(text) => text,
        Err(error) => {
            errors.push(error);
            return Vec::new();
        }
    };
    let lines = (1..).zip(text.expose().split(|byte| *byte == b'\n'));
    let lines =
        lines.map(|(line, key)| (line, key.trim_ascii())).filter(|(_, key)| !key.is_empty());
    let keys: Vec<(usize, Secret)> = lines.map(|(line, key)| (line, Secret::new(key))).collect();
    for (line, key) in &keys {
        if let Some(mistake) = api_key_mistake(key.expose()) {
            let mistake = format!("line {line} {mistake}");
            errors.push(wrong(setting, in_file(setting, path, "is not right"), mistake));
        }
    }
    if keys.is_empty() {
        let right = "write one key in each line";
        errors.push(wrong(setting, in_file(setting, path, "holds no key"), right));
    }
    if keys.len() > API_KEYS_MAX {
        let is = in_file(setting, path, &format!("holds {} keys", keys.len()));
        errors.push(wrong(setting, is, format!("there may be {API_KEYS_MAX}")));
    }
    keys.into_iter().map(|(_, key)| key).collect()
}

// --- the key that tokens are signed with ---------------------------------------------------------

fn signer_within(auth: &AuthConfig, keys: &TokenKeys) -> Result<Signer, Mistake> {
    let setting = "auth.signing_key_file";
    let Some(path) = &auth.signing_key_file else { return signer_of_secret(auth) };
    let pem = read(setting, path, KEY_FILE_BYTES_MAX)?;
    let signer = [TokenAlg::Rs256, TokenAlg::Es256, TokenAlg::EdDsa]
        .into_iter()
        .map(|alg| Signer::from_pem(alg, None, pem.expose()))
        .reduce(better);
    let signer = signer.unwrap_or(Err(BadKey::NotOnePem)).map_err(|bad| {
        let is = in_file(setting, path, "is no key that can be used");
        if !matches!(bad, BadKey::WrongKind(_)) {
            return wrong(setting, is, bad);
        }
        let right = "tokens are signed with an RSA key of 2048 bits or more, one on P-256, or one \
                     of Ed25519: PEM, in PKCS #8, unencrypted";
        wrong(setting, is, right)
    })?;
    // With a set that is fetched its key may be there yet.
    if auth.jwks_url.is_none() && !takes(keys, &signer) {
        let right = "its public key is not among those that tokens are checked with: set \
                     auth.rs256_key_file, auth.es256_key_file or auth.eddsa_key_file to it";
        return Err(wrong(setting, in_file(setting, path, "would sign in vain"), right));
    }
    Ok(signer)
}

/// The one that is a key; else the mistake that says more than that the kind is another.
fn better(one: Result<Signer, BadKey>, other: Result<Signer, BadKey>) -> Result<Signer, BadKey> {
    match (one, other) {
        (Err(BadKey::WrongKind(_)), other) => other,
        (one, _) => one,
    }
}

fn signer_of_secret(auth: &AuthConfig) -> Result<Signer, Mistake> {
    let secret = auth.keys().find(|(_, alg, _)| alg.secret_bytes_min().is_some());
    let Some((setting, alg, source)) = secret else {
        let right = "set auth.signing_key_file, or FANFARE_AUTH_HS256_KEY";
        let none = "no key to sign tokens with is configured".to_owned();
        return Err(wrong("auth.signing_key_file", none, right));
    };
    let (name, secret) = secret_or_pem(setting, alg, &source)?;
    Signer::from_secret(alg, None, &secret)
        .map_err(|bad| wrong(setting, format!("{name} is no key that can be used"), bad))
}

/// Whether a token signed so is taken, for its signature.
fn takes(keys: &TokenKeys, signer: &Signer) -> bool {
    let claims = IssuedClaims { user: "trial".to_owned(), iat: 0, exp: 1, ..Default::default() };
    let rules = TokenRules::default();
    signer.sign(&claims).is_ok_and(|token| keys.verify(&token, &rules, 0).is_ok())
}

// --- files and mistakes --------------------------------------------------------------------------

fn read(setting: &str, path: &Path, bytes_max: usize) -> Result<Secret, Mistake> {
    let mut bytes = Vec::new();
    let failed = |error: io::Error| {
        let wrong_file = format!("cannot read {} of {setting}", path.display());
        wrong(setting, wrong_file, error)
    };
    let file = File::open(path).map_err(failed)?;
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        let is = in_file(setting, path, "is too long");
        return Err(wrong(setting, is, format!("it has at most {bytes_max} bytes")));
    }
    Ok(Secret::new(bytes))
}

fn all(mistakes: Vec<Mistake>) -> Option<ConfigErrors> {
    ConfigErrors::found(mistakes.into_iter().map(|mistake| *mistake).collect())
}

fn in_file(setting: &str, path: &Path, is: &str) -> String {
    format!("{setting} ({}) {is}", path.display())
}

fn wrong(setting: &str, wrong: String, right: impl ToString) -> Mistake {
    Box::new(ConfigError {
        place: Place::Default,
        key: setting.to_owned(),
        wrong,
        right: Some(right.to_string()),
        suggestion: None,
    })
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
