//! `docs/protocols/native.md` says what the real binary does: its examples are replayed byte for
//! byte, and none of its tables lacks one.
//!
//! Not here: what an example can't show (`e2e_native`). Invariant: each example has a broker of its
//! own, with one loop and the settings that the document shows; those of `native auth` have the
//! tokens of its table, and those of `native rates` let hardly anything through.

#![expect(clippy::panic, reason = "a document that can't be read fails its test, and says where")]

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::{Expect, Http};
use e2e::native::{Came, Native};
use fanfare::auth::{IssuedClaims, Secret, Signer, TokenAlg};
use fanfare::broker::ErrorCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter::Peekable;
use std::path::Path;
use std::str::Lines;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whom a line is about that does not say so.
const SELF: &str = "ada";

/// What the server sends, beside what it answers.
const PUSHES: [&str; 19] = [
    "welcome",
    "room-message",
    "message-batch",
    "user-joined",
    "user-left",
    "presence-diff",
    "user-online",
    "user-offline",
    "user-status",
    "typing",
    "direct-message",
    "notification",
    "admin-message",
    "receipt",
    "gap",
    "error",
    "advice",
    "room-left",
    "room-joined",
];

/// One example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Example<'a> {
    /// Its first line in the document.
    at: usize,
    text: &'a str,
    replay: Replay,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Replay {
    Now,
    /// With keys for tokens, too.
    WithKeys,
    /// With rates, too.
    WithRates,
    /// What it shows is not served yet.
    Later,
    /// What it shows can't be brought about by what clients say.
    No,
}

/// What one line of an example says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line<'a> {
    /// `@bob * fanfare.v1.bin`: it connects with that subprotocol.
    Opens(&'a str, &'a str),
    /// `> …`: it sends that.
    Sends(&'a str, &'a str),
    /// `< …`: it gets that.
    Gets(&'a str, &'a str),
    /// `$ curl -d … …/v1/rooms/…`, with where that is, what is posted, and the key of a server.
    Posts(&'a str, &'a str, Option<&'a str>),
    /// What that was answered with.
    Answers(&'a str),
    /// `$ kill -TERM`: the broker is to end.
    Ends,
}

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocols/native.md");
    std::fs::read_to_string(path).expect("docs/protocols/native.md is there")
}

fn examples(document: &str) -> Vec<Example<'_>> {
    let mut examples = Vec::new();
    let mut rest = document;
    while let Some((before, after)) = rest.split_once("\n```native") {
        let (info, text) = after.split_once('\n').expect("a block has lines");
        let (text, behind) = text.split_once("```").expect("a block ends");
        let replay = match info {
            "" => Replay::Now,
            " auth" => Replay::WithKeys,
            " rates" => Replay::WithRates,
            " replay=later" => Replay::Later,
            " replay=no" => Replay::No,
            other => panic!("a block's first line says{other}"),
        };
        let at = document.len() - rest.len() + before.len();
        let at = document.get(..at).map_or(0, |before| before.lines().count()) + 2;
        examples.push(Example { at, text, replay });
        rest = behind;
    }
    examples
}

fn line(line: &str) -> Line<'_> {
    if let Some(post) = line.strip_prefix("$ curl ") {
        let with_key = post.strip_prefix("-H 'X-API-Key: ").map(|rest| rest.split_once("' "));
        let (key, post) = with_key.flatten().map_or((None, post), |(key, post)| (Some(key), post));
        let (body, path) = post.split_once(" http://127.0.0.1:8080").expect(line);
        return Line::Posts(path, body.strip_prefix("-d ").expect(line).trim_matches('\''), key);
    }
    if line == "$ kill -TERM" {
        return Line::Ends;
    }
    if line.starts_with('{') {
        return Line::Answers(line);
    }
    let (who, said) = match line.strip_prefix('@') {
        Some(named) => named.split_once(' ').expect(line),
        None => (SELF, line),
    };
    match said.split_at_checked(2) {
        Some(("* ", subprotocol)) => Line::Opens(who, subprotocol),
        Some(("> ", sent)) => Line::Sends(who, sent),
        Some(("< ", got)) => Line::Gets(who, got),
        _ => panic!("a line that says nothing: {line}"),
    }
}

/// Hexadecimal digits as bytes, if that is what they are.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let hex: String = hex.split_whitespace().collect();
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes all");
        hex
    })
}

/// What a name in braces stands for.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, String>);

