//! The rules of the house, held against the whole tree: layers, words, documents.
//!
//! Not here: what rustfmt and clippy judge. Invariants: the standard library and nothing else; each
//! rule is a function over text, and beside it stands a test with a made-up offender, so that it is
//! known to be able to fail.

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use source::{File, files, root};
use std::fs;

/// Fails with every complaint of `judge` about every file of the tree.
fn hold(judge: impl Fn(&File) -> Vec<String>) {
    let files = files();
    let complaints: Vec<String> = files
        .iter()
        .flat_map(|file| judge(file).into_iter().map(|wrong| format!("{}: {wrong}", file.path)))
        .collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

#[test]
fn rooms_import_what_they_may_and_pure_rooms_stay_pure() {
    hold(|file| layers::complaints(&file.path, &file.text));
}

#[test]
fn files_keep_to_their_form_and_words() {
    hold(|file| words::complaints(&file.path, &file.text));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let exists = |path: &str| {
        let full = root().join(path);
        if full.is_dir() { Some(String::new()) } else { fs::read_to_string(full).ok() }
    };
    hold(|file| match file.path.ends_with(".md") {
        true => docs::links(&file.path, &file.text, exists),
        false => Vec::new(),
    });
}

#[test]
fn documents_that_code_names_exist() {
    let exists = |path: &str| root().join(path).exists();
    hold(|file| docs::mentions(&file.path, &file.text, exists));
}

#[test]
fn the_table_of_limits_is_true() {
    assert_eq!(docs::limits(&text("src/limits.rs"), &text("docs/limits.md")), [""; 0]);
}

#[test]
fn the_table_of_close_codes_is_true() {
    assert_eq!(docs::close_codes(&text("docs/close-codes.md")), [""; 0]);
}

#[test]
fn the_tests_that_stand_against_attacks_exist() {
    let table = text("docs/vulnerabilities.md");
    let sources: String = files()
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| file.text.as_str())
        .collect();
    assert_eq!(docs::missing_tests(&table, &sources), [""; 0]);
}

#[test]
fn what_is_built_is_pinned() {
    for (lock, manifest) in [
        ("Cargo.lock", "Cargo.toml"),
        ("tests/clients/package-lock.json", "tests/clients/package.json"),
        ("benches/peers/node/package-lock.json", "benches/peers/node/package.json"),
        ("benches/peers/rust/Cargo.lock", "benches/peers/rust/Cargo.toml"),
    ] {
        assert!(root().join(manifest).exists(), "{manifest} is missing");
        assert!(root().join(lock).exists(), "{lock} is missing");
    }
    let ignored = text(".gitignore");
    assert!(!ignored.contains(".lock") && !ignored.contains("-lock"), "a lock file is ignored");
}
