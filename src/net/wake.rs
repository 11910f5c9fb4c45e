//! Where two loops meet: the flag that says "a wake-up is on its way", and the shared numbers.
//!
//! Not here: the queue itself (`link`), the system call that wakes (`peer`). Invariants: every
//! atomic of the crate's threads is in this file, with its ordering argued above it; nothing here
//! guards memory but what the argument names. Checked by `tests/loom_wake.rs`.

#[cfg(fanfare_loom)]
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
#[cfg(not(fanfare_loom))]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Says whether a loop has been told to look at its inbox and has not looked yet.
#[derive(Debug)]
pub struct Wake(AtomicBool);

impl Wake {
    /// Nobody has called yet.
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Called after pushing to the inbox. True: the caller must do the wake-up system call.
    ///
    /// AcqRel on both sides: if this swap comes after [`Self::disarm`]'s, it sees `false` and
    /// wakes; if before, `disarm` synchronises with it (read-modify-writes in between continue the
    /// release sequence), and the drain that follows sees the push.
    #[must_use = "true asks for a system call"]
    pub fn arm(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Called by the loop before it drains the inbox.
    pub fn disarm(&self) {
        // A plain store loses wake-ups: tests/loom_wake.rs.
        self.0.swap(false, Ordering::AcqRel);
    }
}

impl Default for Wake {
    fn default() -> Self {
        Self::new()
    }
}

/// A request that is made once and never taken back.
#[derive(Debug)]
pub struct Latch(AtomicBool);

impl Latch {
    /// Not asked yet.
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Asks. The caller then arms the loop's [`Wake`].
    ///
    /// Release: whoever sees the request also sees what led to it. That a loop sees it at all after
    /// its wake-up follows from the swaps of [`Wake`], as for a push.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was asked. Pairs with the release above.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Default for Latch {
    fn default() -> Self {
        Self::new()
    }
}

/// A number that several loops raise and lower, with a bound.
///
/// Relaxed throughout: the number guards no memory. What is counted (a parcel, a socket) travels by
/// a queue, which orders it, or stays on its loop; the number alone decides "is there room", and
/// read-modify-writes of one location agree on one order whatever they are called.
#[derive(Debug)]
pub struct Gauge(AtomicUsize);

impl Gauge {
    /// Starts at 0.
    pub fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// The number, which others may be changing.
    pub fn value(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds `count`, bound or not.
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds `count` if the sum stays within `max`. From 0 anything fits, so that what is larger
    /// than the bound passes alone and not never.
    #[must_use = "false: nothing was added"]
    pub fn try_add(&self, count: usize, max: usize) -> bool {
        let fits = |value: usize| {
            let sum = value.checked_add(count)?;
            (value == 0 || sum <= max).then_some(sum)
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Takes off `count`, which was added before.
    pub fn sub(&self, count: usize) {
        let before = self.0.fetch_sub(count, Ordering::Relaxed);
        debug_assert!(before >= count, "{count} taken off {before}");
    }
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new()
    }
}

/// How many loops still serve; the last one to finish tells the others.
#[derive(Debug)]
pub struct Countdown(AtomicUsize);

impl Countdown {
    /// `count` loops serve.
    pub fn new(count: usize) -> Self {
        Self(AtomicUsize::new(count))
    }

    /// One loop has finished; called once by each. True: it was the last.
    ///
    /// AcqRel: what a loop pushed to others' inboxes before it finished is there for whoever sees
    /// that all have.
    #[must_use = "the last one tells the others"]
    pub fn finish(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether all have finished. Pairs with the release above.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// A bounded queue for the memory model, no better ordered than the real one: a push releases its
/// slot, a pop acquires it, and an empty look orders nothing.
#[cfg(fanfare_loom)]
pub mod model {
    use super::{AtomicBool, AtomicUsize, Ordering};
    use loom::sync::Mutex;

    /// As many slots as a model ever pushes parcels: none is used twice.
    const SLOTS: usize = 4;

    /// The queue. One consumer.
    #[derive(Debug)]
    pub struct Queue<T> {
        slots: [(AtomicBool, Mutex<Option<T>>); SLOTS],
        tail: AtomicUsize,
        head: AtomicUsize,
    }

    impl<T> Default for Queue<T> {
        fn default() -> Self {
            let slots = std::array::from_fn(|_| (AtomicBool::new(false), Mutex::new(None)));
            Self { slots, tail: AtomicUsize::new(0), head: AtomicUsize::new(0) }
        }
    }

    impl<T> Queue<T> {
        /// Puts `value` at the end, or gives it back when there is no slot left.
        pub fn push(&self, value: T) -> Result<(), T> {
            // Relaxed: claiming a slot says nothing about what is in it.
            let Some((full, slot)) = self.slots.get(self.tail.fetch_add(1, Ordering::Relaxed))
            else {
                return Err(value);
            };
            *slot.lock().expect("no model panics with it") = Some(value);
            full.store(true, Ordering::Release); // Pairs with the acquire in `pop`.
            Ok(())
        }

        /// Takes the oldest value that this thread can see.
        pub fn pop(&self) -> Option<T> {
            let head = self.head.load(Ordering::Relaxed); // Only the consumer moves it.
            let (full, slot) = self.slots.get(head)?;
            if !full.load(Ordering::Acquire) {
                return None;
            }
            self.head.store(head + 1, Ordering::Relaxed);
            slot.lock().expect("no model panics with it").take()
        }
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_a_burst_wakes() {
        let wake = Wake::new();
        assert_eq!([wake.arm(), wake.arm(), wake.arm()], [true, false, false]);
        wake.disarm();
        assert!(wake.arm());
    }

    #[test]
    fn a_gauge_keeps_its_bound_but_lets_one_too_large_pass_alone() {
        let gauge = Gauge::new();
        assert!(gauge.try_add(11, 10), "alone");
        assert!(!gauge.try_add(1, 10), "not beside it");
        gauge.sub(11);
        assert!(gauge.try_add(6, 10));
        assert!(gauge.try_add(4, 10));
        assert!(!gauge.try_add(1, 10));
        assert!(!gauge.try_add(usize::MAX, usize::MAX), "no wrap");
        assert_eq!(gauge.value(), 10);
    }

    #[test]
    fn a_countdown_has_one_last() {
        let countdown = Countdown::new(2);
        assert!(!countdown.finish());
        assert!(!countdown.is_over());
        assert!(countdown.finish());
        assert!(countdown.is_over());
    }
}
