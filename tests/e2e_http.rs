//! HTTP, end to end: connections that are kept, requests in a row, and the documents' examples byte
//! by byte.
//!
//! Not here: what is refused (`e2e_refusals`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::{Expect, Http};
use e2e::raw::{BINARY, Raw, TEXT, frame};
use e2e::scrape::Scraper;
use fanfare::auth::{IssuedClaims, Secret, Signer, TokenAlg};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    for loops in ["1", "2"] {
        let broker = Broker::start(&["--loops", loops]);
        let mut http = Http::connect(broker.address());
        // Rooms of both loops, questions to all loops, and one that is refused: all at once.
        let publish = |nth: usize| {
            let body = format!("message {nth}");
            format!(
                "POST /v1/rooms/room-{}/messages HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\
                 \r\n{body}",
                nth % 7,
                body.len()
            )
        };
        let questions = ["GET /healthz", "HEAD /readyz", "GET /nowhere", "DELETE /metrics"];
        let mut burst = String::new();
        for nth in 0..100 {
            burst.push_str(&publish(nth));
            burst.push_str(&format!("{} HTTP/1.1\r\nHost: test\r\n\r\n", questions[nth % 4]));
        }
        http.send(burst.as_bytes());
        for nth in 0..100 {
            let published = http.answer(Expect::Body);
            assert_eq!(published.status, 200, "{nth}");
            assert_eq!(published.json()["seq"], nth / 7 + 1, "{nth}");
            let head = nth % 4 == 1;
            let answer = http.answer(if head { Expect::HeadOnly } else { Expect::Body });
            assert_eq!(answer.status, [200, 200, 404, 405][nth % 4], "{nth}");
            assert_eq!(answer.field("connection"), Some("keep-alive"), "{nth}");
        }
        assert_eq!(http.get("/healthz").status, 200, "it is still open");
        drop(http);
        broker.stop();
    }
}

#[test]
fn one_byte_at_a_time_is_as_good_as_all_at_once() {
    let broker = Broker::start(&["--loops", "2"]);
    let mut http = Http::connect(broker.address());
    let chunked = "POST /v1/rooms/a/messages HTTP/1.1\r\nHost: test\r\n\
                   Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n";
    let mut member = Raw::open(broker.address(), "/raw/a");
    Scraper::new(&broker).until("it to join", |now| now.value("members") == 1);
    for byte in chunked.bytes() {
        http.send(&[byte]);
    }
    let answer = http.answer(Expect::Body);
    assert_eq!((answer.status, &answer.json()["receivers"]), (200, &1.into()));
    let got = member.next().expect("a message");
    assert_eq!((got.first, &got.payload[..]), (TEXT, &b"hello"[..]));
    for byte in frame(BINARY, b"drop by drop") {
        member.0.send(&[byte]);
    }
    assert_eq!(member.next().expect("a message").payload, b"drop by drop");
    drop(member);
    broker.stop();
}

#[test]
fn what_is_published_arrives_as_its_type_says() {
    let broker = Broker::start(&["--loops", "2"]);
    let mut member = Raw::open(broker.address(), "/raw/types");
    Scraper::new(&broker).until("it to join", |now| now.value("members") == 1);
    let mut http = Http::connect(broker.address());
    let large = vec![b'x'; 1_048_576];
    for (content_type, body, first) in [
        ("text/plain", &b""[..], TEXT),
        ("text/plain; charset=utf-8", "h\u{e9}llo".as_bytes(), TEXT),
        ("application/x-www-form-urlencoded", b"a=1&b=%20", TEXT),
        ("application/json", b" {\"a\" : [1, 2]} ", TEXT),
        ("application/octet-stream", b"\xff\x00", BINARY),
        ("image/png", b"", BINARY),
        ("text/plain", &large, TEXT),
    ] {
        let answer = http.post("types", content_type, body);
        assert_eq!((answer.status, &answer.json()["receivers"]), (200, &1.into()));
        let got = member.next().expect("a message");
        assert_eq!((got.first, got.payload.len()), (first, body.len()), "{content_type}");
        assert!(got.payload == body, "{content_type}");
    }
    for (content_type, body) in
        [("text/plain", &b"\xff"[..]), ("application/json", b"{"), ("application/json", b"")]
    {
        assert_eq!(http.post("types", content_type, body).status, 400, "{content_type}");
    }
    assert_eq!(http.post("types", "text/plain", b"last").json()["seq"], 8, "no number is lost");
    assert_eq!(member.next().expect("a message").payload, b"last");
    drop(member);
    broker.stop();
}

