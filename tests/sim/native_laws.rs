//! What must hold of native clients once a run is at rest: one order for every form, an answer to
//! every request, positions that recover what they can, and the same people for all.
//!
//! Not here: what a client finds out by itself as it is told (`native`).

use super::client::{Client, Sig};
use super::laws::Numbered;
use super::native::{Claim, Native, Stay};
use super::ops::PRESENT_MAX;
use super::world::World;
use super::{Law, Violation, hold};
use fanfare::broker::{Overflow, PresenceMode};
use std::collections::BTreeSet;

impl World {
    pub(crate) fn natives(&self) -> impl Iterator<Item = &Native> {
        self.clients.iter().filter_map(|client| client.native.as_deref())
    }

    pub(crate) fn check_native(
        &self,
        client: &Client,
        native: &Native,
        orders: &[Numbered],
    ) -> Result<(), Violation> {
        let id = native.id;
        hold(Law::Alone, !client.is_faithful() || client.is_present(), || {
            format!("client {id} reads all and was ended: {:?} {:?}", client.gone, client.close)
        })?;
        let waiting = native.waiting.values().next();
        hold(Law::Loss, waiting.is_none() || !client.is_present(), || {
            format!("client {id} waits for an answer to {:?}", native.waiting)
        })?;
        for (room, (stay, order)) in native.stays.iter().zip(orders).enumerate() {
            check_order(id, stay, order, &self.contested_in(room))?;
            self.check_missed(client, room, stay)?;
            for claim in stay.claims.iter().filter(|claim| !claim.recovered) {
                hold(Law::Join, !self.is_kept(room, claim, order), || {
                    format!("client {id} in room {room} could have been given {claim:?}")
                })?;
            }
            if client.is_present() {
                self.check_stay(id, room, stay, order)?;
            }
        }
        Ok(())
    }

    /// Only who is slow misses messages, and only where its room lets them go.
    fn check_missed(&self, client: &Client, room: usize, stay: &Stay) -> Result<(), Violation> {
        let (id, overflow) = (client.id, self.rooms[room].options.overflow);
        let said = || format!("client {id} was told that it misses {} of {room}", stay.missed);
        hold(Law::Alone, stay.missed == 0 || client.ever_slow, said)?;
        let may_drop = match overflow {
            Overflow::Disconnect => false,
            Overflow::DropOldest | Overflow::DropNewest | Overflow::Latest => true,
        };
        hold(Law::Loss, stay.missed == 0 || may_drop, said)?;
        hold(Law::Loss, stay.conflated == 0 || overflow == Overflow::Latest, said)
    }

    fn check_stay(
        &self,
        id: u32,
        room: usize,
        stay: &Stay,
        order: &Numbered,
    ) -> Result<(), Violation> {
        let silent = &stay.silent;
        hold(Law::Loss, silent.is_empty(), || {
            format!("client {id} in room {room} waits for the acks of {silent:?}")
        })?;
        hold(Law::Close, stay.wants == stay.is_in, || {
            format!("client {id} in room {room} is not where it wants to be")
        })?;
        if !stay.is_in {
            return Ok(());
        }
        let end = order.len() as u64;
        hold(Law::Loss, stay.at == Some(end), || {
            format!("client {id} in room {room} is at {:?} of {end}", stay.at)
        })?;
        let (users, connections) = self.present_in(room);
        let said = || {
            let (believes, count) = (&stay.believes, stay.count);
            format!(
                "client {id} in room {room} believes in {believes:?}, {count:?}; there are \
                 {users:?} with {connections} connections"
            )
        };
        let as_told = stay.believes.as_ref().is_none_or(|believes| *believes == users);
        let counted = |count| stay.count.is_none_or(|told| told == count);
        let options = self.rooms[room].options.presence;
        // A room that has grown that far keeps no list, until it is empty.
        let may_count = options.diff_users_max < PRESENT_MAX;
        match options.mode {
            PresenceMode::Off => {
                let nobody = stay.believes.as_ref().is_none_or(BTreeSet::is_empty);
                hold(Law::Presence, nobody && stay.count.is_none(), said)
            }
            PresenceMode::Count => {
                let is_told = stay.count.is_some() || stay.missed > 0;
                hold(Law::Presence, is_told && counted(connections), said)
            }
            PresenceMode::Diff | PresenceMode::Full if may_count => {
                hold(Law::Presence, counted(connections) || counted(users.len() as u64), said)
            }
            PresenceMode::Diff | PresenceMode::Full => {
                hold(Law::Presence, as_told && counted(users.len() as u64), said)
            }
        }
    }

