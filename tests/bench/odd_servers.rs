//! The load tester against servers that are slow, wrong or hostile, and one of another protocol.

use crate::setup::{Server, assert_faultless, bench, fanfare, number, told};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread::{self, JoinHandle};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Bytes, Message, WebSocket};

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
