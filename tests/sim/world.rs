//! Everything that a run consists of: shards, links between them, clients, and the time.
//!
//! Not here: a loop's turn (`tick`), what happens when (`ops`), what must hold (`laws`).
//! Invariants: links are first in, first out; a shard gets a turn only for a reason that a real
//! loop would see.

use super::client::{Client, Ending, Kernel, Kind};
use super::guard::{self, Guard};
use super::{Law, Mutation, Violation, hold};
use fanfare::auth::Identity;
use fanfare::broker::{BatchOptions, PresenceMode, PresenceOptions};
use fanfare::broker::{Compression, ConnKey, HistoryOptions, LoopId, Now, Overflow, RawDrops};
use fanfare::broker::{RoomOptions, RoomPattern, RoomPolicies};
use fanfare::engine::{Batch, CompressionSettings, HashKey, Settings, Setup, Shard};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The largest payload that a run sends.
pub(crate) const PAYLOAD_MAX: usize = 300 * 1024;

/// The longest for which a room keeps a message.
pub(crate) const HISTORY_AGE_MAX: u64 = 100_000;

/// A room and who watches it: its witness was there before the first message and never tires.
#[derive(Debug)]
pub(crate) struct RoomPlan {
    pub(crate) name: String,
    pub(crate) options: RoomOptions,
    pub(crate) witness: usize,
    /// A message for it is seldom larger.
    pub(crate) usual_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dice: fastrand::Rng,
    pub(crate) mutation: Mutation,
    /// How often the mutation found something to break.
    pub(crate) mutations: u32,
    pub(crate) now: Now,
    pub(crate) shards: Vec<Shard>,
    pub(crate) wake_at: Vec<Option<u64>>,
    links: Vec<VecDeque<(u64, Batch)>>,
    pub(crate) inbox_max: usize,
    pub(crate) delay_max: u64,
    pub(crate) clients: Vec<Client>,
    /// Connections by loop and key, those that are gone included.
    pub(crate) names: Vec<HashMap<ConnKey, usize>>,
    pub(crate) rooms: Vec<RoomPlan>,
    /// Commands and bytes under way: by origin, then home.
    pub(crate) under_way: Vec<Vec<(u64, u64)>>,
    /// Until when each loop is held up by something else.
    pub(crate) stalled_until: Vec<u64>,
    pub(crate) turns: u64,
    pub(crate) began_ms: u64,
    /// All histories together may be too large, each by itself not.
    pub(crate) scarce_history: bool,
    /// What it knows of tokens, if the loops want any.
    pub(crate) guard: Option<Guard>,
    /// Connections that an address may have; 0 for any number.
    pub(crate) seats_max: usize,
    /// Most contexts that one loop had at a time.
    pub(crate) contexts_met: u64,
}

impl World {
    /// 1 to 4 shards and as many rooms as the seed says, each with its witness joined.
    pub(crate) fn new(seed: u64, mutation: Mutation) -> Result<Self, Violation> {
        let mut dice = fastrand::Rng::with_seed(seed);
        let fewest = if mutation == Mutation::None { 1 } else { 2 };
        let loops = dice.u8(fewest..=4);
        let drops = dice.u8(..3) > 0;
        let rooms: Vec<RoomPlan> =
            (0..dice.usize(1..=4)).map(|n| plan(n, drops, &mut dice)).collect();
        let scarce_history = dice.u8(..6) == 0;
        let mono_ms = dice.u64(..10_000);
        let now = Now { mono_ms, unix_ms: 1_800_000_000_000 + mono_ms };
        let is_guarded = dice.u8(..3) == 0 || mutation.is_of_guards();
        let guard = is_guarded.then(|| Guard::new(now, mutation));
        let mut settings = settings(&rooms, scarce_history, &mut dice);
        if is_guarded {
            settings.authority = Arc::new(guard::authority());
            settings.connections_per_address_max = dice.choice([0, 2, 4]).unwrap_or(0);
            settings.needs_addresses = true;
        }
        let seats_max = settings.connections_per_address_max as usize;
        let settings = Arc::new(settings);
        let (room_key, epoch_key) = (HashKey([dice.u64(..), 1]), HashKey([dice.u64(..), 2]));
        let shard = |id| {
            let settings = Arc::clone(&settings);
            let (id, stopwatch) = (LoopId(id), || 0);
            Shard::new(Setup { id, loops, room_key, epoch_key, settings, stopwatch }, now)
        };
        let count = usize::from(loops);
        let mut world = Self {
            mutation,
            mutations: 0,
            now,
            shards: (0..loops).map(shard).collect(),
            wake_at: vec![None; count],
            links: (0..count * count).map(|_| VecDeque::new()).collect(),
            inbox_max: dice.usize(1..=6),
            delay_max: dice.choice([0, 1, 5, 20]).unwrap_or(0),
            clients: Vec::new(),
            names: vec![HashMap::new(); count],
            rooms,
            under_way: vec![vec![(0, 0); count]; count],
            stalled_until: vec![0; count],
            turns: 0,
            began_ms: mono_ms,
            scarce_history,
            guard,
            seats_max,
            contexts_met: 0,
            dice,
        };
        world.let_witnesses_in()?;
        Ok(world)
    }

