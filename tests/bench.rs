//! The real binary's load tester, against its own floor, the broker, and a server others wrote.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Bytes, Message, WebSocket};

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
        bench(&self.address, line)
    }

    /// The report of a measurement that succeeds.
    fn report(&self, line: &str) -> Value {
        let output = self.bench(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    }
}

/// Measures the server at `address`.
fn bench(address: &str, line: &str) -> Output {
    let args: Vec<&str> = line.split_whitespace().collect();
    let args = [&["bench"], &args[..], &["--addr", address, "--json"]].concat();
    fanfare(&args).output().expect("the binary runs")
}

/// The report and what was said beside it, of a measurement that ends with that exit code.
fn told(output: &Output, code: i32) -> (Value, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    (serde_json::from_slice(&output.stdout).expect("one JSON object"), said)
}

fn number(report: &Value, pointer: &str) -> f64 {
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

fn assert_faultless(report: &Value) {
    for fault in FAULTS {
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

type Socket = WebSocket<TcpStream>;

/// A server of this process that serves its first `count` connections in one thread, and no more.
fn fake(
    count: usize,
    serve: impl FnOnce(Vec<Socket>) + Send + 'static,
) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let accept = move || {
        let accepted = (0..count).map(|_| {
            let (stream, _) = listener.accept().expect("the load tester");
            tungstenite::accept(stream).expect("a handshake")
        });
        let accepted = accepted.collect();
        drop(listener);
        serve(accepted);
    };
    (address, thread::Builder::new().spawn(accept).expect("a thread"))
}

/// The one connection of a [`fake`].
fn only(sockets: Vec<Socket>) -> Socket {
    sockets.into_iter().next().expect("a connection")
}

/// The next message that a client sends; none once it is gone.
fn next(socket: &mut Socket) -> Option<Bytes> {
    loop {
        let message = socket.read().ok()?;
        if message.is_binary() {
            return Some(message.into_data());
        }
        assert!(message.is_pong(), "{message}");
    }
}

/// Whether the client, having read all so far and turned around twice, has sent nothing.
fn is_waiting(socket: &mut Socket) -> bool {
    (0..3).all(|_| {
        socket.send(Message::Ping(Bytes::new())).expect("a client");
        matches!(socket.read(), Ok(Message::Pong(_)))
    })
}

/// Sends back what comes until the client leaves.
fn echo(socket: &mut Socket) {
    while let Some(payload) = next(socket) {
        if socket.send(Message::Binary(payload)).is_err() {
            return;
        }
    }
}

/// What tells the messages of a phase from those of another.
fn mark(payload: &Bytes) -> Bytes {
    payload.slice(..8)
}

const BRIEF: &str = "--subs 1 --secs 0.2 --warm-up 0.1";

#[test]
fn a_message_in_fragments_counts_at_its_last_one() {
    let (address, server) = fake(1, |sockets| {
        let mut socket = only(sockets);
        let first = next(&mut socket).expect("a message");
        for (part, opcode, fin) in [
            (first.slice(..50), Data::Binary, false),
            (first.slice(50..90), Data::Continue, false),
            (first.slice(90..), Data::Continue, true),
        ] {
            assert!(is_waiting(&mut socket), "it counted before its end");
            let frame = Frame::message(part, OpCode::Data(opcode), fin);
            socket.send(Message::Frame(frame)).expect("a client");
        }
        echo(&mut socket);
    });
    let (report, _) = told(&bench(&address, BRIEF), 0);
    server.join().expect("no assertion failed");
    assert_faultless(&report);
}

#[test]
fn a_message_cut_short_is_damaged_and_no_delivery_is_a_failure() {
    let (address, _) = fake(1, |sockets| {
        let mut socket = only(sockets);
        while let Some(payload) = next(&mut socket) {
            socket.send(Message::Binary(payload.slice(..60))).expect("a client");
        }
    });
    let (report, said) = told(&bench(&address, &format!("{BRIEF} --max-p99 9999")), 1);
    assert!(said.contains("nothing was delivered") && said.contains("no p99"), "{said}");
    assert!(number(&report, "/damaged") > 0.0, "{report}");
    assert_eq!(number(&report, "/lost"), number(&report, "/published"), "{report}");
    assert_eq!(number(&report, "/deliveries"), 0.0, "{report}");
    for none in ["/latency_us/p50", "/latency_us/max", "/client/cpu_us_each"] {
        assert_eq!(report.pointer(none), Some(&Value::Null), "{none} in {report}");
    }
}

#[test]
fn a_repeated_message_is_neither_a_delivery_nor_a_credit() {
    let (address, server) = fake(1, |sockets| {
        let mut socket = only(sockets);
        let mut phase = None;
        while let Some(payload) = next(&mut socket) {
            let is_new = phase.replace(mark(&payload)) != Some(mark(&payload));
            for _ in 0..1 + 2 * u32::from(is_new) {
                socket.send(Message::Binary(payload.clone())).expect("a client");
            }
            if is_new {
                let answer = next(&mut socket).expect("the credit of the first copy");
                assert!(is_waiting(&mut socket), "a copy was a credit");
                socket.send(Message::Binary(answer)).expect("a client");
            }
        }
    });
    let (report, _) = told(&bench(&address, BRIEF), 0);
    server.join().expect("no assertion failed");
    assert_eq!(number(&report, "/duplicated"), 2.0, "{report}");
    assert_eq!(number(&report, "/deliveries"), number(&report, "/published"), "{report}");
}

/// Sends back all but the second message of the first phase, which is sent `copies` times when the
/// second phase has begun.
fn late_server(copies: usize) -> String {
    let (address, _) = fake(1, move |sockets| {
        let mut socket = only(sockets);
        let first = next(&mut socket).expect("a message");
        socket.send(Message::Binary(first.clone())).expect("a client");
        let late = next(&mut socket).expect("a message");
        let begun = next(&mut socket).expect("the second phase");
        assert_ne!(mark(&begun), mark(&first));
        for payload in std::iter::repeat_n(late, copies).chain([begun]) {
            socket.send(Message::Binary(payload)).expect("a client");
        }
        echo(&mut socket);
    });
    address
}

#[test]
fn what_the_warm_up_is_still_owed_counts_for_nothing_when_it_comes() {
    let (report, _) = told(&bench(&late_server(2), &format!("{BRIEF} --max-loss 0")), 0);
    assert_faultless(&report);
    assert!(number(&report, "/latency_us/max") < 1e6, "{report}");
}

#[test]
fn a_loss_of_the_warm_up_is_told_by_itself_and_breaks_the_limit() {
    let (report, said) = told(&bench(&late_server(0), &format!("{BRIEF} --max-loss 0")), 1);
    assert!(said.contains("0 messages lost and 1 before"), "{said}");
    assert_eq!(number(&report, "/warm_up_lost"), 1.0, "{report}");
    assert_eq!(number(&report, "/lost"), 0.0, "{report}");
    assert_eq!(number(&report, "/deliveries"), number(&report, "/published"), "{report}");
}

#[test]
fn the_silence_after_a_loss_is_in_the_readings_and_not_in_the_rate() {
    let (address, _) = fake(1, |sockets| {
        let mut socket = only(sockets);
        let warm_up = next(&mut socket).expect("a message");
        let (mut payload, mut left) = (warm_up.clone(), 20);
        while left > 0 {
            left -= u32::from(mark(&payload) != mark(&warm_up));
            socket.send(Message::Binary(payload)).expect("a client");
            payload = next(&mut socket).expect("a message");
        }
        while next(&mut socket).is_some() {} // Silence, until the client leaves.
    });
    let (report, _) = told(&bench(&address, BRIEF), 0);
    assert_eq!(number(&report, "/deliveries"), 20.0, "{report}");
    assert_eq!(number(&report, "/lost"), 1.0, "{report}");
    assert!(number(&report, "/seconds") < 1.0, "{report}");
    let interval_s =
        number(&report, "/client/cpu_us_each") * 20.0 / 1e6 / number(&report, "/client/cores");
    assert!(interval_s > 2.0, "{interval_s} s of {report}");
}

#[test]
fn a_server_that_never_stops_talking_does_not_keep_the_client_from_ending() {
    let (address, _) = fake(1, |sockets| {
        let mut socket = only(sockets);
        let empty_messages = b"\x82\x00".repeat(512 * 1024);
        while socket.get_mut().write_all(&empty_messages).is_ok() {}
    });
    let (report, said) = told(&bench(&address, BRIEF), 1);
    assert!(said.contains("nothing was delivered"), "{said}");
    assert!(number(&report, "/unknown") > 0.0, "{report}");
}

#[test]
fn a_connection_that_is_over_is_closed_at_once() {
    let (address, _) = fake(2, |sockets| {
        let [mut member, mut publisher] = <[Socket; 2]>::try_from(sockets).expect("two");
        let first = next(&mut publisher).expect("a message");
        member.close(None).expect("a client");
        member.flush().expect("a client");
        let mut rest = Vec::new();
        member.get_mut().read_to_end(&mut rest).expect("its end");
        publisher.send(Message::Binary(first)).expect("a client");
        echo(&mut publisher);
    });
    let (report, _) = told(&bench(&address, "--subs 2 --secs 0.2 --warm-up 0.1"), 0);
    assert_eq!(number(&report, "/connections_ended"), 1.0, "{report}");
    assert_eq!(number(&report, "/lost"), number(&report, "/published"), "{report}");
}

#[test]
fn a_server_that_lets_go_of_connections_is_not_weighed() {
    const CONNS: usize = 10;
    let (address, _) = fake(1 + CONNS, |mut sockets| {
        let last = sockets.last_mut().expect("connections");
        assert!(is_waiting(last), "all stand");
        last.close(None).expect("a client");
        last.flush().expect("a client");
        while sockets.iter_mut().any(|socket| socket.read().is_ok()) {}
    });
    let output = bench(&address, &format!("idle --conns {CONNS}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ended while memory was measured: the server closed"), "{said}");
}

#[test]
fn a_handshake_and_a_close_in_one_read_are_one_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let serve = move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
            let head: Vec<String> =
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let key = head.iter().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let Some(key) = key else { continue };
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(&[answer.as_bytes(), b"\x88\x02\x03\xf5"].concat()).ok();
        }
    };
    thread::Builder::new().spawn(serve).expect("a thread");
    for leave in ["drop", "frame"] {
        let line = format!("connect --window 3 --secs 0.1 --warm-up 0.05 --leave {leave}");
        let (report, _) = told(&bench(&address, &line), 1);
        assert!(number(&report, "/failed") > 0.0, "{report}");
        assert_eq!(report["first_failure"], "the server closed with code 1013", "{report}");
    }
}

