//! Many clients that others wrote (`tungstenite`), on one thread: each sends its letters as fast as
//! the broker takes them and reads whatever comes.
//!
//! Invariant: a client reads whenever there is something to read, so it is never a slow one.

use super::broker::Broker;
use super::plan::{Kind, Letter, Plan, Seen, payload};
use super::wait::Stopwatch;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tungstenite::{Message, WebSocket};

/// One of the crowd.
#[derive(Debug)]
pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
    sender: u32,
    letters: VecDeque<Letter>,
    sent: usize,
    /// The kernel took all that was offered.
    writable: bool,
    /// What it got, in order.
    pub(crate) seen: Vec<Seen>,
    /// What a close frame said, once one came.
    pub(crate) closed: Option<Option<u16>>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    pub(crate) clients: Vec<Client>,
}

impl Crowd {
    pub(crate) fn new() -> Self {
        let poll = Poll::new().expect("a poll");
        Self { poll, events: Events::with_capacity(1024), clients: Vec::new() }
    }

    /// Connects a client whose sender's number is `sender`; returns its place.
    pub(crate) fn join(&mut self, broker: &Broker, room: &str, sender: u32) -> usize {
        let stream = TcpStream::connect(broker.address()).expect("the broker accepts");
        stream.set_nodelay(true).expect("no delay");
        let (socket, _) = tungstenite::client(broker.room_url(room), stream).expect("a handshake");
        socket.get_ref().set_nonblocking(true).expect("not blocking");
        let (place, both) = (self.clients.len(), Interest::READABLE | Interest::WRITABLE);
        let descriptor = socket.get_ref().as_raw_fd();
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&descriptor), Token(place), both).expect("registered");
        self.clients.push(Client {
            socket,
            sender,
            letters: VecDeque::new(),
            sent: 0,
            writable: true,
            seen: Vec::new(),
            closed: None,
        });
        place
    }

    /// Connects those members of the plan for which `ours` holds. Their letters wait.
    pub(crate) fn join_all(&mut self, broker: &Broker, plan: &Plan, ours: impl Fn(usize) -> bool) {
        for (place, member) in plan.members.iter().enumerate().filter(|(place, _)| ours(*place)) {
            let query = if member.echo { "" } else { "?echo=0" };
            let room = format!("{}{query}", Plan::name(member.room));
            self.join(broker, &room, u32::try_from(place).expect("few members"));
        }
    }

    /// Gives a client something to send.
    pub(crate) fn give(&mut self, place: usize, letters: impl IntoIterator<Item = Letter>) {
        self.clients[place].letters.extend(letters);
    }

    /// Gives every client what the plan says.
    pub(crate) fn give_all(&mut self, plan: &Plan) {
        for client in &mut self.clients {
            client.letters.extend(&plan.members[client.sender as usize].letters);
        }
    }

    /// Sends and reads until `done`; fails after the deadline, saying who is where.
    pub(crate) fn run(&mut self, what: &str, done: impl Fn(&[Client]) -> bool) {
        let waiting = Stopwatch::start();
        while !done(&self.clients) {
            if waiting.elapsed() >= super::wait::DEADLINE {
                for (place, client) in self.clients.iter().enumerate() {
                    let Client { letters, seen, closed, writable, .. } = client;
                    let (left, saw) = (letters.len(), seen.len());
                    eprintln!("{place}: {left} to send, saw {saw}, {closed:?}, {writable}");
                }
                waiting.check(what);
            }
            self.turn();
        }
    }

    /// One look at all sockets.
    pub(crate) fn turn(&mut self) {
        let mut busy = false;
        for client in &mut self.clients {
            client.send();
            busy |= client.writable && !client.letters.is_empty();
        }
        let wait = if busy { Duration::ZERO } else { Duration::from_millis(20) };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            polled => polled.expect("a poll"),
        }
        for event in &self.events {
            self.clients[event.token().0].handle(event);
        }
    }
}

impl Client {
    /// Whether all its letters have left.
    pub(crate) fn has_sent(&self) -> bool {
        self.letters.is_empty() && self.writable
    }

    fn send(&mut self) {
        if !self.writable || self.closed.is_some() {
            return;
        }
        let Some(letter) = self.letters.pop_front() else { return };
        let payload = payload(letter, self.sender, self.sent);
        self.sent += 1;
        let message = match letter.kind {
            Kind::Text => Message::text(String::from_utf8(payload).expect("digits")),
            Kind::Binary => Message::binary(payload),
        };
        self.note(|socket| socket.send(message));
    }

    /// Sends what the socket did not take, or takes note that it still does not.
    fn note(&mut self, send: impl FnOnce(&mut WebSocket<TcpStream>) -> tungstenite::Result<()>) {
        match send(&mut self.socket) {
            Ok(()) => self.writable = true,
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
            }
            Err(_) if self.closed.is_some() => {}
            Err(error) => panic!("client {:x}: {error}", self.sender),
        }
    }

    fn handle(&mut self, event: &Event) {
        if event.is_readable() {
            self.read();
        }
        if event.is_writable() && !self.writable {
            self.note(WebSocket::flush);
        }
    }

    fn read(&mut self) {
        while self.closed.is_none() {
            match self.socket.read() {
                Ok(Message::Text(text)) => self.seen.push(Seen::new(Kind::Text, text.as_bytes())),
                Ok(Message::Binary(bytes)) => self.seen.push(Seen::new(Kind::Binary, &bytes)),
                Ok(Message::Close(frame)) => {
                    self.closed = Some(frame.map(|frame| frame.code.into()));
                    self.socket.flush().ok(); // The answer to the close.
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return;
                }
                Err(error) => {
                    panic!("client {:x}, after {} messages: {error}", self.sender, self.seen.len())
                }
            }
        }
    }
}
