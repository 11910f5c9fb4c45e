//! What a broken link or a forgotten check would do to a batch: for the simulator's mutations,
//! which show that each law can fail, and what its ledger of credit needs to see.
//!
//! Not here: anything that a loop calls. Invariant: a fault that finds nothing to break says so.

use super::asks::What;
use super::batch::{Batch, Frame, HomeCommand, PastReply, Question, Reply, Run, Topic};
use super::seating::SeatAsk;
use super::sessions::SessionAsk;
use crate::broker::{ConnKey, Encoding, Form};

/// Publications in the batch that cost credit, and their payload bytes.
pub fn publishes(batch: &Batch) -> (u64, u64) {
    let payloads = batch.commands.iter().filter_map(|command| match command {
        HomeCommand::Publish { payload, dedupe, said_by, .. } => {
            let spans = [payload, dedupe, said_by];
            Some(spans.iter().map(|span| u64::from(span.end - span.start)).sum())
        }
        HomeCommand::Say(say) => {
            let words: u64 = say.lengths.iter().map(|length| u64::from(*length)).sum();
            Some(u64::from(say.payload.end - say.payload.start) + words)
        }
        HomeCommand::Ask(asked) => asked.spends().map(|bytes| bytes as u64),
        HomeCommand::Join { .. }
        | HomeCommand::Leave { .. }
        | HomeCommand::Seat(_)
        | HomeCommand::Borrow(_)
        | HomeCommand::Done => None,
    });
    payloads.fold((0, 0), |(count, bytes), payload| (count + 1, bytes + payload))
}

/// The credit that the batch gives back: commands and bytes.
pub fn credit(batch: &Batch) -> (u64, u64) {
    (u64::from(batch.credit.commands), u64::from(batch.credit.bytes))
}

/// Exchanges the first two frames of the first run that has two.
pub fn exchange_frames(batch: &mut Batch) -> bool {
    for run in &batch.runs {
        let (from, to) = (run.frames_from as usize, run.frames_to as usize);
        let Some([first, second, ..]) = batch.frames.get_mut(from..to) else { continue };
        let start = run.start as usize;
        let Some(bytes) = batch.bytes.get_mut(start..second.end as usize) else { continue };
        bytes.rotate_left(first.end as usize - start);
        first.end = run.start + (second.end - first.end);
        std::mem::swap(&mut first.left_out, &mut second.left_out);
        return true;
    }
    false
}

/// Loses the last frame of the last run.
pub fn lose_frame(batch: &mut Batch) -> bool {
    let Batch { runs, frames, .. } = batch;
    let Some(run) = runs.last_mut() else { return false };
    lose_last_of(run, frames);
    if run.start == run.end {
        runs.pop();
    }
    true
}

/// Loses the last frame of the first run of batches of messages that has two frames.
pub fn lose_message_batch(batch: &mut Batch) -> bool {
    let Batch { runs, frames, .. } = batch;
    let has_two = |run: &&mut Run| run.frames_to - run.frames_from > 1;
    let mut batched = runs.iter_mut().filter(|run| run.encoding.form == Form::Batch);
    let Some(run) = batched.find(has_two) else { return false };
    lose_last_of(run, frames);
    true
}

fn lose_last_of(run: &mut Run, frames: &[Frame]) {
    run.frames_to -= 1;
    let before = run.frames_to.checked_sub(1).filter(|at| *at >= run.frames_from);
    run.end = before.and_then(|at| frames.get(at as usize)).map_or(run.start, |frame| frame.end);
}

/// Turns the first notice that a user left into one that nobody knows.
pub fn lose_user_left(batch: &mut Batch) -> bool {
    let mut notices = batch.bytes.windows(USER_LEFT.len());
    let Some(at) = notices.position(|window| window == USER_LEFT) else { return false };
    let Some(name) = batch.bytes.get_mut(at..at + USER_LEFT.len()) else { return false };
    name.copy_from_slice(b"\"user-lost\"");
    true
}

const USER_LEFT: &[u8] = b"\"user-left\"";

