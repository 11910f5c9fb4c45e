//! Lengths, headers, names and words that every file of the tree keeps to.
//!
//! Not here: imports (`layers.rs`), what the documents claim (`docs.rs`). Invariant: a word that is
//! banned is written here in two pieces, so that these files need no exception.

use crate::source::{code, without_literals, words};

const FILE_LINES_MAX: usize = 600;
const LINE_CHARS_MAX: usize = 100;
const FUZZ_TARGET_LINES_MAX: usize = 30;

/// Marks of unfinished work: finish it, or write it down where work is planned.
const UNFINISHED: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// Names that say nothing about what a thing is.
const EMPTY_NAMES: [&str; 8] =
    ["common", "handler", "helper", "helpers", "manager", "service", "util", "utils"];

/// Verbs that say nothing about what a function does; `get_mut` is the language's own.
const EMPTY_VERBS: [&str; 4] = ["get_", "do_", "process_", "test_"];

/// Paths of one machine, and hosts that packages come from: neither is anybody else's business.
const FOREIGN: [&str; 12] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/tmp/", "wt/"),
    concat!("crates", ".io/"),
    concat!("index.crates", ".io"),
    concat!("npm", "js.org"),
    concat!("npm", "js.com"),
    concat!("py", "pi.org"),
    concat!("pythonhosted", ".org"),
    concat!("deb.debian", ".org"),
    concat!("\"reso", "lved\""),
];

/// What is wrong with the form and the words of one file.
pub(crate) fn complaints(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if path.ends_with(".rs") {
        found.extend(form(path, text));
        found.extend(names(path, &code(text)));
    }
    // A lock file is made by its tool and names where packages come from; npm's is told not to.
    if !path.ends_with("Cargo.lock") {
        found.extend(unfinished(text));
        found.extend(foreign(text));
        found.extend(plans(text));
    }
    found
}

fn form(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//! ") {
        found.push("it does not open with `//!`".to_owned());
    }
    let lines = text.lines().count();
    let is_target = path.starts_with("fuzz/fuzz_targets/");
    let most = if is_target { FUZZ_TARGET_LINES_MAX } else { FILE_LINES_MAX };
    if lines > most {
        found.push(format!("it has {lines} lines, more than {most}"));
    }
    // A literal can't be broken, not by rustfmt either.
    for (line, content) in without_literals(text).lines().enumerate() {
        if content.chars().count() > LINE_CHARS_MAX {
            found.push(format!("line {}: longer than {LINE_CHARS_MAX}", line + 1));
        }
    }
    found
}

fn names(path: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = "";
    for (line, word) in words(code) {
        let defines = ["struct", "enum", "trait", "type", "mod", "union"].contains(&before);
        let is_empty_name = parts(word).any(|part| EMPTY_NAMES.contains(&part.as_str()));
        if defines && path.starts_with("src/") && is_empty_name {
            found.push(format!("line {line}: `{word}` does not say what it is"));
        }
        let is_empty_verb = EMPTY_VERBS.iter().any(|verb| word.starts_with(verb));
        if before == "fn" && is_empty_verb && word != "get_mut" {
            found.push(format!("line {line}: `{word}` does not say what it does"));
        }
        before = word;
    }
    if code.contains("#[ignore") {
        found.push("a test is ignored".to_owned());
    }
    found
}

/// The words that a name is made of, in lower case: `ConnTable` and `conn_table` alike.
fn parts(name: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    for c in name.chars() {
        if c.is_uppercase() || c == '_' {
            spaced.push(' ');
        }
        if c != '_' {
            spaced.extend(c.to_lowercase());
        }
    }
    spaced.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn unfinished(text: &str) -> Vec<String> {
    words(text)
        .filter(|(_, word)| UNFINISHED.contains(word))
        .map(|(line, word)| format!("line {line}: {word}"))
        .collect()
}

fn foreign(text: &str) -> Vec<String> {
    let numbered = text.lines().enumerate();
    numbered
        .flat_map(|(line, content)| {
            let hits = FOREIGN.iter().filter(|foreign| content.contains(**foreign));
            hits.map(move |foreign| format!("line {}: {foreign}", line + 1))
        })
        .collect()
}

/// References to plans that a reader of the product does not have.
fn plans(text: &str) -> Vec<String> {
    let numbered = text.lines().enumerate();
    numbered
        .filter(|(_, content)| {
            let lower = content.to_lowercase();
            let hits = ["issue #", "issue ", "(#"].into_iter().flat_map(|mark| {
                lower.match_indices(mark).map(|(at, mark)| at + mark.len()).collect::<Vec<_>>()
            });
            hits.into_iter().any(|end| lower[end..].starts_with(|c: char| c.is_ascii_digit()))
        })
        .map(|(line, _)| format!("line {}: refers to a plan by number", line + 1))
        .collect()
}

#[test]
fn a_file_without_a_header_or_too_long_is_found() {
    let header = "//! What it is.\n";
    let long_line = format!("{header}// {}\n", "x".repeat(LINE_CHARS_MAX));
    let string_line = format!("{header}const A: &str =\n    \"{}\";\n", "x".repeat(LINE_CHARS_MAX));
    let long_file = format!("{header}{}", "\n".repeat(FILE_LINES_MAX));
    let long_target = format!("{header}{}", "\n".repeat(FUZZ_TARGET_LINES_MAX));
    assert_eq!(complaints("src/a.rs", header), [""; 0]);
    assert_eq!(complaints("src/a.rs", "fn a() {}").len(), 1);
    assert_eq!(complaints("src/a.rs", &long_line).len(), 1);
    assert_eq!(complaints("src/a.rs", &string_line), [""; 0]);
    assert_eq!(complaints("src/a.rs", &long_file).len(), 1);
    assert_eq!(complaints("src/a.rs", &long_target), [""; 0]);
    assert_eq!(complaints("fuzz/fuzz_targets/a.rs", &long_target).len(), 1);
}

#[test]
fn an_empty_name_is_found_where_it_is_defined() {
    for bad in ["struct ConnManager;", "mod util {}", "fn get_room() {}", "fn test_it() {}"] {
        assert_eq!(complaints("src/a.rs", &format!("//! A.\n{bad}\n")).len(), 1, "{bad}");
    }
    for good in ["fn get_mut() {}", "fn handle_eof() {}", "fn utility() {}", "// fn get_a() {}"] {
        assert_eq!(complaints("src/a.rs", &format!("//! A.\n{good}\n")), [""; 0], "{good}");
    }
    let ignored = concat!("//! A.\n#[test]\n#[ig", "nore]\nfn a() {}\n");
    assert_eq!(complaints("tests/a.rs", ignored).len(), 1);
}

#[test]
fn a_banned_word_is_found_in_any_file() {
    for word in UNFINISHED.iter().chain(&FOREIGN) {
        assert_eq!(complaints("docs/a.md", &format!("one\ntwo {word} three")).len(), 1, "{word}");
        assert_eq!(complaints("Cargo.lock", word), [""; 0], "{word}");
    }
    for plan in [concat!("see issue ", "12"), concat!("mended (#", "7)"), concat!("Issue #", "3")] {
        assert_eq!(complaints("CHANGELOG.md", plan).len(), 1, "{plan}");
    }
    assert_eq!(complaints("docs/a.md", "an issue of trust, (# of rooms), todo lists"), [""; 0]);
}
