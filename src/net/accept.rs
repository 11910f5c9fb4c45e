//! Taking connections off the accept queues: so many a tick, and with care when descriptors run
//! out.
//!
//! Not here: where a connection goes (`deal`), whether it is served (`seats`). Invariants: a
//! shortage never makes a spin: accepting rests for 10 ms, then twice as long each time, up to a
//! second; whoever still waits after the first rest is closed rather than left hanging, by lending
//! out the descriptor that is held in reserve.

use super::listener::{Listener, Spread};
use super::socket::Socket;
use crate::limits::{
    ACCEPT_BACK_OFF_MS, ACCEPT_BACK_OFF_MS_MAX, ACCEPTS_PER_TICK_MAX, LISTEN_BACKLOG,
};
use mio::Registry;
use rustix::io::Errno;
use std::fs::File;
use std::io;

/// A connection off the queue.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Its socket.
    pub(super) socket: Socket,
    /// Who may serve it.
    pub(super) spread: Spread,
}

/// A loop's listeners, and what is known of their queues.
#[derive(Debug)]
pub(super) struct Acceptor {
    listeners: Vec<(Listener, Queue)>,
    gate: Gate,
}

/// What waits at one listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Queue {
    /// Nothing; the next edge tells.
    Empty,
    /// Perhaps someone.
    Waiting,
}

impl Acceptor {
    /// Accepts on `listeners`, which may be none.
    pub(super) fn new(listeners: Vec<Listener>) -> Self {
        let listeners: Vec<_> =
            listeners.into_iter().map(|listener| (listener, Queue::Waiting)).collect();
        // A loop that never accepts needs no reserve.
        let reserve = if listeners.is_empty() { Reserve(None) } else { Reserve::taken() };
        Self { listeners, gate: Gate { back_off: BackOff::default(), reserve } }
    }

    /// Notes the edge of the listener at `place`.
    pub(super) fn handle_edge(&mut self, place: u32) {
        if let Some((_, queue)) = self.listeners.get_mut(place as usize) {
            *queue = Queue::Waiting;
        }
    }

    /// Milliseconds until someone can be accepted. None: nobody waits.
    pub(super) fn poll_timeout(&self, now_ms: u64) -> Option<u64> {
        let waiting = self.listeners.iter().any(|(_, queue)| *queue == Queue::Waiting);
        waiting.then(|| self.gate.back_off.rest_ms(now_ms))
    }

    /// Takes what a tick may take into `accepted`. Says what went short, if it did.
    pub(super) fn accept(&mut self, now_ms: u64, accepted: &mut Vec<Accepted>) -> Option<Shortage> {
        for (listener, queue) in &mut self.listeners {
            if *queue == Queue::Empty || self.gate.back_off.rest_ms(now_ms) > 0 {
                continue;
            }
            let spread = listener.spread();
            let take = |socket| accepted.push(Accepted { socket, spread });
            match self.gate.pass(now_ms, || listener.accept(), take) {
                Pass::Emptied => *queue = Queue::Empty,
                Pass::CutShort => {}
                Pass::Short(shortage) => return Some(shortage),
            }
        }
        None
    }

    /// Takes all that wait, because nobody will after this. What can't be accepted is left to its
    /// listener's close.
    pub(super) fn accept_rest(&mut self, accepted: &mut Vec<Accepted>) {
        self.gate.reserve.lend();
        for (listener, _) in &self.listeners {
            let spread = Spread::Here; // The others are ending as well.
            for _ in 0..LISTEN_BACKLOG {
                match listener.accept() {
                    Ok(socket) => accepted.push(Accepted { socket, spread }),
                    Err(error) if Refusal::of(&error) == Refusal::Passing => {}
                    Err(_) => break,
                }
            }
        }
    }

    /// Ends listening: newcomers are refused by the kernel from here on.
    pub(super) fn close(&mut self, registry: &Registry) {
        for (listener, _) in self.listeners.drain(..) {
            listener.close(registry);
        }
    }
}

/// How a pass over one queue ended.
#[derive(Debug)]
enum Pass {
    /// Nobody waits any more.
    Emptied,
    /// The tick's budget is spent.
    CutShort,
    /// Accepting failed for want of something; it rests.
    Short(Shortage),
}

