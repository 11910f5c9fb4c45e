//! All that one loop knows, as one plain struct, and the calls by which a loop drives it.
//!
//! The contract, per tick: any number of `handle_*`, then [`Shard::end_tick`], then
//! [`Shard::poll_batch`] until `None`, then [`Shard::poll_dirty`] with one write each (as many as
//! the loop cares to), then [`Shard::poll_action`] and [`Shard::poll_notice`] until `None`.
//! Actions are also to be polled before a connection is opened: a closed slot is free only then.

use super::address_seats::AddressSeats;
use super::batch::{Batch, Spent};
use super::buffers::{BufferId, Buffers};
use super::contexts::Contexts;
use super::credit::Credits;
use super::directory::Directory;
use super::dirty::DirtyQueues;
use super::errands::Errand;
use super::gather::Gathers;
use super::hash::HashKey;
use super::homes::{HomeLimits, Homes};
use super::lending::{Borrower, Lender};
use super::members::Members;
use super::outbox::{Chunk, Content, Nodes};
use super::packing::{Packing, Press, Stopwatch};
use super::pressure::MemoryUse;
use super::resuming::Step;
use super::session::{Dirty, Pause, Phase, Session};
use super::sessions::SessionsAtHome;
use super::settings::Settings;
use super::table::Table;
use super::timers::{Wheel, tick_of};
use crate::auth::{Authority, BadProxyHeader, BadToken, OriginRefused, Revocations, Trust};
use crate::broker::{AddressKey, ConnKey, Disconnect, Gap, LoopId, Now, PeerAddr, RoomHandle};
use crate::limits::{NOTICES_MAX, SMALL_ROOM_MEMBERS_MAX};
use crate::observe::Counters;
use crate::ws;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// What a shard is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its place among the loops.
    pub id: LoopId,
    /// How many loops there are, 1 to [`crate::limits::LOOPS_MAX`].
    pub loops: u8,
    /// The key by which rooms find their home: the same for all loops.
    pub room_key: HashKey,
    /// The key from which epochs are drawn: random, the same for all loops.
    pub epoch_key: HashKey,
    /// What the configuration says.
    pub settings: Arc<Settings>,
    /// Tells how long compression took.
    pub stopwatch: Stopwatch,
}

/// Whether a new connection is served or only told that it can't be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Within the limits.
    Served,
    /// More than may be held: its first request is answered 503, as it is in what follows.
    OverCapacity,
    /// More than may come in a second.
    TooFast {
        /// When it is told to come back.
        retry_after_s: u8,
    },
    /// There is no memory for it.
    ShortOfMemory,
}

/// Whether a connection is to be read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appetite {
    /// Go on reading.
    More,
    /// Do not read until [`Action::Resume`].
    Pause,
}

/// How a write went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The kernel took all that was offered.
    Ready,
    /// It took a part, and may take more when the others have had their turn.
    Part,
    /// It takes nothing more; a writable edge will come.
    Blocked,
}

/// What a loop has to do to a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Read it again, as if it had become readable.
    Resume(ConnKey),
    /// Shut down the sending side: everything queued has been written.
    Shutdown(ConnKey),
    /// Drop it; the key is stale from now on.
    Close {
        /// The connection.
        key: ConnKey,
        /// Why it ended.
        reason: Disconnect,
        /// The close code that went over the wire, either way.
        code: Option<u16>,
    },
}

