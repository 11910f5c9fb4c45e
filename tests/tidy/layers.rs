//! Which room of `src/` may import which, and what the pure rooms must not mention.
//!
//! Not here: names and lengths (`words.rs`). Invariant: a room that is not in [`ROOMS`] is an
//! error, so a new room starts by saying what it may import.

use crate::source::{code, words};

/// A room, and what it may import besides itself.
struct Room {
    name: &'static str,
    may_import: &'static [&'static str],
    purity: Purity,
}

/// What a room may touch beside its arguments.
#[derive(Clone, Copy, PartialEq)]
enum Purity {
    /// Nothing: no socket, file, thread, lock, atomic, channel, clock or random source.
    Pure,
    /// Nothing but the types of addresses.
    PureButAddresses,
    /// Nothing but atomics: what is counted across threads.
    PureButAtomics,
    /// Whatever it needs.
    Free,
}

const ROOMS: [Room; 13] = [
    Room { name: "limits", may_import: &[], purity: Purity::Pure },
    Room { name: "http", may_import: &["limits"], purity: Purity::Pure },
    Room { name: "ws", may_import: &["limits", "http"], purity: Purity::Pure },
    Room { name: "broker", may_import: &["limits"], purity: Purity::Pure },
    Room { name: "protocol", may_import: &["limits", "broker", "ws"], purity: Purity::Pure },
    Room { name: "auth", may_import: &["limits", "broker"], purity: Purity::Pure },
    Room { name: "api", may_import: &["limits", "http", "broker", "auth"], purity: Purity::Pure },
    Room {
        name: "config",
        may_import: &["limits", "http", "ws", "broker", "auth"],
        purity: Purity::PureButAddresses,
    },
    Room { name: "observe", may_import: &["limits", "broker"], purity: Purity::PureButAtomics },
    Room {
        name: "engine",
        may_import: &[
            "limits", "http", "ws", "broker", "protocol", "auth", "api", "config", "observe",
        ],
        purity: Purity::Pure,
    },
    Room { name: "side", may_import: &["limits", "http", "broker", "auth"], purity: Purity::Free },
    Room {
        name: "net",
        may_import: &[
            "limits", "http", "ws", "broker", "protocol", "auth", "api", "config", "observe",
            "engine", "side",
        ],
        purity: Purity::Free,
    },
    Room {
        name: "cli",
        may_import: &[
            "limits", "http", "ws", "broker", "protocol", "auth", "api", "config", "observe",
            "engine", "side", "net",
        ],
        purity: Purity::Free,
    },
];

/// Parts of the standard library that reach out of the process.
const OUTSIDE: [&str; 6] = ["env", "fs", "net", "os", "process", "thread"];

/// Names that no pure room needs; what begins with `Atomic` is judged apart.
const IMPURE: &str = "Condvar Instant LazyLock Mutex OnceLock RandomState RwLock SystemTime \
    TcpListener TcpStream ToSocketAddrs UdpSocket UnixListener UnixStream \
    core_affinity crossbeam crossbeam_channel getrandom mio mpsc rustix socket2";

/// Orderings between threads. Not here: the results of a comparison.
const ORDERINGS: [&str; 6] = ["*", "AcqRel", "Acquire", "Relaxed", "Release", "SeqCst"];

/// What is wrong with the imports and mentions of one file of `src/`.
pub(crate) fn complaints(path: &str, text: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix("src/") else { return Vec::new() };
    let code = code(text);
    let mut found = orderings(path, &code);
    let room = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
    match room {
        "lib" => {}
        "main" => found.extend(foreign("main", &["cli"], "fanfare", &code)),
        room => match ROOMS.iter().find(|known| known.name == room) {
            None => found.push(format!("the room `{room}` is not in the table of tests/tidy")),
            Some(room) => {
                found.extend(foreign(room.name, room.may_import, "crate", &code));
                found.extend(foreign(room.name, room.may_import, "fanfare", &code));
                found.extend(climbs(path, &code));
                found.extend(impurities(room, &code));
            }
        },
    }
    found
}

