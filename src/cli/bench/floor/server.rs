//! The floor's loop: poll, read, send.

use super::Kind;
use super::peer::{Peer, greet};
use super::rooms::{Rooms, Stop, push_frames};
use crate::cli::bench::error::BenchError;
use crate::limits::{EVENTS_PER_TICK_MAX, LISTEN_BACKLOG, RECV_BUFFER_BYTES};
use crate::ws;
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

const LISTENER: Token = Token(usize::MAX);
const CLOSE_NORMAL: u16 = 1000;

/// The loop's whole state.
#[derive(Debug)]
pub(super) struct Floor {
    poll: Poll,
    listener: TcpListener,
    address: SocketAddr,
    kind: Kind,
    join: usize,
    buffer: Box<[u8]>,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    rooms: Rooms,
    /// What an echo is laid out in.
    scratch: Vec<u8>,
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
            buffer: vec![0; RECV_BUFFER_BYTES].into(),
            peers: Vec::new(),
            free: Vec::new(),
            rooms: Rooms::default(),
            scratch: Vec::new(),
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
            self.send();
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
        let Some(mut peer) = self.peers.get_mut(index).and_then(Option::take) else { return };
        let resumed = if event.is_writable() {
            peer.resume(self.poll.registry(), Token(index))
        } else {
            Ok(())
        };
        let stays = resumed.is_ok()
            && (!event.is_readable() || self.read(index, &mut peer, event.is_read_closed()));
        if stays {
            if let Some(place) = self.peers.get_mut(index) {
                *place = Some(peer);
            }
        } else {
            if let Some(room) = peer.room {
                self.rooms.leave(room, index);
            }
            self.free.push(index);
        }
    }

    /// Reads what is there; whether the client stays.
    fn read(&mut self, index: usize, peer: &mut Peer, closed: bool) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let stays = loop {
            match peer.read(&mut buffer) {
                Ok(Some(0)) | Err(_) => break false,
                Ok(None) => break true,
                Ok(Some(count)) => {
                    let input = buffer.get_mut(..count).unwrap_or_default();
                    if self.handle_input(index, peer, input).is_err() {
                        break false;
                    }
                    if count < buffer.len() && !closed {
                        break true;
                    }
                }
            }
        };
        self.buffer = buffer;
        stays
    }

    /// Deals with input; an error ends the connection.
    fn handle_input(&mut self, index: usize, peer: &mut Peer, input: &mut [u8]) -> io::Result<()> {
        if peer.carry.is_empty() {
            return self.handle_bytes(index, peer, input);
        }
        let mut whole = std::mem::take(&mut peer.carry);
        whole.extend_from_slice(input);
        self.handle_bytes(index, peer, &mut whole)
    }

    fn handle_bytes(&mut self, index: usize, peer: &mut Peer, input: &mut [u8]) -> io::Result<()> {
        let Some(room) = peer.room else {
            let Some(greeting) = greet(input)? else {
                peer.carry.extend_from_slice(input);
                return Ok(());
            };
            peer.send(&greeting.answer, self.poll.registry(), Token(index))?;
            peer.room = Some(match self.kind {
                Kind::Fanout => self.rooms.join(&greeting.path, index),
                Kind::Echo | Kind::Connect => 0,
            });
            let rest = input.get_mut(greeting.bytes..).unwrap_or_default();
            return if rest.is_empty() { Ok(()) } else { self.handle_bytes(index, peer, rest) };
        };
        let stop = match self.kind {
            Kind::Fanout => self.rooms.publish(room, input),
            Kind::Echo => {
                self.scratch.clear();
                let scratch = &mut self.scratch;
                let stop = push_frames(input, |opcode, payload| {
                    ws::push_frame(scratch, opcode, payload);
                });
                if !self.scratch.is_empty() {
                    peer.send(&self.scratch, self.poll.registry(), Token(index))?;
                }
                stop
            }
            Kind::Connect => push_frames(input, |_, _| {}),
        };
        match stop.map_err(|_| io::ErrorKind::InvalidData)? {
            Stop::Incomplete(whole) => {
                peer.carry.extend_from_slice(input.get(whole..).unwrap_or_default());
                Ok(())
            }
            Stop::Close => {
                let mut close = Vec::new();
                ws::push_close(&mut close, CLOSE_NORMAL, "");
                peer.send(&close, self.poll.registry(), Token(index))?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    /// Sends what this turn brought to everybody in its room.
    fn send(&mut self) {
        while let Some((index, room)) = self.rooms.take_dirty() {
            for range in room.sends(self.join) {
                let bytes = room.frames.get(range).unwrap_or_default();
                for &member in &room.members {
                    if let Some(Some(peer)) = self.peers.get_mut(member) {
                        // Whoever is gone will be read to its end.
                        let _ = peer.send(bytes, self.poll.registry(), Token(member));
                    }
                }
            }
            self.rooms.put(index, room);
        }
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
