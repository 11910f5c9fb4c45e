//! Clients that others wrote, against the real binary: with compression offered and without, both
//! ways, text and binary, from nothing to the largest message.
//!
//! Not here: what each client does in a round, and compares byte by byte (`letters.mjs` and
//! `letters.py` in `tests/clients`); here is what must come of it.

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::scrape::Scraper;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether the broker compresses when it is asked to.
const DEFLATE: bool = true;

const SEED: u64 = 20_250_811;

/// Sizes of the letters, and how often each of these is compared in a round: four letters of each,
/// twice over /echo, twice by each of two members.
const SIZES: [u64; 10] = [0, 1, 125, 126, 127, 1_023, 1_024, 65_535, 65_536, 1_048_576];
const LETTERS: u64 = 4;
const DELIVERIES: u64 = 6;

/// The largest letter where a window is asked for: such rounds are many.
const WINDOW_LETTER_BYTES_MAX: u64 = 65_536;

/// Far more than any client needs: tests share their machine.
const CLIENT_SECONDS_MAX: u64 = 120;

/// What is asked for in one round.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Nothing,
    Compression,
    NoContext,
    Window(u8),
}

/// Whether a client can leave out what it offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Choice {
    Free,
    AlwaysOffers,
}

/// A round as the client tells of it.
#[derive(Deserialize, Debug)]
struct Round {
    client: String,
    asked: String,
    /// The answer's extensions: over /echo, to the offering member, to the plain member.
    negotiated: [String; 3],
    cases: u64,
    faults: Vec<String>,
}

impl Ask {
    fn name(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Compression => "permessage-deflate".to_owned(),
            Self::NoContext => "server_no_context_takeover".to_owned(),
            Self::Window(bits) => format!("server_max_window_bits={bits}"),
        }
    }

    fn sizes(self) -> impl Iterator<Item = u64> {
        let most = if let Self::Window(_) = self { WINDOW_LETTER_BYTES_MAX } else { u64::MAX };
        SIZES.into_iter().filter(move |size| *size <= most)
    }

    /// Whether `answer` grants it: the whole of RFC 7692 §7.1, as far as the client asked.
    fn is_granted(self, answer: &str) -> bool {
        let mut parts = answer.split(';').map(str::trim);
        if parts.next() != Some("permessage-deflate") {
            return false;
        }
        let parts: Vec<(&str, &str)> =
            parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
        let value = |name| parts.iter().find(|part| part.0 == name).map(|part| part.1);
        match self {
            Self::Nothing => false,
            Self::Compression => true,
            Self::NoContext => value("server_no_context_takeover") == Some(""),
            Self::Window(most) => value("server_max_window_bits")
                .and_then(|bits| bits.parse::<u8>().ok())
                .is_some_and(|bits| (9..=most).contains(&bits)),
        }
    }
}

impl Round {
    fn verify(&self, ask: Ask, choice: Choice) {
        assert_eq!(self.asked, ask.name());
        assert_eq!(self.faults, [""; 0], "{self:?}");
        let sizes = u64::try_from(ask.sizes().count()).expect("few");
        assert_eq!(self.cases, sizes * LETTERS * DELIVERIES, "{self:?}");
        let [echo, offering, plain] = &self.negotiated;
        let compresses = DEFLATE && !matches!(ask, Ask::Nothing);
        for answer in [echo, offering] {
            assert!(
                if compresses { ask.is_granted(answer) } else { answer.is_empty() },
                "{self:?}"
            );
        }
        let plain_too = compresses && choice == Choice::AlwaysOffers;
        assert!(if plain_too { ask.is_granted(plain) } else { plain.is_empty() }, "{self:?}");
    }

    /// Payload bytes that it got, those that might be compressed and the others.
    fn payload(&self, ask: Ask, choice: Choice) -> (u64, u64) {
        let once = LETTERS * ask.sizes().sum::<u64>();
        match (DEFLATE, ask, choice) {
            (false, ..) | (true, Ask::Nothing, _) => (0, 6 * once),
            (true, _, Choice::Free) => (4 * once, 2 * once),
            (true, _, Choice::AlwaysOffers) => (6 * once, 0),
        }
    }
}

