//! The watch over a set of keys, against a real server that is good, changes, or is in trouble.
//!
//! Not here: what a set of keys must look like; here a set is any text that begins with "keys".

use super::*;
use crate::side::FetchError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// For 127.0.0.1, until 2126, signed by itself.
const CERTIFICATE: &[u8] = include_bytes!("../../tests/tls/self_signed.pem");
const CERTIFICATE_KEY: &[u8] = include_bytes!("../../tests/tls/self_signed.key.pem");

/// For what must come: a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what must not come.
const IMPATIENCE: Duration = Duration::from_millis(200);

/// What the server does with one connection.
enum Turn {
    /// Sends this, whole.
    Say(String),
    /// Sends this, and then nothing until the client goes away.
    Hang(&'static str),
}

fn ok(document: &str) -> Turn {
    let length = document.len();
    Turn::Say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{document}"))
}

fn status(line: &str) -> Turn {
    Turn::Say(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"))
}

/// Serves these turns, one connection each.
fn serve(turns: Vec<Turn>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let named = thread::Builder::new().name("key-server".to_owned());
    let spawned = named.spawn(move || {
        for turn in turns {
            let (mut client, _) = listener.accept().expect("a client");
            read_head(&mut client);
            match turn {
                Turn::Say(text) => client.write_all(text.as_bytes()).unwrap_or_default(),
                Turn::Hang(text) => {
                    client.write_all(text.as_bytes()).unwrap_or_default();
                    let _ = client.read(&mut [0]);
                }
            }
        }
    });
    spawned.expect("a thread");
    address
}

fn read_head(client: &mut TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1) {
        head.extend_from_slice(&byte);
    }
}

fn source(address: SocketAddr, timeout: Duration) -> KeySource {
    let refresh = Duration::from_secs(300);
    KeySource { url: format!("http://{address}/jwks?hush").into(), refresh, timeout }
}

fn read(document: &[u8]) -> Result<String, &'static str> {
    let text = String::from_utf8_lossy(document);
    if text.starts_with("keys") { Ok(text.into_owned()) } else { Err("no keys") }
}

/// Takes these turns, and says which sets were published and how long each rest is.
fn turns(turns: Vec<Turn>, timeout: Duration) -> (Vec<String>, Vec<Duration>) {
    let count = turns.len();
    let mut published = Vec::new();
    let publish = |set: &String| {
        published.push(set.clone());
        Delivery::Done
    };
    let mut watcher = Watcher::new(source(serve(turns), timeout), read, publish);
    let rests = (0..count).map(|_| watcher.turn()).collect();
    drop(watcher);
    (published, rests)
}

const REFRESH: Duration = Duration::from_secs(300);

#[test]
fn a_set_is_published_when_it_changes_and_only_then() {
    let documents = ["keys 1", "keys 1", "keys 2", "keys 1"];
    let (published, rests) = turns(documents.map(ok).into(), PATIENCE);
    assert_eq!(published, ["keys 1", "keys 2", "keys 1"]);
    assert_eq!(rests, [REFRESH; 4]);
}

#[test]
fn whatever_goes_wrong_the_last_good_set_stays_and_the_rests_grow() {
    let long = format!("keys{}", " ".repeat(JWKS_BYTES_MAX));
    let trouble = vec![
        ok("keys 1"),
        ok("garbage"),
        status("500 Internal Server Error"),
        status("404 Not Found"),
        status("204 No Content"),
        ok(&long),
        Turn::Say("no HTTP at all\r\n\r\n".to_owned()),
        Turn::Say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nkeys".to_owned()),
        ok("keys 1"),
        ok("garbage"),
        ok("keys 2"),
    ];
    let (published, rests) = turns(trouble, PATIENCE);
    assert_eq!(published, ["keys 1", "keys 2"]);
    let mut most_ms = JWKS_BACK_OFF_MS;
    for (n, rest) in rests.iter().enumerate().take(8).skip(1) {
        let range = Duration::from_millis(most_ms / 2)..=Duration::from_millis(most_ms);
        assert!(range.contains(rest), "rest {n} is {rest:?}, not in {range:?}");
        most_ms = (most_ms * 2).min(JWKS_BACK_OFF_MS_MAX);
    }
    assert_eq!(most_ms, JWKS_BACK_OFF_MS_MAX, "so many failures");
    assert_eq!((rests[0], rests[8], rests[10]), (REFRESH, REFRESH, REFRESH));
    assert!(rests[9] <= Duration::from_millis(JWKS_BACK_OFF_MS), "it begins anew");
}

