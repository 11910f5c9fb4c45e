//! A broker that wants tokens, and the tokens of as many users as would outrun any cache.
//!
//! Not here: what they cost (`rounds`). Invariant: each token is another user's, and a broker with
//! the file of settings knows the one key that signed them all.

use crate::keys::signer;
use fanfare::auth::{BadKey, IssuedClaims, TokenAlg};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Users that come in turns.
const USERS: usize = 8_192;

/// How long tokens hold: longer than a comparison takes.
const TTL_S: u64 = 24 * 60 * 60;

/// Files of settings and of tokens, which are gone with this value.
#[derive(Debug)]
pub(crate) struct Tokens {
    folder: TempDir,
}

impl Tokens {
    /// Signs as many as are needed.
    pub(crate) fn sign(alg: TokenAlg) -> io::Result<Self> {
        let (signer, key) = signer(alg).map_err(bad)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let tokens = Self { folder: tempfile::tempdir()? };
        let setting = format!("{}_key", alg.word().to_lowercase());
        fs::write(tokens.settings(), format!("[auth]\n{setting} = '''{key}'''\n"))?;
        let mut lines = String::new();
        for nth in 0..USERS {
            let claims = IssuedClaims {
                user: format!("user-{nth}"),
                username: Some(format!("User {nth}")),
                rooms: Some(serde_json::json!({"join": ["*"], "publish": true})),
                jti: Some(format!("{nth:032x}")),
                iat: now.as_secs(),
                exp: now.as_secs() + TTL_S,
                ..IssuedClaims::default()
            };
            let token = signer.sign(&claims).map_err(bad)?;
            writeln!(lines, "{token}").map_err(io::Error::other)?;
        }
        fs::write(tokens.list(), lines)?;
        Ok(tokens)
    }

    /// The file of settings of a broker that wants them.
    pub(crate) fn settings(&self) -> PathBuf {
        self.folder.path().join("fanfare.toml")
    }

    /// The file with a token in each line.
    pub(crate) fn list(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }
}

fn bad(key: BadKey) -> io::Error {
    io::Error::other(key.to_string())
}
