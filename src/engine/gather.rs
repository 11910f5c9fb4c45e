//! Questions that span loops: ask every one, answer within a second or name those that did not.
//!
//! A question goes to this loop too, by the same way, so that `/healthz` proves the way. Invariant:
//! a question is answered once, complete or at its deadline.

use super::asking::plain_error;
use super::batch::{Answer, Question, Topic};
use super::shard::Shard;
use crate::api;
use crate::broker::{ConnKey, ErrorCode, LoopId, Now, RoomName};
use crate::http::Response;
use crate::limits::{GATHER_TIMEOUT_MS, GATHERS_MAX};
use crate::observe::{self, Counters};
use crate::protocol::json::{self, RequestId};

/// Questions under way beyond which clients are refused: who asks for health or metrics is not to
/// find all places taken.
const NATIVE_GATHERS_MAX: usize = GATHERS_MAX / 4 * 3;

/// Who wants to know what.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) key: ConnKey,
    pub(crate) by: By,
    pub(crate) what: Topic,
}

/// How the asker is answered.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// As an HTTP request.
    Request,
    /// As a native connection, with the request's id; or not at all.
    Native { id: Option<Box<str>>, is_answered: bool },
}

/// A question under way.
#[derive(Debug)]
struct Gather {
    id: u32,
    asker: Asker,
    /// One place per loop.
    answers: Vec<Option<Answer>>,
    deadline_ms: u64,
}

/// The questions that one loop has asked, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Gathers {
    open: Vec<Gather>,
    next_id: u32,
}

impl Gathers {
    /// Questions without all their answers.
    pub(crate) const fn len(&self) -> usize {
        self.open.len()
    }

    /// When the oldest question is answered with what there is.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.open.first().map(|gather| gather.deadline_ms)
    }
}

impl Shard {
    /// Asks every loop; false when too many questions are under way.
    pub(super) fn ask_all(&mut self, asker: Asker, now: Now) -> bool {
        let most = match asker.by {
            By::Request => GATHERS_MAX,
            By::Native { .. } => NATIVE_GATHERS_MAX,
        };
        if self.gathers.open.len() >= most {
            return false;
        }
        let id = self.gathers.next_id;
        self.gathers.next_id = id.wrapping_add(1);
        for batch in &mut self.outgoing {
            batch.push_question(Question::Ask { id, what: asker.what.clone() });
        }
        self.gathers.open.push(Gather {
            id,
            asker,
            answers: vec![None; usize::from(self.loops)],
            deadline_ms: now.mono_ms + GATHER_TIMEOUT_MS,
        });
        true
    }

    /// Takes in one loop's answer; the last one completes the question. A late one misses.
    pub(super) fn handle_answer(&mut self, from: LoopId, id: u32, answer: Answer, now: Now) {
        let open = &mut self.gathers.open;
        let Some(at) = open.iter().position(|gather| gather.id == id) else { return };
        let Some(gather) = open.get_mut(at) else { return };
        if let Some(place) = gather.answers.get_mut(from.index()) {
            *place = Some(answer);
        }
        if gather.answers.iter().all(Option::is_some) {
            let gather = open.remove(at);
            self.conclude(&gather, now);
        }
    }

    /// Answers the questions whose time is up with what there is.
    pub(super) fn expire_gathers(&mut self, now: Now) {
        while self.gathers.next_deadline_ms().is_some_and(|due| due <= now.mono_ms) {
            let gather = self.gathers.open.remove(0);
            self.conclude(&gather, now);
        }
    }

    fn conclude(&mut self, gather: &Gather, now: Now) {
        let missing: Vec<LoopId> = (0..self.loops)
            .map(LoopId)
            .filter(|id| gather.answers.get(id.index()).is_none_or(Option::is_none))
            .collect();
        let Asker { key, by, what } = &gather.asker;
        match by {
            By::Request => {
                let response = self.response_of(what, &gather.answers, &missing, now);
                self.answer(*key, &response, now);
            }
            By::Native { id, is_answered: true } => {
                if self.note_answered(*key) {
                    let id = id.as_deref().map(RequestId::of_json);
                    self.answer_native(*key, id, (what, &gather.answers, &missing));
                }
            }
            By::Native { is_answered: false, .. } => {}
        }
    }

