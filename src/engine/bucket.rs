//! Token buckets: how often someone may send, and how much.
//!
//! Not here: whose bucket it is, and how loops share one (`lending`). Invariants: whole numbers
//! only; a clock that goes back gives nothing and takes nothing; in any stretch of time no more
//! passes than the burst and the rate over that stretch, and what one message is larger than the
//! burst.

use crate::limits::{RATE_BURST_MS, RATE_VIOLATIONS_MAX};

/// A thousandth of a token: what a rate of one a second gives in a millisecond.
const MILLI: u64 = 1_000;

/// How often someone may send, and how much. 0 is without a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// Messages a second.
    pub messages_per_s: u32,
    /// Bytes of their payloads a second.
    pub bytes_per_s: u64,
}

/// Milliseconds after which the same message would pass, if nothing else came in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RetryAfterMs(pub(crate) u64);

impl Rate {
    /// Whether there is nothing to count.
    pub(crate) const fn is_off(&self) -> bool {
        self.messages_per_s == 0 && self.bytes_per_s == 0
    }

    /// What a full bucket holds, in thousandths of messages: at least one.
    pub(super) fn burst_messages(&self) -> u64 {
        (u64::from(self.messages_per_s) * RATE_BURST_MS).max(MILLI)
    }

    /// The same in thousandths of bytes.
    pub(super) const fn burst_bytes(&self) -> u64 {
        self.bytes_per_s.saturating_mul(RATE_BURST_MS)
    }
}

/// What of a [`Rate`] has been used, as of some moment. A new one is full.
///
/// A message passes if the bucket has what it costs. One that costs more than a bucket can hold
/// passes a full one and leaves a debt, which is paid off before anything else passes: so that no
/// rate forbids what the limit on messages allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bucket {
    /// Thousandths of messages that are missing until it is full.
    messages: u64,
    /// The same of bytes.
    bytes: u64,
    last_ms: u64,
}

impl Bucket {
    /// Takes a message of so many bytes, or says when it may come again.
    pub(crate) fn take(
        &mut self,
        rate: Rate,
        bytes: usize,
        now_ms: u64,
    ) -> Result<(), RetryAfterMs> {
        self.recover(rate, now_ms);
        let wait_ms = self.wait_ms(rate, bytes as u64);
        if wait_ms > 0 {
            return Err(RetryAfterMs(wait_ms));
        }
        self.spend(rate, 1, bytes as u64);
        Ok(())
    }

    /// Brings it up to date.
    pub(super) fn recover(&mut self, rate: Rate, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.last_ms);
        self.last_ms = self.last_ms.max(now_ms);
        let gained = elapsed_ms.saturating_mul(u64::from(rate.messages_per_s));
        self.messages = self.messages.saturating_sub(gained);
        self.bytes = self.bytes.saturating_sub(elapsed_ms.saturating_mul(rate.bytes_per_s));
    }

    /// Milliseconds until a message of so many bytes passes, as of when it was last brought up to
    /// date; 0 for now.
    pub(super) fn wait_ms(&self, rate: Rate, bytes: u64) -> u64 {
        let message = wait(self.messages, rate.burst_messages(), MILLI, rate.messages_per_s.into());
        let cost = bytes.saturating_mul(MILLI);
        message.max(wait(self.bytes, rate.burst_bytes(), cost, rate.bytes_per_s))
    }

    /// Whole messages and bytes that it has, as of then.
    pub(super) fn left(&self, rate: Rate) -> (u64, u64) {
        let messages = rate.burst_messages().saturating_sub(self.messages) / MILLI;
        (messages, rate.burst_bytes().saturating_sub(self.bytes) / MILLI)
    }

    /// Takes that, whether it is there or not.
    pub(super) fn spend(&mut self, rate: Rate, messages: u64, bytes: u64) {
        if rate.messages_per_s > 0 {
            self.messages = self.messages.saturating_add(messages.saturating_mul(MILLI));
        }
        if rate.bytes_per_s > 0 {
            self.bytes = self.bytes.saturating_add(bytes.saturating_mul(MILLI));
        }
    }

    /// Puts back what was taken and not used.
    pub(super) fn put_back(&mut self, messages: u64, bytes: u64) {
        self.messages = self.messages.saturating_sub(messages.saturating_mul(MILLI));
        self.bytes = self.bytes.saturating_sub(bytes.saturating_mul(MILLI));
    }

    /// When it will be full, if nothing else is taken.
    pub(super) fn full_at_ms(&self, rate: Rate) -> u64 {
        let time = |missing: u64, per_s: u64| match per_s {
            0 => 0,
            per_s => missing.div_ceil(per_s),
        };
        let messages = time(self.messages, rate.messages_per_s.into());
        self.last_ms.saturating_add(messages.max(time(self.bytes, rate.bytes_per_s)))
    }
}

