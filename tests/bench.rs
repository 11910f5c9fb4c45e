//! The real binary's load tester, against its own floor, the broker, and a server others wrote.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use tungstenite::Message;

/// The binary, with none of the tester's own environment that it reads.
fn fanfare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FANFARE_")) {
        command.env_remove(name);
    }
    command.env_remove("PORT").env_remove("RUST_LOG").args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A server that does not outlive its test.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut child = fanfare(args).stderr(Stdio::null()).spawn().expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ").expect("it listens").to_owned();
        Self { child, address }
    }

    fn broker() -> Self {
        Self::start(&["serve", "--listen", "127.0.0.1:0", "--loops", "1", "--echo-route"])
    }

    fn floor(args: &[&str]) -> Self {
        Self::start(&[&["bench", "floor", "--listen", "127.0.0.1:0"], args].concat())
    }

    fn bench(&self, line: &str) -> Output {
        let args: Vec<&str> = line.split_whitespace().collect();
        let args = [&["bench"], &args[..], &["--addr", &self.address, "--json"]].concat();
        fanfare(&args).output().expect("the binary runs")
    }

    /// The report of a measurement that succeeds.
    fn report(&self, line: &str) -> Value {
        let output = self.bench(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    }
}

fn number(report: &Value, pointer: &str) -> f64 {
    let value = report.pointer(pointer).and_then(Value::as_f64);
    assert!(value.is_some(), "{pointer} in {report}");
    value.unwrap_or_default()
}

fn assert_faultless(report: &Value) {
    for fault in ["/lost", "/duplicated", "/reordered", "/unknown", "/connections_ended"] {
        assert_eq!(number(report, fault), 0.0, "{fault} in {report}");
    }
    let expected = number(report, "/published") * number(report, "/members_per_room");
    assert_eq!(number(report, "/deliveries"), expected);
    assert!(expected > 0.0, "{report}");
}

#[test]
fn broker_and_floor_deliver_everything_in_every_shape() {
    let servers = [
        Server::broker(),
        Server::floor(&["--kind", "fanout"]),
        Server::floor(&["--kind", "fanout", "--join", "8"]),
    ];
    for server in &servers {
        for load in [
            "--subs 1 --window 1",
            "--subs 50 --pubs 3 --window 4",
            "--rooms 5 --subs 4 --rate 500",
            "--subs 10 --size 70000 --window 2",
            "--subs 5 --text --size 40",
        ] {
            let report = server.report(&format!("{load} --secs 0.2 --warm-up 0.05 --max-loss 0"));
            assert_faultless(&report);
            assert!(number(&report, "/client/cpu_us_each") > 0.0);
            assert_eq!(number(&report, "/server/pid"), f64::from(server.child.id()));
            assert!(number(&report, "/latency_us/p50") <= number(&report, "/latency_us/max"));
        }
    }
}

#[test]
fn echoes_come_back_from_broker_and_floor() {
    for server in [Server::broker(), Server::floor(&["--kind", "echo"])] {
        assert_faultless(&server.report("echo --conns 20 --secs 0.2 --warm-up 0.05"));
    }
}

#[test]
fn connections_come_and_go_however_they_leave() {
    for server in [Server::broker(), Server::floor(&["--kind", "connect"])] {
        for leave in ["frame", "drop"] {
            let line = format!("connect --secs 0.2 --warm-up 0.05 --window 4 --leave {leave}");
            let report = server.report(&line);
            assert_eq!(number(&report, "/failed"), 0.0, "{report}");
            assert!(number(&report, "/cycles") > 0.0 && number(&report, "/server/cores") > 0.0);
        }
    }
}

#[test]
fn idle_connections_are_weighed() {
    let report = Server::broker().report("idle --conns 300 --rooms 7");
    assert_eq!(number(&report, "/connections"), 300.0);
    assert!(number(&report, "/joined_bytes") >= number(&report, "/before_bytes"), "{report}");
    assert!(number(&report, "/before_bytes") > 0.0);
}

#[test]
fn a_broken_limit_is_exit_code_1_and_the_report_is_there_all_the_same() {
    let server = Server::floor(&[]);
    let output = server.bench("--subs 5 --secs 0.1 --warm-up 0.05 --max-p99 0.000001");
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_faultless(&report);
    assert!(String::from_utf8_lossy(&output.stderr).contains("p99 is"));
}

#[test]
fn what_can_not_be_asked_is_exit_code_2_and_nobody_there_is_1() {
    let server = Server::floor(&[]);
    for line in ["--pubs 2 --subs 1", "--size 39", "--rate 0", "--rate 5 --window 5", "--secs 0"] {
        assert_eq!(server.bench(line).status.code(), Some(2), "{line}");
    }
    let address = server.address.clone();
    drop(server);
    let output = fanfare(&["bench", "--addr", &address]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("connections could be opened"));
}

/// A chat of its own protocol: the first message joins, each later one comes back in an envelope,
/// every third of them twice.
fn odd_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::Builder::new()
        .spawn(move || {
            let (stream, _) = listener.accept().expect("the load tester");
            let mut socket = tungstenite::accept(stream).expect("a handshake");
            let join = socket.read().expect("a join");
            assert_eq!(join, Message::text(r#"{"join":"hall"}"#));
            for nth in 1.. {
                let Ok(message) = socket.read() else { return };
                let envelope = Message::text(format!(r#"{{"from":"x","was":{message}}}"#));
                for _ in 0..1 + u32::from(nth % 3 == 0) {
                    if socket.send(envelope.clone()).is_err() {
                        return;
                    }
                }
            }
        })
        .expect("a thread");
    address
}

#[test]
fn templates_speak_to_other_servers_and_faults_are_counted() {
    let address = odd_server();
    let (join, message) = (r#"{"join":"{room}"}"#, r#"{"room":"{room}","say":"{payload}"}"#);
    let args = ["bench", "--addr", &address, "--json", "--subs", "1", "--room", "hall"];
    let shape =
        ["--path-template", "/chat", "--join-template", join, "--message-template", message];
    let time = ["--secs", "0.1", "--warm-up", "0.05"];
    let output = fanfare(&[&args[..], &shape, &time].concat()).output().expect("the binary runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert!(number(&report, "/deliveries") > 3.0, "{report}");
    assert!(number(&report, "/duplicated") > 0.0, "{report}");
    assert_eq!(number(&report, "/lost") + number(&report, "/unknown"), 0.0, "{report}");
}
