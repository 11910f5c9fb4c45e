//! One turn of one loop, by the contract of `Shard`: what came in, the tick's end, what goes out.
//!
//! Not here: when a loop turns (`world`). Invariant: what a real loop could not see, a shard is not
//! told: no read of a paused connection, no write to a blocked one.

use super::client::{Client, Ending, Kernel, Kind};
use super::native::Asked;
use super::world::{PAYLOAD_MAX, World};
use super::{Law, Mutation, Violation, hold};
use fanfare::auth::Trust;
use fanfare::broker::{ConnKey, LoopId, PeerAddr};
use fanfare::engine::{Action, Admission, Appetite, Notice, Progress, fault};
use fanfare::limits::{CREDIT_BYTES, CREDIT_COMMANDS, OUTBOX_HIGH_WATER_BYTES, OUTGOING_BYTES_MAX};
use std::io::IoSlice;

/// Control frames, the answer to the handshake and frame headers: what an outbox holds beside.
const BESIDE_BYTES: usize = 4 * 1024;

/// An answer without a list.
const ANSWER_BYTES: usize = 256;

/// What a home may hold for one loop: its bound when weighed, what is staged on top, the commands
/// that credit allows, each with as much again for the fixed parts of small messages.
const OUTGOING_PER_LOOP_MAX: usize =
    2 * (2 * OUTGOING_BYTES_MAX + CREDIT_BYTES as usize + 3 * PAYLOAD_MAX);

impl World {
    pub(crate) fn tick(&mut self, at: usize) -> Result<(), Violation> {
        self.take_actions(at)?;
        self.take_inbox(at)?;
        let mut here: Vec<usize> =
            (0..self.clients.len()).filter(|id| self.clients[*id].shard == at).collect();
        self.dice.shuffle(&mut here);
        for id in here {
            self.feed(id);
        }
        let now = self.now;
        self.shards[at].handle_deadlines(now);
        self.shards[at].end_tick(now);
        self.send_batches(at)?;
        self.write_dirty(at)?;
        self.take_actions(at)?;
        self.take_notices(at);
        self.check_bounds(at)?;
        self.see_ends(at);
        self.contexts_met = self.contexts_met.max(self.shards[at].counters().contexts);
        let timeout = self.shards[at].poll_timeout(now);
        let sleeps_on = self.mutation == Mutation::SleepOn && timeout.is_some_and(|ms| ms < 2);
        self.mutations += u32::from(sleeps_on);
        self.wake_at[at] = timeout.filter(|_| !sleeps_on).map(|ms| now.mono_ms + ms);
        Ok(())
    }

    fn take_inbox(&mut self, at: usize) -> Result<(), Violation> {
        let mut origins: Vec<usize> = (0..self.shards.len()).collect();
        self.dice.shuffle(&mut origins);
        for from in origins {
            for _ in 0..self.dice.usize(1..=4) {
                if self.shards[at].is_behind() {
                    return Ok(());
                }
                let now = self.now;
                let link = self.link(from, at);
                if link.front().is_none_or(|(arrives, _)| *arrives > now.mono_ms) {
                    break;
                }
                let Some((_, mut batch)) = link.pop_front() else { break };
                self.mutate_taken(at, &mut batch);
                let (commands, bytes) = fault::credit(&batch);
                let account = &mut self.under_way[at][from];
                let covered = commands <= account.0 && bytes <= account.1;
                hold(Law::Credit, covered, || "more came back than was spent".to_owned())?;
                *account = (account.0 - commands, account.1 - bytes);
                self.shards[at].handle_batch(batch, now);
            }
        }
        Ok(())
    }

    /// What the client's socket has for its loop in this turn.
    fn feed(&mut self, id: usize) {
        let now = self.now;
        let client = &mut self.clients[id];
        let shard = &mut self.shards[client.shard];
        if !client.opened {
            client.opened = true;
            let key = {
                let peer = client.address.map(|address| PeerAddr::Ip([address; 16]));
                let trust = peer.map_or(Trust::Proxy, |_| Trust::Stranger);
                shard.handle_open(Admission::Served, trust, peer, now)
            };
            client.key = Some(key);
            client.heard_at = now.mono_ms;
            self.names[client.shard].insert(key, id);
        }
        let Some(key) = client.key else { return };
        if self.mutation == Mutation::FeedSilent && !client.responsive {
            self.mutations += 1;
            shard.handle_bytes(key, &mut [], now);
        }
        if client.blocked && client.writable_at.is_some_and(|at| at <= now.mono_ms) {
            (client.blocked, client.writable_at) = (false, None);
            client.heard_at = now.mono_ms;
            shard.handle_writable(key, now);
        }
        for _ in 0..self.dice.usize(1..=3) {
            if client.wire.is_empty() || client.paused {
                break;
            }
            let len = client.wire.len();
            let piece = match self.dice.u8(..8) {
                0 => self.dice.usize(1..=len.min(8)),
                1..4 => self.dice.usize(1..=len),
                _ => len,
            };
            let mut bytes: Vec<u8> = client.wire.drain(..piece.min(256 * 1024)).collect();
            (client.heard_at, client.pinged) = (now.mono_ms, false);
            let appetite = shard.handle_bytes(key, &mut bytes, now);
            client.paused = appetite == Appetite::Pause;
        }
        match client.ending {
            Ending::No | Ending::Done => {}
            Ending::Eof if client.wire.is_empty() => {
                client.ending = Ending::Done;
                shard.handle_eof(key, now);
            }
            Ending::Reset if client.wire.is_empty() || client.paused => {
                client.ending = Ending::Done;
                shard.handle_error(key, now);
            }
            Ending::Eof | Ending::Reset => {}
        }
    }