/// Something for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A connection became a WebSocket.
    Upgraded {
        /// The connection.
        key: ConnKey,
        /// Where its client is, where that was asked for.
        address: Option<PeerAddr>,
    },
    /// An upgrade or a request was refused with that status.
    Refused {
        /// The connection.
        key: ConnKey,
        /// The HTTP status it got.
        status: u16,
    },
    /// A peer broke RFC 6455; the connection is being closed.
    Violation {
        /// The connection.
        key: ConnKey,
        /// What it did.
        error: ws::ProtocolError,
    },
    /// A token let nobody in.
    TokenRefused {
        /// The connection that showed it.
        key: ConnKey,
        /// Why.
        bad: BadToken,
    },
    /// More came than `rates` allow.
    RateLimited {
        /// The connection that sent it.
        key: ConnKey,
    },
    /// A connection is one too many of its address.
    AddressFull {
        /// The connection.
        key: ConnKey,
        /// The address, or the network that counts as one.
        address: AddressKey,
    },
    /// A member will not get these messages.
    Gap {
        /// The connection.
        key: ConnKey,
        /// The room.
        room: RoomHandle,
        /// What is missing.
        gap: Gap,
    },
    /// A page may not connect, or publish.
    OriginRefused {
        /// The connection.
        key: ConnKey,
        /// Whose page.
        refused: OriginRefused,
    },
    /// A connection was closed for what it said, or left out, by the PROXY protocol.
    ProxyHeader {
        /// The connection.
        key: ConnKey,
        /// What is wrong.
        error: BadProxyHeader,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgraded { address: None, .. } => write!(f, "connection upgraded"),
            Self::Upgraded { address: Some(address), .. } => {
                write!(f, "connection of {address} upgraded")
            }
            Self::Refused { status, .. } => write!(f, "request refused with status {status}"),
            Self::Violation { error, .. } => write!(f, "protocol violation: {error}"),
            Self::TokenRefused { bad, .. } => write!(f, "token refused: {bad}"),
            Self::RateLimited { .. } => f.write_str("more was sent than rates allow"),
            Self::AddressFull { address, .. } => {
                write!(f, "{address} has limits.connections_per_address_max connections")
            }
            Self::Gap { gap, .. } => {
                write!(f, "{} messages dropped between seq {} and {}", gap.count, gap.from, gap.to)
            }
            Self::OriginRefused { refused, .. } => write!(f, "{refused}: {}", refused.remedy()),
            Self::ProxyHeader { error, .. } => write!(f, "connection closed: {error}"),
        }
    }
}

/// One loop's state.
#[derive(Debug)]
pub struct Shard {
    pub(super) id: LoopId,
    pub(super) loops: u8,
    pub(super) room_key: HashKey,
    /// What guests' numbers and sessions' ids are drawn from.
    pub(super) lots: HashKey,
    pub(super) sessions_drawn: u64,
    /// The sessions at home here, whosever connections they belong to.
    pub(super) resumable: SessionsAtHome,
    /// What of resumes is to be done when a batch has been handed out.
    pub(super) steps: Vec<(ConnKey, Step)>,
    pub(super) settings: Arc<Settings>,
    /// Addresses at home here, by how many connections each has.
    pub(super) address_seats: AddressSeats,
    /// The buckets of users and addresses at home here.
    pub(super) lender: Lender,
    /// What this loop has of such buckets.
    pub(super) borrower: Borrower,
    /// Whether there are any rates.
    pub(super) is_metered: bool,
    /// What the wall clock is ahead of the other one, as of when deadlines were set by it.
    pub(super) unix_offset_ms: u64,
    /// Whom it does not let in any more; the same on all loops.
    pub(super) revocations: Revocations,
    /// Who decides who comes in.
    pub(super) authority: Arc<Authority>,
    pub(super) sessions: Table<Session>,
    pub(super) nodes: Nodes,
    pub(super) buffers: Buffers,
    pub(super) timers: Wheel,
    pub(super) homes: Homes,
    /// The users at home here.
    pub(super) directory: Directory,
    pub(super) packing: Packing,
    pub(super) contexts: Contexts,
    /// Connections of this loop that may have a context of their own.
    pub(super) contexts_max: usize,
    pub(super) stopwatch: Stopwatch,
    /// What is compressed for one connection is laid out here.
    pub(super) scratch: Vec<u8>,
    pub(super) members: Members,
    pub(super) credits: Credits,
    /// One batch in the making per loop, this one included.
    pub(super) outgoing: Vec<Batch>,
    /// A batch that an inbox did not take, per loop.
    pub(super) refused: Vec<Option<Batch>>,
    /// Credit to be given back, per loop.
    pub(super) owed: Vec<Spent>,
    /// What waits for the loop that is furthest behind, as of the end of the last tick.
    pub(super) backlog_bytes: usize,
    /// What users were told, and requests were answered, since the end of the last tick.
    pub(super) told_bytes: usize,
    /// Rooms that were told how a user says it is since the end of the last tick.
    pub(super) statuses: usize,
    /// Commands that wait until the outgoing bound allows their effects.
    pub(super) parked: VecDeque<(Batch, usize)>,
    pub(super) gathers: Gathers,
    pub(super) dirty: DirtyQueues,
    pub(super) resumed: VecDeque<ConnKey>,
    pub(super) actions: VecDeque<Action>,
    pub(super) errands: VecDeque<Errand>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) counters: Counters,
    /// Members to be disconnected once a batch has been handed out.
    pub(super) doomed: Vec<(ConnKey, Disconnect)>,
    /// Members of the run in hand that don't get all of it as it is: where their part begins.
    pub(super) special: Vec<(u32, u32)>,
    pub(super) draining: bool,
    /// As it was last looked at.
    pub(super) memory: MemoryUse,
    /// The next loop to be asked by [`Self::poll_batch`].
    pub(super) next_batch: usize,
}