/// Gives senders that are to be left out their own messages.
pub fn echo_own(batch: &mut Batch) -> bool {
    let mut left_out = batch.frames.iter_mut().filter_map(|frame| frame.left_out.take());
    let found = left_out.next().is_some();
    left_out.for_each(drop);
    batch.runs.iter_mut().for_each(|run| run.leaves_out = false);
    found
}

/// Lets native newcomers in one message late.
pub fn delay_natives(batch: &mut Batch) -> bool {
    let mut found = false;
    for reply in &mut batch.replies {
        if let Reply::Joined(reply) = reply
            && reply.native.is_some()
        {
            reply.seq += 1;
            found = true;
        }
    }
    found
}

/// Loses the first message of the first replay that has any.
pub fn lose_replayed(batch: &mut Batch) -> bool {
    for reply in &mut batch.replies {
        let past = match reply {
            Reply::Joined(joined) => joined.native.as_mut().map(|native| &mut native.past),
            Reply::Past { past, .. } => Some(&mut **past),
            Reply::JoinRefused { .. }
            | Reply::Ack { .. }
            | Reply::PublishRefused { .. }
            | Reply::Text { .. }
            | Reply::Told { .. }
            | Reply::Receivers { .. }
            | Reply::Session { .. }
            | Reply::Superseded { .. }
            | Reply::NativeRefused { .. }
            | Reply::Seat { .. }
            | Reply::Lent { .. } => None,
        };
        if past.is_some_and(|past| lose_first_item(past).is_some()) {
            return true;
        }
    }
    false
}

fn lose_first_item(past: &mut PastReply) -> Option<()> {
    if past.pieces.is_empty() {
        return None;
    }
    let mut whole = past.head.clone();
    past.pieces.iter().for_each(|piece| whole.extend_from_slice(piece.as_bytes()));
    whole.extend_from_slice(&past.tail);
    let mut object: serde_json::Value = serde_json::from_slice(&whole).ok()?;
    let messages = object.get_mut("messages")?.as_array_mut()?;
    (!messages.is_empty()).then(|| messages.remove(0))?;
    *past = PastReply { head: object.to_string().into_bytes(), ..PastReply::default() };
    Some(())
}

/// Forgets the key by which a repeat would be recognised.
pub fn forget_keys(batch: &mut Batch) -> bool {
    let mut found = false;
    for command in &mut batch.commands {
        if let HomeCommand::Say(say) = command
            && say.lengths[2] > 0
        {
            say.words.end -= u32::from(std::mem::take(&mut say.lengths[2]));
            found = true;
        }
    }
    found
}

/// Loses the last ack of a native member's message.
pub fn lose_ack(batch: &mut Batch) -> bool {
    let Batch { replies, texts, .. } = batch;
    let Some(at) = replies.iter().rposition(|reply| is_ack(reply, texts)) else { return false };
    replies.remove(at);
    true
}

/// Takes the acks out that native members get, to be delivered behind the rest.
pub fn take_acks(batch: &mut Batch) -> Option<Batch> {
    let mut late = Batch::new(batch.from);
    let texts = &batch.texts;
    late.replies = batch.replies.extract_if(.., |reply| is_ack(reply, texts)).collect();
    late.texts.clone_from(&batch.texts);
    (!late.replies.is_empty() && !batch.runs.is_empty()).then_some(late)
}

fn is_ack(reply: &Reply, texts: &[u8]) -> bool {
    let Reply::Text { text, .. } = reply else { return false };
    let text = texts.get(text.start as usize..text.end as usize).unwrap_or_default();
    text.windows(6).any(|window| window == b"\"ack\",")
}

/// Gives the plain form of the first room that has another one to those who get that, and the other
/// way round.
pub fn confuse_forms(batch: &mut Batch) -> bool {
    let packed = batch.runs.array_windows().position(|[plain, packed]| {
        plain.encoding == Encoding::RAW && plain.room == packed.room && plain.start != packed.start
    });
    let Some([plain, packed, ..]) = packed.and_then(|at| batch.runs.get_mut(at..)) else {
        return false;
    };
    std::mem::swap(&mut plain.encoding, &mut packed.encoding);
    true
}

