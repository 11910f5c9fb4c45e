//! Who is in one room: its users, each counted once however many connections it has.
//!
//! Not here: who is told and when (`engine`), what a notice looks like (`protocol`). Invariants: a
//! list is kept while the mode is `Full` or `Diff` and never longer than the options allow; what a
//! notice names was not so at the notice before, or in a list that was given since; a room without
//! users has nothing allocated.

use super::by_id::ById;
use super::{PresenceMode, PresenceOptions, Status, User};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// One room's users.
#[derive(Debug)]
pub struct Presence {
    mode: PresenceMode,
    /// What an empty room goes back to.
    began_as: PresenceMode,
    connections: u32,
    /// In `Full` and `Diff`.
    users: BTreeMap<ById, Present>,
    /// In `Diff`: what changed since the last notice.
    changes: BTreeMap<ById, Went>,
    /// In `Diff`: somebody was given the list since the last notice, and knows of what changed.
    is_listed: bool,
    /// In `Count`: the count as the last notice had it; 0 when somebody came since, who has not
    /// been told any.
    count_told: u32,
}

/// A user in a room.
#[derive(Clone, Debug)]
pub struct Present {
    /// The user, as it first came.
    pub user: Arc<User>,
    /// When it came, in Unix time.
    pub since_ms: u64,
    /// What it says of being there.
    pub status: Status,
    /// Its connections in the room; 0 while it may still come back.
    pub connections: u32,
    /// Under what its departure is noted while it may; for who keeps the time.
    pub departure: Option<Departure>,
}

/// The place of a departure among all of a home's: when it is due, and the how many-th it is.
pub type Departure = (u64, u64);

/// What a coming or going changed for the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing, or nothing that is told by name.
    None,
    /// The user was not there before.
    Joined,
    /// The user's last connection went.
    Left,
    /// The user came back before it was taken to have left.
    Rejoined,
}

/// Who came and went between two notices.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diff {
    /// Those who were not there at the notice before, in order of id.
    pub joined: Vec<Arc<User>>,
    /// Those who were, and are no longer, in order of id.
    pub left: Vec<Arc<User>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Went {
    In,
    Out,
}

impl Presence {
    /// An empty room.
    pub const fn new(options: &PresenceOptions) -> Self {
        Self {
            mode: options.mode,
            began_as: options.mode,
            connections: 0,
            users: BTreeMap::new(),
            changes: BTreeMap::new(),
            is_listed: false,
            count_told: 0,
        }
    }

    /// The mode it is in now.
    pub const fn mode(&self) -> PresenceMode {
        self.mode
    }

    /// Users there; in `Count`, which knows no users, their connections; in `Off`, 0.
    pub fn users(&self) -> usize {
        match self.mode {
            PresenceMode::Off => 0,
            PresenceMode::Count => self.connections as usize,
            PresenceMode::Diff | PresenceMode::Full => self.users.len(),
        }
    }

    /// Counts a connection of `user`. The mode is that after it: past its limit it is cheaper, and
    /// the newcomer is told of in that one's way.
    pub fn join(&mut self, user: &Arc<User>, unix_ms: u64, options: &PresenceOptions) -> Change {
        match self.mode {
            PresenceMode::Off => return Change::None,
            PresenceMode::Count => {
                self.connections += 1;
                self.count_told = 0;
                return Change::None;
            }
            PresenceMode::Diff | PresenceMode::Full => self.connections += 1,
        }
        if let Some(present) = self.users.get_mut(user.id()) {
            present.connections += 1;
            return if present.connections == 1 { Change::Rejoined } else { Change::None };
        }
        let present = Present {
            user: Arc::clone(user),
            since_ms: unix_ms,
            status: Status::default(),
            connections: 1,
            departure: None,
        };
        self.users.insert(ById(Arc::clone(user)), present);
        self.switch_down(options);
        match self.mode {
            PresenceMode::Off | PresenceMode::Count => return Change::None,
            PresenceMode::Diff => self.collect(user, Went::In),
            PresenceMode::Full => {}
        }
        Change::Joined
    }

    /// Takes off a connection of the user. `Left`: it was the last, and the user stays on the list
    /// until [`Self::depart`], which is now or after a grace.
    pub fn leave(&mut self, user_id: &str) -> Change {
        match self.mode {
            PresenceMode::Off => Change::None,
            PresenceMode::Count => {
                self.connections = self.connections.saturating_sub(1);
                self.begin_anew();
                Change::None
            }
            PresenceMode::Diff | PresenceMode::Full => {
                let Some(present) =
                    self.users.get_mut(user_id).filter(|present| present.connections > 0)
                else {
                    return Change::None;
                };
                present.connections -= 1;
                self.connections -= 1;
                if present.connections == 0 { Change::Left } else { Change::None }
            }
        }
    }

