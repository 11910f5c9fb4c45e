//! What a server says about its own work on `GET /metrics`, where it is a Fanfare or our floor.
//!
//! Invariants: bounded in bytes and in time; whatever goes wrong means that nothing is known. It
//! blocks, so it belongs between phases.

use super::clock::Clock;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for the page in all. Too low: a busy server is not heard. Too high: a server
/// without the page holds up the run.
const PATIENCE: Duration = Duration::from_secs(1);
/// A page of more is not ours.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
const HEAD_END: &str = "\r\n\r\n";
const WRITES: &str = "fanfare_writes_total";
const DELIVERED: &str = "fanfare_messages_delivered_total";

/// Totals since the server began.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Totals {
    writes: f64,
    delivered: f64,
}

impl Totals {
    /// Asks the server at `address`.
    pub(super) fn scrape(address: SocketAddr) -> Option<Self> {
        let clock = Clock::start();
        let left = || PATIENCE.checked_sub(Duration::from_micros(clock.now_us()));
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_write_timeout(Some(left()?)).ok()?;
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let (mut page, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        loop {
            stream.set_read_timeout(Some(left()?.max(Duration::from_millis(1)))).ok()?;
            match stream.read(&mut buffer).ok()? {
                0 => return Self::parse(&page),
                count => page.extend_from_slice(buffer.get(..count)?),
            }
            if page.len() > PAGE_BYTES_MAX {
                return None;
            }
            // A server may announce the length and leave it to us to hang up.
            if missing_bytes(&page) == Some(0) {
                return Self::parse(&page);
            }
        }
    }

    /// Reads an answer up to its end.
    fn parse(answer: &[u8]) -> Option<Self> {
        if missing_bytes(answer).is_some_and(|missing| missing > 0) {
            return None;
        }
        let (head, body) = std::str::from_utf8(answer).ok()?.split_once(HEAD_END)?;
        let (_, status) = head.lines().next()?.split_once(' ')?;
        if !status.starts_with("200") {
            return None;
        }
        Some(Self { writes: sum(body, WRITES)?, delivered: sum(body, DELIVERED)? })
    }

    /// Messages that each write carried since `before`.
    pub(super) fn messages_per_send(self, before: Self) -> Option<f64> {
        let writes = self.writes - before.writes;
        let each = (self.delivered - before.delivered) / writes;
        (writes > 0.0 && each.is_finite() && each >= 0.0).then_some(each)
    }
}

/// Bytes that are missing of an answer whose head is there and announces its length.
fn missing_bytes(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(HEAD_END.len()).position(|window| window == HEAD_END.as_bytes())?;
    let (head, rest) = answer.split_at(end);
    let mut fields =
        std::str::from_utf8(head).ok()?.lines().filter_map(|line| line.split_once(":"));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = length.trim().parse().ok()?;
    Some(length.saturating_sub(rest.len() - HEAD_END.len()))
}

/// The sum of all samples of that name; none where there is none, or one is no number.
fn sum(body: &str, name: &str) -> Option<f64> {
    let samples = body.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let values = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}')?.1,
            None => rest.starts_with(' ').then_some(rest)?,
        };
        Some(values.split_whitespace().next()?.parse::<f64>().ok())
    });
    samples.reduce(|sum, value| Some(sum? + value?)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    const PAGE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\
        # HELP fanfare_writes_total Write system calls.\n\
        fanfare_writes_total 10\n\
        fanfare_writes_total_of_something_else 1000\n\
        fanfare_messages_delivered_total{loop=\"0\"} 30\n\
        fanfare_messages_delivered_total{loop=\"1\"} 12.0 1700000000\n";

    /// A server that sends `answer` to whoever comes first, once the request is there.
    fn server(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let serve = move || {
            let (mut stream, _) = listener.accept().expect("somebody who asks");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                request.extend(byte);
            }
            stream.write_all(&answer).ok();
        };
        thread::Builder::new().spawn(serve).expect("a thread");
        address
    }

    #[test]
    fn samples_are_summed_over_their_labels() {
        let totals = Totals { writes: 10.0, delivered: 42.0 };
        assert_eq!(Totals::parse(PAGE.as_bytes()), Some(totals));
        assert_eq!(Totals::scrape(server(PAGE.into())), Some(totals));
    }

    #[test]
    fn an_announced_length_is_the_end_and_less_of_it_is_nothing() {
        let announced = |bytes: usize| {
            let (head, body) = PAGE.split_once(HEAD_END).expect("a head");
            format!("{head}\r\ncontent-LENGTH: {bytes}{HEAD_END}{body}")
        };
        let length = PAGE.split_once(HEAD_END).expect("a head").1.len();
        assert_eq!(missing_bytes(announced(length).as_bytes()), Some(0));
        assert_eq!(missing_bytes(announced(length + 3).as_bytes()), Some(3));
        assert_eq!(missing_bytes(PAGE.as_bytes()), None);
        assert!(Totals::scrape(server(announced(length).into())).is_some());
        assert_eq!(Totals::scrape(server(announced(length + 1).into())), None);
    }

    #[test]
    fn another_page_is_none() {
        let missing = PAGE.replace("fanfare_writes_total 10", "");
        let odd = PAGE.replace("fanfare_writes_total 10", "fanfare_writes_total ten");
        let refused = PAGE.replace("200 OK", "404 Not Found");
        for answer in ["", "HTTP/1.1 200 OK\r\n\r\n", &missing, &odd, &refused] {
            assert_eq!(Totals::parse(answer.as_bytes()), None, "{answer}");
            assert_eq!(Totals::scrape(server(answer.into())), None, "{answer}");
        }
        let endless = [PAGE.as_bytes(), &vec![b'\n'; PAGE_BYTES_MAX]].concat();
        assert_eq!(Totals::scrape(server(endless)), None);
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let clock = Clock::start();
        assert_eq!(Totals::scrape(listener.local_addr().expect("bound")), None);
        assert!(clock.now_us() < 5_000_000);
    }

    #[test]
    fn messages_are_divided_by_writes_where_there_were_some() {
        let before = Totals { writes: 10.0, delivered: 42.0 };
        let after = Totals { writes: 20.0, delivered: 642.0 };
        assert_eq!(after.messages_per_send(before), Some(60.0));
        assert_eq!(before.messages_per_send(before), None);
        assert_eq!(before.messages_per_send(after), None, "a server that began anew");
    }
}
