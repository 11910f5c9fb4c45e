//! What happens in a run: operations as plain numbers, drawn from a seed or taken from a fuzzer.
//!
//! Not here: the order in which loops turn (`world`), and how a run ends (`rest`). Invariant: every
//! number means something, so that no input is wasted.

use super::client::{Ending, HEADER, Kernel, Kind};
use super::world::{PAYLOAD_MAX, World};
use super::{Mutation, Violation};
use fanfare::broker::Overflow;
use fanfare::limits::CREDIT_COMMANDS;
use fanfare::ws::Opcode;

/// What happens, to whom, and how much of it.
pub(crate) type Op = (u8, u8, u16);

/// Connections that a run has at a time.
pub(crate) const PRESENT_MAX: u32 = 24;

/// One run of the simulator, from its seed.
pub(crate) fn run(seed: u64, mutation: Mutation) -> Result<World, Violation> {
    let mut world = World::new(seed, mutation)?;
    for _ in 0..world.dice.u32(10..100) {
        let op = (world.dice.u8(..), world.dice.u8(..), world.dice.u16(..));
        world.apply(op)?;
    }
    world.finish()?;
    if world.dice.u8(..8) == 0 && !world.is_drained() {
        world.begin_again()?;
        for _ in 0..world.dice.u32(5..30) {
            let op = (world.dice.u8(..), world.dice.u8(..), world.dice.u16(..));
            world.apply(op)?;
        }
        world.finish()?;
    }
    Ok(world)
}

impl World {
    /// Lets one thing happen, and then some turns pass.
    pub(crate) fn apply(&mut self, (what, who, amount): Op) -> Result<(), Violation> {
        let who = usize::from(who);
        if self.guard.is_some() && self.dice.u8(..5) < 2 {
            self.guard_op(what, who, amount)?;
            return self.turn();
        }
        match what {
            0..25 => self.join(who, amount),
            25..50 => self.come(who, amount),
            50..105 => self.publish(who, amount),
            105..135 => self.move_one(who, amount),
            135..145 => self.wonder(who, amount),
            145..165 => self.post(who, amount),
            165..180 => self.tire(who, amount),
            180..190 => self.heal_one(who),
            190..203 => self.end_one(who, amount),
            203..213 => self.come_back(who, amount),
            213..223 => self.replace(who, amount),
            223..230 => self.ping(who, amount),
            230..244 => self.pass(u64::from(amount % 64))?,
            244..250 => self.stall(who, amount),
            250..253 => self.pass(u64::from(amount % 2_000))?,
            253..=255 => self.pass(u64::from(amount % 20_000))?,
        }
        self.turn()
    }

    /// Some turns pass.
    fn turn(&mut self) -> Result<(), Violation> {
        for _ in 0..self.dice.u8(..6) {
            self.step(self.now.mono_ms + 40)?;
        }
        Ok(())
    }

    fn join(&mut self, who: usize, amount: u16) {
        if self.is_crowded() {
            return;
        }
        let room = who % self.rooms.len();
        let id = self.open(room, Kind::Member { echo: !amount.is_multiple_of(4) });
        self.glue(id, usize::from(amount / 4 % 4));
    }

    pub(crate) fn is_crowded(&self) -> bool {
        self.clients.iter().filter(|client| client.gone.is_none()).count() >= PRESENT_MAX as usize
    }

    /// Frames right behind the handshake.
    fn glue(&mut self, id: usize, messages: usize) {
        for _ in 0..messages {
            if self.dice.u8(..4) == 0 {
                self.ping_from(id);
            }
            let len = self.length(id);
            self.say(id, len);
        }
    }

    fn publish(&mut self, who: usize, amount: u16) {
        let Some(id) = self.pick(who, |world, id| {
            let client = &world.clients[id];
            client.is_websocket() && client.is_present() && client.kind != Kind::Bearer
        }) else {
            return;
        };
        if self.clients[id].kind == Kind::Native {
            return self.chat(id, if amount % 512 == 7 { 600 } else { usize::from(amount % 16) });
        }
        match amount % 512 {
            7 => {
                for _ in 0..CREDIT_COMMANDS + 1_000 {
                    self.say(id, HEADER);
                }
            }
            8 => {
                for _ in 0..20 {
                    self.say(id, PAYLOAD_MAX - usize::from(amount % 100));
                }
            }
            _ => {
                for _ in 0..amount % 16 {
                    let len = self.length(id);
                    self.say(id, len);
                }
            }
        }
    }

    fn post(&mut self, who: usize, amount: u16) {
        let room = who % self.rooms.len();
        let known = self.pick(usize::from(amount), |world, id| {
            let client = &world.clients[id];
            client.kind == Kind::Poster && client.room == room && client.is_present()
        });
        let id = match known {
            Some(id) if !amount.is_multiple_of(4) => id,
            _ => self.open(room, Kind::Poster),
        };
        for _ in 0..=amount % 3 {
            let len = self.length(id);
            self.say(id, len);
        }
    }

