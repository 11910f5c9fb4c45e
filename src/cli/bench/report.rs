//! What was measured, as text for people and JSON for programs.

use super::crowd::{Crowd, Phase, Shape};
use super::pace::Pace;
use super::process::CpuSpent;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;

/// Share of a core above which the client may be what is measured.
const BUSY_SHARE: f64 = 0.9;

/// One measured load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    rooms: usize,
    members_per_room: usize,
    publishers_per_room: usize,
    payload_bytes: usize,
    window: Option<u32>,
    rate: Option<f64>,
    seconds: f64,
    published: u64,
    deliveries: u64,
    deliveries_per_second: f64,
    pub(super) latency_us: Percentiles,
    /// The most that the client itself was late.
    behind_us_max: u64,
    pub(super) lost: u64,
    duplicated: u64,
    reordered: u64,
    unknown: u64,
    connections_ended: usize,
    first_ending: Option<String>,
    pub(super) server: Option<Side>,
    pub(super) client: Side,
}

/// Latency by share of deliveries.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Percentiles {
    p50: u64,
    p90: u64,
    pub(super) p99: u64,
    p99_9: u64,
    max: u64,
}

/// The CPU time of one side, in all and for each delivery or cycle.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Side {
    pid: u32,
    pub(super) cpu_us_each: f64,
    user_us_each: f64,
    system_us_each: f64,
    /// Cores kept busy.
    pub(super) cores: f64,
}

impl Percentiles {
    fn of(values: &Histogram<u64>) -> Self {
        let at = |share| values.value_at_quantile(share);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), max: values.max() }
    }
}

impl Side {
    /// What a process spent on so many deliveries or cycles in so much time.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(super) fn new(pid: u32, spent: CpuSpent, count: u64, elapsed_us: u64) -> Self {
        let each = |us: f64| us / count.max(1) as f64;
        Self {
            pid,
            cpu_us_each: each(spent.total_us()),
            user_us_each: each(spent.user_us),
            system_us_each: each(spent.system_us),
            cores: spent.total_us() / elapsed_us.max(1) as f64,
        }
    }
}

impl Report {
    /// Puts the results of one phase together.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(super) fn new(
        shape: &Shape,
        crowd: &Crowd,
        phase: &Phase,
        server: Option<Side>,
        client: Side,
    ) -> Self {
        let faults = crowd.tally().faults(crowd.expected());
        let seconds = phase.elapsed_us as f64 / 1e6;
        let (window, rate) = match shape.pace {
            Pace::Window(window) => (Some(window), None),
            Pace::Rate(rate) => (None, Some(rate)),
        };
        Self {
            rooms: shape.rooms,
            members_per_room: shape.members,
            publishers_per_room: shape.publishers,
            payload_bytes: shape.size,
            window,
            rate,
            seconds,
            published: phase.published,
            deliveries: phase.deliveries,
            deliveries_per_second: phase.deliveries as f64 / seconds.max(1e-6),
            latency_us: Percentiles::of(&phase.latency.values),
            behind_us_max: phase.behind_us_max,
            lost: faults.lost,
            duplicated: faults.duplicated,
            reordered: faults.reordered,
            unknown: faults.unknown,
            connections_ended: crowd.ended().count,
            first_ending: crowd.ended().first.as_ref().map(ToString::to_string),
            server,
            client,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles { p50, p90, p99, p99_9, max } = self.latency_us;
        writeln!(
            f,
            "rooms       {} of {} members, {} publishing {} bytes each",
            self.rooms, self.members_per_room, self.publishers_per_room, self.payload_bytes
        )?;
        writeln!(
            f,
            "deliveries  {} in {:.2} s: {:.0} a second, of {} messages",
            self.deliveries, self.seconds, self.deliveries_per_second, self.published
        )?;
        writeln!(
            f,
            "latency     p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
            Ms(p50),
            Ms(p90),
            Ms(p99),
            Ms(p99_9),
            Ms(max)
        )?;
        if self.rate.is_some() {
            writeln!(f, "            sent up to {} after they were due", Ms(self.behind_us_max))?;
        }
        writeln!(
            f,
            "faults      {} lost, {} duplicated, {} reordered, {} unknown",
            self.lost, self.duplicated, self.reordered, self.unknown
        )?;
        if let Some(ending) = &self.first_ending {
            writeln!(f, "            {} connections ended: {ending}", self.connections_ended)?;
        }
        match &self.server {
            Some(side) => writeln!(f, "server      {side}")?,
            None => writeln!(f, "server      not found on this machine (--pid)")?,
        }
        write!(f, "client      {}", self.client)?;
        if self.client.cores > BUSY_SHARE {
            write!(
                f,
                "\nwarning     the client was as busy as it can be: rate and latency are its own"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.3} µs each ({:.3} user, {:.3} system), {:.0} % of a core (process {})",
            self.cpu_us_each,
            self.user_us_each,
            self.system_us_each,
            self.cores * 100.0,
            self.pid
        )
    }
}

/// Microseconds, shown as milliseconds.
struct Ms(u64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ms", self.0 / 1_000, self.0 % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_shared_out_over_deliveries() {
        let spent = CpuSpent { user_us: 100.0, system_us: 300.0 };
        let side = Side::new(1, spent, 200, 800);
        assert_eq!((side.cpu_us_each, side.user_us_each), (2.0, 0.5));
        assert_eq!(side.cores, 0.5);
        assert_eq!(Side::new(1, spent, 0, 0).cpu_us_each, 400.0);
    }

    #[test]
    fn milliseconds_have_three_places() {
        assert_eq!(Ms(1_005).to_string(), "1.005 ms");
        assert_eq!(Ms(0).to_string(), "0.000 ms");
    }
}
