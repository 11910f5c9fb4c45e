//! The two sides of a measurement, and what each spent between two moments.
//!
//! Invariant: the CPU time of both and the clock are read together, so that the cores a side kept
//! busy are its CPU time over the very interval in which it was spent.

use super::clock::Clock;
use super::error::BenchError;
use super::process::{CpuSpent, CpuTime, Process, Server};
use serde::Serialize;
use std::fmt;

/// Share of a core above which the client may be what is measured.
const BUSY_SHARE: f64 = 0.9;

/// Whether a client that kept so much of its core busy may be what is measured.
pub(super) fn is_bottleneck(share: f64) -> bool {
    share > BUSY_SHARE
}

/// The server, where it is known, and ourselves.
#[derive(Debug)]
pub(super) struct Sides {
    server: Option<Server>,
    own: Process,
    clock: Clock,
}

/// What both had spent at one moment.
#[derive(Debug)]
pub(super) struct Moment {
    server: Option<Vec<CpuTime>>,
    own: CpuTime,
    at_us: u64,
}

/// The CPU time of one side, in all and for each delivery or cycle.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Side {
    /// The first of its processes.
    pid: u32,
    pids: Vec<u32>,
    /// None where there was no delivery or cycle.
    cpu_us_each: Option<f64>,
    user_us_each: Option<f64>,
    system_us_each: Option<f64>,
    /// Cores kept busy.
    pub(super) cores: f64,
}

impl Sides {
    /// Us and `server`, by `clock`.
    pub(super) fn new(server: Option<Server>, clock: Clock) -> Self {
        Self { server, own: Process::own(), clock }
    }

    /// Reads what both have spent so far.
    pub(super) fn look(&self) -> Result<Moment, BenchError> {
        let server = self.server.as_ref().map(Server::cpu_time).transpose()?;
        Ok(Moment { server, own: self.own.cpu_time()?, at_us: self.clock.now_us() })
    }

    /// What the server, where it is known, and we spent between two moments on `count` deliveries
    /// or cycles.
    pub(super) fn between(
        &self,
        before: &Moment,
        after: &Moment,
        count: u64,
    ) -> (Option<Side>, Side) {
        let interval_us = after.at_us.saturating_sub(before.at_us);
        let server = self.server.as_ref().zip(before.server.as_ref()).zip(after.server.as_ref());
        let server = server.map(|((server, before), after)| {
            let spent = after.iter().zip(before).map(|(after, before)| after.since(*before)).sum();
            Side::new(server.pids(), spent, count, interval_us)
        });
        let own = after.own.since(before.own);
        (server, Side::new(vec![self.own.pid()], own, count, interval_us))
    }
}

impl Side {
    /// What processes spent on so many deliveries or cycles in that interval.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn new(pids: Vec<u32>, spent: CpuSpent, count: u64, interval_us: u64) -> Self {
        let each = |us: f64| (count > 0).then(|| us / count as f64);
        Self {
            pid: pids.first().copied().unwrap_or_default(),
            pids,
            cpu_us_each: each(spent.total_us()),
            user_us_each: each(spent.user_us),
            system_us_each: each(spent.system_us),
            cores: spent.total_us() / interval_us.max(1) as f64,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (each, user, system) =
            (Us(self.cpu_us_each), Us(self.user_us_each), Us(self.system_us_each));
        let share = self.cores * 100.0;
        write!(f, "{each} µs each ({user} user, {system} system), {share:.0} % of a core ")?;
        match self.pids.as_slice() {
            [] | [_] => write!(f, "(process {})", self.pid),
            several => write!(f, "({} processes from {})", several.len(), self.pid),
        }
    }
}

/// Microseconds, or that there are none to tell.
struct Us(Option<f64>);

impl fmt::Display for Us {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(us) => write!(f, "{us:.3}"),
            None => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPENT: CpuSpent = CpuSpent { user_us: 100.0, system_us: 300.0 };

    #[test]
    fn cpu_time_is_shared_out_over_deliveries() {
        let side = Side::new(vec![1], SPENT, 200, 800);
        assert_eq!((side.cpu_us_each, side.user_us_each), (Some(2.0), Some(0.5)));
        assert_eq!(side.cores, 0.5);
        let text = "2.000 µs each (0.500 user, 1.500 system), 50 % of a core (process 1)";
        assert_eq!(side.to_string(), text);
    }

    #[test]
    fn who_has_hardly_any_time_left_is_the_bottleneck() {
        assert!(is_bottleneck(0.97) && is_bottleneck(1.1));
        assert!(!is_bottleneck(0.9) && !is_bottleneck(0.0));
    }

    #[test]
    fn nothing_delivered_has_no_figure_each() {
        let side = Side::new(vec![3, 4], SPENT, 0, 800);
        assert_eq!((side.cpu_us_each, side.cores), (None, 0.5));
        let text = "- µs each (- user, - system), 50 % of a core (2 processes from 3)";
        assert_eq!(side.to_string(), text);
        let json = serde_json::to_value(&side).expect("plain numbers");
        assert_eq!((&json["pid"], &json["pids"][1]), (&3.into(), &4.into()));
        assert!(json["cpu_us_each"].is_null());
    }

    #[test]
    fn cores_are_over_the_interval_between_the_readings() {
        let sides = Sides::new(Server::of(&[std::process::id()]), Clock::start());
        let before = sides.look().expect("our own");
        let after = Moment { at_us: before.at_us + 1_000, ..sides.look().expect("our own") };
        let (server, own) = sides.between(&before, &after, 1);
        for side in [server.expect("ourselves"), own] {
            let spent_us = side.cpu_us_each.expect("one delivery");
            assert!((side.cores - spent_us / 1_000.0).abs() < 1e-9, "{side:?}");
        }
    }
}
