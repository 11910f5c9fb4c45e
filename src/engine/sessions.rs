//! Sessions at their homes: begun, left behind, and handed to the connection that comes back.
//!
//! Not here: what a connection does with one (`resuming`). Invariants: every native connection ends
//! each session that it had once, so whoever waits for a live one is answered; who is handed a
//! session has it from then on, also if it has ended meanwhile and gives it back.

use super::asks::{Asked, What};
use super::batch::Reply;
use super::hash::home_of;
use super::joined::Standing;
use super::native::Native;
use super::shard::Shard;
use crate::broker::{
    ConnKey, LoopId, Now, Parked, ParkedRoom, Parking, Position, SessionId, Sessions, Taken, User,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a connection says to the home of a session.
#[derive(Clone, Debug)]
pub(crate) enum SessionAsk {
    /// It begins with this one.
    Begin(SessionId),
    /// It has ended or goes on with another one; what it leaves behind, if anything.
    End(SessionId, Option<Box<Parked>>),
    /// It wants to go on with this one, and asked for it at that time.
    Resume(SessionId, u64),
}

impl SessionAsk {
    /// Bytes that it brings along beside its own.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Begin(_) | Self::Resume(..) | Self::End(_, None) => 0,
            Self::End(_, Some(parked)) => parked.bytes(),
        }
    }

    const fn session(&self) -> SessionId {
        match self {
            Self::Begin(session) | Self::Resume(session, _) | Self::End(session, _) => *session,
        }
    }
}

/// The sessions at home on one loop, and who waits for those that are live.
#[derive(Debug, Default)]
pub(crate) struct SessionsAtHome {
    sessions: Sessions,
    /// By the session's id; each is of a session that is live.
    claims: BTreeMap<u128, Claim>,
}

/// A connection that asks for a session.
#[derive(Clone, Debug)]
struct Claim {
    at: (LoopId, ConnKey),
    user: Arc<User>,
    asked_ms: u64,
}

impl SessionsAtHome {
    /// Sessions that wait for a connection.
    pub(crate) fn parked(&self) -> usize {
        self.sessions.parked()
    }

    /// Sessions that a connection has.
    pub(super) fn live(&self) -> usize {
        self.sessions.live()
    }

    /// Connections that wait for a live one to be left behind.
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }
}

impl Shard {
    /// Whether sessions outlive their connections.
    pub(super) fn keeps_sessions(&self) -> bool {
        self.settings.native.session_timeout_ms > 0
    }

    /// Makes a new connection's session known at its home.
    pub(super) fn begin_session(&mut self, key: ConnKey, native: &Native, now: Now) {
        self.tell_session(key, &native.user, SessionAsk::Begin(native.session), now);
    }

    /// Leaves a connection's session behind, before it leaves its rooms. While it was resuming,
    /// what it took up is left as it was.
    pub(super) fn end_session(&mut self, key: ConnKey, native: &Native, now: Now) {
        self.uncork_ended(key);
        let rooms = match native.rejoins() {
            Some(rooms) => rooms.to_vec(),
            None => self.rooms_left(native),
        };
        let (batch, presence) = (native.batch, native.watches);
        let (user, tag) = (Arc::clone(&native.user), native.tag);
        let is_something = !rooms.is_empty() || batch || presence;
        let parked = is_something.then(|| Box::new(Parked { user, tag, rooms, batch, presence }));
        self.tell_session(key, &native.user, SessionAsk::End(native.session, parked), now);
    }

    fn rooms_left(&self, native: &Native) -> Vec<ParkedRoom> {
        let parked = native.rooms.iter().filter_map(|membership| {
            let Standing::Joined(place) = &membership.standing else { return None };
            let room = self.members.get(place.room).filter(|room| !room.name.is_internal())?;
            Some(ParkedRoom {
                name: room.name.clone(),
                position: Position { epoch: room.epoch, seq: membership.proven },
                echo: membership.echo,
                presence: membership.presence,
            })
        });
        parked.collect()
    }

    pub(super) fn tell_session(
        &mut self,
        key: ConnKey,
        user: &Arc<User>,
        ask: SessionAsk,
        now: Now,
    ) {
        if !self.keeps_sessions() {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "any bits of it do")]
        let home = home_of(ask.session().0 as u64, self.loops);
        let what = What::Session(ask);
        let asked = Asked { key, id: None, user: Arc::clone(user), tag: 0, what };
        self.submit_ask(home, asked, now);
    }

    /// Does what a connection says of a session at home here.
    pub(super) fn apply_session(
        &mut self,
        at: (LoopId, ConnKey),
        user: &Arc<User>,
        ask: SessionAsk,
        now: Now,
    ) {
        let sessions = &mut self.resumable.sessions;
        match ask {
            SessionAsk::Begin(id) => sessions.register(id, user, at.0, at.1),
            SessionAsk::Resume(id, asked_ms) => {
                self.hand_over(id, Claim { at, user: Arc::clone(user), asked_ms });
            }
            SessionAsk::End(id, parked) => {
                let has_ended = match parked {
                    None => sessions.forget(id, at),
                    Some(parked) => match sessions.park(id, at, *parked, now.mono_ms) {
                        Parking::Ignored => false,
                        Parking::Kept => true,
                        Parking::KeptForOldest => {
                            self.counters.sessions_ended += 1;
                            true
                        }
                    },
                };
                if has_ended && let Some(claim) = self.resumable.claims.remove(&id.0) {
                    self.hand_over(id, claim);
                }
            }
        }
    }

    /// Hands a session to who asks for it, if it may have it; where another connection still has
    /// it, as soon as that has left it behind.
    fn hand_over(&mut self, id: SessionId, claim: Claim) {
        let (to, key) = claim.at;
        let asked_ms = claim.asked_ms;
        let parked = match self.resumable.sessions.take(id, &claim.user, asked_ms) {
            Taken::Unknown => None,
            Taken::Live(loop_id, old) => {
                let other = self.resumable.claims.get(&id.0);
                if other.is_some_and(|other| other.asked_ms > asked_ms) {
                    return self.answer_claim((to, key), id, None);
                }
                if let Some(earlier) = self.resumable.claims.insert(id.0, claim) {
                    self.answer_claim(earlier.at, id, None);
                }
                if let Some(batch) = self.outgoing.get_mut(loop_id.index()) {
                    batch.replies.push(Reply::Superseded { key: old, session: id });
                }
                return;
            }
            Taken::Parked(parked) => {
                let is_known = self.resumable.sessions.resume(id, (to, key), asked_ms);
                debug_assert!(is_known, "it was taken just now");
                self.counters.sessions_resumed += 1;
                Some(parked)
            }
        };
        self.answer_claim((to, key), id, parked);
    }

    fn answer_claim(
        &mut self,
        (to, key): (LoopId, ConnKey),
        id: SessionId,
        parked: Option<Box<Parked>>,
    ) {
        if let Some(batch) = self.outgoing.get_mut(to.index()) {
            batch.push_session(key, id, parked);
        }
    }

    /// Ends the sessions that nobody came back for.
    pub(super) fn expire_sessions(&mut self, now: Now) {
        let timeout_ms = self.settings.native.session_timeout_ms;
        let ended = self.resumable.sessions.expire(now.mono_ms, timeout_ms);
        self.counters.sessions_ended += ended as u64;
    }

    /// When [`Self::expire_sessions`] has something to end.
    pub(super) fn next_session_expiry_ms(&self) -> Option<u64> {
        self.resumable.sessions.next_expiry_ms(self.settings.native.session_timeout_ms)
    }
}
