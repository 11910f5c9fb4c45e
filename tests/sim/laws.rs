//! What must hold once a run is at rest: every member's view against the room's total order.
//!
//! A room's witness joined before the first message, so the nth message it saw has `seq` n. Not
//! here: what is checked at every turn (`tick`). Invariant: a law is checked on what clients saw
//! and were told, never on what the broker says of itself.

use super::client::{Client, Kind, Sig};
use super::world::World;
use super::{Law, Violation, hold};
use fanfare::broker::Overflow;
use fanfare::limits::{CREDIT_BYTES, CREDIT_COMMANDS};
use std::collections::{HashMap, HashSet};

/// A room's messages in their order, each with its `seq`.
pub(crate) type Numbered = Vec<(u64, Sig)>;

impl World {
    /// Checks everything that must hold when all wires and links are empty and nobody is blocked.
    pub(crate) fn check_rest(&self) -> Result<(), Violation> {
        let mut orders: Vec<Numbered> = Vec::new();
        for room in 0..self.rooms.len() {
            let witness = &self.clients[self.rooms[room].witness];
            hold(Law::Alone, witness.is_present(), || {
                format!("the witness of room {room} is gone: {:?}", witness.gone)
            })?;
            let order: Numbered = (1..).zip(witness.received.iter().copied()).collect();
            self.check_senders(room, &order)?;
            self.check_contested(room, &order)?;
            for client in self.clients.iter().filter(|client| client.room == room) {
                match client.kind {
                    Kind::Member { .. } => self.check_member(client, &order)?,
                    Kind::Poster => check_acks(client, &order)?,
                    Kind::Native | Kind::Bearer => {}
                }
            }
            orders.push(order);
        }
        for client in &self.clients {
            if let Some(native) = &client.native {
                self.check_native(client, native, &orders)?;
            }
        }
        self.check_bearers()?;
        self.check_accounts()
    }

    /// Nothing that was sent is lost or turned around on its way to the room.
    fn check_senders(&self, room: usize, order: &Numbered) -> Result<(), Violation> {
        let senders = self.clients.iter();
        let contested: HashSet<Sig> =
            self.contested_in(room).into_iter().flat_map(|(first, then)| [first, then]).collect();
        let mut numbered: HashMap<u32, Vec<u32>> = HashMap::new();
        for (_, sig) in order.iter().filter(|(_, sig)| !contested.contains(sig)) {
            if let Sig::Known { client, nth } = sig {
                numbered.entry(*client).or_default().push(*nth);
            }
        }
        let mut sent = 0;
        let mut all_stayed = true;
        for client in senders {
            let all_sent = client.sent_to(room);
            let uncontested = all_sent.iter().filter(|sig| !contested.contains(sig));
            let known: Vec<u32> = known(uncontested).collect();
            let got = numbered.remove(&client.id).unwrap_or_default();
            let said = || format!("client {} sent {known:?}, its room got {got:?}", client.id);
            hold(Law::Order, known.starts_with(&got), said)?;
            let stayed = client.is_present();
            hold(Law::Loss, !stayed || known == got, said)?;
            all_stayed &= stayed || all_sent.is_empty();
            sent += all_sent.len();
        }
        hold(Law::Order, numbered.is_empty(), || {
            format!("room {room} got messages of {:?}", numbered.keys())
        })?;
        let count = order.len();
        hold(Law::Loss, count <= sent && (!all_stayed || count == sent), || {
            format!("{sent} messages were sent to room {room}, it has {count}")
        })
    }

    fn check_member(&self, member: &Client, order: &Numbered) -> Result<(), Violation> {
        let id = member.id;
        let options = &self.rooms[member.room].options;
        hold(Law::Alone, !member.is_faithful() || member.is_present(), || {
            format!("client {id} reads all and was ended: {:?} {:?}", member.gone, member.close)
        })?;
        hold(Law::Alone, member.ever_slow || member.gaps.is_empty(), || {
            format!("client {id} reads all and misses {:?}", member.gaps)
        })?;
        if !member.left
            && let Some(code) = member.close
        {
            let too_slow = options.raw_overflow() == Overflow::Disconnect;
            let fits = code == Some(4201) || code == Some(4101) && too_slow;
            hold(Law::Alone, fits, || format!("client {id} was closed with {code:?}"))?;
        }
        let due: Numbered =
            order.iter().filter(|(_, sig)| member.has_echo() || !sig.is_by(id)).copied().collect();
        if options.raw_overflow() == Overflow::Disconnect {
            hold(Law::Loss, member.gaps.is_empty(), || format!("client {id} was told of a gap"))?;
            check_run(member, &due)
        } else {
            check_gaps(member, &due, options.overflow)
        }
    }