impl Known {
    /// The next name in braces: what is before it, the name, what is behind.
    fn name(text: &str) -> Option<(&str, &str, &str)> {
        let mut from = 0;
        while let Some(at) = text.get(from..)?.find('{').map(|at| from + at) {
            let inner = text.get(at + 1..)?;
            let (name, behind) = inner.split_once('}')?;
            let is_name = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            if is_name {
                return Some((text.get(..at)?, name, behind));
            }
            from = at + 1;
        }
        None
    }

    /// `text` with what is known instead of the names.
    fn filled(&self, text: &str) -> String {
        match Self::name(text) {
            Some((before, name, behind)) => {
                let value = self.0.get(name).unwrap_or_else(|| panic!("{name} is not known yet"));
                format!("{before}{value}{}", self.filled(behind))
            }
            None => text.to_owned(),
        }
    }

    /// Whether `came` is what the document says; learns what the names stand for.
    fn fits(&mut self, said: &str, came: &str) -> bool {
        let Some((before, name, behind)) = Self::name(said) else { return said == came };
        let Some(rest) = came.strip_prefix(before) else { return false };
        let is_hex = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        let (length, is_digit): (Option<usize>, fn(&u8) -> bool) =
            match name.trim_end_matches(|last: char| last.is_ascii_digit()) {
                "epoch" => (Some(16), is_hex),
                "session" => (Some(32), is_hex),
                "guest" => (Some(16), is_hex),
                "time" | "pause" | "expires" => (None, u8::is_ascii_digit),
                "version" => (None, |byte| byte.is_ascii_digit() || *byte == b'.'),
                other => panic!("nobody knows what {other} stands for"),
            };
        let digits = rest.as_bytes().iter().take(length.unwrap_or(usize::MAX));
        let length = digits.take_while(|byte| is_digit(byte)).count();
        let Some((value, rest)) = rest.split_at_checked(length) else { return false };
        if length == 0 || length_is_wrong(name, length) {
            return false;
        }
        let is_new_each_time = matches!(name, "time" | "pause" | "expires");
        if !is_new_each_time {
            let known = self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            if known != value {
                return false;
            }
        }
        self.fits(behind, rest)
    }
}

fn length_is_wrong(name: &str, length: usize) -> bool {
    let wanted = match name.trim_end_matches(|last: char| last.is_ascii_digit()) {
        "epoch" | "guest" => 16,
        "session" => 32,
        _ => return false,
    };
    length != wanted
}

/// An example as it is played.
struct Scene {
    broker: Broker,
    clients: BTreeMap<String, Native>,
    known: Known,
    wrong: Vec<String>,
    has_keys: bool,
    is_ending: bool,
}

impl Scene {
    fn open(&mut self, who: &str, subprotocol: Option<&str>) {
        let mut fields = Vec::new();
        if !who.starts_with("guest") && !self.has_keys {
            let (first, rest) = who.split_at(1);
            fields.push(format!("X-User: {who}"));
            fields.push(format!("X-Username: {}{rest}", first.to_ascii_uppercase()));
        }
        fields.extend(subprotocol.map(|word| format!("Sec-WebSocket-Protocol: {word}")));
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let shows_token = subprotocol.is_some_and(|words| words.contains("bearer."));
        let client = match self.has_keys && !shows_token {
            true => Native::open_unknown(&self.broker, &fields),
            false => Native::open_with(&self.broker, &fields),
        };
        self.clients.insert(who.to_owned(), client);
    }

    fn client(&mut self, who: &str) -> &mut Native {
        if !self.clients.contains_key(who) {
            self.open(who, None);
        }
        self.clients.get_mut(who).expect("it was opened")
    }

    fn compare(&mut self, said: &str, came: &str) {
        if !self.known.fits(said, came) {
            self.wrong.push(format!("it says {said}\n    came    {came}"));
        }
    }

