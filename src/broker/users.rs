//! The users at home on one loop: which connections each has, and what it says of being there.
//!
//! Not here: rooms (`presence.rs`), who is told (`engine`). Invariants: a user is known while it
//! has a connection; of more than [`CONNECTIONS_PER_USER_MAX`] the oldest are counted, not listed.

use super::by_id::ById;
use super::{ConnKey, LoopId, Status, User};
use crate::limits::CONNECTIONS_PER_USER_MAX;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// All users at home on one loop.
#[derive(Debug, Default)]
pub struct Users(BTreeMap<ById, Online>);

/// A user that has a connection.
#[derive(Clone, Debug)]
pub struct Online {
    /// The user, as it first came.
    pub user: Arc<User>,
    /// When its first connection came, in Unix time.
    pub since_ms: u64,
    /// What it says of being there.
    pub status: Status,
    info: Option<Box<str>>,
    connections: Vec<(LoopId, ConnKey)>,
    /// Connections that made way in the list for newer ones.
    unlisted: u32,
}

impl Online {
    /// What it says beside its status.
    pub fn info(&self) -> Option<&str> {
        self.info.as_deref()
    }

    /// Its connections, oldest first; not those beyond the bound.
    pub fn connections(&self) -> &[(LoopId, ConnKey)] {
        &self.connections
    }

    /// Whether others may see it.
    const fn is_visible(&self) -> bool {
        match self.status {
            Status::Online | Status::Away => true,
            Status::Offline => false,
        }
    }
}

impl Users {
    /// No users.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Takes in a connection of `user`, once each. True: it came online by it. Beyond the bound the
    /// user's oldest connection is no longer listed.
    pub fn connect(&mut self, user: &Arc<User>, at: (LoopId, ConnKey), unix_ms: u64) -> bool {
        let Some(online) = self.0.get_mut(user.id()) else {
            let online = Online {
                user: Arc::clone(user),
                since_ms: unix_ms,
                status: Status::default(),
                info: None,
                connections: vec![at],
                unlisted: 0,
            };
            self.0.insert(ById(Arc::clone(user)), online);
            return true;
        };
        if online.connections.contains(&at) {
            return false;
        }
        if online.connections.len() == CONNECTIONS_PER_USER_MAX {
            online.connections.remove(0);
            online.unlisted += 1;
        }
        online.connections.push(at);
        false
    }

    /// Takes off a connection that was taken in, once each. True: the user went offline by it.
    pub fn disconnect(&mut self, user_id: &str, at: (LoopId, ConnKey)) -> bool {
        let Some(online) = self.0.get_mut(user_id) else { return false };
        match online.connections.iter().position(|known| *known == at) {
            Some(index) => drop(online.connections.remove(index)),
            None => online.unlisted = online.unlisted.saturating_sub(1),
        }
        let is_gone = online.connections.is_empty() && online.unlisted == 0;
        if is_gone {
            self.0.remove(user_id);
        }
        is_gone
    }

    /// The connections that are addressed as that user, oldest first.
    pub fn connections(&self, user_id: &str) -> &[(LoopId, ConnKey)] {
        self.find(user_id).map(Online::connections).unwrap_or_default()
    }

    /// A user that has a connection, whatever its status.
    pub fn find(&self, user_id: &str) -> Option<&Online> {
        self.0.get(user_id)
    }

    /// Notes what a user says of being there. `info` is bounded by who parsed it. False: the user
    /// is not known, or said the same before.
    pub fn set_status(&mut self, user_id: &str, status: Status, info: Option<&str>) -> bool {
        let Some(online) = self.0.get_mut(user_id) else { return false };
        let is_news = (online.status, online.info()) != (status, info);
        if is_news {
            online.status = status;
            online.info = info.map(Into::into);
        }
        is_news
    }

    /// What a user says of being there; one without a connection is offline.
    pub fn status(&self, user_id: &str) -> Status {
        self.find(user_id).map_or(Status::Offline, |online| online.status)
    }

