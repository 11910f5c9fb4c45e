//! How each attack is carried out, on one thread, until its time is over.
//!
//! Invariants: each checks that the broker answers as it must, and gives up where it does not; the
//! number that it returns says how much was done.

use crate::attacks::{Attack, DRIPPING, FLOODING, HELD, LIARS};
use crate::e2e::http::{Expect, Http};
use crate::e2e::raw::{
    BEGIN_TEXT, BINARY, CLOSE, CONTINUE, LAST, PING, PONG, Raw, TEXT, close_payload, frame, upgrade,
};
use crate::watch::Span;
use fanfare::ws::{Context, DataKind, Deflater, Level, WindowClass};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Frames or requests that are sent at once.
const PORTION: usize = 1_000;

/// Carries the attack out; how much was done.
pub(crate) fn carry_out(attack: Attack, address: SocketAddr, span: Span) -> u64 {
    match attack {
        Attack::Heads => over_and_over(span, |nth| head(address, nth)),
        Attack::Slowloris => drip(address, span),
        Attack::Pings => pings(address, span),
        Attack::EmptyFragments => empty_fragments(address, span),
        Attack::TinyFragments => tiny_fragments(address, span),
        Attack::HeldFragments => held_fragments(address, span),
        Attack::ManyFragments => many_fragments(address, span),
        Attack::Announced => announced(address, span),
        Attack::Resets => over_and_over(span, |nth| reset(address, nth)),
        // Its members are there already, and stall by themselves.
        Attack::Stalled => {
            span.wait_until(span.time);
            1
        }
        Attack::Names => names(address, span),
        Attack::Frames => over_and_over(span, |nth| bad_frame(address, nth)),
        Attack::Bombs => bombs(address, span),
    }
}

/// Messages that inflate to more than the limit, a thousand a second at most.
fn bombs(address: SocketAddr, span: Span) -> u64 {
    let mut deflater = Deflater::new(WindowClass::Full, Level::MAX, Context::Reset);
    let mut bomb = Vec::new();
    let zeros = vec![0; 2 << 20];
    deflater.push_masked_frame(&mut bomb, DataKind::Binary, &zeros, [1, 2, 3, 4]);
    over_and_over(span, |nth| {
        span.wait_until(Duration::from_millis(nth));
        let mut http = Http::connect(address);
        let offer = "Sec-WebSocket-Extensions: permessage-deflate";
        http.send(&upgrade("/raw/bombed", "test", &[offer]));
        assert_eq!(http.answer(Expect::HeadOnly).status, 101);
        http.send(&bomb);
        assert_eq!(Raw(http).close_code(), Some(1009));
    })
}

fn over_and_over(span: Span, mut once: impl FnMut(u64)) -> u64 {
    let mut done = 0;
    while !span.is_over() {
        once(done);
        done += 1;
    }
    done
}

/// A head that has 20 KiB and no end.
fn head(address: SocketAddr, nth: u64) {
    let line = "GET /raw/lobby HTTP/1.1\r\nHost: test\r\n";
    let (begin, more, status) = match nth % 3 {
        0 => (format!("{line}X: "), "a", 431),
        1 => (line.to_owned(), "X-1: a\r\n", 431),
        _ => ("GET /raw/".to_owned(), "a", 414),
    };
    let mut bytes = begin.into_bytes();
    bytes.extend(more.bytes().cycle().take(20 * 1_024 - bytes.len()));
    let mut http = Http::connect(address);
    http.send(&bytes);
    assert_eq!(http.answer(Expect::Body).status, status);
}

