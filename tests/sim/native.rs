//! What a native client knows: of each room it asked to be in, and of each request that it made.
//!
//! Not here: what it asks for (`native_ops`), what must hold at rest (`native_laws`). Invariant:
//! what a client can find out by itself, from what it is told, is checked as it is told: numbers
//! without holes and repeats, answers before what follows from them, silence after it left.

use super::client::Sig;
use super::{Law, Violation, hold};
use fanfare::broker::{Gap, GapReason};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

/// How a native client is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speech {
    Json,
    Batch,
    Binary,
}

/// A place in a room's order that a join named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Since {
    Nothing,
    Seq(u64),
    /// Of a life that the room never had.
    OtherEpoch,
    /// Where the room has not come.
    Ahead(u64),
}

/// The key under which a message is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    None,
    New,
    /// That of an earlier message of the connection.
    Repeat(Sig),
    /// That of a message of its user's connection before, which may or may not have come through.
    Before(Sig),
}

impl Key {
    /// The message that the key is called by.
    pub(crate) const fn under(self, sig: Sig) -> Option<Sig> {
        match self {
            Self::None => None,
            Self::New => Some(sig),
            Self::Repeat(first) | Self::Before(first) => Some(first),
        }
    }
}

/// A request that waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    Say { room: usize, sig: Sig, echo: bool },
    Join { room: usize, since: Since, echo: Option<bool>, history: u64, presence: bool },
    Leave { room: usize },
    Page { room: usize },
    Other,
}

/// What a join was answered, to be held against the room's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    pub(crate) after: u64,
    pub(crate) upto: u64,
    pub(crate) recovered: bool,
    pub(crate) at_ms: u64,
}

/// All that it knows of a room.
#[derive(Debug, Default)]
pub(crate) struct Stay {
    pub(crate) name: String,
    /// It asked to be in, and not to leave since.
    pub(crate) wants: bool,
    /// As it last asked.
    pub(crate) asks_echo: bool,
    /// Joins and leaves without an answer so far.
    pub(crate) moves: u32,
    pub(crate) is_in: bool,
    pub(crate) handle: Option<u64>,
    pub(crate) epoch: Option<String>,
    echo: bool,
    /// The last message that is accounted for; none before the first join.
    pub(crate) at: Option<u64>,
    /// Own messages that it does not get, by their acks.
    acked: BTreeSet<u64>,
    /// Of those, the ones under a key: the message may be its user's next connection's, and come.
    doubtful: BTreeSet<u64>,
    /// Messages whose acks come without an id.
    pub(crate) silent: VecDeque<Sig>,
    /// Messages whose acks must come before themselves.
    pub(crate) unacked: HashSet<Sig>,
    pub(crate) seen: Vec<(u64, Sig)>,
    pub(crate) acks: Vec<(u64, Sig)>,
    /// Repeats aside.
    pub(crate) sent: Vec<Sig>,
    /// Keys under which it published: what first, and when.
    pub(crate) keys: Vec<(Sig, u64)>,
    /// What is said to be who, for the repeats.
    pub(crate) first_of: HashMap<Sig, Sig>,
    /// Messages under a key of its user's connection before, each with what was first sent under
    /// it: one of the two counts.
    pub(crate) contested: Vec<(Sig, Sig)>,
    /// Who is there, as far as it was told; none if it did not ask.
    pub(crate) believes: Option<BTreeSet<String>>,
    /// The last count that it was told while it was in.
    pub(crate) count: Option<u64>,
    pub(crate) claims: Vec<Claim>,
    /// Gaps that it was told of and has not come to the end of.
    told: Vec<Gap>,
    /// Messages that it was told it would not get, in all.
    pub(crate) missed: u64,
    /// Gaps that were for a newer message.
    pub(crate) conflated: u64,
}

/// One native client.
#[derive(Debug)]
pub(crate) struct Native {
    pub(crate) id: u32,
    pub(crate) speech: Speech,
    /// Its user, if a trusted proxy names one.
    pub(crate) user: Option<String>,
    /// Its user's id, as it was told.
    pub(crate) known_as: Option<String>,
    pub(crate) stays: Vec<Stay>,
    pub(crate) waiting: HashMap<u64, Asked>,
    pub(crate) requests: u64,
    pub(crate) now_ms: u64,
    /// What it met, for the test that the seeds meet everything.
    pub(crate) met: Met,
}

/// How often something worth meeting was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Met {
    pub(crate) messages: u64,
    pub(crate) batches: u64,
    pub(crate) records: u64,
    pub(crate) replayed: u64,
    pub(crate) own: u64,
    pub(crate) recovered: u64,
    pub(crate) evicted: u64,
    pub(crate) repeats: u64,
    pub(crate) contests: u64,
    pub(crate) typing: u64,
    pub(crate) arrivals: u64,
    pub(crate) departures: u64,
    pub(crate) diffs: u64,
    pub(crate) gaps: u64,
    pub(crate) conflated: u64,
}

