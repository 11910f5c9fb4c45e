//! What is counted, by name, so that a process can be told what to do.
//!
//! Not here: counting (`count`), what may come of it (the bench itself).

use crate::crowd::Crowd;
use crate::door::{self, Guarded, Place};
use crate::hall::Hall;
use crate::names::{self, Rooms};
use std::env;
use std::fmt;
use std::fs;
use std::hint::black_box;

pub(crate) const MEMBERS: usize = 1_000;
const PAYLOAD_BYTES: usize = 128;
const ROUNDS_FEW: u64 = 10;
const ROUNDS_MANY: u64 = 110;

/// Where a process finds names that were chosen to do harm, a line each.
pub(crate) const NAMES: &str = "FANFARE_NAMES";

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// So many messages come together and go out to everybody.
    Deliver(usize),
    /// The same among members who came with tokens and grants.
    DeliverGranted(usize),
    /// A member that speaks JSON publishes to a room of its own: bytes in, bytes out.
    PublishJson,
    /// The same of a member whose token has so many patterns.
    PublishGranted(usize),
    /// Somebody comes, joins a room and closes.
    Visit,
    /// The same with a token.
    VisitToken,
    /// A native connection joins a room of so many members and leaves it.
    Join(usize),
    /// A native connection whose token has so many patterns joins a room and leaves it.
    JoinGranted(usize),
    /// A native connection joins one of so many rooms, publishes in it and leaves it.
    Room(usize),
    /// So many members of a room, all but one, lose their connections in the same tick.
    Crash(usize),
    /// A secret that is wrong there is compared with the real one.
    Secret(Place),
    /// A key of a server that is wrong there is looked for among the real ones.
    ApiKey(Place),
    /// A server comes with it, and is refused.
    Knock(Place),
    /// So many rooms are made, whose names were chosen to do harm.
    Rooms(usize),
    /// So many users come, whose ids were.
    Users(usize),
}

impl Work {
    /// Reads what [`Self::name`] says.
    pub(crate) fn parse(raw: &str) -> Self {
        let (kind, number) = raw.split_once('-').unwrap_or((raw, "0"));
        let number: usize = number.parse().expect("a number");
        let place = || Place::ALL.into_iter().nth(number).expect("a place");
        match kind {
            "deliver" => Self::Deliver(number),
            "granted" => Self::DeliverGranted(number),
            "json" => Self::PublishJson,
            "publish" => Self::PublishGranted(number),
            "visit" => Self::Visit,
            "token" => Self::VisitToken,
            "join" => Self::Join(number),
            "admit" => Self::JoinGranted(number),
            "room" => Self::Room(number),
            "crash" => Self::Crash(number),
            "secret" => Self::Secret(place()),
            "key" => Self::ApiKey(place()),
            "knock" => Self::Knock(place()),
            "rooms" => Self::Rooms(number),
            kind => {
                assert_eq!(kind, "users", "nobody knows such work");
                Self::Users(number)
            }
        }
    }

