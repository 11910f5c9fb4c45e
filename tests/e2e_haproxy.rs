//! Real HAProxy in front, end to end: what it says by the PROXY protocol or in a header is where
//! clients are, and nobody gets past it.
//!
//! Not here: headers that are malformed (unit tests of `auth` and `engine`, fuzzing). Invariant:
//! clients bind addresses of their own, so that no answer is right by chance.

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::{Answer, Expect, Http};
use e2e::raw::{PING, PONG, Raw, TEXT, upgrade};
use e2e::scrape::Scraper;
use e2e::wait::{DEADLINE, until};
use socket2::{Domain, Socket, Type};
use std::fs;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Where Debian puts it, which is not in everyone's path.
const DEBIAN: &str = "/usr/sbin/haproxy";

/// A running HAProxy, killed when dropped.
struct Haproxy {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Haproxy {
    /// Serves on a free port and passes on to `broker`, in that mode, with these words behind the
    /// server's address.
    fn start(broker: SocketAddr, mode: &str, words: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // HAProxy does not say which port it was given, so it is told one that was free just now.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let file = folder.path().join("haproxy.cfg");
        let port = address.port();
        let text = format!(
            "defaults\n  mode {mode}\n  timeout connect 30s\n  timeout client 60s\n  \
             timeout server 60s\n  timeout tunnel 60s\n\
             listen front\n  bind 127.0.0.1:{port}\n  {words_before}server one {broker} {words}\n",
            words_before = if mode == "http" { "option forwardfor\n  " } else { "" },
        );
        fs::write(&file, text).expect("a file");
        let program = if Path::new(DEBIAN).exists() { DEBIAN } else { "haproxy" };
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn();
        let child = child.expect("HAProxy; on Debian, the package haproxy");
        let mut haproxy = Self { child, address, _folder: folder };
        until("HAProxy to listen", || {
            let ended = haproxy.child.try_wait().expect("a status");
            assert_eq!(ended, None, "HAProxy has ended by itself");
            TcpStream::connect(address).ok()
        });
        haproxy
    }

