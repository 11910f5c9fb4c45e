//! The loads that are compared, one line each, and what some of them are to reach.
//!
//! Invariants: names are unique, and no shape has more than 15,000 connections, for which the usual
//! limit of descriptors suffices. Pure; `tests/load_tables.rs` tests it.

use fanfare::auth::TokenAlg;
use std::fmt;

/// What is asked of floor, broker and client.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Arguments of `fanfare bench floor`.
    pub(crate) floor: Vec<String>,
    /// Arguments of `fanfare bench`, less address, time and core.
    pub(crate) client: Vec<String>,
    /// What is to be reached: at most so much, or at least.
    pub(crate) targets: Vec<(Measure, f64)>,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// CPU time of the server for each delivery or cycle.
    Cpu,
    /// The same with messages compressed, against a floor that sends as many bytes plain.
    Compressed,
    /// The same with messages in an envelope, against a floor that sends as many bytes without.
    Enveloped,
    /// Handshakes with a token each, against the same without.
    Tokens(TokenAlg),
    /// The same of two loops, against one.
    Loops,
    /// Latency at a rate that both can bear.
    Latency,
    /// The same at half of what the floor can bear.
    HalfOfPeak,
    /// Latency in small rooms, while a large one on the same loop is busy, of the broker alone.
    Beside,
    /// Memory of connections at rest, of the broker alone.
    Memory,
    /// Memory of a reader that does not read, of the broker alone.
    Backlog,
}

/// What a target is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measure {
    /// CPU time, a ratio to the floor's.
    Cpu,
    /// Handshakes per second of CPU time, a ratio to those without tokens.
    Handshakes,
    /// Percentiles of latency, ratios to the floor's.
    P50,
    P99,
    P99_9,
    /// A percentile of latency itself.
    P99Ms,
    /// Resident bytes of a connection.
    BytesEach,
    /// Memory that is not given back.
    KeptMib,
    /// Resident memory, a ratio to the bound of an outbox.
    OfBound,
}

impl Measure {
    /// Whether more of it is better: its target is the least that it may be.
    pub(crate) const fn is_to_be_large(self) -> bool {
        match self {
            Self::Handshakes => true,
            Self::Cpu
            | Self::P50
            | Self::P99
            | Self::P99_9
            | Self::P99Ms
            | Self::BytesEach
            | Self::KeptMib
            | Self::OfBound => false,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU, ratio",
            Self::Handshakes => "handshakes per CPU second, ratio",
            Self::P50 => "p50, ratio",
            Self::P99 => "p99, ratio",
            Self::P99_9 => "p99.9, ratio",
            Self::P99Ms => "p99, ms",
            Self::BytesEach => "bytes per connection",
            Self::KeptMib => "kept, MiB",
            Self::OfBound => "resident, of the bound",
        })
    }
}

impl Shape {
    fn new(name: &str, kind: Kind, floor: &str, client: &str) -> Self {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        let (floor, client) = (words(floor), words(client));
        Self { name: name.to_owned(), kind, floor, client, targets: Vec::new() }
    }

    fn reaching(mut self, targets: &[(Measure, f64)]) -> Self {
        self.targets = targets.to_vec();
        self
    }

    /// Members in rooms, and how many messages each room has under way.
    fn fan_out(rooms: usize, members: usize, bytes: usize, window: usize) -> Self {
        let name = match rooms {
            1 => "1 room".to_owned(),
            rooms => format!("{rooms} rooms"),
        };
        let joined = if window > 1 { ", joined" } else { "" };
        Self::new(
            &format!("{name} x {members}, {bytes} B, {window} outstanding{joined}"),
            Kind::Cpu,
            &format!("--kind fanout --join {window}"),
            &format!(
                "--rooms {rooms} --subs {members} --size {bytes} --window {window} --zero-mask"
            ),
        )
        .reaching(match (rooms, members, bytes, window) {
            (1, 1_000, 128, 1) => &[(Measure::Cpu, 1.05)],
            (1, 1_000, 128, 64) => &[(Measure::Cpu, 1.15)],
            (1, 1_000, 16_384, 8) => &[(Measure::Cpu, 1.10)],
            (1_000, 10, 128, 1) => &[(Measure::Cpu, 1.08)],
            (_, _, _, _) => &[],
        })
    }

