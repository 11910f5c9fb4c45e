//! Hashes of passwords: Argon2, as `fanfare password` prints them.
//!
//! Not here: where hashes come from. Invariant: a hash is parsed once, at the door.

use argon2::password_hash::phc;
use argon2::{Argon2, Params, PasswordVerifier};
use std::fmt;

/// What a password is compared with.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(phc::PasswordHash);

/// It is no hash by Argon2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadPasswordHash;

impl PasswordHash {
    /// Parses a PHC string.
    pub fn parse(raw: &str) -> Result<Self, BadPasswordHash> {
        let hash = phc::PasswordHash::new(raw).map_err(|_| BadPasswordHash)?;
        let is_known = argon2::Algorithm::try_from(hash.algorithm.as_str()).is_ok();
        let is_whole = hash.salt.is_some() && hash.hash.is_some();
        let is_possible = Params::try_from(&hash).is_ok();
        if is_known && is_whole && is_possible { Ok(Self(hash)) } else { Err(BadPasswordHash) }
    }

    /// Whether it is that of `password`. Takes as long as the hash asks for.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, &self.0).is_ok()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[password hash]")
    }
}

impl fmt::Display for BadPasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is no Argon2 hash such as $argon2id$v=19$…; `fanfare password` makes one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "password" with the salt "somesalt": a vector of Argon2's authors.
    const VECTOR: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    #[test]
    fn a_password_fits_its_hash_and_no_other() {
        let hash = PasswordHash::parse(VECTOR).expect("a hash");
        assert!(hash.is_of(b"password"));
        assert!(!hash.is_of(b"Password") && !hash.is_of(b"password ") && !hash.is_of(b""));
        assert_eq!(format!("{hash:?}"), "[password hash]");
    }

    #[test]
    fn what_is_no_whole_hash_by_argon2_is_refused() {
        let (head, hash) = VECTOR.rsplit_once('$').expect("parts");
        for raw in [
            "",
            "password",
            head,
            "$argon2id$v=19$m=256,t=2,p=1",
            "$2b$12$abcdefghijklmnopqrstuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu",
            "$scrypt$ln=15,r=8,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            &format!("$argon2id$v=19$m=1,t=2,p=1$c29tZXNhbHQ${hash}"),
            &format!("$argon2id$v=19$m=256,t=0,p=1$c29tZXNhbHQ${hash}"),
            &format!("{VECTOR}$"),
            &format!(" {VECTOR}"),
        ] {
            assert_eq!(PasswordHash::parse(raw), Err(BadPasswordHash), "{raw}");
        }
    }
}
