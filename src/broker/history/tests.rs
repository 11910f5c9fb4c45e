//! The ring against a list that is slow and simple, and the laws of what readers get.
//!
//! Not here: what a message looks like; any bytes do. Every random test prints its seed.

use super::segment::Entry;
use super::*;
use crate::limits::{HISTORY_AGE_MS, HISTORY_COPY_BYTES_MAX};
use fastrand::Rng;
use std::sync::Arc;

const ROOMY: HistoryOptions =
    HistoryOptions { messages_max: 1_000, bytes_max: 1024 * 1024, age_ms: HISTORY_AGE_MS };

/// A list of all that was pushed and is not gone.
#[derive(Default)]
struct Reference {
    kept: Vec<Line>,
}

#[derive(Clone)]
struct Line {
    seq: u64,
    mono_ms: u64,
    author: u64,
    sender: Range<u32>,
    item: Vec<u8>,
}

impl Line {
    fn dice(seq: u64, mono_ms: u64, bytes_max: usize, dice: &mut Rng) -> Self {
        let mut item = vec![dice.u8(b'a'..=b'z'); dice.usize(1..=bytes_max)];
        for byte in item.iter_mut().take(40) {
            *byte = dice.u8(b'a'..=b'z');
        }
        let end = dice.u32(0..=u32::try_from(item.len()).expect("small"));
        Self { seq, mono_ms, author: dice.u64(0..4), sender: dice.u32(0..=end)..end, item }
    }

    fn kept(&self) -> Kept<'_> {
        let Self { seq, mono_ms, author, sender, item } = self;
        Kept { seq: *seq, mono_ms: *mono_ms, author: *author, sender: sender.clone(), item }
    }
}

impl Reference {
    fn push(&mut self, line: Line, options: &HistoryOptions) {
        let (now, fits) = (line.mono_ms, line.item.len() < options.bytes_max);
        self.kept.push(line);
        let surplus = self.kept.len().saturating_sub(options.messages_max as usize);
        self.kept.drain(..surplus);
        self.expire(now, options);
        if !fits {
            self.kept.clear();
        }
    }

    fn expire(&mut self, mono_ms: u64, options: &HistoryOptions) {
        let old = |line: &Line| mono_ms - line.mono_ms >= options.age_ms;
        let gone = self.kept.iter().take_while(|line| old(line)).count();
        self.kept.drain(..gone);
    }

    fn read(&self, seqs: RangeInclusive<u64>, without: Option<u64>) -> (Vec<u8>, u32, Vec<u64>) {
        let (mut items, mut own) = (Vec::new(), Vec::new());
        for line in self.kept.iter().filter(|line| seqs.contains(&line.seq)) {
            match line.author != 0 && without == Some(line.author) {
                true => own.push(line.seq),
                false => items.push(&line.item[..]),
            }
        }
        (items.join(&b','), u32::try_from(items.len()).expect("few"), own)
    }
}

fn text(reading: &Reading) -> Vec<u8> {
    let text: Vec<u8> = reading.pieces.iter().flat_map(Piece::as_bytes).copied().collect();
    assert_eq!(text.len(), reading.bytes);
    assert!(reading.pieces.iter().all(|piece| piece.start < piece.end), "an empty piece");
    text
}

/// What `bytes` promises, counted from scratch.
fn footprint(history: &History) -> usize {
    let Some(ring) = history.0.as_deref() else { return 0 };
    let finished: usize =
        ring.finished.iter().map(|segment| segment.buffer_bytes() + segment.index_bytes()).sum();
    let open = ring.open.buffer_bytes() + ring.open.index_bytes();
    size_of::<Ring>() + ring.finished.capacity() * size_of::<Segment>() + finished + open
}

fn buffers(history: &History) -> usize {
    let Some(ring) = history.0.as_deref() else { return 0 };
    ring.finished.iter().map(Segment::buffer_bytes).sum::<usize>() + ring.open.buffer_bytes()
}

/// Pushes `count` lines of `bytes` each, from `seq` 1 on, at time 0 and by nobody.
fn filled(count: u64, bytes: usize, options: &HistoryOptions) -> History {
    let mut history = History::new();
    for seq in 1..=count {
        let item = vec![b'x'; bytes];
        history.push(Kept { seq, mono_ms: 0, author: 0, sender: 0..1, item: &item }, options);
    }
    history
}

