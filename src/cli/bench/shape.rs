//! The shape of a load: who is where, and what is said.
//!
//! Not here: the load itself (`crowd`). Invariant: a shape that was checked fits into memory and
//! into the numbers of a stamp.

use super::bounds::{
    ACCOUNTS_MAX, CONNECTIONS_MAX, SIZE_BYTES_MAX, UNDER_WAY_BYTES_MAX, path, product,
};
use super::client::{Content, Draft, Masking, Protocol, STAMP_BYTES, fill, text_draft};
use super::pace::Pace;
use crate::ws::DataKind;

/// Who is where, and what is said.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// The name of the room, or of all rooms less their number.
    pub(super) room: String,
    pub(super) rooms: usize,
    /// Members of each room, its publishers among them.
    pub(super) members: usize,
    pub(super) publishers: usize,
    /// Payload bytes of a message.
    pub(super) size: usize,
    pub(super) kind: DataKind,
    pub(super) masking: Masking,
    pub(super) content: Content,
    /// Whether members offer permessage-deflate.
    pub(super) deflate: bool,
    /// What is spoken in rooms.
    pub(super) protocol: Protocol,
    /// Whether members ask for several messages in one frame.
    pub(super) batch: bool,
    pub(super) pace: Pace,
    /// The request target, `{room}` for the room's name.
    pub(super) path: String,
    /// What a message looks like, where it is not its payload alone.
    pub(super) message: Option<String>,
    /// What each member sends first, where joining takes more than a path.
    pub(super) join: Option<String>,
}

impl Shape {
    /// Says what about it can't be asked for.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { rooms, members, publishers, size, .. } = *self;
        if publishers > members {
            return Err(format!("{publishers} publishers of {members} members (--pubs, --subs)"));
        }
        if size < STAMP_BYTES {
            return Err(format!(
                "--size is at least {STAMP_BYTES}: what a message says about itself"
            ));
        }
        if size > SIZE_BYTES_MAX {
            return Err(format!("--size is at most {SIZE_BYTES_MAX}"));
        }
        let window = match self.pace {
            Pace::Window(window) => usize::try_from(window).unwrap_or(usize::MAX),
            Pace::Rate(_) => 1,
        };
        product(&[rooms, members], CONNECTIONS_MAX, "connections (--rooms, --subs)")?;
        let accounts = "accounts of members with publishers (--rooms, --subs, --pubs)";
        product(&[rooms, members, publishers], ACCOUNTS_MAX, accounts)?;
        let bytes = "bytes under way (--rooms or --conns, --pubs, --window, --size)";
        product(&[rooms, publishers, window, size], UNDER_WAY_BYTES_MAX, bytes)?;
        path(&self.target(0))
    }

    /// Connections that it takes.
    pub(super) const fn connections(&self) -> usize {
        self.rooms * self.members
    }

    /// The payload bytes that a member must get, where the server sends what it got.
    pub(super) fn delivered_bytes(&self) -> Option<u64> {
        self.message.is_none().then_some(self.size as u64)
    }

    /// The name of a room.
    pub(super) fn room_name(&self, room: u32) -> String {
        if self.rooms == 1 { self.room.clone() } else { format!("{}-{room}", self.room) }
    }

    /// The request target of a room.
    pub(super) fn target(&self, room: u32) -> String {
        fill(&self.path, &self.room_name(room))
    }

    /// What is sent: one draft for all rooms, or one each where a message names its room. Records
    /// need the handles that joining gives.
    pub(super) fn drafts(&self) -> Vec<Draft> {
        match &self.message {
            None if self.protocol == Protocol::Json => (0..)
                .take(self.rooms)
                .map(|room| text_draft(&self.room_name(room), self.size))
                .collect(),
            None => vec![Draft::plain(self.kind, self.content, self.size)],
            Some(template) => (0..)
                .take(self.rooms)
                .map(|room| Draft::templated(template, &self.room_name(room), self.size))
                .collect(),
        }
    }

    /// A shape for tests.
    #[cfg(test)]
    pub(super) fn of(rooms: usize, members: usize, publishers: usize) -> Self {
        Self {
            room: "r".to_owned(),
            rooms,
            members,
            publishers,
            size: 128,
            kind: DataKind::Binary,
            masking: Masking::Random,
            content: Content::Dots,
            deflate: false,
            protocol: Protocol::Raw,
            batch: false,
            pace: Pace::Window(1),
            path: "/raw/{room}".to_owned(),
            message: None,
            join: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rooms_have_numbers_and_one_has_none() {
        assert_eq!(Shape::of(1, 1, 1).target(0), "/raw/r");
        assert_eq!(Shape::of(2, 1, 1).target(1), "/raw/r-1");
    }

    #[test]
    fn a_path_that_is_none_is_refused() {
        let of = |room: &str, path: &str| {
            let (room, path) = (room.to_owned(), path.to_owned());
            Shape { room, path, ..Shape::of(1, 1, 1) }.check()
        };
        for (room, path) in
            [("a b", "/raw/{room}"), ("a", "raw"), ("a", "/x\r\nHost: y"), ("é", "/{room}")]
        {
            assert!(of(room, path).expect_err(path).contains("is no path"), "{room:?}, {path:?}");
        }
        assert_eq!(of("a b", "/chat?x=%20"), Ok(()), "what only a template names may be anything");
    }

    #[test]
    fn what_is_too_much_is_named_with_its_flags() {
        let sized = |size| Shape { size, ..Shape::of(1, 1, 1) };
        let window = Shape { pace: Pace::Window(u32::MAX), ..Shape::of(1, 1, 1) };
        for (shape, said) in [
            (Shape::of(1, 1, 2), "(--pubs, --subs)"),
            (sized(STAMP_BYTES - 1), "--size is at least 40"),
            (sized(SIZE_BYTES_MAX + 1), "--size is at most 16777216"),
            (Shape::of(1_000, 1_001, 1), "connections (--rooms, --subs)"),
            (Shape::of(usize::MAX, usize::MAX, 1), "connections (--rooms, --subs)"),
            (Shape::of(1, 10_000, 10_000), "accounts"),
            (window, "bytes under way"),
        ] {
            let wrong = shape.check().expect_err(said);
            assert!(wrong.contains(said), "{wrong}");
        }
        for shape in [sized(STAMP_BYTES), sized(SIZE_BYTES_MAX), Shape::of(1_000, 1_000, 1)] {
            assert_eq!(shape.check(), Ok(()));
        }
    }
}
