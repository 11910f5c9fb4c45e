//! What the engine knows of one connection.
//!
//! Small, because it is there for every idle connection: buffers exist only while something is
//! unfinished. Invariants: [`Session::phase`] is `Gone` exactly while a call works on it or its
//! close waits to be carried out; a session that is paused is not read.

use super::authenticating::Unauthenticated;
use super::door::Caller;
use super::members::Place;
use super::native::Native;
use super::outbox::Outbox;
use super::papers::Papers;
use super::shard::Admission;
use crate::api::Intent;
use crate::auth::{ProxyReader, Trust};
use crate::broker::{Deflate, Disconnect, Encoding, LoopId, RoomName};
use crate::http::{BodyReader, HeadReader, SendBody};
use crate::ws;

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) outbox: Outbox,
    pub(crate) dirty: Dirty,
    /// The kernel took less than it was offered; a writable edge will come.
    pub(crate) blocked: bool,
    /// What is queued waits for an answer that is to come before some of it (`resuming`).
    pub(crate) corked: bool,
    /// Set while a run is handled that leaves this connection out.
    pub(crate) left_out: bool,
    pub(crate) pause: Pause,
    /// The peer has shut down its sending side.
    pub(crate) eof: bool,
    /// Our sending side has been shut down.
    pub(crate) shut: bool,
    /// At least one request was answered: what comes next is a kept-alive one.
    pub(crate) served: bool,
    /// The form in which it gets messages; any but the plain one was agreed on.
    pub(crate) encoding: Encoding,
    /// It has a compression context of its own, one way or both.
    pub(crate) has_context: bool,
    /// What it is sent is compressed for it alone.
    pub(crate) apart: bool,
    /// Whether it is served, or to be told why not.
    pub(crate) admission: Admission,
    /// How what it says of its user is taken.
    pub(crate) trust: Trust,
    /// Pings sent since anything was last heard.
    pub(crate) pings: u8,
    /// Why it ends, once that is decided.
    pub(crate) reason: Disconnect,
    /// The close code that was sent or received; 0 for none.
    pub(crate) close_code: u16,
    /// When the phase, or the request in it, began, in ticks of the wheel.
    pub(crate) since: u32,
    /// When anything was last heard, in ticks of the wheel.
    pub(crate) heard: u32,
    pub(crate) phase: Phase,
    /// What it showed at the door, if it was asked for anything.
    pub(crate) papers: Option<Box<Papers>>,
    /// Input that came while the session could not take it.
    pub(crate) unread: Option<Box<Unread>>,
}

const _: () = assert!(size_of::<Session>() <= 104, "there is one for every idle connection");

/// Input that waits, handled up to a place.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) bytes: Vec<u8>,
    pub(crate) from: usize,
}

/// In which queue the connection waits to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dirty {
    No,
    Small,
    Large,
}

/// Why a connection is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pause {
    No,
    /// The home has no credit for it.
    Credit(LoopId),
    /// It does not take what it makes us send.
    Output,
    /// The answer to its request is not there yet.
    Answer,
}

/// Where a connection is in its life.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Of a trusted proxy, which says first whom it speaks for.
    Proxied(Box<ProxyReader>),
    /// Waiting for a request, or in the middle of its head.
    Head(HeadReader),
    /// In the middle of a request's body, or holding it until there is credit.
    Body(Box<Body>),
    /// The request is complete; its answer is on the way.
    Waiting(Exchange),
    /// In a raw room.
    Raw(Raw),
    /// A native connection that has yet to say who it is.
    Unauthenticated(Box<Unauthenticated>),
    /// A native connection.
    Native(Box<Native>),
    /// On the echo route.
    Echo(ws::Reader),
    /// Our close is queued; the peer's has not come. Without a reader the peer broke the protocol,
    /// and whatever it sends is discarded.
    Closing(Option<ws::Reader>),
    /// A response that ends the connection is queued; input is discarded until the peer ends too.
    Linger(usize),
    /// What is queued goes out, then the connection is closed.
    Finishing,
    /// Taken out by the call that works on it, or closed.
    Gone,
}

/// How a request's answer is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exchange {
    pub(crate) keep_alive: bool,
    pub(crate) body: SendBody,
}

/// A request whose body is being read.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) intent: Intent,
    pub(crate) caller: Caller,
    pub(crate) exchange: Exchange,
    pub(crate) reader: BodyReader,
    pub(crate) done: bool,
    /// It was taken from the buckets of who sends it.
    pub(crate) paid: bool,
}

/// A connection to a raw room.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) reader: ws::Reader,
    pub(crate) membership: Membership,
    /// Whether it gets its own messages.
    pub(crate) echo: bool,
    /// Whether it may publish there.
    pub(crate) may_publish: bool,
}

/// A connection's membership of its room.
#[derive(Debug)]
pub(crate) enum Membership {
    /// The home has not answered yet.
    Pending(Box<PendingRoom>),
    /// It stands in the room's list of members.
    Joined(Place),
}

/// A room whose home has not answered yet.
#[derive(Debug)]
pub(crate) struct PendingRoom {
    pub(crate) name: RoomName,
    pub(crate) hash: u64,
}

impl Session {
    pub(crate) fn new(now: u32, admission: Admission, trust: Trust) -> Self {
        Self {
            outbox: Outbox::new(),
            dirty: Dirty::No,
            blocked: false,
            corked: false,
            left_out: false,
            pause: Pause::No,
            eof: false,
            shut: false,
            served: false,
            encoding: Encoding::RAW,
            has_context: false,
            apart: false,
            admission,
            trust,
            pings: 0,
            reason: Disconnect::Io,
            close_code: 0,
            since: now,
            heard: now,
            phase: Phase::Head(HeadReader::default()),
            papers: None,
            unread: None,
        }
    }
}

impl Session {
    /// What it showed at the door, with room to note more.
    pub(crate) fn papers_mut(&mut self) -> &mut Papers {
        self.papers.get_or_insert_default()
    }

    /// What the first reserved bit means in frames from this client.
    pub(crate) fn rsv1(&self) -> ws::Rsv1 {
        match (self.encoding.deflate, self.has_context) {
            (Deflate::Off, false) => ws::Rsv1::Reserved,
            (Deflate::Off | Deflate::Full | Deflate::Small, _) => ws::Rsv1::Compressed,
        }
    }
}

impl Phase {
    /// Bytes allocated for what is unfinished.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Proxied(reader) => reader.held_bytes(),
            Self::Head(reader) => reader.held_bytes(),
            Self::Body(body) => body.reader.held_bytes(),
            Self::Raw(raw) => raw.reader.held_bytes(),
            Self::Native(native) => native.held_bytes(),
            Self::Unauthenticated(stranger) => stranger.reader.held_bytes(),
            Self::Echo(reader) | Self::Closing(Some(reader)) => reader.held_bytes(),
            Self::Waiting(_)
            | Self::Closing(None)
            | Self::Linger(_)
            | Self::Finishing
            | Self::Gone => 0,
        }
    }

    /// Whether it is an open WebSocket.
    pub(crate) const fn is_websocket(&self) -> bool {
        matches!(self, Self::Raw(_) | Self::Unauthenticated(_) | Self::Native(_) | Self::Echo(_))
    }
}
