//! What the shard wants done elsewhere because it takes long: logins, whose passwords are hashed.
//!
//! Not here: where that happens (`side`), and how it gets there (`net`). Invariants: who asked
//! waits for the answer and is not read meanwhile; what waits to be fetched is bounded.

use super::session::Exchange;
use super::shard::Shard;
use crate::api::{Credentials, logged_in};
use crate::auth::LoginOutcome;
use crate::broker::{ConnKey, Now};
use crate::limits::{LOGINS_QUEUED_MAX, RETRY_AFTER_S};

/// Something to be done elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Errand {
    /// Check a password; [`Shard::handle_login`] takes the outcome.
    Login {
        /// Who waits for it.
        key: ConnKey,
        /// What it showed.
        credentials: Credentials,
    },
}

/// Too many logins wait.
const BUSY: LoginOutcome = LoginOutcome::TooMany { retry_after_s: RETRY_AFTER_S };

impl Shard {
    /// The next thing to be done elsewhere. Called after each tick until there is none.
    pub fn poll_errand(&mut self) -> Option<Errand> {
        self.errands.pop_front()
    }

    /// Answers a login. A connection that ended meanwhile is not missed.
    pub fn handle_login(&mut self, key: ConnKey, outcome: &LoginOutcome, now: Now) {
        self.count_login(outcome);
        self.answer(key, &logged_in(outcome), now);
    }

    /// As [`Self::handle_login`], for one that nobody has time for.
    pub fn handle_busy_login(&mut self, key: ConnKey, now: Now) {
        self.handle_login(key, &BUSY, now);
    }

    /// Sends a login on its way.
    pub(super) fn run_login(&mut self, key: ConnKey, body: &[u8], exchange: Exchange, now: Now) {
        let credentials = match Credentials::read(body) {
            Ok(credentials) => credentials,
            Err(response) => return self.respond(key, &response, exchange, now),
        };
        if self.errands.len() >= LOGINS_QUEUED_MAX {
            self.count_login(&BUSY);
            return self.respond(key, &logged_in(&BUSY), exchange, now);
        }
        self.wait_for_answer(key, exchange, now);
        self.errands.push_back(Errand::Login { key, credentials });
    }

    const fn count_login(&mut self, outcome: &LoginOutcome) {
        match outcome {
            LoginOutcome::Granted(_) => {}
            LoginOutcome::Wrong | LoginOutcome::TooMany { .. } | LoginOutcome::Failed => {
                self.counters.logins_refused += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::super::settings::Settings;
    use super::*;
    use crate::auth::{Login, Secret};
    use crate::broker::RoomOptions;

    const BODY: &str = r#"{"user":"ada","password":"hush"}"#;

    fn rig(login: bool) -> Rig {
        Rig::with(RoomOptions::default(), Settings { login, ..Settings::default() })
    }

    fn post(rig: &mut Rig, key: ConnKey, body: &str) -> String {
        let length = body.len();
        let head = format!("POST /v1/auth HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        rig.shard.handle_bytes(key, &mut format!("{head}{body}").into_bytes(), rig.now);
        read(rig, key)
    }

    fn read(rig: &mut Rig, key: ConnKey) -> String {
        rig.shard.end_tick(rig.now);
        String::from_utf8(rig.read_all(key)).expect("text")
    }

    #[test]
    fn a_login_waits_for_its_answer_and_the_connection_goes_on() {
        let mut rig = rig(true);
        let key = rig.open();
        for (outcome, line) in [
            (LoginOutcome::Wrong, "HTTP/1.1 401 "),
            (
                LoginOutcome::Granted(Box::new(Login {
                    token: Secret::new(*b"a.b.c"),
                    expires_s: 9,
                    user: "ada".into(),
                    roles: Vec::new(),
                })),
                "HTTP/1.1 200 ",
            ),
        ] {
            assert_eq!(post(&mut rig, key, BODY), "", "not yet");
            let Some(Errand::Login { key: asker, credentials }) = rig.shard.poll_errand() else {
                panic!("an errand")
            };
            assert_eq!((asker, &*credentials.user), (key, "ada"));
            assert!(rig.shard.poll_errand().is_none());
            rig.shard.handle_login(key, &outcome, rig.now);
            let answer = read(&mut rig, key);
            assert!(answer.starts_with(line), "{answer}");
            assert!(answer.contains("\r\nConnection: keep-alive\r\n"), "{answer}");
        }
        assert_eq!(rig.shard.counters().logins_refused, 1);
    }

    #[test]
    fn an_answer_for_a_connection_that_ended_is_dropped() {
        let mut rig = rig(true);
        let key = rig.open();
        post(&mut rig, key, BODY);
        rig.shard.handle_error(key, rig.now);
        let other = rig.open();
        assert_eq!(other.index, key.index, "the slot has another tenant");
        post(&mut rig, other, BODY);
        rig.shard.handle_login(key, &LoginOutcome::Wrong, rig.now);
        assert_eq!(read(&mut rig, other), "", "that was not its answer");
    }

    #[test]
    fn without_logins_nothing_is_served_there() {
        let mut rig = rig(false);
        let key = rig.open();
        let answer = post(&mut rig, key, BODY);
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("auth.login"), "{answer}");
        assert!(rig.shard.poll_errand().is_none());
    }

    #[test]
    fn a_login_that_is_none_is_refused_at_once() {
        let mut rig = rig(true);
        let key = rig.open();
        assert!(post(&mut rig, key, "{}").starts_with("HTTP/1.1 400 "));
        let long = "x".repeat(crate::limits::FIELDS_BYTES_MAX + 1);
        assert!(post(&mut rig, key, &long).starts_with("HTTP/1.1 413 "));
        assert!(rig.shard.poll_errand().is_none());
    }

    #[test]
    fn beyond_the_bound_and_where_nobody_has_time_it_is_429() {
        let mut rig = rig(true);
        let waiting: Vec<ConnKey> = (0..LOGINS_QUEUED_MAX)
            .map(|_| {
                let key = rig.open();
                assert_eq!(post(&mut rig, key, BODY), "");
                key
            })
            .collect();
        let key = rig.open();
        let answer = post(&mut rig, key, BODY);
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
        rig.shard.handle_busy_login(waiting[0], rig.now);
        assert!(read(&mut rig, waiting[0]).starts_with("HTTP/1.1 429 "));
        assert_eq!(rig.shard.counters().logins_refused, 2);
    }
}