    /// What loops hold for others is accounted for, and given back.
    fn check_accounts(&self) -> Result<(), Violation> {
        for (from, accounts) in self.under_way.iter().enumerate() {
            for (to, (commands, bytes)) in accounts.iter().enumerate() {
                let lean = *commands < u64::from(CREDIT_COMMANDS / 4)
                    && *bytes < u64::from(CREDIT_BYTES / 4);
                hold(Law::Credit, lean, || {
                    format!("{from} lacks {commands} commands and {bytes} bytes at {to} for good")
                })?;
            }
        }
        for (at, shard) in self.shards.iter().enumerate() {
            let counters = shard.counters();
            let held = [counters.outbox_bytes, counters.spill_bytes, counters.outgoing_bytes];
            hold(Law::Credit, held == [0; 3], || {
                format!("loop {at} is at rest and holds {held:?} (outboxes, spills, links)")
            })?;
        }
        Ok(())
    }

    /// The connections that a publication to `room` is addressed to now.
    pub(crate) fn members_of(&self, room: usize) -> usize {
        let is_in = |client: &&Client| match &client.native {
            Some(native) => native.stays[room].is_in,
            None => client.room == room && client.is_member(),
        };
        let members = self.clients.iter().filter(is_in);
        members.filter(|member| member.is_present() && member.key.is_some()).count()
    }
}

impl Sig {
    pub(crate) fn is_by(self, id: u32) -> bool {
        matches!(self, Self::Known { client, .. } if client == id)
    }
}

impl Client {
    /// What it published in a room, repeats aside.
    fn sent_to(&self, room: usize) -> &[Sig] {
        match &self.native {
            Some(native) => &native.stays[room].sent,
            None if self.room == room => &self.sent,
            None => &[],
        }
    }
}

fn known<'a>(sent: impl IntoIterator<Item = &'a Sig>) -> impl Iterator<Item = u32> {
    sent.into_iter().filter_map(|sig| match sig {
        Sig::Known { nth, .. } => Some(*nth),
        Sig::Tiny { .. } => None,
    })
}

/// Where nothing may be dropped: a contiguous run of the room's order, to its end for who stayed.
fn check_run(member: &Client, due: &Numbered) -> Result<(), Violation> {
    let id = member.id;
    let due: Vec<Sig> = due.iter().map(|(_, sig)| *sig).collect();
    let seen = &member.received;
    let first_known =
        seen.iter().position(|sig| matches!(sig, Sig::Known { .. })).map(|at| (at, seen[at]));
    let starts: Vec<usize> = match first_known {
        _ if member.is_present() => due.len().checked_sub(seen.len()).into_iter().collect(),
        Some((at, sig)) => {
            let place = due.iter().position(|other| *other == sig);
            place.and_then(|place| place.checked_sub(at)).into_iter().collect()
        }
        None => (0..=due.len()).collect(),
    };
    let fits = |start: &usize| due[*start..].starts_with(seen);
    if !starts.iter().any(fits) {
        let strangers = seen.iter().filter(|sig| !due.contains(sig)).count();
        let distinct: HashSet<&Sig> =
            seen.iter().filter(|sig| matches!(sig, Sig::Known { .. })).collect();
        let known = seen.iter().filter(|sig| matches!(sig, Sig::Known { .. })).count();
        let law = if strangers > 0 || distinct.len() < known { Law::Join } else { Law::Order };
        return hold(law, false, || {
            format!("client {id} saw {}, its room has {}", brief(seen), brief(&due))
        });
    }
    check_own(member, seen.iter().copied())
}

