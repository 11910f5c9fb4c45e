//! The attacks: what each is called, what it does, and the numbers that it is held against.
//!
//! Not here: how they are carried out (`floods`, `crowd`). Pure; `tests/adversary_table.rs` tests
//! it with the table.

/// An attack. Further kinds get a name, a text, their numbers, and a place in `floods`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attack {
    Heads,
    Slowloris,
    Pings,
    EmptyFragments,
    TinyFragments,
    HeldFragments,
    ManyFragments,
    Announced,
    Resets,
    Stalled,
    Names,
    Frames,
    Bombs,
}

/// What an attack may do at most.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Numbers {
    /// Growth of the broker's resident memory.
    pub(crate) growth_kib: u64,
    /// The bystander's 99th percentile and its worst, in ms.
    pub(crate) p99_ms: f64,
    pub(crate) worst_ms: f64,
}

/// Connections that drip.
pub(crate) const DRIPPING: usize = 5_000;
/// Connections that hold a message each, and its fragments.
pub(crate) const HELD: (usize, usize) = (40, 16_000);
/// Connections that send fragments all at once.
pub(crate) const FLOODING: usize = 200;
/// Connections that each announce a message and send none of it.
pub(crate) const LIARS: usize = 100;
/// Members of the room in which some stall, and who stalls.
pub(crate) const MEMBERS: usize = 10_000;
pub(crate) const STALLED: usize = 20;
/// Rooms that there may be: the default.
const ROOMS_MAX: u64 = 100_000;
/// What a room costs beside its name of 128 bytes.
const ROOM_BYTES_MAX: u64 = 512;

/// What the allocator and the sockets' own tables may take whatever happens.
const SLACK_KIB: u64 = 2 * 1_024;

impl Attack {
    pub(crate) const ALL: [Self; 13] = [
        Self::Heads,
        Self::Slowloris,
        Self::Pings,
        Self::EmptyFragments,
        Self::TinyFragments,
        Self::HeldFragments,
        Self::ManyFragments,
        Self::Announced,
        Self::Resets,
        Self::Stalled,
        Self::Names,
        Self::Frames,
        Self::Bombs,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Heads => "heads",
            Self::Slowloris => "slowloris",
            Self::Pings => "pings",
            Self::EmptyFragments => "empty-fragments",
            Self::TinyFragments => "tiny-fragments",
            Self::HeldFragments => "held-fragments",
            Self::ManyFragments => "many-fragments",
            Self::Announced => "announced",
            Self::Resets => "resets",
            Self::Stalled => "stalled",
            Self::Names => "names",
            Self::Frames => "frames",
            Self::Bombs => "bombs",
        }
    }

    /// What it does, and what is counted.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Heads => "20 KiB of a head or target without end, over and over",
            Self::Slowloris => "5,000 connections send a byte of a head each second; bytes",
            Self::Pings => "pings of 125 bytes whose pongs are never read",
            Self::EmptyFragments => "empty fragments without end; who is cut comes again",
            Self::TinyFragments => "messages of 300,000 fragments of one byte; fragments",
            Self::HeldFragments => "40 connections hold a message of 16,000 fragments; messages",
            Self::ManyFragments => "200 connections at once send fragments of one byte; KiB",
            Self::Announced => "lengths of 1 MiB that don't come, and longer ones",
            Self::Resets => "connections reset in every stage of their life",
            Self::Stalled => "20 members of 10,000 never read, at 10 messages a second",
            Self::Names => "each request publishes to a new room with a name of 128 bytes",
            Self::Frames => "handshakes, each followed by a frame that can't be",
            Self::Bombs => "1,000 times a second a handshake and 2 KiB that inflate to 2 MiB",
        }
    }

    pub(crate) const fn numbers(self) -> Numbers {
        let growth_kib = match self {
            Self::Heads => 1_024,
            Self::Slowloris => DRIPPING as u64 * 8,
            Self::Pings => 256,
            Self::EmptyFragments | Self::TinyFragments | Self::HeldFragments => 2_048,
            Self::ManyFragments => FLOODING as u64 * 16,
            Self::Announced => 64,
            Self::Resets | Self::Frames => 3_072,
            // The largest message.
            Self::Bombs => 1_024,
            // Their outboxes, as many KiB each as `crowd` sets.
            Self::Stalled => STALLED as u64 * OUTBOX_KIB,
            Self::Names => ROOMS_MAX * (128 + ROOM_BYTES_MAX) / 1_024,
        };
        Numbers { growth_kib: growth_kib + SLACK_KIB, p99_ms: 50.0, worst_ms: 250.0 }
    }

    /// Further arguments of its broker.
    pub(crate) const fn args(self) -> &'static [&'static str] {
        match self {
            Self::Stalled => &[
                "--connections-max",
                "12000",
                "--message-bytes-max",
                "32KiB",
                "--outbox-bytes-max",
                "64KiB",
            ],
            Self::Heads
            | Self::Slowloris
            | Self::Pings
            | Self::EmptyFragments
            | Self::TinyFragments
            | Self::HeldFragments
            | Self::ManyFragments
            | Self::Announced
            | Self::Resets
            | Self::Names
            | Self::Frames
            | Self::Bombs => &[],
        }
    }
}

/// The outbox of a member that stalls, as in [`Attack::args`].
const OUTBOX_KIB: u64 = 64;
