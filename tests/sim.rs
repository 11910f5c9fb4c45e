//! The laws of the house, held against thousands of seeded schedules, and shown to be able to fail.
//!
//! `FANFARE_SIM_SEEDS` says how many seeds, `FANFARE_SIM_SEED` replays one. Not here: the simulator
//! itself (`sim/`). Invariant: whatever fails prints the seed that makes it fail again.

#[path = "sim/mod.rs"]
mod sim;

use fanfare::broker::Disconnect;
use fanfare::observe::Counters;
use sim::{Law, Meetings, Met, Mutation, Violation, World, run};
use std::panic;

/// Seeds of a run that nobody asked more of: builds without optimisation get through fewer.
const SEEDS: u64 = if cfg!(debug_assertions) { 100 } else { 2_000 };
/// Seeds that are enough to meet everything.
const MEETING_SEEDS: u64 = 2_000;
/// Seeds within which a mutation must be found out.
const MUTATION_SEEDS: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A run whose panics are violations too: a bug of ours would have ended the process.
fn outcome(seed: u64, mutation: Mutation) -> Result<World, Option<Violation>> {
    match panic::catch_unwind(|| run(seed, mutation)) {
        Ok(Ok(world)) => Ok(world),
        Ok(Err(violation)) => Err(Some(violation)),
        Err(_) => Err(None),
    }
}