    fn send_batches(&mut self, at: usize) -> Result<(), Violation> {
        while let Some((to, mut batch)) = self.shards[at].poll_batch() {
            let to = to.index();
            hold(Law::Wire, to != at, || "a loop sent itself a batch".to_owned())?;
            if self.inbox_len(to) >= self.inbox_max {
                let back = LoopId(u8::try_from(to).expect("few loops"));
                self.shards[at].handle_refused_batch(back, batch);
                continue;
            }
            let (commands, bytes) = fault::publishes(&batch);
            let account = &mut self.under_way[at][to];
            *account = (account.0 + commands, account.1 + bytes);
            let (commands, bytes) = *account;
            let within = commands <= u64::from(CREDIT_COMMANDS)
                && bytes <= u64::from(CREDIT_BYTES) + PAYLOAD_MAX as u64;
            hold(Law::Credit, within, || {
                format!("{commands} commands and {bytes} bytes are under way from {at} to {to}")
            })?;
            self.mutate_sent(at, to, &mut batch);
            let arrives = self.arrival(at, to);
            self.link(at, to).push_back((arrives, batch));
            self.mutate_link(at, to);
        }
        Ok(())
    }

    fn write_dirty(&mut self, at: usize) -> Result<(), Violation> {
        let budget = if self.dice.u8(..8) == 0 { self.dice.usize(..3) } else { usize::MAX };
        for _ in 0..budget {
            let Some(key) = self.shards[at].poll_dirty() else { break };
            let id = self.names[at].get(&key).copied();
            let Some(id) = id.filter(|id| self.clients[*id].key == Some(key)) else {
                return hold(Law::Wire, false, || format!("{key:?} has output and is nobody"));
            };
            self.write(id, key)?;
        }
        Ok(())
    }

    fn write(&mut self, id: usize, key: ConnKey) -> Result<(), Violation> {
        let now = self.now;
        let at = self.clients[id].shard;
        let mut slices = [IoSlice::new(&[]); 64];
        let most = if self.dice.u8(..4) == 0 { self.dice.usize(1..=3) } else { slices.len() };
        let filled = self.shards[at].output(key, &mut slices[..most]);
        let mut offered: Vec<u8> =
            slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
        let client = &mut self.clients[id];
        hold(Law::Wire, !offered.is_empty() && !client.blocked, || {
            format!("client {id} was offered {} bytes, blocked: {}", offered.len(), client.blocked)
        })?;
        let taken = match client.kernel {
            Kernel::Ready => offered.len(),
            Kernel::Slow(most) => self.dice.usize(..=most.min(offered.len())),
            Kernel::Stalled => 0,
        };
        let mut progress = Progress::Blocked;
        if taken == offered.len() {
            progress = Progress::Ready;
        }
        if self.mutation == Mutation::BlockReady && self.dice.u8(..8) == 0 {
            self.mutations += 1;
            progress = Progress::Blocked;
        } else if progress == Progress::Blocked && taken > 0 && self.dice.u8(..4) == 0 {
            progress = Progress::Part;
        } else if progress == Progress::Blocked && client.kernel != Kernel::Stalled {
            client.writable_at = Some(now.mono_ms + self.dice.u64(..30));
        }
        client.blocked = progress == Progress::Blocked;
        let pongs_only = self.mutation == Mutation::LosePongs && client.wire.is_empty();
        if let Some(native) = &mut client.native {
            native.now_ms = now.mono_ms;
        }
        self.mutate_written(&mut offered[..taken]);
        let client = &mut self.clients[id];
        client.receive(&offered[..taken])?;
        self.hear(id)?;
        let client = &mut self.clients[id];
        if taken > 0 && !client.pinged {
            client.heard_at = now.mono_ms;
        }
        if pongs_only && !client.wire.is_empty() {
            client.wire.clear();
            self.mutations += 1;
        }
        self.shards[at].handle_written(key, taken, progress, now);
        Ok(())
    }