/// Holds the ring against the list. Where bytes are scarce, the ring may keep less; the list is
/// then cut to what it does keep.
fn compare(history: &mut History, reference: &mut Reference, dice: &mut Rng, why: &str) {
    let first = history.first_seq().unwrap_or(u64::MAX);
    reference.kept.retain(|line| line.seq >= first);
    let ends = [reference.kept.first(), reference.kept.last()].map(|line| line.map(|l| l.seq));
    assert_eq!([history.first_seq(), history.last_seq()], ends, "{why}");
    assert_eq!(history.oldest_ms(), reference.kept.first().map(|line| line.mono_ms), "{why}");
    assert_eq!(history.bytes(), footprint(history), "{why}");
    assert_eq!(history.is_empty(), reference.kept.is_empty(), "{why}");
    let last = history.last_seq().unwrap_or(0);
    let start = dice.u64(0..=last + 2);
    let seqs = start..=start + dice.u64(0..last + 2);
    let without = [None, Some(dice.u64(0..4))][dice.usize(0..2)];
    let reading = history.read(seqs.clone(), without);
    let read = (text(&reading), reading.messages, reading.own);
    assert_eq!(read, reference.read(seqs, without), "{why}");
    for seq in [start, first, last] {
        let line = reference.kept.iter().find(|line| line.seq == seq);
        let sender =
            line.map(|line| &line.item[line.sender.start as usize..line.sender.end as usize]);
        assert_eq!(history.sender(seq), sender, "{why}");
    }
}

fn life(seed: u64, options: &HistoryOptions, item_bytes: usize) {
    let mut dice = Rng::with_seed(seed);
    let (mut history, mut reference) = (History::new(), Reference::default());
    let (mut seq, mut mono_ms) = (dice.u64(0..100), 0);
    for step in 0..300 {
        let why = format!("seed {seed}, step {step}, {options:?}");
        mono_ms += dice.u64(0..10);
        match dice.u32(0..20) {
            0 => {
                mono_ms += dice.u64(0..=options.age_ms * 2);
                history.expire(mono_ms, options);
                reference.expire(mono_ms, options);
            }
            1 => {
                let (before, some) = (history.bytes(), !history.is_empty());
                assert_eq!(history.evict_oldest(), some, "{why}");
                assert!(history.bytes() < before || !some, "{why}");
            }
            2..8 => compare(&mut history, &mut reference, &mut dice, &why),
            _ => {
                seq += 1;
                let line = Line::dice(seq, mono_ms, item_bytes, &mut dice);
                history.push(line.kept(), options);
                reference.push(line, options);
            }
        }
        assert!(buffers(&history) <= options.bytes_max, "{why}");
    }
    compare(&mut history, &mut reference, &mut dice, "at the end");
}

#[test]
fn the_ring_is_a_list_of_the_newest() {
    for seed in 0..150 {
        let mut dice = Rng::with_seed(seed);
        let options = HistoryOptions {
            messages_max: dice.u32(0..200),
            bytes_max: dice.usize(0..100_000),
            age_ms: dice.u64(1..2_000),
        };
        let largest = [40, 2_000, 9_000, options.bytes_max + 2][dice.usize(0..4)];
        life(seed, &options, largest);
    }
}

#[test]
fn where_bytes_are_plenty_the_newest_by_number_and_age_are_kept_exactly() {
    for seed in 0..100 {
        let mut dice = Rng::with_seed(seed);
        let options =
            HistoryOptions { messages_max: dice.u32(1..50), age_ms: dice.u64(1..200), ..ROOMY };
        let (mut history, mut reference) = (History::new(), Reference::default());
        let mut mono_ms = 0;
        for seq in 1..=400 {
            mono_ms += dice.u64(0..10);
            let line = Line::dice(seq, mono_ms, 200, &mut dice);
            history.push(line.kept(), &options);
            reference.push(line, &options);
            let first = reference.kept.first().map(|line| line.seq);
            assert_eq!(history.first_seq(), first, "seed {seed}, seq {seq}");
        }
    }
}

#[test]
fn where_bytes_are_scarce_most_of_them_are_used() {
    for item_bytes in [10, 100, 1_000, 7_000] {
        let options = HistoryOptions { messages_max: u32::MAX, bytes_max: 100_000, ..ROOMY };
        let mut history = filled(30_000 / item_bytes as u64 * 10, item_bytes, &options);
        let read = history.read(0..=u64::MAX, None).bytes;
        assert!(read > options.bytes_max * 3 / 4, "{item_bytes}: {read}");
    }
}

#[test]
fn a_history_that_keeps_nothing_has_nothing_allocated() {
    const EMPTY: History = History::new();
    assert_eq!((size_of::<History>(), EMPTY.bytes()), (size_of::<usize>(), 0));
    let mut history = filled(3, 10, &ROOMY);
    history.expire(ROOMY.age_ms, &ROOMY);
    assert_eq!((history.bytes(), history.first_seq(), history.evict_oldest()), (0, None, false));
    let none = HistoryOptions { messages_max: 0, ..ROOMY };
    assert_eq!(filled(3, 10, &none).bytes(), 0);
}

#[test]
fn a_message_is_kept_until_it_has_reached_its_age() {
    let mut history = filled(1, 10, &ROOMY);
    history.expire(ROOMY.age_ms - 1, &ROOMY);
    assert_eq!(history.first_seq(), Some(1));
    history.expire(ROOMY.age_ms, &ROOMY);
    assert!(history.is_empty());
}

