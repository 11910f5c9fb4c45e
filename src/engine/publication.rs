//! A message as its room's home sees it, whoever published it and however.

use super::staging::LeftOut;
use crate::broker::PayloadKind;
use crate::protocol::json::RequestId;

/// A message to be numbered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publication<'a> {
    pub(crate) kind: PayloadKind,
    pub(crate) payload: &'a [u8],
    /// The sender, as the JSON that goes into the message.
    pub(crate) sender: &'a [u8],
    /// Tells the session's own messages from others; 0 for none.
    pub(crate) tag: u64,
    /// The publisher's id for it.
    pub(crate) id: Option<RequestId<'a>>,
    /// What it is conflated by: of the messages with the same mark, the newest counts.
    pub(crate) mark: u32,
    /// A member that is not to get it.
    pub(crate) left_out: LeftOut,
}

/// The sender of what comes over HTTP.
pub(crate) const SERVER: &[u8] = br#"{"id":"server","username":"server"}"#;

/// The sender of what a connection without an identity says.
pub(crate) fn guest(number: u64) -> [u8; 50] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut json = *br#"{"id":"guest-0000000000000000","username":"guest"}"#;
    for (nth, digit) in json.iter_mut().skip(13).take(16).enumerate() {
        let nibble = number >> (60 - 4 * nth) & 0xF;
        *digit = HEX.get(nibble as usize).copied().unwrap_or_default();
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::User;
    use crate::protocol::json;

    #[test]
    fn a_guest_is_written_as_any_user() {
        for number in [0, 1, 0xf00d, u64::MAX] {
            let mut written = Vec::new();
            json::push_user(&mut written, &User::guest(number));
            assert_eq!(guest(number).as_slice(), written);
        }
    }
}
