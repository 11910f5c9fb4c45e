//! What two sides agree on for permessage-deflate (RFC 7692 §7.1), from either side.
//!
//! Not here: the grammar of the field (`extensions`), and compressing (`deflate`, `inflate`).
//! Invariants: an [`Agreement`] of ours never promises what we can't keep; what is wrong in an
//! offer declines that offer alone, what is no list of extensions declines them all; a server's
//! answer that does not fit the offer is an error.

use super::ClientHandshakeError;
use super::extensions::{Extensions, Malformed, Param, Value};
use std::mem;

const NAME: &[u8] = b"permessage-deflate";
const SERVER_NO_CONTEXT: &[u8] = b"server_no_context_takeover";
const CLIENT_NO_CONTEXT: &[u8] = b"client_no_context_takeover";
const SERVER_BITS: &[u8] = b"server_max_window_bits";
const CLIENT_BITS: &[u8] = b"client_max_window_bits";

/// How far back a compressed stream may refer: the logarithm of a number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum WindowBits {
    /// 256 bytes. Can be read, but not made: zlib makes no such stream.
    Eight = 8,
    /// 512 bytes.
    Nine,
    /// 1 KiB.
    Ten,
    /// 2 KiB.
    Eleven,
    /// 4 KiB.
    Twelve,
    /// 8 KiB.
    Thirteen,
    /// 16 KiB.
    Fourteen,
    /// 32 KiB, all that DEFLATE can.
    Fifteen,
}

/// The windows that we compress with. A smaller one than was agreed on keeps the promise too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowClass {
    /// 512 bytes, for every agreement on less than the largest.
    Small,
    /// 32 KiB.
    Full,
}

/// What a route lets clients agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeflatePolicy {
    /// Whether there is compression at all.
    pub enabled: bool,
    /// Whether a connection may have a decompressor of its own.
    pub client_takeover: bool,
    /// Whether a connection may have a compressor of its own.
    pub server_takeover: bool,
}

/// What holds for the compressed messages of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// The largest window the server may use, if that was settled.
    pub server_max_window_bits: Option<WindowBits>,
    /// The largest window the client may use, if that was settled.
    pub client_max_window_bits: Option<WindowBits>,
    /// The server starts afresh with each message.
    pub server_no_context_takeover: bool,
    /// The client starts afresh with each message.
    pub client_no_context_takeover: bool,
}

const _: () = assert!(size_of::<Agreement>() <= 4);

/// What a client offers. The default is the bare name: all windows full, all contexts kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeflateOffer {
    /// Asks the server to start afresh with each message.
    pub server_no_context_takeover: bool,
    /// Says that the client will do so even unasked.
    pub client_no_context_takeover: bool,
    /// Asks the server for a window no larger than this.
    pub server_max_window_bits: Option<WindowBits>,
    /// Whether the server may ask for a smaller window.
    pub client_max_window_bits: ClientWindow,
}

/// What a client says of its own window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientWindow {
    /// Nothing: the server must not ask for a smaller one.
    #[default]
    Unsaid,
    /// The server may ask for any.
    Any,
    /// The server may ask, and the client will use no larger one in any case.
    AtMost(WindowBits),
}

/// The first offer in `values`, all of a request's `Sec-WebSocket-Extensions`, that `policy` and we
/// can accept. `None`: the connection goes without compression.
pub fn agree_on_deflate<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    policy: DeflatePolicy,
) -> Option<Agreement> {
    let mut agreed = None;
    for value in values {
        let mut extensions = Extensions::new(value);
        loop {
            match next(&mut extensions) {
                Ok(Some((NAME, Some(offer)))) => agreed = agreed.or_else(|| offer.accept(policy)),
                Ok(Some(_)) => {} // Another extension, or an offer with something wrong in it.
                Ok(None) => break,
                Err(Malformed) => return None,
            }
        }
    }
    agreed
}

/// What the server chose of `offer` in `values`, all of an answer's `Sec-WebSocket-Extensions`.
pub(super) fn check_answer<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    offer: Option<DeflateOffer>,
) -> Result<Option<Agreement>, ClientHandshakeError> {
    let mut agreed = None;
    for value in values {
        let mut extensions = Extensions::new(value);
        while let Some((name, answer)) =
            next(&mut extensions).map_err(|Malformed| ClientHandshakeError::Extension)?
        {
            let offer = offer.filter(|_| name == NAME).ok_or(ClientHandshakeError::Unasked)?;
            let agreement = answer.and_then(|answer| offer.settle(answer));
            let agreement = agreement.filter(|_| agreed.is_none());
            agreed = Some(agreement.ok_or(ClientHandshakeError::Extension)?);
        }
    }
    Ok(agreed)
}