#[test]
fn who_is_turned_away_while_it_says_goodbye_has_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let serve = move || {
        for stream in listener.incoming() {
            let Ok(mut socket) = tungstenite::accept(stream.expect("a client")) else { continue };
            let mut goodbye = [0; 8];
            socket.get_mut().read_exact(&mut goodbye).ok();
            socket.get_mut().write_all(b"\x88\x02\x03\xf5").ok();
        }
    };
    thread::Builder::new().spawn(serve).expect("a thread");
    let (report, _) = told(&bench(&address, "connect --window 3 --secs 0.1 --warm-up 0.05"), 1);
    assert_eq!(number(&report, "/cycles"), 0.0, "{report}");
    assert_eq!(report["first_failure"], "the server closed with code 1013", "{report}");
}

#[test]
fn who_is_never_answered_has_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let line = "connect --window 3 --secs 0.1 --warm-up 0.05";
    let (report, said) = told(&bench(&address, line), 1);
    assert!(said.contains("no connection got through its cycle"), "{said}");
    for failed in ["/failed", "/warm_up_failed"] {
        assert_eq!(number(&report, failed), 3.0, "{report}");
    }
    assert_eq!(report["first_failure"], "timed out", "{report}");
    assert!(report["client"]["cpu_us_each"].is_null(), "{report}");
}

#[test]
fn all_processes_that_hold_the_listener_are_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let held = OwnedFd::from(listener.try_clone().expect("a handle"));
    let worker = Command::new("sleep").arg("60").stdin(held).spawn().expect("a second process");
    let mut worker = Server { child: worker, address };
    let serve = move || {
        let (stream, _) = listener.accept().expect("the load tester");
        echo(&mut tungstenite::accept(stream).expect("a handshake"));
    };
    thread::Builder::new().spawn(serve).expect("a thread");
    let (report, _) = told(&worker.bench(BRIEF), 0);
    let mut pids = [std::process::id(), worker.child.id()];
    pids.sort_unstable();
    assert_eq!(report["server"]["pids"], serde_json::json!(pids), "{report}");
    assert_eq!(report["server"]["pid"], serde_json::json!(pids[0]), "{report}");
    worker.child.kill().expect("it runs");
}

/// A chat of its own protocol: the first message joins, each later one comes back in an envelope,
/// every third of them twice.
fn odd_server() -> String {
    let (address, _) = fake(1, |sockets| {
        let mut socket = only(sockets);
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
    });
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
    for none in ["/lost", "/unknown", "/damaged"] {
        assert_eq!(number(&report, none), 0.0, "{report}");
    }
}
