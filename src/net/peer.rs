//! Another loop, as seen from this one: what can be sent to it, and the system call that wakes it.

use super::link::{Link, Weigh};
use super::socket::Socket;
use crate::auth::{Authority, LoginOutcome};
use crate::broker::ConnKey;
use crate::engine::Batch;
use mio::Waker;
use std::sync::Arc;

/// What comes into a loop's inbox.
#[derive(Debug)]
pub(super) enum Parcel {
    /// From another shard; boxed, so that an empty inbox stays small.
    Batch(Box<Batch>),
    /// A connection that was dealt to this loop; it has a seat here.
    Conn(Socket),
    /// Who decides from now on who comes in.
    Authority(Arc<Authority>),
    /// How a login of this loop's ended.
    Login { key: ConnKey, outcome: Box<LoginOutcome> },
}

impl Weigh for Parcel {
    fn bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.bytes(),
            Self::Conn(_) | Self::Authority(_) | Self::Login { .. } => 0,
        }
    }
}

/// Whether a system call was made to wake the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// It was, for this and what follows.
    Woke,
    /// An earlier one still holds.
    Quietly,
}

/// An inbox took nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InboxFull;

/// A loop that can be sent to.
#[derive(Debug)]
pub(super) struct Peer {
    link: Link<Parcel>,
    waker: Waker,
}

impl Peer {
    /// The loop behind `link`, asleep in the poll that `waker` belongs to.
    pub(super) const fn new(link: Link<Parcel>, waker: Waker) -> Self {
        Self { link, waker }
    }

    /// Sends a batch, or gives it back because the inbox is full.
    pub(super) fn send_batch(&self, batch: Batch) -> Result<Sent, Box<Batch>> {
        self.send(Parcel::Batch(Box::new(batch))).map_err(|parcel| match parcel {
            Parcel::Batch(batch) => batch,
            Parcel::Conn(_) | Parcel::Authority(_) | Parcel::Login { .. } => another(),
        })
    }

    /// Deals a connection, or gives it back because the inbox is full.
    pub(super) fn send_conn(&self, socket: Socket) -> Result<Sent, Socket> {
        self.send(Parcel::Conn(socket)).map_err(|parcel| match parcel {
            Parcel::Conn(socket) => socket,
            Parcel::Batch(_) | Parcel::Authority(_) | Parcel::Login { .. } => another(),
        })
    }

    /// Says who decides from now on; an error: the inbox is full.
    pub(super) fn send_authority(&self, authority: Arc<Authority>) -> Result<Sent, InboxFull> {
        self.send(Parcel::Authority(authority)).map_err(|_| InboxFull)
    }

    /// Takes the outcome of a login back, or gives it back because the inbox is full.
    pub(super) fn send_login(
        &self,
        key: ConnKey,
        outcome: Box<LoginOutcome>,
    ) -> Result<Sent, Box<LoginOutcome>> {
        self.send(Parcel::Login { key, outcome }).map_err(|parcel| match parcel {
            Parcel::Login { outcome, .. } => outcome,
            Parcel::Batch(_) | Parcel::Conn(_) | Parcel::Authority(_) => another(),
        })
    }

    /// Asks the loop to drain.
    pub(super) fn drain(&self) {
        let asleep = self.link.drain();
        self.wake_if(asleep);
    }

    /// Asks the loop for a turn.
    pub(super) fn nudge(&self) {
        let asleep = self.link.nudge();
        self.wake_if(asleep);
    }

    fn send(&self, parcel: Parcel) -> Result<Sent, Parcel> {
        self.link.push(parcel).map(|asleep| self.wake_if(asleep))
    }

    fn wake_if(&self, asleep: bool) -> Sent {
        if !asleep {
            return Sent::Quietly;
        }
        self.waker.wake().expect("an eventfd that is open takes a write");
        Sent::Woke
    }
}

#[cold]
fn another() -> ! {
    unreachable!("a parcel comes back as it went")
}
