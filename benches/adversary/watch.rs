//! Who looks on: a bystander that pings, newcomers that connect, and the broker's own figures.
//!
//! Invariant: latency counts from when a ping or a newcomer was due, so that a stall is felt by all
//! that should have been served during it.

use crate::e2e::broker::Broker;
use crate::e2e::raw::{Frame, PING, PONG, Raw};
use crate::e2e::scrape::Scraper;
use crate::e2e::wait::Stopwatch;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// Between two pings, two newcomers, two looks at the broker.
const PING_EVERY: Duration = Duration::from_millis(20);
const NEWCOMER_EVERY: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The time of an attack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) begun: Stopwatch,
    pub(crate) time: Duration,
}

impl Span {
    pub(crate) fn new(time: Duration) -> Self {
        Self { begun: Stopwatch::start(), time }
    }

    pub(crate) fn is_over(self) -> bool {
        self.begun.elapsed() >= self.time
    }

    /// Waits until so long after the beginning.
    pub(crate) fn wait_until(self, due: Duration) {
        while let Some(left) = due.checked_sub(self.begun.elapsed()).filter(|left| !left.is_zero())
        {
            thread::park_timeout(left);
        }
    }

    /// Does something at every multiple of `every`; what each took from then, in ms.
    fn regularly(self, every: Duration, mut act: impl FnMut(usize) -> bool) -> (Vec<f64>, u64) {
        let (mut took, mut due) = (Vec::new(), Duration::ZERO);
        while due < self.time {
            self.wait_until(due);
            if !act(took.len()) {
                return (took, 1);
            }
            took.push(self.begun.elapsed().saturating_sub(due).as_secs_f64() * 1_000.0);
            due += every;
        }
        (took, 0)
    }
}

/// Pings on one connection; what the pings took, and how many were lost.
pub(crate) fn ping(address: SocketAddr, span: Span) -> (Vec<f64>, u64) {
    let mut socket = Raw::open(address, "/raw/bystander");
    span.regularly(PING_EVERY, |nth| {
        let payload = nth.to_be_bytes().to_vec();
        socket.send(PING, &payload);
        socket.next() == Some(Frame { first: PONG, payload })
    })
}

/// Comes in, again and again; what newcomers waited for the first pong.
pub(crate) fn come(address: SocketAddr, span: Span) -> (Vec<f64>, u64) {
    span.regularly(NEWCOMER_EVERY, |_| {
        let mut socket = Raw::open(address, "/raw/bystander");
        socket.send(PING, b"new");
        socket.next().is_some_and(|frame| frame.first == PONG)
    })
}

/// The broker's memory.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Memory {
    pub(crate) resident_kib: u64,
    pub(crate) held_bytes: u64,
}

/// Asks the broker itself and the system.
pub(crate) fn memory(broker: &Broker, scraper: &mut Scraper) -> Memory {
    let held_bytes = scraper.metrics().held_bytes();
    Memory { resident_kib: broker.resident_kib(), held_bytes }
}

/// The most that the broker's memory came to.
pub(crate) fn most(broker: &Broker, scraper: &mut Scraper, span: Span) -> Memory {
    let mut most = Memory::default();
    let mut due = Duration::ZERO;
    while due < span.time {
        span.wait_until(due);
        let now = memory(broker, scraper);
        most.resident_kib = most.resident_kib.max(now.resident_kib);
        most.held_bytes = most.held_bytes.max(now.held_bytes);
        due = span.begun.elapsed() + LOOK_EVERY;
    }
    most
}
