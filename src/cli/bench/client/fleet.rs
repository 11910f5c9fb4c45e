//! All connections of the load tester on one poll, with one receive buffer.
//!
//! Not here: what is sent and what is made of what comes. Connections are named by their place, in
//! the order in which they were opened.

use super::alarm::Alarm;
use super::conn::{Brought, Conn, Ending, Happening, Reading, Rest, mask};
use super::dial::dial;
use super::unpack::OFFER;
use crate::cli::bench::clock::Clock;
use crate::cli::bench::error::BenchError;
use crate::cli::bench::tokens::Tokens;
use crate::ws::{self, DeflateOffer, Opcode};
use mio::{Events, Poll, Token};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Read at once: as much as a burst of thousands of messages.
const INPUT_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1_024;
/// Handshakes under way at once while connections are opened.
const OPENING_MAX: usize = 64;
/// Time in which some handshake must get on.
const PATIENCE: Duration = Duration::from_secs(10);
const ALARM: Token = Token(usize::MAX);

/// How connections are opened and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Bytes of each payload that are looked at.
    pub(crate) look: usize,
    /// Whether permessage-deflate is offered.
    pub(crate) deflate: bool,
    /// The subprotocol that is asked for.
    pub(crate) subprotocol: Option<&'static str>,
}

impl Manner {
    /// What the handshake asks for beside a WebSocket.
    pub(super) fn asked(self) -> (Option<DeflateOffer>, Option<&'static str>) {
        (self.deflate.then_some(OFFER), self.subprotocol)
    }
}

/// The connections.
#[derive(Debug)]
pub(crate) struct Fleet {
    poll: Poll,
    events: Events,
    conns: Vec<Conn>,
    /// Those of which there may be more to read than was read in their turn.
    unread: Vec<usize>,
    input: Box<[u8]>,
    alarm: Alarm,
    clock: Clock,
    address: SocketAddr,
    manner: Manner,
    tokens: Tokens,
    dialled: usize,
    brought: Brought,
}

