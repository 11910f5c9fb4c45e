//! Who joins which room and sends what, and whether what everybody saw agrees with it.
//!
//! Not here: the clients that carry it out (`crowd`, `node`). Invariants: a payload says who sent
//! it and which of its messages it is, over and over, so that any byte lost or moved shows; those
//! too short for that are sent by members only that get their own.

use std::collections::BTreeMap;

/// Bytes after which a payload repeats: eight digits for the sender, eight for the message.
pub(crate) const PERIOD: usize = 16;

/// The sender of the message that ends each room.
pub(crate) const END: u32 = 0xeeee_eeee;

/// The first sender that publishes over HTTP: one for each room.
pub(crate) const POSTS: u32 = 0x8000_0000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Text,
    Binary,
}

/// A message to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter {
    pub(crate) kind: Kind,
    pub(crate) bytes: usize,
}

/// A member, by its place its sender's number.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) room: usize,
    /// Whether it gets what it sends.
    pub(crate) echo: bool,
    pub(crate) letters: Vec<Letter>,
}

/// What is to happen.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rooms: usize,
    pub(crate) members: Vec<Member>,
    /// What is published over HTTP, in order, by room.
    pub(crate) posts: Vec<Vec<Letter>>,
}

/// A message as a member saw it: what of it can be told apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) bytes: usize,
    pub(crate) head: String,
}

/// The payload of a sender's message. Binary ones are no UTF-8.
pub(crate) fn payload(letter: Letter, sender: u32, nth: usize) -> Vec<u8> {
    let head = format!("{sender:08x}{nth:08x}");
    let mut bytes = head.into_bytes();
    if letter.kind == Kind::Binary {
        bytes.iter_mut().for_each(|byte| *byte ^= 0x80);
    }
    let mut payload = bytes.repeat(letter.bytes.div_ceil(PERIOD));
    payload.truncate(letter.bytes);
    payload
}

impl Seen {
    /// Looks at a message. Panics when its payload is not whole.
    pub(crate) fn new(kind: Kind, payload: &[u8]) -> Self {
        let head = &payload[..payload.len().min(PERIOD)];
        assert_eq!(
            payload.get(PERIOD..).unwrap_or_default(),
            &payload[..payload.len().saturating_sub(PERIOD)],
            "a payload of {} bytes is not what was sent",
            payload.len()
        );
        let flip = |byte: &u8| if kind == Kind::Binary { byte ^ 0x80 } else { *byte };
        let head = String::from_utf8(head.iter().map(flip).collect()).expect("digits");
        Self { kind, bytes: payload.len(), head }
    }

    /// Who sent it and which of its messages it is; none for a short one.
    pub(crate) fn place(&self) -> Option<(u32, usize)> {
        let number = |part: Option<&str>| u32::from_str_radix(part?, 16).ok();
        let (sender, nth) = (number(self.head.get(..8)), number(self.head.get(8..PERIOD)));
        Some((sender?, nth? as usize))
    }

    /// Whether it is the one that ends a room.
    pub(crate) fn is_end(&self) -> bool {
        self.place().is_some_and(|(sender, _)| sender == END)
    }
}

impl Plan {
    /// The room's name.
    pub(crate) fn name(room: usize) -> String {
        format!("e2e:{room}")
    }

    /// Messages that the room gets, without the one that ends it.
    pub(crate) fn publications(&self, room: usize) -> usize {
        let members = self.members.iter().filter(|member| member.room == room);
        members.map(|member| member.letters.len()).sum::<usize>() + self.posts[room].len()
    }

    /// Members of the room.
    pub(crate) fn members_of(&self, room: usize) -> usize {
        self.members.iter().filter(|member| member.room == room).count()
    }

    /// Checks that every member saw all that its room got, once, in one order for all: `seen` is by
    /// member, without the messages that end the rooms.
    pub(crate) fn verify(&self, seen: &[Vec<Seen>]) {
        assert_eq!(seen.len(), self.members.len());
        for room in 0..self.rooms {
            let places = || (0..seen.len()).filter(|place| self.members[*place].room == room);
            let first = places().find(|place| self.members[*place].echo);
            let reference = &seen[first.expect("a member of each room gets its own")];
            self.verify_content(room, reference);
            for place in places() {
                let own = u32::try_from(place).expect("few members");
                let is_own = |seen: &Seen| seen.place().is_some_and(|(sender, _)| sender == own);
                let echo = self.members[place].echo;
                let expected = reference.iter().filter(|seen| echo || !is_own(seen));
                for (nth, (saw, should)) in seen[place].iter().zip(expected.clone()).enumerate() {
                    assert_eq!(saw, should, "member {place} of room {room}, message {nth}");
                }
                assert_eq!(
                    seen[place].len(),
                    expected.count(),
                    "member {place} of room {room}: so many messages"
                );
            }
        }
    }

    /// Checks that the reference holds what was sent, each sender's messages in order.
    fn verify_content(&self, room: usize, reference: &[Seen]) {
        let mut by_sender: BTreeMap<Option<u32>, Vec<Seen>> = BTreeMap::new();
        for seen in reference {
            let sender = seen.place().map(|(sender, _)| sender);
            by_sender.entry(sender).or_default().push(seen.clone());
        }
        let mut sent: BTreeMap<Option<u32>, Vec<Seen>> = BTreeMap::new();
        for (place, member) in self.members.iter().enumerate() {
            if member.room == room {
                self.note(&mut sent, u32::try_from(place).expect("few members"), &member.letters);
            }
        }
        self.note(&mut sent, POSTS + u32::try_from(room).expect("few rooms"), &self.posts[room]);
        // Short ones don't say who sent them: only their number can be checked.
        for short in [sent.get_mut(&None), by_sender.get_mut(&None)].into_iter().flatten() {
            short.sort();
        }
        for (sender, letters) in &sent {
            let saw = by_sender.remove(sender).unwrap_or_default();
            assert_eq!(saw.len(), letters.len(), "room {room}, messages of sender {sender:x?}");
            for (saw, letter) in saw.iter().zip(letters) {
                assert_eq!(saw, letter, "room {room}, sender {sender:x?}");
            }
        }
        assert!(by_sender.is_empty(), "room {room} got what nobody sent: {by_sender:?}");
    }

    fn note(&self, sent: &mut BTreeMap<Option<u32>, Vec<Seen>>, sender: u32, letters: &[Letter]) {
        for (nth, letter) in letters.iter().enumerate() {
            let seen = Seen::new(letter.kind, &payload(*letter, sender, nth));
            let is_known = self.members.get(sender as usize).is_none_or(|member| member.echo);
            assert!(seen.place().is_some() || is_known, "short ones need a sender with echo");
            sent.entry(seen.place().map(|(sender, _)| sender)).or_default().push(seen);
        }
    }
}
