//! What a broken link or a forgotten check would do to a batch: for the simulator's mutations,
//! which show that each law can fail, and what its ledger of credit needs to see.
//!
//! Not here: anything that a loop calls. Invariant: a fault that finds nothing to break says so.

use super::batch::{Batch, HomeCommand, Reply};
use crate::broker::{ConnKey, Encoding};

/// Publications in the batch that cost credit, and their payload bytes.
pub fn publishes(batch: &Batch) -> (u64, u64) {
    let payloads = batch.commands.iter().filter_map(|command| match command {
        HomeCommand::Publish { payload, .. } => Some(u64::from(payload.end - payload.start)),
        HomeCommand::Say(say) => {
            let words: u64 = say.lengths.iter().map(|length| u64::from(*length)).sum();
            Some(u64::from(say.payload.end - say.payload.start) + words)
        }
        HomeCommand::Ask(asked) => asked.spends().map(|bytes| bytes as u64),
        HomeCommand::Join { .. } | HomeCommand::Leave { .. } | HomeCommand::Done => None,
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
    let Some(run) = batch.runs.last_mut() else { return false };
    run.frames_to -= 1;
    let before = run.frames_to.checked_sub(1).filter(|at| *at >= run.frames_from);
    run.end = match before.and_then(|at| batch.frames.get(at as usize)) {
        Some(frame) => frame.end,
        None => run.start,
    };
    if run.start == run.end {
        batch.runs.pop();
    }
    true
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

/// Loses the last publication on its way to its home.
pub fn lose_publish(batch: &mut Batch) -> bool {
    let is_publish = |command: &HomeCommand| matches!(command, HomeCommand::Publish { .. });
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
