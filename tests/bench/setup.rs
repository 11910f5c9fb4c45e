//! Servers and clients as processes, and what is read of a report.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

/// The binary, with none of the tester's own environment that it reads.
pub(crate) fn fanfare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FANFARE_")) {
        command.env_remove(name);
    }
    command.env_remove("PORT").env_remove("RUST_LOG").args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A server that does not outlive its test.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = fanfare(args).stderr(Stdio::null()).spawn().expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ").expect("it listens").to_owned();
        Self { child, address }
    }

    pub(crate) fn broker() -> Self {
        Self::start(&["serve", "--listen", "127.0.0.1:0", "--loops", "1", "--echo-route"])
    }

    pub(crate) fn floor(args: &[&str]) -> Self {
        Self::start(&[&["bench", "floor", "--listen", "127.0.0.1:0"], args].concat())
    }

    pub(crate) fn bench(&self, line: &str) -> Output {
        bench(&self.address, line)
    }

    /// The report of a measurement that succeeds.
    pub(crate) fn report(&self, line: &str) -> Value {
        let output = self.bench(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    }
}

/// Measures the server at `address`.
pub(crate) fn bench(address: &str, line: &str) -> Output {
    let args: Vec<&str> = line.split_whitespace().collect();
    let args = [&["bench"], &args[..], &["--addr", address, "--json"]].concat();
    fanfare(&args).output().expect("the binary runs")
}

/// The report and what was said beside it, of a measurement that ends with that exit code.
pub(crate) fn told(output: &Output, code: i32) -> (Value, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    (serde_json::from_slice(&output.stdout).expect("one JSON object"), said)
}

pub(crate) fn number(report: &Value, pointer: &str) -> f64 {
    let value = report.pointer(pointer).and_then(Value::as_f64);
    assert!(value.is_some(), "{pointer} in {report}");
    value.unwrap_or_default()
}

const FAULTS: [&str; 7] = [
    "/lost",
    "/duplicated",
    "/reordered",
    "/unknown",
    "/damaged",
    "/warm_up_lost",
    "/connections_ended",
];

pub(crate) fn assert_faultless(report: &Value) {
    for fault in FAULTS {
        assert_eq!(number(report, fault), 0.0, "{fault} in {report}");
    }
    let expected = number(report, "/published") * number(report, "/members_per_room");
    assert_eq!(number(report, "/deliveries"), expected);
    assert!(expected > 0.0, "{report}");
}