    /// What was published again under a key of the connection before: what first, and what then.
    pub(crate) fn contested_in(&self, room: usize) -> Vec<(Sig, Sig)> {
        self.natives().flat_map(|native| native.stays[room].contested.iter().copied()).collect()
    }

    /// Of two messages under one key, one is published.
    pub(crate) fn check_contested(&self, room: usize, order: &Numbered) -> Result<(), Violation> {
        let present = self.clients.iter().map(|client| (client.is_present(), &client.native));
        for (is_present, native) in present {
            let stay = native.as_ref().map(|native| &native.stays[room]);
            for (first, then) in stay.into_iter().flat_map(|stay| &stay.contested) {
                let counts = order.iter().filter(|(_, sig)| sig == first || sig == then).count();
                hold(Law::Join, counts == 1 || counts == 0 && !is_present, || {
                    format!("{first:?} and {then:?} have one key, room {room} has {counts} of them")
                })?;
            }
        }
        Ok(())
    }

    /// Who is in a room, and with how many connections.
    fn present_in(&self, room: usize) -> (BTreeSet<String>, u64) {
        let here = self.clients.iter().filter(|client| client.is_present());
        let natives = here.filter_map(|client| client.native.as_ref());
        let inside = natives.filter(|native| native.stays[room].is_in);
        let users: Vec<String> = inside.filter_map(|native| native.known_as.clone()).collect();
        let connections = users.len() as u64;
        (users.into_iter().collect(), connections)
    }

    /// Whether a room surely kept what a join asked for, by the most cautious reckoning.
    fn is_kept(&self, room: usize, claim: &Claim, order: &Numbered) -> bool {
        let Claim { after, upto, at_ms, .. } = *claim;
        let options = &self.rooms[room].options.history;
        if after == upto {
            return true;
        }
        if upto - after > u64::from(options.messages_max)
            || at_ms - self.began_ms >= options.age_ms
            || self.scarce_history
        {
            return false;
        }
        let sizes = &self.clients[self.rooms[room].witness].sizes;
        let missed = (after..upto).filter_map(|seq| usize::try_from(seq).ok());
        // With twice its payload and what stands beside it, to be on the safe side.
        let bytes = missed.filter_map(|at| sizes.get(at)).map(|size| 2 * size + 600);
        let all: usize = bytes.clone().sum();
        debug_assert!(order.len() <= sizes.len());
        all <= options.bytes_max / 4 && bytes.max().unwrap_or(0) <= options.bytes_max / 8
    }
}

/// Whatever it was told, live, in a replay or by an ack, is what stands in the room's order.
fn check_order(
    id: u32,
    stay: &Stay,
    order: &Numbered,
    contested: &[(Sig, Sig)],
) -> Result<(), Violation> {
    let name = &stay.name;
    let there = |seq: u64| {
        let at = usize::try_from(seq).unwrap_or(0).wrapping_sub(1);
        order.get(at).map(|(_, sig)| *sig)
    };
    for (seq, sig) in &stay.seen {
        hold(Law::Order, there(*seq) == Some(*sig), || {
            format!("client {id} saw {sig:?} as {seq} of {name}, where {:?} is", there(*seq))
        })?;
    }
    for (seq, sig) in &stay.acks {
        let is_it = |there| {
            let pairs = [(there, *sig), (*sig, there)];
            there == *sig || pairs.iter().any(|pair| contested.contains(pair))
        };
        hold(Law::Order, there(*seq).is_some_and(is_it), || {
            format!("client {id} was told that {sig:?} is {seq} of {name}, not {:?}", there(*seq))
        })?;
    }
    Ok(())
}