#[test]
fn a_message_too_large_to_keep_empties_the_history() {
    let options = HistoryOptions { bytes_max: 100, ..ROOMY };
    for (bytes, first) in [(99, Some(4)), (100, None)] {
        let mut history = filled(3, 10, &options);
        let item = vec![b'y'; bytes];
        history.push(Kept { seq: 4, mono_ms: 0, author: 0, sender: 0..0, item: &item }, &options);
        assert_eq!(history.first_seq(), first);
        history.push(Kept { seq: 5, mono_ms: 0, author: 0, sender: 0..0, item: b"z" }, &options);
        assert_eq!((history.first_seq(), history.last_seq()), (Some(5), Some(5)), "{bytes}");
    }
}

#[test]
fn one_small_message_is_not_kept_by_a_large_buffer() {
    let options = HistoryOptions { messages_max: 1, ..ROOMY };
    let history = filled(10_000, 100, &options);
    assert_eq!(history.first_seq(), Some(10_000));
    assert!(history.bytes() < 1_024, "{}", history.bytes());
}

#[test]
fn a_full_history_costs_little_beside_its_bytes() {
    let history = filled(1_000, 200, &ROOMY);
    let kept = 1_000 * (200 + 1 + size_of::<Entry>());
    assert!(history.bytes() <= kept + kept / 4, "{} for {kept}", history.bytes());
}

#[test]
fn readers_of_the_same_share_all_but_a_little() {
    let mut history = filled(1_000, 200, &ROOMY);
    let readings = [history.read(1..=1_000, None), history.read(1..=1_000, None)];
    let [one, other] = &readings;
    assert_eq!(one, other);
    for (piece, same) in one.pieces.iter().zip(&other.pieces) {
        assert!(Arc::ptr_eq(&piece.bytes, &same.bytes));
    }
    assert!(one.pieces.len() <= 1_000 * 201 / HISTORY_SEGMENT_BYTES + 1);
    let mut alone = filled(10, 200, &ROOMY);
    let [one, other] = [alone.read(1..=10, None), alone.read(1..=10, None)];
    assert!(one == other && !Arc::ptr_eq(&one.pieces[0].bytes, &other.pieces[0].bytes));
    assert!(one.pieces[0].bytes.capacity() <= HISTORY_COPY_BYTES_MAX);
}

#[test]
fn what_is_shared_is_trimmed_to_its_size() {
    let mut history = filled(40, 200, &ROOMY);
    assert!(buffers(&history) > 40 * 201, "it has room to grow");
    let reading = history.read(1..=40, None);
    assert_eq!((reading.pieces[0].bytes.capacity(), buffers(&history)), (40 * 201, 40 * 201));
}

#[test]
fn a_reading_without_one_author_is_not_cut_into_crumbs() {
    let mut history = History::new();
    for seq in 1..=1_000 {
        let item = [b'x'; 200];
        history.push(Kept { seq, mono_ms: 0, author: seq % 2, sender: 0..0, item: &item }, &ROOMY);
    }
    let reading = history.read(1..=1_000, Some(1));
    assert_eq!((text(&reading).len(), reading.messages), (500 * 201 - 1, 500));
    assert!(reading.pieces.len() <= 4, "{} pieces", reading.pieces.len());
    assert!(reading.own.iter().copied().eq((1..1_000).step_by(2)));
}

#[test]
fn what_was_read_outlives_what_is_evicted() {
    let mut history = filled(100, 1_000, &ROOMY);
    let reading = history.read(1..=100, None);
    while history.evict_oldest() {}
    assert_eq!((text(&reading).len(), reading.messages), (100 * 1_001 - 1, 100));
}

#[test]
fn a_position_is_recovered_exactly_or_with_the_reason() {
    let options = HistoryOptions { messages_max: 5, ..ROOMY };
    let (history, epoch, seq) = (filled(10, 10, &options), 7, 10);
    for (epoch_known, seq_known, missed) in [
        (7, 10, Ok((11, 10))),
        (7, 9, Ok((10, 10))),
        (7, 5, Ok((6, 10))),
        (7, 4, Err(Unrecoverable::Evicted)),
        (7, 0, Err(Unrecoverable::Evicted)),
        (7, 11, Err(Unrecoverable::Ahead)),
        (7, u64::MAX, Err(Unrecoverable::Ahead)),
        (8, 10, Err(Unrecoverable::Epoch)),
    ] {
        let position = Position { epoch: epoch_known, seq: seq_known };
        let recovered = recover(position, epoch, seq, &history);
        assert_eq!(recovered.map(RangeInclusive::into_inner), missed, "{position:?}");
    }
}

#[test]
fn a_room_without_history_recovers_who_missed_nothing() {
    let history = History::new();
    let known = |seq| Position { epoch: 7, seq };
    assert!(recover(known(10), 7, 10, &history).is_ok_and(|missed| missed.is_empty()));
    assert!(recover(known(0), 7, 0, &history).is_ok_and(|missed| missed.is_empty()));
    assert_eq!(recover(known(9), 7, 10, &history), Err(Unrecoverable::Evicted));
    // A history that ends before the room does, as after a message too large to keep.
    assert_eq!(recover(known(4), 7, 11, &filled(10, 1, &ROOMY)), Err(Unrecoverable::Evicted));
}
