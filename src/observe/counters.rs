//! What one loop counts: plain fields, bumped by the loop alone, summed over loops on scrape.
//!
//! Invariant: no field is ever labelled by a room, a user or an address, so the size is fixed.

use crate::broker::Disconnect;

/// Counts of values by size: bucket `i` holds values below 4^(i+1), the last one all the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SizeHistogram {
    /// Observations by size, not cumulative.
    pub buckets: [u64; Self::BUCKETS],
    /// Sum of all observed values.
    pub sum: u64,
}

impl SizeHistogram {
    /// Number of buckets.
    pub const BUCKETS: usize = 12;

    /// Counts one observation of `value`.
    pub fn observe(&mut self, value: u64) {
        let bucket = (value.max(1).ilog2() / 2) as usize;
        if let Some(count) = self.buckets.get_mut(bucket.min(Self::BUCKETS - 1)) {
            *count += 1;
        }
        self.sum += value;
    }
}

/// Everything one loop counts. Gauges say so; the rest only grows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Gauge: connections held, of any kind.
    pub connections: u64,
    /// Gauge: connections upgraded to WebSocket and not yet closing.
    pub websockets: u64,
    /// Connections accepted.
    pub connections_opened: u64,
    /// Connections refused because the process was over capacity or draining.
    pub connections_refused: u64,
    /// Connections ended, by [`Disconnect::index`].
    pub connections_closed: [u64; Disconnect::COUNT],
    /// Upgrades refused, whatever the status.
    pub handshakes_failed: u64,
    /// HTTP requests whose head was complete, upgrades included.
    pub http_requests: u64,
    /// HTTP responses by class, 1xx to 5xx.
    pub http_responses: [u64; 5],
    /// Bytes read from sockets.
    pub bytes_in: u64,
    /// Bytes written to sockets.
    pub bytes_out: u64,
    /// WebSocket messages received.
    pub messages_in: u64,
    /// WebSocket messages queued for members and echo clients.
    pub messages_out: u64,
    /// Messages that rooms at home here numbered.
    pub publications: u64,
    /// Messages not delivered to a member whose outbox was full.
    pub messages_dropped: u64,
    /// Gaps recorded for members, each covering one or more dropped messages.
    pub gaps: u64,
    /// Pings received.
    pub pings_in: u64,
    /// Pongs queued.
    pub pongs_out: u64,
    /// Pings whose pong was replaced by a newer one's.
    pub pongs_coalesced: u64,
    /// Heartbeat pings sent.
    pub pings_out: u64,
    /// Pongs received.
    pub pongs_in: u64,
    /// Gauge: rooms at home here.
    pub rooms: u64,
    /// Rooms created here.
    pub rooms_created: u64,
    /// Rooms deleted after their grace.
    pub rooms_deleted: u64,
    /// Joins and publishes refused because there were too many rooms.
    pub rooms_refused: u64,
    /// Gauge: memberships of connections of this loop.
    pub members: u64,
    /// Joins that took effect on this loop.
    pub joins: u64,
    /// Memberships that ended on this loop.
    pub leaves: u64,
    /// Turns of the loop.
    pub ticks: u64,
    /// Wake-up system calls made for other loops.
    pub wakes: u64,
    /// Batches handed to other loops.
    pub batches_out: u64,
    /// Bytes of those batches.
    pub batch_bytes: SizeHistogram,
    /// Messages of one room laid out in one tick.
    pub run_messages: SizeHistogram,
    /// Batches that another loop's full inbox did not take at once.
    pub batches_held: u64,
    /// Times a connection was not read on because a home's credit was spent.
    pub credit_pauses: u64,
    /// Commands parked because a destination's outgoing bound was reached.
    pub commands_parked: u64,
    /// Read system calls.
    pub reads: u64,
    /// Write system calls.
    pub writes: u64,
    /// Writes that the kernel took only in part or not at all.
    pub writes_blocked: u64,
    /// Times accept found no descriptor left.
    pub accepts_exhausted: u64,
    /// Notices for the log that found no place.
    pub notices_dropped: u64,
    /// Gauge: bytes held for unfinished requests and messages, and for input not yet handled.
    pub spill_bytes: u64,
    /// Gauge: bytes queued in outboxes, a shared buffer counted once per member.
    pub outbox_bytes: u64,
    /// Gauge: capacity of the buffers that outboxes keep alive, each counted once.
    pub pinned_bytes: u64,
    /// Gauge: bytes waiting for other loops to take them.
    pub outgoing_bytes: u64,
}
