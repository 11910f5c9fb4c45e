//! The real binary's load tester, against its own floor, the broker, and a server others wrote.

#[path = "bench/native.rs"]
mod native;
#[path = "bench/odd_servers.rs"]
mod odd_servers;
#[path = "bench/setup.rs"]
mod setup;

use fanfare::auth::{IssuedClaims, Secret, Signer, TokenAlg};
use serde_json::Value;
use setup::{Server, assert_faultless, bench, fanfare, number, told};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

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
            assert_eq!(report["server"]["pids"], serde_json::json!([server.child.id()]));
            assert!(number(&report, "/messages_per_read") >= 1.0, "{report}");
            assert!(report["client_is_bottleneck"].is_boolean(), "{report}");
            assert!(number(&report, "/latency_us/p50") <= number(&report, "/latency_us/max"));
        }
    }
}

#[test]
fn echoes_come_back_from_broker_and_floor() {
    for server in [Server::broker(), Server::floor(&["--kind", "echo"])] {
        let report = server.report("echo --conns 20 --secs 0.2 --warm-up 0.05");
        assert_faultless(&report);
        assert!(report["client_is_bottleneck"].is_boolean(), "{report}");
    }
}

/// JSON of at least as many bytes as the broker compresses by default, and fewer.
const COMPRESSED: &str = "--content json --deflate --size 1024";
const TOO_SMALL: &str = "--content json --deflate --size 200";

#[test]
fn the_broker_compresses_what_is_large_enough_and_loses_nothing() {
    let server = Server::broker();
    for line in
        ["--subs 20 --pubs 2 --window 4", "--rooms 3 --subs 2 --rate 300 --text", "echo --conns 10"]
    {
        let time = "--secs 0.2 --warm-up 0.05";
        let report = server.report(&format!("{line} {COMPRESSED} {time} --max-loss 0"));
        assert_faultless(&report);
        assert_eq!(report["compressed"], report["deliveries"], "{line}: {report}");
        let bytes = number(&report, "/wire_bytes_each");
        assert!((50.0..700.0).contains(&bytes), "{line}: {report}");
        let report = server.report(&format!("{line} {TOO_SMALL} {time} --max-loss 0"));
        assert_faultless(&report);
        assert_eq!(number(&report, "/compressed"), 0.0, "{line}: {report}");
        assert_eq!(number(&report, "/wire_bytes_each"), 200.0, "{line}: {report}");
    }
}

#[test]
fn who_does_not_offer_compression_and_whoever_asks_the_floor_gets_none() {
    let time = "--secs 0.2 --warm-up 0.05";
    for (server, line) in [
        (Server::broker(), "--subs 5 --content json --size 1024"),
        (Server::floor(&[]), "--subs 5 --content json --deflate --size 1024"),
        (Server::floor(&["--kind", "echo"]), "echo --conns 5 --content json --deflate --size 1024"),
    ] {
        let report = server.report(&format!("{line} {time}"));
        assert_faultless(&report);
        assert_eq!(number(&report, "/compressed"), 0.0, "{line}: {report}");
        assert_eq!(number(&report, "/wire_bytes_each"), 1024.0, "{line}: {report}");
    }
}

#[test]
fn broker_and_floor_are_asked_how_many_messages_a_write_carries() {
    let (broker, floor) = (Server::broker(), Server::floor(&["--join", "8"]));
    for (server, line, range) in [
        (&broker, "--subs 20 --window 1 --secs 0.2", 0.5..=1.1),
        (&broker, "--subs 20 --window 32 --secs 0.2", 4.0..=33.0),
        (&broker, "echo --conns 5 --window 1 --secs 0.2", 0.5..=1.1),
        (&floor, "--subs 20 --window 1 --secs 0.2", 0.5..=1.1),
        (&floor, "--subs 20 --window 32 --secs 0.2", 2.0..=8.1),
    ] {
        let report = server.report(line);
        assert!(range.contains(&number(&report, "/messages_per_send")), "{line}: {report}");
    }
}