#[test]
fn the_laws_hold_for_every_seed() {
    let seeds = match number("FANFARE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FANFARE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let (mut met, mut contexts, mut count) = (Counters::default(), 0, 0);
    let (mut natives, mut bearers) = (Met::default(), Meetings::default());
    for seed in seeds {
        match outcome(seed, Mutation::None) {
            Ok(world) => {
                world.shards.iter().for_each(|shard| met.add(&shard.counters()));
                contexts += world.contexts_met;
                world.natives().for_each(|native| natives.add(&native.met));
                world.bearers().for_each(|bearer| bearers.add(&bearer.met));
            }
            Err(what) => {
                panic!("seed {seed}: {what:?}\nreplay: FANFARE_SIM_SEED={seed} cargo sim");
            }
        }
        count += 1;
    }
    if count >= MEETING_SEEDS {
        check_met(&met, contexts);
        assert!(natives.is_all(), "the seeds missed some of {natives:?}");
        assert!(bearers.is_all(), "the seeds missed some of {bearers:?}");
    }
}

/// A law that nothing could have broken says little: the seeds must have met all that is hard.
fn check_met(met: &Counters, contexts: u64) {
    let closed = |reason: Disconnect| met.connections_closed[reason.index()];
    for (what, times) in [
        ("a gap", met.gaps),
        ("a pause for want of credit", met.credit_pauses),
        ("a parked command", met.commands_parked),
        ("a batch that an inbox did not take", met.batches_held),
        ("a blocked write", met.writes_blocked),
        ("a coalesced pong", met.pongs_coalesced),
        ("a deleted room", met.rooms_deleted),
        ("a compressed message to members", met.deflated_messages),
        ("a message that is smaller by it", met.deflate_bytes_saved),
        ("a compressed message from a member", met.inflated_messages),
        ("a context of a connection's own", contexts),
        ("a context that was not left to give", met.contexts_refused),
        ("a slow consumer's end", closed(Disconnect::SlowConsumer)),
        ("a silent peer's end", closed(Disconnect::NoPong)),
        ("a drained connection", closed(Disconnect::Draining)),
        ("a close in peace", closed(Disconnect::Normal)),
        ("a reset", closed(Disconnect::Io)),
        ("a repeat", met.repeats),
    ] {
        assert!(times > 0, "no seed met {what}: {met:?}");
    }
}

/// Looks for a seed at which `mutation` breaks one of `laws`.
fn is_found_out(mutation: Mutation, laws: &[Law]) {
    let mut others = Vec::new();
    let mut done = 0;
    let found = (0..MUTATION_SEEDS).find(|seed| match outcome(*seed, mutation) {
        Ok(world) => {
            done += world.mutations;
            false
        }
        Err(Some(violation)) if laws.contains(&violation.law) => true,
        Err(other) => {
            others.push((*seed, other));
            false
        }
    });
    assert!(found.is_some(), "{mutation:?} did {done} faults unseen; other findings: {others:?}");
}

#[test]
fn order_is_broken_by_exchanged_frames() {
    is_found_out(Mutation::ExchangeFrames, &[Law::Order]);
}

#[test]
fn order_is_broken_by_exchanged_batches() {
    is_found_out(Mutation::ExchangeBatches, &[Law::Order]);
}

#[test]
fn no_silent_loss_is_broken_by_a_lost_frame() {
    is_found_out(Mutation::LoseFrame, &[Law::Loss, Law::Order]);
}

#[test]
fn no_silent_loss_is_broken_by_a_lost_publish() {
    is_found_out(Mutation::LosePublish, &[Law::Loss]);
}

#[test]
fn no_silent_loss_is_broken_by_a_lost_batch() {
    is_found_out(Mutation::LoseBatch, &[Law::Loss]);
}

#[test]
fn no_silent_loss_is_broken_by_a_gap_that_is_not_told() {
    is_found_out(Mutation::LoseGap, &[Law::Loss]);
}

#[test]
fn no_silent_loss_is_broken_by_a_gap_that_a_native_client_is_not_told_of() {
    is_found_out(Mutation::LoseGapNotice, &[Law::Loss]);
}

#[test]
fn no_silent_loss_is_broken_by_a_gap_that_is_told_as_another() {
    is_found_out(Mutation::MiscountGap, &[Law::Loss, Law::Wire]);
}

#[test]
fn joins_are_broken_by_runs_delivered_twice() {
    is_found_out(Mutation::RepeatRuns, &[Law::Join]);
}

#[test]
fn joins_are_broken_by_letting_newcomers_in_late() {
    is_found_out(Mutation::DelayJoins, &[Law::Join]);
}

#[test]
fn joins_are_broken_by_a_generation_that_nobody_checks() {
    is_found_out(Mutation::RetargetJoins, &[Law::Join, Law::Close]);
}

#[test]
fn joins_are_broken_by_letting_natives_in_late() {
    is_found_out(Mutation::DelayNatives, &[Law::Loss, Law::Join]);
}

#[test]
fn joins_are_broken_by_a_replay_with_a_hole() {
    is_found_out(Mutation::LoseReplayed, &[Law::Join]);
}

#[test]
fn joins_are_broken_by_own_messages_that_were_not_wanted() {
    is_found_out(Mutation::EchoOwn, &[Law::Join]);
}

#[test]
fn no_silent_loss_is_broken_by_a_lost_batch_of_messages() {
    is_found_out(Mutation::LoseMessageBatch, &[Law::Loss]);
}

#[test]
fn no_silent_loss_is_broken_by_a_lost_ack() {
    is_found_out(Mutation::LoseAck, &[Law::Loss]);
}

#[test]
fn order_is_broken_by_acks_behind_their_messages() {
    is_found_out(Mutation::DelayAcks, &[Law::Order]);
}

#[test]
fn order_is_broken_by_a_repeat_that_is_taken_for_news() {
    is_found_out(Mutation::ForgetKeys, &[Law::Order]);
}

#[test]
fn presence_is_broken_by_a_lost_farewell() {
    is_found_out(Mutation::LoseUserLeft, &[Law::Presence]);
}

#[test]
fn standing_alone_is_broken_by_a_reader_that_is_taken_for_slow() {
    is_found_out(Mutation::BlockReady, &[Law::Alone]);
}

#[test]
fn credit_is_broken_by_giving_it_back_twice() {
    is_found_out(Mutation::DoubleCredit, &[Law::Credit]);
}

#[test]
fn credit_is_broken_by_losing_it() {
    is_found_out(Mutation::LoseCredit, &[Law::Credit]);
}

#[test]
fn progress_is_broken_by_sleeping_on() {
    is_found_out(Mutation::SleepOn, &[Law::Credit, Law::Loss]);
}

#[test]
fn closing_is_broken_by_a_lost_leave() {
    is_found_out(Mutation::LoseLeaves, &[Law::Close]);
}

#[test]
fn closing_is_broken_by_a_session_that_nobody_ends() {
    is_found_out(Mutation::LoseEnds, &[Law::Close]);
}

#[test]
fn closing_is_broken_by_a_user_that_is_not_seen_to_go() {
    is_found_out(Mutation::LoseOfflines, &[Law::Close]);
}

#[test]
fn heartbeats_are_broken_by_hearing_the_silent() {
    is_found_out(Mutation::FeedSilent, &[Law::Heartbeat]);
}

#[test]
fn heartbeats_are_broken_by_lost_pongs() {
    is_found_out(Mutation::LosePongs, &[Law::Heartbeat]);
}

#[test]
fn the_wire_is_broken_by_a_form_that_was_not_agreed_on() {
    is_found_out(Mutation::ConfuseForms, &[Law::Wire]);
}

#[test]
fn drains_are_broken_by_a_loop_that_is_not_told() {
    is_found_out(Mutation::ForgetDrain, &[Law::Drain]);
}

#[test]
fn grants_are_broken_by_publishing_without_one() {
    is_found_out(Mutation::GrantPublish, &[Law::Grant]);
}

#[test]
fn grants_are_broken_by_joining_without_one() {
    is_found_out(Mutation::GrantJoin, &[Law::Grant]);
}

#[test]
fn grants_are_broken_by_refusing_what_is_granted() {
    is_found_out(Mutation::ForgetGrants, &[Law::Grant]);
}

#[test]
fn access_is_broken_by_tokens_that_do_not_end() {
    is_found_out(Mutation::IgnoreExpiry, &[Law::Access]);
}

#[test]
fn access_is_broken_by_tokens_that_end_early() {
    is_found_out(Mutation::ExpireEarly, &[Law::Access]);
}

#[test]
fn access_is_broken_by_taking_any_signature() {
    is_found_out(Mutation::TrustForgers, &[Law::Access]);
}

#[test]
fn access_is_broken_by_taking_up_the_token_of_another() {
    is_found_out(Mutation::RefreshOthers, &[Law::Access]);
}

#[test]
fn access_is_broken_by_a_revocation_that_one_loop_misses() {
    is_found_out(Mutation::MissRevocations, &[Law::Access]);
}

#[test]
fn access_is_broken_by_tokens_that_have_no_name() {
    is_found_out(Mutation::ForgetTokenIds, &[Law::Access]);
}

#[test]
fn closing_is_broken_by_a_seat_that_is_not_given_back() {
    is_found_out(Mutation::LoseSeats, &[Law::Close, Law::Share]);
}

#[test]
fn shares_are_broken_by_a_seat_for_everyone() {
    is_found_out(Mutation::GiveSeats, &[Law::Share]);
}