    fn play(&mut self, lines: &mut Peekable<Lines<'_>>) {
        while let Some(next) = lines.next() {
            eprintln!("{next}"); // Shown where it waits for what never comes.
            match line(next) {
                Line::Opens(who, subprotocols) => {
                    self.open(who, Some(&self.known.filled(subprotocols)));
                    self.greet(who, lines);
                }
                Line::Sends(who, sent) => {
                    let sent = self.known.filled(sent);
                    match bytes(&sent) {
                        Some(records) => self.client(who).send_records(&records),
                        None => self.client(who).send_text(&sent),
                    }
                }
                Line::Gets(who, got) => {
                    let is_new = !self.has_keys && !self.clients.contains_key(who);
                    let is_welcome = got.contains("\"welcome\"") && is_new;
                    let client = self.client(who);
                    let came = match is_welcome {
                        true => Came::Text(client.welcome.clone()),
                        false => client.came(),
                    };
                    let is_close = matches!(came, Came::Close(_));
                    let (said, came) = match came {
                        Came::Text(came) => (got.to_owned(), came),
                        Came::Binary(came) => (got.replace(' ', ""), hex(&came)),
                        Came::Close(code) => {
                            (got.to_owned(), format!("close {}", code.unwrap_or_default()))
                        }
                    };
                    self.compare(&said, &came);
                    if is_close {
                        self.clients.remove(who);
                    }
                }
                Line::Posts(path, body, key) => {
                    let key = key.map_or(String::new(), |key| format!("X-API-Key: {key}\r\n"));
                    let length = body.len();
                    let mut http = Http::connect(self.broker.address());
                    let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\n{key}");
                    let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
                    http.send(request.as_bytes());
                    let answer = http.answer(Expect::Body);
                    let answer = String::from_utf8(answer.body).expect("text");
                    match lines.next().map(line) {
                        Some(Line::Answers(said)) => self.compare(said, &answer),
                        other => panic!("an answer belongs behind a request: {other:?}"),
                    }
                }
                Line::Ends => {
                    self.broker.signal(Signal::TERM);
                    self.is_ending = true;
                }
                Line::Answers(_) => panic!("nothing was asked: {next}"),
            }
        }
    }

    /// Holds the welcome of a connection that showed a token against the next line, if that says
    /// one.
    fn greet(&mut self, who: &str, lines: &mut Peekable<Lines<'_>>) {
        let Some(Line::Gets(of, said)) = lines.peek().map(|next| line(next)) else { return };
        if of == who && said.contains("\"welcome\"") {
            let welcome = self.clients.get(who).map(|client| client.welcome.clone());
            self.compare(said, &welcome.unwrap_or_default());
            lines.next();
        }
    }

    /// Nothing came that the example does not show.
    fn end(&mut self) {
        if self.is_ending {
            assert_eq!(self.broker.wait(), Some(0), "a drain ends well");
        }
        for (who, client) in &mut self.clients {
            client.send(&json!({ "type": "ping", "id": "end" }));
            let pong = Came::Text(r#"{"type":"pong","id":"end"}"#.to_owned());
            loop {
                let came = client.came();
                if came == pong {
                    break;
                }
                self.wrong.push(format!("it does not show what @{who} got: {came:?}"));
            }
        }
    }
}

/// The settings of the examples, and those that some have beside them.
fn settings(document: &str) -> [&str; 3] {
    let mut blocks = document.split("```toml\n").skip(1);
    [(); 3].map(|()| {
        let rest = blocks.next().expect("the settings of the examples");
        rest.split_once("```").expect("their end").0
    })
}

/// The tokens that the document names, each signed now.
fn tokens(document: &str, keys: &str) -> BTreeMap<String, String> {
    let (_, secret) = keys.split_once("hs256_key = \"").expect("a key");
    let (secret, _) = secret.split_once('"').expect("its end");
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &Secret::new(secret.as_bytes()));
    let signer = signer.expect("a key that signs");
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `{")?.strip_suffix(" s |"));
    let tokens: BTreeMap<String, String> = rows
        .map(|row| {
            let (name, rest) = row.split_once("}` | `").expect(row);
            let (claims, seconds) = rest.split_once("` | ").expect(row);
            let claims: Value = serde_json::from_str(claims).expect(row);
            let seconds: u64 = seconds.replace(',', "").parse().expect(row);
            let token = signer.sign(&issued(&claims, now_s, seconds)).expect(row);
            (name.to_owned(), token)
        })
        .collect();
    assert!(!tokens.is_empty(), "a table of tokens");
    tokens
}

/// A token of that user, with claims as the document has them.
fn issued(claims: &Value, now_s: u64, seconds: u64) -> IssuedClaims {
    let text = |name: &str| claims[name].as_str().map(str::to_owned);
    let known = ["sub", "username", "roles", "rooms", "jti"];
    let given = claims.as_object().expect("an object").keys();
    assert!(given.clone().all(|name| known.contains(&name.as_str())), "{claims}");
    IssuedClaims {
        user: text("sub").expect("a user"),
        username: text("username"),
        roles: text("roles").map(|role| vec![role]),
        rooms: claims.get("rooms").cloned(),
        jti: text("jti"),
        iat: now_s,
        exp: now_s + seconds,
        ..IssuedClaims::default()
    }
}