/// What the log says about a shortage.
#[derive(Debug)]
pub(super) struct Shortage {
    /// What the kernel said.
    pub(super) error: io::Error,
    /// Connections closed unserved because the shortage lasts.
    pub(super) shed: usize,
    /// How long accepting rests.
    pub(super) rest_ms: u64,
}

/// What a failed accept means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    /// The queue is empty.
    Empty,
    /// This one connection broke while it waited; the next may be sound (accept(2), "Error
    /// handling": network errors of the new socket are passed on as the call's own).
    Passing,
    /// No descriptor or no memory, or something nobody foresaw: trying again at once won't help.
    Shortage,
}

impl Refusal {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::WOULDBLOCK) => Self::Empty,
            Some(
                Errno::INTR
                | Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::TIMEDOUT
                | Errno::PERM,
            ) => Self::Passing,
            Some(_) | None => Self::Shortage,
        }
    }
}

/// The care: budget, rest, reserve. Knows no socket, so that tests can run it short.
#[derive(Debug)]
struct Gate {
    back_off: BackOff,
    reserve: Reserve,
}

impl Gate {
    fn pass<S>(
        &mut self,
        now_ms: u64,
        mut next: impl FnMut() -> io::Result<S>,
        mut take: impl FnMut(S),
    ) -> Pass {
        for _ in 0..ACCEPTS_PER_TICK_MAX {
            let error = match next() {
                Ok(socket) => {
                    take(socket);
                    continue;
                }
                Err(error) => error,
            };
            match Refusal::of(&error) {
                Refusal::Passing => {}
                Refusal::Empty => {
                    self.handle_relief();
                    return Pass::Emptied;
                }
                Refusal::Shortage => {
                    let shed = if self.back_off.is_resting() { self.shed(next) } else { 0 };
                    let rest_ms = self.back_off.rest(now_ms);
                    return Pass::Short(Shortage { error, shed, rest_ms });
                }
            }
        }
        self.handle_relief();
        Pass::CutShort
    }

    fn handle_relief(&mut self) {
        self.back_off = BackOff::default();
        self.reserve.restore();
    }

    /// Closes those who wait, by way of the reserve. Returns how many.
    #[cold]
    fn shed<S>(&mut self, mut next: impl FnMut() -> io::Result<S>) -> usize {
        self.reserve.lend();
        let mut shed = 0;
        for _ in 0..ACCEPTS_PER_TICK_MAX {
            match next() {
                Ok(socket) => {
                    drop(socket);
                    shed += 1;
                }
                Err(error) if Refusal::of(&error) == Refusal::Passing => {}
                Err(_) => break,
            }
        }
        self.reserve.restore();
        shed
    }
}

/// How long accepting rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct BackOff {
    /// The last rest; 0 when all is well.
    length_ms: u64,
    until_ms: u64,
}

impl BackOff {
    /// Starts the next rest and returns its length.
    fn rest(&mut self, now_ms: u64) -> u64 {
        self.length_ms = (self.length_ms * 2).clamp(ACCEPT_BACK_OFF_MS, ACCEPT_BACK_OFF_MS_MAX);
        self.until_ms = now_ms + self.length_ms;
        self.length_ms
    }

    /// What is left of the rest.
    const fn rest_ms(&self, now_ms: u64) -> u64 {
        self.until_ms.saturating_sub(now_ms)
    }

    /// Whether the last try failed.
    const fn is_resting(&self) -> bool {
        self.length_ms > 0
    }
}

/// A descriptor that is held so that it can be given up.
#[derive(Debug)]
struct Reserve(Option<File>);

impl Reserve {
    fn taken() -> Self {
        Self(File::open("/dev/null").ok())
    }

    fn lend(&mut self) {
        self.0 = None;
    }

