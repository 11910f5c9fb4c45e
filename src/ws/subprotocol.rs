//! Which subprotocol a connection speaks (RFC 6455 §4.2.2, item 5).
//!
//! Not here: what the subprotocols say (`protocol`). Invariant: what is chosen was offered, to the
//! letter, since a client fails the connection otherwise (§4.1).

use crate::http::Response;
use std::fmt;

/// The client offers subprotocols, and none of those that are spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownSubprotocols {
    /// What is spoken here.
    pub known: &'static [&'static str],
}

/// Chooses the first of the `known` subprotocols that the client names in the values of its
/// `Sec-WebSocket-Protocol` fields; none where it offers none.
///
/// One that offers only others is refused: a client whose offers are all passed over ends the
/// connection by itself, without a word on why.
pub fn choose_subprotocol<'a>(
    offers: impl Iterator<Item = &'a [u8]>,
    known: &'static [&'static str],
) -> Result<Option<&'static str>, UnknownSubprotocols> {
    let mut offered = items(offers).peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    let chosen = offered.find_map(|item| known.iter().find(|name| name.as_bytes() == item));
    chosen.map(|name| Some(*name)).ok_or(UnknownSubprotocols { known })
}

/// The items of comma-separated lists that count as one; empty ones don't count (RFC 9110 §5.6.1).
fn items<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

impl fmt::Display for UnknownSubprotocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sec-WebSocket-Protocol names none that is spoken here: offer ")?;
        for (nth, name) in self.known.iter().enumerate() {
            write!(f, "{}{name}", if nth == 0 { "" } else { " or " })?;
        }
        f.write_str(", or none")
    }
}

impl UnknownSubprotocols {
    /// The answer to the request.
    pub fn into_response(self) -> Response {
        Response::problem(400, &self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["chat.v1", "chat.v2"];

    fn choose(offers: &[&'static str]) -> Result<Option<&'static str>, UnknownSubprotocols> {
        choose_subprotocol(offers.iter().map(|offer| offer.as_bytes()), KNOWN)
    }

    #[test]
    fn the_clients_first_choice_that_is_known_wins() {
        for (offers, chosen) in [
            (&["chat.v1"][..], "chat.v1"),
            (&["chat.v2, chat.v1"], "chat.v2"),
            (&["soap, chat.v1,chat.v2"], "chat.v1"),
            (&["soap", "wamp", " chat.v2 "], "chat.v2"),
            (&[",,chat.v1"], "chat.v1"),
        ] {
            assert_eq!(choose(offers), Ok(Some(chosen)), "{offers:?}");
        }
    }

    #[test]
    fn without_an_offer_there_is_none_and_with_unknown_ones_no_connection() {
        for offers in [&[][..], &[""], &[" , "]] {
            assert_eq!(choose(offers), Ok(None), "{offers:?}");
        }
        for offers in [&["soap"][..], &["Chat.v1"], &["chat.v"], &["chat.v1 chat.v2"], &["b@d"]] {
            assert_eq!(choose(offers), Err(UnknownSubprotocols { known: KNOWN }), "{offers:?}");
        }
        let refused = UnknownSubprotocols { known: KNOWN };
        assert_eq!(refused.into_response().status, 400);
        assert!(refused.to_string().ends_with("offer chat.v1 or chat.v2, or none"), "{refused}");
    }
}
