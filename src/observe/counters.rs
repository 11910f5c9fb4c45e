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

    /// The largest value that bucket `index` holds; none for the last, which holds all the rest.
    pub const fn bucket_value_max(index: usize) -> Option<u64> {
        if index + 1 < Self::BUCKETS { Some((1 << (2 * (index + 1))) - 1) } else { None }
    }

    /// How many values were observed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn values_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        let Self { buckets, sum } = self;
        buckets.iter_mut().chain([sum])
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
    /// Upgrades that agreed on compression.
    pub upgrades_compressed: u64,
    /// Gauge: connections with a compression context of their own.
    pub contexts: u64,
    /// Upgrades that got the shared compression since no context was left.
    pub contexts_refused: u64,
    /// Native connections among the WebSockets.
    pub natives: u64,
    /// Bytes that rooms' histories keep allocated.
    pub history_bytes: u64,
    /// Native requests answered with an error.
    pub requests_refused: u64,
    /// Messages recognised by their dedupe key and not delivered again.
    pub repeats: u64,
    /// Dedupe keys forgotten before their time.
    pub dedupe_evictions: u64,
    /// Pieces of history forgotten because all histories were too large.
    pub history_evictions: u64,
    /// Typing notices and receipts that a full socket was spared.
    pub volatile_dropped: u64,
    /// Gap notices sent to native members.
    pub gaps_told: u64,
    /// Native sessions taken up by another connection.
    pub sessions_resumed: u64,
    /// Native sessions that nobody came back for.
    pub sessions_ended: u64,
    /// Native sessions that wait to be resumed.
    pub sessions_parked: u64,
    /// Users with a native connection, of this node.
    pub users_online: u64,
    /// Tokens that let someone in, or stay.
    pub tokens_accepted: u64,
    /// Tokens that did not.
    pub tokens_refused: u64,
    /// WebSockets closed because their token had expired.
    pub tokens_expired: u64,
    /// WebSockets closed because their token was revoked.
    pub tokens_revoked: u64,
    /// Gauge: revocations in force.
    pub revocations: u64,
    /// Native connections closed because no token came in time.
    pub auth_timeouts: u64,
    /// Requests refused for want of a grant.
    pub requests_forbidden: u64,
    /// Requests refused because of the page that they came from.
    pub origins_refused: u64,
    /// Logins refused.
    pub logins_refused: u64,
    /// Gauge: addresses whose connections are counted.
    pub addresses: u64,
    /// Connections refused because their address had too many.
    pub addresses_refused: u64,
    /// Connections closed for what they said, or left out, by the PROXY protocol.
    pub proxy_headers_refused: u64,
    /// Connections refused because too many came at once.
    pub accepts_limited: u64,
    /// Gauge: users and addresses whose messages are counted.
    pub buckets: u64,
    /// Messages and requests refused because too many came.
    pub rate_limited: u64,
    /// Connections and rooms refused because memory was short.
    pub pressure_refused: u64,
    /// Slow members closed because memory was short.
    pub pressure_shed: u64,
    /// Messages compressed, each once for all who get it.
    pub deflated_messages: u64,
    /// Bytes of those messages before.
    pub deflate_bytes_in: u64,
    /// Bytes of those messages after.
    pub deflate_bytes_out: u64,
    /// Bytes that members were not sent because of it.
    pub deflate_bytes_saved: u64,
    /// Time spent compressing.
    pub deflate_ns: u64,
    /// Compressed messages received.
    pub inflated_messages: u64,
    /// Bytes of those payloads as they came.
    pub inflate_bytes_in: u64,
    /// Bytes of those payloads inflated.
    pub inflate_bytes_out: u64,
    /// Time spent inflating.
    pub inflate_ns: u64,
}