impl Shard {
    /// A shard without connections or rooms.
    pub fn new(setup: Setup, now: Now) -> Self {
        let Setup { id, loops, room_key, epoch_key, settings, stopwatch } = setup;
        let limits = HomeLimits {
            rooms_max: settings.rooms_max.div_ceil(usize::from(loops)),
            grace_ms: settings.room_grace_ms,
            // A session that can be resumed finds its rooms as it left them.
            sessions_ms: settings.native.session_timeout_ms,
            plain_bytes_max: settings.compression.threshold_bytes,
            history_bytes_max: settings.history_total_bytes_max.div_ceil(usize::from(loops)),
            presence_grace_ms: settings.presence_grace_ms,
        };
        Self {
            id,
            loops,
            room_key,
            lots: epoch_key,
            sessions_drawn: 0,
            resumable: SessionsAtHome::default(),
            steps: Vec::new(),
            sessions: Table::new(),
            nodes: Nodes::new(),
            buffers: Buffers::default(),
            timers: Wheel::new(tick_of(now.mono_ms)),
            homes: Homes::new(id, limits, settings.policies.clone(), epoch_key),
            directory: Directory::new(settings.presence_grace_ms),
            packing: Packing::new(Press::new(&settings.compression, stopwatch)),
            contexts: Contexts::default(),
            contexts_max: settings.compression.contexts_max.div_ceil(usize::from(loops)),
            stopwatch,
            scratch: Vec::new(),
            members: Members::new(),
            credits: Credits::new(loops),
            outgoing: (0..loops).map(|_| Batch::new(id)).collect(),
            refused: (0..loops).map(|_| None).collect(),
            owed: vec![Spent::default(); usize::from(loops)],
            backlog_bytes: 0,
            told_bytes: 0,
            statuses: 0,
            parked: VecDeque::new(),
            gathers: Gathers::default(),
            dirty: DirtyQueues::default(),
            resumed: VecDeque::new(),
            actions: VecDeque::new(),
            errands: VecDeque::new(),
            notices: VecDeque::new(),
            counters: Counters::default(),
            doomed: Vec::new(),
            special: Vec::new(),
            draining: false,
            memory: MemoryUse::default(),
            next_batch: 0,
            address_seats: AddressSeats::new(room_key),
            lender: Lender::new(room_key, settings.rates.shared(), loops),
            borrower: Borrower::new(room_key, settings.rates.shared(), loops),
            is_metered: !settings.rates.are_off(),
            unix_offset_ms: now.unix_ms.saturating_sub(now.mono_ms),
            revocations: Revocations::default(),
            authority: Arc::clone(&settings.authority),
            settings,
        }
    }