    fn restore(&mut self) {
        if self.0.is_none() {
            *self = Self::taken();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listener::tests::loopback;
    use std::net::TcpStream;

    fn gate() -> Gate {
        Gate { back_off: BackOff::default(), reserve: Reserve::taken() }
    }

    fn short() -> io::Error {
        Errno::MFILE.into()
    }

    fn empty() -> io::Error {
        Errno::WOULDBLOCK.into()
    }

    #[test]
    fn a_pass_takes_no_more_than_its_budget() {
        let (mut waiting, mut taken) = (ACCEPTS_PER_TICK_MAX + 3, 0);
        let mut next = || {
            waiting = waiting.checked_sub(1).ok_or_else(empty)?;
            Ok(())
        };
        let mut gate = gate();
        assert!(matches!(gate.pass(0, &mut next, |()| taken += 1), Pass::CutShort));
        assert_eq!(taken, ACCEPTS_PER_TICK_MAX);
        assert!(matches!(gate.pass(0, &mut next, |()| taken += 1), Pass::Emptied));
        assert_eq!(taken, ACCEPTS_PER_TICK_MAX + 3);
    }

    #[test]
    fn a_connection_that_broke_while_it_waited_does_not_stop_the_next() {
        let mut queue = vec![Ok(2), Err(Errno::CONNABORTED.into()), Err(Errno::INTR.into()), Ok(1)];
        let mut taken = Vec::new();
        let pass =
            gate().pass(0, || queue.pop().unwrap_or_else(|| Err(empty())), |n| taken.push(n));
        assert!(matches!(pass, Pass::Emptied));
        assert_eq!(taken, [1, 2]);
    }

    #[test]
    fn a_shortage_rests_twice_as_long_each_time_up_to_a_second() {
        let (mut gate, mut now_ms, mut rests) = (gate(), 5, Vec::new());
        for _ in 0..9 {
            assert_eq!(gate.back_off.rest_ms(now_ms), 0, "the rest is over");
            match gate.pass(now_ms, || Err::<(), _>(short()), |()| ()) {
                Pass::Short(shortage) => rests.push(shortage.rest_ms),
                Pass::Emptied | Pass::CutShort => panic!("there is nothing to be had"),
            }
            now_ms += gate.back_off.rest_ms(now_ms);
        }
        assert_eq!(rests, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        assert!(matches!(gate.pass(now_ms, || Err::<(), _>(empty()), |()| ()), Pass::Emptied));
        assert_eq!(gate.back_off, BackOff::default(), "relief ends it");
    }

    #[test]
    fn a_shortage_that_lasts_closes_those_who_wait() {
        // A kernel that gives a descriptor only for one that was given back: each accept succeeds
        // while the last socket was dropped, so two in a row need the reserve and the drop.
        let mut gate = gate();
        let mut answers = vec![Err(empty()), Ok(()), Ok(()), Err(short()), Err(short())];
        let mut next = || answers.pop().expect("no more calls than answers");
        let never = |()| panic!("nobody is served");
        let first = gate.pass(0, &mut next, never);
        assert!(matches!(first, Pass::Short(Shortage { shed: 0, .. })), "a moment's shortage");
        let second = gate.pass(10, &mut next, never);
        assert!(matches!(second, Pass::Short(Shortage { shed: 2, rest_ms: 20, .. })));
        assert!(gate.reserve.0.is_some(), "the reserve is back");
    }

    #[test]
    fn every_shortage_rests_whatever_its_name() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::BADF] {
            assert_eq!(Refusal::of(&errno.into()), Refusal::Shortage, "{errno}");
        }
        assert_eq!(Refusal::of(&io::Error::other("odd")), Refusal::Shortage);
    }

    #[test]
    fn what_a_rest_leaves_waiting_is_due_when_it_ends() {
        let (listener, _) = loopback();
        let mut acceptor = Acceptor::new(vec![listener]);
        assert_eq!(acceptor.poll_timeout(0), Some(0), "looks once at the start");
        acceptor.gate.back_off.rest(100);
        assert_eq!(acceptor.poll_timeout(103), Some(7));
        assert!(acceptor.accept(103, &mut Vec::new()).is_none(), "rests");
        assert_eq!(acceptor.poll_timeout(110), Some(0));
        assert!(acceptor.accept(110, &mut Vec::new()).is_none());
        assert_eq!(acceptor.poll_timeout(110), None, "nobody waits");
        acceptor.handle_edge(0);
        assert_eq!(acceptor.poll_timeout(110), Some(0));
    }

    #[test]
    fn the_rest_of_the_queue_is_taken_before_the_listener_closes() {
        let (listener, address) = loopback();
        let poll = mio::Poll::new().expect("a poll");
        let mut acceptor = Acceptor::new(vec![listener]);
        let clients: Vec<_> =
            (0..70).map(|_| TcpStream::connect(address).expect("a connection")).collect();
        let mut accepted = Vec::new();
        acceptor.accept_rest(&mut accepted);
        assert_eq!(accepted.len(), clients.len());
        assert!(accepted.iter().all(|accepted| accepted.spread == Spread::Here));
        acceptor.close(poll.registry());
        let refused = TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