impl Counters {
    /// Adds what `other`, the counters of another loop, holds: counts and gauges alike.
    pub fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        for (value, more) in self.values_mut().zip(other.values_mut()) {
            *value += *more;
        }
    }

    /// Every number in here, each once. A field that is missing fails to compile; one that
    /// `render` leaves out fails its test, which bumps these one by one.
    #[expect(clippy::too_many_lines, reason = "a list: split, a field could be left out unseen")]
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        let Self {
            connections,
            websockets,
            connections_opened,
            connections_refused,
            connections_closed,
            handshakes_failed,
            http_requests,
            http_responses,
            bytes_in,
            bytes_out,
            messages_in,
            messages_out,
            publications,
            messages_dropped,
            gaps,
            pings_in,
            pongs_out,
            pongs_coalesced,
            pings_out,
            pongs_in,
            rooms,
            rooms_created,
            rooms_deleted,
            rooms_refused,
            members,
            joins,
            leaves,
            ticks,
            wakes,
            batches_out,
            batch_bytes,
            run_messages,
            batches_held,
            credit_pauses,
            commands_parked,
            reads,
            writes,
            writes_blocked,
            accepts_exhausted,
            notices_dropped,
            spill_bytes,
            outbox_bytes,
            pinned_bytes,
            outgoing_bytes,
            upgrades_compressed,
            contexts,
            contexts_refused,
            natives,
            history_bytes,
            requests_refused,
            repeats,
            dedupe_evictions,
            history_evictions,
            volatile_dropped,
            gaps_told,
            sessions_resumed,
            sessions_ended,
            sessions_parked,
            users_online,
            tokens_accepted,
            tokens_refused,
            tokens_expired,
            tokens_revoked,
            revocations,
            auth_timeouts,
            requests_forbidden,
            origins_refused,
            logins_refused,
            addresses,
            addresses_refused,
            proxy_headers_refused,
            accepts_limited,
            buckets,
            rate_limited,
            pressure_refused,
            pressure_shed,
            deflated_messages,
            deflate_bytes_in,
            deflate_bytes_out,
            deflate_bytes_saved,
            deflate_ns,
            inflated_messages,
            inflate_bytes_in,
            inflate_bytes_out,
            inflate_ns,
        } = self;
        let plain = [
            connections,
            websockets,
            connections_opened,
            connections_refused,
            handshakes_failed,
            http_requests,
            bytes_in,
            bytes_out,
            messages_in,
            messages_out,
            publications,
            messages_dropped,
            gaps,
            pings_in,
            pongs_out,
            pongs_coalesced,
            pings_out,
            pongs_in,
            rooms,
            rooms_created,
            rooms_deleted,
            rooms_refused,
            members,
            joins,
            leaves,
            ticks,
            wakes,
            batches_out,
            batches_held,
            credit_pauses,
            commands_parked,
            reads,
            writes,
            writes_blocked,
            accepts_exhausted,
            notices_dropped,
            spill_bytes,
            outbox_bytes,
            pinned_bytes,
            outgoing_bytes,
            upgrades_compressed,
            contexts,
            contexts_refused,
            natives,
            history_bytes,
            requests_refused,
            repeats,
            dedupe_evictions,
            history_evictions,
            volatile_dropped,
            gaps_told,
            sessions_resumed,
            sessions_ended,
            sessions_parked,
            users_online,
            tokens_accepted,
            tokens_refused,
            tokens_expired,
            tokens_revoked,
            revocations,
            auth_timeouts,
            requests_forbidden,
            origins_refused,
            logins_refused,
            addresses,
            addresses_refused,
            proxy_headers_refused,
            accepts_limited,
            buckets,
            rate_limited,
            pressure_refused,
            pressure_shed,
            deflated_messages,
            deflate_bytes_in,
            deflate_bytes_out,
            deflate_bytes_saved,
            deflate_ns,
            inflated_messages,
            inflate_bytes_in,
            inflate_bytes_out,
            inflate_ns,
        ];
        plain
            .into_iter()
            .chain(connections_closed)
            .chain(http_responses)
            .chain(batch_bytes.values_mut())
            .chain(run_messages.values_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_at_or_below_the_bound_of_its_bucket_and_above_the_one_before() {
        for value in (0..70_000).chain((0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit])) {
            let mut histogram = SizeHistogram::default();
            histogram.observe(value);
            let bucket = histogram.buckets.iter().position(|count| *count == 1).expect("counted");
            let max = SizeHistogram::bucket_value_max(bucket).unwrap_or(u64::MAX);
            let below = bucket.checked_sub(1).and_then(SizeHistogram::bucket_value_max);
            assert!(value <= max, "{value} in bucket {bucket}");
            assert!(below.is_none_or(|below| value > below), "{value} in bucket {bucket}");
            assert_eq!((histogram.count(), histogram.sum), (1, value));
        }
    }

    #[test]
    fn adding_adds_every_value() {
        let mut one = Counters::default();
        let mut two = Counters::default();
        for (index, value) in (1..).zip(one.values_mut()) {
            *value = index;
        }
        for (index, value) in (1..).zip(two.values_mut()) {
            *value = index * 1_000;
        }
        one.add(&two);
        let sums: Vec<u64> = one.values_mut().map(|value| *value).collect();
        let wanted: Vec<u64> = (1..).map(|index| index * 1_001).take(sums.len()).collect();
        assert_eq!(sums, wanted);
    }

    #[test]
    fn no_number_is_left_out_or_listed_twice() {
        // Every field is u64s through and through, so the size tells how many there are.
        let numbers = size_of::<Counters>() / size_of::<u64>();
        assert_eq!(Counters::default().values_mut().count(), numbers);
    }
}
