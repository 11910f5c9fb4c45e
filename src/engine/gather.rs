//! Questions that span loops: ask every one, answer within a second or name those that did not.
//!
//! A question goes to this loop too, by the same way, so that `/healthz` proves the way. Invariant:
//! a question is answered once, complete or at its deadline.

use super::batch::{Answer, Question, Topic};
use super::shard::Shard;
use crate::api;
use crate::broker::{ConnKey, LoopId, Now};
use crate::limits::{GATHER_TIMEOUT_MS, GATHERS_MAX};
use crate::observe::{self, Counters};

/// Who wants to know what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) key: ConnKey,
    pub(crate) what: Topic,
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
    /// When the oldest question is answered with what there is.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.open.first().map(|gather| gather.deadline_ms)
    }
}

impl Shard {
    /// Asks every loop; false when too many questions are under way.
    pub(super) fn ask_all(&mut self, asker: Asker, now: Now) -> bool {
        if self.gathers.open.len() >= GATHERS_MAX {
            return false;
        }
        let id = self.gathers.next_id;
        self.gathers.next_id = id.wrapping_add(1);
        self.gathers.open.push(Gather {
            id,
            asker,
            answers: vec![None; usize::from(self.loops)],
            deadline_ms: now.mono_ms + GATHER_TIMEOUT_MS,
        });
        for batch in &mut self.outgoing {
            batch.questions.push(Question::Ask { id, what: asker.what });
        }
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
        let response = match gather.asker.what {
            // Sums that lack a loop would go backwards.
            Topic::Health | Topic::Metrics if !missing.is_empty() => api::unhealthy(&missing),
            Topic::Health => api::healthy(usize::from(self.loops)),
            Topic::Metrics => {
                let counted = gather.answers.iter().flatten().filter_map(|answer| match answer {
                    Answer::Counted(counters) => Some(counters.as_ref().clone()),
                    Answer::Alive => None,
                });
                let counters: Vec<Counters> = counted.collect();
                let facts = observe::ProcessFacts {
                    version: env!("CARGO_PKG_VERSION"),
                    uptime_ms: now.mono_ms,
                    connections_max: self.settings.connections_max as u64,
                };
                api::metrics(observe::render(&counters, &facts))
            }
        };
        self.answer(gather.asker.key, &response, now);
    }
}