/// The batch's publications alone, to be delivered once more.
pub fn copy_runs(batch: &Batch) -> Option<Batch> {
    if batch.runs.is_empty() {
        return None;
    }
    let mut copy = Batch::new(batch.from);
    copy.runs.clone_from(&batch.runs);
    copy.frames.clone_from(&batch.frames);
    copy.bytes.clone_from(&batch.bytes);
    Some(copy)
}

/// Lets newcomers in one message late.
pub fn delay_joins(batch: &mut Batch) -> bool {
    let mut found = false;
    for reply in &mut batch.replies {
        if let Reply::Joined(reply) = reply {
            reply.seq += 1;
            found = true;
        }
    }
    found
}

/// Gives each join's reply to whom `tenant` names: a generation that nobody checked.
pub fn retarget_joins(batch: &mut Batch, tenant: impl Fn(ConnKey) -> ConnKey) -> bool {
    let mut found = false;
    for reply in &mut batch.replies {
        if let Reply::Joined(reply) = reply {
            let other = tenant(reply.key);
            found |= other != reply.key;
            reply.key = other;
        }
    }
    found
}

/// Loses every leave.
pub fn lose_leaves(batch: &mut Batch) -> bool {
    let before = batch.commands.len();
    batch.commands.retain(|command| !matches!(command, HomeCommand::Leave { .. }));
    batch.commands.len() < before
}

/// Loses the word that sessions have lost their connections.
pub fn lose_ends(batch: &mut Batch) -> bool {
    lose_asks(batch, |what| matches!(what, What::Session(SessionAsk::End(..))))
}

/// Loses the word that users' connections are gone.
pub fn lose_offlines(batch: &mut Batch) -> bool {
    lose_asks(batch, |what| matches!(what, What::Offline))
}

fn lose_asks(batch: &mut Batch, is_lost: impl Fn(&What) -> bool) -> bool {
    let before = batch.commands.len();
    let is_kept = |command: &HomeCommand| match command {
        HomeCommand::Ask(asked) => !is_lost(&asked.what),
        HomeCommand::Say(_)
        | HomeCommand::Done
        | HomeCommand::Join { .. }
        | HomeCommand::Leave { .. }
        | HomeCommand::Seat(_)
        | HomeCommand::Borrow(_)
        | HomeCommand::Publish { .. } => true,
    };
    batch.commands.retain(is_kept);
    batch.commands.len() < before
}

/// Loses the seats that are given back.
pub fn lose_seats(batch: &mut Batch) -> bool {
    let before = batch.commands.len();
    let is_free =
        |command: &HomeCommand| matches!(command, HomeCommand::Seat(SeatAsk::Free { .. }));
    batch.commands.retain(|command| !is_free(command));
    batch.commands.len() < before
}

/// Gives everyone a seat who asks for one.
pub fn give_seats(batch: &mut Batch) -> bool {
    let mut found = false;
    for reply in &mut batch.replies {
        if let Reply::Seat { granted, .. } = reply {
            found |= !*granted;
            *granted = true;
        }
    }
    found
}

/// Turns what is to be revoked into a question that is answered and does nothing.
pub fn miss_revocations(batch: &mut Batch) -> bool {
    let mut found = false;
    for question in &mut batch.questions {
        if let Question::Ask { what, .. } = question
            && matches!(what, Topic::Revoke(_))
        {
            *what = Topic::Health;
            found = true;
        }
    }
    found
}

/// Loses the last publication on its way to its home.
pub fn lose_publish(batch: &mut Batch) -> bool {
    let is_publish = |command: &HomeCommand| {
        matches!(command, HomeCommand::Publish { .. } | HomeCommand::Say(_))
    };
    let Some(at) = batch.commands.iter().rposition(is_publish) else { return false };
    batch.commands.remove(at);
    true
}

/// Loses the credit that the batch gives back.
pub fn lose_credit(batch: &mut Batch) -> bool {
    std::mem::take(&mut batch.credit).commands > 0
}

/// Gives the batch's credit back twice.
pub fn double_credit(batch: &mut Batch) -> bool {
    batch.credit.commands *= 2;
    batch.credit.bytes *= 2;
    batch.credit.commands > 0
}