    /// Takes in a new connection and names it. Its slot is that of the last closed one where
    /// possible, so [`Self::poll_action`] is to be drained first. `trust` is what
    /// [`crate::auth::TrustedProxies::trust`] says of the peer; `peer` is where it is, which may be
    /// left out unless [`Settings::needs_addresses`], or somebody is trusted.
    pub fn handle_open(
        &mut self,
        admission: Admission,
        trust: Trust,
        peer: Option<PeerAddr>,
        now: Now,
    ) -> ConnKey {
        let tick = tick_of(now.mono_ms);
        let (index, generation) = self.sessions.insert(Session::new(tick, admission, trust));
        self.counters.connections_opened += 1;
        let key = ConnKey { index, generation };
        self.arm(key);
        self.begin_at_door(key, peer, now);
        key
    }

    /// Keys or rules have changed: whoever comes from now on is judged by these.
    pub fn handle_authority(&mut self, authority: Arc<Authority>) {
        self.authority = authority;
    }

    /// The next thing to be done to a socket.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front()?;
        if let Action::Close { key, .. } = action
            && let Some(session) = self.sessions.remove(key.index, key.generation)
        {
            if session.has_context {
                self.contexts.remove(key.index);
            }
            if let Some(papers) = session.papers {
                self.drop_papers(key, *papers);
            }
        }
        Some(action)
    }

    /// The next thing for the log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// What this loop counted, for the loop's own part of it.
    pub const fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// What this loop counted, gauges brought up to date.
    pub fn counters(&self) -> Counters {
        let outgoing: usize = self.outgoing.iter().map(Batch::bytes).sum();
        let refused: usize = self.refused.iter().flatten().map(Batch::bytes).sum();
        let mut counters = self.counters.clone();
        counters.connections = self.sessions.len() as u64;
        counters.rooms = self.homes.len() as u64;
        counters.sessions_parked = self.resumable.parked() as u64;
        counters.members = self.members.total() as u64;
        counters.history_bytes = self.homes.history_bytes() as u64;
        counters.history_evictions = self.homes.evicted;
        counters.pressure_refused += self.homes.refused_for_memory;
        counters.users_online = self.directory.len() as u64;
        counters.contexts = self.contexts.len() as u64;
        counters.addresses = self.address_seats.len() as u64;
        counters.buckets = (self.lender.len() + self.borrower.len()) as u64;
        if self.id == LoopId(0) {
            counters.revocations = self.revocations.len() as u64; // All loops have the same.
        }
        counters.pinned_bytes = self.buffers.pinned_bytes() as u64;
        counters.outgoing_bytes = (outgoing + refused + self.homes.staged_bytes()) as u64;
        counters
    }

    /// Whether a drain has left no connection behind.
    pub const fn is_drained(&self) -> bool {
        self.draining && self.sessions.len() == 0
    }

    pub(super) fn session(&mut self, key: ConnKey) -> Option<&mut Session> {
        self.sessions.get_mut(key.index, key.generation)
    }

    /// Takes the phase out, so that it can be worked on beside the rest of the shard.
    pub(super) fn take_phase(&mut self, key: ConnKey) -> Option<Phase> {
        let session = self.sessions.get_mut(key.index, key.generation)?;
        let phase = std::mem::replace(&mut session.phase, Phase::Gone);
        self.counters.spill_bytes -= phase.held_bytes() as u64;
        Some(phase)
    }

    /// Puts a phase in the place of the one that was taken out.
    pub(super) fn put_phase(&mut self, key: ConnKey, phase: Phase) {
        if let Some(session) = self.sessions.get_mut(key.index, key.generation) {
            self.counters.spill_bytes += phase.held_bytes() as u64;
            session.phase = phase;
        }
    }

    /// As [`Self::put_phase`], for a phase that begins now.
    pub(super) fn begin_phase(&mut self, key: ConnKey, phase: Phase, now: Now) {
        self.put_phase(key, phase);
        if let Some(session) = self.session(key) {
            session.since = tick_of(now.mono_ms);
        }
        self.arm(key);
    }

    /// Queues an HTTP response behind all else.
    pub(super) fn push_response(&mut self, key: ConnKey, write: impl FnOnce(&mut Vec<u8>)) {
        self.push_private(key, Content::Response, write);
    }

    /// Queues frames for this connection alone, behind all else.
    pub(super) fn push_answer(&mut self, key: ConnKey, write: impl FnOnce(&mut Vec<u8>)) {
        self.push_private(key, Content::Answer, write);
    }

    /// Queues a part of a frame in pieces.
    pub(super) fn push_answer_part(
        &mut self,
        key: ConnKey,
        content: Content,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.push_private(key, content, write);
    }

    fn push_private(&mut self, key: ConnKey, content: Content, write: impl FnOnce(&mut Vec<u8>)) {
        if self.session(key).is_some() {
            let chunk = private(self.buffers.append(write), content);
            self.push_chunk(key, chunk);
        }
    }

    /// Queues a chunk, which the caller holds, behind all else.
    pub(super) fn push_chunk(&mut self, key: ConnKey, chunk: Chunk) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        session.outbox.push(&mut self.nodes, chunk);
        self.counters.outbox_bytes += u64::from(chunk.len());
        self.mark_dirty(key.index, true);
    }

    /// Queues a control frame ahead of all data.
    pub(super) fn push_control(
        &mut self,
        key: ConnKey,
        content: Content,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        // A peer that does not read must not pin what others are answered with.
        let place = match session.blocked {
            true => self.buffers.apart(write),
            false => self.buffers.append(write),
        };
        let chunk = private(place, content);
        let before = session.outbox.bytes();
        let replaced = session.outbox.push_control(&mut self.nodes, &mut self.buffers, chunk);
        self.counters.outbox_bytes += session.outbox.bytes() as u64;
        self.counters.outbox_bytes -= before as u64;
        if let Some(buffer) = replaced {
            self.buffers.release(buffer);
            self.counters.pongs_coalesced += 1;
        }
        self.mark_dirty(key.index, true);
    }

    /// Queues the connection for writing, unless it is queued or the kernel takes nothing.
    pub(super) fn mark_dirty(&mut self, index: u32, small: bool) {
        let Some(session) = self.sessions.at_mut(index) else { return };
        match (session.dirty, small) {
            _ if session.blocked || session.corked => {}
            (Dirty::Small, _) | (Dirty::Large, false) => {}
            (Dirty::No | Dirty::Large, true) => {
                session.dirty = Dirty::Small;
                self.dirty.push(index, Dirty::Small);
            }
            (Dirty::No, false) => {
                session.dirty = Dirty::Large;
                self.dirty.push(index, Dirty::Large);
            }
        }
    }

    /// Notes something for the log, or that there was no place for it.
    pub(super) fn notice(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push_back(notice);
        } else {
            self.counters.notices_dropped += 1;
        }
    }

    /// Stops reading the connection until whatever `pause` names is over.
    pub(super) fn pause(&mut self, key: ConnKey, pause: Pause) {
        if let Some(session) = self.session(key) {
            session.pause = pause;
        }
        if let Pause::Credit(home) = pause {
            self.counters.credit_pauses += 1;
            self.credits.wait(home, key);
        }
    }

    /// Lets a paused connection go on, when its turn comes.
    pub(super) fn unpause(&mut self, key: ConnKey) {
        if let Some(session) = self.session(key).filter(|session| session.pause != Pause::No) {
            session.pause = Pause::No;
            self.resumed.push_back(key);
        }
    }
}

/// A chunk of the open buffer.
const fn private(place: (BufferId, u32, u32), content: Content) -> Chunk {
    let (buffer, start, end) = place;
    Chunk { buffer, start, end, content, messages: 0 }
}

/// Whether a room of that many members of this loop is flushed before the large ones.
pub(super) const fn is_small(members: usize) -> bool {
    members <= SMALL_ROOM_MEMBERS_MAX
}