    fn take_actions(&mut self, at: usize) -> Result<(), Violation> {
        while let Some(action) = self.shards[at].poll_action() {
            let (Action::Resume(key) | Action::Shutdown(key) | Action::Close { key, .. }) = action;
            let id = self.names[at].get(&key).copied();
            let Some(id) = id.filter(|id| self.clients[*id].key == Some(key)) else {
                return hold(Law::Wire, false, || format!("{action:?} is for nobody"));
            };
            let now = self.now.mono_ms;
            let client = &mut self.clients[id];
            match action {
                Action::Resume(_) => client.paused = false,
                Action::Shutdown(_) if client.responsive && client.ending == Ending::No => {
                    client.ending = Ending::Eof;
                }
                Action::Shutdown(_) => {}
                Action::Close { reason, code, .. } => {
                    client.key = None;
                    (client.blocked, client.writable_at) = (false, None);
                    client.gone = Some((reason, code));
                    client.gone_at = now;
                    client.wire.clear();
                    check_heartbeat(client, now)?;
                    self.check_bearer_gone(id)?;
                }
            }
        }
        Ok(())
    }

    fn take_notices(&mut self, at: usize) {
        while let Some(notice) = self.shards[at].poll_notice() {
            let Notice::Gap { key, gap, .. } = notice else { continue };
            if self.mutation == Mutation::LoseGap {
                self.mutations += 1;
                continue;
            }
            if let Some(id) = self.names[at].get(&key) {
                self.clients[*id].gaps.push(gap);
            }
        }
    }

    /// Law 6: what waits for other loops is bounded. Law 5: who reads is owed nothing, and who
    /// doesn't no more than the bound.
    fn check_bounds(&self, at: usize) -> Result<(), Violation> {
        let waiting = self.shards[at].counters().outgoing_bytes;
        let bound = self.shards.len() * OUTGOING_PER_LOOP_MAX;
        hold(Law::Credit, waiting <= bound as u64, || {
            format!("{waiting} bytes wait at loop {at} for the others")
        })?;
        if self.shards[at].has_dirty() {
            return Ok(());
        }
        let blocked = self.clients.iter().filter(|client| client.shard == at && client.blocked);
        let bound: usize = blocked
            .map(|client| match client.kind {
                Kind::Member { .. } => {
                    let options = &self.rooms[client.room].options;
                    options.outbox_bytes_max + PAYLOAD_MAX + BESIDE_BYTES
                }
                Kind::Native => self.bound_of_native(client),
                Kind::Bearer => 16 * BESIDE_BYTES,
                Kind::Poster => OUTBOX_HIGH_WATER_BYTES + BESIDE_BYTES,
            })
            .sum();
        let queued = self.shards[at].counters().outbox_bytes;
        hold(Law::Alone, queued <= bound as u64, || {
            format!("loop {at} has {queued} bytes queued, its blocked members may have {bound}")
        })
    }

    /// What may wait for a native client: as much as its most generous room lets it have, a frame
    /// that was begun, and the answers that it asked for.
    fn bound_of_native(&self, client: &Client) -> usize {
        let Some(native) = client.native.as_deref() else { return 0 };
        let rooms = self.rooms.iter().map(|room| room.options.outbox_bytes_max);
        let answers = native.waiting.values().map(|asked| match asked {
            Asked::Join { room, .. } | Asked::Page { room } => {
                self.rooms[*room].options.history.bytes_max + 2 * BESIDE_BYTES
            }
            Asked::Say { .. } | Asked::Leave { .. } => ANSWER_BYTES,
            Asked::Other => BESIDE_BYTES,
        });
        let acks: usize = native.stays.iter().map(|stay| stay.silent.len() * ANSWER_BYTES).sum();
        let frame = PAYLOAD_MAX;
        rooms.max().unwrap_or(0) + answers.sum::<usize>() + acks + frame + BESIDE_BYTES
    }
}

fn check_heartbeat(client: &Client, now: u64) -> Result<(), Violation> {
    use fanfare::broker::Disconnect;
    if client.gone.is_none_or(|(reason, _)| reason != Disconnect::NoPong) {
        return Ok(());
    }
    let silence = now - client.heard_at;
    hold(Law::Heartbeat, client.ever_slow || (39_700..=40_700).contains(&silence), || {
        format!("client {} was closed for silence after {silence} ms", client.id)
    })?;
    hold(Law::Heartbeat, !client.responsive || client.ever_slow, || {
        format!("client {} answers pings and was closed for silence", client.id)
    })
}