    /// Users in order of id, from the one behind `after` on, without those that want to look
    /// offline.
    pub fn page(&self, after: Option<&str>, limit: usize) -> impl Iterator<Item = &Online> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let users = self.0.range::<str, _>((start, Bound::Unbounded)).map(|(_, online)| online);
        users.filter(|online| online.is_visible()).take(limit)
    }

    /// Users that have a connection, whatever their status.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no user has a connection.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Role;
    use fastrand::Rng;

    fn user(id: &str) -> Arc<User> {
        Arc::new(User::new(id, "name", Role::Member).expect("a good id"))
    }

    const fn at(index: u32) -> (LoopId, ConnKey) {
        (LoopId(1), ConnKey { index, generation: 0 })
    }

    /// All connections in the order of their coming, with their user, and what users say.
    #[derive(Default)]
    struct Reference {
        connections: Vec<(String, u32)>,
        status: BTreeMap<String, (Status, Option<String>)>,
    }

    impl Reference {
        fn of(&self, id: &str) -> Vec<(LoopId, ConnKey)> {
            let own = self.connections.iter().filter(|(user, _)| user == id);
            own.map(|(_, index)| at(*index)).collect()
        }

        fn page(&self, after: Option<&str>, limit: usize) -> Vec<String> {
            let visible = self.status.iter().filter(|(_, said)| said.0 != Status::Offline);
            let beyond = visible.filter(|(id, _)| after.is_none_or(|after| id.as_str() > after));
            beyond.map(|(id, _)| id.clone()).take(limit).collect()
        }
    }

    #[test]
    fn users_are_what_a_list_of_connections_says() {
        for seed in 0..200 {
            let mut dice = Rng::with_seed(seed);
            let (mut users, mut reference) = (Users::new(), Reference::default());
            for step in 0..300 {
                let why = format!("seed {seed}, step {step}");
                let (id, index) = (dice.u32(0..8).to_string(), dice.u32(0..20));
                let connection = (id.clone(), index);
                let known = reference.connections.iter().position(|known| *known == connection);
                match (dice.u32(0..4), known) {
                    (0 | 1, _) => {
                        let came = reference.of(&id).is_empty();
                        assert_eq!(users.connect(&user(&id), at(index), 0), came, "{why}");
                        if known.is_none() {
                            reference.connections.push(connection);
                        }
                        reference.status.entry(id.clone()).or_default();
                    }
                    (2, Some(known)) => {
                        reference.connections.remove(known);
                        let went = reference.of(&id).is_empty();
                        if went {
                            reference.status.remove(&id);
                        }
                        assert_eq!(users.disconnect(&id, at(index)), went, "{why}");
                    }
                    (_, _) => {
                        let status = [Status::Online, Status::Away, Status::Offline];
                        let status = status[dice.usize(0..3)];
                        let info = dice.bool().then(|| "out".to_owned());
                        let said = reference.status.get_mut(&id).is_some_and(|said| {
                            let now = (status, info.clone());
                            std::mem::replace(said, now.clone()) != now
                        });
                        assert_eq!(users.set_status(&id, status, info.as_deref()), said, "{why}");
                    }
                }
                let status = reference.status.get(&id).map_or(Status::Offline, |said| said.0);
                assert_eq!(users.status(&id), status, "{why}");
                assert_eq!(users.connections(&id), reference.of(&id), "{why}");
                assert_eq!(users.len(), reference.status.len(), "{why}");
                let after = dice.bool().then_some(id.as_str());
                let page: Vec<&str> = users.page(after, 3).map(|online| online.user.id()).collect();
                assert_eq!(page, reference.page(after, 3), "{why}");
            }
        }
    }

    #[test]
    fn beyond_the_bound_the_oldest_connection_is_counted_but_not_listed() {
        let (mut users, ada) = (Users::new(), user("ada"));
        let most = u32::try_from(CONNECTIONS_PER_USER_MAX).expect("few");
        for index in 0..=most {
            assert_eq!(users.connect(&ada, at(index), 0), index == 0);
        }
        let listed = users.connections("ada");
        assert_eq!((listed.len(), listed[0]), (CONNECTIONS_PER_USER_MAX, at(1)));
        for index in 1..=most {
            assert!(!users.disconnect("ada", at(index)), "the oldest is still there");
        }
        assert_eq!((users.len(), users.connections("ada").len()), (1, 0));
        assert!(users.disconnect("ada", at(0)));
        assert!(users.is_empty());
    }

    #[test]
    fn who_wants_to_look_offline_is_addressed_but_not_shown() {
        let (mut users, ada) = (Users::new(), user("ada"));
        users.connect(&ada, at(1), 5);
        assert!(users.set_status("ada", Status::Offline, Some("busy")));
        assert_eq!((users.page(None, 9).count(), users.connections("ada").len()), (0, 1));
        assert_eq!(users.find("ada").and_then(Online::info), Some("busy"));
    }
}
