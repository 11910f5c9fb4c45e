//! One connection of the load tester: connects, shakes hands, walks frames, writes what is queued.
//!
//! Invariants: after [`Ending`] nothing more is told and the socket is closed; pings are answered
//! here; what the kernel did not take is kept and goes first.

use super::fleet::Manner;
use super::walk::{Seen, Walk};
use crate::cli::bench::clock::Clock;
use crate::ws::{
    self, Accepted, ClientHandshakeError, Decoded, Opcode, ProtocolError, Rsv1,
    check_response_speaking,
};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::fmt;
use std::io::{self, Read, Write};

/// A connection, in whatever state it is.
#[derive(Debug)]
pub(super) struct Conn {
    /// None once it is over.
    stream: Option<TcpStream>,
    state: State,
    walk: Walk,
    /// Bytes to be written; those up to `written` are.
    out: Vec<u8>,
    written: usize,
    /// Bytes of pongs that have been queued since all was written.
    pongs_bytes: usize,
}

/// Full reads in a row after which others have their turn: what they bring is 4 MiB.
const READS_MAX: usize = 16;

/// Pongs that may wait: who sends pings and reads nothing is not to fill our memory. RFC 6455
/// §5.5.3: not each ping needs an answer of its own.
const PONGS_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
enum State {
    /// The request waits in `out`.
    Connecting(Box<Handshake>),
    Handshaking(Box<Handshake>),
    Open(Rsv1),
    Over,
}

#[derive(Debug)]
struct Handshake {
    key: [u8; 16],
    answer: Vec<u8>,
}

/// What a connection tells.
#[derive(Debug)]
pub(crate) enum Happening<'a> {
    /// The handshake is done.
    Opened,
    /// The last byte of a message came.
    Message {
        /// The front of its payload; all of it where it is compressed.
        front: &'a [u8],
        /// Payload bytes in all.
        bytes: u64,
        /// Whether the payload is compressed.
        compressed: bool,
    },
    /// It is over.
    Closed(Ending),
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Nobody was reached, or the connection broke.
    Io(io::Error),
    /// The answer to the handshake opened no WebSocket.
    Handshake(ClientHandshakeError),
    /// The server broke RFC 6455.
    Protocol(ProtocolError),
    /// The server closed by a frame with this code.
    Close(Option<u16>),
    /// The server closed the connection without a frame.
    Eof,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Handshake(error) => write!(f, "{error}"),
            Self::Protocol(error) => write!(f, "the server broke the protocol: {error}"),
            Self::Close(Some(code)) => write!(f, "the server closed with code {code}"),
            Self::Close(None) => f.write_str("the server closed without a code"),
            Self::Eof => f.write_str("the server hung up"),
        }
    }
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What all connections share while they read.
pub(super) struct Reading<'a> {
    pub(super) input: &'a mut [u8],
    pub(super) manner: Manner,
    pub(super) clock: Clock,
    pub(super) brought: &'a mut Brought,
}

/// Whether there may be more to read, of which no event will tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    None,
    Unread,
}

/// How far to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Until {
    /// A read brings less than it could.
    Short,
    /// There is nothing, or the end.
    Empty,
}

/// What reads brought.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Brought {
    /// Messages that came to their end.
    pub(crate) messages: u64,
    /// Reads in which some did.
    pub(crate) reads: u64,
}

impl Brought {
    /// What came after `before`.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self { messages: self.messages - before.messages, reads: self.reads - before.reads }
    }

    /// Messages of a read that brought some.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(crate) fn messages_per_read(self) -> Option<f64> {
        (self.reads > 0).then(|| self.messages as f64 / self.reads as f64)
    }
}

impl Conn {
    /// A connection under way; `request` is sent as soon as it stands.
    pub(super) fn new(stream: TcpStream, key: [u8; 16], request: Vec<u8>) -> Self {
        let handshake = Handshake { key, answer: Vec::new() };
        Self {
            stream: Some(stream),
            state: State::Connecting(Box::new(handshake)),
            walk: Walk::default(),
            out: request,
            written: 0,
            pongs_bytes: 0,
        }
    }