/// An extension's name, and its parameters unless one of them is wrong for permessage-deflate.
type Extension<'a> = (&'a [u8], Option<DeflateOffer>);

fn next<'a>(extensions: &mut Extensions<'a>) -> Result<Option<Extension<'a>>, Malformed> {
    let mut params = Some(DeflateOffer::default());
    let name = extensions.next(|param| params = params.and_then(|params| params.with(param)))?;
    Ok(name.map(|name| (name, params)))
}

impl DeflateOffer {
    /// With `param` too, which must be known, there for the first time, and of a right value.
    fn with(mut self, param: Param<'_>) -> Option<Self> {
        let before = match (param.name, param.value) {
            (SERVER_NO_CONTEXT, Value::None) => {
                mem::replace(&mut self.server_no_context_takeover, true)
            }
            (CLIENT_NO_CONTEXT, Value::None) => {
                mem::replace(&mut self.client_no_context_takeover, true)
            }
            (SERVER_BITS, value) => {
                self.server_max_window_bits.replace(WindowBits::parse(value)?).is_some()
            }
            (CLIENT_BITS, value) => {
                let window = match value {
                    Value::None => ClientWindow::Any,
                    Value::Token(_) | Value::Quoted(_) => {
                        ClientWindow::AtMost(WindowBits::parse(value)?)
                    }
                };
                mem::replace(&mut self.client_max_window_bits, window) != ClientWindow::Unsaid
            }
            _ => true,
        };
        (!before).then_some(self)
    }

    /// What a server makes of this offer.
    fn accept(self, policy: DeflatePolicy) -> Option<Agreement> {
        if !policy.enabled || self.server_max_window_bits == Some(WindowBits::Eight) {
            return None;
        }
        // A smaller window of the client's would save us nothing, so none is asked for; one that
        // the client announces is confirmed.
        let client_max_window_bits = match self.client_max_window_bits {
            ClientWindow::Unsaid | ClientWindow::Any => None,
            ClientWindow::AtMost(bits) => Some(bits),
        };
        Some(Agreement {
            server_max_window_bits: self.server_max_window_bits,
            client_max_window_bits,
            server_no_context_takeover: self.server_no_context_takeover || !policy.server_takeover,
            client_no_context_takeover: self.client_no_context_takeover || !policy.client_takeover,
        })
    }

    /// What holds after `answer` to this offer (RFC 7692 §7.1); `None` if it does not fit.
    fn settle(self, answer: Self) -> Option<Agreement> {
        if self.server_no_context_takeover && !answer.server_no_context_takeover {
            return None;
        }
        match (self.server_max_window_bits, answer.server_max_window_bits) {
            (Some(_), None) => return None,
            (Some(most), Some(bits)) if bits > most => return None,
            (Some(_), Some(_)) | (None, _) => {}
        }
        let client_max_window_bits =
            match (self.client_max_window_bits, answer.client_max_window_bits) {
                (ClientWindow::Unsaid | ClientWindow::Any, ClientWindow::Unsaid) => None,
                (ClientWindow::AtMost(most), ClientWindow::Unsaid) => Some(most),
                (ClientWindow::Any, ClientWindow::AtMost(bits)) => Some(bits),
                (ClientWindow::AtMost(most), ClientWindow::AtMost(bits)) if bits <= most => {
                    Some(bits)
                }
                (ClientWindow::AtMost(_), ClientWindow::AtMost(_))
                | (ClientWindow::Unsaid, ClientWindow::AtMost(_))
                | (_, ClientWindow::Any) => return None,
            };
        if client_max_window_bits == Some(WindowBits::Eight) {
            return None; // We make no such stream.
        }
        Some(Agreement {
            server_max_window_bits: answer.server_max_window_bits,
            client_max_window_bits,
            server_no_context_takeover: answer.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover
                || answer.client_no_context_takeover,
        })
    }

