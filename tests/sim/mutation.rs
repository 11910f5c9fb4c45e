//! Faults that a run can be given, each of which breaks a law that the simulator watches.
//!
//! Not here: what finds them out. Invariant: without a fault nothing in here changes a batch.

use super::world::World;
use fanfare::broker::ConnKey;
use fanfare::engine::{Batch, fault};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mutation {
    None,
    ExchangeFrames,
    ExchangeBatches,
    LoseFrame,
    LosePublish,
    LoseBatch,
    RepeatRuns,
    DelayJoins,
    RetargetJoins,
    LoseLeaves,
    LoseEnds,
    LoseOfflines,
    LoseCredit,
    DoubleCredit,
    DelayNatives,
    LoseReplayed,
    LoseMessageBatch,
    LoseUserLeft,
    LoseAck,
    DelayAcks,
    ForgetKeys,
    EchoOwn,
    /// A loop is not told what is revoked.
    MissRevocations,
    /// Publishing needs no grant.
    GrantPublish,
    /// Nor does joining.
    GrantJoin,
    /// What a token grants is not looked at.
    ForgetGrants,
    /// Tokens don't end.
    IgnoreExpiry,
    /// They end before their time.
    ExpireEarly,
    /// Any key is good.
    TrustForgers,
    /// A connection takes up the token of another user.
    RefreshOthers,
    /// Tokens can't be revoked by their names.
    ForgetTokenIds,
    /// Seats are not given back.
    LoseSeats,
    /// Everyone gets a seat.
    GiveSeats,
    /// The world forgets a gap that it was told of.
    LoseGap,
    /// A native client is not told of a gap.
    LoseGapNotice,
    /// A native client is told of a gap as larger or smaller than it is.
    MiscountGap,
    /// Members get a room in the form that is meant for others.
    ConfuseForms,
    /// A kernel that is ready says that it is full, and never says otherwise.
    BlockReady,
    /// Peers that fell silent are heard all the same.
    FeedSilent,
    /// Pongs don't get through.
    LosePongs,
    /// A loop's timer is not waited for.
    SleepOn,
    /// One loop is not told to drain.
    ForgetDrain,
}

impl Mutation {
    /// Whether only a run with tokens can find it out.
    pub(crate) const fn is_of_guards(self) -> bool {
        matches!(
            self,
            Self::MissRevocations
                | Self::GrantPublish
                | Self::GrantJoin
                | Self::ForgetGrants
                | Self::IgnoreExpiry
                | Self::ExpireEarly
                | Self::TrustForgers
                | Self::RefreshOthers
                | Self::ForgetTokenIds
                | Self::LoseSeats
                | Self::GiveSeats
        )
    }
}

impl World {
    /// What a link makes of a batch on its way.
    pub(crate) fn mutate_sent(&mut self, from: usize, to: usize, batch: &mut Batch) {
        let chance = self.dice.u8(..4) == 0;
        let found = match self.mutation {
            Mutation::ExchangeFrames => fault::exchange_frames(batch),
            Mutation::LoseFrame => chance && fault::lose_frame(batch),
            Mutation::LosePublish => chance && fault::lose_publish(batch),
            Mutation::DelayJoins => fault::delay_joins(batch),
            Mutation::LoseLeaves => fault::lose_leaves(batch),
            Mutation::LoseEnds => fault::lose_ends(batch),
            Mutation::LoseOfflines => fault::lose_offlines(batch),
            Mutation::MissRevocations => fault::miss_revocations(batch),
            Mutation::LoseSeats => fault::lose_seats(batch),
            Mutation::GiveSeats => fault::give_seats(batch),
            Mutation::LoseCredit => fault::lose_credit(batch),
            Mutation::DoubleCredit => fault::double_credit(batch),
            Mutation::ConfuseForms => fault::confuse_forms(batch),
            Mutation::DelayNatives => fault::delay_natives(batch),
            Mutation::LoseReplayed => fault::lose_replayed(batch),
            Mutation::LoseMessageBatch => fault::lose_message_batch(batch),
            Mutation::LoseUserLeft => chance && fault::lose_user_left(batch),
            Mutation::LoseAck => chance && fault::lose_ack(batch),
            Mutation::ForgetKeys => fault::forget_keys(batch),
            Mutation::EchoOwn => fault::echo_own(batch),
            Mutation::DelayAcks => match fault::take_acks(batch) {
                Some(acks) => {
                    let at = self.arrival(from, to);
                    self.link(from, to).push_back((at, std::mem::replace(batch, acks)));
                    true
                }
                None => false,
            },
            Mutation::RepeatRuns => match fault::copy_runs(batch).filter(|_| chance) {
                Some(copy) => {
                    let at = self.arrival(from, to);
                    self.link(from, to).push_back((at, copy));
                    true
                }
                None => false,
            },
            Mutation::None
            | Mutation::ExchangeBatches
            | Mutation::LoseBatch
            | Mutation::RetargetJoins
            | Mutation::LoseGap
            | Mutation::LoseGapNotice
            | Mutation::MiscountGap
            | Mutation::BlockReady
            | Mutation::FeedSilent
            | Mutation::LosePongs
            | Mutation::SleepOn
            | Mutation::ForgetDrain
            | Mutation::GrantPublish
            | Mutation::GrantJoin
            | Mutation::ForgetGrants
            | Mutation::IgnoreExpiry
            | Mutation::ExpireEarly
            | Mutation::TrustForgers
            | Mutation::RefreshOthers
            | Mutation::ForgetTokenIds => false,
        };
        self.mutations += u32::from(found);
    }

    /// What a loop makes of a batch as it takes it.
    pub(crate) fn mutate_taken(&mut self, to: usize, batch: &mut Batch) {
        if self.mutation == Mutation::RetargetJoins {
            let tenants: Vec<ConnKey> = self.keys_of(to).collect();
            let tenant = |key: ConnKey| {
                tenants.iter().copied().find(|other| other.index == key.index).unwrap_or(key)
            };
            self.mutations += u32::from(fault::retarget_joins(batch, tenant));
        }
    }

    /// What a socket makes of what it took.
    pub(crate) fn mutate_written(&mut self, bytes: &mut [u8]) {
        let name = br#""type":"gap""#;
        let found = bytes.windows(name.len()).position(|window| window == name);
        let Some(at) = found else { return };
        if self.mutation == Mutation::LoseGapNotice {
            bytes[at..at + name.len()].copy_from_slice(br#""type":"pag""#);
        } else if self.mutation == Mutation::MiscountGap {
            let field = br#""count":"#;
            let found = bytes[at..].windows(field.len()).position(|window| window == field);
            let count = found.and_then(|field_at| bytes.get_mut(at + field_at + field.len()));
            let Some(digit) = count else { return };
            *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
        } else {
            return;
        }
        self.mutations += 1;
    }

    /// Whether the link loses the batch whole, or lets it pass the one before it.
    pub(crate) fn mutate_link(&mut self, from: usize, to: usize) {
        let (chance, mutation) = (self.dice.u8(..4) == 0, self.mutation);
        let link = self.link(from, to);
        let len = link.len();
        if mutation == Mutation::ExchangeBatches && len > 1 {
            let times = (link[len - 2].0, link[len - 1].0);
            link.swap(len - 2, len - 1);
            (link[len - 2].0, link[len - 1].0) = times;
            self.mutations += 1;
        } else if mutation == Mutation::LoseBatch && chance {
            self.mutations += u32::from(link.pop_back().is_some());
        }
    }
}
