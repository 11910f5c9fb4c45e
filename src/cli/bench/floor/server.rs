//! The floor's loop: poll, read, send.
//!
//! Invariant: what a read brought is sent before the next read, from the buffer it was read into.

use super::Kind;
use super::buffers::{Buffer, Buffers};
use super::frames::{Part, Stop, bare};
use super::greeting::{Greeting, push_answer};
use super::peer::Peer;
use super::rooms::Rooms;
use crate::cli::bench::error::BenchError;
use crate::limits::{EVENTS_PER_TICK_MAX, LISTEN_BACKLOG};
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

const LISTENER: Token = Token(usize::MAX);
/// A close frame with code 1000.
const CLOSE: &[u8] = b"\x88\x02\x03\xe8";

/// The loop's whole state.
#[derive(Debug)]
pub(super) struct Floor {
    poll: Poll,
    listener: TcpListener,
    address: SocketAddr,
    kind: Kind,
    join: usize,
    buffers: Buffers,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    rooms: Rooms,
    /// The sends of the read in hand.
    parts: Vec<Part>,
    counts: Counts,
}

/// What was sent so far: messages, and the system calls that it took.
#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    messages: u64,
    sends: u64,
}

/// What is made of a read.
enum Next {
    /// More of it may come.
    Wait,
    /// There are parts to be sent.
    Send,
    /// There may be, and then the client is told goodbye.
    Close,
    /// The client goes.
    Leave,
}

impl Floor {
    /// Listens, and serves nobody yet.
    pub(super) fn listen(address: SocketAddr, kind: Kind, join: usize) -> Result<Self, BenchError> {
        let mut listener = bind(address).map_err(|error| BenchError::Listen(address, error))?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            address: listener.local_addr()?,
            poll,
            listener,
            kind,
            join,
            buffers: Buffers::default(),
            peers: Vec::new(),
            free: Vec::new(),
            rooms: Rooms::default(),
            parts: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// Where it listens; a port 0 is the chosen one here.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Turns until the poll fails.
    pub(super) fn serve(mut self) -> Result<Infallible, BenchError> {
        let mut events = Events::with_capacity(EVENTS_PER_TICK_MAX);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(index) => self.handle_event(index, event),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let index = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            let mut peer = Peer::new(stream);
            peer.register(self.poll.registry(), Token(index))?;
            if let Some(place) = self.peers.get_mut(index) {
                *place = Some(peer);
            }
        }
    }

    fn handle_event(&mut self, index: usize, event: &Event) {
        let stays = (!event.is_writable() || self.resume(index).is_ok())
            && (!event.is_readable() || self.read(index, event.is_read_closed()));
        if stays {
            return;
        }
        let Some(peer) = self.peers.get_mut(index).and_then(Option::take) else { return };
        if let Some(room) = peer.room {
            self.rooms.leave(room, index);
        }
        self.free.push(index);
    }

    fn peer(&self, index: usize) -> Option<&Peer> {
        self.peers.get(index)?.as_ref()
    }

    fn resume(&mut self, index: usize) -> io::Result<()> {
        if let Some(Some(peer)) = self.peers.get_mut(index) {
            self.counts.sends += peer.resume(self.join)?;
        }
        Ok(())
    }

    /// Reads what is there; whether the client stays.
    fn read(&mut self, index: usize, closed: bool) -> bool {
        loop {
            let carried = self.peer(index).map_or(0, |peer| peer.carry.len());
            let mut buffer = self.buffers.take(carried);
            let next = self.read_into(index, &mut buffer);
            if let Ok((Next::Send | Next::Close, _)) = next {
                self.send(index, &buffer);
            }
            self.buffers.put(buffer);
            if let Ok((Next::Close, _)) = next {
                let _ = self.answer(index, CLOSE); // It goes, whether it hears that or not.
            }
            match next {
                Ok((Next::Wait | Next::Send, is_full)) if is_full || closed => {}
                Ok((Next::Wait | Next::Send, _)) => return true,
                Ok((Next::Close | Next::Leave, _)) | Err(_) => return false,
            }
        }
    }