#[test]
fn a_set_as_long_as_it_may_be_is_taken() {
    let longest = format!("keys{}", " ".repeat(JWKS_BYTES_MAX - 4));
    let (published, _) = turns(vec![ok(&longest)], PATIENCE);
    assert_eq!(published, [longest]);
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nkeys";
    let hanging = vec![ok("keys 1"), Turn::Hang(""), Turn::Hang(cut), Turn::Hang("HTTP/1.1 200 ")];
    let (published, rests) = turns(hanging, Duration::from_millis(250));
    assert_eq!(published, ["keys 1"]);
    assert!(rests[1..].iter().all(|rest| *rest < REFRESH), "{rests:?}");
}

#[test]
fn redirects_are_followed_a_little_and_never_to_another_scheme() {
    let to = |place: &str| {
        Turn::Say(format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"))
    };
    let fetch = |turns| {
        let source = source(serve(turns), PATIENCE);
        Fetcher::new(&source.url, source.timeout, JWKS_BYTES_MAX).fetch()
    };
    assert_eq!(fetch(vec![to("/a"), to("/b"), ok("keys")]), Ok(b"keys".to_vec()));
    let circle = fetch((0..10).map(|_| to("/a")).collect());
    assert_eq!(circle, Err(FetchError::Redirects));
    let away = fetch(vec![to("https://127.0.0.1:1/hush")]);
    assert!(away.is_err(), "{away:?}");
    let file = fetch(vec![to("file:///etc/hostname")]);
    assert!(file.is_err(), "{file:?}");
}

#[test]
fn a_server_that_speaks_no_tls_fails_an_https_url_cleanly() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/hush", listener.local_addr().expect("an address"));
    let named = thread::Builder::new().name("plain-server".to_owned());
    let spawned = named.spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_or_default();
        client.read_to_end(&mut Vec::new()).unwrap_or_default();
    });
    spawned.expect("a thread");
    let error = Fetcher::new(&url, PATIENCE, JWKS_BYTES_MAX).fetch().expect_err("no TLS");
    assert!(!error.to_string().contains("hush"), "{error}");
}

#[test]
fn a_server_whose_certificate_nobody_vouches_for_is_not_believed() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate")],
            PrivateKeyDer::from_pem_slice(CERTIFICATE_KEY).expect("its key"),
        );
    let config = Arc::new(config.expect("they fit"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/hush", listener.local_addr().expect("an address"));
    let named = thread::Builder::new().name("tls-server".to_owned());
    let served = named.spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut tls = rustls::ServerConnection::new(config).expect("a connection");
        tls.complete_io(&mut client).is_ok()
    });
    let error = Fetcher::new(&url, PATIENCE, JWKS_BYTES_MAX).fetch().expect_err("self-signed");
    assert!(matches!(error, FetchError::Tls(_)), "{error:?}");
    assert!(!error.to_string().contains("hush"), "{error}");
    let is_agreed = served.expect("a thread").join().expect("no panic");
    assert!(!is_agreed, "nothing was asked over it");
}

#[test]
fn a_set_that_found_no_room_is_offered_again_soon() {
    let mut offers = Vec::new();
    let publish = |set: &String| {
        offers.push(set.clone());
        if offers.len() < 3 { Delivery::Again } else { Delivery::Done }
    };
    let address = serve(vec![ok("keys 1"), status("500 No"), ok("keys 1"), ok("keys 1")]);
    let mut watcher = Watcher::new(source(address, PATIENCE), read, publish);
    let rests: Vec<Duration> = (0..4).map(|_| watcher.turn()).collect();
    drop(watcher);
    assert_eq!(offers, ["keys 1"; 3]);
    assert!(rests[0] <= Duration::from_millis(JWKS_BACK_OFF_MS));
    assert_eq!(rests[2..], [REFRESH; 2]);
}

#[test]
fn a_thread_fetches_until_its_watch_is_dropped() {
    let (sets, published) = mpsc::channel();
    let publish = move |set: &String| {
        sets.send(set.clone()).expect("the test listens");
        Delivery::Done
    };
    let refresh = Duration::from_millis(1);
    let address = serve(vec![ok("keys 1"), ok("keys 2"), Turn::Hang("")]);
    let source = KeySource { refresh, ..source(address, Duration::from_secs(1)) };
    let watch = Watch::start(source, read, publish).expect("a thread");
    assert_eq!(published.recv_timeout(PATIENCE).as_deref(), Ok("keys 1"));
    assert_eq!(published.recv_timeout(PATIENCE).as_deref(), Ok("keys 2"));
    assert_eq!(published.recv_timeout(IMPATIENCE), Err(RecvTimeoutError::Timeout));
    drop(watch);
    let ended = published.recv_timeout(PATIENCE);
    assert_eq!(ended, Err(RecvTimeoutError::Disconnected), "the thread let go");
}
