//! A client's socket, and the two system calls a tick makes with it.
//!
//! Not here: which socket belongs to whom (`sockets`), what the bytes mean. Invariants: every
//! socket is non-blocking and comes from `accept4`, its options inherited from its listener;
//! readiness is edge-triggered, so what a call leaves behind is remembered in [`ReadSide`] or
//! announced by the next edge.

use crate::broker::PeerAddr;
use crate::engine::Progress;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

/// A stream socket of either family.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// Where it comes from; an error where its peer is gone already.
    pub(super) fn peer(&self) -> io::Result<PeerAddr> {
        Ok(match self {
            Self::Tcp(stream) => match stream.peer_addr()? {
                SocketAddr::V4(address) => PeerAddr::v4(address.ip().octets()),
                SocketAddr::V6(address) => PeerAddr::v6(address.ip().octets()),
            },
            Self::Unix(_) => PeerAddr::Unix,
        })
    }

    /// Registers for what comes in. A new socket is always writable, and would say so at once.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => registry.register(stream, token, Interest::READABLE),
            Self::Unix(stream) => registry.register(stream, token, Interest::READABLE),
        }
    }

    /// Registers for both directions, once it has been full. Room that there is by now is
    /// announced as room to come is.
    pub(super) fn watch_writes(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => registry.reregister(stream, token, both),
            Self::Unix(stream) => registry.reregister(stream, token, both),
        }
    }

    /// Tells the peer that no more bytes will come.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // Nothing is buffered on our side.
    }
}

/// What is known of the bytes that wait in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadSide {
    /// None; the next edge tells.
    Empty,
    /// Perhaps some.
    Ready,
    /// Perhaps some, then the end: the FIN's edge is spent, so reading goes on until it is met.
    ReadyToEnd,
    /// The end was met.
    Ended,
}

impl ReadSide {
    /// Notes a readable edge. `closed`: the peer will send no more.
    pub(super) fn handle_edge(&mut self, closed: bool) {
        *self = match (*self, closed) {
            (Self::Ended, _) => Self::Ended,
            (Self::ReadyToEnd, _) | (_, true) => Self::ReadyToEnd,
            (Self::Empty | Self::Ready, false) => Self::Ready,
        };
    }

    /// Whether a read may find something.
    pub(super) const fn is_ready(self) -> bool {
        match self {
            Self::Ready | Self::ReadyToEnd => true,
            Self::Empty | Self::Ended => false,
        }
    }
}

/// What one read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Input {
    /// So many bytes, at the front of the buffer.
    Bytes(usize),
    /// Nothing now.
    Blocked,
    /// The peer will send no more.
    Eof,
    /// The connection is gone.
    Failed,
}

/// Makes one read call and notes what it says about the next.
pub(super) fn read_once(from: &mut impl Read, buffer: &mut [u8], side: &mut ReadSide) -> Input {
    match retried(|| from.read(buffer)) {
        Ok(0) => {
            *side = ReadSide::Ended;
            Input::Eof
        }
        Ok(count) => {
            // Less than asked for: the queue is empty, and whatever comes makes a new edge. Unless
            // the peer's FIN came with the data: its edge is spent (epoll(7), question 9).
            if count < buffer.len() && *side == ReadSide::Ready {
                *side = ReadSide::Empty;
            }
            Input::Bytes(count)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            *side = ReadSide::Empty;
            Input::Blocked
        }
        Err(_) => {
            *side = ReadSide::Ended;
            Input::Failed
        }
    }
}

/// What became of one write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Output {
    /// The kernel took so many bytes.
    Taken(usize, Progress),
    /// The connection is gone.
    Failed,
}

/// Offers `slices` by one write call: the plain one where there is but one slice.
pub(super) fn write_once(to: &mut impl Write, slices: &[IoSlice<'_>]) -> Output {
    let offered: usize = slices.iter().map(|slice| slice.len()).sum();
    if offered == 0 {
        return Output::Taken(0, Progress::Ready);
    }
    let taken = retried(|| match slices {
        [slice] => to.write(slice),
        slices => to.write_vectored(slices),
    });
    match taken {
        Ok(0) => Output::Failed,
        // Full now, which may be over before an edge would tell: pacing, `TCP_NOTSENT_LOWAT`.
        Ok(taken) if taken < offered => Output::Taken(taken, Progress::Part),
        Ok(taken) => Output::Taken(taken, Progress::Ready),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Output::Taken(0, Progress::Blocked) // Marked as full: the kernel will announce room.
        }
        Err(_) => Output::Failed,
    }
}