    /// A member or poster whose kernel takes little or nothing from now on.
    fn tire(&mut self, who: usize, amount: u16) {
        let Some(id) = self.pick(who, Self::may_tire) else { return };
        let client = &mut self.clients[id];
        client.ever_slow = true;
        client.kernel = match amount % 3 {
            0 => Kernel::Stalled,
            1 => Kernel::Slow(usize::from(amount % 64) + 1),
            _ => Kernel::Slow(usize::from(amount) + 1),
        };
    }

    fn heal_one(&mut self, who: usize) {
        let now = self.now.mono_ms;
        if let Some(id) = self.pick(who, |world, id| world.clients[id].kernel != Kernel::Ready) {
            self.clients[id].heal(now);
        }
    }

    pub(crate) fn heal_all(&mut self) {
        let now = self.now.mono_ms;
        for client in &mut self.clients {
            client.heal(now);
        }
    }

    fn end_one(&mut self, who: usize, amount: u16) {
        let Some(id) = self.pick(who, |world, id| !world.is_witness(id)) else { return };
        self.end(id, amount);
    }

    /// Ends a connection in one of the ways that clients have.
    pub(crate) fn end(&mut self, id: usize, way: u16) {
        let client = &mut self.clients[id];
        if client.left || client.gone.is_some() {
            return;
        }
        client.left = true;
        match way % 4 {
            0 if client.is_websocket() => {
                client.push_control(Opcode::Close, &1000_u16.to_be_bytes(), [9, 8, 7, 6]);
            }
            1 => client.ending = Ending::Reset,
            2 => {
                // In the middle of a frame or a request.
                let before = client.wire.len();
                self.say_something(id);
                let client = &mut self.clients[id];
                let cut = self.dice.usize(before..client.wire.len());
                client.wire.truncate(cut);
                client.ending = Ending::Reset;
            }
            _ => client.ending = Ending::Eof,
        }
    }

    /// A loop that gets no turn for a while, so that its inbox fills.
    fn stall(&mut self, who: usize, amount: u16) {
        let shard = who % self.shards.len();
        self.stalled_until[shard] = self.now.mono_ms + u64::from(amount % 200);
    }

    /// A member that is gone before its join is answered, and another one that gets its slot.
    fn replace(&mut self, who: usize, amount: u16) {
        let shard = who % self.shards.len();
        let room = usize::from(amount) % self.rooms.len();
        let first = self.open_at(shard, room, Kind::Member { echo: true });
        self.glue(first, 1);
        self.clients[first].ending = Ending::Reset;
        self.clients[first].left = true;
        let other = (room + 1) % self.rooms.len();
        let second = self.open_at(shard, other, Kind::Member { echo: !amount.is_multiple_of(3) });
        self.glue(second, 2);
    }

    fn ping(&mut self, who: usize, amount: u16) {
        let Some(id) = self.pick(who, |world, id| {
            world.clients[id].is_websocket() && world.clients[id].is_present()
        }) else {
            return;
        };
        for _ in 0..amount % 24 {
            self.ping_from(id);
        }
    }

    fn ping_from(&mut self, id: usize) {
        let payload = [b'p'; 125];
        let len = self.dice.usize(..=payload.len());
        self.clients[id].pings_sent += 1;
        self.clients[id].push_control(Opcode::Ping, &payload[..len], [1, 2, 3, 4]);
    }

    pub(crate) fn is_witness(&self, id: usize) -> bool {
        self.rooms[self.clients[id].room].witness == id || self.is_warden(id)
    }

    /// Bytes of a frame or a request.
    fn say_something(&mut self, id: usize) {
        match self.clients[id].kind {
            Kind::Member { .. } | Kind::Poster => self.say(id, 100),
            Kind::Native => self.ping_from(id),
            Kind::Bearer if self.clients[id].is_websocket() => self.ping_from(id),
            Kind::Bearer => self.clients[id].wire.extend(b"GET / HTTP/1.1\r\n"),
        }
    }

    pub(crate) fn pick(&self, nth: usize, fits: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.clients.len())
            .filter(|id| self.clients[*id].gone.is_none() && fits(self, *id))
            .collect();
        fitting.get(nth.checked_rem(fitting.len())?).copied()
    }

    /// How long a message of that client may be: where its room drops, or leaves it out, it must be
    /// known again.
    pub(crate) fn length(&mut self, id: usize) -> usize {
        let room = &self.rooms[self.clients[id].room];
        let tiny_allowed = room.options.raw_overflow() == Overflow::Disconnect
            && self.clients[id].kind != Kind::Member { echo: false };
        let usual = room.usual_bytes;
        match self.dice.u16(..1_000) {
            0..4 => self.dice.usize(60_000..=PAYLOAD_MAX),
            4..40 => HEADER + self.dice.usize(..8 * usual),
            40..150 if tiny_allowed => self.dice.usize(..HEADER),
            _ => HEADER + self.dice.usize(..usual),
        }
    }
}
