//! Why a request is refused before anybody looks at what it asks for.
//!
//! Not here: refusals that need a route (404, 405) or a room. Invariant: every kind closes the
//! connection, because after it nobody knows where the next request begins.

use super::Response;
use std::fmt;

/// A request that can't be served, whatever it asks for. Dies as a status and a closed connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// The request line is not `method SP target SP version`.
    BadRequestLine,
    /// A line feed without its carriage return, or the other way round.
    BadLineEnd,
    /// A field with a blank before its colon, a fold, or a byte that may not be there.
    BadField,
    /// A request target in none of the forms of RFC 9112 §3.2.
    BadTarget,
    /// `Host` missing, given twice, or no host and port.
    BadHost,
    /// `Content-Length` given twice, or not a plain number.
    BadLength,
    /// A `Transfer-Encoding` that does not end in exactly one `chunked`.
    BadEncoding,
    /// `Content-Length` and `Transfer-Encoding` together: a smuggler's tool.
    LengthAndEncoding,
    /// Chunk framing that breaks RFC 9112 §7.1, or that outweighs its payload.
    BadChunk,
    /// The request did not arrive in time.
    Timeout,
    /// A body larger than the limit, announced or sent.
    BodyTooLarge,
    /// A target larger than the limit.
    TargetTooLong,
    /// An `Expect` other than `100-continue`.
    UnknownExpectation,
    /// A head larger than the limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyFields,
    /// A trailer section larger than the limit.
    TrailerTooLarge,
    /// A transfer coding beside `chunked` that is not served here.
    UnknownEncoding,
    /// A version of HTTP that is not served here.
    UnknownVersion,
}

const _: () = assert!(size_of::<RequestError>() <= 2);

impl RequestError {
    /// Every kind, for tests and docs.
    pub const ALL: [Self; 18] = [
        Self::BadRequestLine,
        Self::BadLineEnd,
        Self::BadField,
        Self::BadTarget,
        Self::BadHost,
        Self::BadLength,
        Self::BadEncoding,
        Self::LengthAndEncoding,
        Self::BadChunk,
        Self::Timeout,
        Self::BodyTooLarge,
        Self::TargetTooLong,
        Self::UnknownExpectation,
        Self::HeadTooLarge,
        Self::TooManyFields,
        Self::TrailerTooLarge,
        Self::UnknownEncoding,
        Self::UnknownVersion,
    ];

    /// The status that tells the client.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequestLine
            | Self::BadLineEnd
            | Self::BadField
            | Self::BadTarget
            | Self::BadHost
            | Self::BadLength
            | Self::BadEncoding
            | Self::LengthAndEncoding
            | Self::BadChunk => 400,
            Self::Timeout => 408,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::UnknownExpectation => 417,
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailerTooLarge => 431,
            Self::UnknownEncoding => 501,
            Self::UnknownVersion => 505,
        }
    }

    /// The answer to send before the connection closes; push it with `Connection::Close`.
    pub fn response(self) -> Response {
        Response::problem(self.status(), self.detail())
    }

    /// One sentence for the client and the log; holds nothing that the client sent.
    const fn detail(self) -> &'static str {
        match self {
            Self::BadRequestLine => "the request line is malformed",
            Self::BadLineEnd => "lines end in CR LF",
            Self::BadField => "a header field is malformed",
            Self::BadTarget => "the request target is malformed",
            Self::BadHost => "exactly one valid Host is needed",
            Self::BadLength => "Content-Length must be one plain number",
            Self::BadEncoding => "Transfer-Encoding must be chunked, once and last",
            Self::LengthAndEncoding => "Content-Length and Transfer-Encoding exclude each other",
            Self::BadChunk => "the chunked body is malformed",
            Self::Timeout => "the request did not arrive in time",
            Self::BodyTooLarge => "the body is larger than the limit",
            Self::TargetTooLong => "the request target is longer than the limit",
            Self::UnknownExpectation => "the only expectation served is 100-continue",
            Self::HeadTooLarge => "the header is larger than the limit",
            Self::TooManyFields => "there are more header fields than the limit",
            Self::TrailerTooLarge => "the trailer is larger than the limit",
            Self::UnknownEncoding => "the only transfer coding served is chunked",
            Self::UnknownVersion => "the versions served are HTTP/1.1 and HTTP/1.0",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_says_something_of_its_own_with_a_named_status() {
        let details: BTreeSet<String> =
            RequestError::ALL.iter().map(|error| error.to_string()).collect();
        assert_eq!(details.len(), RequestError::ALL.len());
        for error in RequestError::ALL {
            assert!((400..600).contains(&error.status()), "{error:?}");
            assert_ne!(super::super::reason(error.status()), "Unknown", "{error:?}");
            assert_eq!(error.response().status, error.status());
        }
    }
}
