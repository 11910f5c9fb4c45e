//! The thread that checks passwords, and the bounded queue in front of it.
//!
//! Not here: the checking itself (`desk`). Invariant: whoever hands in a login does not wait; the
//! thread ends when nobody can hand in any more.

use super::desk::Desk;
use crate::auth::{LoginOutcome, Secret};
use crate::broker::Now;
use crate::limits::LOGINS_QUEUED_MAX;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// A login, on its way to be checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request<T> {
    /// Who is to be told the outcome.
    pub asker: T,
    /// Who it is said to be.
    pub user: Box<str>,
    /// By what that is to be known.
    pub password: Secret,
    /// When it was asked.
    pub now: Now,
}

/// Where logins are handed in; every loop has one.
#[derive(Debug)]
pub struct Logins<T>(SyncSender<Request<T>>);

impl<T: Send + 'static> Logins<T> {
    /// Starts the thread. `answer` is called on it with each outcome, and may take its time.
    pub fn start(
        mut desk: Desk,
        mut answer: impl FnMut(T, LoginOutcome) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Request<T>>(LOGINS_QUEUED_MAX);
        thread::Builder::new().name("fanfare-login".to_owned()).spawn(move || {
            for Request { asker, user, password, now } in receiver {
                let outcome = desk.check(&user, &password, now);
                drop(password);
                answer(asker, outcome);
            }
        })?;
        Ok(Self(sender))
    }

    /// Hands one in, or gives back who asked: too many wait.
    pub fn hand_in(&self, request: Request<T>) -> Result<(), T> {
        self.0.try_send(request).map_err(|error| match error {
            std::sync::mpsc::TrySendError::Full(request)
            | std::sync::mpsc::TrySendError::Disconnected(request) => request.asker,
        })
    }
}

impl<T> Clone for Logins<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOGINS_PER_MINUTE_MAX;
    use std::sync::mpsc;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn request(asker: usize) -> Request<usize> {
        let password = Secret::new(*b"hush");
        Request { asker, user: "ada".into(), password, now: Now::default() }
    }

    #[test]
    fn what_is_handed_in_is_answered_in_order_until_the_queue_is_full() {
        let (begins, begun) = mpsc::channel();
        let (asks, asked) = sync_channel(0);
        let desk = Desk::new(60, |_| Err(String::new()));
        let logins = Logins::start(desk, move |asker: usize, outcome| {
            begins.send(()).expect("the test listens");
            asks.send((asker, outcome)).expect("the test listens");
        });
        let logins = logins.expect("a thread");
        assert_eq!(logins.hand_in(request(0)), Ok(()));
        assert_eq!(begun.recv_timeout(PATIENCE), Ok(()), "the thread has one in hand");
        for asker in 1..=LOGINS_QUEUED_MAX {
            assert_eq!(logins.hand_in(request(asker)), Ok(()));
        }
        assert_eq!(logins.clone().hand_in(request(7_000)), Err(7_000));
        drop(logins);
        for asker in 0..=LOGINS_QUEUED_MAX {
            // The same name each time: the desk has no account, and then has had enough.
            let expected = match asker < LOGINS_PER_MINUTE_MAX as usize {
                true => LoginOutcome::Wrong,
                false => LoginOutcome::TooMany { retry_after_s: 60 },
            };
            assert_eq!(asked.recv_timeout(PATIENCE), Ok((asker, expected)));
        }
        let ended = asked.recv_timeout(PATIENCE);
        assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected), "the thread let go");
    }
}
