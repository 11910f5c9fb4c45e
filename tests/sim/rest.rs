//! How a run ends: at rest everything is checked, then all leave, fall silent, or are drained, and
//! nothing may be left.
//!
//! Not here: the laws at rest (`laws`).

use super::client::{Kernel, Kind};
use super::guard::Guard;
use super::world::HISTORY_AGE_MAX;
use super::world::World;
use super::{Law, Mutation, Violation, hold};
use fanfare::limits::{CLOSE_TIMEOUT_MS, DRAIN_WINDOW_MS, ROOM_GRACE_MS};
use std::collections::HashMap;

/// The largest vector that a loop keeps for its next answers, and what it may grow by.
const KEPT_BYTES_MAX: u64 = 1024 * 1024 + 128 * 1024;

impl World {
    /// Brings the run to rest and checks it, ends everybody, and checks what is left.
    pub(crate) fn finish(&mut self) -> Result<(), Violation> {
        self.heal_all();
        self.rest()?;
        self.probe()?;
        self.check_rest()?;
        match self.dice.u8(..4) {
            0 => self.drain()?,
            1 => {
                self.fall_silent()?;
                self.leave_all()?;
            }
            _ => self.leave_all()?,
        }
        self.pass(2 * CLOSE_TIMEOUT_MS)?;
        self.check_swept()?;
        self.pass(3 * ROOM_GRACE_MS + HISTORY_AGE_MAX)?;
        self.check_empty()
    }

    /// Law 8, at once: whatever was there for connections has gone with them.
    fn check_swept(&self) -> Result<(), Violation> {
        for (at, shard) in self.shards.iter().enumerate() {
            let swept = shard.sweep();
            hold(Law::Close, swept.is_ok(), || format!("loop {at} is left with {swept:?}"))?;
        }
        Ok(())
    }

    /// Goes on with the same loops, empty as they are: rooms begin anew.
    pub(crate) fn begin_again(&mut self) -> Result<(), Violation> {
        self.clients.clear();
        self.names.iter_mut().for_each(HashMap::clear);
        self.guard.iter_mut().for_each(Guard::begin_again);
        (self.began_ms, self.turns) = (self.now.mono_ms, 0);
        self.let_witnesses_in()
    }

    /// Posts to every room: the answer counts its members, and each of them gets it.
    fn probe(&mut self) -> Result<(), Violation> {
        for room in 0..self.rooms.len() {
            let before = self.members_of(room);
            let poster = self.open(room, Kind::Poster);
            self.say(poster, 64);
            self.rest()?;
            let after = self.members_of(room);
            let Some(ack) = self.clients[poster].acks.first() else {
                return hold(Law::Credit, false, || format!("no answer from room {room}"));
            };
            let counted = ack.receivers as usize;
            hold(Law::Close, before != after || counted == after, || {
                format!("room {room} has {after} members and counts {counted}")
            })?;
        }
        Ok(())
    }

    fn leave_all(&mut self) -> Result<(), Violation> {
        let mut all: Vec<usize> = (0..self.clients.len()).collect();
        self.dice.shuffle(&mut all);
        for id in all {
            if self.dice.u8(..6) == 0 {
                self.clients[id].kernel = Kernel::Stalled;
            }
            let way = self.dice.u16(..);
            self.end(id, way);
            for _ in 0..self.dice.u8(..3) {
                self.step(self.now.mono_ms + 5)?;
            }
        }
        Ok(())
    }

    /// Some peers vanish without a word: they are closed in time, and nobody else is.
    fn fall_silent(&mut self) -> Result<(), Violation> {
        for client in self.clients.iter_mut().filter(|client| client.kind != Kind::Bearer) {
            if self.dice.bool() {
                client.responsive = false;
            }
        }
        self.pass(40_500)?;
        for client in self.clients.iter().filter(|client| client.is_websocket() && !client.left) {
            let id = client.id;
            if client.kind == Kind::Bearer {
                continue; // Its token may end meanwhile.
            }
            if client.responsive {
                hold(Law::Heartbeat, client.ever_slow || client.gone.is_none(), || {
                    format!("client {id} answers pings and is gone: {:?}", client.gone)
                })?;
            } else {
                hold(Law::Heartbeat, client.gone.is_some(), || {
                    format!("client {id} fell silent and is still there")
                })?;
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Violation> {
        for room in 0..self.rooms.len() {
            let poster = self.open(room, Kind::Poster);
            self.clients[poster].kernel = Kernel::Stalled;
            self.say(poster, 64);
        }
        self.rest()?;
        let now = self.now;
        for at in 0..self.shards.len() {
            if at == 0 && self.mutation == Mutation::ForgetDrain {
                self.mutations += 1;
                continue;
            }
            self.shards[at].handle_drain(now);
            self.wake_at[at] = Some(now.mono_ms);
        }
        self.pass(500)?;
        self.heal_all();
        self.pass(DRAIN_WINDOW_MS + CLOSE_TIMEOUT_MS + 500)?;
        for (at, shard) in self.shards.iter().enumerate() {
            hold(Law::Drain, shard.is_drained(), || format!("loop {at} is not drained"))?;
        }
        for client in self.clients.iter().filter(|client| !client.left) {
            let (id, unanswered) = (client.id, client.sent.len() - client.acks.len());
            match client.kind {
                Kind::Member { .. } | Kind::Native => {
                    hold(
                        Law::Drain,
                        !client.is_faithful() || client.close == Some(Some(1001)),
                        || format!("client {id} was drained and told {:?}", client.close),
                    )?;
                }
                Kind::Bearer => {
                    let code = client.close.unwrap_or(Some(1001));
                    let fits = matches!(code, Some(1001 | 4001 | 1008));
                    hold(Law::Drain, fits, || format!("client {id} was told {code:?}"))?;
                }
                Kind::Poster => {
                    hold(Law::Drain, unanswered == 0, || {
                        format!("client {id} was drained with {unanswered} answers to come")
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Law 8: of who left, nothing is left.
    fn check_empty(&self) -> Result<(), Violation> {
        let (mut joins, mut leaves) = (0, 0);
        for (at, shard) in self.shards.iter().enumerate() {
            let swept = shard.sweep_late();
            hold(Law::Close, swept.is_ok(), || format!("loop {at} is left with {swept:?}"))?;
            let counters = shard.counters();
            let left = [
                counters.connections,
                counters.websockets,
                counters.natives,
                counters.spill_bytes,
                counters.outbox_bytes,
                counters.outgoing_bytes,
            ];
            hold(Law::Close, left == [0; 6], || {
                format!(
                    "loop {at} counts {left:?} (connections, websockets, natives, spills, \
                     outboxes, links)"
                )
            })?;
            hold(Law::Close, counters.rooms_created == counters.rooms_deleted, || {
                format!("loop {at} created {} rooms", counters.rooms_created)
            })?;
            hold(Law::Close, counters.pinned_bytes <= KEPT_BYTES_MAX, || {
                format!("loop {at} keeps {} bytes", counters.pinned_bytes)
            })?;
            (joins, leaves) = (joins + counters.joins, leaves + counters.leaves);
        }
        hold(Law::Close, joins == leaves, || format!("{joins} joined and {leaves} left"))?;
        let open = self.clients.iter().find(|client| client.opened && client.gone.is_none());
        hold(Law::Close, open.is_none(), || format!("{open:?} is still open"))
    }
}
