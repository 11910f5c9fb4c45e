//! A crowd in memory, and what one among them does: what that costs must not depend on the crowd.

use super::hall::Hall;
use fanfare::broker::{ConnKey, PresenceMode, PresenceOptions, RoomOptions, RoomPolicies};
use fanfare::engine::Settings;
use fanfare::limits::ROOMS_PER_CONN_MAX;

/// A shard with a crowd, and those of them who do something.
pub(crate) struct Crowd {
    hall: Hall,
    keys: Vec<ConnKey>,
}

impl Crowd {
    /// So many native members in one room, or one in each of so many; and one beside them that is
    /// in none. Nobody is told who comes and goes.
    pub(crate) fn crowded(members: usize, rooms: usize) -> Self {
        let presence = PresenceOptions { mode: PresenceMode::Off, ..PresenceOptions::default() };
        let options = RoomOptions { presence, ..RoomOptions::default() };
        let policies = RoomPolicies::new(options, Vec::new());
        let mut hall = Hall::of(Settings { policies, ..Settings::default() });
        let mut left = rooms;
        for _ in 0..members.max(rooms.div_ceil(ROOMS_PER_CONN_MAX)) {
            let key = hall.open_native();
            for _ in 0..left.min(ROOMS_PER_CONN_MAX) {
                let nth = if rooms > 1 { left } else { 1 };
                left -= usize::from(rooms > 1);
                hall.send(key, &format!(r#"{{"type":"join-room","room":"room-{nth}"}}"#));
            }
            hall.deliver();
        }
        let keys = vec![hall.open_native()];
        Self { hall, keys }
    }

    /// So many native members of a room, and one more; they are told who comes and goes.
    pub(crate) fn gathered(members: usize) -> Self {
        let mut hall = Hall::of(Settings::default());
        let mut keys = Vec::new();
        for _ in 0..=members {
            let key = hall.open_native();
            hall.send(key, r#"{"type":"join-room","room":"room-1"}"#);
            hall.deliver();
            keys.push(key);
        }
        keys.pop(); // One more stays.
        Self { hall, keys }
    }

    /// All but one are gone at once. The bytes that the one is told.
    pub(crate) fn crash(&mut self) -> usize {
        for key in std::mem::take(&mut self.keys) {
            self.hall.shard.handle_error(key, self.hall.now);
        }
        self.hall.deliver()
    }

    /// Joins the first room, perhaps says something in it, and leaves it. The bytes of it all.
    pub(crate) fn errand(&mut self, publishes: bool) -> usize {
        let Some(&key) = self.keys.first() else { return 0 };
        self.hall.send(key, r#"{"type":"join-room","room":"room-1","id":1}"#);
        let mut bytes = self.hall.deliver();
        if publishes {
            self.hall
                .send(key, r#"{"type":"room-message","room":"room-1","content":"hello","id":2}"#);
            bytes += self.hall.deliver();
        }
        self.hall.send(key, r#"{"type":"leave-room","room":"room-1","id":3}"#);
        bytes + self.hall.deliver()
    }
}
