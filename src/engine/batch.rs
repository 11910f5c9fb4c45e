//! What travels from one loop to another: everything of one tick in one parcel.
//!
//! A batch carries commands to rooms at home on the destination, replies and publications for
//! members there, returned credit, and questions that span loops. Invariant: within a batch,
//! commands keep the order in which the origin made them, and replies are handled before runs (a
//! join's reply comes before what the newcomer gets).

use super::asks::Asked;
use super::lending::{Ask, Loan};
use super::raw_asks::RawJoin;
use super::seating::SeatAsk;
use super::staging::LeftOut;
use super::told::Notice;
use crate::auth::{Access, Revocation};
use crate::broker::{
    AddressKey, CommandError, ConnKey, Encoding, ErrorCode, LoopId, Parked, PayloadKind, Piece,
    Published, RoomHandle, RoomName, RoomOptions, SessionId, User,
};
use crate::observe::Counters;
use std::sync::Arc;

/// One tick's parcel for one loop.
#[derive(Debug)]
pub struct Batch {
    /// The loop that made it.
    pub(crate) from: LoopId,
    /// For rooms at home on the destination.
    pub(crate) commands: Vec<HomeCommand>,
    /// Names and payloads that the commands point into.
    pub(crate) payloads: Vec<u8>,
    /// For connections of the destination.
    pub(crate) replies: Vec<Reply>,
    /// What the replies' texts are.
    pub(crate) texts: Vec<u8>,
    /// Publications, one run per room.
    pub(crate) runs: Vec<Run>,
    /// The frames of all runs, run by run.
    pub(crate) frames: Vec<Frame>,
    /// The frames' bytes.
    pub(crate) bytes: Vec<u8>,
    /// Credit that the destination gets back.
    pub(crate) credit: Spent,
    /// Questions and answers that span loops.
    pub(crate) questions: Vec<Question>,
    /// What its boxed entries weigh.
    pub(crate) extra_bytes: usize,
}

/// A piece of [`Batch::payloads`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A room, by whichever name the origin has for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RoomRef<'a> {
    Handle(RoomHandle),
    Name { name: &'a str, hash: u64 },
}

/// As [`RoomRef`], in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SentRoom {
    Handle(RoomHandle),
    Name { name: Span, hash: u64 },
}

/// Who published: decides who is told, and who is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sender {
    /// A member that gets its own messages.
    Member(ConnKey),
    /// A member that joined with `echo` off.
    LeftOut(ConnKey),
    /// A connection that is no member and waits for the ack.
    Outsider(ConnKey),
}

/// A native member's message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Say {
    pub(crate) room: RoomHandle,
    pub(crate) key: ConnKey,
    pub(crate) kind: PayloadKind,
    pub(crate) payload: Span,
    /// Sender, id and dedupe key, one after the other, and how long each is.
    pub(crate) words: Span,
    pub(crate) lengths: [u16; 3],
    /// What it is conflated by.
    pub(crate) mark: u32,
    /// Tells the session's own messages from others.
    pub(crate) tag: u64,
    /// Whether its sender gets it too.
    pub(crate) echo: bool,
    /// Whether it is acknowledged.
    pub(crate) wants_ack: bool,
    /// How.
    pub(crate) wire: Wire,
}

/// How a native connection's requests and their answers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    Json,
    /// The request's number, if it has one.
    Binary(Option<u64>),
}

/// A request to the home of a room.
#[derive(Clone, Debug)]
pub(crate) enum HomeCommand {
    Say(Say),
    Ask(Box<Asked>),
    /// It was applied.
    Done,
    Join {
        key: ConnKey,
        name: Span,
        join: RawJoin,
    },
    Leave {
        room: RoomHandle,
        encoding: Encoding,
        count: u32,
    },
    /// To the home of an address.
    Seat(SeatAsk),
    /// To the home of a user or an address.
    Borrow(Box<Ask>),
    Publish {
        room: SentRoom,
        kind: PayloadKind,
        payload: Span,
        /// The key under which a repeat is recognised; empty for none.
        dedupe: Span,
        /// Who is told to have sent it, as JSON; empty for a guest or a server.
        said_by: Span,
        /// Whether the room may be created for it.
        may_create: bool,
        sender: Sender,
    },
}