    fn response_of(
        &self,
        what: &Topic,
        answers: &[Option<Answer>],
        missing: &[LoopId],
        now: Now,
    ) -> Response {
        match what {
            // Sums that lack a loop would go backwards.
            Topic::Health | Topic::Metrics if !missing.is_empty() => api::unhealthy(missing),
            Topic::Broadcast { .. } | Topic::Revoke(_) if !missing.is_empty() => {
                api::unanswered(missing)
            }
            Topic::Revoke(_) if answers.iter().flatten().any(is_full) => api::revocations_full(),
            Topic::Revoke(_) => api::revoked(told(answers)),
            Topic::Health => api::healthy(usize::from(self.loops)),
            Topic::Metrics => {
                let facts = observe::ProcessFacts {
                    version: env!("CARGO_PKG_VERSION"),
                    uptime_ms: now.mono_ms,
                    connections_max: self.settings.connections_max as u64,
                    memory_bytes: self.memory.used_bytes,
                    memory_max_bytes: self.memory.max_bytes,
                };
                api::metrics(observe::render(&counted(answers), &facts))
            }
            Topic::Broadcast { .. } => api::told(told(answers)),
            Topic::Rooms { .. } | Topic::Users { .. } => {
                debug_assert!(false, "no request asks for that");
                api::unanswered(missing)
            }
        }
    }

    fn answer_native(
        &mut self,
        key: ConnKey,
        id: Option<RequestId<'_>>,
        (what, answers, missing): (&Topic, &[Option<Answer>], &[LoopId]),
    ) {
        if !missing.is_empty() {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let missing = missing.join(", ");
            let message = format!("some loops did not answer in time: {missing}; try again");
            return self.answer_error(key, &plain_error(ErrorCode::Unavailable, &message, id));
        }
        match what {
            Topic::Rooms { limit, .. } => {
                let (rooms, more) = page(rooms(answers), *limit);
                let rooms = rooms.iter().map(|(name, members)| (name.as_str(), *members));
                self.answer_now(key, |out| json::push_rooms_list(out, id, rooms, more));
            }
            Topic::Users { limit, .. } => {
                let (users, more) = page(users(answers), *limit);
                let entries = users.iter().map(|(_, entry)| entry);
                self.answer_now(key, |out| json::push_online_users(out, id, entries, more));
            }
            Topic::Broadcast { .. } => {
                self.answer_now(key, |out| json::push_ack_receivers(out, id, told(answers)));
            }
            Topic::Health | Topic::Metrics | Topic::Revoke(_) => {
                debug_assert!(false, "no client asks for that");
            }
        }
    }
}

/// The first `limit` of all loops' pages, and whether there are more.
fn page<K: Ord, V>(mut entries: Vec<(K, V)>, limit: usize) -> (Vec<(K, V)>, bool) {
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let more = entries.len() > limit;
    entries.truncate(limit);
    (entries, more)
}

fn rooms(answers: &[Option<Answer>]) -> Vec<(RoomName, u32)> {
    let pages = answers.iter().flatten().filter_map(|answer| match answer {
        Answer::Rooms(rooms) => Some(rooms),
        Answer::Alive | Answer::Counted(_) | Answer::Users(_) | Answer::Told(_) | Answer::Full => {
            None
        }
    });
    pages.flatten().cloned().collect()
}

fn users(answers: &[Option<Answer>]) -> Vec<(&str, &[u8])> {
    let pages = answers.iter().flatten().filter_map(|answer| match answer {
        Answer::Users(users) => Some(users),
        Answer::Alive | Answer::Counted(_) | Answer::Rooms(_) | Answer::Told(_) | Answer::Full => {
            None
        }
    });
    pages.flatten().map(|(id, entry)| (&**id, &**entry)).collect()
}

fn counted(answers: &[Option<Answer>]) -> Vec<Counters> {
    let counted = answers.iter().flatten().filter_map(|answer| match answer {
        Answer::Counted(counters) => Some(counters.as_ref().clone()),
        Answer::Alive | Answer::Rooms(_) | Answer::Users(_) | Answer::Told(_) | Answer::Full => {
            None
        }
    });
    counted.collect()
}

fn is_full(answer: &Answer) -> bool {
    matches!(answer, Answer::Full)
}

/// How many all loops told.
fn told(answers: &[Option<Answer>]) -> u32 {
    let told = answers.iter().flatten().filter_map(|answer| match answer {
        Answer::Told(told) => Some(*told),
        Answer::Alive | Answer::Counted(_) | Answer::Rooms(_) | Answer::Users(_) | Answer::Full => {
            None
        }
    });
    told.fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_all_loops_make_one() {
        let entries = || vec![("d", 1), ("a", 2), ("c", 3), ("b", 4)];
        assert_eq!(page(entries(), 2), (vec![("a", 2), ("b", 4)], true));
        assert_eq!(page(entries(), 4), (vec![("a", 2), ("b", 4), ("c", 3), ("d", 1)], false));
        assert_eq!(page(Vec::<(u8, u8)>::new(), 1), (Vec::new(), false));
    }
}