#[test]
fn curl_waits_for_leave_to_send_and_gets_it() {
    let broker = Broker::start(&["--loops", "1"]);
    let mut member = Raw::open(broker.address(), "/raw/curl");
    Scraper::new(&broker).until("it to join", |now| now.value("members") == 1);
    let url = format!("http://{}/v1/rooms/curl/messages", broker.address());
    let body = "x".repeat(300_000);
    // A minute to wait for leave: only a 100 lets this end in time.
    let curl = |more: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sSv", "--expect100-timeout", "60", "-H", "Expect: 100-continue"]);
        let output = command.args(more).arg(&url).output().expect("curl is installed");
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (stdout, stderr) = curl(&["--data-raw", &body[..100_000]]);
    assert!(stderr.contains("< HTTP/1.1 100 Continue"), "{stderr}");
    let told: serde_json::Value = serde_json::from_str(&stdout).expect(&stdout);
    assert_eq!(told["receivers"], 1);
    assert_eq!(member.next().expect("a message").payload, &body.as_bytes()[..100_000]);
    // Who would be refused is told so instead of 100, and need not send.
    let (_, stderr) = curl(&["-H", "Content-Encoding: gzip", "--data-raw", "never sent"]);
    assert!(stderr.contains("< HTTP/1.1 415 "), "{stderr}");
    assert!(!stderr.contains("100 Continue"), "{stderr}");
    // The same client, a kept connection and a HEAD.
    let (stdout, stderr) = curl(&["-I", &format!("http://{}/readyz", broker.address())]);
    assert!(stdout.contains("HTTP/1.1 200 OK") && !stdout.contains('{'), "{stdout}\n{stderr}");
    drop(member);
    broker.stop();
}

#[test]
fn an_old_client_is_answered_and_the_connection_closed() {
    let broker = Broker::start(&["--loops", "1"]);
    for (request, kept) in [
        (&b"GET /readyz HTTP/1.0\r\n\r\n"[..], false),
        (b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
        (b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", true),
    ] {
        let mut http = Http::connect(broker.address());
        http.send(request);
        let answer = http.answer(Expect::Body);
        assert_eq!(answer.status, 200);
        let shown = if kept { "keep-alive" } else { "close" };
        assert_eq!(answer.field("connection"), Some(shown), "{}", request.escape_ascii());
        if !kept {
            assert_eq!(http.rest(), b"");
        }
    }
    broker.stop();
}

// --- the documents ----------------------------------------------------------------------------

/// Blocks of a document that are marked with `mark`.
fn blocks(document: &str, mark: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocols").join(document);
    let text = fs::read_to_string(path).expect("the document");
    let fence = format!("```{mark}\n");
    let parts = text.split(&fence).skip(1);
    parts.map(|part| part.split("\n```").next().expect("it ends").to_owned()).collect()
}

/// A message as the document shows it, as it is on the wire.
fn wire(block: &str) -> String {
    let (head, body) = block.split_once("\n\n").unwrap_or((block.trim_end(), ""));
    format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n"))
}

/// Whether `text` is `pattern` with anything in the place of its words in braces.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    let words = ["{date}", "{epoch}", "{loops}", "{length}", "{metrics}", "{token}", "{expires}"];
    for word in words.into_iter().chain(["{seconds}"]) {
        if let Some((before, after)) = rest.split_once(word) {
            pieces.push(before);
            rest = after;
        }
    }
    let Some((first, others)) = pieces.split_first() else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    for piece in others {
        let Some((_, after)) = left.split_once(piece) else { return false };
        left = after;
    }
    left.ends_with(rest)
}

#[test]
fn a_pattern_fits_what_it_says_and_nothing_else() {
    let pattern = "a {date} b {epoch} c";
    for text in ["a 1 b 2 c", "a  b  c"] {
        assert!(fits(pattern, text), "{text}");
    }
    for text in ["a 1 b 2", "1 b 2 c", "a 1 2 c", "a 1 b 2 c "] {
        assert!(!fits(pattern, text), "{text}");
    }
    assert!(fits("same", "same") && !fits("same", "other"));
}

/// Plays the exchanges of a document that are marked with `mark`, in their order.
fn replay(broker: &Broker, document: &str, mark: &str, fill: impl Fn(String) -> String) {
    let blocks = blocks(document, mark);
    assert!(blocks.len() >= 4 && blocks.len().is_multiple_of(2), "{} blocks", blocks.len());
    for exchange in blocks.chunks(2) {
        let (request, expected) = (fill(wire(&exchange[0])), wire(&exchange[1]));
        let mut http = Http::connect(broker.address());
        http.send(request.as_bytes());
        // Who has become a WebSocket is not done with its last byte.
        let upgraded = expected.starts_with("HTTP/1.1 101 ");
        while upgraded && http.unread.len() < expected.len() && http.more() {}
        http.stream.shutdown(std::net::Shutdown::Write).expect("half closed");
        let answer = String::from_utf8(http.rest()).expect("text");
        // Our last request is our last: the connection closes where the document keeps it.
        let kept = |text: &str| text.replace("Connection: close", "Connection: keep-alive");
        assert!(fits(&kept(&expected), &kept(&answer)), "{request}\n{expected}\n---\n{answer}");
    }
}

#[test]
fn the_exchanges_in_the_document_happen_on_the_wire() {
    let broker = Broker::start(&["--loops", "2"]);
    replay(&broker, "http.md", "http", |request| request);
    broker.stop();
}

#[test]
fn the_exchanges_with_keys_in_the_document_happen_on_the_wire() {
    let settings = blocks("http.md", "toml").swap_remove(0);
    let broker = Broker::start_with_file(&settings, &["--loops", "2"]);
    let (_, secret) = settings.split_once("hs256_key = \"").expect("a key");
    let (secret, _) = secret.split_once('"').expect("its end");
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &Secret::new(secret.as_bytes()));
    let claims = blocks("http.md", "json claims").swap_remove(0);
    let claims: serde_json::Value = serde_json::from_str(&claims).expect("claims");
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = IssuedClaims {
        user: claims["sub"].as_str().expect("a user").to_owned(),
        rooms: Some(claims["rooms"].clone()),
        iat: now_s,
        exp: now_s + 3_600,
        ..IssuedClaims::default()
    };
    let token = signer.expect("a key that signs").sign(&claims).expect("a token");
    for document in ["http.md", "raw.md"] {
        replay(&broker, document, "http auth", |request| request.replace("{token}", &token));
    }
    broker.stop();
}

