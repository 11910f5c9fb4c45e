//! The outbox against RFC 6455 §5.5 at every split, and against the plainest queue there is.

use super::*;
use crate::broker::{Encoding, LoopId, RoomHandle};
use crate::engine::buffers::offset;
use std::collections::VecDeque;

#[derive(Default)]
struct Rig {
    nodes: Nodes,
    buffers: Buffers,
    outbox: Outbox,
}

impl Default for Nodes {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Rig {
    /// Queues frames of those lengths as one run; their bytes count up from `first`.
    fn push_run(&mut self, lens: &[usize], first: u8) -> Vec<Vec<u8>> {
        let (mut bytes, mut frames, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
        for (nth, len) in lens.iter().enumerate() {
            let piece = vec![first.wrapping_add(u8::try_from(nth).expect("few")); *len];
            bytes.extend_from_slice(&piece);
            let end = u32::try_from(bytes.len()).expect("few");
            let upto = offset(frames.len() + 1);
            frames.push(Frame { end, upto, mark: 0, volatile: false, left_out: None });
            pieces.push(piece);
        }
        let (end, messages) =
            (u32::try_from(bytes.len()).expect("few"), u32::try_from(lens.len()).expect("few"));
        let room = RoomHandle { home: LoopId(0), slot: 0, generation: 0 };
        let run = Run { end, frames_to: messages, ..Run::named(room, Encoding::RAW, 1) };
        let buffer = self.buffers.insert(bytes, vec![run], frames);
        self.buffers.hold(buffer, 1);
        let content = Content::Run(0);
        self.outbox.push(&mut self.nodes, Chunk { buffer, start: 0, end, content, messages });
        pieces
    }

    fn private(&mut self, bytes: &[u8], content: Content) -> Chunk {
        let (buffer, start, end) = self.buffers.append(|out| out.extend_from_slice(bytes));
        Chunk { buffer, start, end, content, messages: 0 }
    }

    fn push(&mut self, bytes: &[u8], content: Content) {
        let chunk = self.private(bytes, content);
        self.outbox.push(&mut self.nodes, chunk);
    }

    fn push_control(&mut self, bytes: &[u8], content: Content) -> bool {
        let chunk = self.private(bytes, content);
        let replaced = self.outbox.push_control(&mut self.nodes, &mut self.buffers, chunk);
        replaced.inspect(|buffer| self.buffers.release(*buffer)).is_some()
    }

    /// Sends at most so many bytes, a few slices at a time.
    fn send(&mut self, most: usize, slices: usize) -> Vec<u8> {
        let mut offered = vec![IoSlice::new(&[]); slices];
        let filled = self.outbox.slices(&self.nodes, &self.buffers, &mut offered);
        let mut sent: Vec<u8> =
            offered[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
        sent.truncate(most);
        self.outbox.advance(&mut self.nodes, &mut self.buffers, sent.len());
        sent
    }

    fn send_all(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        while !self.outbox.is_empty() {
            sent.extend(self.send(usize::MAX, 3));
        }
        assert_eq!((self.outbox.bytes(), self.outbox.messages()), (0, 0));
        sent
    }
}

const LENS: [usize; 4] = [5, 2, 7, 3];
const TOTAL: usize = 17;

/// Where the frame that has been begun ends, once so much was sent.
fn boundary(sent: usize) -> usize {
    let ends = LENS.iter().scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    [0].into_iter().chain(ends).find(|end| *end >= sent).expect("within the run")
}

#[test]
fn control_frames_pass_data_and_never_cut_into_a_begun_frame() {
    for split in 0..=TOTAL {
        let mut rig = Rig::default();
        let data = rig.push_run(&LENS, 0).concat();
        let mut seen = rig.send(split, 1);
        assert!(!rig.push_control(b"one", Content::Pong));
        assert!(!rig.push_control(b"two", Content::Control));
        seen.extend(rig.send_all());
        let (before, after) = data.split_at(boundary(split));
        assert_eq!(seen, [before, b"onetwo", after].concat(), "split at {split}");
    }
}

#[test]
fn a_control_frame_once_begun_is_not_cut_into_either() {
    let mut rig = Rig::default();
    rig.push_run(&[4], 7);
    rig.push_control(b"ping", Content::Control);
    let mut seen = rig.send(2, 1);
    rig.push_control(b"pong", Content::Pong);
    seen.extend(rig.send_all());
    assert_eq!(seen, b"pingpong\x07\x07\x07\x07");
}

#[test]
fn nothing_passes_a_response_and_a_close_does_not_replace_it() {
    for split in 0..8 {
        let mut rig = Rig::default();
        rig.push(b"first", Content::Response);
        rig.push(b"101", Content::Response);
        rig.push_run(&[4], 7);
        let mut seen = rig.send(split, 1);
        rig.push_control(b"pong", Content::Pong);
        rig.outbox.keep_begun(&mut rig.nodes, &mut rig.buffers);
        rig.push_control(b"close", Content::Control);
        seen.extend(rig.send_all());
        assert_eq!(seen, b"first101close", "split at {split}");
    }
}

#[test]
fn the_seventeenth_pong_takes_the_place_of_the_newest() {
    let mut rig = Rig::default();
    rig.push_run(&[1], 0);
    for nth in 0..PONGS_QUEUED_MAX {
        assert!(!rig.push_control(&[100 + nth], Content::Pong));
    }
    rig.push_control(b"close", Content::Control);
    assert!(rig.push_control(b"new", Content::Pong));
    assert!(rig.push_control(b"newest", Content::Pong));
    let first: Vec<u8> = (0..PONGS_QUEUED_MAX - 1).map(|nth| 100 + nth).collect();
    assert_eq!(rig.send_all(), [&first[..], b"newest", b"close", b"\0"].concat());
    assert!(!rig.push_control(b"again", Content::Pong), "sent pongs no longer count");
}

#[test]
fn before_a_close_only_the_rest_of_a_begun_frame_is_kept() {
    for split in 0..=TOTAL {
        let mut rig = Rig::default();
        let data = rig.push_run(&LENS, 0).concat();
        rig.push_run(&LENS, 9);
        let mut seen = rig.send(split, 1);
        rig.push_control(b"pong", Content::Pong);
        rig.outbox.keep_begun(&mut rig.nodes, &mut rig.buffers);
        rig.push_control(b"close", Content::Control);
        seen.extend(rig.send_all());
        let sent = &data[..boundary(split)];
        assert_eq!(seen, [sent, b"close"].concat(), "split at {split}");
    }
}

#[test]
fn messages_are_counted_until_they_are_sent_whole() {
    let mut rig = Rig::default();
    rig.push_run(&LENS, 0);
    let left: Vec<u32> = (0..TOTAL)
        .map(|_| {
            rig.send(1, 1);
            rig.outbox.messages()
        })
        .collect();
    assert_eq!(left, [4, 4, 4, 4, 3, 3, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 0]);
}

/// The plainest queue: whole frames, the first of which may have been begun.
#[derive(Default)]
struct Reference {
    frames: VecDeque<(Vec<u8>, Content)>,
    begun: usize,
}

impl Reference {
    fn push_control(&mut self, bytes: &[u8], content: Content) {
        let pongs = self.frames.iter().filter(|(_, kind)| *kind == Content::Pong).count();
        let skip = usize::from(self.begun > 0);
        let is_data =
            |(_, kind): &&(Vec<u8>, Content)| matches!(kind, Content::Run(_) | Content::Answer);
        let behind = self.frames.iter().skip(skip);
        let at = skip + behind.take_while(|frame| !is_data(frame)).count();
        if content == Content::Pong && pongs >= usize::from(PONGS_QUEUED_MAX) {
            let waiting = self.frames.range_mut(skip..at).rev();
            let newest = waiting.into_iter().find(|(_, kind)| *kind == Content::Pong);
            newest.expect("at most one of them has been begun").0 = bytes.to_vec();
        } else {
            self.frames.insert(at, (bytes.to_vec(), content));
        }
    }

    fn send(&mut self, len: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while sent.len() < len {
            let Some((frame, _)) = self.frames.front() else { break };
            let end = frame.len().min(self.begun + len - sent.len());
            sent.extend_from_slice(&frame[self.begun..end]);
            self.begun = end;
            if end == frame.len() {
                self.begun = 0;
                self.frames.pop_front();
            }
        }
        sent
    }

    fn keep_begun(&mut self) {
        let begun = self.begun > 0;
        let mut nth = 0;
        self.frames.retain(|(_, kind)| {
            nth += 1;
            nth == 1 && begun || *kind == Content::Response
        });
    }
}

#[test]
fn any_use_agrees_with_the_plainest_queue() {
    for seed in 0..2_000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let (mut rig, mut model) = (Rig::default(), Reference::default());
        let control = [Content::Pong, Content::Control];
        for step in 0..60 {
            let bytes = vec![dice.u8(..); dice.usize(1..9)];
            match dice.u8(..10) {
                0..3 => {
                    let lens: Vec<usize> =
                        (0..dice.usize(1..6)).map(|_| dice.usize(1..9)).collect();
                    let frames = rig.push_run(&lens, dice.u8(..));
                    model.frames.extend(frames.into_iter().map(|f| (f, Content::Run(0))));
                }
                3 => {
                    let content = if step < 3 { Content::Response } else { Content::Answer };
                    rig.push(&bytes, content);
                    model.frames.push_back((bytes, content));
                }
                4..6 => {
                    let content = control[dice.usize(..2)];
                    rig.push_control(&bytes, content);
                    model.push_control(&bytes, content);
                }
                6 if dice.u8(..8) == 0 => {
                    rig.outbox.keep_begun(&mut rig.nodes, &mut rig.buffers);
                    model.keep_begun();
                }
                _ => {
                    let sent = rig.send(dice.usize(..30), dice.usize(1..4));
                    assert_eq!(sent, model.send(sent.len()), "seed {seed}");
                }
            }
            let bytes: usize = model.frames.iter().map(|(frame, _)| frame.len()).sum();
            let runs = model.frames.iter().filter(|(_, kind)| matches!(kind, Content::Run(_)));
            let counts = (rig.outbox.bytes(), rig.outbox.messages() as usize);
            assert_eq!(counts, (bytes - model.begun, runs.count()), "seed {seed}");
        }
        assert_eq!(rig.send_all(), model.send(usize::MAX / 2), "seed {seed}");
    }
}

#[test]
fn one_piece_is_offered_whole_and_several_are_not() {
    let mut rig = Rig::default();
    assert_eq!(rig.outbox.only(&rig.nodes, &rig.buffers), None, "nothing");
    rig.push(b"one", Content::Answer);
    assert_eq!(rig.outbox.only(&rig.nodes, &rig.buffers), Some(&b"one"[..]));
    rig.push(b"two", Content::Answer);
    assert_eq!(rig.outbox.only(&rig.nodes, &rig.buffers), None, "two");
    rig.outbox.advance(&mut rig.nodes, &mut rig.buffers, 4);
    assert_eq!(rig.outbox.only(&rig.nodes, &rig.buffers), Some(&b"wo"[..]));
}
