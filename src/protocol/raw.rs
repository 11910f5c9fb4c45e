//! The raw protocol of `/raw/{room}`: a message is its payload, and a close code is all we can say.
//!
//! Not here: notices of any kind (a raw member can't be told of a gap, so a drop costs it the
//! connection unless its room says otherwise). Invariants: what RFC 6455 or the IANA registry has a
//! code for uses that code; above 4000 the hundreds tell a client what to do (40xx stop, 41xx back
//! off, 42xx reconnect now; 4002 is the one exception); 1005, 1006 and 1015 never go on the wire.

use crate::broker::{Command, Disconnect, PayloadKind};
use crate::ws::{self, DataKind, Opcode};
use std::borrow::Cow;

/// A message as the command it stands for: in a raw room every message is a publication.
pub const fn decode(kind: DataKind, payload: &[u8]) -> Command<'_> {
    let kind = match kind {
        DataKind::Text => PayloadKind::Text,
        DataKind::Binary => PayloadKind::Binary,
    };
    Command::Publish { kind, payload }
}

/// Appends the frame that raw members get for a publication: the bare payload. Of JSON, a string
/// goes as its text and any other value as its bytes, both in a text frame.
pub fn push_message(out: &mut Vec<u8>, kind: PayloadKind, payload: &[u8]) {
    match kind {
        PayloadKind::Text => ws::push_frame(out, Opcode::Text, payload),
        PayloadKind::Binary => ws::push_frame(out, Opcode::Binary, payload),
        PayloadKind::Json => match serde_json::from_slice::<Cow<'_, str>>(payload) {
            Ok(text) => ws::push_frame(out, Opcode::Text, text.as_bytes()),
            Err(_) => ws::push_frame(out, Opcode::Text, payload),
        },
    }
}

/// The code of the close frame that announces `reason`, if one is sent at all.
///
/// `None`: there is no WebSocket to close, or nobody left who would read the frame.
pub const fn close_code(reason: Disconnect) -> Option<u16> {
    match reason {
        Disconnect::Normal => Some(1000),
        Disconnect::Draining => Some(1001),
        Disconnect::Protocol => Some(1002),
        Disconnect::WrongData => Some(1003),
        Disconnect::BadPayload => Some(1007),
        Disconnect::Policy => Some(1008),
        Disconnect::TooBig => Some(1009),
        Disconnect::Internal => Some(1011),
        Disconnect::OverCapacity => Some(1013),
        Disconnect::Unauthorized => Some(4001),
        Disconnect::RateLimited => Some(4002),
        Disconnect::Superseded => Some(4003),
        Disconnect::SlowConsumer => Some(4101),
        Disconnect::NoPong => Some(4201),
        Disconnect::RequestTimeout
        | Disconnect::CloseTimeout
        | Disconnect::Http
        | Disconnect::Io => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes() -> impl Iterator<Item = (Disconnect, u16)> {
        Disconnect::ALL.into_iter().filter_map(|reason| Some((reason, close_code(reason)?)))
    }

    #[test]
    fn every_code_may_go_on_the_wire() {
        for (reason, code) in codes() {
            // RFC 6455 §7.4.1 and the IANA registry: 1004 means nothing, 1005, 1006 and 1015 are
            // for the API of a client alone; §7.4.2 leaves 4000 to 4999 to us.
            let registered = matches!(code, 1000..=1003 | 1007..=1014);
            let ours = matches!(code, 4000..=4999);
            assert!(registered || ours, "{code} for {}", reason.label());
        }
    }

    #[test]
    fn no_two_reasons_share_a_code() {
        let mut seen: Vec<u16> = codes().map(|(_, code)| code).collect();
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }

    #[test]
    fn reasons_without_a_websocket_or_a_reader_have_no_code() {
        let silent: Vec<&str> = Disconnect::ALL
            .into_iter()
            .filter(|reason| close_code(*reason).is_none())
            .map(Disconnect::label)
            .collect();
        assert_eq!(silent, ["request-timeout", "close-timeout", "http", "io"]);
    }

    #[test]
    fn a_deploy_tells_clients_to_come_back_and_a_bad_token_tells_them_not_to() {
        assert_eq!(close_code(Disconnect::Draining), Some(1001));
        assert_eq!(close_code(Disconnect::Unauthorized).map(|code| code / 100), Some(40));
        assert_eq!(close_code(Disconnect::SlowConsumer).map(|code| code / 100), Some(41));
        assert_eq!(close_code(Disconnect::NoPong).map(|code| code / 100), Some(42));
    }
}