/// Many heads, a byte each second; who is sent away comes again. Counts bytes.
fn drip(address: SocketAddr, span: Span) -> u64 {
    let head = upgrade("/raw/lobby", "test", &[]);
    let endless = &head[..head.len() - 2];
    let connect = || {
        let stream = TcpStream::connect(address).expect("the broker accepts");
        stream.set_nonblocking(true).expect("not blocking");
        stream
    };
    let mut all: Vec<(TcpStream, usize)> = (0..DRIPPING).map(|_| (connect(), 0)).collect();
    let mut due = span.begun.elapsed();
    let mut done = 0;
    while !span.is_over() {
        for (stream, sent) in &mut all {
            let byte = endless.get(*sent % endless.len()..).and_then(<[u8]>::first);
            let is_open = byte.is_some_and(|byte| stream.write_all(&[*byte]).is_ok())
                && matches!(stream.read(&mut [0; 512]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock);
            if is_open {
                (*sent, done) = (*sent + 1, done + 1);
            } else {
                (*stream, *sent) = (connect(), 0);
            }
        }
        due += Duration::from_secs(1);
        span.wait_until(due.min(span.time));
    }
    done
}

/// Pings that nobody reads the pongs of.
fn pings(address: SocketAddr, span: Span) -> u64 {
    let mut flood = Raw::open(address, "/raw/pings");
    let portion = frame(PING, &[0x55; 125]).repeat(PORTION);
    over_and_over(span, |_| flood.0.send(&portion)) * PORTION as u64
}

/// Empty fragments, until cut, over and over.
fn empty_fragments(address: SocketAddr, span: Span) -> u64 {
    let portion = frame(CONTINUE, b"").repeat(PORTION);
    let mut done = 0;
    while !span.is_over() {
        let mut endless = Raw::open(address, "/raw/endless");
        endless.send(BEGIN_TEXT, b"");
        // Cut for good: what comes behind is in vain.
        while endless.0.stream.write_all(&portion).is_ok() && done % 300_000 < 299_000 {
            done += PORTION as u64;
        }
        assert_eq!(endless.close_code(), Some(1008));
        done += PORTION as u64;
    }
    done
}

/// Messages in fragments of one byte.
fn tiny_fragments(address: SocketAddr, span: Span) -> u64 {
    const FRAGMENTS: usize = 300_000;
    let mut tiny = Raw::open(address, "/raw/tiny");
    let portion = frame(CONTINUE, b"x").repeat(PORTION);
    over_and_over(span, |_| {
        tiny.send(BEGIN_TEXT, b"b");
        (0..FRAGMENTS / PORTION).for_each(|_| tiny.0.send(&portion));
        tiny.send(LAST, b"e");
        assert_eq!(tiny.next().expect("a message").payload.len(), FRAGMENTS + 2);
    }) * FRAGMENTS as u64
}

/// Unfinished messages, all held at once, then finished.
fn held_fragments(address: SocketAddr, span: Span) -> u64 {
    let (connections, fragments) = HELD;
    let mut all: Vec<Raw> =
        (0..connections).map(|nth| Raw::open(address, &format!("/raw/held-{nth}"))).collect();
    let portion = frame(CONTINUE, b"x").repeat(fragments - 1);
    over_and_over(span, |_| {
        for one in &mut all {
            one.send(BEGIN_TEXT, b"x");
            one.0.send(&portion);
            one.send(PING, b"read?");
        }
        for one in &mut all {
            assert_eq!(one.next().expect("a pong").first, PONG);
        }
        for one in &mut all {
            one.send(LAST, b"x");
            assert_eq!(one.next().expect("the message").payload.len(), fragments + 1);
        }
    }) * connections as u64
}

/// Messages in fragments of one byte, on as many connections as the kernel takes them from.
fn many_fragments(address: SocketAddr, span: Span) -> u64 {
    let middle = frame(CONTINUE, b"x").repeat(8_000);
    let message = [frame(BEGIN_TEXT, b"x"), middle, frame(LAST, b"x")].concat();
    let connect = |nth| Raw::open(address, &format!("/raw/many-{nth}?echo=0"));
    let mut all: Vec<(Raw, usize)> = (0..FLOODING).map(|nth| (connect(nth), 0)).collect();
    for (one, _) in &all {
        one.stream().set_nonblocking(true).expect("not blocking");
    }
    let mut bytes = 0;
    while !span.is_over() {
        for (one, at) in &mut all {
            match one.0.stream.write(&message[*at..]) {
                Ok(count) => {
                    *at = (*at + count) % message.len();
                    bytes += count as u64;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
    }
    bytes / 1_024
}

/// Lengths that nothing follows.
fn announced(address: SocketAddr, span: Span) -> u64 {
    let header = |length: u64| {
        let mut bytes = vec![BINARY, 0x80 | 127];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 4]);
        bytes
    };
    let mut liars: Vec<Raw> = (0..LIARS).map(|_| Raw::open(address, "/raw/announced")).collect();
    liars.iter_mut().for_each(|liar| liar.0.send(&header(1 << 20)));
    let lengths = [((1 << 20) + 1, 1009), (1 << 40, 1009), (1 << 63, 1002), (u64::MAX, 1002)];
    over_and_over(span, |nth| {
        let (length, code) = lengths[usize::try_from(nth % 4).expect("small")];
        let mut liar = Raw::open(address, "/raw/announced");
        liar.0.send(&header(length));
        assert_eq!(liar.close_code(), Some(code), "{length} announced");
    })
}

/// A connection that is reset, in one of the stages of its life.
fn reset(address: SocketAddr, nth: u64) {
    let mut stream = TcpStream::connect(address).expect("the broker accepts");
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a reset at the close");
    let open = upgrade(&format!("/raw/storm-{}", nth % 7), "test", &[]);
    let message = frame(TEXT, &[b'x'; 2_000]);
    let bytes = match nth % 6 {
        0 => Vec::new(),
        1 => open[..40].to_vec(),
        2 => open,
        3 => [open, message.repeat(3)].concat(),
        4 => [open, message, frame(BEGIN_TEXT, b"unfinished")].concat(),
        _ => [open, message, frame(CLOSE, &close_payload(1000))].concat(),
    };
    stream.write_all(&bytes).expect("sent");
    if nth % 6 == 2 {
        assert!(stream.read(&mut [0; 256]).expect("an answer") > 100);
    }
}

/// A new room for each request.
fn names(address: SocketAddr, span: Span) -> u64 {
    const REQUESTS: u64 = 100;
    let mut http = Http::connect(address);
    over_and_over(span, |portion| {
        let requests: String = (portion * REQUESTS..(portion + 1) * REQUESTS)
            .map(|nth| {
                format!(
                    "POST /v1/rooms/{nth:x>128}/messages HTTP/1.1\r\nHost: test\r\n\
                     Content-Length: 0\r\n\r\n"
                )
            })
            .collect();
        http.send(requests.as_bytes());
        for _ in 0..REQUESTS {
            let status = http.answer(Expect::Body).status;
            assert!([200, 503].contains(&status), "{status}");
        }
    }) * REQUESTS
}

/// A handshake and a frame that can't be.
fn bad_frame(address: SocketAddr, nth: u64) {
    let bad: [&[u8]; 5] = [&[0xF1], &[0x83], &[0x09], &[0x89, 0xFE], &[0x81, 0x05]];
    let mut odd = Raw::open(address, "/raw/odd");
    odd.0.send(bad[usize::try_from(nth % 5).expect("small")]);
    assert_eq!(odd.close_code(), Some(1002));
}