    /// A connection through it, from that address.
    fn connect_from(&self, from: [u8; 4]) -> Http {
        connect_from(from, self.address)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

fn connect_from(from: [u8; 4], to: SocketAddr) -> Http {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddrV4::new(Ipv4Addr::from(from), 0);
    socket.bind(&SocketAddr::V4(from).into()).expect("an address of this machine");
    socket.connect(&to.into()).expect("it accepts");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    Http::over(stream)
}

/// Waits for the line that tells where an upgraded connection is from.
fn until_told(broker: &Broker, address: &str) {
    let line = format!("connection of {address} upgraded");
    until(&line, || broker.log().contains(&line).then_some(()));
}

/// Whether it is open and answers.
fn is_served(raw: &mut Raw) -> bool {
    raw.send(PING, b"served?");
    raw.next().is_some_and(|frame| frame.first == PONG)
}

#[test]
fn the_real_address_comes_through_the_proxy_protocol_in_both_versions() {
    for words in ["send-proxy-v2", "send-proxy", "send-proxy-v2 proxy-v2-options unique-id,crc32c"]
    {
        let broker = Broker::start(&[
            "--loops",
            "2",
            "--log-level",
            "debug",
            "--identity-trusted-proxies",
            "127.0.0.1/32",
            "--proxy-protocol",
            "required",
        ]);
        let haproxy = Haproxy::start(broker.address(), "tcp", words);
        let mut members = Vec::new();
        for last in [2, 3] {
            let mut raw = Raw::over(haproxy.connect_from([127, 0, 0, last]), "/raw/lobby");
            assert!(is_served(&mut raw), "{words}");
            until_told(&broker, &format!("127.0.0.{last}"));
            members.push(raw);
        }
        members[0].send(TEXT, b"through two proxies");
        for member in &mut members {
            assert_eq!(member.next().expect("a message").payload, b"through two proxies");
        }
        // Nobody gets past it, with a header of their own or without.
        let own = b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n".to_vec();
        for sent in [upgrade("/raw/lobby", "test", &[]), own] {
            let mut stranger = connect_from([127, 0, 0, 9], broker.address());
            let closed_before_it_was_sent = std::io::Write::write_all(&mut stranger.stream, &sent);
            drop(closed_before_it_was_sent);
            assert_eq!(stranger.rest(), b"", "{words}");
        }
        let metrics = haproxy.connect_from([127, 0, 0, 2]).get("/metrics");
        let metrics = String::from_utf8(metrics.body).expect("text");
        assert!(metrics.contains("fanfare_proxy_headers_refused_total 2\n"), "{metrics}");
        assert!(!broker.log().contains("192.0.2.1"), "a stranger's word is nothing");
        drop(members);
        drop(haproxy);
        broker.stop();
    }
}

#[test]
fn the_real_address_comes_in_a_header_and_what_the_client_wrote_does_not() {
    let broker = Broker::start(&[
        "--loops",
        "2",
        "--log-level",
        "debug",
        "--identity-trusted-proxies",
        "127.0.0.1/32",
    ]);
    let haproxy = Haproxy::start(broker.address(), "http", "");
    for (last, lie) in [(2, "192.0.2.1"), (3, "192.0.2.1, 127.0.0.1"), (4, "unknown")] {
        let mut http = haproxy.connect_from([127, 0, 0, last]);
        let field = format!("X-Forwarded-For: {lie}");
        http.send(&upgrade("/raw/lobby", "test", &[&field]));
        assert_eq!(http.answer(Expect::HeadOnly).status, 101);
        until_told(&broker, &format!("127.0.0.{last}"));
    }
    // Who comes by itself is not believed either.
    let mut direct = connect_from([127, 0, 0, 5], broker.address());
    direct.send(&upgrade("/raw/lobby", "test", &["X-Forwarded-For: 192.0.2.1"]));
    assert_eq!(direct.answer(Expect::HeadOnly).status, 101);
    until_told(&broker, "127.0.0.5");
    assert!(!broker.log().contains("192.0.2.1"), "a client's word is nothing");
    drop(haproxy);
    broker.stop();
}

/// Asks for a WebSocket through it, from that address, whatever the client says of itself.
fn ask_from(haproxy: &Haproxy, from: [u8; 4], lie: &str) -> (Http, Answer) {
    let mut http = haproxy.connect_from(from);
    let field = format!("X-Forwarded-For: {lie}");
    http.send(&upgrade("/raw/lobby", "test", &[&field]));
    let answer = http.answer(Expect::HeadOnly);
    (http, answer)
}

#[test]
fn connections_count_by_the_address_behind_the_proxy_whatever_clients_say() {
    let by_header = ("http", "", "off");
    for (mode, words, protocol) in [("tcp", "send-proxy-v2", "required"), by_header] {
        for loops in ["1", "2"] {
            let broker = Broker::start(&[
                "--loops",
                loops,
                "--accept",
                "round-robin",
                "--identity-trusted-proxies",
                "127.0.0.1/32",
                "--proxy-protocol",
                protocol,
                "--connections-per-address-max",
                "2",
            ]);
            let haproxy = Haproxy::start(broker.address(), mode, words);
            let crowded = [127, 0, 0, 2];
            let mut members: Vec<Raw> =
                (0..2).map(|_| Raw::over(haproxy.connect_from(crowded), "/raw/lobby")).collect();
            for lie in ["192.0.2.1", "127.0.0.3", "127.0.0.1", "unknown", "127.0.0.2, 127.0.0.1"] {
                let (_, answer) = ask_from(&haproxy, crowded, lie);
                assert_eq!(answer.status, 429, "{mode} {loops} {lie}: {answer:?}");
                let wait_s = answer.field("retry-after").expect("a time");
                assert!(wait_s.parse::<u32>().is_ok_and(|wait_s| wait_s > 0), "{wait_s}");
            }
            // Others come in, and those who are in stay.
            for from in [[127, 0, 0, 3], [127, 0, 0, 4]] {
                let (http, answer) = ask_from(&haproxy, from, "127.0.0.2");
                assert_eq!(answer.status, 101, "{mode} {loops}: {answer:?}");
                members.push(Raw(http));
            }
            assert!(members.iter_mut().all(is_served), "{mode} {loops}");
            // Who leaves makes room for one more.
            drop(members.remove(0));
            let again = until("a place", || {
                let (http, answer) = ask_from(&haproxy, crowded, "127.0.0.9");
                (answer.status == 101).then(|| Raw(http))
            });
            members.push(again);
            assert_eq!(ask_from(&haproxy, crowded, "127.0.0.9").1.status, 429, "{mode} {loops}");
            assert!(members.iter_mut().all(is_served), "{mode} {loops}");
            drop((members, haproxy));
            broker.stop();
        }
    }
}

#[test]
fn health_checks_of_the_proxy_are_its_own_and_no_fault() {
    let broker = Broker::start(&[
        "--loops",
        "1",
        "--log-level",
        "debug",
        "--identity-trusted-proxies",
        "127.0.0.1/32",
        "--proxy-protocol",
        "optional",
    ]);
    let words = "send-proxy-v2 check-send-proxy check inter 50ms";
    let haproxy = Haproxy::start(broker.address(), "tcp", words);
    let mut scraper = Scraper::new(&broker);
    let now = scraper.until("a few checks", |now| now.value("connections_opened_total") >= 6);
    assert_eq!(now.value("proxy_headers_refused_total"), 0);
    let mut raw = Raw::over(haproxy.connect_from([127, 0, 0, 2]), "/raw/lobby");
    assert!(is_served(&mut raw));
    until_told(&broker, "127.0.0.2");
    // A trusted peer that may say nothing.
    let mut plain = Raw::open(broker.address(), "/raw/lobby");
    assert!(is_served(&mut plain));
    until_told(&broker, "127.0.0.1");
    drop(haproxy);
    broker.stop();
}