    /// Reads once, behind what was carried over. Also says whether there may be more to read.
    fn read_into(&mut self, index: usize, buffer: &mut Buffer) -> io::Result<(Next, bool)> {
        let Some(Some(peer)) = self.peers.get_mut(index) else { return Ok((Next::Wait, false)) };
        let bytes = Rc::get_mut(buffer).expect("a buffer that was taken is nobody else's");
        let carried = peer.carry.len();
        let (front, space) =
            bytes.split_at_mut_checked(carried).ok_or(io::ErrorKind::FileTooLarge)?;
        let Some(count) = peer.read(space)? else { return Ok((Next::Wait, false)) };
        if count == 0 {
            return Ok((Next::Leave, false));
        }
        let is_full = count == space.len();
        front.copy_from_slice(&peer.carry);
        peer.carry.clear();
        let input = bytes.get_mut(..carried + count).unwrap_or_default();
        Ok((self.handle_input(index, input)?, is_full))
    }

    fn handle_input(&mut self, index: usize, input: &mut [u8]) -> io::Result<Next> {
        let Some(Some(peer)) = self.peers.get_mut(index) else { return Ok(Next::Leave) };
        let mut from = 0;
        if peer.room.is_none() {
            let Some(greeting) = Greeting::read(input)? else {
                peer.carry.extend_from_slice(input);
                return Ok(Next::Wait);
            };
            let Some(key) = greeting.key else {
                peer.send_small(&self.counts.response())?;
                return Ok(Next::Leave);
            };
            peer.room = Some(match self.kind {
                Kind::Fanout => self.rooms.join(greeting.path, index),
                Kind::Echo | Kind::Connect => 0,
            });
            let mut answer = Vec::new();
            push_answer(&mut answer, key);
            peer.send_small(&answer)?;
            from = greeting.bytes;
            if from == input.len() {
                return Ok(Next::Wait);
            }
        }
        self.handle_frames(index, input, from)
    }

    /// Makes parts of the frames that begin at `from`: they lie where they are sent from.
    fn handle_frames(&mut self, index: usize, input: &mut [u8], from: usize) -> io::Result<Next> {
        self.parts.clear();
        let stop = bare(input, from, self.join, &mut self.parts);
        match stop.map_err(|_| io::ErrorKind::InvalidData)? {
            Stop::Incomplete(from) => {
                if let Some(Some(peer)) = self.peers.get_mut(index) {
                    peer.carry.extend_from_slice(input.get(from..).unwrap_or_default());
                }
                let is_nothing = self.parts.is_empty() || self.kind == Kind::Connect;
                Ok(if is_nothing { Next::Wait } else { Next::Send })
            }
            Stop::Close => Ok(Next::Close),
        }
    }

    fn answer(&mut self, index: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(Some(peer)) = self.peers.get_mut(index) else { return Ok(()) };
        peer.send_small(bytes)
    }

    /// Sends the parts to everybody in the sender's room, or back.
    fn send(&mut self, index: usize, buffer: &Buffer) {
        let room = self.peer(index).and_then(|peer| peer.room);
        let Self { peers, rooms, parts, kind, counts, poll, .. } = self;
        let own = [index];
        let members = match (kind, room) {
            (Kind::Fanout, Some(room)) => rooms.members(room),
            (Kind::Echo, _) => &own,
            (Kind::Fanout, None) | (Kind::Connect, _) => &[],
        };
        for part in &*parts {
            let Part { bytes, messages } = part;
            for &member in members {
                if let Some(Some(peer)) = peers.get_mut(member) {
                    // Whoever is gone will be read to its end.
                    let sent = peer.send(buffer, bytes, poll.registry(), Token(member));
                    counts.sends += sent.unwrap_or_default();
                }
            }
            counts.messages += (messages * members.len()) as u64;
        }
    }
}

impl Counts {
    /// The counts under the names that the broker has for them.
    fn response(self) -> Vec<u8> {
        let Self { messages, sends } = self;
        let body = format!(
            "# TYPE fanfare_messages_delivered counter\nfanfare_messages_delivered_total {messages}\n\
             # TYPE fanfare_writes counter\nfanfare_writes_total {sends}\n# EOF\n"
        );
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// A listener whose connections inherit what the broker's do, as far as it bears on cost.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG.into())?;
    Ok(TcpListener::from_std(socket.into()))
}