    /// A word for another process.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Deliver(messages) => format!("deliver-{messages}"),
            Self::DeliverGranted(messages) => format!("granted-{messages}"),
            Self::PublishJson => "json".to_owned(),
            Self::PublishGranted(patterns) => format!("publish-{patterns}"),
            Self::Visit => "visit".to_owned(),
            Self::VisitToken => "token".to_owned(),
            Self::Join(members) => format!("join-{members}"),
            Self::JoinGranted(patterns) => format!("admit-{patterns}"),
            Self::Room(rooms) => format!("room-{rooms}"),
            Self::Crash(members) => format!("crash-{members}"),
            Self::Secret(place) => format!("secret-{}", place as usize),
            Self::ApiKey(place) => format!("key-{}", place as usize),
            Self::Knock(place) => format!("knock-{}", place as usize),
            Self::Rooms(names) => format!("rooms-{names}"),
            Self::Users(names) => format!("users-{names}"),
        }
    }

    /// Gets ready, and makes rounds.
    pub(crate) fn run(self, rounds: u64) {
        match self {
            Self::Deliver(messages) => {
                let mut hall = Hall::new(MEMBERS, PAYLOAD_BYTES);
                repeat(rounds, || hall.tick(messages));
            }
            Self::DeliverGranted(messages) => {
                let mut hall = Guarded::filled(MEMBERS, PAYLOAD_BYTES);
                repeat(rounds, || hall.tick(messages));
            }
            Self::PublishJson => {
                let mut hall = Hall::native(PAYLOAD_BYTES);
                repeat(rounds, || hall.tick(1));
            }
            Self::PublishGranted(patterns) => {
                let mut hall = Guarded::native(patterns, PAYLOAD_BYTES);
                repeat(rounds, || hall.tick(1));
            }
            Self::Visit => {
                let mut hall = Hall::new(1, PAYLOAD_BYTES);
                repeat(rounds, || hall.visit());
            }
            Self::VisitToken => {
                let mut hall = Guarded::empty();
                repeat(rounds, || hall.visit());
            }
            Self::Join(members) => {
                let mut crowd = Crowd::crowded(members, 1);
                repeat(rounds, || crowd.errand(false));
            }
            Self::JoinGranted(patterns) => {
                let mut hall = Guarded::native(patterns, 0);
                repeat(rounds, || hall.errand());
            }
            Self::Room(rooms) => {
                let mut crowd = Crowd::crowded(1, rooms);
                repeat(rounds, || crowd.errand(true));
            }
            Self::Crash(members) => {
                let mut crowd = Crowd::gathered(members);
                repeat(rounds, || crowd.crash());
            }
            Self::Secret(_) | Self::ApiKey(_) | Self::Knock(_) => self.compare(rounds),
            Self::Rooms(count) => {
                let (mut rooms, names) = (Rooms::new(count), read_names(count));
                repeat(rounds, || rooms.make(&names));
            }
            Self::Users(count) => {
                let names = read_names(count);
                repeat(rounds, || names::connect(&names));
            }
        }
    }

    /// Compares secrets.
    fn compare(self, rounds: u64) {
        match self {
            Self::Secret(place) => {
                let (secret, wrong) = (door::secret(), place.wrong());
                repeat(rounds, || usize::from(black_box(&secret).is(black_box(&wrong))));
            }
            Self::ApiKey(place) => {
                let (authority, wrong) = (door::authority(), place.wrong());
                let is = || black_box(&authority).is_api_key(black_box(&wrong));
                repeat(rounds, || usize::from(is()));
            }
            Self::Knock(place) => {
                let mut hall = Guarded::empty();
                hall.knows_its_keys();
                let wrong = place.wrong();
                repeat(rounds, || hall.knock(&wrong));
            }
            Self::Deliver(_)
            | Self::DeliverGranted(_)
            | Self::PublishJson
            | Self::PublishGranted(_)
            | Self::Visit
            | Self::VisitToken
            | Self::Join(_)
            | Self::JoinGranted(_)
            | Self::Room(_)
            | Self::Crash(_)
            | Self::Rooms(_)
            | Self::Users(_) => {}
        }
    }

    /// Few rounds and many.
    pub(crate) const fn rounds(self) -> (u64, u64) {
        match self {
            Self::Crash(_) | Self::Rooms(_) | Self::Users(_) => (0, 1),
            Self::Deliver(_)
            | Self::DeliverGranted(_)
            | Self::PublishJson
            | Self::PublishGranted(_)
            | Self::Visit
            | Self::VisitToken
            | Self::Join(_)
            | Self::JoinGranted(_)
            | Self::Room(_)
            | Self::Secret(_)
            | Self::ApiKey(_)
            | Self::Knock(_) => (ROUNDS_FEW, ROUNDS_MANY),
        }
    }

    /// Deliveries, visits or members in a round.
    pub(crate) const fn units(self) -> usize {
        match self {
            Self::Deliver(messages) | Self::DeliverGranted(messages) => MEMBERS * messages,
            Self::Crash(count) | Self::Rooms(count) | Self::Users(count) => count,
            Self::PublishJson
            | Self::PublishGranted(_)
            | Self::Visit
            | Self::VisitToken
            | Self::Join(_)
            | Self::JoinGranted(_)
            | Self::Room(_)
            | Self::Secret(_)
            | Self::ApiKey(_)
            | Self::Knock(_) => 1,
        }
    }

    /// How many names it has to be given.
    pub(crate) const fn names(self) -> usize {
        match self {
            Self::Rooms(count) | Self::Users(count) => count,
            Self::Deliver(_)
            | Self::DeliverGranted(_)
            | Self::PublishJson
            | Self::PublishGranted(_)
            | Self::Visit
            | Self::VisitToken
            | Self::Join(_)
            | Self::JoinGranted(_)
            | Self::Room(_)
            | Self::Crash(_)
            | Self::Secret(_)
            | Self::ApiKey(_)
            | Self::Knock(_) => 0,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(messages) => {
                write!(f, "delivery to {MEMBERS} members, {messages} x {PAYLOAD_BYTES} bytes")
            }
            Self::DeliverGranted(messages) => {
                write!(f, "the same to members with tokens, {messages} x {PAYLOAD_BYTES} bytes")
            }
            Self::PublishJson => write!(f, "publish of {PAYLOAD_BYTES} bytes in JSON, one member"),
            Self::PublishGranted(patterns) => {
                write!(
                    f,
                    "publish of {PAYLOAD_BYTES} bytes in JSON, granted by {patterns} patterns"
                )
            }
            Self::Visit => write!(f, "handshake, join and close"),
            Self::VisitToken => write!(f, "handshake, join and close, with a token (HS256)"),
            Self::Join(members) => write!(f, "join and leave, {members} members"),
            Self::JoinGranted(patterns) => {
                write!(f, "join and leave, granted by {patterns} patterns")
            }
            Self::Room(rooms) => write!(f, "join, publish and leave, {rooms} rooms"),
            Self::Crash(members) => write!(f, "one of {members} members that are lost at once"),
            Self::Secret(place) => write!(f, "a secret that is wrong in its {place} byte"),
            Self::ApiKey(place) => write!(f, "a server's key that is wrong in its {place} byte"),
            Self::Knock(place) => write!(f, "a request with a key wrong in its {place} byte"),
            Self::Rooms(count) => write!(f, "a room, of {count} with chosen names"),
            Self::Users(count) => write!(f, "a user, of {count} with chosen ids"),
        }
    }
}

fn repeat(rounds: u64, mut work: impl FnMut() -> usize) {
    for _ in 0..rounds {
        black_box(work());
    }
}

fn read_names(count: usize) -> Vec<String> {
    let path = env::var(NAMES).expect("a file of names");
    let text = fs::read_to_string(path).expect("a file of names");
    let names: Vec<String> = text.lines().take(count).map(str::to_owned).collect();
    assert_eq!(names.len(), count, "there are enough");
    names
}
