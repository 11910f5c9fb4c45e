//! Laws of lending: several loops, answers that take their time, and what came through in all.

use super::*;

const KEY: HashKey = HashKey([1, 2]);

fn conn(index: u32) -> ConnKey {
    ConnKey { index, generation: 0 }
}

fn user(id: &str) -> Holder {
    Holder::User(id.into())
}

/// What is on its way between loops, by when it is there.
#[derive(Debug)]
enum Parcel {
    Ask(Ask),
    Answer(Ask, Loan),
}

/// Loops with one connection each of one user, whose home is a lender apart.
struct Net {
    lender: Lender,
    loops: Vec<Borrower>,
    claims: Vec<Claim>,
    /// Messages that wait for a loan, by loop.
    waiting: Vec<Option<u64>>,
    parcels: Vec<(u64, usize, Parcel)>,
    /// When what went through, and how much.
    passed: Vec<(u64, u64)>,
    refused: usize,
    dice: fastrand::Rng,
    latency_ms: u64,
}

impl Net {
    fn new(rate: Rate, loops: u8, dice: fastrand::Rng, latency_ms: u64) -> Self {
        let rates = SharedRates { user: rate, ..SharedRates::default() };
        let mut borrowers: Vec<Borrower> =
            (0..loops).map(|_| Borrower::new(KEY, rates, loops)).collect();
        let enter = |loop_: &mut Borrower| loop_.enter(&user("ada")).expect("it has a limit");
        let claims = borrowers.iter_mut().map(enter).collect();
        Self {
            lender: Lender::new(KEY, rates, loops),
            waiting: vec![None; borrowers.len()],
            loops: borrowers,
            claims,
            parcels: Vec::new(),
            passed: Vec::new(),
            refused: 0,
            dice,
            latency_ms,
        }
    }

    fn say(&mut self, at: usize, bytes: u64, now_ms: u64) {
        let size = usize::try_from(bytes).expect("small");
        match self.loops[at].take(&[self.claims[at]], size, now_ms, conn(0)) {
            Take::Go => self.passed.push((now_ms, bytes)),
            Take::Refuse { retry_after_ms } => {
                assert!(retry_after_ms > 0);
                self.refused += 1;
            }
            Take::Wait => {
                self.waiting[at] = Some(bytes);
                let due_ms = now_ms + self.dice.u64(..=self.latency_ms);
                while let Some(ask) = self.loops[at].poll_ask() {
                    self.parcels.push((due_ms, at, Parcel::Ask(ask)));
                }
            }
        }
    }

    /// Delivers what has come by then, until nothing has.
    fn deliver(&mut self, now_ms: u64) {
        while let Some(nth) = self.parcels.iter().position(|parcel| parcel.0 <= now_ms) {
            let (_, at, parcel) = self.parcels.remove(nth);
            match parcel {
                Parcel::Ask(ask) => {
                    let (bytes, returned) = (ask.wanted_bytes, ask.returned);
                    let loan = self.lender.lend(&ask.holder, bytes, returned, now_ms);
                    let due_ms = now_ms + self.dice.u64(..=self.latency_ms);
                    self.parcels.push((due_ms, at, Parcel::Answer(ask, loan)));
                }
                Parcel::Answer(ask, loan) => {
                    let woken = self.loops[at].receive(&ask, loan, now_ms);
                    assert_eq!(woken, [conn(0)]);
                    let bytes = self.waiting[at].take().expect("it waited");
                    self.say(at, bytes, now_ms);
                }
            }
        }
    }
}

#[test]
fn whatever_loops_do_no_more_comes_through_than_the_bucket_and_a_loan_for_each() {
    let mut refused = 0;
    for seed in 0..150 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let rate = Rate { messages_per_s: dice.u32(1..200), bytes_per_s: dice.u64(1..20_000) };
        let loops = dice.u8(1..=4);
        let largest = [10, 1_000, 30_000][dice.usize(..3)];
        let mut net = Net::new(rate, loops, dice.fork(), [0, 3, 40][dice.usize(..3)]);
        for now_ms in 0..2_000 {
            net.deliver(now_ms);
            for at in 0..usize::from(loops) {
                if net.waiting[at].is_none() && dice.u8(..) < 40 {
                    net.say(at, dice.u64(..largest), now_ms);
                }
            }
        }
        refused += usize::from(net.refused > 0);
        assert!(!net.passed.is_empty(), "seed {seed}: {rate:?}");
        let loan = (u64::from(rate.messages_per_s) / 10).max(1) * u64::from(loops);
        let loan_bytes = (rate.bytes_per_s / 10).max(largest) * u64::from(loops);
        let debt = largest.saturating_sub(rate.bytes_per_s);
        for (nth, (from_ms, _)) in net.passed.iter().enumerate().step_by(7) {
            let mut sum = Tokens::default();
            for (at_ms, bytes) in net.passed.iter().skip(nth) {
                sum.messages += 1;
                sum.bytes += bytes;
                let time_ms = RATE_BURST_MS + at_ms - from_ms;
                let most = (u64::from(rate.messages_per_s) * time_ms).div_ceil(1_000);
                assert!(sum.messages <= most + loan, "seed {seed}: {rate:?}, {loops} loops");
                let most = (rate.bytes_per_s * time_ms).div_ceil(1_000);
                assert!(sum.bytes <= most + loan_bytes + debt, "seed {seed}: {rate:?}, {loops}");
            }
        }
    }
    assert!(refused > 100, "most were too much: {refused}");
}

