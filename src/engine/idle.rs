//! Rooms in which nothing happens: where the configuration says so, native connections are taken
//! out of them.
//!
//! Looked at when a connection's heartbeat is, so that delivering pays nothing for it but to note
//! the time once for each run. Invariant: the client is told, and gets nothing of the room after.

use super::asks::{Asked, What};
use super::joined::Standing;
use super::members::Place;
use super::session::Phase;
use super::shard::Shard;
use super::timers::TICK_MS;
use crate::broker::{ConnKey, Now, RoomName};
use crate::protocol::json;
use std::sync::Arc;

impl Shard {
    /// Takes a connection out of its rooms in which nothing was published for the time-out.
    pub(super) fn leave_idle(&mut self, key: ConnKey, tick: u32, now: Now) {
        let timeout_ms = self.settings.native.idle_room_timeout_ms;
        if timeout_ms == 0 || self.draining {
            return;
        }
        for (hash, place, name) in self.idle_rooms(key, timeout_ms.div_ceil(TICK_MS), tick) {
            let Some(native) = self.native(key) else { return };
            native.rooms.remove(hash, |membership| match &membership.standing {
                Standing::Pending(_) => false,
                Standing::Joined(other) => other.room == place.room,
            });
            let user = Arc::clone(&native.user);
            let Some((room, encoding)) = self.leave_table(place) else { continue };
            let what = What::Leave { room, encoding, answer: false };
            self.submit_ask(room.home, Asked { key, id: None, user, tag: 0, what }, now);
            self.answer_now(key, |out| json::push_left_idle(out, name.as_str()));
        }
    }

    fn idle_rooms(
        &self,
        key: ConnKey,
        timeout_ticks: u64,
        tick: u32,
    ) -> Vec<(u64, Place, RoomName)> {
        let session = self.sessions.get(key.index, key.generation);
        let Some(Phase::Native(native)) = session.map(|session| &session.phase) else {
            return Vec::new();
        };
        let idle = native.rooms.iter().filter_map(|membership| {
            let Standing::Joined(place) = &membership.standing else { return None };
            let room = self.members.get(place.room)?;
            let rests = u64::from(tick.saturating_sub(room.used)) >= timeout_ticks;
            let is_idle = rests && !room.name.is_internal();
            is_idle.then(|| (membership.hash, *place, room.name.clone()))
        });
        idle.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::super::settings::{NativeSettings, Settings};
    use crate::broker::{ConnKey, RoomOptions};
    use crate::ws::{self, Opcode};

    fn say(rig: &mut Rig, key: ConnKey, request: &str) {
        let mut frame = Vec::new();
        ws::push_masked_frame(&mut frame, Opcode::Text, request.as_bytes(), [1, 2, 3, 4]);
        rig.shard.handle_bytes(key, &mut frame, rig.now);
    }

    fn read(rig: &mut Rig, key: ConnKey) -> String {
        rig.shard.end_tick(rig.now);
        String::from_utf8_lossy(&rig.read_all(key)).into_owned()
    }

    /// What a member is told of its rooms `busy` and `quiet` within 3 minutes.
    fn told(idle_room_timeout_ms: u64) -> String {
        let native = NativeSettings { idle_room_timeout_ms, ..NativeSettings::default() };
        let settings = Settings { native, ..Settings::default() };
        let mut rig = Rig::with(RoomOptions::default(), settings);
        let keys = ["/ws", "/ws"].map(|target| rig.ask_for(target));
        for key in keys {
            say(&mut rig, key, r#"{"type":"hello","presence":true}"#);
            for room in ["busy", "quiet"] {
                say(&mut rig, key, &format!(r#"{{"type":"join-room","room":"{room}"}}"#));
            }
        }
        for key in keys {
            read(&mut rig, key);
        }
        let mut told = String::new();
        for second in 1..180 {
            rig.now = rig.now.plus_ms(1_000);
            rig.shard.handle_deadlines(rig.now);
            if second % 20 == 0 {
                say(&mut rig, keys[0], r#"{"type":"room-message","room":"busy","content":1}"#);
                say(&mut rig, keys[1], r#"{"type":"ping"}"#);
            }
            read(&mut rig, keys[0]);
            told.push_str(&read(&mut rig, keys[1]));
        }
        told
    }

    #[test]
    fn a_member_is_taken_out_of_a_room_in_which_nothing_happens() {
        let told = told(60_000);
        let left = r#"{"type":"room-left","room":"quiet","reason":"idle"}"#;
        assert_eq!(told.matches("room-left").count(), 1, "{told}");
        assert!(told.contains(left), "{told}");
        assert_eq!(told.matches(r#""type":"room-message""#).count(), 8, "{told}");
    }

    #[test]
    fn without_a_timeout_nobody_is() {
        assert!(!told(0).contains("room-left"));
    }
}
