//! A healthy client that pings every 20 ms through whatever else happens, on a thread of its own.
//!
//! Invariant: each ping is answered by its own pong before the next is sent, or the test fails.

use super::broker::Broker;
use super::raw::{Frame, PING, PONG, Raw};
use super::wait::Stopwatch;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time between two pings.
const INTERVAL: Duration = Duration::from_millis(20);

/// The one who watches.
#[derive(Debug)]
pub(crate) struct Bystander {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    /// Joins a room of its own and starts to ping.
    pub(crate) fn start(broker: &Broker) -> Self {
        Self::over(Raw::open(broker.address(), "/raw/bystander"))
    }

    /// Starts to ping over this connection.
    pub(crate) fn over(mut socket: Raw) -> Self {
        let (stop, stopped) = channel();
        let watch = move || {
            let mut took = Vec::new();
            loop {
                let payload = took.len().to_be_bytes();
                let asked = Stopwatch::start();
                socket.send(PING, &payload);
                let answer = Some(Frame { first: PONG, payload: payload.to_vec() });
                assert_eq!(socket.next(), answer, "a bystander's ping is answered");
                took.push(asked.elapsed());
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return took;
                }
            }
        };
        let thread = thread::Builder::new().name("bystander".to_owned()).spawn(watch);
        Self { stop, thread: thread.expect("a thread") }
    }

    /// Stops; fails when a ping was lost. What the pings took is told, and not judged.
    pub(crate) fn stop(self) {
        drop(self.stop);
        let mut took = self.thread.join().expect("no ping was lost");
        took.sort_unstable();
        let at = |part: usize| took.get(took.len() * part / 100).or(took.last());
        let (median, high, worst) = (at(50), at(99), took.last());
        eprintln!("{} pings: median {median:?}, 99 % {high:?}, worst {worst:?}", took.len());
    }
}
