//! Who is where: members and publishers in the order of their connecting.
//!
//! Invariant: publishers of all rooms are last, so that with a server that writes in the order of
//! joining, a publisher's own message comes back last.

use super::shape::Shape;

/// A connection, and the room it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) room: u32,
    /// Its place among the publishers of all rooms, and its number within its own.
    pub(super) publisher: Option<(usize, u32)>,
}

/// A member that publishes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publisher {
    pub(super) conn: usize,
    pub(super) room: u32,
    pub(super) number: u32,
    /// Messages it may send now.
    pub(super) credit: u32,
}

/// Everybody in the order of connecting: rooms in turn, publishers of all rooms last.
pub(super) fn seats(shape: &Shape) -> Vec<Member> {
    let Shape { rooms, members, publishers, .. } = *shape;
    let rooms_of = |_| (0..).take(rooms);
    let others =
        (0..members - publishers).flat_map(rooms_of).map(|room| Member { room, publisher: None });
    let last = (0..publishers).flat_map(|number| rooms_of(number).map(move |room| (room, number)));
    let last = last.enumerate().map(|(place, (room, number))| {
        let number = u32::try_from(number).expect("fewer publishers than descriptors");
        Member { room, publisher: Some((place, number)) }
    });
    others.chain(last).collect()
}

/// Those of them that publish, in the same order.
pub(super) fn publishers(members: &[Member]) -> Vec<Publisher> {
    let publisher = |(conn, member): (usize, &Member)| {
        let (_, number) = member.publisher?;
        Some(Publisher { conn, room: member.room, number, credit: 0 })
    };
    members.iter().enumerate().filter_map(publisher).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_are_the_last_to_join_and_every_room_has_its_own() {
        let members = seats(&Shape::of(3, 4, 2));
        assert_eq!(members.len(), 12);
        for room in 0..3 {
            assert_eq!(members.iter().filter(|member| member.room == room).count(), 4);
        }
        let publishers = publishers(&members);
        let told: Vec<_> = publishers.iter().map(|p| (p.conn, p.room, p.number)).collect();
        assert_eq!(told, [(6, 0, 0), (7, 1, 0), (8, 2, 0), (9, 0, 1), (10, 1, 1), (11, 2, 1)]);
        for (place, publisher) in publishers.iter().enumerate() {
            assert_eq!(members[publisher.conn].publisher, Some((place, publisher.number)));
        }
    }
}
