//! The PROXY protocol, versions 1 and 2: what a proxy says of a connection before its first byte.
//!
//! `ppp` reads the headers; what is here finds their end in whatever pieces they come, and says
//! whom they name. Not here: from whom a header is believed (`trusted`). Invariants: not a byte
//! behind the header is consumed, and what is held is bounded; what a header says beside addresses
//! is passed over.

use crate::broker::PeerAddr;
use crate::limits::PROXY_HEADER_BYTES_MAX;
use ppp::{v1, v2};
use std::fmt;

/// Whether trusted proxies say by the PROXY protocol whom they speak for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ProxyProtocol {
    /// They don't: a header is a bad request.
    #[default]
    Off,
    /// They may.
    Optional,
    /// They must, and nobody else may connect.
    Required,
}

/// What begins a header of version 1, and ends it.
const BEGIN_V1: &[u8] = b"PROXY ";
const END_V1: &[u8] = b"\r\n";
/// The longest header of version 1, as its specification has it.
const BYTES_MAX_V1: usize = 107;
/// What there is of every header of version 2, the length of the rest being its last two bytes.
const FIXED_BYTES_V2: usize = 16;
/// Where a header of version 2 says what it is, and that word where a proxy speaks for itself.
const COMMAND_AT: usize = 12;
const COMMAND_LOCAL: u8 = 0x20;

const _: () = assert!(PROXY_HEADER_BYTES_MAX > FIXED_BYTES_V2 && BYTES_MAX_V1 <= u8::MAX as usize);

/// Reads one header, however its bytes are cut up.
#[derive(Debug)]
pub struct ProxyReader {
    presence: Presence,
    held: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Presence {
    Optional,
    Required,
}

/// How far the reader came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxyStep {
    /// Bytes of the input that it took.
    pub consumed: usize,
    /// What came of it; `None`: more bytes are needed, and all were taken.
    pub header: Option<ProxyHeader>,
}

/// What a connection began with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyHeader {
    /// The proxy speaks for that address.
    Client(PeerAddr),
    /// It speaks for someone whose address it does not know.
    Unknown,
    /// It speaks for itself, as in a health check.
    Own,
    /// There is no header: what [`ProxyReader::take`] gives is the client's.
    Absent,
}

/// A connection that can't go on; [`fmt::Display`] says why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadProxyHeader {
    /// There has to be a header.
    Absent,
    /// There has to be a header, and nobody trusts who would send it.
    Stranger,
    /// It has no end within its bound.
    TooLong,
    /// It is none.
    Malformed,
    /// It is of no connection.
    Datagram,
}

/// What is known of the bytes that are held.
enum Progress {
    /// They may become a header, once there are so many of them.
    Needs(usize),
    Done(ProxyHeader),
}

impl ProxyReader {
    /// A reader for a trusted peer; `None` where none is to be read.
    pub const fn new(protocol: ProxyProtocol) -> Option<Self> {
        let presence = match protocol {
            ProxyProtocol::Off => return None,
            ProxyProtocol::Optional => Presence::Optional,
            ProxyProtocol::Required => Presence::Required,
        };
        Some(Self { presence, held: Vec::new() })
    }

    /// Reads on. After an error, or a header, it is of no more use.
    pub fn read(&mut self, input: &[u8]) -> Result<ProxyStep, BadProxyHeader> {
        let mut rest = input;
        loop {
            let total = match self.progress()? {
                Progress::Needs(total) => total,
                Progress::Done(header) => {
                    let consumed = input.len() - rest.len();
                    return Ok(ProxyStep { consumed, header: Some(header) });
                }
            };
            let wanted = total.saturating_sub(self.held.len()).min(rest.len());
            let Some(taken) = rest.split_off(..wanted).filter(|taken| !taken.is_empty()) else {
                return Ok(ProxyStep { consumed: input.len(), header: None });
            };
            self.held.extend_from_slice(taken);
        }
    }

    /// The bytes that it took, where they turned out not to be its own.
    pub fn take(self) -> Vec<u8> {
        self.held
    }