    pub(crate) fn let_witnesses_in(&mut self) -> Result<(), Violation> {
        for room in 0..self.rooms.len() {
            self.rooms[room].witness = self.open(room, Kind::Member { echo: true });
        }
        self.rest()?;
        self.let_wardens_in()
    }

    /// Whether the loops are going down.
    pub(crate) fn is_drained(&self) -> bool {
        self.shards.iter().any(Shard::is_drained)
    }

    /// A new connection to any shard; a member asks for its upgrade at once.
    pub(crate) fn open(&mut self, room: usize, kind: Kind) -> usize {
        let shard = self.dice.usize(..self.shards.len());
        self.open_at(shard, room, kind)
    }

    pub(crate) fn open_at(&mut self, shard: usize, room: usize, kind: Kind) -> usize {
        let id = self.clients.len();
        let mut client = Client::new(id, shard, room, kind, self.dice.u8(..));
        client.heard_at = self.now.mono_ms;
        if matches!(kind, Kind::Member { .. } | Kind::Poster) {
            client.pass = self.pass_for(kind, None, id);
        }
        if client.is_member() {
            client.push_handshake(&self.rooms[room].name);
        }
        self.clients.push(client);
        id
    }

    pub(crate) fn say(&mut self, client: usize, len: usize) {
        let (mask, chunked) = (self.dice.u32(..).to_le_bytes(), self.dice.bool());
        let room = &self.rooms[self.clients[client].room].name;
        self.clients[client].push_message(room, len, mask, chunked);
    }

    pub(crate) fn link(&mut self, from: usize, to: usize) -> &mut VecDeque<(u64, Batch)> {
        let loops = self.shards.len();
        &mut self.links[from * loops + to]
    }

    /// When a batch sent now arrives: never before the one ahead of it.
    pub(crate) fn arrival(&mut self, from: usize, to: usize) -> u64 {
        let at = self.now.mono_ms + self.dice.u64(..=self.delay_max);
        self.link(from, to).back().map_or(at, |(ahead, _)| at.max(*ahead))
    }

    pub(crate) fn inbox_len(&self, to: usize) -> usize {
        let loops = self.shards.len();
        (0..loops).map(|from| self.links[from * loops + to].len()).sum()
    }

    pub(crate) fn keys_of(&self, shard: usize) -> impl Iterator<Item = ConnKey> {
        let here = self.clients.iter().filter(move |client| client.shard == shard);
        here.filter_map(|client| client.key)
    }

    /// The first moment from now on at which that loop has a reason to turn.
    fn due(&self, shard: usize) -> Option<u64> {
        let now = self.now.mono_ms;
        let loops = self.shards.len();
        let arrivals = (0..loops)
            .filter_map(|from| self.links[from * loops + shard].front().map(|(at, _)| *at));
        let sockets = self.clients.iter().filter(|client| client.shard == shard);
        let edges = sockets.filter_map(|client| {
            let readable = client.has_input().then_some(now);
            [readable, client.writable_at].into_iter().flatten().min()
        });
        arrivals
            .chain(edges)
            .chain(self.wake_at[shard])
            .min()
            .map(|at| at.max(now).max(self.stalled_until[shard]))
    }

    /// Lets one loop turn that has a reason to, not after `until`; false when there is none.
    pub(crate) fn step(&mut self, until: u64) -> Result<bool, Violation> {
        let dues: Vec<Option<u64>> = (0..self.shards.len()).map(|at| self.due(at)).collect();
        let Some(next) = dues.iter().flatten().copied().min().filter(|at| *at <= until) else {
            return Ok(false);
        };
        self.now = self.now.plus_ms(next - self.now.mono_ms);
        let ready: Vec<usize> =
            (0..dues.len()).filter(|at| dues[*at].is_some_and(|due| due <= next)).collect();
        let turn = ready[self.dice.usize(..ready.len())];
        self.turns += 1;
        hold(Law::Credit, self.turns < 400_000, || "the loops spin".to_owned())?;
        self.tick(turn)?;
        Ok(true)
    }

