//! One way into a loop: a bounded queue, its byte count, and the flag that spares wake-ups.
//!
//! Not here: what a parcel holds (`peer`), the system call that wakes. Invariants: an inbox is
//! bounded in parcels and in bytes; a request to drain is no parcel, so that no full inbox can lose
//! it; what is pushed before `arm` is seen by the drain after the matching `disarm`
//! (`tests/loom_wake.rs`).

use super::wake::{Gauge, Latch, Wake};
use crate::limits::INBOX_BYTES_MAX;
use std::fmt;
use std::sync::Arc;

#[cfg(fanfare_loom)]
use model as queue;
#[cfg(not(fanfare_loom))]
mod queue {
    //! The real queue.
    pub(super) use crossbeam_channel::{Receiver, Sender};

    /// Both ends of a queue of at most [`crate::limits::INBOX_BATCHES_MAX`].
    pub(super) fn bounded<T>() -> (Sender<T>, Receiver<T>) {
        crossbeam_channel::bounded(crate::limits::INBOX_BATCHES_MAX)
    }

    /// Puts `value` at the end, or gives it back: the queue is full, or its loop has ended.
    pub(super) fn push<T>(queue: &Sender<T>, value: T) -> Result<(), T> {
        queue.try_send(value).map_err(crossbeam_channel::TrySendError::into_inner)
    }

    /// Takes the oldest value.
    pub(super) fn pop<T>(queue: &Receiver<T>) -> Option<T> {
        queue.try_recv().ok()
    }
}
#[cfg(fanfare_loom)]
mod model {
    //! The modelled queue.
    use super::super::wake::model::Queue;
    use std::sync::Arc;

    pub(super) type Sender<T> = Arc<Queue<T>>;
    pub(super) type Receiver<T> = Arc<Queue<T>>;

    pub(super) fn bounded<T>() -> (Sender<T>, Receiver<T>) {
        let queue = Sender::default();
        (Arc::clone(&queue), queue)
    }

    pub(super) fn push<T>(queue: &Sender<T>, value: T) -> Result<(), T> {
        queue.push(value)
    }

    pub(super) fn pop<T>(queue: &Receiver<T>) -> Option<T> {
        queue.pop()
    }
}

/// What an inbox is bounded by, besides the number of parcels.
pub trait Weigh {
    /// Bytes that it keeps alive; the same each time it is asked.
    fn bytes(&self) -> usize;
}

#[derive(Debug, Default)]
struct Shared {
    wake: Wake,
    drain: Latch,
    bytes: Gauge,
}

/// The sending end, cloned to every other loop.
pub struct Link<T> {
    queue: queue::Sender<T>,
    shared: Arc<Shared>,
}

/// The receiving end, owned by the loop.
pub struct Inbox<T> {
    queue: queue::Receiver<T>,
    shared: Arc<Shared>,
}

/// Both ends of one loop's inbox, empty.
pub fn inbox<T>() -> (Link<T>, Inbox<T>) {
    let (sender, receiver) = queue::bounded();
    let shared = Arc::<Shared>::default();
    (Link { queue: sender, shared: Arc::clone(&shared) }, Inbox { queue: receiver, shared })
}

impl<T: Weigh> Link<T> {
    /// Puts `parcel` into the inbox. `Ok(true)`: the caller must wake the loop, once for the burst.
    /// An error gives the parcel back: the inbox is full.
    #[must_use = "true asks for a wake-up, an error gives the parcel back"]
    pub fn push(&self, parcel: T) -> Result<bool, T> {
        let bytes = parcel.bytes();
        if !self.shared.bytes.try_add(bytes, INBOX_BYTES_MAX) {
            return Err(parcel);
        }
        queue::push(&self.queue, parcel)
            .inspect_err(|_| self.shared.bytes.sub(bytes))
            .map(|()| self.shared.wake.arm())
    }

    /// Asks the loop to drain. True: the caller must wake it.
    #[must_use = "true asks for a wake-up"]
    pub fn drain(&self) -> bool {
        self.shared.drain.set();
        self.shared.wake.arm()
    }

    /// Asks the loop for a turn, with nothing to deliver. True: the caller must wake it.
    #[must_use = "true asks for a wake-up"]
    pub fn nudge(&self) -> bool {
        self.shared.wake.arm()
    }
}

impl<T: Weigh> Inbox<T> {
    /// Called once per wake-up, before the first [`Self::pop`].
    pub fn disarm(&self) {
        self.shared.wake.disarm();
    }

    /// The oldest parcel.
    pub fn pop(&self) -> Option<T> {
        let parcel = queue::pop(&self.queue)?;
        self.shared.bytes.sub(parcel.bytes());
        Some(parcel)
    }

    /// Whether someone asked this loop to drain. Never becomes false again.
    pub fn is_draining(&self) -> bool {
        self.shared.drain.is_set()
    }
}

impl<T> Clone for Link<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("shared", &self.shared).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;
    use crate::limits::INBOX_BATCHES_MAX;

    #[derive(PartialEq, Debug)]
    struct Parcel(usize);

    impl Weigh for Parcel {
        fn bytes(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn a_burst_asks_for_one_wake_up() {
        let (link, inbox) = inbox();
        assert_eq!((link.push(Parcel(1)), link.push(Parcel(2))), (Ok(true), Ok(false)));
        inbox.disarm();
        assert_eq!(
            (inbox.pop(), inbox.pop(), inbox.pop()),
            (Some(Parcel(1)), Some(Parcel(2)), None)
        );
        assert_eq!(link.clone().push(Parcel(3)), Ok(true));
    }

    #[test]
    fn a_full_inbox_gives_the_parcel_back_and_forgets_its_bytes() {
        let (link, inbox) = inbox();
        for _ in 0..INBOX_BATCHES_MAX {
            assert!(link.push(Parcel(1)).is_ok());
        }
        assert_eq!(link.push(Parcel(7)), Err(Parcel(7)));
        assert_eq!(link.shared.bytes.value(), INBOX_BATCHES_MAX);
        while inbox.pop().is_some() {}
        assert_eq!(link.shared.bytes.value(), 0);
    }

    #[test]
    fn an_inbox_is_bounded_in_bytes_and_one_too_large_passes_alone() {
        let (link, inbox) = inbox();
        assert!(link.push(Parcel(INBOX_BYTES_MAX + 1)).is_ok());
        assert_eq!(link.push(Parcel(1)), Err(Parcel(1)));
        assert!(link.push(Parcel(0)).is_err(), "not even what weighs nothing, beside too much");
        assert_eq!(inbox.pop(), Some(Parcel(INBOX_BYTES_MAX + 1)));
        assert!(link.push(Parcel(1)).is_ok());
    }

    #[test]
    fn a_request_to_drain_passes_a_full_inbox() {
        let (link, inbox) = inbox();
        while link.push(Parcel(0)).is_ok() {}
        inbox.disarm();
        assert!(link.drain());
        assert!(inbox.is_draining());
    }

    #[test]
    fn parcels_for_a_loop_that_has_ended_come_back() {
        let (link, inbox) = inbox();
        drop(inbox);
        assert_eq!(link.push(Parcel(5)), Err(Parcel(5)));
        assert_eq!(link.shared.bytes.value(), 0);
    }
}