/// Imports of `root::…` that the room may not have.
fn foreign(room: &str, may_import: &[&str], root: &str, code: &str) -> Vec<String> {
    heads(code, root)
        .into_iter()
        .filter(|(_, head)| head != room && !may_import.contains(&head.as_str()))
        .map(|(line, head)| format!("line {line}: `{room}` may not import `{head}`"))
        .collect()
}

/// Paths that climb out of their room by `super::`, where no import can be read off them.
fn climbs(path: &str, code: &str) -> Vec<String> {
    // How many modules a line is in: those of the path, and those opened above it in the file.
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let of_path = inside.trim_end_matches("/mod").split('/').count();
    let (mut depth, mut opened) = (0_usize, Vec::new());
    let mut found = Vec::new();
    for (line, content) in code.lines().enumerate() {
        let climbed = (1..).take_while(|n| content.contains(&"super::".repeat(*n))).count();
        if climbed >= of_path + opened.len() {
            found.push(format!("line {}: write `crate::room::…`, not `super::`", line + 1));
        }
        if words(content).any(|(_, word)| word == "mod") && content.contains('{') {
            opened.push(depth);
        }
        depth = (depth + content.matches('{').count()).saturating_sub(content.matches('}').count());
        opened.retain(|at| depth > *at);
    }
    found
}

/// What a pure room mentions that it must not.
fn impurities(room: &Room, code: &str) -> Vec<String> {
    if room.purity == Purity::Free {
        return Vec::new();
    }
    let atomics = room.purity == Purity::PureButAtomics;
    let addresses = room.purity == Purity::PureButAddresses;
    let outside = heads(code, "std")
        .into_iter()
        .filter(|(_, head)| OUTSIDE.contains(&head.as_str()) && !(addresses && head == "net"));
    // A table with a random source in it. In a test it can't change what is sent.
    let (built, _) = code.split_once("#[cfg(test)]\nmod ").unwrap_or((code, ""));
    let hidden = heads(built, "collections")
        .into_iter()
        .filter(|(_, head)| ["HashMap", "HashSet", "*"].contains(&head.as_str()));
    let chance = heads(code, "fastrand").into_iter().filter(|(_, head)| head != "Rng");
    let named = words(code)
        .filter(|(_, word)| {
            IMPURE.split_whitespace().any(|known| known == *word)
                || (word.starts_with("Atomic") && !atomics)
        })
        .map(|(line, word)| (line, word.to_owned()));
    let all = outside.chain(hidden).chain(chance).chain(named);
    all.map(|(line, what)| format!("line {line}: `{}` is pure and names `{what}`", room.name))
        .collect()
}

/// Orderings between threads outside the files where they are argued.
fn orderings(path: &str, code: &str) -> Vec<String> {
    if path == "src/net/wake.rs" || path.starts_with("src/observe/") {
        return Vec::new();
    }
    heads(code, "Ordering")
        .into_iter()
        .filter(|(_, head)| ORDERINGS.contains(&head.as_str()))
        .map(|(line, head)| format!("line {line}: `Ordering::{head}` belongs in net/wake.rs"))
        .collect()
}

/// The names that follow `root::` in `code`, those of a `{group}` one by one, with their lines.
fn heads(code: &str, root: &str) -> Vec<(usize, String)> {
    let wanted = format!("{root}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&wanted) {
        if code[..at].ends_with(crate::source::is_word) {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = code[at + wanted.len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group).into_iter().map(|head| (line, head))),
            None => found.push((line, first_word(rest))),
        }
    }
    found
}

/// The first name of each part of a `{group}`, whose opening brace is already gone.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut part = String::new();
    let mut found = Vec::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(first_word(std::mem::take(&mut part).trim())),
            _ if depth == 0 => part.push(c),
            _ => {}
        }
    }
    found.push(first_word(part.trim()));
    found.retain(|head| !head.is_empty());
    found
}