impl Met {
    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = *other;
        for (sum, more) in self.all_mut().into_iter().zip(other.all_mut()) {
            *sum += *more;
        }
    }

    pub(crate) fn is_all(&self) -> bool {
        let mut met = *self;
        met.all_mut().into_iter().all(|times| *times > 0)
    }

    const fn all_mut(&mut self) -> [&mut u64; 15] {
        [
            &mut self.messages,
            &mut self.batches,
            &mut self.records,
            &mut self.replayed,
            &mut self.own,
            &mut self.recovered,
            &mut self.evicted,
            &mut self.repeats,
            &mut self.contests,
            &mut self.typing,
            &mut self.arrivals,
            &mut self.departures,
            &mut self.diffs,
            &mut self.gaps,
            &mut self.conflated,
        ]
    }
}

/// The reply to a join, read.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) request: u64,
    pub(crate) handle: u64,
    pub(crate) epoch: String,
    pub(crate) seq: u64,
    pub(crate) recovered: bool,
    pub(crate) reason: Option<String>,
    pub(crate) messages: Vec<(u64, Sig)>,
    pub(crate) own: Vec<u64>,
    pub(crate) presence: Option<BTreeSet<String>>,
}

impl Native {
    pub(crate) fn new(id: usize, speech: Speech, user: Option<String>, rooms: &[String]) -> Self {
        let stay = |name: &String| Stay { name: name.clone(), ..Stay::default() };
        Self {
            id: u32::try_from(id).expect("few clients"),
            speech,
            user,
            known_as: None,
            stays: rooms.iter().map(stay).collect(),
            waiting: HashMap::new(),
            requests: 0,
            now_ms: 0,
            met: Met::default(),
        }
    }

    /// Notes a request and gives it a number.
    pub(crate) fn ask(&mut self, asked: Asked) -> u64 {
        self.requests += 1;
        self.waiting.insert(self.requests, asked);
        self.requests
    }

    /// Notes a message that it publishes; gives the request's number if it is to have one.
    pub(crate) fn say(
        &mut self,
        room: usize,
        sig: Sig,
        key: Key,
        has_id: bool,
        now_ms: u64,
    ) -> Option<u64> {
        let stay = &mut self.stays[room];
        let echo = stay.asks_echo;
        match key {
            Key::None => stay.sent.push(sig),
            Key::New => {
                stay.sent.push(sig);
                stay.keys.push((sig, now_ms));
            }
            Key::Repeat(first) => {
                self.met.repeats += 1;
                stay.first_of.insert(sig, first);
            }
            Key::Before(first) => {
                self.met.contests += 1;
                stay.contested.push((first, sig));
            }
        }
        if has_id && echo && matches!(key, Key::None | Key::New) {
            stay.unacked.insert(sig);
        }
        if !has_id && !echo {
            stay.silent.push_back(sig);
        }
        has_id.then(|| self.ask(Asked::Say { room, sig, echo }))
    }

    /// The room that something is about, of which nothing may come while it is not in.
    pub(crate) fn room_of(&mut self, name: &str) -> Result<&mut Stay, Violation> {
        let id = self.id;
        let stay = self.stays.iter_mut().find(|stay| stay.name == name && stay.is_in);
        stay.ok_or_else(|| Violation {
            law: Law::Close,
            what: format!("client {id} was told something of {name}, where it is not"),
        })
    }

    pub(crate) fn room_by_handle(&self, handle: u64) -> Result<String, Violation> {
        let found = self.stays.iter().find(|stay| stay.handle == Some(handle));
        let unknown = || Violation::garbled(self.id, "a record of a room that it knows nothing of");
        found.map(|stay| stay.name.clone()).ok_or_else(unknown)
    }

    /// A live message.
    pub(crate) fn take_message(&mut self, name: &str, seq: u64, sig: Sig) -> Result<(), Violation> {
        let id = self.id;
        self.met.messages += 1;
        let stay = self.room_of(name)?;
        stay.seen.push((seq, sig));
        let said = |what: &str| format!("client {id} in {name}: {sig:?}, seq {seq}, {what}");
        hold(Law::Order, !stay.unacked.contains(&sig), || said("came before its ack"))?;
        hold(Law::Join, stay.echo || !sig.is_by(id), || said("is its own"))?;
        let at = stay.at.unwrap_or(0);
        if stay.doubtful.remove(&seq) && seq <= at {
            return Ok(());
        }
        hold(Law::Join, seq > at, || said(&format!("came after {at}")))?;
        stay.miss_until(seq).map_err(|what| Violation { law: Law::Loss, what: said(&what) })?;
        stay.at = Some(seq);
        stay.close_gaps().map_err(|what| Violation { law: Law::Loss, what: said(&what) })?;
        stay.advance();
        Ok(())
    }

