//! The memory model of the wake flag and the link: every interleaving and every stale read that
//! the orderings allow. Run with `RUSTFLAGS="--cfg fanfare_loom"`; without it this file is empty.
//!
//! The law: what is pushed is taken by the drain under way, or its sender is told to wake the loop.
#![cfg(fanfare_loom)]

use fanfare::net::link::{Weigh, inbox};
use fanfare::net::wake::model::Queue;
use fanfare::net::wake::{Countdown, Gauge, Wake};
use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as PlainUsize, Ordering as Plain};

#[derive(Debug, PartialEq)]
struct Parcel(usize);

impl Weigh for Parcel {
    fn bytes(&self) -> usize {
        self.0
    }
}

/// The flag, or a mutation of it.
trait Flag: Send + Sync + 'static {
    fn new() -> Self;
    fn arm(&self) -> bool;
    fn disarm(&self);
}

impl Flag for Wake {
    fn new() -> Self {
        Self::new()
    }
    fn arm(&self) -> bool {
        self.arm()
    }
    fn disarm(&self) {
        self.disarm();
    }
}

/// What `Wake` must not be: its loop disarms by a store, releasing or not.
struct Stored<const RELEASE: bool>(AtomicBool);

impl<const RELEASE: bool> Flag for Stored<RELEASE> {
    fn new() -> Self {
        Self(AtomicBool::new(false))
    }
    fn arm(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
    fn disarm(&self) {
        self.0.store(false, if RELEASE { Ordering::Release } else { Ordering::Relaxed });
    }
}

/// What `Wake` must not be either: read-modify-writes, but ordering nothing.
struct Unordered(AtomicBool);

impl Flag for Unordered {
    fn new() -> Self {
        Self(AtomicBool::new(false))
    }
    fn arm(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
    fn disarm(&self) {
        self.0.swap(false, Ordering::Relaxed);
    }
}

/// Runs one push beside a drain of a loop that was woken before, over all executions; counts those
/// in which the parcel is neither taken nor announced.
fn losses<F: Flag>() -> usize {
    let losses = Arc::new(PlainUsize::new(0));
    let counted = Arc::clone(&losses);
    loom::model(move || {
        let flag = Arc::new(F::new());
        let queue = Arc::new(Queue::<usize>::default());
        assert!(flag.arm(), "an earlier push has woken the loop");
        let (far_flag, far_queue) = (Arc::clone(&flag), Arc::clone(&queue));
        let sender = thread::spawn(move || {
            far_queue.push(1).expect("a free slot");
            far_flag.arm()
        });
        flag.disarm();
        let taken = queue.pop().is_some();
        let told = sender.join().expect("the sender does not panic");
        if !taken && !told {
            counted.fetch_add(1, Plain::SeqCst);
        }
    });
    losses.load(Plain::SeqCst)
}

#[test]
fn a_push_is_taken_or_announced() {
    assert_eq!(losses::<Wake>(), 0);
}

#[test]
fn relaxed_store_can_lose() {
    assert_ne!(losses::<Stored<false>>(), 0);
}

#[test]
fn release_store_can_lose() {
    assert_ne!(losses::<Stored<true>>(), 0);
}

#[test]
fn unordered_swaps_can_lose() {
    assert_ne!(losses::<Unordered>(), 0);
}

#[test]
fn a_loop_that_sleeps_between_drains_gets_every_parcel_of_two_senders() {
    // Three threads: all executions with up to two preemptions, which is where known races show;
    // without the bound it takes minutes and finds the same.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (link, inbox) = inbox::<Parcel>();
        let eventfd = Arc::new(Notify::new());
        let senders: Vec<_> = (1..=2)
            .map(|bytes| {
                let (link, eventfd) = (link.clone(), Arc::clone(&eventfd));
                thread::spawn(move || {
                    if link.push(Parcel(bytes)).expect("room in the inbox") {
                        eventfd.notify();
                    }
                })
            })
            .collect();
        let mut bytes = 0;
        // A lost wake-up would sleep for ever, which the model reports as a deadlock.
        while bytes < 3 {
            eventfd.wait();
            inbox.disarm();
            while let Some(parcel) = inbox.pop() {
                bytes += parcel.0;
            }
        }
        for sender in senders {
            sender.join().expect("the sender does not panic");
        }
    });
}

#[test]
fn a_request_to_drain_is_seen_after_its_wake_up() {
    loom::model(|| {
        let (link, inbox) = inbox::<Parcel>();
        assert_eq!(link.push(Parcel(1)), Ok(true), "an earlier push has woken the loop");
        let sender = thread::spawn(move || link.drain());
        inbox.disarm();
        let seen = inbox.is_draining();
        let told = sender.join().expect("the sender does not panic");
        assert!(seen || told, "neither seen nor announced");
    });
}

#[test]
fn the_last_to_finish_is_one_and_sees_what_the_others_pushed() {
    loom::model(|| {
        let countdown = Arc::new(Countdown::new(2));
        let queue = Arc::new(Queue::<usize>::default());
        let (far_countdown, far_queue) = (Arc::clone(&countdown), Arc::clone(&queue));
        let other = thread::spawn(move || {
            far_queue.push(1).expect("a free slot");
            far_countdown.finish()
        });
        let last = countdown.finish();
        if last || countdown.is_over() {
            assert!(queue.pop().is_some(), "pushed before the countdown was over");
        }
        assert_ne!(last, other.join().expect("it does not panic"), "exactly one is last");
    });
}

#[test]
fn two_senders_cannot_exceed_a_gauge_together() {
    loom::model(|| {
        let gauge = Arc::new(Gauge::new());
        let far = Arc::clone(&gauge);
        let other = thread::spawn(move || far.try_add(6, 10));
        let mine = gauge.try_add(6, 10);
        assert_ne!(mine, other.join().expect("it does not panic"), "one of them fits");
        assert_eq!(gauge.value(), 6);
    });
}