fn first_word(text: &str) -> String {
    if text.starts_with('*') {
        return "*".to_owned();
    }
    text.chars().take_while(|c| crate::source::is_word(*c)).collect()
}

#[test]
fn a_foreign_import_is_found_in_every_form() {
    for text in [
        "use crate::engine::Shard;",
        "fn f() { crate::engine::f() }",
        "use crate::{limits::X, engine::{Shard, Y}};",
        "use crate::{\n    limits,\n    engine as e,\n};",
        "use crate::*;",
        "pub(in crate::engine) struct X;",
        "#[cfg(test)]\nmod tests { use crate::engine::Shard; }",
        "use super::super::engine;",
        "mod tests {\n    use super::super::super::engine;\n}",
        "mod tests {\n    fn f() {}\n}\nuse super::super::engine;",
        "use fanfare::engine;",
    ] {
        assert_eq!(complaints("src/ws/frame.rs", text).len(), 1, "{text}");
    }
    assert_eq!(complaints("src/ws/mod.rs", "use super::engine;").len(), 1);
    assert_eq!(complaints("src/main.rs", "fn main() { fanfare::net::run() }").len(), 1);
    assert_eq!(complaints("src/attic/mod.rs", "").len(), 1);
}

#[test]
fn an_allowed_import_is_no_complaint() {
    for (path, text) in [
        ("src/ws/frame.rs", "use crate::{limits::X, http::{Head, self}}; use super::mask;"),
        ("src/ws/mod.rs", "mod tests {\n    use super::*;\n}"),
        ("src/ws/frame.rs", "mod tests {\n    use super::super::mask;\n}"),
        ("src/ws/mod.rs", "//! See crate::engine and std::net.\nconst A: &str = \"crate::net\";"),
        ("src/cli/serve.rs", "use crate::net::Server; use std::net::TcpStream;"),
        ("src/main.rs", "fn main() { fanfare::cli::run() }"),
        ("src/config/mod.rs", "use std::net::SocketAddr;"),
    ] {
        assert_eq!(complaints(path, text), [""; 0], "{path}");
    }
}

#[test]
fn an_impure_mention_is_found() {
    for text in [
        "use mio::Poll;",
        "use std::{fmt, net::SocketAddr};",
        "std::thread::yield_now()",
        "use std::sync::Mutex;",
        "static A: AtomicU64 = x;",
        "use crossbeam_channel as c;",
        "std::time::Instant::now()",
        "use std::collections::HashMap;",
        "use std::collections::{BTreeMap, HashSet};",
        "fastrand::u64(..)",
    ] {
        assert_eq!(complaints("src/engine/shard.rs", text).len(), 1, "{text}");
    }
    let tested = "#[cfg(test)]\nmod tests {\n    use std::collections::HashMap;\n}";
    assert_eq!(complaints("src/engine/shard.rs", tested).len(), 0);
    assert_eq!(complaints("src/config/mod.rs", "use std::net::TcpStream;").len(), 1);
    assert_eq!(complaints("src/observe/gauge.rs", "static A: AtomicU64 = x;").len(), 0);
    assert_eq!(complaints("src/observe/gauge.rs", "static A: Mutex<u64> = x;").len(), 1);
}

#[test]
fn an_ordering_between_threads_has_one_place() {
    for text in ["x.load(Ordering::Relaxed)", "use a::Ordering::{Acquire};", "use Ordering::*;"] {
        assert_eq!(complaints("src/net/link.rs", text).len(), 1, "{text}");
        assert_eq!(complaints("src/net/wake.rs", text).len(), 0, "{text}");
    }
    assert_eq!(complaints("src/net/link.rs", "a.cmp(&b) == Ordering::Less").len(), 0);
}
