//! Connections that show tokens: what they showed and asked for, and what they read.
//!
//! Not here: what must hold of it (`bearer_laws`), what they do when (`bearer_ops`). Invariant: a
//! loop answers what a connection asks it in order, so what was read of tokens so far says what was
//! granted whenever anything else was answered.

use super::client::Client;
use super::guard::{ROOMS, Token};
use super::{Law, Violation, hold};
use fanfare::broker::Now;
use std::collections::{HashMap, VecDeque};

/// How it comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// A native connection.
    Native,
    /// A raw one.
    Raw { room: usize },
    /// Requests, each with a token or a key of its own.
    Http,
}

/// What is known of whether a token was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Unknown,
    Taken,
    Refused,
}

/// A token that was shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shown {
    pub(crate) token: Token,
    pub(crate) verdict: Verdict,
    pub(crate) at: Now,
    /// It had been revoked before.
    pub(crate) was_revoked: bool,
    /// Since when its connection's loop has seen that it has ended.
    pub(crate) seen_past: Option<u64>,
    /// What had been said when its connection was surely closed for that.
    pub(crate) over: Option<usize>,
}

/// A request that waits for its answer. `after`: the tokens shown before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    Show { token: usize },
    Say { said: usize, room: usize, after: usize },
    Join { room: usize, after: usize },
    Leave { room: usize },
    Revoke { nth: usize },
    Nothing,
}

/// What it read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    Upgraded,
    Response(u16, String),
    Text(String),
}

#[derive(Debug)]
pub(crate) struct Bearer {
    pub(crate) way: Way,
    pub(crate) user: String,
    /// The request that asks for the WebSocket shows a token.
    pub(crate) shows_early: bool,
    pub(crate) tokens: Vec<Shown>,
    pub(crate) requests: u64,
    pub(crate) waiting: HashMap<u64, Asked>,
    /// Of a connection that makes requests: in their order.
    pub(crate) in_line: VecDeque<Asked>,
    /// Where it is, as far as it was told.
    pub(crate) is_in: [bool; ROOMS],
    pub(crate) news: Vec<Heard>,
    /// What it got of what others said, and the token by which it was in the room.
    pub(crate) heard: Vec<(usize, usize)>,
    pub(crate) refused: bool,
    /// It published over a raw connection what it may not: that ends it.
    pub(crate) dared: bool,
    pub(crate) met: Meetings,
}

/// How often something worth meeting was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Meetings {
    pub(crate) taken: u64,
    pub(crate) refused: u64,
    pub(crate) forbidden: u64,
    pub(crate) refreshed: u64,
    pub(crate) others_refused: u64,
    pub(crate) put_out: u64,
    pub(crate) heard: u64,
    pub(crate) revoked: u64,
    pub(crate) ended: u64,
    pub(crate) one_too_many: u64,
}

impl Meetings {
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

    const fn all_mut(&mut self) -> [&mut u64; 10] {
        [
            &mut self.taken,
            &mut self.refused,
            &mut self.forbidden,
            &mut self.refreshed,
            &mut self.others_refused,
            &mut self.put_out,
            &mut self.heard,
            &mut self.revoked,
            &mut self.ended,
            &mut self.one_too_many,
        ]
    }
}

impl Bearer {
    pub(crate) fn new(way: Way, user: String) -> Self {
        Self {
            way,
            user,
            shows_early: false,
            tokens: Vec::new(),
            requests: 0,
            waiting: HashMap::new(),
            in_line: VecDeque::new(),
            is_in: [false; ROOMS],
            news: Vec::new(),
            heard: Vec::new(),
            refused: false,
            dared: false,
            met: Meetings::default(),
        }
    }

    /// Notes a token that it shows; which of its tokens that is.
    pub(crate) fn show(&mut self, token: Token, was_revoked: bool, at: Now) -> usize {
        let (verdict, seen_past, over) = (Verdict::Unknown, None, None);
        self.tokens.push(Shown { token, verdict, at, was_revoked, seen_past, over });
        self.tokens.len() - 1
    }

    /// The token that counted when the first `after` had been looked at.
    pub(crate) fn good(&self, after: usize) -> Option<usize> {
        self.tokens[..after].iter().rposition(|shown| shown.verdict == Verdict::Taken)
    }

    /// The token that counts, as far as was read; none while another may have taken its place.
    pub(crate) fn settled(&self) -> Option<usize> {
        let is_open = self.tokens.iter().any(|shown| shown.verdict == Verdict::Unknown);
        self.good(self.tokens.len()).filter(|_| !is_open)
    }

    /// The tokens that may have counted when the first `after` had been looked at.
    pub(crate) fn possible(&self, after: usize) -> impl Iterator<Item = &Shown> {
        let first = self.good(after).unwrap_or(0);
        self.tokens[first..after].iter().filter(|shown| shown.verdict != Verdict::Refused)
    }

    pub(crate) fn ask(&mut self, asked: Asked) -> u64 {
        self.requests += 1;
        self.waiting.insert(self.requests, asked);
        self.requests
    }
}

impl Client {
    /// Takes the next response off what was read, if it is whole.
    pub(crate) fn take_response(&mut self) -> Result<Option<(u16, String)>, Violation> {
        let Some(end) = self.seen.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&self.seen[..end]).into_owned();
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let Some((status, length)) = status.zip(length) else {
            return hold(Law::Wire, false, || format!("a response without a length: {head}"))
                .map(|()| None);
        };
        let length: usize = length;
        let Some(body) = self.seen.get(end + 4..end + 4 + length) else { return Ok(None) };
        let body = String::from_utf8_lossy(body).into_owned();
        self.seen.drain(..end + 4 + length);
        Ok(Some((status, body)))
    }

    /// Takes in what a bearer reads before or instead of frames; whether frames may follow.
    pub(crate) fn receive_responses(&mut self) -> Result<bool, Violation> {
        if self.upgraded {
            return Ok(true);
        }
        let head = b"HTTP/1.1 101";
        if self.seen.starts_with(head) || head.starts_with(&self.seen) {
            return Ok(true);
        }
        while let Some((status, body)) = self.take_response()? {
            if let Some(bearer) = &mut self.bearer {
                bearer.news.push(Heard::Response(status, body));
            }
        }
        Ok(false)
    }
}