/// A home's answer to one connection.
#[derive(Debug)]
pub(crate) enum Reply {
    Joined(Box<JoinReply>),
    /// Frames that are ready to go; an answer is what a request waits for.
    Text {
        key: ConnKey,
        text: Span,
        is_answer: bool,
    },
    /// A frame that is ready to go, for each of these.
    Told {
        keys: Box<[ConnKey]>,
        text: Span,
        notice: Notice,
    },
    /// What an HTTP request is told: how many connections something went to.
    Receivers {
        key: ConnKey,
        receivers: u32,
    },
    /// A join that was refused, and what is said about it.
    NativeRefused {
        key: ConnKey,
        hash: u64,
        ticket: Option<u32>,
        code: ErrorCode,
        text: Span,
    },
    /// What came of asking for a session: what waited for it, if it is had.
    Session {
        key: ConnKey,
        session: SessionId,
        parked: Option<Box<Parked>>,
    },
    /// Another connection asks for that session.
    Superseded {
        key: ConnKey,
        session: SessionId,
    },
    /// An answer with pieces of a room's past.
    Past {
        key: ConnKey,
        past: Box<PastReply>,
    },
    /// Whether there is a seat for a connection of that address.
    Seat {
        key: ConnKey,
        address: AddressKey,
        granted: bool,
    },
    /// What was lent.
    Lent {
        ask: Box<Ask>,
        loan: Loan,
    },
    JoinRefused {
        key: ConnKey,
        error: CommandError,
    },
    Ack {
        key: ConnKey,
        published: Published,
    },
    PublishRefused {
        key: ConnKey,
        error: CommandError,
    },
}

/// What a newcomer is told.
#[derive(Debug)]
pub(crate) struct JoinReply {
    pub(crate) key: ConnKey,
    pub(crate) room: RoomHandle,
    pub(crate) name: RoomName,
    pub(crate) hash: u64,
    pub(crate) encoding: Encoding,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) options: RoomOptions,
    pub(crate) native: Option<NativeJoined>,
}

/// What a native newcomer is told beside.
#[derive(Debug)]
pub(crate) struct NativeJoined {
    /// Tells the answer from that of an earlier join.
    pub(crate) ticket: u32,
    /// Whom the home has counted.
    pub(crate) user: Arc<User>,
    /// Whether it gets its own messages.
    pub(crate) echo: bool,
    /// The last message that it is known to have.
    pub(crate) proven: u64,
    pub(crate) past: PastReply,
}

/// One JSON object, in pieces: what stands before a room's past, the past itself, and what ends it.
#[derive(Debug, Default)]
pub(crate) struct PastReply {
    pub(crate) head: Vec<u8>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) tail: Vec<u8>,
}

impl PastReply {
    fn bytes(&self) -> usize {
        self.head.len() + self.tail.len() + self.pieces.len() * size_of::<Piece>()
    }

    /// What was allocated for it alone, as it was made: not what it shares with the history.
    pub(crate) fn own_bytes(&self) -> usize {
        let is_copy = |piece: &&Piece| Arc::strong_count(&piece.bytes) == 1;
        let copies = self.pieces.iter().filter(is_copy).map(|piece| piece.bytes.len());
        self.bytes() + copies.sum::<usize>()
    }

    /// How long the object is.
    pub(crate) fn len(&self) -> usize {
        let pieces: usize =
            self.pieces.iter().map(|piece| (piece.end - piece.start) as usize).sum();
        self.head.len() + pieces + self.tail.len()
    }
}