    /// 1 KiB of JSON to members that all offered compression.
    fn compressed(members: usize) -> Self {
        let client = format!("--subs {members} --size 1024 --window 16 --zero-mask");
        let shape = Self::new(
            &format!("1 room x {members}, 1024 B of JSON, 16 outstanding, joined, compressed"),
            Kind::Compressed,
            "--kind fanout --join 16",
            &format!("{client} --content json --deflate"),
        );
        if members == 1_000 { shape.reaching(&[(Measure::Cpu, 1.3)]) } else { shape }
    }

    /// Members that speak the native protocol.
    fn native(protocol: &str, members: usize, window: usize) -> Self {
        let joined = if window > 1 { ", joined" } else { "" };
        let named = if protocol == "json" { "JSON" } else { protocol };
        Self::new(
            &format!("1 room x {members} {named} members, 128 B, {window} outstanding{joined}"),
            Kind::Enveloped,
            &format!("--kind fanout --join {window}"),
            &format!(
                "--subs {members} --size 128 --window {window} --zero-mask --protocol {protocol}"
            ),
        )
        .reaching(&[(Measure::Cpu, if window > 1 { 1.25 } else { 1.05 })])
    }

    /// Two loops against one: one round's second run is of two.
    fn two_loops(rooms: usize, members: usize) -> Self {
        let of_one = Self::fan_out(rooms, members, 128, 1);
        let name = format!("two loops, {}", of_one.name);
        Self { name, kind: Kind::Loops, targets: Vec::new(), ..of_one }
    }

    fn backlog(bytes: usize, window: usize) -> Self {
        Self::new(
            &format!("slow reader, {bytes} B, {window} outstanding"),
            Kind::Backlog,
            "",
            &format!("--size {bytes} --window {window}"),
        )
        .reaching(&[(Measure::OfBound, 1.5)])
    }

    /// Connections at once.
    pub(crate) fn connections(&self) -> usize {
        let after = |flag: &str| {
            let at = self.client.iter().position(|word| word == flag)?;
            self.client.get(at + 1)?.parse::<usize>().ok()
        };
        let crowd = after("--rooms").unwrap_or(1) * after("--subs").unwrap_or(1);
        let beside = if self.kind == Kind::Beside { LARGE_ROOM_MEMBERS } else { 0 };
        after("--conns").unwrap_or(crowd) + beside
    }
}

/// Members of the room that small ones are beside of.
pub(crate) const LARGE_ROOM_MEMBERS: usize = 10_000;

/// How the large room is kept busy: 100,000 deliveries a second.
pub(crate) const LARGE_ROOM_LOAD: &str = "--room large --subs 10000 --rate 10";

/// No percentile of latency is worse: within 5 %.
const NO_WORSE: [(Measure, f64); 3] =
    [(Measure::P50, 1.05), (Measure::P99, 1.05), (Measure::P99_9, 1.05)];

const AT_REST: [(Measure, f64); 2] = [(Measure::BytesEach, 200.0), (Measure::KeptMib, 2.0)];