/// Milliseconds until `missing` leaves room for `cost`, or for a full burst if that is less.
const fn wait(missing: u64, burst: u64, cost: u64, per_s: u64) -> u64 {
    if per_s == 0 {
        return 0;
    }
    let cost = if cost < burst { cost } else { burst };
    missing.saturating_sub(burst - cost).div_ceil(per_s)
}

/// What is to be done with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It goes on its way.
    Go,
    /// It is refused, and its sender told when to come back.
    Refuse {
        /// Milliseconds after which it would pass.
        retry_after_ms: u64,
    },
    /// It is refused, and so were too many before: the connection is closed.
    Close,
}

/// One connection's bucket, and how it takes being refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Meter {
    bucket: Bucket,
    /// Refusals without a second in between.
    refusals: u32,
    refused_ms: u64,
}

impl Meter {
    /// Takes a message of so many bytes against the connection's own rate.
    pub(crate) fn take(&mut self, rate: Rate, bytes: usize, now_ms: u64) -> Verdict {
        match self.bucket.take(rate, bytes, now_ms) {
            Ok(()) => Verdict::Go,
            Err(RetryAfterMs(retry_after_ms)) => self.refuse(retry_after_ms, now_ms),
        }
    }

    /// Notes a refusal, by its own rate or by another that it has to keep to. The first
    /// [`RATE_VIOLATIONS_MAX`] are told; the next one closes, unless there was a second without.
    pub(crate) fn refuse(&mut self, retry_after_ms: u64, now_ms: u64) -> Verdict {
        if now_ms.saturating_sub(self.refused_ms) >= MILLI {
            self.refusals = 0;
        }
        self.refused_ms = now_ms;
        self.refusals = self.refusals.saturating_add(1);
        match self.refusals > RATE_VIOLATIONS_MAX {
            true => Verdict::Close,
            false => Verdict::Refuse { retry_after_ms },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Rate = Rate { messages_per_s: 0, bytes_per_s: 0 };

    /// The same, filled millisecond by millisecond.
    struct Reference {
        messages: i128,
        bytes: i128,
        now_ms: u64,
    }

    impl Reference {
        fn new(rate: Rate) -> Self {
            let (messages, bytes) = (rate.burst_messages().into(), rate.burst_bytes().into());
            Self { messages, bytes, now_ms: 0 }
        }

        fn passes(&self, rate: Rate, bytes: usize) -> bool {
            let cost = (bytes as i128 * 1_000).min(rate.burst_bytes().into());
            (rate.messages_per_s == 0 || self.messages >= 1_000)
                && (rate.bytes_per_s == 0 || self.bytes >= cost)
        }

        fn turn(&mut self, rate: Rate) {
            let full = (rate.burst_messages().into(), rate.burst_bytes().into());
            self.messages = (self.messages + i128::from(rate.messages_per_s)).min(full.0);
            self.bytes = (self.bytes + i128::from(rate.bytes_per_s)).min(full.1);
            self.now_ms += 1;
        }

        fn take(&mut self, rate: Rate, bytes: usize, now_ms: u64) -> Result<(), RetryAfterMs> {
            while self.now_ms < now_ms {
                self.turn(rate);
            }
            if self.passes(rate, bytes) {
                self.messages -= 1_000;
                self.bytes -= bytes as i128 * 1_000;
                return Ok(());
            }
            let mut later = Self { ..*self };
            while !later.passes(rate, bytes) {
                later.turn(rate);
            }
            Err(RetryAfterMs(later.now_ms - self.now_ms))
        }
    }

    #[test]
    fn random_use_agrees_with_a_bucket_that_is_filled_drop_by_drop() {
        for seed in 0..200 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let rate = Rate { messages_per_s: dice.u32(..50), bytes_per_s: dice.u64(..3_000) };
            let (mut bucket, mut reference) = (Bucket::default(), Reference::new(rate));
            let mut now_ms = 0;
            for _ in 0..100 {
                let (pause_ms, largest) =
                    ([1, 30, 300][dice.usize(..3)], [10, 300, 9_000][dice.usize(..3)]);
                now_ms += dice.u64(..pause_ms);
                let bytes = dice.usize(..largest);
                let taken = bucket.take(rate, bytes, now_ms);
                assert_eq!(taken, reference.take(rate, bytes, now_ms), "seed {seed}, {rate:?}");
            }
        }
    }

    #[test]
    fn no_stretch_of_time_sees_more_than_the_burst_and_the_rate_over_it() {
        for seed in 0..100 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let rate = Rate { messages_per_s: dice.u32(1..30), bytes_per_s: dice.u64(1..2_000) };
            let largest = dice.usize(1..5_000);
            let (mut bucket, mut now_ms, mut passed) = (Bucket::default(), 0, Vec::new());
            for _ in 0..200 {
                now_ms += dice.u64(..100);
                let bytes = dice.usize(..=largest);
                if bucket.take(rate, bytes, now_ms).is_ok() {
                    passed.push((now_ms, bytes as u64));
                }
            }
            let debt = (largest as u64).saturating_sub(rate.bytes_per_s);
            for (nth, (from_ms, _)) in passed.iter().enumerate() {
                let mut sum = (0, 0);
                for (at_ms, bytes) in passed.iter().skip(nth) {
                    sum = (sum.0 + 1_000, sum.1 + bytes * 1_000);
                    let time_ms = at_ms - from_ms + RATE_BURST_MS;
                    assert!(sum.0 <= u64::from(rate.messages_per_s) * time_ms, "seed {seed}");
                    assert!(sum.1 <= rate.bytes_per_s * time_ms + debt * 1_000, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn who_comes_back_when_told_to_is_let_through_and_a_moment_earlier_is_not() {
        let rate = Rate { messages_per_s: 3, bytes_per_s: 700 };
        let mut bucket = Bucket::default();
        let (mut now_ms, mut refused) = (0, 0);
        for bytes in (0..300).map(|nth| nth * 13 % 2_000) {
            if let Err(RetryAfterMs(wait_ms)) = bucket.take(rate, bytes, now_ms) {
                refused += 1;
                let early = bucket.take(rate, bytes, now_ms + wait_ms - 1);
                assert_eq!(early, Err(RetryAfterMs(1)));
                now_ms += wait_ms;
                assert_eq!(bucket.take(rate, bytes, now_ms), Ok(()));
            }
        }
        assert!(refused > 100, "{refused} were refused");
    }

    #[test]
    fn what_is_off_is_not_counted_and_what_is_huge_does_not_overflow() {
        let mut bucket = Bucket::default();
        assert!((0..1_000).all(|_| bucket.take(OFF, usize::MAX, 0).is_ok()));
        assert_eq!(bucket, Bucket::default());
        let most = Rate { messages_per_s: u32::MAX, bytes_per_s: u64::MAX };
        for now_ms in [0, u64::MAX] {
            assert!(bucket.take(most, usize::MAX, now_ms).is_ok());
        }
        assert!(bucket.take(most, usize::MAX, 0).is_err());
    }

    #[test]
    fn a_message_larger_than_the_burst_passes_a_full_bucket_and_is_paid_off() {
        let rate = Rate { messages_per_s: 0, bytes_per_s: 100 };
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(rate, 1_000, 0), Ok(()));
        assert_eq!(bucket.take(rate, 1, 0), Err(RetryAfterMs(9_010)));
        assert_eq!(bucket.take(rate, 1_000, 9_999), Err(RetryAfterMs(1)));
        assert_eq!(bucket.take(rate, 1_000, 10_000), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let rate = Rate { messages_per_s: 1, bytes_per_s: 0 };
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(rate, 0, 5_000), Ok(()));
        assert_eq!(bucket.take(rate, 0, 0), Err(RetryAfterMs(1_000)));
        assert_eq!(bucket.take(rate, 0, 5_999), Err(RetryAfterMs(1)));
        assert_eq!(bucket.take(rate, 0, 6_000), Ok(()));
    }

    #[test]
    fn who_does_not_listen_is_closed_and_a_second_within_the_rate_is_a_new_beginning() {
        let rate = Rate { messages_per_s: 1, bytes_per_s: 0 };
        let mut meter = Meter::default();
        assert_eq!(meter.take(rate, 0, 0), Verdict::Go);
        let refused = |meter: &mut Meter| {
            matches!(meter.take(rate, 0, 0), Verdict::Refuse { retry_after_ms: 1_000 })
        };
        assert!((0..RATE_VIOLATIONS_MAX).all(|_| refused(&mut meter)));
        let mut patient = meter;
        assert_eq!(meter.take(rate, 0, 999), Verdict::Close);
        // A second without a refusal, in which one message went through.
        assert_eq!(patient.take(rate, 0, 1_000), Verdict::Go);
        assert_eq!(patient.take(rate, 0, 1_001), Verdict::Refuse { retry_after_ms: 999 });
        // Going through now and then is not listening.
        let mut eager = Meter::default();
        let all: Vec<Verdict> = (0..30).map(|nth| eager.take(rate, 0, nth * 400)).collect();
        assert!(all.iter().filter(|verdict| **verdict == Verdict::Go).count() > 5, "{all:?}");
        assert_eq!(all.last(), Some(&Verdict::Close), "{all:?}");
    }
}