    /// The word that it will not get some messages.
    pub(crate) fn take_gap(&mut self, name: &str, epoch: &str, gap: Gap) -> Result<(), Violation> {
        let id = self.id;
        self.met.gaps += 1;
        let is_conflated = u64::from(gap.reason == GapReason::Conflated);
        self.met.conflated += is_conflated;
        let stay = self.room_of(name)?;
        let at = stay.at.unwrap_or(0);
        let said = || format!("client {id} in {name} at {at} was told of {gap:?}");
        hold(Law::Order, stay.epoch.as_deref() == Some(epoch), said)?;
        let fits = gap.from <= gap.to && (1..=gap.to + 1 - gap.from).contains(&gap.count);
        hold(Law::Wire, fits, said)?;
        // What it was said to be its own and another one's instead may be missing too.
        let late = stay.doubtful.range(gap.from..).take_while(|seq| **seq <= gap.to.min(at));
        let late: Vec<u64> = late.copied().collect();
        hold(Law::Order, gap.from > at || late.contains(&gap.from), said)?;
        (stay.missed, stay.conflated) = (stay.missed + gap.count, stay.conflated + is_conflated);
        // What it was to be told of who is there may be among what was dropped.
        (stay.believes, stay.count) = (None, None);
        let open = Gap { count: gap.count.saturating_sub(late.len() as u64), ..gap };
        stay.doubtful.retain(|seq| !late.contains(seq));
        stay.told.push(open);
        stay.told.sort_by_key(|gap| gap.to);
        stay.advance();
        Ok(())
    }

    /// An ack; `request` as far as the client gave one.
    pub(crate) fn take_ack(
        &mut self,
        name: &str,
        request: Option<u64>,
        (seq, epoch): (u64, &str),
    ) -> Result<(), Violation> {
        let id = self.id;
        let waited = request.map(|request| self.waiting.remove(&request));
        let stay = self.stays.iter_mut().find(|stay| stay.name == name);
        let garbled = |what: &str| Violation::garbled(id, what);
        let stay = stay.ok_or_else(|| garbled("an ack of no room"))?;
        let (sig, echo) = match waited {
            Some(Some(Asked::Say { sig, echo, .. })) => (sig, echo),
            Some(_) => return Err(garbled("an ack of no message")),
            None => (stay.silent.pop_front().ok_or_else(|| garbled("an ack too many"))?, false),
        };
        stay.unacked.remove(&sig);
        let sig = stay.first_of.get(&sig).copied().unwrap_or(sig);
        hold(Law::Order, stay.epoch.as_deref() == Some(epoch), || "an ack's epoch".to_owned())?;
        stay.acks.push((seq, sig));
        if !echo && stay.is_in {
            if stay.keys.iter().any(|(keyed, _)| *keyed == sig) {
                stay.doubtful.insert(seq);
            }
            stay.acked.insert(seq);
            stay.advance();
        }
        Ok(())
    }