    /// Appends the value of the field.
    pub(super) fn push(self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME);
        let mut push = |name: &[u8], bits: Option<WindowBits>| {
            out.extend_from_slice(b"; ");
            out.extend_from_slice(name);
            if let Some(bits) = bits {
                out.push(b'=');
                out.extend_from_slice(bits.text().as_bytes());
            }
        };
        if self.server_no_context_takeover {
            push(SERVER_NO_CONTEXT, None);
        }
        if self.client_no_context_takeover {
            push(CLIENT_NO_CONTEXT, None);
        }
        if self.server_max_window_bits.is_some() {
            push(SERVER_BITS, self.server_max_window_bits);
        }
        match self.client_max_window_bits {
            ClientWindow::Unsaid => {}
            ClientWindow::Any => push(CLIENT_BITS, None),
            ClientWindow::AtMost(bits) => push(CLIENT_BITS, Some(bits)),
        }
    }
}

impl Agreement {
    /// The window to compress with as a server.
    pub const fn server_window(self) -> WindowClass {
        WindowClass::within(self.server_max_window_bits)
    }

    /// The window to compress with as a client.
    pub const fn client_window(self) -> WindowClass {
        WindowClass::within(self.client_max_window_bits)
    }

    /// Appends the value of the server's field.
    pub(super) fn push(self, out: &mut Vec<u8>) {
        let client_max_window_bits =
            self.client_max_window_bits.map_or(ClientWindow::Unsaid, ClientWindow::AtMost);
        DeflateOffer {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_max_window_bits,
            client_max_window_bits,
        }
        .push(out);
    }
}

impl WindowBits {
    const ALL: [Self; 8] = [
        Self::Eight,
        Self::Nine,
        Self::Ten,
        Self::Eleven,
        Self::Twelve,
        Self::Thirteen,
        Self::Fourteen,
        Self::Fifteen,
    ];

    /// As it is written: decimal, without a leading zero (RFC 7692 §7.1.2).
    const fn text(self) -> &'static str {
        match self {
            Self::Eight => "8",
            Self::Nine => "9",
            Self::Ten => "10",
            Self::Eleven => "11",
            Self::Twelve => "12",
            Self::Thirteen => "13",
            Self::Fourteen => "14",
            Self::Fifteen => "15",
        }
    }

    fn parse(value: Value<'_>) -> Option<Self> {
        Self::ALL.into_iter().find(|bits| value.bytes().eq(bits.text().bytes()))
    }
}

