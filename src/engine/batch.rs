//! What travels from one loop to another: everything of one tick in one parcel.
//!
//! A batch carries commands to rooms at home on the destination, replies and publications for
//! members there, returned credit, and questions that span loops. Invariant: within a batch,
//! commands keep the order in which the origin made them, and replies are handled before runs (a
//! join's reply comes before what the newcomer gets).

use crate::broker::{
    CommandError, ConnKey, Encoding, LoopId, PayloadKind, Published, RoomHandle, RoomOptions,
};
use crate::observe::Counters;

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
    Member,
    /// A member that joined with `echo` off.
    LeftOut(ConnKey),
    /// A connection that is no member and waits for the ack.
    Outsider(ConnKey),
}

/// A request to the home of a room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HomeCommand {
    Join { key: ConnKey, name: Span, hash: u64, encoding: Encoding },
    Leave { room: RoomHandle, encoding: Encoding, count: u32 },
    Publish { room: SentRoom, kind: PayloadKind, payload: Span, sender: Sender },
}

/// A home's answer to one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    Joined { key: ConnKey, room: RoomHandle, encoding: Encoding, seq: u64, options: RoomOptions },
    JoinRefused { key: ConnKey },
    Ack { key: ConnKey, published: Published },
    PublishRefused { key: ConnKey, error: CommandError },
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
}

impl Run {
    /// A run without frames.
    pub(crate) const fn named(room: RoomHandle, encoding: Encoding, first_seq: u64) -> Self {
        let (start, end, frames_from, frames_to) = (0, 0, 0, 0);
        let (saved, leaves_out) = (0, false);
        Self { room, encoding, first_seq, start, end, frames_from, frames_to, saved, leaves_out }
    }
}

/// One frame of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Where it ends in [`Batch::bytes`]; it starts where the one before it ends.
    pub(crate) end: u32,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Topic {
    /// Whether it runs: the canary.
    Health,
    /// What it counted.
    Metrics,
}

/// One loop's answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Alive,
    Counted(Box<Counters>),
}

impl Batch {
    pub(crate) const fn new(from: LoopId) -> Self {
        Self {
            from,
            commands: Vec::new(),
            payloads: Vec::new(),
            replies: Vec::new(),
            runs: Vec::new(),
            frames: Vec::new(),
            bytes: Vec::new(),
            credit: Spent { commands: 0, bytes: 0 },
            questions: Vec::new(),
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

    /// The bytes of a piece of [`Self::payloads`].
    pub(crate) fn payload(&self, span: Span) -> &[u8] {
        self.payloads.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}
