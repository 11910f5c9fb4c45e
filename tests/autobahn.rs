//! The Autobahn|Testsuite against the real binary: the quick cases, and that its judge can say no.
//!
//! Not here: the suite, its cases and what is expected of each (`tests/autobahn/`), nor the run of
//! all cases, which takes minutes: `tests/autobahn/run`.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Cases that the suite has.
const CASES: usize = 517;

/// Whether the broker compresses: without, what is about it counts as not implemented.
const DEFLATE: bool = true;

/// Those that inform and never pass or fail.
const INFORMATIONAL: [&str; 3] = ["7.1.6", "7.13.1", "7.13.2"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn run(args: &[&str]) -> Output {
    Command::new(root().join("tests/autobahn/run"))
        .args(args)
        .env("FANFARE_BIN", env!("CARGO_BIN_EXE_fanfare"))
        .output()
        .expect("Python 3 is installed")
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn expected() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("tests/autobahn/expected.txt")).expect("a file");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(' ').expect("a case and its outcome"));
    pairs.map(|(case, outcome)| (case.to_owned(), outcome.to_owned())).collect()
}

/// Reports as the suite leaves them, of every case as expected but where `differ` says otherwise.
fn reports(folder: &Path, differ: impl Fn(&str) -> Option<Value>) {
    let expected = expected();
    let reports: Map<String, Value> = expected
        .iter()
        .filter_map(|(case, outcome)| {
            let as_expected = json!({ "behavior": outcome, "behaviorClose": "OK" });
            let report = differ(case).unwrap_or(as_expected);
            (!report.is_null()).then(|| (case.clone(), report))
        })
        .collect();
    let folder = folder.join("client-0");
    fs::create_dir_all(&folder).expect("a folder");
    let index = json!({ "fanfare": reports }).to_string();
    fs::write(folder.join("index.json"), index).expect("a file");
}

#[test]
fn the_quick_cases_end_as_expected() {
    let output = run(&["--quick"]);
    assert!(output.status.success(), "{}", said(&output));
    eprintln!("{}", said(&output));
}

#[test]
fn every_case_is_expected_to_end_well() {
    let expected = expected();
    assert_eq!(expected.len(), CASES);
    for (case, outcome) in &expected {
        let compresses = case.starts_with("12.") || case.starts_with("13.");
        let fits = match outcome.as_str() {
            "OK" => !INFORMATIONAL.contains(&case.as_str()),
            "INFORMATIONAL" => INFORMATIONAL.contains(&case.as_str()),
            "UNIMPLEMENTED" => compresses && !DEFLATE,
            _ => false,
        };
        assert!(fits, "{case} {outcome}");
    }
}

#[test]
fn a_case_that_ends_otherwise_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let judge = |differ: &dyn Fn(&str) -> Option<Value>| {
        reports(folder.path(), differ);
        run(&["--judge", folder.path().to_str().expect("a path that is text")])
    };
    assert!(judge(&|_| None).status.success());
    let report = |behavior, close| json!({ "behavior": behavior, "behaviorClose": close });
    for (case, wrong) in [
        ("1.1.1", report("FAILED", "OK")),
        ("6.4.2", report("NON-STRICT", "OK")),
        ("12.1.1", report("OK", "FAILED")),
        ("9.1.6", report("UNIMPLEMENTED", "UNIMPLEMENTED")),
        ("7.7.1", report("OK", "UNCLEAN")),
        ("7.13.2", report("OK", "OK")),
        ("13.7.18", Value::Null),
    ] {
        let output = judge(&|asked| (asked == case).then(|| wrong.clone()));
        assert_eq!(output.status.code(), Some(1), "{case} as {wrong}");
        let named = said(&output).lines().filter(|line| line.contains(", expected ")).count();
        assert!(said(&output).starts_with(&format!("{case}: ")) && named == 1, "{}", said(&output));
    }
}
