//! The floor's rooms: who has which path.

use std::collections::HashMap;

/// Rooms by path.
#[derive(Default, Debug)]
pub(super) struct Rooms {
    by_path: HashMap<Vec<u8>, usize>,
    /// The members of each, by their place.
    members: Vec<Vec<usize>>,
}

impl Rooms {
    /// The room of that path, with one more member.
    pub(super) fn join(&mut self, path: &[u8], member: usize) -> usize {
        let room = match self.by_path.get(path) {
            Some(room) => *room,
            None => {
                self.members.push(Vec::new());
                let room = self.members.len() - 1;
                self.by_path.insert(path.to_vec(), room);
                room
            }
        };
        if let Some(members) = self.members.get_mut(room) {
            members.push(member);
        }
        room
    }

    /// Takes a member off a room. The order of the others stays.
    pub(super) fn leave(&mut self, room: usize, member: usize) {
        if let Some(members) = self.members.get_mut(room) {
            members.retain(|other| *other != member);
        }
    }

    /// The members of a room, in the order of their joining.
    pub(super) fn members(&self, room: usize) -> &[usize] {
        self.members.get(room).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_go_by_path() {
        let mut rooms = Rooms::default();
        let (a, b) = (rooms.join(b"/raw/a", 0), rooms.join(b"/raw/b", 1));
        assert_ne!(a, b);
        assert_eq!(rooms.join(b"/raw/a", 2), a);
        assert_eq!(rooms.members(a), [0, 2]);
        rooms.leave(a, 0);
        assert_eq!((rooms.members(a), rooms.members(b)), (&[2][..], &[1][..]));
    }
}
