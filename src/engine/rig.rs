//! One shard and its clients, for the tests of this room: real handshakes and frames, no network.
//!
//! Not here: several shards, time, links; the simulator has them (`tests/sim.rs`).

use super::hash::HashKey;
use super::settings::Settings;
use super::shard::{Admission, Notice, Progress, Setup, Shard};
use crate::auth::Trust;
use crate::broker::{ConnKey, Gap, LoopId, Now, RoomOptions, RoomPolicies};
use crate::ws::{self, DeflateOffer, Opcode};
use std::io::IoSlice;
use std::sync::Arc;

pub(super) struct Rig {
    pub(super) shard: Shard,
    pub(super) now: Now,
}

impl Rig {
    /// One loop, all of whose rooms have these options.
    pub(super) fn new(options: RoomOptions) -> Self {
        Self::with(options, Settings::default())
    }

    /// The same under other settings.
    pub(super) fn with(options: RoomOptions, settings: Settings) -> Self {
        let policies = RoomPolicies::new(options, Vec::new());
        Self::under(Settings { policies, ..settings })
    }

    /// The same with whatever rooms the settings say.
    pub(super) fn under(settings: Settings) -> Self {
        let setup = Setup {
            id: LoopId(0),
            loops: 1,
            room_key: HashKey([1, 2]),
            epoch_key: HashKey([3, 4]),
            settings: Arc::new(settings),
            stopwatch: || 0,
        };
        let now = Now::default();
        Self { shard: Shard::new(setup, now), now }
    }

    pub(super) fn open(&mut self) -> ConnKey {
        self.open_as(Trust::Stranger)
    }

    /// A connection of a peer that is trusted so far.
    pub(super) fn open_as(&mut self, trust: Trust) -> ConnKey {
        while self.shard.poll_action().is_some() {}
        self.shard.handle_open(Admission::Served, trust, None, self.now)
    }

    /// Asks to be let into the room; the answer comes with the end of the tick.
    pub(super) fn join(&mut self, echo: bool) -> ConnKey {
        self.ask_for(if echo { "/raw/room" } else { "/raw/room?echo=0" })
    }

    /// Asks for a WebSocket.
    pub(super) fn ask_for(&mut self, target: &str) -> ConnKey {
        self.ask_offering(target, None)
    }

    /// Asks for a WebSocket, and perhaps for compression.
    pub(super) fn ask_offering(&mut self, target: &str, offer: Option<DeflateOffer>) -> ConnKey {
        let key = self.open();
        let mut request = Vec::new();
        ws::client_request(&mut request, "broker.test", target, &[7; 16], offer);
        self.shard.handle_bytes(key, &mut request, self.now);
        key
    }

    /// Joins, and reads the answer to the handshake.
    pub(super) fn settled(&mut self, echo: bool) -> ConnKey {
        let key = self.join(echo);
        self.shard.end_tick(self.now);
        self.read_all(key);
        key
    }

    pub(super) fn publish(&mut self, key: ConnKey, payload: &[u8]) {
        let mut frame = Vec::new();
        ws::push_masked_frame(&mut frame, Opcode::Binary, payload, [1, 2, 3, 4]);
        self.shard.handle_bytes(key, &mut frame, self.now);
    }

    /// All that the connection is to be sent.
    pub(super) fn offered(&self, key: ConnKey) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); 4_096];
        let filled = self.shard.output(key, &mut slices);
        slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    /// The kernel takes so much of it.
    pub(super) fn write(&mut self, key: ConnKey, bytes: usize, progress: Progress) -> Vec<u8> {
        let mut taken = self.offered(key);
        taken.truncate(bytes);
        self.shard.handle_written(key, taken.len(), progress, self.now);
        taken
    }

    pub(super) fn read_all(&mut self, key: ConnKey) -> Vec<u8> {
        self.write(key, usize::MAX, Progress::Ready)
    }

    pub(super) fn gaps(&mut self) -> Vec<Gap> {
        let notices = std::iter::from_fn(|| self.shard.poll_notice());
        notices
            .filter_map(|notice| match notice {
                Notice::Gap { gap, .. } => Some(gap),
                Notice::Upgraded { .. }
                | Notice::Refused { .. }
                | Notice::TokenRefused { .. }
                | Notice::AddressFull { .. }
                | Notice::RateLimited { .. }
                | Notice::Violation { .. }
                | Notice::OriginRefused { .. }
                | Notice::ProxyHeader { .. } => None,
            })
            .collect()
    }
}

/// The frame that members get for that payload.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ws::push_frame(&mut out, Opcode::Binary, payload);
    out
}