impl Fleet {
    /// No connections yet.
    pub(crate) fn new(address: SocketAddr, manner: Manner, clock: Clock) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            conns: Vec::new(),
            unread: Vec::new(),
            input: vec![0; INPUT_BYTES].into(),
            alarm,
            clock,
            address,
            manner,
            tokens: Tokens::default(),
            dialled: 0,
            brought: Brought::default(),
        })
    }

    /// The same, whose connections show the next of `tokens` each.
    pub(crate) fn showing(self, tokens: Tokens) -> Self {
        Self { tokens, ..self }
    }

    /// How many there are, in whatever state.
    pub(crate) const fn len(&self) -> usize {
        self.conns.len()
    }

    /// Begins one more connection, to the request target `target`.
    pub(crate) fn open(&mut self, target: &str) -> io::Result<()> {
        let conn = self.dial(target, self.conns.len())?;
        self.conns.push(conn);
        Ok(())
    }

    /// Puts a new connection in the place of one that is over.
    pub(crate) fn reopen(&mut self, index: usize, target: &str) -> io::Result<()> {
        let conn = self.dial(target, index)?;
        if let Some(place) = self.conns.get_mut(index) {
            *place = conn; // Dropping the old one closes it.
            self.unread.retain(|unread| *unread != index);
        }
        Ok(())
    }

    fn dial(&mut self, target: &str, index: usize) -> io::Result<Conn> {
        let mut key = [0; 16];
        fastrand::fill(&mut key);
        let mut request = Vec::new();
        let host = self.address.to_string();
        ws::client_request_speaking(&mut request, &host, target, &key, self.manner.asked());
        self.tokens.add_next(&mut request);
        let stream = dial(self.address, self.dialled)?;
        self.dialled += 1;
        let mut conn = Conn::new(stream, key, request);
        conn.register(self.poll.registry(), Token(index))?;
        Ok(conn)
    }

    /// Opens a connection to each of `targets` and waits until all handshakes are done.
    pub(crate) fn open_all(
        &mut self,
        targets: impl ExactSizeIterator<Item = String>,
        mut progress: impl FnMut(usize),
    ) -> Result<(), BenchError> {
        let all = self.conns.len() + targets.len();
        let mut targets = targets;
        let (mut under_way, mut ended) = (0, None);
        let mut deadline_us = self.clock.now_us() + micros(PATIENCE);
        loop {
            while under_way < OPENING_MAX
                && let Some(target) = targets.next()
            {
                self.open(&target).map_err(|error| BenchError::Dial(self.address, error))?;
                under_way += 1;
            }
            if under_way == 0 {
                return Ok(());
            }
            let before = under_way;
            self.turn(Some(PATIENCE), |_, _, happening| match happening {
                Happening::Opened => under_way -= 1,
                Happening::Closed(ending) => ended = Some(ending),
                Happening::Message { .. } => {}
            })?;
            if let Some(ending) = ended {
                return Err(BenchError::Opening { opened: self.opened(), wanted: all, ending });
            }
            if under_way < before {
                deadline_us = self.clock.now_us() + micros(PATIENCE);
                progress(self.conns.len() - under_way);
            } else if self.clock.now_us() > deadline_us {
                let ending = Ending::Io(io::ErrorKind::TimedOut.into());
                return Err(BenchError::Opening { opened: self.opened(), wanted: all, ending });
            }
        }
    }

    fn opened(&self) -> usize {
        self.conns.iter().filter(|conn| conn.is_open()).count()
    }

    /// Connections that stand and agreed on compression.
    pub(crate) fn compressing(&self) -> usize {
        self.conns.iter().filter(|conn| conn.compresses()).count()
    }

    /// Appends to what the connection is to be sent by the next [`Self::flush`]. Returns the bytes
    /// that are held for it.
    pub(crate) fn queue(&mut self, index: usize, push: impl FnOnce(&mut Vec<u8>)) -> usize {
        let Some(conn) = self.conns.get_mut(index).filter(|conn| conn.is_open()) else { return 0 };
        push(conn.out());
        conn.out().len()
    }

    /// Sends what was queued for the connection; how it ended where that fails.
    pub(crate) fn flush(&mut self, index: usize) -> Result<(), Ending> {
        let Some(conn) = self.conns.get_mut(index) else { return Ok(()) };
        conn.flush().map_err(|error| {
            conn.end();
            Ending::Io(error)
        })
    }

    /// Sends a close frame.
    pub(crate) fn close(&mut self, index: usize, code: u16) -> Result<(), Ending> {
        self.queue(index, |out| {
            ws::push_masked_frame(out, Opcode::Close, &code.to_be_bytes(), mask());
        });
        self.flush(index)
    }

    /// Hangs up without a word.
    pub(crate) fn hang_up(&mut self, index: usize) {
        if let Some(conn) = self.conns.get_mut(index) {
            conn.end();
        }
    }

    /// What all reads so far have brought.
    pub(crate) const fn brought(&self) -> Brought {
        self.brought
    }

    /// Lets all connections go without a word.
    pub(crate) fn drop_all(&mut self) {
        self.conns.clear();
        self.unread.clear();
    }

    /// Wakes the next [`Self::turn`] so many microseconds from now.
    pub(crate) fn wake_in(&self, in_us: u64) -> io::Result<()> {
        self.alarm.set(in_us)
    }

    /// Waits for readiness once and tells what came: which connection, when, what.
    pub(crate) fn turn(
        &mut self,
        timeout: Option<Duration>,
        mut tell: impl FnMut(usize, u64, Happening<'_>),
    ) -> io::Result<()> {
        let Self { poll, events, conns, unread, input, clock, manner, brought, .. } = self;
        let timeout = if unread.is_empty() { timeout } else { Some(Duration::ZERO) };
        match poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let mut reading = Reading { input, manner: *manner, clock: *clock, brought };
        let before = std::mem::take(unread);
        for event in &*events {
            let Token(index) = event.token();
            let Some(conn) = conns.get_mut(index) else { continue };
            let tell = |now_us, happening: Happening<'_>| tell(index, now_us, happening);
            if conn.handle_event(event, &mut reading, tell) == Rest::Unread {
                unread.push(index);
            }
        }
        for index in before {
            let Some(conn) = conns.get_mut(index).filter(|_| !unread.contains(&index)) else {
                continue;
            };
            let tell = |now_us, happening: Happening<'_>| tell(index, now_us, happening);
            if conn.read_on(&mut reading, tell) == Rest::Unread {
                unread.push(index);
            }
        }
        Ok(())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
