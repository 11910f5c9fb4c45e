//! The sessions at home on one loop: which connection each belongs to, and, when that has ended,
//! what waits for the next.
//!
//! Not here: what is done with a connection that loses its session (`engine`). Invariants: a
//! session is known to its own user only, a guest's to every guest who can name it; what an old
//! connection says of a session that has moved on is ignored; at most [`SESSIONS_PARKED_MAX`] wait,
//! and the oldest end first.

use super::{ConnKey, LoopId, Position, Role, RoomName, User};
use crate::limits::SESSIONS_PARKED_MAX;
use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, OccupiedEntry};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A session's name: 128 random bits that only its client knows; 32 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub u128);

/// What waits for a session's next connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parked {
    /// Whose it is.
    pub user: Arc<User>,
    /// Stands for the session in the history of rooms.
    pub tag: u64,
    /// The rooms it was in.
    pub rooms: Vec<ParkedRoom>,
    /// Whether it takes a room's messages in batches.
    pub batch: bool,
    /// Whether it is told who is online.
    pub presence: bool,
}

/// A membership that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParkedRoom {
    /// The room.
    pub name: RoomName,
    /// The last of it that is proved to have been read.
    pub position: Position,
    /// Whether it gets its own messages.
    pub echo: bool,
    /// Whether it is told who comes and goes.
    pub presence: bool,
}

/// What came of asking for a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// There is none of that id for that user, or it has ended, or was taken already.
    Unknown,
    /// That connection still has it.
    Live(LoopId, ConnKey),
    /// It was waiting.
    Parked(Box<Parked>),
}

/// What came of parking a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parking {
    /// It is not, or no longer, that connection's.
    Ignored,
    /// It waits.
    Kept,
    /// It waits; the oldest of those that waited has ended for it.
    KeptForOldest,
}

/// All sessions at home on one loop.
#[derive(Debug, Default)]
pub struct Sessions {
    table: HashTable<Session>,
    /// Those without a connection, in the order in which they lost it, with the time of that.
    waiting: BTreeMap<u64, (SessionId, u64)>,
    /// Numbers those that ever waited.
    parkings: u64,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    /// When its connection asked for it.
    asked_ms: u64,
    user: Arc<User>,
    state: State,
}

#[derive(Debug)]
enum State {
    Live(LoopId, ConnKey),
    /// Its number in `waiting`. `None`: taken by a connection that has not resumed it yet.
    Waits(u64, Option<Box<Parked>>),
}

