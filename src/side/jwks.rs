//! A set of keys that a URL names: fetched now and again, on a thread of its own.
//!
//! Not here: what the keys are good for (`auth`), and how loops get them: whoever starts the watch
//! says so. Invariants: a set that was once good stays until a better one is there, whatever goes
//! wrong; a server in trouble is asked less and less often.

use super::fetch::{Fetcher, without_secrets};
use crate::limits::{JWKS_BACK_OFF_MS, JWKS_BACK_OFF_MS_MAX, JWKS_BYTES_MAX, JWKS_TIMEOUT_MS};
use std::fmt;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Where a set of keys comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeySource {
    /// An `http` or `https` URL.
    pub url: Box<str>,
    /// How long a set is good for until it is fetched again.
    pub refresh: Duration,
    /// How long a fetch may take.
    pub timeout: Duration,
}

impl KeySource {
    /// That URL with the usual patience.
    pub fn new(url: &str, refresh: Duration) -> Self {
        Self { url: url.into(), refresh, timeout: Duration::from_millis(JWKS_TIMEOUT_MS) }
    }
}

/// Whether a set reached everyone it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// It did.
    Done,
    /// Someone had no room for it: it is to be offered again, to all.
    Again,
}

/// A set of keys that is being watched; dropping it ends the thread, after a fetch under way.
#[derive(Debug)]
pub struct Watch {
    _stop: mpsc::Sender<()>,
}

impl Watch {
    /// Starts to fetch. `read` makes a set of a document, or says what is wrong with it; `publish`
    /// gets each set that differs from the one before it.
    pub fn start<T, E>(
        source: KeySource,
        read: impl Fn(&[u8]) -> Result<T, E> + Send + 'static,
        publish: impl FnMut(&T) -> Delivery + Send + 'static,
    ) -> io::Result<Self>
    where
        T: PartialEq + Send + 'static,
        E: fmt::Display,
    {
        let (stop, stopped) = mpsc::channel::<()>();
        let mut watcher = Watcher::new(source, read, publish);
        thread::Builder::new().name("fanfare-jwks".to_owned()).spawn(move || {
            loop {
                let pause = watcher.turn();
                match stopped.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

/// What the thread does, one turn at a time.
struct Watcher<T, R, P> {
    fetcher: Fetcher,
    shown: String,
    refresh: Duration,
    read: R,
    publish: P,
    last_good: Option<T>,
    delivery: Delivery,
    /// In a row.
    failures: u32,
    dice: fastrand::Rng,
}

impl<T, E, R, P> Watcher<T, R, P>
where
    T: PartialEq,
    E: fmt::Display,
    R: Fn(&[u8]) -> Result<T, E>,
    P: FnMut(&T) -> Delivery,
{
    fn new(source: KeySource, read: R, publish: P) -> Self {
        let KeySource { url, refresh, timeout } = source;
        Self {
            fetcher: Fetcher::new(&url, timeout, JWKS_BYTES_MAX),
            shown: without_secrets(&url),
            refresh,
            read,
            publish,
            last_good: None,
            delivery: Delivery::Done,
            failures: 0,
            dice: fastrand::Rng::new(),
        }
    }

    /// Fetches once, passes on what is new, and says how long to rest.
    fn turn(&mut self) -> Duration {
        let fetched = self.fetcher.fetch().map_err(|error| error.to_string());
        let set = fetched.and_then(|document| {
            (self.read)(&document).map_err(|error| format!("it is no set of keys: {error}"))
        });
        match set {
            Ok(set) => {
                let url = self.shown.as_str();
                if self.failures > 0 {
                    tracing::info!(url, failures = self.failures, "the set of keys is there again");
                }
                self.failures = 0;
                if self.last_good.as_ref() != Some(&set) {
                    tracing::info!(url, "a new set of keys is in force");
                    self.last_good = Some(set);
                    self.delivery = Delivery::Again;
                }
            }
            Err(error) => {
                let back_off = self.back_off();
                let retry_ms = u64::try_from(back_off.as_millis()).unwrap_or(u64::MAX);
                let (url, kept) = (self.shown.as_str(), self.last_good.is_some());
                tracing::warn!(url, %error, retry_ms, kept, "cannot fetch the set of keys");
                self.failures += 1;
                self.deliver();
                return back_off;
            }
        }
        match self.deliver() {
            Delivery::Done => self.refresh,
            Delivery::Again => self.refresh.min(Duration::from_millis(JWKS_BACK_OFF_MS)),
        }
    }

    /// Offers what has not reached everyone yet.
    fn deliver(&mut self) -> Delivery {
        if self.delivery == Delivery::Again
            && let Some(set) = &self.last_good
        {
            self.delivery = (self.publish)(set);
        }
        self.delivery
    }

    /// The pause after one more failure: from half to all of what doubles each time, so that
    /// brokers that failed together do not come back together.
    fn back_off(&mut self) -> Duration {
        let doubled = JWKS_BACK_OFF_MS.saturating_mul(1 << self.failures.min(32));
        let most_ms = doubled.min(JWKS_BACK_OFF_MS_MAX);
        Duration::from_millis(self.dice.u64(most_ms / 2..=most_ms))
    }
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