    /// Bytes allocated.
    pub const fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    fn progress(&self) -> Result<Progress, BadProxyHeader> {
        let held = self.held.as_slice();
        if held.starts_with(BEGIN_V1) {
            return progress_v1(held);
        }
        if held.starts_with(v2::PROTOCOL_PREFIX) {
            return progress_v2(held);
        }
        if BEGIN_V1.starts_with(held) || v2::PROTOCOL_PREFIX.starts_with(held) {
            return Ok(Progress::Needs(held.len() + 1));
        }
        match self.presence {
            Presence::Optional => Ok(Progress::Done(ProxyHeader::Absent)),
            Presence::Required => Err(BadProxyHeader::Absent),
        }
    }
}

/// A line, read to its end byte by byte.
fn progress_v1(held: &[u8]) -> Result<Progress, BadProxyHeader> {
    if !held.ends_with(END_V1) {
        let goes_on = held.len() < BYTES_MAX_V1;
        return if goes_on {
            Ok(Progress::Needs(held.len() + 1))
        } else {
            Err(BadProxyHeader::TooLong)
        };
    }
    let header = v1::Header::try_from(held).map_err(|_| BadProxyHeader::Malformed)?;
    if header.header.len() != held.len() {
        return Err(BadProxyHeader::Malformed); // It ended before the line did.
    }
    Ok(Progress::Done(match header.addresses {
        v1::Addresses::Tcp4(ip) => ProxyHeader::Client(PeerAddr::v4(ip.source_address.octets())),
        v1::Addresses::Tcp6(ip) => ProxyHeader::Client(PeerAddr::v6(ip.source_address.octets())),
        v1::Addresses::Unknown => ProxyHeader::Unknown,
    }))
}

/// A block that says its length.
fn progress_v2(held: &[u8]) -> Result<Progress, BadProxyHeader> {
    let Some(&[high, low]) = held.get(FIXED_BYTES_V2 - 2..FIXED_BYTES_V2) else {
        return Ok(Progress::Needs(FIXED_BYTES_V2));
    };
    let total = FIXED_BYTES_V2 + usize::from(u16::from_be_bytes([high, low]));
    if total > PROXY_HEADER_BYTES_MAX {
        return Err(BadProxyHeader::TooLong);
    }
    if held.len() < total {
        return Ok(Progress::Needs(total));
    }
    // Of a proxy that speaks for itself the rest has to be skipped, whatever it is.
    if held.get(COMMAND_AT) == Some(&COMMAND_LOCAL) {
        return Ok(Progress::Done(ProxyHeader::Own));
    }
    let header = v2::Header::try_from(held).map_err(|_| BadProxyHeader::Malformed)?;
    let header = match (header.protocol, header.addresses) {
        (v2::Protocol::Datagram, _) => return Err(BadProxyHeader::Datagram),
        (v2::Protocol::Unspecified, _) | (_, v2::Addresses::Unspecified) => ProxyHeader::Unknown,
        (v2::Protocol::Stream, v2::Addresses::IPv4(ip)) => {
            ProxyHeader::Client(PeerAddr::v4(ip.source_address.octets()))
        }
        (v2::Protocol::Stream, v2::Addresses::IPv6(ip)) => {
            ProxyHeader::Client(PeerAddr::v6(ip.source_address.octets()))
        }
        (v2::Protocol::Stream, v2::Addresses::Unix(_)) => ProxyHeader::Client(PeerAddr::Unix),
    };
    Ok(Progress::Done(header))
}

