//! One client of the floor: its socket, and where the kernel has to go on.

use super::buffers::Buffer;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::ops::Range;
use std::rc::Rc;

/// Slices that one send goes on with.
const SLICES_MAX: usize = 64;

/// A client.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    /// The room it is in, once its handshake is done.
    pub(super) room: Option<usize>,
    /// Bytes of a request or a frame that is not complete.
    pub(super) carry: Vec<u8>,
    /// What the kernel did not take yet: places in buffers.
    unsent: VecDeque<(Buffer, Range<usize>)>,
    watches_writes: bool,
}

impl Peer {
    /// A client just accepted.
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            room: None,
            carry: Vec::new(),
            unsent: VecDeque::new(),
            watches_writes: false,
        }
    }

    /// Starts to watch for input.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE)
    }

    /// Reads once; 0 is the end, none that there is nothing.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a part of a buffer, behind what is still unsent. Returns how many sends it took.
    pub(super) fn send(
        &mut self,
        buffer: &Buffer,
        part: &Range<usize>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<u64> {
        if !self.unsent.is_empty() {
            self.unsent.push_back((Rc::clone(buffer), part.clone()));
            return Ok(0);
        }
        let taken = taken(self.stream.write(buffer.get(part.clone()).unwrap_or_default()))?;
        if taken < part.len() {
            self.unsent.push_back((Rc::clone(buffer), part.start + taken..part.end));
            if !self.watches_writes {
                self.watches_writes = true;
                let both = Interest::READABLE | Interest::WRITABLE;
                registry.reregister(&mut self.stream, token, both)?;
            }
        }
        Ok(1)
    }

    /// Sends a few bytes to a client that waits for them; one that did not read so little goes.
    pub(super) fn send_small(&mut self, bytes: &[u8]) -> io::Result<()> {
        let is_whole = self.unsent.is_empty() && self.stream.write(bytes)? == bytes.len();
        if is_whole { Ok(()) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
    }

    /// Goes on with what is unsent, `join` saying whether in one send. Returns how many it took.
    pub(super) fn resume(&mut self, join: usize) -> io::Result<u64> {
        let mut sends = 0;
        while !self.unsent.is_empty() {
            let slices = [IoSlice::new(&[]); SLICES_MAX];
            let taken = self.send_front(slices, join)?;
            sends += 1;
            if self.advance(taken) {
                break; // The kernel took less than it was offered: it will say when it takes more.
            }
        }
        Ok(sends)
    }

    fn send_front<'a>(
        &'a self,
        mut slices: [IoSlice<'a>; SLICES_MAX],
        join: usize,
    ) -> io::Result<usize> {
        let mut stream = &self.stream;
        let mut count = 0;
        for (slice, (buffer, range)) in slices.iter_mut().take(join).zip(&self.unsent) {
            *slice = IoSlice::new(buffer.get(range.clone()).unwrap_or_default());
            count += 1;
        }
        match slices.get(..count).unwrap_or_default() {
            [one] => taken(stream.write(one)),
            several => taken(stream.write_vectored(several)),
        }
    }

    /// Takes so many bytes off the front; whether the part they end in is not done.
    fn advance(&mut self, mut taken: usize) -> bool {
        while let Some((_, range)) = self.unsent.front_mut() {
            if range.len() > taken {
                range.start += taken;
                return true;
            }
            taken -= range.len();
            self.unsent.pop_front();
            if taken == 0 {
                return false;
            }
        }
        false
    }
}

/// How much the kernel took; a full socket took nothing.
fn taken(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