/// All that one room published in one tick, in one encoding: contiguous bytes. Two runs may share
/// them, where encodings don't differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) room: RoomHandle,
    pub(crate) encoding: Encoding,
    /// `seq` of the first frame; the others follow without holes.
    pub(crate) first_seq: u64,
    /// Range of [`Batch::bytes`].
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Range of [`Batch::frames`].
    pub(crate) frames_from: u32,
    pub(crate) frames_to: u32,
    /// Bytes that it is shorter than in its plain form.
    pub(crate) saved: u32,
    /// Whether any frame leaves out a connection of the destination.
    pub(crate) leaves_out: bool,
    /// Whether any frame is volatile.
    pub(crate) has_volatile: bool,
}

impl Run {
    /// A run without frames.
    pub(crate) const fn named(room: RoomHandle, encoding: Encoding, first_seq: u64) -> Self {
        let (start, end, frames_from, frames_to) = (0, 0, 0, 0);
        let (saved, leaves_out, has_volatile) = (0, false, false);
        Self {
            room,
            encoding,
            first_seq,
            start,
            end,
            frames_from,
            frames_to,
            saved,
            leaves_out,
            has_volatile,
        }
    }
}

/// One frame of a run: a message, several in one batch, or a notice, which has no number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Where it ends in [`Batch::bytes`]; it starts where the one before it ends.
    pub(crate) end: u32,
    /// Messages of the run up to here, its own among them.
    pub(crate) upto: u32,
    /// What it is conflated by: of the messages with the same mark, the newest counts.
    pub(crate) mark: u32,
    /// It is the first to go where a member's socket takes no more.
    pub(crate) volatile: bool,
    /// The connection of the destination that must not get it.
    pub(crate) left_out: Option<ConnKey>,
}

/// Commands and payload bytes under way at a home.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) commands: u32,
    pub(crate) bytes: u32,
}

/// A question that spans loops, and its answers.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    Ask { id: u32, what: Topic },
    Answer { id: u32, answer: Answer },
}

/// What is asked of every loop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Topic {
    /// Whether it runs: the canary.
    Health,
    /// What it counted.
    Metrics,
    /// A page of the rooms at home there.
    Rooms {
        prefix: Box<str>,
        after: Option<Box<str>>,
        limit: usize,
        /// Who asks: it sees what it may join.
        access: Arc<Access>,
    },
    /// To let nobody in any more by what is revoked, and to close who is.
    Revoke(Arc<Revocation>),
    /// A page of the users at home there.
    Users { after: Option<Box<str>>, limit: usize },
    /// To pass this frame on to all native connections, or to all but one.
    Broadcast { frame: Arc<Vec<u8>>, left_out: LeftOut },
}

/// One loop's answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Alive,
    Counted(Box<Counters>),
    /// Rooms in order of name, each with its count of members.
    Rooms(Vec<(RoomName, u32)>),
    /// Users in order of id, each with its entry's JSON.
    Users(Vec<(Box<str>, Box<[u8]>)>),
    /// How many got the frame, or were closed.
    Told(u32),
    /// There is no place for another revocation.
    Full,
}

impl Question {
    /// What it brings along beside itself.
    fn extra_bytes(&self) -> usize {
        match self {
            Self::Ask { what: Topic::Broadcast { frame, .. }, .. } => frame.len(),
            Self::Ask { what: Topic::Health | Topic::Metrics | Topic::Revoke(_), .. } => 0,
            Self::Ask { what: Topic::Rooms { .. } | Topic::Users { .. }, .. } => 0,
            Self::Answer { answer: Answer::Alive | Answer::Told(_) | Answer::Full, .. } => 0,
            Self::Answer { answer: Answer::Counted(_), .. } => size_of::<Counters>(),
            Self::Answer { answer: Answer::Rooms(rooms), .. } => {
                rooms.len() * size_of::<(RoomName, u32)>()
            }
            Self::Answer { answer: Answer::Users(users), .. } => {
                users.iter().map(|(id, entry)| id.len() + entry.len()).sum()
            }
        }
    }
}

impl Batch {
    pub(crate) const fn new(from: LoopId) -> Self {
        Self {
            from,
            commands: Vec::new(),
            payloads: Vec::new(),
            replies: Vec::new(),
            texts: Vec::new(),
            runs: Vec::new(),
            frames: Vec::new(),
            bytes: Vec::new(),
            credit: Spent { commands: 0, bytes: 0 },
            questions: Vec::new(),
            extra_bytes: 0,
        }
    }