    /// The answer to a join.
    pub(crate) fn take_joined(&mut self, name: &str, joined: Joined) -> Result<(), Violation> {
        let (id, now_ms) = (self.id, self.now_ms);
        let asked = self.waiting.remove(&joined.request);
        let Some(Asked::Join { room, since, echo, history, presence }) = asked else {
            return Err(Violation::garbled(id, "a join's reply without a join"));
        };
        let stay = &mut self.stays[room];
        stay.moves -= 1;
        let is_new = !stay.is_in;
        let said =
            || format!("client {id} in {name} at {:?}, since {since:?}: {joined:?}", stay.at);
        hold(Law::Wire, stay.name == name, said)?;
        let same = stay.epoch.as_deref().is_none_or(|epoch| epoch == joined.epoch);
        hold(Law::Order, same, said)?;
        let reason = joined.reason.as_deref();
        let fits = match since {
            Since::Nothing => !joined.recovered && reason.is_none(),
            Since::OtherEpoch => !joined.recovered && reason == Some("epoch"),
            Since::Ahead(seq) if seq > joined.seq => !joined.recovered && reason == Some("ahead"),
            Since::Seq(seq) | Since::Ahead(seq) => {
                let nothing_missed = seq == joined.seq;
                let said = if joined.recovered { None } else { Some("evicted") };
                reason == said && (joined.recovered || !nothing_missed)
            }
        };
        hold(Law::Join, fits, said)?;
        let mut all: Vec<u64> = joined.messages.iter().map(|(seq, _)| *seq).collect();
        all.extend(&joined.own);
        all.sort_unstable();
        let first = match since {
            Since::Seq(seq) | Since::Ahead(seq) if joined.recovered => seq + 1,
            Since::Nothing | Since::Seq(_) | Since::OtherEpoch | Since::Ahead(_) => {
                joined.seq + 1 - all.len() as u64
            }
        };
        let wanted = joined.recovered || all.len() as u64 <= history.max(1);
        let is_whole = all.iter().copied().eq(first..=joined.seq);
        hold(Law::Join, is_whole && wanted, said)?;
        let ordered = joined.messages.is_sorted_by_key(|(seq, _)| *seq);
        hold(Law::Order, ordered, said)?;
        hold(Law::Wire, joined.presence.is_some() == presence, said)?;
        if let Since::Seq(after) = since {
            let (upto, recovered) = (joined.seq, joined.recovered);
            stay.claims.push(Claim { after, upto, recovered, at_ms: now_ms });
            self.met.recovered += u64::from(joined.recovered);
            self.met.evicted += u64::from(!joined.recovered);
        }
        self.met.replayed += joined.messages.len() as u64;
        self.met.own += joined.own.len() as u64;
        stay.seen.extend(&joined.messages);
        stay.handle = Some(joined.handle);
        stay.epoch = Some(joined.epoch);
        if is_new {
            stay.is_in = true;
            stay.at = Some(joined.seq);
            stay.told.clear();
            stay.echo = echo.unwrap_or(true);
            stay.acked.clear();
            (stay.believes, stay.count) = (None, None);
        }
        if joined.presence.is_some() {
            stay.believes = joined.presence;
        }
        Ok(())
    }

    /// The answer to a leave.
    pub(crate) fn take_left(&mut self, name: &str, request: u64) -> Result<(), Violation> {
        let Some(Asked::Leave { room }) = self.waiting.remove(&request) else {
            return Err(Violation::garbled(self.id, "a leave's reply without a leave"));
        };
        let stay = &mut self.stays[room];
        let fits = stay.name == name && stay.is_in;
        hold(Law::Order, fits, || format!("client left {name}, where it is not"))?;
        stay.moves -= 1;
        stay.is_in = false;
        Ok(())
    }
}

impl Stay {
    /// What a client remembers when it comes back.
    pub(crate) fn remembered(&self) -> Self {
        let keys = self.keys.iter().rev().take(2).copied().collect();
        Self { wants: self.wants, epoch: self.epoch.clone(), at: self.at, keys, ..Self::default() }
    }

    /// Whatever is not accounted for before `seq` is its own, or it was told that it misses it: by
    /// the gap that ends first, where ranges span others.
    fn miss_until(&mut self, seq: u64) -> Result<(), String> {
        for missing in self.at.unwrap_or(0) + 1..seq {
            if self.acked.remove(&missing) {
                continue;
            }
            let covers = |gap: &&mut Gap| gap.count > 0 && (gap.from..=gap.to).contains(&missing);
            let Some(gap) = self.told.iter_mut().find(covers) else {
                return Err(format!("{missing} is missing after {:?}", self.at));
            };
            gap.count -= 1;
        }
        Ok(())
    }

    /// Gaps that it has come to the end of told of no more than it missed.
    fn close_gaps(&mut self) -> Result<(), String> {
        let at = self.at.unwrap_or(0);
        for gap in self.told.extract_if(.., |gap| gap.to <= at) {
            let mut left = gap.count;
            while left > 0
                && let Some(seq) = self.doubtful.range(gap.from..=gap.to).next().copied()
            {
                self.doubtful.remove(&seq);
                left -= 1;
            }
            if left > 0 {
                return Err(format!("{gap:?} told of {left} too many"));
            }
        }
        Ok(())
    }

    /// What is accounted for behind the last message: its own ones, and gaps of which nothing is
    /// left to come.
    fn advance(&mut self) {
        let Some(mut at) = self.at else { return };
        loop {
            while self.acked.remove(&(at + 1)) {
                at += 1;
            }
            self.at = Some(at);
            let mut left = 0;
            let mut ahead = self.told.iter().filter(|gap| gap.to > at);
            let whole = ahead.find_map(|gap| {
                left += gap.count;
                let own = self.acked.range(at + 1..=gap.to).count() as u64;
                (left == gap.to - at - own).then_some(gap.to)
            });
            let Some(to) = whole else { return };
            self.acked.retain(|seq| *seq > to);
            self.told.retain(|gap| gap.to > to);
            at = to;
        }
    }
}