impl SessionId {
    /// Reads an id as written by [`fmt::Display`].
    pub fn parse(raw: &str) -> Option<Self> {
        let hex = raw.len() == 32 && raw.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| u128::from_str_radix(raw, 16).ok()).flatten().map(Self)
    }

    /// Its bits are random, and only ours are ever kept: any 64 of them are a hash.
    const fn hash(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    /// Who knows an id can take the session: it does not go to the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

impl Parked {
    /// Roughly what it weighs.
    pub fn bytes(&self) -> usize {
        let names: usize = self.rooms.iter().map(|room| room.name.as_str().len()).sum();
        size_of::<Self>() + self.rooms.len() * size_of::<ParkedRoom>() + names
    }
}

impl Sessions {
    /// No sessions.
    pub const fn new() -> Self {
        Self { table: HashTable::new(), waiting: BTreeMap::new(), parkings: 0 }
    }

    /// Begins a session of `user` on that connection. `id` is drawn for it alone.
    pub fn register(&mut self, id: SessionId, user: &Arc<User>, loop_id: LoopId, key: ConnKey) {
        let session =
            Session { id, asked_ms: 0, user: Arc::clone(user), state: State::Live(loop_id, key) };
        match self.entry(id) {
            Entry::Vacant(vacant) => drop(vacant.insert(session)),
            Entry::Occupied(mut occupied) => {
                debug_assert!(false, "an id is drawn once");
                let old = std::mem::replace(occupied.get_mut(), session);
                self.stop_waiting(&old.state);
            }
        }
    }

    /// Keeps what the connection `from` left behind, for the next.
    pub fn park(
        &mut self,
        id: SessionId,
        from: (LoopId, ConnKey),
        parked: Parked,
        mono_ms: u64,
    ) -> Parking {
        let number = self.parkings;
        let Some(mut occupied) = self.find(id) else { return Parking::Ignored };
        if !occupied.get().state.is_at(from) {
            return Parking::Ignored;
        }
        occupied.get_mut().state = State::Waits(number, Some(Box::new(parked)));
        self.parkings += 1;
        self.waiting.insert(number, (id, mono_ms));
        if self.waiting.len() <= SESSIONS_PARKED_MAX {
            return Parking::Kept;
        }
        self.end_oldest();
        Parking::KeptForOldest
    }

    /// Ends a session that its connection took leave of. False: it is not, or no longer, that
    /// connection's.
    pub fn forget(&mut self, id: SessionId, from: (LoopId, ConnKey)) -> bool {
        let found = self.find(id).filter(|occupied| occupied.get().state.is_at(from));
        found.map(OccupiedEntry::remove).is_some()
    }

    /// Asks for a session, for `user`; which guest a guest is says the session that it can name.
    /// What waited is handed out once; until [`Self::resume`] the session goes on ageing. A live
    /// one stays where it is until then, and is unknown to who asked before the connection that has
    /// it did: loops may be heard in another order.
    pub fn take(&mut self, id: SessionId, user: &User, asked_ms: u64) -> Taken {
        let Some(mut occupied) = self.find(id) else { return Taken::Unknown };
        let session = occupied.get_mut();
        let are_guests = [session.user.role(), user.role()] == [Role::Guest; 2];
        let is_late = asked_ms < session.asked_ms;
        if is_late || session.user.id() != user.id() && !are_guests {
            return Taken::Unknown;
        }
        match &mut session.state {
            State::Live(loop_id, key) => Taken::Live(*loop_id, *key),
            State::Waits(_, parked) => parked.take().map_or(Taken::Unknown, Taken::Parked),
        }
    }

    /// Moves a session to a connection, from another one or from waiting. False: there is no such
    /// session.
    pub fn resume(
        &mut self,
        id: SessionId,
        (loop_id, key): (LoopId, ConnKey),
        asked_ms: u64,
    ) -> bool {
        let Some(mut occupied) = self.find(id) else { return false };
        let session = occupied.get_mut();
        session.asked_ms = asked_ms;
        let old = std::mem::replace(&mut session.state, State::Live(loop_id, key));
        self.stop_waiting(&old);
        true
    }

    /// Ends the sessions that have waited for `timeout_ms`, and says how many.
    pub fn expire(&mut self, mono_ms: u64, timeout_ms: u64) -> usize {
        let mut ended = 0;
        while self.next_expiry_ms(timeout_ms).is_some_and(|due| due <= mono_ms) {
            self.end_oldest();
            ended += 1;
        }
        ended
    }

    /// When [`Self::expire`] has something to end.
    pub fn next_expiry_ms(&self, timeout_ms: u64) -> Option<u64> {
        self.waiting.first_key_value().map(|(_, (_, since_ms))| since_ms.saturating_add(timeout_ms))
    }

    /// Sessions that have a connection.
    pub fn live(&self) -> usize {
        self.table.len() - self.waiting.len()
    }

    /// Sessions that have none.
    pub fn parked(&self) -> usize {
        self.waiting.len()
    }

    fn entry(&mut self, id: SessionId) -> Entry<'_, Session> {
        let same = |session: &Session| session.id == id;
        self.table.entry(id.hash(), same, |session| session.id.hash())
    }

    fn find(&mut self, id: SessionId) -> Option<OccupiedEntry<'_, Session>> {
        self.table.find_entry(id.hash(), |session| session.id == id).ok()
    }

    fn stop_waiting(&mut self, state: &State) {
        match state {
            State::Live(..) => {}
            State::Waits(number, _) => drop(self.waiting.remove(number)),
        }
    }

    fn end_oldest(&mut self) {
        if let Some((_, (id, _))) = self.waiting.pop_first() {
            drop(self.find(id).map(OccupiedEntry::remove));
        }
    }
}