    /// Lets time pass, with all that happens in it.
    pub(crate) fn pass(&mut self, ms: u64) -> Result<(), Violation> {
        let until = self.now.mono_ms + ms;
        while self.step(until)? {}
        self.now = self.now.plus_ms(until - self.now.mono_ms);
        Ok(())
    }

    /// Runs until nothing happens but what is seconds ahead.
    pub(crate) fn rest(&mut self) -> Result<(), Violation> {
        while self.step(self.now.mono_ms + 1_000)? {}
        Ok(())
    }
}

impl Client {
    /// Whether its loop has something to do for it.
    fn has_input(&self) -> bool {
        if !self.opened {
            return self.gone.is_none();
        }
        let readable = !self.wire.is_empty() && !self.paused;
        let ends = match self.ending {
            Ending::No | Ending::Done => false,
            Ending::Eof => self.wire.is_empty() || !self.paused,
            Ending::Reset => !readable,
        };
        self.key.is_some() && (readable || ends)
    }

    pub(crate) fn heal(&mut self, now: u64) {
        self.kernel = Kernel::Ready;
        if self.blocked {
            self.writable_at = Some(now);
        }
    }
}

fn plan(nth: usize, drops: bool, dice: &mut fastrand::Rng) -> RoomPlan {
    let overflow = dice
        .choice([
            Overflow::Disconnect,
            Overflow::DropOldest,
            Overflow::DropNewest,
            Overflow::Latest,
        ])
        .filter(|_| drops)
        .unwrap_or_default();
    let raw_drops = if dice.u8(..5) == 0 { RawDrops::Disconnect } else { RawDrops::Silent };
    let compression = dice
        .choice([Compression::Shared, Compression::Off, Compression::Private])
        .unwrap_or_default();
    let options = RoomOptions {
        compression,
        overflow,
        raw_drops,
        outbox_bytes_max: 1 << dice.u32(9..20),
        outbox_messages_max: 1 << dice.u32(2..15),
        history: HistoryOptions {
            messages_max: dice.choice([0, 3, 20, 1_000]).unwrap_or(0),
            bytes_max: dice.choice([2_000, 20_000, 1_000_000]).unwrap_or(0),
            age_ms: dice.choice([1_000, 10_000, HISTORY_AGE_MAX]).unwrap_or(0),
        },
        presence: PresenceOptions {
            mode: dice
                .choice([
                    PresenceMode::Off,
                    PresenceMode::Count,
                    PresenceMode::Diff,
                    PresenceMode::Full,
                    PresenceMode::Full,
                ])
                .unwrap_or_default(),
            interval_ms: dice.choice([10, 100, 600]).unwrap_or(0),
            full_users_max: dice.choice([1, 3, 100]).unwrap_or(0),
            diff_users_max: dice.choice([4, 1_000, 1_000]).unwrap_or(0),
        },
        batch: BatchOptions {
            messages_max: dice.choice([1, 3, 1_000]).unwrap_or(0),
            interval_ms: dice.choice([0, 0, 5, 100]).unwrap_or(0),
        },
        last_value: dice.u8(..8) == 0,
        ..RoomOptions::default()
    };
    let usual_bytes = 1 << dice.u32(5..13);
    RoomPlan { name: format!("room:{nth}"), options, witness: 0, usual_bytes }
}

fn settings(rooms: &[RoomPlan], scarce_history: bool, dice: &mut fastrand::Rng) -> Settings {
    let pattern = |room: &RoomPlan| {
        (RoomPattern::parse(&room.name).expect("a room's name is a pattern"), room.options)
    };
    let mut guarded = RoomOptions::default();
    guarded.history.age_ms = 10_000;
    let policies = RoomPolicies::new(guarded, rooms.iter().map(pattern).collect());
    let compression = CompressionSettings {
        threshold_bytes: 32,
        contexts_max: 4,
        ..CompressionSettings::default()
    };
    let identity = Identity { user_header: Some("x-user".into()), ..Identity::default() };
    let all = Settings::default();
    let scarce = if scarce_history { 40_000 } else { all.history_total_bytes_max };
    Settings {
        policies,
        compression,
        identity,
        history_total_bytes_max: scarce,
        presence_grace_ms: dice.choice([0, 0, 50, 600]).unwrap_or(0),
        ..all
    }
}
