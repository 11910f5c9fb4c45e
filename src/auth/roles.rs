//! Roles: names for grants, so that tokens need not list rooms.
//!
//! Not here: who has which role (`token`, `proxy`). Invariant: a role that nobody described grants
//! nothing, but for the three that the broker knows.

use super::Grants;
use std::sync::Arc;

/// The role of a connection that nobody vouches for.
pub const GUEST: &str = "guest";
/// The role of a user whose token names no role and no rooms, and of one that a proxy names.
pub const MEMBER: &str = "member";
/// The role of who may do everything.
pub const ADMIN: &str = "admin";

/// What each role grants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roles(Vec<(Box<str>, Arc<Grants>)>);

impl Default for Roles {
    /// Guests and members may do everything in all rooms, admins everything.
    fn default() -> Self {
        let everything = Grants::all_rooms();
        Self(vec![
            (GUEST.into(), Arc::new(everything.clone())),
            (MEMBER.into(), Arc::new(everything.clone())),
            (ADMIN.into(), Arc::new(everything.with_admin())),
        ])
    }
}

impl Roles {
    /// Describes a role; in place of what was known of it.
    pub fn set(&mut self, name: &str, grants: Grants) {
        self.0.retain(|(known, _)| **known != *name);
        self.0.push((name.into(), Arc::new(grants)));
    }

    /// What the role grants; nothing if nobody described it.
    pub fn grants(&self, name: &str) -> Option<&Arc<Grants>> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, grants)| grants)
    }

    /// What all these roles grant together. That of one role is shared by all who have it.
    pub fn sum<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Arc<Grants> {
        let mut known = names.into_iter().filter_map(|name| self.grants(name));
        let Some(first) = known.next() else { return Arc::default() };
        let mut sum = Arc::clone(first);
        for grants in known {
            Arc::make_mut(&mut sum).add(grants);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Grant;
    use crate::broker::RoomPattern;

    #[test]
    fn roles_add_up_and_an_unknown_one_grants_nothing() {
        let mut roles = Roles::default();
        let news = RoomPattern::parse("news:*").expect("a pattern");
        roles.set("reader", Grants::default().with(Grant::Join, [news]));
        let sum = roles.sum(["reader", "nobody"]);
        assert!(sum.allows(Grant::Join, "news:1", "a") && !sum.allows(Grant::Join, "chat:1", "a"));
        assert!(roles.sum(["reader", ADMIN]).is_admin());
        roles.set(MEMBER, Grants::default());
        assert_eq!(*roles.sum([MEMBER]), Grants::default());
    }
}
