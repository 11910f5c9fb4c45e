//! The ways from loops to side threads and back.
//!
//! Not here: what is done there (`side`). Invariants: a loop never waits for a side thread; what
//! comes back takes the one way into a loop, its inbox.

use super::event_loop::{EventLoop, Shared};
use crate::api::Credentials;
use crate::auth::{Authority, LoginOutcome, TokenKeys};
use crate::broker::{ConnKey, LoopId, Now};
use crate::engine::Errand;
use crate::limits::{GATHER_TIMEOUT_MS, HELD_BATCH_RETRY_MS};
use crate::side::{Delivery, Desk, KeySource, Logins, Request, Watch};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What a server has done on threads of their own.
#[derive(Debug, Default)]
pub struct SideWork {
    /// The set of keys that is fetched, beside those that the authority starts with.
    pub keys: Option<KeySource>,
    /// Who may log in with a password.
    pub logins: Option<Desk>,
}

/// Who waits for the outcome of a login.
pub(super) type Asker = (LoopId, ConnKey);

impl EventLoop {
    /// Takes what the shard wants done elsewhere to where it is done.
    pub(super) fn run_errands(&mut self, now: Now) {
        while let Some(errand) = self.shard.poll_errand() {
            let Errand::Login { key, credentials: Credentials { user, password } } = errand;
            let request = Request { asker: (self.id, key), user, password, now };
            let handed = self.logins.as_ref().map(|logins| logins.hand_in(request));
            if !matches!(handed, Some(Ok(()))) {
                self.shard.handle_busy_login(key, now);
                self.act();
            }
        }
    }
}

/// Starts the thread that checks passwords. It ends when no loop is left.
pub(super) fn start_logins(desk: Desk, shared: &Arc<Shared>) -> io::Result<Logins<Asker>> {
    let shared = Arc::clone(shared);
    Logins::start(desk, move |(id, key), outcome| answer(&shared, id, key, outcome))
}

/// Takes an outcome back. An inbox that stays full is that of a loop that has ended, or of one
/// that has long given up on the login.
fn answer(shared: &Shared, id: LoopId, key: ConnKey, outcome: LoginOutcome) {
    let Some(peer) = shared.peers.get(id.index()) else { return };
    let mut outcome = Box::new(outcome);
    for _ in 0..GATHER_TIMEOUT_MS / HELD_BATCH_RETRY_MS {
        match peer.send_login(key, outcome) {
            Ok(_) => return,
            Err(back) => outcome = back,
        }
        thread::park_timeout(Duration::from_millis(HELD_BATCH_RETRY_MS));
    }
}

/// Starts to fetch keys. Each set goes to every loop, beside the keys that `base` has.
pub(super) fn watch_keys(
    source: KeySource,
    base: Arc<Authority>,
    shared: &Arc<Shared>,
) -> io::Result<Watch> {
    let shared = Arc::clone(shared);
    // What does not fit beside the keys of the configuration is refused like a set that is none.
    let own = base.keys.clone().unwrap_or_default();
    let read = move |document: &[u8]| {
        let fetched = TokenKeys::from_jwks(document)?;
        let mut keys = own.clone();
        keys.extend(&fetched).map(|()| keys)
    };
    Watch::start(source, read, move |keys: &TokenKeys| publish(&shared, &base, keys))
}

fn publish(shared: &Shared, base: &Authority, keys: &TokenKeys) -> Delivery {
    let authority = Arc::new(Authority { keys: Some(keys.clone()), ..base.clone() });
    let mut delivery = Delivery::Done;
    for peer in &shared.peers {
        if peer.send_authority(Arc::clone(&authority)).is_err() {
            delivery = Delivery::Again;
        }
    }
    delivery
}

#[cfg(test)]
#[path = "errands_tests.rs"]
mod tests;