#[test]
fn who_sends_too_much_is_told_so_as_the_document_says() {
    let settings = blocks("http.md", "toml").swap_remove(1);
    let broker = Broker::start_with_file(&settings, &["--loops", "1"]);
    replay(&broker, "http.md", "http rates", |request| request);
    broker.stop();
}

#[test]
fn the_handshake_in_the_document_happens_on_the_wire() {
    let blocks = blocks("raw.md", "text");
    let broker = Broker::start(&["--loops", "2"]);
    let mut http = Http::connect(broker.address());
    http.send(wire(&blocks[0]).as_bytes());
    let expected = wire(&blocks[1]);
    while http.unread.len() < expected.len() {
        assert!(http.more(), "{}", http.unread.escape_ascii());
    }
    assert_eq!(String::from_utf8_lossy(&http.unread), expected);
    // The same with the document's offer of compression, and its answer.
    let (offer, agreed) = (blocks[2].trim(), blocks[3].trim());
    let mut offering = Http::connect(broker.address());
    offering.send(wire(&blocks[0].replacen('\n', &format!("\n{offer}\n"), 1)).as_bytes());
    let expected = expected.replacen("\r\n\r\n", &format!("\r\n{agreed}\r\n\r\n"), 1);
    while offering.unread.len() < expected.len() {
        assert!(offering.more(), "{}", offering.unread.escape_ascii());
    }
    assert_eq!(String::from_utf8_lossy(&offering.unread), expected);
    drop(offering);
    // The frame of the document, there and back.
    let bytes = |line: &str| -> Vec<u8> {
        let words = line.split_whitespace().skip(3);
        words.map_while(|word| u8::from_str_radix(word, 16).ok()).collect()
    };
    let mut lines = blocks[4].lines();
    let (sent, got) = (bytes(lines.next().expect("sent")), bytes(lines.next().expect("got")));
    assert_eq!((sent.len(), got.len()), (11, 7));
    http.unread.clear();
    http.send(&sent);
    while http.unread.len() < got.len() {
        assert!(http.more());
    }
    assert_eq!(http.unread, got);
    drop(http);
    broker.stop();
}
