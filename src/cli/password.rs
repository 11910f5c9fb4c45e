//! `fanfare password`: makes the hash of a password, for `[[users]]`.
//!
//! Invariant: the password comes from stdin, never from an argument that others can see.

use super::output::{fail, note, say};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

/// The longest password. Beyond it is a slip, such as a file.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Nothing is asked for but the password.
#[derive(clap::Args, Debug)]
pub(super) struct Args {}

/// Reads a line and prints its hash.
pub(super) fn run(_: &Args) -> ExitCode {
    if io::stdin().is_terminal() {
        note("The password, as one line (it is shown as you type):");
    }
    let hash = password(io::stdin().lock()).and_then(|password| hash(&password));
    match hash.map(say) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(format_args!("cannot write to stdout: {error}")),
        Err(reason) => fail(reason),
    }
}

/// The first line, without its end.
fn password(input: impl BufRead) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    input
        .take(PASSWORD_BYTES_MAX as u64 + 2)
        .read_until(b'\n', &mut line)
        .map_err(|error| format!("cannot read stdin: {error}"))?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    match line.len() {
        0 => Err("there is no password on stdin: write it as one line".to_owned()),
        1..=PASSWORD_BYTES_MAX if std::str::from_utf8(&line).is_ok() => Ok(line),
        1..=PASSWORD_BYTES_MAX => Err("the password is not UTF-8".to_owned()),
        _ => Err(format!("a password has at most {PASSWORD_BYTES_MAX} bytes")),
    }
}

/// By argon2id with the parameters that its authors recommend and a salt of its own.
fn hash(password: &[u8]) -> Result<String, String> {
    Argon2::default()
        .hash_password(password)
        .map(|hash| hash.to_string())
        .map_err(|error| format!("cannot hash the password: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, File, Layers};
    use argon2::password_hash::PasswordVerifier;

    #[test]
    fn a_password_is_the_first_line() {
        for (input, read) in
            [("sesame\n", "sesame"), ("open sesame\r\nmore", "open sesame"), (" é ", " é ")]
        {
            assert_eq!(password(input.as_bytes()), Ok(read.as_bytes().to_vec()));
        }
        let long = "x".repeat(PASSWORD_BYTES_MAX);
        assert!(password(format!("{long}\r\n").as_bytes()).is_ok());
        for wrong in [&b""[..], b"\n", b"\xff\n", format!("{long}x\n").as_bytes()] {
            assert!(password(wrong).is_err());
        }
    }

    #[test]
    fn a_hash_is_one_that_the_configuration_takes_and_differs_each_time() {
        let first = hash(b"sesame").expect("a hash");
        assert_ne!(first, hash(b"sesame").expect("another"));
        assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
        assert!(Argon2::default().verify_password(b"sesame", &*first).is_ok());
        let text = format!(
            "[auth]\nlogin = true\nhs256_key_file = \"k\"\n[[users]]\nname = \"ada\"\n\
             password_hash = \"{first}\"\n"
        );
        let file = Some(File { name: "f.toml", text: &text });
        assert!(Config::parse(&Layers { file, ..Layers::default() }).is_ok());
    }
}
