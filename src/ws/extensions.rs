//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1): names and parameters, in order.
//!
//! Not here: what an extension means (`agreement`). Invariants: nothing is allocated, and a value
//! is read once from front to back, so that its cost is its length, which the head's bound bounds;
//! what is not exactly the grammar is [`Malformed`].

use super::handshake::is_token_byte;

/// A value that is no list of extensions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// One parameter of an extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Param<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: Value<'a>,
}

/// What a parameter has behind its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value<'a> {
    /// Not even a `=`.
    None,
    /// A token.
    Token(&'a [u8]),
    /// What stands between quotes, escapes and all. The grammar wants a token once they are gone.
    Quoted(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes that are meant.
    pub(super) fn bytes(self) -> impl Iterator<Item = u8> + use<'a> {
        let (raw, escapes) = match self {
            Self::None => (&[][..], false),
            Self::Token(raw) => (raw, false),
            Self::Quoted(raw) => (raw, true),
        };
        let mut raw = raw.iter().copied();
        std::iter::from_fn(move || match raw.next() {
            Some(b'\\') if escapes => raw.next(),
            other => other,
        })
    }
}

/// What is left of one field value.
#[derive(Debug)]
pub(super) struct Extensions<'a>(&'a [u8]);

impl<'a> Extensions<'a> {
    /// The extensions in one field value.
    pub(super) const fn new(value: &'a [u8]) -> Self {
        Self(value)
    }

    /// The name of the next extension, after `each` of its parameters was seen.
    pub(super) fn next(
        &mut self,
        mut each: impl FnMut(Param<'a>),
    ) -> Result<Option<&'a [u8]>, Malformed> {
        self.skip_space();
        while self.eat(b',') {
            self.skip_space(); // RFC 9110 §5.6.1.2: empty elements of a list are to be taken.
        }
        if self.0.is_empty() {
            return Ok(None);
        }
        let name = self.token()?;
        self.skip_space();
        while self.eat(b';') {
            self.skip_space();
            let param = Param { name: self.token()?, value: self.value()? };
            self.skip_space();
            each(param);
        }
        match self.0.first() {
            None | Some(b',') => Ok(Some(name)),
            Some(_) => Err(Malformed),
        }
    }

    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        self.skip_space();
        if !self.eat(b'=') {
            return Ok(Value::None);
        }
        self.skip_space();
        if self.eat(b'"') { self.quoted() } else { self.token().map(Value::Token) }
    }

    /// The rest of a quoted string (RFC 9110 §5.6.4), its end included.
    fn quoted(&mut self) -> Result<Value<'a>, Malformed> {
        let mut escaped = false;
        for (at, &byte) in self.0.iter().enumerate() {
            if byte.is_ascii_control() && byte != b'\t' {
                break;
            }
            if byte == b'"' && !escaped {
                let (inside, rest) = self.0.split_at(at);
                self.0 = rest.get(1..).unwrap_or_default();
                return Ok(Value::Quoted(inside));
            }
            escaped = byte == b'\\' && !escaped;
        }
        Err(Malformed)
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn eat(&mut self, wanted: u8) -> bool {
        match self.0 {
            [first, rest @ ..] if *first == wanted => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of `value`, as text for comparison.
    fn shown(value: &str) -> Result<String, Malformed> {
        let (mut extensions, mut seen) = (Extensions::new(value.as_bytes()), String::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        loop {
            let mut params = String::new();
            let name = extensions.next(|param| {
                let meant: Vec<u8> = param.value.bytes().collect();
                let meant = match param.value {
                    Value::None => String::new(),
                    Value::Token(_) => format!("={}", text(&meant)),
                    Value::Quoted(_) => format!("='{}'", text(&meant)),
                };
                params.push_str(&format!(" {}{meant}", text(param.name)));
            })?;
            let Some(name) = name else { return Ok(seen) };
            seen.push_str(&format!("[{}{params}]", text(name)));
        }
    }

    #[test]
    fn what_the_grammar_allows_is_read() {
        for (value, expected) in [
            ("", ""),
            (" \t", ""),
            ("a", "[a]"),
            ("a,b", "[a][b]"),
            (",, a ,\t, b,", "[a][b]"),
            ("a;b;c=d;e=\"f\"", "[a b c=d e='f']"),
            ("a ; b ; c = d\t,e", "[a b c=d][e]"),
            (r#"a; b="c,d;e"; f="\"g\\", h"#, r#"[a b='c,d;e' f='"g\'][h]"#),
            (r#"a; b="""#, "[a b='']"),
            (r#"a; b="\1\5""#, "[a b='15']"),
            ("foo, bar; baz=2", "[foo][bar baz=2]"),
        ] {
            assert_eq!(shown(value).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_it_does_not_allow_is_malformed() {
        for value in [
            "a b",
            ";",
            "a;",
            "a;;b",
            "a;=b",
            "a; b=",
            "a; b=,c",
            "a; b=c d",
            "a; b=c=d",
            "a=b",
            "a; b=\"c",
            "a; b=\"c\\",
            "a; b=\"c\\\"",
            "a; b=\"c\"d",
            "a; b=\"\x01\"",
            "a; b='c d'",
            "\"a\"",
            "a/b",
            "é",
            "a, b c",
        ] {
            assert_eq!(shown(value), Err(Malformed), "{value}");
        }
    }
}
