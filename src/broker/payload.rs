//! What a message carries, and the forms in which a room's members may get it.

/// The kind of a payload, kept from the publisher to every member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadKind {
    /// UTF-8 text.
    Text,
    /// Opaque bytes.
    Binary,
    /// One JSON value; raw members get its bytes in a text frame.
    Json,
}

/// The shape of a room's messages. All members of one form get the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Bare payloads in WebSocket frames, for `/raw/{room}`.
    Raw,
    /// One JSON object for each message.
    Json,
    /// One JSON object for all messages of a tick or flush interval.
    Batch,
    /// Binary records; notices as JSON.
    Binary,
}

/// Whether, and for which receivers, messages are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deflate {
    /// Not at all.
    Off,
    /// Where that pays, for clients that keep a window of 32 KiB.
    Full,
    /// Where that pays, for a window of 512 bytes, which fits every smaller one.
    Small,
}

/// The wire form of a room's messages. All members of one encoding get the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoding {
    /// The shape.
    pub form: Form,
    /// The compression.
    pub deflate: Deflate,
}

impl Form {
    /// How many forms there are; the length of any table with an entry for each.
    pub const COUNT: usize = 4;

    /// Every form, in the order of [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = [Self::Raw, Self::Json, Self::Batch, Self::Binary];

    /// Place in a table with one entry per form.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether its members can be told of anything beside payloads.
    pub const fn has_notices(self) -> bool {
        match self {
            Self::Raw => false,
            Self::Json | Self::Batch | Self::Binary => true,
        }
    }
}

impl Deflate {
    /// Every kind of compression, in the order of [`Encoding::index`].
    pub const ALL: [Self; 3] = [Self::Off, Self::Full, Self::Small];
}

impl Encoding {
    /// Bare payloads, uncompressed.
    pub const RAW: Self = Self { form: Form::Raw, deflate: Deflate::Off };

    /// How many encodings there are; the length of any table with an entry for each.
    pub const COUNT: usize = Form::COUNT * Deflate::ALL.len();

    /// Place in a table with one entry per encoding; those of one form lie together.
    pub const fn index(self) -> usize {
        self.form.index() * Deflate::ALL.len() + self.deflate as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_has_a_place_of_its_own() {
        let of_form = |form| Deflate::ALL.map(|deflate| Encoding { form, deflate }.index());
        let places: Vec<usize> = Form::ALL.into_iter().flat_map(of_form).collect();
        assert_eq!(places, (0..Encoding::COUNT).collect::<Vec<_>>());
    }
}
