//! Names that were chosen to do harm: rooms and users of an attacker.
//!
//! Each has a long front that all share, for tables in order, and the same low bits under a hash
//! whose key the attacker knows, for tables by hash. Invariant: all are different.

use super::hall::Hall;
use fanfare::broker::{
    ConnKey, LoopId, PresenceMode, PresenceOptions, Role, RoomOptions, RoomPolicies, User, Users,
};
use fanfare::engine::Settings;
use fanfare::limits::ROOMS_PER_CONN_MAX;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Arc;

/// What all begin with.
const FRONT: &str = "an:attacker:knows:that:names:are:compared:from:the:front:on:";

/// Low bits of the known hash that are the same in all.
const SAME: u64 = 0xFF;

/// So many.
pub(crate) fn chosen(count: usize) -> Vec<String> {
    let mut known = SipHasher13::new();
    known.write(FRONT.as_bytes());
    let collides = |name: &String| {
        let mut hasher = known;
        hasher.write(name.get(FRONT.len()..).unwrap_or_default().as_bytes());
        hasher.finish() & SAME == 7
    };
    (0_u64..).map(|nth| format!("{FRONT}{nth:x}")).filter(collides).take(count).collect()
}

/// A hall in which one room for each name is made; so many in all.
pub(crate) struct Rooms {
    hall: Hall,
    keys: Vec<ConnKey>,
}

impl Rooms {
    /// Those who will make them.
    pub(crate) fn new(count: usize) -> Self {
        let presence = PresenceOptions { mode: PresenceMode::Off, ..PresenceOptions::default() };
        let options = RoomOptions { presence, ..RoomOptions::default() };
        let policies = RoomPolicies::new(options, Vec::new());
        let settings = Settings { policies, rooms_max: count, ..Settings::default() };
        let mut hall = Hall::of(settings);
        let keys = (0..count.div_ceil(ROOMS_PER_CONN_MAX)).map(|_| hall.open_native()).collect();
        Self { hall, keys }
    }

    /// Makes them. The bytes of all answers.
    pub(crate) fn make(&mut self, names: &[String]) -> usize {
        let mut bytes = 0;
        for (key, names) in self.keys.iter().zip(names.chunks(ROOMS_PER_CONN_MAX)) {
            for name in names {
                self.hall.send(*key, &format!(r#"{{"type":"join-room","room":"{name}"}}"#));
                bytes += self.hall.deliver();
            }
        }
        assert_eq!(self.hall.shard.counters().rooms, names.len() as u64, "every room is there");
        bytes
    }
}

/// Users who all come at once.
pub(crate) fn connect(names: &[String]) -> usize {
    let mut users = Users::new();
    for (index, name) in (0..).zip(names) {
        let user = Arc::new(User::new(name, "a", Role::Member).expect("a short name"));
        users.connect(&user, (LoopId(0), ConnKey { index, generation: 0 }), 0);
    }
    assert_eq!(users.len(), names.len(), "every user is there");
    users.len()
}