#[test]
fn a_server_may_be_named() {
    let server = Server::floor(&[]);
    let (_, port) = server.address.rsplit_once(':').expect("a port");
    let output = bench(&format!("localhost:{port}"), "--subs 5 --secs 0.1 --warm-up 0.05");
    let (report, _) = told(&output, 0);
    assert_faultless(&report);
    assert_eq!(number(&report, "/server/pid"), f64::from(server.child.id()));
    for (address, said) in [("localhost", "a port is missing"), ("localhost:x", "no port")] {
        let output = bench(address, "--subs 5");
        assert_eq!(output.status.code(), Some(2), "{address}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{address}");
    }
}

#[test]
fn a_process_that_is_named_twice_counts_once() {
    let server = Server::floor(&[]);
    let pid = server.child.id();
    let report = server.report(&format!("--subs 5 --secs 0.1 --warm-up 0.05 --pid {pid},{pid}"));
    assert_eq!(report["server"]["pids"], serde_json::json!([pid]), "{report}");
}

#[test]
fn connections_come_and_go_however_they_leave() {
    for server in [Server::broker(), Server::floor(&["--kind", "connect"])] {
        for leave in ["frame", "drop"] {
            let line = format!("connect --secs 0.2 --warm-up 0.05 --window 4 --leave {leave}");
            let report = server.report(&line);
            assert_eq!(number(&report, "/failed"), 0.0, "{report}");
            assert!(number(&report, "/cycles") > 0.0 && number(&report, "/server/cores") > 0.0);
            assert!(report["client_is_bottleneck"].is_boolean(), "{report}");
        }
    }
}

/// The secret of a broker that wants tokens, and tokens of so many users, a line each.
const SECRET: &str = "a secret that nobody else knows 1";

fn tokens(users: usize) -> String {
    let key = Secret::new(SECRET.as_bytes());
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &key).expect("a long secret");
    let sign = |nth| {
        let user = format!("user-{nth}");
        let rooms = Some(serde_json::json!({"join": ["*"], "publish": true}));
        let claims = IssuedClaims { user, rooms, exp: 1 << 40, ..IssuedClaims::default() };
        signer.sign(&claims).expect("a token") + "\n"
    };
    (0..users).map(sign).collect()
}

fn samples(server: &Server, name: &str) -> f64 {
    let page =
        said_at_once(server, b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let page = String::from_utf8_lossy(&page).into_owned();
    let line = page.lines().find_map(|line| line.strip_prefix(name)).expect("a sample");
    line.trim().parse().expect("a number")
}

#[test]
fn connections_show_a_token_each_whatever_they_are_for() {
    let line = ["serve", "--listen", "127.0.0.1:0", "--loops", "1", "--echo-route"];
    let server = Server::start(&[&line[..], &["--auth-hs256-key", SECRET]].concat());
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), tokens(3)).expect("a file");
    let shown = format!("--tokens {}", file.path().display());
    let time = "--secs 0.2 --warm-up 0.05";
    for load in ["--subs 5 --pubs 2", "--protocol json --subs 5", "echo --conns 5"] {
        assert_faultless(&server.report(&format!("{load} {time} {shown}")));
    }
    let report = server.report(&format!("connect --window 4 {time} {shown}"));
    assert_eq!(number(&report, "/failed"), 0.0, "{report}");
    server.report(&format!("idle --conns 10 {shown}"));
    let accepted = samples(&server, "fanfare_tokens_accepted_total");
    assert!(accepted >= number(&report, "/cycles") + 25.0, "{accepted} tokens");

    let one = tokens(1);
    let with = |value: &str| {
        let line = ["bench", "--addr", &server.address, "--json", "--subs", "2", "--secs", "0.1"];
        fanfare(&line).env("FANFARE_TOKEN", value).output().expect("the binary runs")
    };
    assert_faultless(&told(&with(one.trim()), 0).0);
    for (value, why) in [("", " 401"), ("a.b.c", " 401"), ("no token", "no JSON Web Token")] {
        let output = with(value);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why) && !said.contains("no token"), "{said}");
    }
    let output = server.bench("connect --tokens /nowhere/at/all --secs 0.1");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot read /nowhere/at/all"), "{said}");
}

