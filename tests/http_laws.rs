//! Laws of reading HTTP: any split of a stream of requests gives the same requests and the same
//! error; what is encoded decodes to itself; what could be read in two ways is never served.

use fanfare::http::{
    BodyFraming, BodyReader, Fields, HeadReader, Method, RequestError, SendBody, parse_head,
};
use fanfare::limits::{HTTP_HEAD_BYTES_MAX, HTTP_TARGET_BYTES_MAX, SPILL_SLACK_BYTES};
use fastrand::Rng;

const BODY_BYTES_MAX: usize = 64 * 1024;

/// One request as a server sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Request {
    method: Method,
    target: String,
    host: Option<String>,
    framing: BodyFraming,
    keep_alive: bool,
    body: Vec<u8>,
}

/// Everything that a stream gives: its requests, and how it ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Seen {
    requests: Vec<Request>,
    error: Option<RequestError>,
}

#[derive(Default)]
struct Server {
    head: HeadReader,
    body: Option<(Request, BodyReader)>,
    seen: Seen,
}

impl Server {
    /// Takes in one piece; gives how many bytes it used before it stopped for good.
    fn read(&mut self, mut input: &[u8]) -> Result<(), RequestError> {
        loop {
            if let Some((mut request, mut body)) = self.body.take() {
                let step = body.read(input)?;
                input = &input[step.consumed..];
                if !step.done {
                    assert!(input.is_empty(), "an incomplete body takes everything");
                    self.body = Some((request, body));
                    return Ok(());
                }
                request.body = body.take();
                self.seen.requests.push(request);
            }
            let step = self.head.read(input)?;
            input = &input[step.consumed..];
            let Some(bytes) = step.head else {
                assert!(input.is_empty(), "an incomplete head takes everything");
                return Ok(());
            };
            let mut fields = Fields::new();
            let head = parse_head(&bytes, &mut fields)?;
            let request = Request {
                method: head.method,
                target: head.target.to_owned(),
                host: head.host().map(str::to_owned),
                framing: head.body,
                keep_alive: head.keep_alive,
                body: Vec::new(),
            };
            self.body = Some((request, BodyReader::new(head.body, BODY_BYTES_MAX)?));
        }
    }

    fn held_bytes(&self) -> usize {
        self.head.held_bytes() + self.body.as_ref().map_or(0, |(_, body)| body.held_bytes())
    }
}

fn serve<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut server = Server::default();
    let mut sent = 0;
    for piece in pieces {
        sent += piece.len();
        if let Err(error) = server.read(piece) {
            server.seen.error = Some(error);
            break;
        }
        let held = server.held_bytes();
        assert!(held <= sent + SPILL_SLACK_BYTES + 512 + sent / 50, "{held} held for {sent} sent");
    }
    server.seen
}

fn split_at_random<'a>(wire: &'a [u8], dice: &mut Rng) -> Vec<&'a [u8]> {
    let longest = [2, 8, 64, 4_000][dice.usize(0..4)];
    let mut rest = wire;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(dice.usize(0..=longest.min(rest.len())));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Encodes a body as chunks of random sizes, with extensions and trailers that mean nothing.
fn encode_chunks(body: &[u8], dice: &mut Rng) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let longest = rest.len().min([1, 10, 5_000][dice.usize(0..3)]);
        let (chunk, after) = rest.split_at(dice.usize(1..=longest));
        let zeros = "0".repeat(dice.usize(0..3));
        let size = if dice.bool() {
            format!("{zeros}{:x}", chunk.len())
        } else {
            format!("{zeros}{:X}", chunk.len())
        };
        let extension = ["", "", "", ";a", " ;a=\"b c\""][dice.usize(0..5)];
        wire.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
        rest = after;
    }
    let trailers = ["", "", "A: b\r\n", "A:\r\nContent-Length: 9\r\n"][dice.usize(0..4)];
    wire.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    wire
}

/// A request and its bytes.
fn random_request(dice: &mut Rng) -> (Request, Vec<u8>) {
    let method = [Method::Get, Method::Post, Method::Delete, Method::Head][dice.usize(0..4)];
    let target = format!("/raw/{}?echo={}", "r".repeat(dice.usize(1..40)), dice.u8(..));
    let host = format!("h{}.example:{}", dice.u8(..), dice.u16(..));
    let longest = [1, 30, 20_000][dice.usize(0..3)];
    let mut body: Vec<u8> = (0..dice.usize(0..longest)).map(|_| dice.u8(..)).collect();
    let (framing, field, payload) = match dice.u8(0..3) {
        0 => {
            body.clear();
            (BodyFraming::None, String::new(), Vec::new())
        }
        1 => {
            let field = format!("content-length: {}\r\n", body.len());
            (BodyFraming::Length(body.len() as u64), field, body.clone())
        }
        _ => {
            let payload = encode_chunks(&body, dice);
            (BodyFraming::Chunked, "Transfer-Encoding:chunked \r\n".to_owned(), payload)
        }
    };
    let blank = ["", "", "\r\n", "\r\n\r\n"][dice.usize(0..4)];
    let noise: String = (0..dice.usize(0..5)).map(|n| format!("X-{n}: \t{n} \t\r\n")).collect();
    let name = method.name();
    let head = format!("{blank}{name} {target} HTTP/1.1\r\n{noise}Host: {host}\r\n{field}\r\n");
    let wire = [head.as_bytes(), &payload].concat();
    (Request { method, target, host: Some(host), framing, keep_alive: true, body }, wire)
}