/// Where messages may be dropped: what was received and what was told missing is all there was.
fn check_gaps(member: &Client, due: &Numbered, overflow: Overflow) -> Result<(), Violation> {
    let id = member.id;
    let places: HashMap<Sig, u64> = due.iter().map(|(seq, sig)| (*sig, *seq)).collect();
    let mut received = HashSet::new();
    let mut last = 0;
    for sig in &member.received {
        let Some(seq) = places.get(sig).copied() else {
            return hold(Law::Join, false, || format!("client {id} saw {sig:?} of another room"));
        };
        hold(Law::Join, received.insert(seq), || format!("client {id} saw seq {seq} twice"))?;
        hold(Law::Order, seq > last, || format!("client {id} saw seq {seq} after {last}"))?;
        last = seq;
    }
    let stays = member.is_present();
    let own = due.iter().find(|(_, sig)| sig.is_by(id)).map(|(seq, _)| *seq).filter(|_| stays);
    let told = member.gaps.iter().map(|gap| gap.from).min();
    let Some(first) = received.iter().copied().chain(own).chain(told).min() else { return Ok(()) };
    let end = if stays { due.last().map_or(0, |(seq, _)| *seq) } else { last };
    let missing: Vec<u64> = due
        .iter()
        .map(|(seq, _)| *seq)
        .filter(|seq| (first..=end).contains(seq) && !received.contains(seq))
        .collect();
    for seq in &missing {
        let told = member.gaps.iter().any(|gap| (gap.from..=gap.to).contains(seq));
        hold(Law::Loss, told, || format!("client {id} misses seq {seq}, told {:?}", member.gaps))?;
    }
    let counted: u64 = member.gaps.iter().map(|gap| gap.count).sum();
    let count = missing.len() as u64;
    hold(Law::Loss, counted == count || !stays && counted > count, || {
        format!("client {id} misses {missing:?}, told {:?}", member.gaps)
    })?;
    let keeps_newest = matches!(overflow, Overflow::DropOldest | Overflow::Latest);
    hold(Law::Loss, !stays || !keeps_newest || last == end || received.is_empty(), || {
        format!("client {id} has {last} for its newest, its room has {end}")
    })
}

/// Who gets its own messages joined before it sent them, so it gets them all.
fn check_own(member: &Client, seen: impl Iterator<Item = Sig>) -> Result<(), Violation> {
    if !member.has_echo() || !member.is_present() {
        return Ok(());
    }
    let own = seen.filter(|sig| sig.is_by(member.id)).count();
    let sent = known(&member.sent).count();
    hold(Law::Join, own == sent, || {
        format!("client {} sent {sent} messages and saw {own} of them", member.id)
    })
}

/// HTTP answers name the message that was sent, once each.
fn check_acks(poster: &Client, order: &Numbered) -> Result<(), Violation> {
    let id = poster.id;
    for (ack, sig) in poster.acks.iter().zip(&poster.sent) {
        hold(Law::Loss, ack.status == 200, || {
            format!("client {id} was answered {} {poster:?}", ack.status)
        })?;
        let at = usize::try_from(ack.seq).unwrap_or(0).wrapping_sub(1);
        hold(Law::Order, order.get(at).is_some_and(|(_, other)| other == sig), || {
            format!("client {id} was told that {sig:?} has seq {}", ack.seq)
        })?;
        hold(Law::Order, ack.epoch == poster.acks[0].epoch, || format!("client {id}: epochs"))?;
    }
    let unanswered = poster.sent.len() - poster.acks.len();
    hold(Law::Loss, unanswered == 0 || poster.left, || {
        format!("client {id} waits for {unanswered} answers: {:?}", poster.gone)
    })
}

fn brief(sigs: &[Sig]) -> String {
    let text: Vec<String> = sigs
        .iter()
        .map(|sig| match sig {
            Sig::Known { client, nth } => format!("{client}:{nth}"),
            Sig::Tiny { len, .. } => format!("({len})"),
        })
        .collect();
    let all = text.join(" ");
    if all.len() > 4_000 { format!("{} messages", sigs.len()) } else { format!("[{all}]") }
}