    /// The loop that made it.
    pub const fn from(&self) -> LoopId {
        self.from
    }

    /// What it weighs in an inbox: payloads, frames and the fixed parts of its entries.
    pub const fn bytes(&self) -> usize {
        self.payloads.len()
            + self.bytes.len()
            + self.commands.len() * size_of::<HomeCommand>()
            + self.replies.len() * size_of::<Reply>()
            + self.texts.len()
            + self.extra_bytes
            + self.frames.len() * size_of::<Frame>()
            + self.runs.len() * size_of::<Run>()
            + self.questions.len() * size_of::<Question>()
    }

    /// Whether there is nothing in it, returned credit aside.
    pub(crate) const fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.replies.is_empty()
            && self.runs.is_empty()
            && self.questions.is_empty()
    }

    /// Copies `text` behind the commands' payloads.
    pub(crate) fn push_payload(&mut self, text: &[u8]) -> Span {
        let start = super::buffers::offset(self.payloads.len());
        self.payloads.extend_from_slice(text);
        Span { start, end: super::buffers::offset(self.payloads.len()) }
    }

    /// Adds a request to a home.
    pub(crate) fn push_ask(&mut self, asked: Asked) {
        self.extra_bytes += asked.bytes();
        self.commands.push(HomeCommand::Ask(Box::new(asked)));
    }

    /// Adds a frame for one connection.
    pub(crate) fn push_text(
        &mut self,
        key: ConnKey,
        is_answer: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = super::buffers::offset(self.texts.len());
        write(&mut self.texts);
        let text = Span { start, end: super::buffers::offset(self.texts.len()) };
        self.replies.push(Reply::Text { key, text, is_answer });
    }

    /// Adds a question or an answer that spans loops.
    pub(crate) fn push_question(&mut self, question: Question) {
        self.extra_bytes += question.extra_bytes();
        self.questions.push(question);
    }

    /// Adds a frame for several connections.
    pub(crate) fn push_told(
        &mut self,
        keys: Box<[ConnKey]>,
        notice: Notice,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = super::buffers::offset(self.texts.len());
        write(&mut self.texts);
        let text = Span { start, end: super::buffers::offset(self.texts.len()) };
        self.extra_bytes += size_of_val(&*keys);
        self.replies.push(Reply::Told { keys, text, notice });
    }

    /// Adds the answer to a native join that was refused.
    pub(crate) fn push_refused(
        &mut self,
        key: ConnKey,
        (hash, ticket): (u64, Option<u32>),
        code: ErrorCode,
        frame: &[u8],
    ) {
        let start = super::buffers::offset(self.texts.len());
        self.texts.extend_from_slice(frame);
        let text = Span { start, end: super::buffers::offset(self.texts.len()) };
        self.replies.push(Reply::NativeRefused { key, hash, ticket, code, text });
    }

    /// Adds what came of asking for a session.
    pub(crate) fn push_session(
        &mut self,
        key: ConnKey,
        session: SessionId,
        parked: Option<Box<Parked>>,
    ) {
        self.extra_bytes += parked.as_ref().map_or(0, |parked| parked.bytes());
        self.replies.push(Reply::Session { key, session, parked });
    }

    /// Adds an answer that shows some of a room's past.
    pub(crate) fn push_past(&mut self, key: ConnKey, past: PastReply) {
        self.extra_bytes += past.bytes();
        self.replies.push(Reply::Past { key, past: Box::new(past) });
    }

    /// Adds a newcomer's answer.
    pub(crate) fn push_joined(&mut self, reply: JoinReply) {
        let past = reply.native.as_ref().map_or(0, |native| native.past.bytes());
        self.extra_bytes += past + size_of::<JoinReply>();
        self.replies.push(Reply::Joined(Box::new(reply)));
    }

    /// The bytes of a piece of [`Self::payloads`].
    pub(crate) fn payload(&self, span: Span) -> &[u8] {
        self.payloads.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}