impl fmt::Display for BadProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => {
                "a trusted proxy sent no header of the PROXY protocol, and \
                 identity.proxy_protocol is required"
            }
            Self::Stranger => {
                "identity.proxy_protocol is required, and the peer is not in \
                 identity.trusted_proxies"
            }
            Self::TooLong => "the header of the PROXY protocol is too long",
            Self::Malformed => "the header of the PROXY protocol is malformed",
            Self::Datagram => "the header of the PROXY protocol is of a datagram",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ProxyHeader = ProxyHeader::Client(PeerAddr::v4([192, 0, 2, 1]));
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n";

    /// A header of version 2: version and command, family and protocol, and the rest.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("a length").to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    /// The addresses and ports of a connection from 192.0.2.1.
    fn tcp4() -> Vec<u8> {
        [[192, 0, 2, 1], [10, 0, 0, 1], [18, 103, 0, 80]].concat()
    }

    fn tcp6() -> Vec<u8> {
        let mut addresses = vec![0; 36];
        (addresses[0], addresses[15]) = (0x20, 1);
        addresses
    }

    fn reader(protocol: ProxyProtocol) -> ProxyReader {
        ProxyReader::new(protocol).expect("a reader")
    }

    fn read(input: &[u8]) -> Result<(usize, Option<ProxyHeader>), BadProxyHeader> {
        let step = reader(ProxyProtocol::Required).read(input)?;
        Ok((step.consumed, step.header))
    }

    /// Headers, and what they say.
    fn good() -> Vec<(Vec<u8>, ProxyHeader)> {
        let mut six = [0; 16];
        (six[0], six[15]) = (0x20, 1);
        let six = ProxyHeader::Client(PeerAddr::v6(six));
        let unix = ProxyHeader::Client(PeerAddr::Unix);
        // A checksum (type 3) that is wrong, and a type that nobody knows.
        let extended = [&tcp4()[..], &[3, 0, 4, 1, 2, 3, 4], &[0xee, 0, 1, 9]].concat();
        let line = |text: &str| text.as_bytes().to_vec();
        vec![
            (line("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n"), CLIENT),
            (line("PROXY TCP6 2000::1 fd00::1 4711 80\r\n"), six),
            (line("PROXY UNKNOWN\r\n"), ProxyHeader::Unknown),
            (line("PROXY UNKNOWN 192.0.2.1 10.0.0.1 4711 80\r\n"), ProxyHeader::Unknown),
            (v2(0x21, 0x11, &tcp4()), CLIENT),
            (v2(0x21, 0x11, &extended), CLIENT),
            (v2(0x21, 0x21, &tcp6()), six),
            (v2(0x21, 0x31, &[b'a'; 216]), unix),
            (v2(0x21, 0x00, &[]), ProxyHeader::Unknown),
            (v2(0x21, 0x10, &tcp4()), ProxyHeader::Unknown),
            (v2(0x20, 0x00, &[]), ProxyHeader::Own),
            (v2(0x20, 0x11, &tcp4()), ProxyHeader::Own),
            (v2(0x20, 0x12, b"noise"), ProxyHeader::Own),
        ]
    }

    #[test]
    fn headers_of_both_versions_say_whom_the_proxy_speaks_for() {
        for (header, said) in good() {
            let shown = header.escape_ascii();
            assert_eq!(read(&header), Ok((header.len(), Some(said))), "{shown}");
            let with_more = [&header[..], REQUEST].concat();
            assert_eq!(read(&with_more), Ok((header.len(), Some(said))), "{shown}");
        }
    }

    #[test]
    fn any_split_says_the_same() {
        for (header, said) in good() {
            let input = [&header[..], REQUEST].concat();
            for cut in 0..=header.len() {
                let mut reader = reader(ProxyProtocol::Optional);
                let (first, rest) = input.split_at(cut);
                let mut step = reader.read(first).expect("a header");
                if step.header.is_none() {
                    assert_eq!(step.consumed, cut, "all is taken");
                    let second = reader.read(rest).expect("a header");
                    step = ProxyStep { consumed: cut + second.consumed, ..second };
                }
                let expected = ProxyStep { consumed: header.len(), header: Some(said) };
                assert_eq!(step, expected, "{} at {cut}", header.escape_ascii());
            }
            let mut reader = reader(ProxyProtocol::Required);
            let (last, before) = header.split_last().expect("bytes");
            for byte in before {
                let step = reader.read(&[*byte]).expect("a part");
                assert_eq!(step, ProxyStep { consumed: 1, header: None });
            }
            assert_eq!(reader.read(&[*last]).expect("a header").header, Some(said));
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (header, error) in [
            (&b"PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n"[..], BadProxyHeader::Malformed),
            (b"PROXY TCP4 192.0.2.256 10.0.0.1 4711 80\r\n", BadProxyHeader::Malformed),
            (b"PROXY TCP4 2000::1 fd00::1 4711 80\r\n", BadProxyHeader::Malformed),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 65536\r\n", BadProxyHeader::Malformed),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 \r\n", BadProxyHeader::Malformed),
            (b"PROXY UDP4 192.0.2.1 10.0.0.1 4711 80\r\n", BadProxyHeader::Malformed),
            (b"PROXY  TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", BadProxyHeader::Malformed),
            (b"PROXY UNKNOWN\rX\r\n", BadProxyHeader::Malformed),
            (b"PROXY TCP4\xff\r\n", BadProxyHeader::Malformed),
            (b"PROXY \r\n", BadProxyHeader::Malformed),
            (&v2(0x11, 0x11, &tcp4()), BadProxyHeader::Malformed),
            (&v2(0x22, 0x11, &tcp4()), BadProxyHeader::Malformed),
            (&v2(0x21, 0x41, &tcp4()), BadProxyHeader::Malformed),
            (&v2(0x21, 0x13, &tcp4()), BadProxyHeader::Malformed),
            (&v2(0x21, 0x11, &tcp4()[1..]), BadProxyHeader::Malformed),
            (&v2(0x21, 0x21, &tcp4()), BadProxyHeader::Malformed),
            (&v2(0x21, 0x12, &tcp4()), BadProxyHeader::Datagram),
            (&v2(0x21, 0x32, &[0; 216]), BadProxyHeader::Datagram),
            (REQUEST, BadProxyHeader::Absent),
            (b"proxy TCP4 ", BadProxyHeader::Absent),
            (b"\r\n\r\n\0\r\nQUIT\r", BadProxyHeader::Absent),
        ] {
            assert_eq!(read(header), Err(error), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn a_header_has_an_end_within_its_bound() {
        let line =
            |bytes: usize| [&b"PROXY UNKNOWN "[..], &vec![b'x'; bytes - 16], b"\r\n"].concat();
        assert_eq!(read(&line(BYTES_MAX_V1)), Ok((BYTES_MAX_V1, Some(ProxyHeader::Unknown))));
        assert_eq!(read(&line(BYTES_MAX_V1 + 1)), Err(BadProxyHeader::TooLong));
        let block = |bytes: usize| v2(0x20, 0, &vec![0; bytes - FIXED_BYTES_V2]);
        let most = PROXY_HEADER_BYTES_MAX;
        assert_eq!(read(&block(most)), Ok((most, Some(ProxyHeader::Own))));
        // Announced is enough.
        let long = block(most + 1);
        assert_eq!(read(&long[..FIXED_BYTES_V2]), Err(BadProxyHeader::TooLong));
        let mut announced = reader(ProxyProtocol::Required);
        announced.read(&block(most)[..FIXED_BYTES_V2]).expect("a part");
        assert!(announced.held_bytes() <= 2 * FIXED_BYTES_V2, "{}", announced.held_bytes());
    }

    #[test]
    fn where_a_header_is_optional_what_is_none_is_given_back() {
        for input in [REQUEST, b"POST / HTTP/1.1\r\n", b"PROXYING", b"\r\nGET /", b"\xff"] {
            for cut in 0..=input.len() {
                let mut reader = reader(ProxyProtocol::Optional);
                let (first, rest) = input.split_at(cut);
                let mut step = reader.read(first).expect("no error");
                let mut left = &first[step.consumed..];
                if step.header.is_none() {
                    step = reader.read(rest).expect("no error");
                    left = &rest[step.consumed..];
                } else {
                    assert_eq!([left, rest].concat().len() + reader.held.len(), input.len());
                    continue;
                }
                assert_eq!(step.header, Some(ProxyHeader::Absent), "{}", input.escape_ascii());
                assert_eq!([reader.take().as_slice(), left].concat(), input, "cut at {cut}");
            }
        }
        assert!(ProxyReader::new(ProxyProtocol::Off).is_none());
    }
}
