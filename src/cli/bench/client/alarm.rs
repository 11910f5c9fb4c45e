//! A timer that wakes the poll to the microsecond, where the poll's own time-out counts in
//! milliseconds.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const ZERO: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// One timer, registered with a poll. Setting it anew forgets that it went off.
#[derive(Debug)]
pub(super) struct Alarm(OwnedFd);

impl Alarm {
    /// A timer that is not set.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Goes off once, so many microseconds from now.
    pub(super) fn set(&self, in_us: u64) -> io::Result<()> {
        let in_us = in_us.max(1); // Zero would switch it off.
        let tv_sec = i64::try_from(in_us / 1_000_000).unwrap_or(i64::MAX);
        let tv_nsec = i64::try_from(in_us % 1_000_000 * 1_000).unwrap_or_default();
        let once = Itimerspec { it_interval: ZERO, it_value: Timespec { tv_sec, tv_nsec } };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::clock::Clock;

    #[test]
    fn it_goes_off_when_due_and_again_when_set_again() {
        let mut poll = mio::Poll::new().expect("a poll");
        let alarm = Alarm::new(poll.registry(), Token(7)).expect("a timer");
        let mut events = mio::Events::with_capacity(4);
        for in_us in [0, 300, 2_000] {
            let clock = Clock::start();
            alarm.set(in_us).expect("it can be set");
            poll.poll(&mut events, None).expect("a poll");
            assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(7)]);
            assert!(clock.now_us() >= in_us);
        }
    }
}
