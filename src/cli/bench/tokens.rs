//! The tokens that connections show, each the next one.
//!
//! Not here: who signs them (`fanfare token`). Invariants: what is no JSON Web Token is never put
//! into a request; no token is printed.

use super::error::BenchError;
use crate::auth::Secret;
use std::fs;
use std::path::PathBuf;

/// Which tokens connections show.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Shown {
    /// The token of every connection; better in the environment, where others can't see it
    #[arg(long, value_name = "JWT", env = "FANFARE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file with a token in each line, shown in turns: as many users; wins over --token
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

impl Shown {
    /// Reads them.
    pub(super) fn read(&self) -> Result<Tokens, BenchError> {
        match (&self.tokens, &self.token) {
            (Some(path), _) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    BenchError::Tokens(format!("cannot read {}: {error}", path.display()))
                })?;
                let tokens = Tokens::of(text.lines()).map_err(|line| {
                    let path = path.display();
                    BenchError::Tokens(format!("line {line} of {path} is no JSON Web Token"))
                })?;
                if tokens.all.is_empty() {
                    let lack = format!("{} holds no token", path.display());
                    return Err(BenchError::Tokens(lack));
                }
                Ok(tokens)
            }
            (None, Some(token)) => Tokens::of([token.as_str()]).map_err(|_| {
                BenchError::Tokens("the token is no JSON Web Token (--token)".to_owned())
            }),
            (None, None) => Ok(Tokens::default()),
        }
    }
}

/// Tokens in turns; none is the default.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    all: Vec<Secret>,
    next: usize,
}

impl Tokens {
    /// Takes a token from each line that is not empty; else the number of the first that is wrong.
    fn of<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, usize> {
        let part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let mut all = Vec::new();
        for (number, line) in (1..).zip(lines) {
            if !line.bytes().all(part) {
                return Err(number);
            }
            if !line.is_empty() {
                all.push(Secret::new(line.as_bytes()));
            }
        }
        Ok(Self { all, next: 0 })
    }

    /// Puts the next token into a request without a body; leaves it as it is where there is none.
    pub(super) fn add_next(&mut self, request: &mut Vec<u8>) {
        let Some(token) = self.all.get(self.next) else { return };
        self.next = (self.next + 1) % self.all.len();
        let Some(head) = request.len().checked_sub(b"\r\n".len()) else { return };
        request.truncate(head); // The empty line that ends it.
        for part in [b"Authorization: Bearer ", token.expose(), b"\r\n\r\n"] {
            request.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

    fn request(tokens: &mut Tokens) -> String {
        let mut request = REQUEST.to_vec();
        tokens.add_next(&mut request);
        String::from_utf8(request).expect("text")
    }

    fn shown(tokens: Option<&str>, token: Option<&str>) -> Result<Tokens, BenchError> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(tokens.unwrap_or_default().as_bytes()).expect("a file");
        let tokens = tokens.map(|_| file.path().to_owned());
        Shown { token: token.map(str::to_owned), tokens }.read()
    }

    #[test]
    fn each_connection_shows_the_next_token() {
        let mut tokens = shown(Some("a.b.c\n\nd-e.f_1.g\r\n"), Some("x.y.z")).expect("tokens");
        for token in ["a.b.c", "d-e.f_1.g", "a.b.c"] {
            let expected =
                format!("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
            assert_eq!(request(&mut tokens), expected);
        }
        let mut always = shown(None, Some("x.y.z")).expect("a token");
        for _ in 0..2 {
            assert!(request(&mut always).contains("Bearer x.y.z\r\n\r\n"));
        }
    }

    #[test]
    fn without_tokens_a_request_stays_as_it_is() {
        for token in [None, Some("")] {
            let mut none = shown(None, token).expect("nothing is wrong");
            assert_eq!(request(&mut none).as_bytes(), REQUEST);
        }
    }

    #[test]
    fn what_is_no_token_is_refused_by_its_line_and_not_shown() {
        for (file, token, said) in [
            (Some("a.b.c\nd e\n"), None, "line 2 of "),
            (Some("\n"), None, "holds no token"),
            (None, Some("a\r\nX: secret"), "(--token)"),
        ] {
            let wrong = shown(file, token).expect_err(said).to_string();
            assert!(wrong.contains(said) && !wrong.contains("secret"), "{wrong}");
        }
        let shown = Shown { token: None, tokens: Some("/nowhere/at/all".into()) };
        let wrong = shown.read().expect_err("no file").to_string();
        assert!(wrong.contains("cannot read /nowhere/at/all"), "{wrong}");
    }

    #[test]
    fn tokens_are_not_printed() {
        let tokens = shown(None, Some("a.hidden.c")).expect("a token");
        assert!(!format!("{tokens:?}").contains("hidden"), "{tokens:?}");
    }
}