    /// Has the socket watched.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.stream.as_mut().map_or(Ok(()), |stream| registry.register(stream, token, both))
    }

    /// Where to append what [`Self::flush`] shall write.
    pub(super) const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether it is past its handshake and not over.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether it is, and agreed on compression.
    pub(super) const fn compresses(&self) -> bool {
        matches!(self.state, State::Open(Rsv1::Compressed))
    }

    /// Reacts to readiness; `tell` gets the time of the read with each happening.
    pub(super) fn handle_event(
        &mut self,
        event: &Event,
        reading: &mut Reading<'_>,
        mut tell: impl FnMut(u64, Happening<'_>),
    ) -> Rest {
        let reacted = self.react(event, reading, &mut tell);
        self.settle(reacted, reading, tell)
    }

    /// Goes on where reading was cut short.
    pub(super) fn read_on(
        &mut self,
        reading: &mut Reading<'_>,
        mut tell: impl FnMut(u64, Happening<'_>),
    ) -> Rest {
        let read = self.read(Until::Empty, reading, &mut tell);
        self.settle(read, reading, tell)
    }

    /// Ends the connection where that is what came of reading.
    fn settle(
        &mut self,
        read: Result<Rest, Ending>,
        reading: &Reading<'_>,
        mut tell: impl FnMut(u64, Happening<'_>),
    ) -> Rest {
        read.unwrap_or_else(|ending| {
            self.end();
            tell(reading.clock.now_us(), Happening::Closed(ending));
            Rest::None
        })
    }

    /// Drops what is queued and closes the socket.
    pub(super) fn end(&mut self) {
        self.stream = None;
        self.state = State::Over;
        self.walk = Walk::default();
        self.out = Vec::new();
        self.written = 0;
    }

    fn react(
        &mut self,
        event: &Event,
        reading: &mut Reading<'_>,
        tell: &mut impl FnMut(u64, Happening<'_>),
    ) -> Result<Rest, Ending> {
        let Some(stream) = &self.stream else { return Ok(Rest::None) };
        if event.is_error()
            && let Some(error) = stream.take_error()?
        {
            return Err(error.into());
        }
        if event.is_writable() {
            if matches!(self.state, State::Connecting(_)) {
                self.connected()?;
            }
            self.flush()?;
        }
        // A short read emptied the queue. An end that came with the data makes no new edge.
        let until = if event.is_read_closed() { Until::Empty } else { Until::Short };
        if event.is_readable() || event.is_read_closed() {
            return self.read(until, reading, tell);
        }
        Ok(Rest::None)
    }

    fn connected(&mut self) -> io::Result<()> {
        if let Some(stream) = &self.stream
            && let Some(error) = stream.take_error()?
        {
            return Err(error);
        }
        if let State::Connecting(handshake) = std::mem::replace(&mut self.state, State::Over) {
            self.state = State::Handshaking(handshake);
        }
        Ok(())
    }

    fn read(
        &mut self,
        until: Until,
        reading: &mut Reading<'_>,
        tell: &mut impl FnMut(u64, Happening<'_>),
    ) -> Result<Rest, Ending> {
        for _ in 0..READS_MAX {
            let Some(stream) = &mut self.stream else { return Ok(Rest::None) };
            let count = match stream.read(reading.input) {
                Ok(0) => return Err(Ending::Eof),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Rest::None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let now_us = reading.clock.now_us();
            let is_full = count == reading.input.len();
            let input = reading.input.get(..count).unwrap_or_default();
            let before = reading.brought.messages;
            let taken = self.handle_input(input, reading.manner, &mut |happening| {
                reading.brought.messages +=
                    u64::from(matches!(happening, Happening::Message { .. }));
                tell(now_us, happening);
            });
            reading.brought.reads += u64::from(reading.brought.messages > before);
            taken?;
            if !is_full && until == Until::Short {
                return Ok(Rest::None);
            }
        }
        Ok(Rest::Unread)
    }

    fn handle_input(
        &mut self,
        input: &[u8],
        manner: Manner,
        tell: &mut impl FnMut(Happening<'_>),
    ) -> Result<(), Ending> {
        let (frames, rsv1) = match &mut self.state {
            State::Open(rsv1) => {
                let rsv1 = *rsv1;
                return self.walk(input, (manner.look, rsv1), tell);
            }
            State::Connecting(_) | State::Over => return Ok(()),
            State::Handshaking(handshake) => {
                handshake.answer.extend_from_slice(input);
                match check_response_speaking(&handshake.answer, &handshake.key, manner.asked())
                    .map_err(Ending::Handshake)?
                {
                    Decoded::Complete(Accepted { head_bytes, deflate }) => {
                        let agreed = deflate.map_or(Rsv1::Reserved, |_| Rsv1::Compressed);
                        (handshake.answer.split_off(head_bytes), agreed)
                    }
                    Decoded::Partial(_) => return Ok(()),
                }
            }
        };
        self.state = State::Open(rsv1);
        self.out = Vec::new(); // The request's bytes, of a connection that may never write again.
        self.written = 0;
        tell(Happening::Opened);
        self.walk(&frames, (manner.look, rsv1), tell)
    }

    fn walk(
        &mut self,
        input: &[u8],
        looks: (usize, Rsv1),
        tell: &mut impl FnMut(Happening<'_>),
    ) -> Result<(), Ending> {
        let Self { walk, out, pongs_bytes, .. } = self;
        let queued = out.len();
        let mut close = None;
        walk.walk(input, looks, |seen| match seen {
            Seen::Message { front, bytes, compressed } => {
                tell(Happening::Message { front, bytes, compressed });
            }
            Seen::Ping(payload) => {
                if *pongs_bytes < PONGS_BYTES_MAX {
                    let before = out.len();
                    ws::push_masked_frame(out, Opcode::Pong, payload, mask());
                    *pongs_bytes += out.len() - before;
                }
            }
            Seen::Close(payload) => {
                close = Some(payload.first_chunk().copied().map(u16::from_be_bytes))
            }
        })
        .map_err(Ending::Protocol)?;
        if let Some(code) = close {
            return Err(Ending::Close(code));
        }
        if self.out.len() > queued {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is queued, as far as the kernel takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if matches!(self.state, State::Connecting(_)) {
            return Ok(());
        }
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Half at a time, so that a byte moves once and what is written goes.
                    if self.written > self.out.len() / 2 {
                        self.out.drain(..self.written);
                        self.written = 0;
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        self.pongs_bytes = 0;
        Ok(())
    }
}

/// How what is published is masked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Masking {
    /// As a client of any other purpose does.
    Random,
    /// By zeros, which leave a payload as it is: for the floor, which is not to touch it.
    Zeros,
}

impl Masking {
    /// The mask of the next message.
    pub(crate) fn mask(self) -> [u8; 4] {
        match self {
            Self::Random => mask(),
            Self::Zeros => [0; 4],
        }
    }
}

/// Masks keep proxies from being misled by chosen payloads; ours choose nothing.
pub(crate) fn mask() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net;

    /// An open connection, and its other end.
    fn pair() -> (Conn, net::TcpStream) {
        let listener = net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stream = net::TcpStream::connect(address).expect("a connection");
        stream.set_nonblocking(true).expect("a socket");
        let mut conn = Conn::new(TcpStream::from_std(stream), [0; 16], Vec::new());
        conn.state = State::Open(Rsv1::Reserved);
        (conn, listener.accept().expect("the other end").0)
    }

    #[test]
    fn what_is_written_is_not_held_however_much_still_waits() {
        const PIECE: usize = 64 * 1024;
        const WAITING: usize = 16 * 1024 * 1024;
        let (mut conn, mut peer) = pair();
        let mut dice = (fastrand::Rng::with_seed(1), fastrand::Rng::with_seed(1));
        let (mut piece, mut got) = (vec![0; PIECE], vec![0; PIECE]);
        let mut queued = 0;
        for _ in 0..1_000 {
            while queued < WAITING {
                dice.0.fill(&mut piece);
                conn.out().extend_from_slice(&piece);
                queued += PIECE;
            }
            conn.flush().expect("a peer");
            assert!(conn.out.len() <= 2 * WAITING, "{} bytes are held", conn.out.len());
            peer.read_exact(&mut got).expect("a client");
            queued -= PIECE;
            dice.1.fill(&mut piece);
            assert!(got == piece, "bytes went astray");
        }
    }

    #[test]
    fn who_pings_and_reads_nothing_does_not_fill_our_memory() {
        let (mut conn, _peer) = pair();
        let mut pings = Vec::new();
        for _ in 0..1_000 {
            ws::push_frame(&mut pings, Opcode::Ping, &[7; 125]);
        }
        for _ in 0..200 {
            conn.walk(&pings, (8, Rsv1::Reserved), &mut |_| {}).expect("pings");
        }
        assert!(conn.out.len() <= 2 * PONGS_BYTES_MAX, "{} bytes are held", conn.out.len());
    }

    #[test]
    fn whoever_is_over_is_closed_and_holds_nothing() {
        let (mut conn, mut peer) = pair();
        conn.out().extend_from_slice(b"never sent");
        conn.end();
        peer.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("a socket");
        assert_eq!(peer.read(&mut [0; 8]).expect("its end"), 0);
        assert!(conn.out.is_empty() && !conn.is_open() && conn.flush().is_ok());
    }

    #[test]
    fn reads_are_shared_out_over_messages() {
        let before = Brought { messages: 1, reads: 1 };
        let after = Brought { messages: 11, reads: 5 };
        assert_eq!(after.since(before).messages_per_read(), Some(2.5));
        assert_eq!(after.since(after).messages_per_read(), None);
    }
}