/// Wires with something of everything, valid and not.
fn rich_wires() -> Vec<Vec<u8>> {
    let pipelined = b"\r\nGET /raw/a?echo=0 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n\
        POST /v1/rooms/a/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
        \r\n\r\nPOST http://b:1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;x=\"y\"\r\nhello\r\n0006 \t;z\r\n world\r\n0\r\nA: b\r\n\r\n\
        GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let ends: [&[u8]; 12] = [
        b"",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\nGET",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nfffff\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na b\r\n\r\n",
        b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    ends.iter().map(|end| [pipelined, *end].concat()).collect()
}

#[test]
fn every_single_split_point_yields_the_same_requests_and_error() {
    for (index, wire) in rich_wires().iter().enumerate() {
        let whole = serve([&wire[..]]);
        assert_eq!(whole.requests.len(), 4, "wire {index}");
        assert_eq!(whole.error.is_some(), index > 0, "wire {index}");
        for at in 0..=wire.len() {
            let (one, two) = wire.split_at(at);
            assert_eq!(serve([one, two]), whole, "wire {index} split at {at}");
        }
        assert_eq!(serve(wire.chunks(1)), whole, "wire {index} byte by byte");
    }
}

#[test]
fn random_splits_of_random_requests_yield_what_was_sent() {
    for seed in 0..2_000 {
        let mut dice = Rng::with_seed(seed);
        let (mut requests, mut wire) = (Vec::new(), Vec::new());
        for _ in 0..dice.usize(1..4) {
            let (request, bytes) = random_request(&mut dice);
            requests.push(request);
            wire.extend_from_slice(&bytes);
        }
        let sent = Seen { requests, error: None };
        assert_eq!(serve([&wire[..]]), sent, "seed {seed}");
        assert_eq!(serve(split_at_random(&wire, &mut dice)), sent, "seed {seed}");
    }
}

#[test]
fn random_splits_of_damaged_streams_yield_the_same_requests_and_error() {
    let (mut refused, mut kinds) = (0, Vec::new());
    for seed in 0..2_000 {
        let mut dice = Rng::with_seed(seed);
        let mut wire = Vec::new();
        for _ in 0..3 {
            wire.extend_from_slice(&random_request(&mut dice).1);
        }
        for _ in 0..dice.usize(1..6) {
            let at = dice.usize(0..wire.len());
            match dice.u8(0..3) {
                0 => wire[at] = b"\0\r\n\t :;,0fA/\x7f\xff"[dice.usize(0..14)],
                1 => drop(wire.remove(at)),
                _ => wire.insert(at, b"\r\n :0"[dice.usize(0..5)]),
            }
        }
        let whole = serve([&wire[..]]);
        assert_eq!(serve(split_at_random(&wire, &mut dice)), whole, "seed {seed}");
        refused += usize::from(whole.error.is_some());
        if let Some(error) = whole.error.filter(|error| !kinds.contains(error)) {
            kinds.push(error);
        }
    }
    // The damage must reach the rules, or this test shows nothing.
    assert!(refused > 500 && kinds.len() >= 6, "{refused} refused, kinds {kinds:?}");
}

#[test]
fn chunks_decode_to_the_body_they_encode() {
    for seed in 0..500 {
        let mut dice = Rng::with_seed(seed);
        let body: Vec<u8> = (0..dice.usize(0..30_000)).map(|_| dice.u8(..)).collect();
        let wire = encode_chunks(&body, &mut dice);
        let mut reader = BodyReader::new(BodyFraming::Chunked, body.len()).expect("no length yet");
        let mut consumed = 0;
        let mut done = false;
        for piece in split_at_random(&wire, &mut dice) {
            let step = reader.read(piece).unwrap_or_else(|error| panic!("{error:?}, seed {seed}"));
            consumed += step.consumed;
            done = step.done;
        }
        assert!(done && consumed == wire.len(), "seed {seed}");
        assert_eq!(reader.take(), body, "seed {seed}");
    }
}

/// Every one is a complete head with a request hidden after it, and no second reading of it may be
/// served: the wire gives one error and no request at all.
#[test]
fn nothing_is_smuggled() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let corpus: &[(&str, u16)] = &[
        ("Host: a\r\nUpgrade : websocket\r\n", 400),
        ("Host: a\r\nContent-Length : 5\r\n", 400),
        ("Host: a\r\n Folded: first\r\n", 400),
        ("Host: a\r\nX: y\r\n folded\r\n", 400),
        ("Host: a\r\nX: y\r\n\tfolded\r\n", 400),
        ("Host: a\nX: y\r\n", 400),
        ("Host: a\r\nX: y\n", 400),
        ("Host: a\r\nX: y\rTransfer-Encoding: chunked\r\n", 400),
        ("Host: a\r\nX: y\r\r\n", 400),
        ("Host: a\r\nX: \0\r\n", 400),
        ("Host: a\r\nX\0: y\r\n", 400),
        ("Host: a\r\nX: \x0b\r\n", 400),
        ("Host: a\r\nX: \x7f\r\n", 400),
        ("Host: a\r\n: y\r\n", 400),
        ("Host: a\r\nno colon\r\n", 400),
        ("Host: a\r\nX(y): z\r\n", 400),
        ("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Host: a\r\nContent-Length: 5\r\ncontent-length: 6\r\n", 400),
        ("Host: a\r\nContent-Length: 5, 5\r\n", 400),
        ("Host: a\r\nContent-Length: +5\r\n", 400),
        ("Host: a\r\nContent-Length: -5\r\n", 400),
        ("Host: a\r\nContent-Length: 0x5\r\n", 400),
        ("Host: a\r\nContent-Length: 5 5\r\n", 400),
        ("Host: a\r\nContent-Length:\r\n", 400),
        ("Host: a\r\nContent-Length: 18446744073709551616\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: xchunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: chunked, identity\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: identity\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: \x0bchunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding : chunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding\t: chunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
        ("Host: a\r\nHost: a\r\n", 400),
        ("Host: a\r\nhOST: b\r\n", 400),
        ("X: no host\r\n", 400),
        ("Host: a, b\r\n", 400),
    ];
    for (fields, status) in corpus {
        let wire = format!("POST / HTTP/1.1\r\n{fields}\r\n{hidden}");
        let seen = serve([wire.as_bytes()]);
        assert_eq!(seen.error.map(RequestError::status), Some(*status), "{fields:?}");
        assert_eq!(seen.requests, [], "{fields:?}");
        assert_eq!(serve(wire.as_bytes().chunks(1)), seen, "{fields:?}");
    }
}

#[test]
fn odd_request_lines_are_refused_with_their_status() {
    for (line, status) in [
        ("GET  / HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET /a b HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("GET /", 400),
        ("GET", 400),
        ("GET /\0 HTTP/1.1", 400),
        ("GET /\u{e9} HTTP/1.1", 400),
        ("GET /#a HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("CONNECT a:80 HTTP/1.1", 400),
        ("GET http://u@a/ HTTP/1.1", 400),
        ("G(T / HTTP/1.1", 400),
        ("GET / HTTP/1.1\r", 400),
        ("GET / hTTP/1.1", 400),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/3.0", 505),
        ("PRI * HTTP/2.0", 505),
    ] {
        let wire = format!("{line}\r\nHost: a\r\n\r\n");
        let error = serve([wire.as_bytes()]).error;
        assert_eq!(error.map(RequestError::status), Some(status), "{line:?}");
    }
}

#[test]
fn trailers_never_become_fields_nor_requests() {
    let wire = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        1\r\nx\r\n0\r\nHost: b\r\nContent-Length: 9\r\n\r\nGET /next HTTP/1.1\r\nHost: c\r\n\r\n";
    let seen = serve([&wire[..]]);
    let hosts: Vec<_> = seen.requests.iter().map(|request| request.host.as_deref()).collect();
    assert_eq!(hosts, [Some("a"), Some("c")]);
    assert_eq!((seen.error, &seen.requests[0].body[..]), (None, &b"x"[..]));
}

#[test]
fn what_is_too_large_is_refused_before_20_kib_are_read() {
    let long_target = [b"GET /".as_slice(), &[b'x'; HTTP_TARGET_BYTES_MAX]].concat();
    let long_field = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 40_000]].concat();
    let many_fields = [b"GET / HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(6_000)].concat();
    for (wire, status) in [
        ([&long_target[..], &[b'x'; 40_000]].concat(), 414),
        ([&long_target[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat(), 414),
        (long_field, 431),
        (many_fields, 431),
    ] {
        let mut server = Server::default();
        let mut read = 0;
        let error = wire.chunks(100).find_map(|piece| {
            read += piece.len();
            server.read(piece).err()
        });
        assert_eq!(error.map(RequestError::status), Some(status));
        assert!(read <= 20 * 1024, "{read} bytes read");
        assert!(server.held_bytes() <= HTTP_HEAD_BYTES_MAX + SPILL_SLACK_BYTES + 128);
        assert_eq!(serve([&wire[..]]).error, error);
    }
}

#[test]
fn a_refusal_is_a_problem_document_that_closes() {
    for error in RequestError::ALL {
        let mut out = Vec::new();
        let connection = fanfare::http::Connection::Close;
        error.response().push(&mut out, connection, SendBody::Yes, 0);
        let sent = String::from_utf8(out).expect("an answer of ASCII");
        let (head, body) = sent.split_once("\r\n\r\n").expect("a head and a body");
        let line = format!("HTTP/1.1 {} ", error.status());
        assert!(head.starts_with(&line) && head.ends_with("\r\nConnection: close"), "{sent}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{sent}");
        let json: serde_json::Value = serde_json::from_str(body).expect("a JSON body");
        assert_eq!(json["status"], error.status(), "{sent}");
    }
}
