//! Close frames: which codes may be sent, and what a payload says (RFC 6455 §5.5.1, §7.4).
//!
//! Not here: why we close (`broker::Disconnect`) and which code a protocol chooses for that.

use super::ProtocolError;
use super::utf8;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;

/// A close frame that was received, validated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CloseFrame {
    /// The peer's code; `None` when it gave none, which is allowed.
    pub code: Option<u16>,
    /// The peer's words, at most 123 bytes; empty when it gave none.
    pub reason: Box<str>,
}

/// Whether a close frame may carry `code`: RFC 6455 §7.4 and the IANA registry.
///
/// 1004 is reserved; 1005, 1006 and 1015 are words for what never was on the wire; 1016 to 2999 are
/// not assigned; 3000 to 4999 belong to libraries and applications.
pub const fn valid_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

impl CloseFrame {
    /// Reads the unmasked payload of a close frame.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        match payload {
            [] => Ok(Self { code: None, reason: Box::default() }),
            [_] => Err(ProtocolError::BadCloseLength),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !valid_close_code(code) {
                    return Err(ProtocolError::BadCloseCode);
                }
                Ok(Self { code: Some(code), reason: utf8::text(reason)?.into() })
            }
        }
    }
}

/// Appends the payload of a close frame: `code`, and as much of `reason` as fits, cut between
/// characters.
///
/// `code` must be one that may be sent: our own codes come from tables, a peer's were validated.
pub fn push_close_payload(out: &mut Vec<u8>, code: u16, reason: &str) {
    debug_assert!(valid_close_code(code), "close code {code} never goes on the wire");
    out.extend_from_slice(&code.to_be_bytes());
    let end = reason.floor_char_boundary(CONTROL_PAYLOAD_BYTES_MAX - size_of::<u16>());
    out.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_rfc_and_the_registry() {
        for code in 0..=u16::MAX {
            let expected = match code {
                1004..=1006 | 1015 => false,
                1000..=1014 | 3000..=4999 => true,
                _ => false,
            };
            assert_eq!(valid_close_code(code), expected, "{code}");
            let decoded = CloseFrame::decode(&code.to_be_bytes());
            assert_eq!(decoded.is_ok(), expected, "{code}");
        }
    }

    #[test]
    fn payloads_decode_as_the_rfc_says() {
        let close = |code, reason: &str| Ok(CloseFrame { code, reason: reason.into() });
        let longest = "x".repeat(123);
        let mut full = 1000_u16.to_be_bytes().to_vec();
        full.extend(longest.as_bytes());
        for (payload, expected) in [
            (&b""[..], close(None, "")),
            (b"\x03", Err(ProtocolError::BadCloseLength)),
            (b"\x03\xe8", close(Some(1000), "")),
            (b"\x0f\xa0bye \xc3\xa9", close(Some(4000), "bye é")),
            (b"\x03\xe8\xff", Err(ProtocolError::BadUtf8)),
            (b"\x03\xe8\xc3", Err(ProtocolError::BadUtf8)),
            (b"\x03\xed", Err(ProtocolError::BadCloseCode)),
            (&full, close(Some(1000), &longest)),
        ] {
            assert_eq!(CloseFrame::decode(payload), expected, "{payload:?}");
        }
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        for reason in ["é".repeat(100), "x".repeat(200), format!("x{}", "€".repeat(60))] {
            let mut payload = Vec::new();
            push_close_payload(&mut payload, 1001, &reason);
            assert!((122..=125).contains(&payload.len()), "{}", payload.len());
            let close = CloseFrame::decode(&payload).expect("our own payload is valid");
            assert!(reason.starts_with(&*close.reason));
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    fn codes_that_never_go_on_the_wire_are_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            let sent = std::panic::catch_unwind(|| push_close_payload(&mut Vec::new(), code, ""));
            assert!(sent.is_err(), "{code}");
        }
    }
}
