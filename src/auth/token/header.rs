//! The header of a token (RFC 7515 §4).
//!
//! Invariant: of all that a header may say, only `alg` and `kid` choose a key, and only among those
//! that are known. A key that a token brings along, or points to, is never looked at.

use super::json::Members;
use super::{BadToken, TokenAlg};

/// What chooses the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) alg: TokenAlg,
    pub(super) kid: Option<String>,
}

/// Types of tokens that are taken: RFC 7519 §5.1, RFC 9068 §2.1.
const TYPES: [&str; 2] = ["JWT", "at+jwt"];

/// What changes how the rest is to be read, and is not understood here: RFC 7515 §4.1.11, RFC 7797,
/// and a token within a token.
const NOT_UNDERSTOOD: [&str; 3] = ["crit", "b64", "cty"];

impl Header {
    pub(super) fn parse(json: &[u8]) -> Result<Self, BadToken> {
        let members = Members::parse(json)?;
        if NOT_UNDERSTOOD.iter().any(|name| members.has(name)) {
            return Err(BadToken::Malformed);
        }
        let text = |name| members.read::<String>(name, BadToken::Malformed);
        let (typ, alg, kid) = (text("typ")?, text("alg")?, text("kid")?);
        if typ.is_some_and(|typ| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(&typ))) {
            return Err(BadToken::Malformed);
        }
        let alg = TokenAlg::parse(&alg.ok_or(BadToken::Malformed)?).ok_or(BadToken::UnknownKey)?;
        Ok(Self { alg, kid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_algorithm_and_the_kid_are_taken() {
        let kid = |kid: &str| Some(kid.to_owned());
        for (json, expected) in [
            (r#"{"alg":"HS256"}"#, None),
            (r#"{"typ":"jwt","alg":"HS256","kid":"a"}"#, kid("a")),
            (r#"{"typ":"at+JWT","alg":"HS256","kid":"../a","jwk":{},"jku":1}"#, kid("../a")),
        ] {
            let expected = Header { alg: TokenAlg::Hs256, kid: expected };
            assert_eq!(Header::parse(json.as_bytes()), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_can_not_be_understood_is_refused() {
        for (json, why) in [
            (r#"{}"#, BadToken::Malformed),
            (r#"{"alg":null}"#, BadToken::Malformed),
            (r#"{"alg":["HS256"]}"#, BadToken::Malformed),
            (r#"{"alg":"none"}"#, BadToken::UnknownKey),
            (r#"{"alg":"hs256"}"#, BadToken::UnknownKey),
            (r#"{"alg":"HS256","alg":"HS256"}"#, BadToken::Malformed),
            (r#"{"alg":"HS256","crit":[]}"#, BadToken::Malformed),
            (r#"{"alg":"HS256","b64":false}"#, BadToken::Malformed),
            (r#"{"alg":"HS256","cty":"JWT"}"#, BadToken::Malformed),
            (r#"{"alg":"HS256","typ":"JWE"}"#, BadToken::Malformed),
            (r#"{"alg":"HS256","kid":1}"#, BadToken::Malformed),
            (r#"{"alg":"HS256","kid":null}"#, BadToken::Malformed),
        ] {
            assert_eq!(Header::parse(json.as_bytes()), Err(why), "{json}");
        }
    }
}
