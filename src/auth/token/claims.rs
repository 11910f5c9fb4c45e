//! What a token says, once it is believed.

use crate::auth::{Grants, TokenFacts};
use crate::broker::RoomName;

/// The claims that the broker knows, each checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// `sub`, or `userId`: a user's id.
    pub user: Box<str>,
    /// `username`.
    pub username: Option<Box<str>>,
    /// `roles`.
    pub roles: Vec<Box<str>>,
    /// `rooms`: what is granted beside what the roles grant.
    pub rooms: Option<Grants>,
    /// `autojoin`.
    pub autojoin: Vec<RoomName>,
    /// `info`: JSON.
    pub info: Option<Box<str>>,
    /// What is remembered.
    pub facts: TokenFacts,
}