/// Repeats a call that a signal cut short.
fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listener::tests::loopback;
    use std::collections::VecDeque;

    /// A kernel that answers as told, and notes how it was asked.
    #[derive(Default)]
    struct Kernel {
        answers: VecDeque<io::Result<usize>>,
        vectored: Vec<bool>,
    }

    impl Kernel {
        fn new(answers: impl IntoIterator<Item = io::Result<usize>>) -> Self {
            Self { answers: answers.into_iter().collect(), vectored: Vec::new() }
        }

        fn answer(&mut self, vectored: bool) -> io::Result<usize> {
            self.vectored.push(vectored);
            self.answers.pop_front().expect("an answer for every call")
        }
    }

    impl Read for Kernel {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            self.answer(false)
        }
    }

    impl Write for Kernel {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            self.answer(false)
        }
        fn write_vectored(&mut self, _slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.answer(true)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn read(answer: io::Result<usize>, mut side: ReadSide) -> (Input, ReadSide) {
        let input = read_once(&mut Kernel::new([answer]), &mut [0; 8], &mut side);
        (input, side)
    }

    #[test]
    fn a_short_read_waits_for_the_next_edge_unless_the_end_is_known_to_follow() {
        assert_eq!(read(Ok(3), ReadSide::Ready), (Input::Bytes(3), ReadSide::Empty));
        assert_eq!(read(Ok(8), ReadSide::Ready), (Input::Bytes(8), ReadSide::Ready));
        assert_eq!(read(Ok(3), ReadSide::ReadyToEnd), (Input::Bytes(3), ReadSide::ReadyToEnd));
        assert_eq!(read(Ok(0), ReadSide::ReadyToEnd), (Input::Eof, ReadSide::Ended));
    }

    #[test]
    fn a_socket_says_where_it_comes_from() {
        let (near, _far) = UnixStream::pair().expect("a socket pair");
        assert_eq!(Socket::Unix(near).peer().expect("no call"), PeerAddr::Unix);
        let (listener, address) = loopback();
        let _client = std::net::TcpStream::connect(address).expect("a connection");
        let socket = listener.accept().expect("it is in the queue");
        assert_eq!(socket.peer().expect("it is connected"), PeerAddr::v4([127, 0, 0, 1]));
    }

    #[test]
    fn a_read_says_whether_to_wait_or_to_give_up() {
        let blocked = io::ErrorKind::WouldBlock.into();
        assert_eq!(read(Err(blocked), ReadSide::Ready), (Input::Blocked, ReadSide::Empty));
        let reset = io::ErrorKind::ConnectionReset.into();
        assert_eq!(read(Err(reset), ReadSide::Ready), (Input::Failed, ReadSide::Ended));
    }

    #[test]
    fn an_edge_never_forgets_that_the_end_will_come_nor_that_it_came() {
        let after = |mut side: ReadSide, closed| {
            side.handle_edge(closed);
            side
        };
        assert_eq!(after(ReadSide::Empty, false), ReadSide::Ready);
        assert_eq!(after(ReadSide::Ready, true), ReadSide::ReadyToEnd);
        assert_eq!(after(ReadSide::ReadyToEnd, false), ReadSide::ReadyToEnd);
        assert_eq!(after(ReadSide::Ended, true), ReadSide::Ended);
    }

    #[test]
    fn a_call_cut_short_by_a_signal_is_repeated() {
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        let mut kernel = Kernel::new([interrupted(), interrupted(), Ok(2)]);
        let mut side = ReadSide::Ready;
        assert_eq!(read_once(&mut kernel, &mut [0; 8], &mut side), Input::Bytes(2));
        let mut kernel = Kernel::new([interrupted(), Ok(1)]);
        let output = write_once(&mut kernel, &[IoSlice::new(b"x")]);
        assert_eq!(output, Output::Taken(1, Progress::Ready));
    }

    #[test]
    fn one_slice_is_written_plainly_and_several_at_once() {
        let (one, two) = (IoSlice::new(b"one"), IoSlice::new(b"two"));
        let mut kernel = Kernel::new([Ok(3), Ok(6)]);
        assert_eq!(write_once(&mut kernel, &[one]), Output::Taken(3, Progress::Ready));
        assert_eq!(write_once(&mut kernel, &[one, two]), Output::Taken(6, Progress::Ready));
        assert_eq!(kernel.vectored, [false, true]);
    }

    #[test]
    fn a_short_write_is_a_part_and_only_a_refused_one_blocks() {
        let write = |answer| write_once(&mut Kernel::new([answer]), &[IoSlice::new(b"four")]);
        assert_eq!(write(Ok(3)), Output::Taken(3, Progress::Part));
        let blocked = io::ErrorKind::WouldBlock.into();
        assert_eq!(write(Err(blocked)), Output::Taken(0, Progress::Blocked));
        assert_eq!(write(Err(io::ErrorKind::BrokenPipe.into())), Output::Failed);
        assert_eq!(write(Ok(0)), Output::Failed);
    }

    #[test]
    fn nothing_to_write_is_no_call() {
        let mut kernel = Kernel::default();
        assert_eq!(write_once(&mut kernel, &[]), Output::Taken(0, Progress::Ready));
        assert_eq!(
            write_once(&mut kernel, &[IoSlice::new(b"")]),
            Output::Taken(0, Progress::Ready)
        );
    }
}