#[test]
fn idle_connections_are_weighed() {
    let report = Server::broker().report("idle --conns 300 --rooms 7");
    assert_eq!(number(&report, "/connections"), 300.0);
    assert!(number(&report, "/joined_bytes") >= number(&report, "/before_bytes"), "{report}");
    assert!(number(&report, "/before_bytes") > 0.0);
    assert_eq!(report["settled"], true, "{report}");
    assert_eq!(number(&report, "/compressing"), 0.0, "{report}");
}

#[test]
fn connections_at_rest_tell_whether_they_agreed_on_compression() {
    for (server, agreed) in [(Server::broker(), 40.0), (Server::floor(&[]), 0.0)] {
        let report = server.report("idle --conns 40 --deflate");
        assert_eq!(number(&report, "/compressing"), agreed, "{report}");
        assert_eq!(number(&report, "/connections"), 40.0, "{report}");
    }
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
    for line in [
        "--pubs 2 --subs 1",
        "--size 39",
        "--size 16777217",
        "--rate 0",
        "--rate 1000001",
        "--rate 5 --window 5",
        "--window 65536 --size 65536",
        "--secs 0",
        "--secs 3600 --warm-up 700",
        "--subs 1000001",
        "--rooms 1001 --subs 1000",
        "--subs 10000 --pubs 10000",
        "echo --conns 1000001",
        "echo --size 39",
        "echo --secs 3600",
        "connect --window 1000001",
        "connect --secs 3600",
        "idle --conns 1000001",
        "--room é",
        "--path-template raw",
        "echo --path echo",
        "idle --path-template raw",
        "connect --path-template raw",
    ] {
        let output = server.bench(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.is_empty()), (Some(2), false), "{line}: {said}");
    }
    let address = server.address.clone();
    drop(server);
    let output = fanfare(&["bench", "--addr", &address]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("connections could be opened"));
}

#[test]
fn more_connections_than_descriptors_are_refused_before_any_is_opened() {
    let server = Server::floor(&[]);
    let line = "ulimit -n 100; exec \"$0\" bench --addr \"$1\" --subs 69";
    let mut shell = Command::new("sh");
    shell.args(["-c", line, env!("CARGO_BIN_EXE_fanfare"), &server.address]);
    let output = shell.output().expect("a shell");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("69 connections do not fit into the limit of 100 descriptors"), "{said}");
}

#[test]
fn rates_and_cores_that_can_not_be_are_no_crash() {
    let server = Server::floor(&[]);
    let report = server.report("--subs 1 --rate 0.00000000000000001 --secs 0.2 --warm-up 0.1");
    assert_faultless(&report);
    let output = server.bench("--subs 1 --cpu 5000");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot bind to core 5000"));
}

/// Sends those bytes to the floor at once, and reads what comes until it hangs up.
fn said_at_once(floor: &Server, wire: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(&floor.address).expect("the floor");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    stream.write_all(wire).expect("the floor");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("its end");
    answer
}

#[test]
fn the_floor_sends_what_came_with_the_handshake_and_with_the_close() {
    let request = b"GET /raw/x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let frames = b"\x82\x83\0\0\0\0one\x82\x83\x01\x02\x03\x04uul\x88\x82\0\0\0\0\x03\xe8";
    for args in [&["--kind", "echo"][..], &["--kind", "fanout"], &["--join", "8"]] {
        let answer = said_at_once(&Server::floor(args), &[&request[..], frames].concat());
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        assert_eq!(&answer[end + 4..], b"\x82\x03one\x82\x03two\x88\x02\x03\xe8", "{args:?}");
    }
}

#[test]
fn the_floor_hangs_up_once_it_has_told_its_counts() {
    let request = b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let page = said_at_once(&Server::floor(&[]), request);
    assert!(page.ends_with(b"# EOF\n"), "{}", String::from_utf8_lossy(&page));
}
