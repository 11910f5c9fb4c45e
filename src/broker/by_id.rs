//! A user as a key: ordered, compared and looked up by id alone.
//!
//! Not here: what is known of the user. Invariant: the order is that of the ids as text, so that a
//! table is searched by a `&str`, without a user made for it.

use super::User;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

/// A user, standing for its id.
#[derive(Clone, Debug)]
pub(super) struct ById(pub(super) Arc<User>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id()
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id().cmp(other.0.id())
    }
}