impl WindowClass {
    /// The class that keeps within `bits`.
    const fn within(bits: Option<WindowBits>) -> Self {
        match bits {
            None | Some(WindowBits::Fifteen) => Self::Full,
            Some(
                WindowBits::Eight
                | WindowBits::Nine
                | WindowBits::Ten
                | WindowBits::Eleven
                | WindowBits::Twelve
                | WindowBits::Thirteen
                | WindowBits::Fourteen,
            ) => Self::Small,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: DeflatePolicy =
        DeflatePolicy { enabled: true, client_takeover: false, server_takeover: false };
    const PRIVATE: DeflatePolicy =
        DeflatePolicy { enabled: true, client_takeover: true, server_takeover: true };
    /// What every answer on a shared route begins with.
    const NO_CONTEXTS: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    /// The answer to the fields `values`, without what all of them have; `None`: declined.
    fn answer(values: &[&str], policy: DeflatePolicy) -> Option<String> {
        let values = values.iter().map(|value| value.as_bytes());
        let agreed = agree_on_deflate(values, policy)?;
        let mut out = Vec::new();
        agreed.push(&mut out);
        Some(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn offers_are_taken_or_declined_one_by_one() {
        for (params, expected) in [
            ("", Some("")),
            ("; client_max_window_bits", Some("")),
            ("; client_max_window_bits=8", Some("; client_max_window_bits=8")),
            ("; client_max_window_bits=10", Some("; client_max_window_bits=10")),
            ("; client_max_window_bits=15", Some("; client_max_window_bits=15")),
            ("; client_max_window_bits=7", None),
            ("; client_max_window_bits=16", None),
            ("; client_max_window_bits=x", None),
            ("; client_max_window_bits; client_max_window_bits", None),
            ("; client_max_window_bits; client_max_window_bits=10", None),
            ("; server_max_window_bits=9", Some("; server_max_window_bits=9")),
            ("; server_max_window_bits=10", Some("; server_max_window_bits=10")),
            ("; server_max_window_bits=11", Some("; server_max_window_bits=11")),
            ("; server_max_window_bits=12", Some("; server_max_window_bits=12")),
            ("; server_max_window_bits=13", Some("; server_max_window_bits=13")),
            ("; server_max_window_bits=14", Some("; server_max_window_bits=14")),
            ("; server_max_window_bits=15", Some("; server_max_window_bits=15")),
            ("; server_max_window_bits=\"12\"", Some("; server_max_window_bits=12")),
            ("; server_max_window_bits=\"\\1\\2\"", Some("; server_max_window_bits=12")),
            ("; server_max_window_bits", None),
            ("; server_max_window_bits=7", None),
            ("; server_max_window_bits=8", None),
            ("; server_max_window_bits=16", None),
            ("; server_max_window_bits=08", None),
            ("; server_max_window_bits=09", None),
            ("; server_max_window_bits=010", None),
            ("; server_max_window_bits=+9", None),
            ("; server_max_window_bits=-9", None),
            ("; server_max_window_bits=9.0", None),
            ("; server_max_window_bits=0x9", None),
            ("; server_max_window_bits=265", None),
            ("; server_max_window_bits=4294967305", None),
            ("; server_max_window_bits=\"\"", None),
            ("; server_max_window_bits=\" 9\"", None),
            ("; server_max_window_bits=\"9;\"", None),
            ("; server_max_window_bits=9; server_max_window_bits=9", None),
            ("; server_max_window_bits=9; server_max_window_bits=10", None),
            ("; server_no_context_takeover", Some("")),
            ("; server_no_context_takeover; server_no_context_takeover", None),
            ("; server_no_context_takeover=1", None),
            ("; server_no_context_takeover=\"\"", None),
            ("; client_no_context_takeover", Some("")),
            ("; client_no_context_takeover; client_no_context_takeover", None),
            ("; client_no_context_takeover=true", None),
            ("; unknown", None),
            ("; unknown=9", None),
            ("; Server_max_window_bits=9", None),
            (
                "; server_max_window_bits=10;client_max_window_bits = 11 ; \
                 server_no_context_takeover;client_no_context_takeover",
                Some("; server_max_window_bits=10; client_max_window_bits=11"),
            ),
        ] {
            let offer = format!("permessage-deflate{params}");
            let expected = expected.map(|params| format!("{NO_CONTEXTS}{params}"));
            assert_eq!(answer(&[&offer], SHARED), expected, "{offer}");
            // Behind something else that is declined, in one field or several, it is the same.
            let bad = "permessage-deflate; server_max_window_bits=8";
            assert_eq!(answer(&[&format!("x-webkit, {bad},{offer}")], SHARED), expected, "{offer}");
            assert_eq!(answer(&["", bad, &offer], SHARED), expected, "{offer}");
            // And whoever offers the bare name last gets that, if nothing before it is right.
            let fallback = expected.or_else(|| Some(NO_CONTEXTS.to_owned()));
            let with = format!("{offer}, permessage-deflate");
            assert_eq!(answer(&[&with], SHARED), fallback, "{with}");
        }
    }

    #[test]
    fn the_first_acceptable_offer_wins() {
        let offers = [
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; \
            server_max_window_bits=11",
            "permessage-deflate; server_max_window_bits=12",
        ];
        let expected = format!("{NO_CONTEXTS}; server_max_window_bits=11");
        assert_eq!(answer(&offers, SHARED), Some(expected));
    }

    #[test]
    fn what_is_no_list_of_extensions_declines_all() {
        for values in [
            &["permessage-deflate, a b"][..],
            &["permessage-deflate;"],
            &["permessage-deflate; client_max_window_bits="],
            &["permessage-deflate", "\""],
            &["=", "permessage-deflate"],
            &["permessage-deflate; server_max_window_bits=\"9"],
        ] {
            assert_eq!(answer(values, SHARED), None, "{values:?}");
        }
        for values in [&[][..], &[""], &["deflate-frame"], &["permessage-deflate-x"]] {
            assert_eq!(answer(values, SHARED), None, "{values:?}");
        }
    }

    #[test]
    fn a_route_decides_on_contexts_and_on_the_whole() {
        let says = |offer: &str, policy| answer(&[offer], policy);
        let bare = "permessage-deflate";
        assert_eq!(says(bare, PRIVATE).as_deref(), Some(bare));
        assert_eq!(says(bare, DeflatePolicy { enabled: false, ..PRIVATE }), None);
        for (policy, param) in [
            (DeflatePolicy { client_takeover: false, ..PRIVATE }, "client_no_context_takeover"),
            (DeflatePolicy { server_takeover: false, ..PRIVATE }, "server_no_context_takeover"),
        ] {
            let expected = format!("{bare}; {param}");
            assert_eq!(says(bare, policy).as_ref(), Some(&expected));
            assert_eq!(says(&expected, policy).as_ref(), Some(&expected));
            assert_eq!(says(&expected, PRIVATE).as_ref(), Some(&expected), "who offers it has it");
        }
    }

    #[test]
    fn classes_keep_within_the_window() {
        for bits in WindowBits::ALL {
            let full = WindowClass::within(Some(bits)) == WindowClass::Full;
            assert_eq!(full, bits == WindowBits::Fifteen);
            assert_eq!((bits as u8).to_string(), bits.text());
        }
        assert_eq!(WindowClass::within(None), WindowClass::Full);
    }

    /// What a client that offered `offer` makes of the server's `answer`.
    fn settled(offer: DeflateOffer, answer: &str) -> Result<Agreement, ClientHandshakeError> {
        check_answer([answer.as_bytes()].into_iter(), Some(offer)).map(|agreed| agreed.expect("it"))
    }

    #[test]
    fn what_a_server_agrees_to_settles_the_offer() {
        let windows = WindowBits::ALL.into_iter().skip(1);
        for server_max_window_bits in windows.clone().map(Some).chain([None]) {
            let client = windows.clone().map(ClientWindow::AtMost);
            for client_max_window_bits in client.chain([ClientWindow::Any, ClientWindow::Unsaid]) {
                for flags in 0..16 {
                    let offer = DeflateOffer {
                        server_no_context_takeover: flags & 1 != 0,
                        client_no_context_takeover: flags & 2 != 0,
                        server_max_window_bits,
                        client_max_window_bits,
                    };
                    let policy = DeflatePolicy {
                        enabled: true,
                        client_takeover: flags & 4 != 0,
                        server_takeover: flags & 8 != 0,
                    };
                    let mut asked = Vec::new();
                    offer.push(&mut asked);
                    let agreed = agree_on_deflate([&asked[..]].into_iter(), policy)
                        .expect("nothing is wrong with it");
                    let mut answered = Vec::new();
                    agreed.push(&mut answered);
                    let answered = String::from_utf8(answered).expect("text");
                    assert_eq!(settled(offer, &answered), Ok(agreed), "{offer:?}: {answered}");
                }
            }
        }
    }

    #[test]
    fn answers_that_do_not_fit_the_offer_are_errors() {
        let bare = DeflateOffer::default();
        let nine = DeflateOffer {
            server_no_context_takeover: true,
            server_max_window_bits: Some(WindowBits::Nine),
            client_max_window_bits: ClientWindow::AtMost(WindowBits::Ten),
            ..bare
        };
        let any = DeflateOffer { client_max_window_bits: ClientWindow::Any, ..bare };
        for (offer, params) in [
            (bare, "; client_max_window_bits=10"),
            (bare, "; client_max_window_bits"),
            (bare, "; server_max_window_bits"),
            (bare, "; server_max_window_bits=7"),
            (bare, "; unknown"),
            (bare, "; server_no_context_takeover=1"),
            (bare, "; server_no_context_takeover; server_no_context_takeover"),
            (bare, ", permessage-deflate"),
            (bare, ";"),
            (any, "; client_max_window_bits"),
            (any, "; client_max_window_bits=8"),
            (nine, ""),
            (nine, "; server_no_context_takeover"),
            (nine, "; server_max_window_bits=9"),
            (nine, "; server_no_context_takeover; server_max_window_bits=10"),
            (
                nine,
                "; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=11",
            ),
        ] {
            let answer = format!("permessage-deflate{params}");
            assert_eq!(settled(offer, &answer), Err(ClientHandshakeError::Extension), "{answer}");
        }
        for (answer, offer) in [
            ("permessage-deflate", None),
            ("x-unknown", None),
            ("x-unknown", Some(bare)),
            ("permessage-deflate, x-unknown", Some(bare)),
        ] {
            let refused = check_answer([answer.as_bytes()].into_iter(), offer);
            assert_eq!(refused, Err(ClientHandshakeError::Unasked), "{answer}");
        }
        assert_eq!(check_answer([&b""[..]].into_iter(), Some(bare)), Ok(None), "declined");
    }
}