    /// Ends the presence of a user whose last connection went, unless it came back. `Left`: it did
    /// not, and this is when it is told.
    pub fn depart(&mut self, user_id: &str) -> Change {
        let is_gone = self.users.get(user_id).is_some_and(|present| present.connections == 0);
        let Some(gone) = is_gone.then(|| self.users.remove(user_id)).flatten() else {
            return Change::None;
        };
        if self.mode == PresenceMode::Diff {
            self.collect(&gone.user, Went::Out);
        }
        self.begin_anew();
        Change::Left
    }

    /// Notes what a user says of being there. False: it is not on the list, or said so before.
    pub fn set_status(&mut self, user_id: &str, status: Status) -> bool {
        let present = self.users.get_mut(user_id);
        present.is_some_and(|present| std::mem::replace(&mut present.status, status) != status)
    }

    /// Notes or takes back under what a user's departure is noted; gives what was noted before.
    pub fn note_departure(&mut self, user_id: &str, at: Option<Departure>) -> Option<Departure> {
        let present = self.users.get_mut(user_id)?;
        std::mem::replace(&mut present.departure, at)
    }

    /// A user on the list.
    pub fn find(&self, user_id: &str) -> Option<&Present> {
        self.users.get(user_id)
    }

    /// Users in order of id, from the one behind `after` on; none where no list is kept.
    pub fn list(&self, after: Option<&str>, limit: usize) -> impl Iterator<Item = &Present> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.users
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(_, present)| present)
            .take(limit)
    }

    /// Notes that somebody is given the list: what the next notice says must be true for them too,
    /// who know of changes that it has yet to tell.
    pub fn note_listed(&mut self) {
        self.is_listed = !self.changes.is_empty();
    }

    /// Whether there is something for the next notice: in `Diff` who came or went, in `Count`
    /// another count.
    pub fn has_diff(&self) -> bool {
        match self.mode {
            PresenceMode::Off | PresenceMode::Full => false,
            PresenceMode::Diff => !self.changes.is_empty(),
            PresenceMode::Count => self.count_told != self.connections,
        }
    }

    /// What the next notice names, beside the count of users, which is [`Self::users`]. In `Count`
    /// it names nobody.
    pub fn take_diff(&mut self) -> Diff {
        self.count_told = self.connections;
        self.is_listed = false;
        let mut diff = Diff::default();
        for (ById(user), went) in std::mem::take(&mut self.changes) {
            match went {
                Went::In => diff.joined.push(user),
                Went::Out => diff.left.push(user),
            }
        }
        diff
    }

    /// Who comes and goes within one interval, or goes and comes, is not told of, unless somebody
    /// may have been given the list in between.
    fn collect(&mut self, user: &Arc<User>, went: Went) {
        match self.changes.get(user.id()) {
            Some(before) if *before == went => {}
            Some(_) if !self.is_listed => drop(self.changes.remove(user.id())),
            Some(_) | None => drop(self.changes.insert(ById(Arc::clone(user)), went)),
        }
    }

    fn switch_down(&mut self, options: &PresenceOptions) {
        let users = self.users.len();
        if self.mode == PresenceMode::Full && users > options.full_users_max as usize {
            self.mode = PresenceMode::Diff;
        }
        if self.mode == PresenceMode::Diff && users > options.diff_users_max as usize {
            self.mode = PresenceMode::Count;
            self.users = BTreeMap::new();
            self.changes = BTreeMap::new();
            self.count_told = 0;
        }
    }

    /// An empty room begins anew: nobody is left to be told.
    fn begin_anew(&mut self) {
        if self.connections > 0 || !self.users.is_empty() {
            return;
        }
        self.mode = self.began_as;
        self.changes = BTreeMap::new();
        self.is_listed = false;
        self.count_told = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Role;
    use fastrand::Rng;
    use std::collections::BTreeSet;

    const SMALL: PresenceOptions = PresenceOptions {
        mode: PresenceMode::Full,
        full_users_max: 3,
        diff_users_max: 6,
        interval_ms: 1_000,
    };

    fn user(id: &str) -> Arc<User> {
        Arc::new(User::new(id, "name", Role::Member).expect("a good id"))
    }

    fn ids(users: &[Arc<User>]) -> Vec<&str> {
        users.iter().map(|user| user.id()).collect()
    }

    fn room(options: &PresenceOptions, users: &[&str]) -> Presence {
        let mut room = Presence::new(options);
        for id in users {
            room.join(&user(id), 0, options);
        }
        room
    }

    /// Sets and lists, without a thought to cost.
    struct Reference {
        options: PresenceOptions,
        mode: PresenceMode,
        /// One entry for each connection.
        connections: Vec<String>,
        listed: BTreeSet<String>,
        told: BTreeSet<String>,
    }

    impl Reference {
        fn lists(&self) -> bool {
            matches!(self.mode, PresenceMode::Diff | PresenceMode::Full)
        }

        fn count(&self, id: &str) -> usize {
            self.connections.iter().filter(|one| *one == id).count()
        }

        fn join(&mut self, id: &str) -> Change {
            if self.mode == PresenceMode::Off {
                return Change::None;
            }
            self.connections.push(id.to_owned());
            if !self.lists() {
                return Change::None;
            }
            if self.listed.contains(id) {
                return if self.count(id) == 1 { Change::Rejoined } else { Change::None };
            }
            if self.mode == PresenceMode::Full {
                self.told = self.listed.clone();
            }
            self.listed.insert(id.to_owned());
            if self.listed.len() > self.options.full_users_max as usize {
                self.mode = PresenceMode::Diff;
            }
            if self.mode == PresenceMode::Diff
                && self.listed.len() > self.options.diff_users_max as usize
            {
                self.mode = PresenceMode::Count;
                self.listed.clear();
                return Change::None;
            }
            Change::Joined
        }

        fn leave(&mut self, id: &str) -> Change {
            let Some(at) = self.connections.iter().position(|one| one == id) else {
                return Change::None;
            };
            self.connections.remove(at);
            let went = self.lists() && self.count(id) == 0;
            self.begin_anew();
            if went { Change::Left } else { Change::None }
        }

        fn depart(&mut self, id: &str) -> Change {
            let went = self.lists() && self.count(id) == 0 && self.listed.remove(id);
            self.begin_anew();
            if went { Change::Left } else { Change::None }
        }

        fn begin_anew(&mut self) {
            if self.connections.is_empty() && self.listed.is_empty() {
                self.mode = self.options.mode;
                self.told.clear();
            }
        }

        fn diff(&mut self) -> (Vec<String>, Vec<String>) {
            if self.mode != PresenceMode::Diff {
                return (Vec::new(), Vec::new());
            }
            let joined = self.listed.difference(&self.told).cloned().collect();
            let left = self.told.difference(&self.listed).cloned().collect();
            self.told = self.listed.clone();
            (joined, left)
        }
    }

    fn compare(room: &mut Presence, reference: &mut Reference, dice: &mut Rng, why: &str) {
        assert_eq!(room.mode(), reference.mode, "{why}");
        let users = match reference.mode {
            PresenceMode::Off | PresenceMode::Count => reference.connections.len(),
            PresenceMode::Diff | PresenceMode::Full => reference.listed.len(),
        };
        assert_eq!(room.users(), users, "{why}");
        let after = dice.bool().then(|| dice.u32(0..9).to_string());
        let listed: Vec<(&str, usize)> = room
            .list(after.as_deref(), 4)
            .map(|present| (present.user.id(), present.connections as usize))
            .collect();
        let beyond = reference.listed.iter().filter(|id| Some(*id) > after.as_ref()).take(4);
        let expected: Vec<(&str, usize)> =
            beyond.map(|id| (id.as_str(), reference.count(id))).collect();
        assert_eq!(listed, expected, "{why}");
        if dice.u32(0..4) == 0 {
            let (has, diff) = (room.has_diff(), room.take_diff());
            let (joined, left) = reference.diff();
            assert_eq!(
                (ids(&diff.joined), ids(&diff.left)),
                (
                    joined.iter().map(String::as_str).collect(),
                    left.iter().map(String::as_str).collect(),
                ),
                "{why}"
            );
            if reference.mode == PresenceMode::Diff {
                assert_eq!(has, !joined.is_empty() || !left.is_empty(), "{why}");
            }
            assert!(!room.has_diff(), "{why}");
        }
    }

    #[test]
    fn the_room_is_what_sets_and_lists_say() {
        for seed in 0..500 {
            let mut dice = Rng::with_seed(seed);
            let modes =
                [PresenceMode::Off, PresenceMode::Count, PresenceMode::Diff, PresenceMode::Full];
            let options = PresenceOptions {
                mode: modes[dice.usize(0..4)],
                full_users_max: dice.u32(0..5),
                diff_users_max: dice.u32(0..9),
                ..SMALL
            };
            let mut room = Presence::new(&options);
            let mut reference = Reference {
                options,
                mode: options.mode,
                connections: Vec::new(),
                listed: BTreeSet::new(),
                told: BTreeSet::new(),
            };
            let joins = dice.u32(2..6);
            for step in 0..200 {
                let why = format!("seed {seed}, step {step}, {options:?}");
                let id = dice.u32(0..9).to_string();
                let (change, expected) = match dice.u32(0..10) {
                    turn if turn < joins => {
                        (room.join(&user(&id), 0, &options), reference.join(&id))
                    }
                    9 => (room.depart(&id), reference.depart(&id)),
                    _ if reference.count(&id) > 0 => (room.leave(&id), reference.leave(&id)),
                    _ => continue,
                };
                assert_eq!(change, expected, "{why}");
                compare(&mut room, &mut reference, &mut dice, &why);
            }
        }
    }

    #[test]
    fn a_user_with_three_tabs_is_one() {
        let mut room = Presence::new(&SMALL);
        let changes = [(); 3].map(|()| room.join(&user("a"), 5, &SMALL));
        assert_eq!((changes, room.users()), ([Change::Joined, Change::None, Change::None], 1));
        let changes = [(); 3].map(|()| room.leave("a"));
        assert_eq!(changes, [Change::None, Change::None, Change::Left]);
        assert_eq!(
            (room.leave("a"), room.depart("a"), room.users()),
            (Change::None, Change::Left, 0)
        );
    }

    #[test]
    fn who_comes_back_within_the_grace_never_left() {
        let mut room = room(&SMALL, &["a"]);
        assert_eq!(room.leave("a"), Change::Left);
        assert_eq!(room.join(&user("a"), 9, &SMALL), Change::Rejoined);
        assert_eq!(room.depart("a"), Change::None);
        assert_eq!(
            room.find("a").map(|present| (present.since_ms, present.connections)),
            Some((0, 1))
        );
    }

    #[test]
    fn a_room_that_grows_tells_less_until_it_is_empty() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        for (users, mode) in [
            (3, PresenceMode::Full),
            (4, PresenceMode::Diff),
            (6, PresenceMode::Diff),
            (7, PresenceMode::Count),
        ] {
            let mut room = room(&SMALL, &names[..users]);
            assert_eq!((room.mode(), room.users()), (mode, users));
            for id in &names[1..users] {
                room.leave(id);
                room.depart(id);
            }
            assert_eq!((room.mode(), room.users()), (mode, 1));
            room.leave("a");
            room.depart("a");
            assert_eq!((room.mode(), room.has_diff()), (PresenceMode::Full, false));
        }
    }

    #[test]
    fn who_came_and_went_between_two_notices_is_not_told_of() {
        let options = PresenceOptions { mode: PresenceMode::Diff, ..SMALL };
        let mut room = room(&options, &["a", "b"]);
        assert_eq!(ids(&room.take_diff().joined), ["a", "b"]);
        for id in ["c", "a"] {
            room.join(&user("c"), 0, &options);
            room.leave(id);
            room.depart(id);
        }
        room.leave("c");
        room.depart("c");
        room.join(&user("a"), 0, &options);
        room.leave("b");
        room.depart("b");
        let diff = room.take_diff();
        assert_eq!((ids(&diff.joined), ids(&diff.left)), (vec![], vec!["b"]));
    }

    #[test]
    fn who_was_given_the_list_in_between_is_told_what_became_of_it() {
        let options = PresenceOptions { mode: PresenceMode::Diff, ..SMALL };
        let mut room = room(&options, &["a", "b"]);
        room.take_diff();
        room.join(&user("c"), 0, &options);
        room.leave("a");
        room.depart("a");
        room.note_listed();
        room.leave("c");
        room.depart("c");
        room.join(&user("a"), 0, &options);
        let diff = room.take_diff();
        assert_eq!((ids(&diff.joined), ids(&diff.left)), (vec!["a"], vec!["c"]));
        room.note_listed();
        room.join(&user("c"), 0, &options);
        room.leave("c");
        room.depart("c");
        assert!(!room.has_diff(), "the list that was given then is still true");
    }

    #[test]
    fn counts_are_told_when_they_differ_from_what_was_told_or_somebody_came() {
        let options = PresenceOptions { mode: PresenceMode::Count, ..SMALL };
        let mut room = room(&options, &["a", "a"]);
        assert_eq!((room.has_diff(), room.take_diff(), room.users()), (true, Diff::default(), 2));
        assert!(!room.has_diff());
        room.leave("a");
        assert!(room.has_diff());
        room.join(&user("b"), 0, &options);
        assert!(room.has_diff(), "b does not know how many there are");
    }

    #[test]
    fn a_status_is_news_once() {
        let mut room = room(&SMALL, &["a"]);
        let news =
            [Status::Online, Status::Away, Status::Away].map(|status| room.set_status("a", status));
        assert_eq!(news, [false, true, false]);
        assert!(!room.set_status("b", Status::Away));
    }

    #[test]
    fn a_room_at_rest_is_small() {
        assert!(size_of::<Presence>() <= 64, "{}", size_of::<Presence>());
        let room = room(&PresenceOptions { mode: PresenceMode::Off, ..SMALL }, &["a"]);
        assert!(room.users.is_empty() && room.changes.is_empty(), "empty trees allocate nothing");
    }
}