#[test]
fn every_example_is_what_happens() {
    let document = document();
    let [open, keys, rates] = settings(&document);
    let examples = examples(&document);
    let mut wrong = String::new();
    for example in &examples {
        let more = match example.replay {
            Replay::Now => "",
            Replay::WithKeys => keys,
            Replay::WithRates => rates,
            Replay::Later | Replay::No => continue,
        };
        let has_keys = example.replay == Replay::WithKeys;
        let mut scene = Scene {
            broker: Broker::start_with_file(&format!("{open}\n{more}"), &["--loops", "1"]),
            clients: BTreeMap::new(),
            known: Known(if has_keys { tokens(&document, keys) } else { BTreeMap::new() }),
            wrong: Vec::new(),
            has_keys,
            is_ending: false,
        };
        scene.play(&mut example.text.lines().peekable());
        if example.replay != Replay::WithRates {
            scene.end();
        }
        for complaint in &scene.wrong {
            writeln!(wrong, "docs/protocols/native.md:{}: {complaint}", example.at)
                .expect("a string takes all");
        }
    }
    assert!(!examples.is_empty() && wrong.is_empty(), "\n{wrong}");
}

/// The words in the first column of the table under `heading`.
fn rows<'a>(document: &'a str, heading: &str) -> Vec<&'a str> {
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).expect(heading);
    let lines = section.lines().take_while(|line| !line.starts_with("## "));
    let cells = lines.filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let words = cells.flat_map(|cell| cell.split(['`', ',', '|', ' ']));
    words.filter(|word| !word.is_empty()).collect()
}

fn lines<'a>(document: &'a str) -> Vec<Line<'a>> {
    examples(document).iter().flat_map(|example| example.text.lines()).map(line).collect()
}

#[test]
fn every_request_has_a_row_and_an_example() {
    let document = document();
    let lines = lines(&document);
    // The broker itself names them, to who asks for something else; the example above is replayed.
    let named = lines.iter().find_map(|line| match line {
        Line::Gets(_, got) => got.split_once("type: one of ").map(|(_, named)| named),
        Line::Opens(..) | Line::Sends(..) | Line::Posts(..) | Line::Answers(_) | Line::Ends => None,
    });
    let (named, _) = named.expect("an example of unknown-type").split_once('"').expect("its end");
    let mut named: Vec<&str> = named.split(", ").collect();
    let mut told = rows(&document, "Requests");
    for request in &named {
        let sent = format!("{{\"type\":\"{request}\"");
        let has_example = lines
            .iter()
            .any(|line| matches!(line, Line::Sends(_, text) if text.starts_with(&sent)));
        assert!(has_example, "{request} has no example");
    }
    named.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, named);
}

#[test]
fn every_push_has_a_row_and_an_example() {
    let document = document();
    let (lines, told) = (lines(&document), rows(&document, "Pushes"));
    for push in PUSHES {
        let got = format!("{{\"type\":\"{push}\"");
        let has_example =
            lines.iter().any(|line| matches!(line, Line::Gets(_, text) if text.starts_with(&got)));
        assert!(has_example, "{push} has no example");
    }
    for push in &told {
        assert!(PUSHES.contains(push), "{push}");
    }
    for push in PUSHES.iter().filter(|push| !push.starts_with("room-") || **push == "room-message")
    {
        assert!(told.contains(push), "{push} has no row");
    }
}

#[test]
fn every_error_code_has_a_row_and_an_example() {
    let document = document();
    let (lines, told) = (lines(&document), rows(&document, "Errors"));
    let codes: Vec<&str> = ErrorCode::ALL.into_iter().map(ErrorCode::word).collect();
    assert_eq!(told, codes);
    for code in codes {
        let got = format!("\"code\":\"{code}\"");
        let has_example =
            lines.iter().any(|line| matches!(line, Line::Gets(_, text) if text.contains(&got)));
        assert!(has_example, "{code} has no example");
    }
}

#[test]
fn a_name_stands_for_one_thing_and_only_for_what_it_may() {
    let mut known = Known::default();
    let (one, other) = ("0123456789abcdef", "f123456789abcdef");
    assert!(
        known.fits("{\"e\":\"{epoch}\",\"t\":{time}}", &format!("{{\"e\":\"{one}\",\"t\":5}}"))
    );
    assert!(known.fits("{epoch} {time}", &format!("{one} 6")));
    assert!(!known.fits("{epoch}", other));
    assert!(known.fits("{epoch2}", other));
    assert!(!known.fits("{epoch3}", "0123"));
    assert!(!known.fits("{epoch3}", &one.to_ascii_uppercase()));
    assert!(!known.fits("{time}", "") && !known.fits("{time}", "5a"));
    assert_eq!(known.filled("{\"since\":\"{epoch2}\"}"), format!("{{\"since\":\"{other}\"}}"));
}