/// Runs the client at `program`, and holds what it tells against what it was to ask for.
fn play(command: &mut Command, client: &str, asks: &[Ask], choice: Choice) {
    eprintln!("seed {SEED}");
    let broker = Broker::start(&["--loops", "2", "--echo-route"]);
    let url = format!("ws://{}", broker.address());
    let command = command.args([url, SEED.to_string()]).stderr(Stdio::inherit());
    let output = command.output().expect("what ./test installs is there");
    let told = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{client} fails: {told}");
    let rounds: Vec<Round> =
        told.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(rounds.len(), asks.len(), "{told}");
    let (mut compressible, mut plain) = (0, 0);
    for (round, ask) in rounds.iter().zip(asks) {
        assert_eq!(round.client, client);
        round.verify(*ask, choice);
        let payload = round.payload(*ask, choice);
        (compressible, plain) = (compressible + payload.0, plain + payload.1);
    }
    // A quarter of the letters is noise, a quarter has six bits in a byte, of which the fastest
    // level makes nothing, and half is nearly nothing; what is short is not compressed.
    let sent = Scraper::new(&broker).metrics().value("sent_bytes_total");
    eprintln!("{client}: {sent} bytes for {} of payload", compressible + plain);
    assert!(sent >= plain + compressible * 2 / 5, "{sent} bytes");
    assert!(sent <= (plain + compressible / 2) * 103 / 100, "{sent} bytes");
    broker.stop();
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Ends with a failure where a message never comes.
fn in_time(interpreter: &Path, program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(CLIENT_SECONDS_MAX.to_string()).arg(interpreter).arg(folder().join(program));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn node(program: &str) -> Command {
    let installed = folder().join("node_modules/ws").exists();
    assert!(installed, "the Node client is not installed: tests/clients/install");
    in_time("node".as_ref(), program)
}

fn python(program: &str) -> Command {
    let python = folder().join(".venv/bin/python");
    assert!(python.exists(), "the Python clients are not installed: tests/clients/install");
    in_time(&python, program)
}

fn windows(bits: impl Iterator<Item = u8>) -> impl Iterator<Item = Ask> {
    bits.map(Ask::Window)
}

#[test]
fn node_ws_gets_what_it_sends() {
    let asks = [Ask::Nothing, Ask::Compression, Ask::NoContext];
    let asks: Vec<Ask> = asks.into_iter().chain(windows(9..=15)).collect();
    play(&mut node("play_ws.mjs"), "ws", &asks, Choice::Free);
}

#[test]
fn python_websockets_gets_what_it_sends() {
    let asks = [Ask::Nothing, Ask::Compression, Ask::NoContext];
    let asks: Vec<Ask> = asks.into_iter().chain(windows(9..=15)).collect();
    play(&mut python("play_websockets.py"), "websockets", &asks, Choice::Free);
}

#[test]
fn python_aiohttp_gets_what_it_sends() {
    // A window of 15 is what it asks for by not naming one.
    let asks = [Ask::Nothing, Ask::Compression];
    let asks: Vec<Ask> = asks.into_iter().chain(windows(9..=14)).collect();
    play(&mut python("play_aiohttp.py"), "aiohttp", &asks, Choice::Free);
}

#[test]
fn chromium_gets_what_it_sends() {
    play(&mut node("play_chromium.mjs"), "chromium", &[Ask::Compression], Choice::AlwaysOffers);
}

#[test]
fn an_answer_that_does_not_grant_what_was_asked_is_noticed() {
    for (ask, answer) in [
        (Ask::Compression, "permessage-deflate"),
        (Ask::NoContext, "permessage-deflate; server_no_context_takeover"),
        (
            Ask::Window(9),
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
        ),
        (Ask::Window(15), "permessage-deflate;server_max_window_bits=9"),
    ] {
        assert!(ask.is_granted(answer), "{ask:?}: {answer}");
    }
    for (ask, answer) in [
        (Ask::Nothing, "permessage-deflate"),
        (Ask::Compression, ""),
        (Ask::Compression, "permessage-bzip2"),
        (Ask::NoContext, "permessage-deflate; client_no_context_takeover"),
        (Ask::Window(15), "permessage-deflate"),
        (Ask::Window(9), "permessage-deflate; server_max_window_bits=10"),
        (Ask::Window(9), "permessage-deflate; server_max_window_bits=8"),
        (Ask::Window(9), "permessage-deflate; server_max_window_bits"),
    ] {
        assert!(!ask.is_granted(answer), "{ask:?}: {answer}");
    }
}