#[test]
fn who_keeps_to_the_rate_is_never_refused_on_however_many_loops() {
    for seed in 0..150 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let rate = Rate { messages_per_s: dice.u32(1..200), bytes_per_s: 0 };
        let bytes = dice.u64(1..500);
        let bytes_per_s = if dice.bool() { bytes * u64::from(rate.messages_per_s) } else { 0 };
        let rate = Rate { bytes_per_s, ..rate };
        let loops = dice.u8(1..=64);
        let mut net = Net::new(rate, loops, dice.fork(), 2);
        let gap_ms = 1_000_u64.div_ceil(rate.messages_per_s.into()).max(5);
        for now_ms in 0..3_000 {
            net.deliver(now_ms);
            if now_ms % gap_ms == 0 {
                let at = dice.usize(..usize::from(loops));
                assert!(net.waiting[at].is_none(), "it was answered long ago");
                net.say(at, bytes, now_ms);
            }
        }
        net.deliver(u64::MAX);
        assert_eq!(net.refused, 0, "seed {seed}: {rate:?} on {loops} loops");
        assert_eq!(net.passed.len() as u64, 3_000_u64.div_ceil(gap_ms), "seed {seed}");
    }
}

#[test]
fn who_is_refused_by_one_pays_no_other_and_who_waits_pays_once() {
    let user_rate = Rate { messages_per_s: 20, bytes_per_s: 0 };
    let address_rate = Rate { messages_per_s: 1, bytes_per_s: 0 };
    let rates = SharedRates { user: user_rate, address: address_rate };
    let (mut lender, mut loop_) = (Lender::new(KEY, rates, 1), Borrower::new(KEY, rates, 1));
    let claims: Vec<Claim> = [user("ada"), Holder::Address(7)]
        .iter()
        .map(|holder| loop_.enter(holder).expect("it has a limit"))
        .collect();
    let mut taken = Vec::new();
    for _ in 0..4 {
        let mut take = loop_.take(&claims, 1, 0, conn(3));
        while take == Take::Wait {
            let ask = loop_.poll_ask().expect("a question");
            let loan = lender.lend(&ask.holder, ask.wanted_bytes, ask.returned, 0);
            assert_eq!(loop_.receive(&ask, loan, 0), [conn(3)]);
            take = loop_.take(&claims, 1, 0, conn(3));
        }
        taken.push(take);
    }
    let refused = Take::Refuse { retry_after_ms: 1_000 };
    // The loan for the user was two messages: one is spent, and the other was not paid in vain.
    assert_eq!(taken, [Take::Go, refused, refused, refused]);
    assert_eq!(loop_.holders.get(claims[0].slot, 0).expect("known").tokens.messages, 1);
}

