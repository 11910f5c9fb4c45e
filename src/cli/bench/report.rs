//! What was measured, as text for people and JSON for programs.
//!
//! Invariants: everything is about the measured phase, but what names another; what there is none
//! of is told as none, never as a number.

use super::crowd::{Crowd, Phase};
use super::pace::Pace;
use super::shape::Shape;
use super::sides::{Side, is_bottleneck};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;

/// One measured load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    rooms: usize,
    members_per_room: usize,
    publishers_per_room: usize,
    payload_bytes: usize,
    window: Option<u32>,
    rate: Option<f64>,
    /// From the begin to the last delivery.
    seconds: f64,
    published: u64,
    pub(super) deliveries: u64,
    /// Over the time to the last delivery, not the wait for what was lost.
    deliveries_per_second: f64,
    pub(super) latency_us: Percentiles,
    /// The most that the client itself was late.
    behind_us_max: u64,
    pub(super) lost: u64,
    duplicated: u64,
    reordered: u64,
    unknown: u64,
    /// Of another length than was sent; lost too.
    damaged: u64,
    /// Messages of the warm-up that have not come at all.
    pub(super) warm_up_lost: u64,
    /// Messages that came compressed.
    compressed: u64,
    /// Payload bytes of a message as it came.
    wire_bytes_each: Option<f64>,
    connections_ended: usize,
    first_ending: Option<String>,
    /// Messages that each write of the server carried, where it says so itself.
    messages_per_send: Option<f64>,
    /// Messages that each of our reads brought, of those that brought any.
    messages_per_read: Option<f64>,
    server: Option<Side>,
    client: Side,
    /// Whether we were so busy that rate and latency may be our own.
    client_is_bottleneck: bool,
}

/// Latency by share of deliveries; none where there were none.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Percentiles {
    p50: Option<u64>,
    p90: Option<u64>,
    pub(super) p99: Option<u64>,
    p99_9: Option<u64>,
    max: Option<u64>,
}

impl Percentiles {
    fn of(values: &Histogram<u64>) -> Self {
        let some = |value| (!values.is_empty()).then_some(value);
        let at = |share| some(values.value_at_quantile(share));
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: some(values.max()),
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
        let faults = phase.faults;
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
            damaged: faults.damaged,
            warm_up_lost: crowd.lost_before(),
            compressed: phase.wire.compressed,
            wire_bytes_each: (phase.wire.messages > 0)
                .then(|| phase.wire.bytes as f64 / phase.wire.messages as f64),
            connections_ended: crowd.ended().count,
            first_ending: crowd.ended().first.as_ref().map(ToString::to_string),
            messages_per_send: None,
            messages_per_read: phase.brought.messages_per_read(),
            server,
            // With losses the phase ends in silence, during which nobody is busy.
            client_is_bottleneck: is_bottleneck(client.cores.max(phase.busy_share)),
            client,
        }
    }

    /// Tells too how many messages each write of the server carried, if that is known.
    pub(super) fn with_sends(self, messages_per_send: Option<f64>) -> Self {
        Self { messages_per_send, ..self }
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
        if let Some(bytes) = self.wire_bytes_each.filter(|_| self.compressed > 0) {
            writeln!(f, "compressed  {} messages came so; {bytes:.1} bytes each", self.compressed)?;
        }
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
            writeln!(
                f,
                "            sent up to {} after they were due",
                Ms(Some(self.behind_us_max))
            )?;
        }
        writeln!(
            f,
            "faults      {} lost, {} duplicated, {} reordered, {} unknown, {} damaged",
            self.lost, self.duplicated, self.reordered, self.unknown, self.damaged
        )?;
        if self.warm_up_lost > 0 {
            writeln!(f, "            {} lost in the warm-up", self.warm_up_lost)?;
        }
        if let Some(ending) = &self.first_ending {
            writeln!(f, "            {} connections ended: {ending}", self.connections_ended)?;
        }
        match &self.server {
            Some(side) => writeln!(f, "server      {side}")?,
            None => writeln!(f, "server      not found on this machine (--pid)")?,
        }
        if let Some(messages) = self.messages_per_send {
            writeln!(f, "            writes {messages:.1} messages each")?;
        }
        write!(f, "client      {}", self.client)?;
        if let Some(messages) = self.messages_per_read {
            write!(f, "\n            reads {messages:.1} messages each")?;
        }
        if self.client_is_bottleneck {
            write!(f, "\n{BOTTLENECK}")?;
        }
        Ok(())
    }
}

/// What is said when the client is what was measured.
pub(super) const BOTTLENECK: &str =
    "warning     the client was as busy as it can be: rate and latency are its own";

/// Microseconds, shown as milliseconds, or that there are none.
struct Ms(Option<u64>);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(us) => write!(f, "{}.{:03} ms", us / 1_000, us % 1_000),
            None => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_have_three_places() {
        assert_eq!(Ms(Some(1_005)).to_string(), "1.005 ms");
        assert_eq!(Ms(Some(0)).to_string(), "0.000 ms");
        assert_eq!(Ms(None).to_string(), "-");
    }

    #[test]
    fn no_delivery_has_no_percentile() {
        let mut values = Histogram::new(3).expect("within the bounds");
        assert_eq!(Percentiles::of(&values).p99, None);
        values.record(7).expect("it resizes itself");
        let Percentiles { p50, p90, p99, p99_9, max } = Percentiles::of(&values);
        assert_eq!([p50, p90, p99, p99_9, max], [Some(7); 5]);
    }
}
