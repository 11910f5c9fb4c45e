//! JSON as it is written: objects that grow field by field, strings, numbers, epochs.
//!
//! Not here: what is said in them. Invariant: what is appended is UTF-8 as long as what is given
//! is, and no byte is looked at twice.

use super::RequestId;

/// One object that is being written, a field with each call; of a message, `type` comes first.
pub(super) struct Object<'o>(&'o mut Vec<u8>);

impl<'o> Object<'o> {
    /// Begins a message of that type.
    pub(super) fn open(out: &'o mut Vec<u8>, kind: &str) -> Self {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        Self(out)
    }

    /// Begins an object that is no message.
    pub(super) fn bare(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self(out)
    }

    /// The `id` of the request that is answered, if it had one.
    pub(super) fn id(self, id: Option<RequestId<'_>>) -> Self {
        match id {
            Some(id) => self.raw("id", id.json().as_bytes()),
            None => self,
        }
    }

    pub(super) fn text(self, name: &str, text: &str) -> Self {
        let Self(out) = self.name(name);
        push_text(out, text.as_bytes());
        Self(out)
    }

    pub(super) fn maybe_text(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    pub(super) fn number(self, name: &str, number: u64) -> Self {
        let Self(out) = self.name(name);
        push_number(out, number);
        Self(out)
    }

    pub(super) fn maybe_number(self, name: &str, number: Option<u64>) -> Self {
        match number {
            Some(number) => self.number(name, number),
            None => self,
        }
    }

    pub(super) fn flag(self, name: &str, flag: bool) -> Self {
        self.raw(name, if flag { b"true" } else { b"false" })
    }

    pub(super) fn epoch(self, epoch: u64) -> Self {
        let Self(out) = self.name("epoch");
        out.push(b'"');
        push_epoch(out, epoch);
        out.push(b'"');
        Self(out)
    }

    /// A field whose value is JSON already.
    pub(super) fn raw(self, name: &str, json: &[u8]) -> Self {
        let Self(out) = self.name(name);
        out.extend_from_slice(json);
        Self(out)
    }

    /// A field whose value `push` appends.
    pub(super) fn with(self, name: &str, push: impl FnOnce(&mut Vec<u8>)) -> Self {
        let Self(out) = self.name(name);
        push(out);
        Self(out)
    }

    /// A field that is an object with the fields that `fill` gives it.
    pub(super) fn object(
        self,
        name: &str,
        fill: impl for<'n> FnOnce(Object<'n>) -> Object<'n>,
    ) -> Self {
        self.with(name, |out| fill(Object::bare(out)).close())
    }

    /// A field that is an array of what `push` appends for each of `items`.
    pub(super) fn list<T>(
        self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        push: impl FnMut(&mut Vec<u8>, T),
    ) -> Self {
        self.with(name, |out| push_array(out, items, push))
    }

    /// Begins the last field, an array; `push_list_tail` ends it and the message.
    pub(super) fn open_list(self, name: &str) {
        let Self(out) = self.name(name);
        out.push(b'[');
    }

    /// Ends the message.
    pub(super) fn close(self) {
        self.0.push(b'}');
    }

    fn name(self, name: &str) -> Self {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        self
    }
}

/// Appends an array of what `push` appends for each of `items`.
pub(super) fn push_array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

/// Appends a number.
pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends an epoch as `EpochText` writes it.
pub(super) fn push_epoch(out: &mut Vec<u8>, epoch: u64) {
    out.extend(epoch.to_be_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 15].map(hex)));
}

const fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }
}

/// Bytes that are looked at together for one that needs an escape.
const STRIDE: usize = 16;

/// Appends `text`, which is UTF-8, as a JSON string.
pub fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, tail) = rest.split_at(plain_bytes(rest));
        out.extend_from_slice(plain);
        let Some((byte, tail)) = tail.split_first() else { break };
        push_escape(out, *byte);
        rest = tail;
    }
    out.push(b'"');
}

/// How many bytes at the front of `text` stand for themselves in a string.
fn plain_bytes(text: &[u8]) -> usize {
    let is_plain = |chunk: &&[u8]| !chunk.iter().fold(false, |any, byte| any | is_special(*byte));
    let plain = text.chunks_exact(STRIDE).take_while(is_plain).count() * STRIDE;
    let rest = text.get(plain..).unwrap_or_default();
    plain + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

/// RFC 8259 §7: quotation mark, reverse solidus, and the control characters.
const fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

#[cold]
fn push_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::EpochText;

    fn written(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn strings_read_back_whatever_is_in_them() {
        for seed in 0..2_000 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let length = dice.usize(..70);
            let text: String = (0..length)
                .map(|_| if dice.u8(..4) == 0 { dice.char('\0'..'\u{80}') } else { dice.char(..) })
                .collect();
            let json = written(|out| push_text(out, text.as_bytes()));
            let read: Result<String, _> = serde_json::from_str(&json);
            assert_eq!(read.ok().as_ref(), Some(&text), "seed {seed}: {json}");
        }
    }

    #[test]
    fn each_special_byte_is_escaped_and_no_other() {
        for byte in 0..=0x7f_u8 {
            let json = written(|out| push_text(out, &[byte]));
            let reference = serde_json::to_string(&char::from(byte)).expect("a string");
            let read: Result<char, _> = serde_json::from_str(&json);
            assert_eq!(read.ok(), Some(char::from(byte)));
            assert_eq!(json.len() > 3, reference.len() > 3, "{byte:#x}: {json}");
        }
    }

    #[test]
    fn epochs_and_numbers_are_written_as_by_the_slow_way() {
        for number in [0, 9, 10, 0xf00d, 1 << 53, u64::MAX] {
            assert_eq!(written(|out| push_number(out, number)), number.to_string());
            assert_eq!(written(|out| push_epoch(out, number)), EpochText(number).to_string());
        }
    }
}
