//! SIGTERM and SIGINT: the first starts the drain, the second ends the process at once.

use super::output::note;
use crate::net::Drainer;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::{io, process, thread};

/// Signals caught from its birth on, to be acted upon once there is a server.
#[derive(Debug)]
pub(super) struct Watch(Signals);

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reaction {
    Drain,
    Exit(i32),
}

/// The first signal drains; any later one exits as a shell reports a death by it.
const fn reaction(signals_before: u32, signal: i32) -> Reaction {
    if signals_before == 0 { Reaction::Drain } else { Reaction::Exit(128 + signal) }
}

impl Watch {
    /// Catches the signals from now on.
    pub(super) fn new() -> io::Result<Self> {
        Signals::new([SIGTERM, SIGINT]).map(Self)
    }

    /// Drains at the first signal, on a thread of its own, which lives as long as the process.
    pub(super) fn drain_on_signal(self, drainer: Drainer) -> io::Result<()> {
        let Self(mut signals) = self;
        let react = move || {
            for (nth, signal) in (0_u32..).zip(signals.forever()) {
                match reaction(nth, signal) {
                    Reaction::Drain => {
                        tracing::info!(signal = name(signal), "draining; a second signal ends it");
                        drainer.drain();
                    }
                    Reaction::Exit(code) => {
                        note(format_args!("fanfare: second signal ({}), ended", name(signal)));
                        process::exit(code);
                    }
                }
            }
        };
        thread::Builder::new().name("fanfare-signals".to_owned()).spawn(react).map(|_| ())
    }
}

fn name(signal: i32) -> &'static str {
    signal_hook::low_level::signal_name(signal).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_drains_and_the_second_exits_with_its_number() {
        assert_eq!(reaction(0, SIGTERM), Reaction::Drain);
        assert_eq!(reaction(0, SIGINT), Reaction::Drain);
        assert_eq!(reaction(1, SIGINT), Reaction::Exit(130));
        assert_eq!(reaction(1, SIGTERM), Reaction::Exit(143));
        assert_eq!(reaction(2, SIGTERM), Reaction::Exit(143));
    }
}