impl State {
    fn is_at(&self, from: (LoopId, ConnKey)) -> bool {
        match self {
            Self::Live(loop_id, key) => (*loop_id, *key) == from,
            Self::Waits(..) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    const TIMEOUT_MS: u64 = 100;

    fn user(id: &str) -> Arc<User> {
        Arc::new(User::new(id, "name", Role::Member).expect("a good id"))
    }

    const fn at(index: u32) -> (LoopId, ConnKey) {
        (LoopId(0), ConnKey { index, generation: 0 })
    }

    /// `tag` tells one parking from another.
    fn parked(user: &Arc<User>, tag: u64) -> Parked {
        Parked { user: Arc::clone(user), tag, rooms: Vec::new(), batch: true, presence: false }
    }

    fn tag(taken: &Taken) -> Option<u64> {
        match taken {
            Taken::Parked(parked) => Some(parked.tag),
            Taken::Unknown | Taken::Live(..) => None,
        }
    }

    /// A list of sessions: id, user, and the connection or since when, and with what, it waits.
    #[derive(Default)]
    struct Reference(Vec<(u128, usize, Held)>);

    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Held {
        Live(u32),
        Waits { since_ms: u64, tag: Option<u64> },
    }

    impl Reference {
        fn held(&mut self, id: u128) -> Option<&mut (u128, usize, Held)> {
            self.0.iter_mut().find(|(known, ..)| *known == id)
        }

        fn park(&mut self, id: u128, from: u32, tag: u64, since_ms: u64) -> bool {
            let held = self.held(id).filter(|(.., held)| *held == Held::Live(from));
            held.map(|(.., held)| *held = Held::Waits { since_ms, tag: Some(tag) }).is_some()
        }

        fn take(&mut self, id: u128, who: usize) -> Taken {
            match self.held(id).filter(|(_, owner, _)| *owner == who) {
                Some((.., Held::Live(key))) => Taken::Live(at(*key).0, at(*key).1),
                Some((_, owner, Held::Waits { tag, .. })) => {
                    let name = owner.to_string();
                    tag.take().map_or(Taken::Unknown, |tag| {
                        Taken::Parked(Box::new(parked(&user(&name), tag)))
                    })
                }
                None => Taken::Unknown,
            }
        }

        fn expire(&mut self, mono_ms: u64) -> usize {
            let before = self.0.len();
            self.0.retain(|(.., held)| match held {
                Held::Live(_) => true,
                Held::Waits { since_ms, .. } => mono_ms - since_ms < TIMEOUT_MS,
            });
            before - self.0.len()
        }

        fn waiting(&self) -> Vec<u64> {
            let since = self.0.iter().filter_map(|(.., held)| match held {
                Held::Live(_) => None,
                Held::Waits { since_ms, .. } => Some(*since_ms),
            });
            since.collect()
        }
    }

    /// One random step of both; what they answered must be the same.
    fn step(
        both: (&mut Sessions, &mut Reference),
        mono_ms: u64,
        turn: u64,
        dice: &mut Rng,
    ) -> bool {
        let (sessions, reference) = both;
        let users = ["0", "1"].map(user);
        // Equal hashes, different ids.
        let (id, owner, key) = (dice.u128(0..12), dice.usize(0..2), dice.u32(0..4));
        let (loop_id, conn) = at(key);
        match dice.u32(0..6) {
            0 if reference.held(id).is_none() => {
                sessions.register(SessionId(id), &users[owner], loop_id, conn);
                reference.0.push((id, owner, Held::Live(key)));
                true
            }
            0 => true,
            1 => {
                let owner = reference.held(id).map_or(0, |(_, owner, _)| *owner);
                let left = parked(&users[owner], turn);
                let parking = sessions.park(SessionId(id), at(key), left, mono_ms);
                (parking == Parking::Kept) == reference.park(id, key, turn, mono_ms)
            }
            2 => {
                let before = reference.0.len();
                reference.0.retain(|session| *session != (id, session.1, Held::Live(key)));
                sessions.forget(SessionId(id), at(key)) == (before > reference.0.len())
            }
            3 => {
                let taken = sessions.take(SessionId(id), &users[owner], 0);
                taken == reference.take(id, owner)
            }
            4 => {
                let held = reference.held(id).map(|(.., held)| *held = Held::Live(key));
                sessions.resume(SessionId(id), (loop_id, conn), 0) == held.is_some()
            }
            _ => sessions.expire(mono_ms, TIMEOUT_MS) == reference.expire(mono_ms),
        }
    }

    #[test]
    fn sessions_go_where_a_list_says() {
        for seed in 0..300 {
            let mut dice = Rng::with_seed(seed);
            let (mut sessions, mut reference) = (Sessions::new(), Reference::default());
            let mut mono_ms = 0;
            for turn in 0..300 {
                mono_ms += dice.u64(0..10);
                let same = step((&mut sessions, &mut reference), mono_ms, turn, &mut dice);
                assert!(same, "seed {seed}, turn {turn}");
                let waiting = reference.waiting();
                let counts = (reference.0.len() - waiting.len(), waiting.len());
                assert_eq!(
                    (sessions.live(), sessions.parked()),
                    counts,
                    "seed {seed}, turn {turn}"
                );
                let due = waiting.iter().min().map(|since_ms| since_ms + TIMEOUT_MS);
                assert_eq!(sessions.next_expiry_ms(TIMEOUT_MS), due, "seed {seed}, turn {turn}");
            }
        }
    }

    #[test]
    fn ids_read_back_as_written() {
        for id in [0, 1, u128::MAX, 0xf00d << 64] {
            assert_eq!(SessionId::parse(&SessionId(id).to_string()), Some(SessionId(id)));
        }
        let zeros = "0".repeat(31);
        for bad in [String::new(), zeros.clone(), format!("{zeros}F"), format!("+{zeros}")] {
            assert_eq!(SessionId::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn nobody_takes_the_session_of_another() {
        let (mut sessions, ada, id) = (Sessions::new(), user("ada"), SessionId(5));
        sessions.register(id, &ada, at(1).0, at(1).1);
        assert_eq!(sessions.take(id, &user("eve"), 0), Taken::Unknown);
        sessions.park(id, at(1), parked(&ada, 1), 0);
        assert_eq!(sessions.take(id, &user("eve"), 0), Taken::Unknown);
        assert_eq!(tag(&sessions.take(id, &ada, 0)), Some(1));
        assert_eq!(sessions.take(id, &ada, 0), Taken::Unknown);
    }

    #[test]
    fn a_guest_is_whoever_knows_its_session_and_has_no_other_name() {
        let (mut sessions, guest, id) = (Sessions::new(), Arc::new(User::guest(1)), SessionId(5));
        sessions.register(id, &guest, at(1).0, at(1).1);
        sessions.park(id, at(1), parked(&guest, 1), 0);
        assert_eq!(sessions.take(id, &user("ada"), 0), Taken::Unknown);
        assert_eq!(tag(&sessions.take(id, &User::guest(2), 0)), Some(1));
    }

    #[test]
    fn an_old_connection_has_no_say_in_a_session_that_moved_on() {
        let (mut sessions, ada, id) = (Sessions::new(), user("ada"), SessionId(5));
        sessions.register(id, &ada, at(1).0, at(1).1);
        assert!(sessions.resume(id, at(2), 0));
        assert_eq!(sessions.park(id, at(1), parked(&ada, 1), 0), Parking::Ignored);
        assert!(!sessions.forget(id, at(1)));
        assert_eq!(sessions.take(id, &ada, 0), Taken::Live(at(2).0, at(2).1));
    }

    #[test]
    fn who_asked_before_the_one_that_has_it_comes_too_late() {
        let (mut sessions, ada, id) = (Sessions::new(), user("ada"), SessionId(5));
        sessions.register(id, &ada, at(1).0, at(1).1);
        assert!(sessions.resume(id, at(2), 7));
        assert_eq!(sessions.take(id, &ada, 6), Taken::Unknown);
        assert_eq!(sessions.take(id, &ada, 7), Taken::Live(at(2).0, at(2).1));
        sessions.park(id, at(2), parked(&ada, 1), 8);
        assert_eq!(sessions.take(id, &ada, 6), Taken::Unknown);
        assert_eq!(tag(&sessions.take(id, &ada, 9)), Some(1));
    }

    #[test]
    fn a_session_that_was_taken_and_not_resumed_ends_in_its_time() {
        let (mut sessions, ada, id) = (Sessions::new(), user("ada"), SessionId(5));
        sessions.register(id, &ada, at(1).0, at(1).1);
        sessions.park(id, at(1), parked(&ada, 1), 7);
        sessions.take(id, &ada, 0);
        assert_eq!(sessions.expire(TIMEOUT_MS + 6, TIMEOUT_MS), 0);
        assert_eq!(sessions.expire(TIMEOUT_MS + 7, TIMEOUT_MS), 1);
        assert!(!sessions.resume(id, at(2), 0));
        assert_eq!((sessions.live(), sessions.parked()), (0, 0));
    }

    #[test]
    fn the_oldest_session_ends_for_the_newest() {
        let (mut sessions, ada) = (Sessions::new(), user("ada"));
        let most = SESSIONS_PARKED_MAX as u128;
        for id in 0..=most {
            let id = SessionId(id << 60);
            sessions.register(id, &ada, at(1).0, at(1).1);
            let parking = sessions.park(id, at(1), parked(&ada, 1), 0);
            assert_eq!(parking == Parking::Kept, id.0 < most << 60);
        }
        assert_eq!((sessions.live(), sessions.parked()), (0, SESSIONS_PARKED_MAX));
        assert_eq!(sessions.take(SessionId(0), &ada, 0), Taken::Unknown);
        assert_eq!(tag(&sessions.take(SessionId(1 << 60), &ada, 0)), Some(1));
    }
}
