//! The sockets of one loop, by the keys that its shard gave them.
//!
//! Not here: the choice of keys (the shard's), the calls on a socket (`socket`). Invariants: a
//! stale key misses; the table grows and shrinks by whole chunks and never moves an entry.

use super::socket::{ReadSide, Socket};
use crate::broker::ConnKey;

/// Entries of one chunk: growth costs one allocation and no copy.
const CHUNK: usize = 1_024;

/// Whom a connection counts against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seat {
    /// The limit of connections.
    Served,
    /// The loop's refusals under way.
    Refused,
}

/// One connection's I/O half.
#[derive(Debug)]
pub(super) struct Entry {
    /// The socket itself.
    pub(super) socket: Socket,
    /// Whom it counts against.
    pub(super) seat: Seat,
    /// What waits to be read.
    pub(super) side: ReadSide,
    /// The shard does not want to be given more.
    pub(super) paused: bool,
    /// It has refused once: the poll announces room in it from then on.
    pub(super) watches_writes: bool,
    /// The last write was refused: the next writable edge is news to the shard.
    pub(super) blocked: bool,
    /// In the ready list.
    pub(super) queued: bool,
}

impl Entry {
    /// A new connection: nothing known, nothing promised.
    pub(super) const fn new(socket: Socket, seat: Seat) -> Self {
        let side = ReadSide::Empty;
        Self {
            socket,
            seat,
            side,
            paused: false,
            watches_writes: false,
            blocked: false,
            queued: false,
        }
    }

    /// Whether it belongs into the ready list. True at most once until [`Self::handle_taken`].
    pub(super) fn wants_queueing(&mut self) -> bool {
        let wants = self.side.is_ready() && !self.paused && !self.queued;
        self.queued |= wants;
        wants
    }

    /// Notes that the ready list gave it out.
    pub(super) const fn handle_taken(&mut self) {
        self.queued = false;
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

#[derive(Debug, Default)]
struct Chunk {
    /// Empty while there is no entry in it.
    slots: Box<[Slot]>,
    count: usize,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    chunks: Vec<Chunk>,
    count: usize,
}

impl Sockets {
    /// Entries held.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Puts `entry` where the shard says.
    ///
    /// # Panics
    /// When the place is taken: the shard reused a slot whose socket was not dropped yet.
    pub(super) fn insert(&mut self, key: ConnKey, entry: Entry) {
        let (chunk, place) = split(key);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, Chunk::default);
        }
        let Some(chunk) = self.chunks.get_mut(chunk) else { return };
        if chunk.slots.is_empty() {
            chunk.slots = (0..CHUNK).map(|_| Slot::default()).collect();
        }
        let Some(slot) = chunk.slots.get_mut(place) else { return };
        assert!(slot.entry.is_none(), "slot {} still has a socket", key.index);
        *slot = Slot { generation: key.generation, entry: Some(entry) };
        chunk.count += 1;
        self.count += 1;
    }

    /// The entry that `key` names, if it is still that one.
    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Entry> {
        self.slot(key)?.entry.as_mut()
    }

    /// Takes the entry out; dropping it closes the socket.
    pub(super) fn remove(&mut self, key: ConnKey) -> Option<Entry> {
        let entry = self.slot(key)?.entry.take()?;
        self.count -= 1;
        let (at, _) = split(key);
        let chunk = self.chunks.get_mut(at)?;
        chunk.count -= 1;
        if chunk.count == 0 && at > 0 {
            *chunk = Chunk::default(); // The shard's keys tell tenants apart, not what was here.
        }
        Some(entry)
    }

    fn slot(&mut self, key: ConnKey) -> Option<&mut Slot> {
        let (chunk, place) = split(key);
        let slot = self.chunks.get_mut(chunk)?.slots.get_mut(place)?;
        (slot.generation == key.generation).then_some(slot)
    }
}

const fn split(key: ConnKey) -> (usize, usize) {
    (key.index as usize / CHUNK, key.index as usize % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::net::UnixStream;

    fn entry() -> (Entry, UnixStream) {
        let (near, far) = UnixStream::pair().expect("a socket pair");
        (Entry::new(Socket::Unix(near), Seat::Served), far)
    }

    const fn key(index: u32, generation: u32) -> ConnKey {
        ConnKey { index, generation }
    }

    #[test]
    fn a_stale_key_misses() {
        let mut sockets = Sockets::default();
        sockets.insert(key(3, 1), entry().0);
        assert!(sockets.remove(key(3, 1)).is_some());
        sockets.insert(key(3, 2), entry().0);
        assert!(sockets.get_mut(key(3, 1)).is_none());
        assert!(sockets.remove(key(3, 1)).is_none());
        assert!(sockets.get_mut(key(3, 2)).is_some());
        assert!(sockets.get_mut(key(u32::MAX - 1, 0)).is_none(), "beyond the table");
        assert_eq!(sockets.len(), 1);
    }

    #[test]
    fn keys_of_all_chunks_are_found() {
        let mut sockets = Sockets::default();
        let last = u32::try_from(CHUNK).expect("small") * 2;
        for index in [0, last, last - 1] {
            sockets.insert(key(index, index), entry().0);
        }
        assert_eq!((sockets.len(), sockets.chunks.len()), (3, 3));
        assert!([0, last, last - 1].iter().all(|at| sockets.get_mut(key(*at, *at)).is_some()));
        assert!(sockets.remove(key(last, last)).is_some());
        assert!(sockets.chunks[2].slots.is_empty(), "an empty chunk is given back");
        assert!(sockets.get_mut(key(last, last)).is_none());
    }

    #[test]
    #[should_panic(expected = "still has a socket")]
    fn a_slot_given_out_twice_is_a_bug() {
        let mut sockets = Sockets::default();
        sockets.insert(key(0, 0), entry().0);
        sockets.insert(key(0, 1), entry().0);
    }

    #[test]
    fn an_entry_is_queued_once_and_not_while_paused() {
        let (mut entry, _far) = entry();
        assert!(!entry.wants_queueing(), "nothing to read");
        entry.side.handle_edge(false);
        entry.paused = true;
        assert!(!entry.wants_queueing(), "paused");
        entry.paused = false;
        assert!(entry.wants_queueing());
        assert!(!entry.wants_queueing(), "already there");
        entry.handle_taken();
        assert!(entry.wants_queueing());
    }

    #[test]
    fn a_slot_costs_an_idle_connection_little() {
        // Beside the socket, in which mio keeps more where debug assertions are on.
        let own = size_of::<Slot>() - size_of::<Socket>();
        assert!(own <= 16, "{own} bytes");
    }
}
