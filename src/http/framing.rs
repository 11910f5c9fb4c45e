//! How long a request's body is: RFC 9112 §6, without any of its leniency.
//!
//! Not here: reading the body (`body`). Invariant: where two readers could disagree about the
//! length, the answer is an error.

use super::{RequestError, Version};

/// How the end of a request's body is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFraming {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked,
}

impl BodyFraming {
    /// Judges all `Content-Length` and all `Transfer-Encoding` values of a request.
    pub(super) fn parse<'a>(
        version: Version,
        mut lengths: impl Iterator<Item = &'a [u8]>,
        encodings: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, RequestError> {
        let length = lengths.next();
        if lengths.next().is_some() {
            return Err(RequestError::BadLength); // Equal ones too: nobody honest sends two.
        }
        let mut encodings = encodings.peekable();
        match (length, encodings.peek().is_some()) {
            (None, false) => Ok(Self::None),
            (Some(raw), false) => parse_length(raw).map(Self::Length),
            // RFC 9112 §6.1: allowed to be served, and wise to be refused.
            (Some(_), true) => Err(RequestError::LengthAndEncoding),
            (None, true) => check_encodings(version, encodings).map(|()| Self::Chunked),
        }
    }
}

/// Digits only: no sign, no blank, no list.
fn parse_length(raw: &[u8]) -> Result<u64, RequestError> {
    if raw.is_empty() {
        return Err(RequestError::BadLength);
    }
    raw.iter().try_fold(0_u64, |length, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        digit
            .and_then(|digit| length.checked_mul(10)?.checked_add(digit))
            .ok_or(RequestError::BadLength)
    })
}

/// Accepts exactly one coding, `chunked`, in any case.
fn check_encodings<'a>(
    version: Version,
    fields: impl Iterator<Item = &'a [u8]>,
) -> Result<(), RequestError> {
    if version == Version::Http10 {
        return Err(RequestError::BadEncoding); // RFC 9112 §6.1: the framing is faulty.
    }
    let (mut codings, mut chunked, mut chunked_last) = (0, 0, false);
    for coding in fields.flat_map(|field| field.split(|&byte| byte == b',')) {
        codings += 1;
        chunked_last = coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
        chunked += u32::from(chunked_last);
    }
    match (chunked_last, chunked, codings) {
        (true, 1, 1) => Ok(()),
        // RFC 9112 §6.1: a coding that is not known, the length still certain.
        (true, 1, _) => Err(RequestError::UnknownEncoding),
        (_, _, _) => Err(RequestError::BadEncoding), // §6.3: the length can't be known.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lengths: &[&str], encodings: &[&str]) -> Result<BodyFraming, RequestError> {
        let lengths = lengths.iter().map(|raw| raw.as_bytes());
        let encodings = encodings.iter().map(|raw| raw.as_bytes());
        BodyFraming::parse(Version::Http11, lengths, encodings)
    }

    #[test]
    fn plain_lengths_and_chunked_are_served() {
        assert_eq!(parse(&[], &[]), Ok(BodyFraming::None));
        assert_eq!(parse(&["0"], &[]), Ok(BodyFraming::Length(0)));
        assert_eq!(parse(&["007"], &[]), Ok(BodyFraming::Length(7)));
        assert_eq!(parse(&["18446744073709551615"], &[]), Ok(BodyFraming::Length(u64::MAX)));
        assert_eq!(parse(&[], &["chunked"]), Ok(BodyFraming::Chunked));
        assert_eq!(parse(&[], &["Chunked"]), Ok(BodyFraming::Chunked));
    }

    #[test]
    fn lengths_that_are_no_plain_number_are_refused() {
        for raw in ["", "+5", "-5", "5 5", "5,5", "5, 5", "0x5", "5.0", "\u{b2}", "five"] {
            assert_eq!(parse(&[raw], &[]), Err(RequestError::BadLength), "{raw:?}");
        }
        for raw in ["18446744073709551616", "99999999999999999999999999"] {
            assert_eq!(parse(&[raw], &[]), Err(RequestError::BadLength), "{raw}");
        }
        assert_eq!(parse(&["5", "5"], &[]), Err(RequestError::BadLength));
        assert_eq!(parse(&["5", "6"], &[]), Err(RequestError::BadLength));
    }

    #[test]
    fn encodings_other_than_chunked_are_refused_by_what_is_known_of_the_length() {
        for (fields, error) in [
            (&["gzip, chunked"][..], RequestError::UnknownEncoding),
            (&["gzip", "chunked"], RequestError::UnknownEncoding),
            (&["chunked, gzip"], RequestError::BadEncoding),
            (&["chunked, chunked"], RequestError::BadEncoding),
            (&["chunked", "chunked"], RequestError::BadEncoding),
            (&["chunked", "identity"], RequestError::BadEncoding),
            (&["identity"], RequestError::BadEncoding),
            (&["xchunked"], RequestError::BadEncoding),
            (&["chunked;q=1"], RequestError::BadEncoding),
            (&["\"chunked\""], RequestError::BadEncoding),
            (&["chunked,"], RequestError::BadEncoding),
            (&[""], RequestError::BadEncoding),
        ] {
            assert_eq!(parse(&[], fields), Err(error), "{fields:?}");
        }
        let old = BodyFraming::parse(
            Version::Http10,
            std::iter::empty(),
            std::iter::once(&b"chunked"[..]),
        );
        assert_eq!(old, Err(RequestError::BadEncoding));
    }

    #[test]
    fn both_lengths_at_once_are_refused() {
        assert_eq!(parse(&["5"], &["chunked"]), Err(RequestError::LengthAndEncoding));
        assert_eq!(parse(&["0"], &["gzip"]), Err(RequestError::LengthAndEncoding));
    }
}