#[test]
fn a_question_is_asked_once_for_all_who_wait_and_a_small_message_asks_again() {
    let rates =
        SharedRates { user: Rate { messages_per_s: 0, bytes_per_s: 100 }, ..Default::default() };
    let (mut lender, mut loop_) = (Lender::new(KEY, rates, 2), Borrower::new(KEY, rates, 2));
    let claim = loop_.enter(&user("ada")).expect("it has a limit");
    assert_eq!(loop_.enter(&user("ada")), Some(claim));
    assert_eq!(loop_.take(&[claim], 90, 0, conn(1)), Take::Wait);
    assert_eq!(loop_.take(&[claim], 90, 0, conn(2)), Take::Wait);
    assert_eq!(loop_.take(&[claim], 90, 0, conn(1)), Take::Wait);
    let ask = loop_.poll_ask().expect("a question");
    assert_eq!((loop_.poll_ask(), ask.home), (None, home_of(user("ada").hash(KEY), 2)));
    let loan = lender.lend(&ask.holder, ask.wanted_bytes, ask.returned, 0);
    assert_eq!(loop_.receive(&ask, loan, 0), [conn(1), conn(2)]);
    assert_eq!(loop_.take(&[claim], 90, 0, conn(1)), Take::Go);
    assert_eq!(loop_.take(&[claim], 90, 0, conn(2)), Take::Wait);
    let ask = loop_.poll_ask().expect("another");
    let loan = lender.lend(&ask.holder, ask.wanted_bytes, ask.returned, 0);
    assert_eq!(loan, Loan { tokens: Tokens::default(), retry_ms: 800 });
    assert_eq!(loop_.receive(&ask, loan, 0), [conn(2)]);
    assert_eq!(loop_.take(&[claim], 90, 300, conn(2)), Take::Refuse { retry_after_ms: 500 });
    assert_eq!(loop_.poll_ask(), None, "nobody is asked what is known");
    assert_eq!(loop_.take(&[claim], 10, 0, conn(2)), Take::Wait);
    let ask = loop_.poll_ask().expect("a smaller one may pass");
    let loan = lender.lend(&ask.holder, ask.wanted_bytes, ask.returned, 0);
    loop_.receive(&ask, loan, 0);
    assert_eq!(loop_.take(&[claim], 10, 0, conn(2)), Take::Go);
}

#[test]
fn who_has_gone_is_forgotten_and_late_answers_miss() {
    let rates =
        SharedRates { user: Rate { messages_per_s: 5, bytes_per_s: 0 }, ..Default::default() };
    let (mut lender, mut loop_) = (Lender::new(KEY, rates, 1), Borrower::new(KEY, rates, 1));
    assert_eq!(loop_.enter(&Holder::Address(1)), None, "no limit, no account");
    let claim = loop_.enter(&user("ada")).expect("it has a limit");
    loop_.enter(&user("ada"));
    assert_eq!(loop_.take(&[claim], 1, 0, conn(1)), Take::Wait);
    loop_.leave(claim, conn(1));
    let ask = loop_.poll_ask().expect("a question");
    let loan = lender.lend(&ask.holder, ask.wanted_bytes, ask.returned, 0);
    assert_eq!(loop_.receive(&ask, loan, 0), [], "nobody waits any more");
    loop_.leave(claim, conn(2));
    assert_eq!((loop_.len(), loop_.places.len()), (0, 0));
    let again = loop_.enter(&user("ada")).expect("it has a limit");
    assert_eq!(loop_.receive(&ask, loan, 0), []);
    assert_eq!(loop_.take(&[again], 1, 0, conn(1)), Take::Wait, "the answer was for another life");
}

#[test]
fn full_buckets_are_forgotten_and_no_others() {
    let rates =
        SharedRates { user: Rate { messages_per_s: 1, bytes_per_s: 10 }, ..Default::default() };
    let mut lender = Lender::new(KEY, rates, 1);
    for nth in 0..1_000 {
        lender.lend(&user(&nth.to_string()), 1, Tokens::default(), 500);
    }
    // A debt of five seconds.
    lender.lend(&user("large"), 60, Tokens::default(), 500);
    assert_eq!((lender.len(), lender.next_expiry_ms()), (1_001, Some(1_000)));
    lender.expire(999);
    lender.expire(1_000);
    assert_eq!((lender.len(), lender.next_expiry_ms()), (1_001, Some(2_000)));
    lender.expire(2_000);
    assert_eq!((lender.len(), lender.next_expiry_ms()), (1, Some(7_000)));
    assert!(lender.lend(&user("large"), 1, Tokens::default(), 2_000).retry_ms > 0);
    lender.expire(7_000);
    assert_eq!((lender.len(), lender.next_expiry_ms(), lender.places.len()), (0, None, 0));
    assert_eq!(lender.places.capacity(), 0);
}

#[test]
fn users_who_come_once_cost_nothing_a_second_later() {
    let rates =
        SharedRates { address: Rate { messages_per_s: 10, bytes_per_s: 0 }, ..Default::default() };
    let mut lender = Lender::new(KEY, rates, 1);
    let mut most = 0;
    for nth in 0..100_000_u64 {
        let now_ms = nth / 10;
        lender.expire(now_ms);
        lender.lend(&Holder::Address(nth.into()), 1, Tokens::default(), now_ms);
        most = most.max(lender.len());
    }
    assert!(most < 21_000, "{most} at a time, of 10,000 in a second");
}