/// Every shape, in the order of the tables.
pub(crate) fn all() -> Vec<Shape> {
    let members = [1, 10, 100, 1_000, 10_000];
    let mut shapes = Vec::new();
    for window in [1, 64] {
        shapes.extend(members.map(|members| Shape::fan_out(1, members, 128, window)));
    }
    shapes.extend(members.map(|members| Shape::fan_out(1, members, 16_384, 1)));
    // 64 to 1,000 members would be a gigabyte under way: the kernel's buffers would be measured.
    for (members, window) in [(1, 64), (10, 64), (100, 64), (1_000, 8), (10_000, 8)] {
        shapes.push(Shape::fan_out(1, members, 16_384, window));
    }
    for (rooms, members) in [(100, 100), (1_000, 10), (10_000, 1)] {
        shapes.extend([1, 64].map(|window| Shape::fan_out(rooms, members, 128, window)));
    }
    shapes.extend([1, 10, 1_000].map(Shape::compressed));
    for protocol in ["json", "binary"] {
        shapes.extend([1, 64].map(|window| Shape::native(protocol, 1_000, window)));
    }
    shapes.extend(cycles());
    shapes.extend(handshakes());
    shapes.extend([Shape::two_loops(1, 1_000), Shape::two_loops(1_000, 10)]);
    shapes.extend(latencies());
    for (name, client) in [
        ("idle, 15000 in 1 room", "idle --conns 15000"),
        ("idle, 15000 in 1500 rooms", "idle --conns 15000 --rooms 1500"),
        ("idle, 15000 in 1 room, compression agreed", "idle --conns 15000 --deflate"),
    ] {
        shapes.push(Shape::new(name, Kind::Memory, "", client).reaching(&AT_REST));
    }
    for bytes in [128, 4_096, 65_536] {
        shapes.extend([1, 64].map(|window| Shape::backlog(bytes, window)));
    }
    shapes
}

/// The shapes that are asked for: those that have one of the texts in their name, or as their name;
/// all where there is no text. With `targets`, those of them that have a target.
pub(crate) fn wanted(only: &[String], exact: bool, targets: bool) -> Vec<Shape> {
    let fits = |name: &str, text: &String| if exact { name == text } else { name.contains(text) };
    let named = |name: &str| only.is_empty() || only.iter().any(|text| fits(name, text));
    let mut shapes = all();
    shapes.retain(|shape| named(&shape.name) && (!targets || !shape.targets.is_empty()));
    shapes
}

/// What comes back, and what comes and goes.
fn cycles() -> [Shape; 3] {
    [
        ("echo, 500 connections, 512 B", "--kind echo", "echo --conns 500 --size 512"),
        ("connect, join, close frame", "--kind connect", "connect --leave frame --window 32"),
        ("connect, join, hang up", "--kind connect", "connect --leave drop --window 32"),
    ]
    .map(|(name, floor, client)| {
        Shape::new(name, Kind::Cpu, floor, client).reaching(&[(Measure::Cpu, 1.05)])
    })
}

/// What a token costs at the door, by how it is signed.
fn handshakes() -> [Shape; 4] {
    [TokenAlg::Hs256, TokenAlg::Es256, TokenAlg::EdDsa, TokenAlg::Rs256].map(|alg| {
        let name = format!("handshake with a token, {}", alg.word());
        let client = "connect --leave frame --window 32";
        let shape = Shape::new(&name, Kind::Tokens(alg), "", client);
        // The others are recorded: what their signatures cost is not ours.
        if alg == TokenAlg::Hs256 { shape.reaching(&[(Measure::Handshakes, 0.85)]) } else { shape }
    })
}

fn latencies() -> [Shape; 3] {
    let of = |name, kind, client| Shape::new(name, kind, "--kind fanout", client);
    [
        of("100 msg/s to 1000, open loop", Kind::Latency, "--subs 1000 --rate 100 --zero-mask")
            .reaching(&NO_WORSE),
        of("half of the floor's peak, 1 room x 1000", Kind::HalfOfPeak, "--subs 1000 --zero-mask")
            .reaching(&NO_WORSE),
        of(
            "100 rooms x 10 at 100 msg/s, beside 1 room x 10000 at 10 msg/s",
            Kind::Beside,
            "--rooms 100 --subs 10 --rate 100",
        )
        .reaching(&[(Measure::P99Ms, 5.0)]),
    ]
}
