//! Virtual clients: what they send, what they saw, and how their kernel behaves.
//!
//! Not here: what they must have seen (`laws`). Invariant: a payload of [`HEADER`] bytes or more
//! says who sent it, which of its messages it is and how long it must be.

use super::Violation;
use super::bearer::{Bearer, Heard, Way};
use super::native::{Native, Speech};
use fanfare::broker::{ConnKey, Disconnect, Gap};
use fanfare::ws::{
    self, Agreement, ClientWindow, Context, DataKind, Decoded, DeflateOffer, Deflated, Deflater,
    Inflater, Level, Message, Opcode, Reader, Role, Rsv1, Rules, WindowBits,
};
use std::collections::VecDeque;

/// Bytes of a payload that name its message.
pub(crate) const HEADER: usize = 16;
const KEY: [u8; 16] = *b"sixteen of these";
const RULES: Rules = Rules { role: Role::Client, rsv1: Rsv1::Reserved, message_bytes_max: 1 << 20 };

/// What a message is known by: its sender and number, or, if tiny, its looks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Sig {
    Known { client: u32, nth: u32 },
    Tiny { len: u8, is_text: bool },
}

impl Sig {
    fn tiny(len: usize, kind: DataKind) -> Self {
        let len = u8::try_from(len).expect("it is tiny");
        Self::Tiny { len, is_text: kind == DataKind::Text }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Member {
        echo: bool,
    },
    Native,
    Poster,
    /// It shows tokens, and what they grant is what the run is about.
    Bearer,
}

/// How the client's kernel takes what it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kernel {
    Ready,
    /// At most so many bytes a time.
    Slow(usize),
    Stalled,
}

/// How the client ends the connection, once what it sent before has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    No,
    Eof,
    Reset,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ack {
    pub(crate) status: u16,
    pub(crate) seq: u64,
    pub(crate) epoch: u64,
    pub(crate) receivers: u32,
}

/// What came of the offer.
#[derive(Debug)]
struct Packing {
    inflater: Inflater,
    deflater: Deflater,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u32,
    pub(crate) shard: usize,
    pub(crate) room: usize,
    pub(crate) kind: Kind,
    pub(crate) key: Option<ConnKey>,
    pub(crate) opened: bool,
    /// On its way to the server.
    pub(crate) wire: VecDeque<u8>,
    pub(crate) paused: bool,
    pub(crate) ending: Ending,
    pub(crate) kernel: Kernel,
    pub(crate) blocked: bool,
    /// When the kernel's writable edge comes.
    pub(crate) writable_at: Option<u64>,
    /// Its kernel has ever been other than ready.
    pub(crate) ever_slow: bool,
    /// It chose to end, by a close frame or otherwise.
    pub(crate) left: bool,
    /// It answers pings and closes.
    pub(crate) responsive: bool,
    /// When it last gave a sign of life.
    pub(crate) heard_at: u64,
    /// It was asked for one since.
    pub(crate) pinged: bool,
    pub(crate) upgraded: bool,
    pub(crate) sent: Vec<Sig>,
    pub(crate) received: Vec<Sig>,
    /// Bytes of each of them.
    pub(crate) sizes: Vec<usize>,
    pub(crate) acks: Vec<Ack>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) pongs: usize,
    pub(crate) pings_sent: usize,
    pub(crate) close: Option<Option<u16>>,
    pub(crate) gone: Option<(Disconnect, Option<u16>)>,
    /// What there is more of a native client.
    pub(crate) native: Option<Box<Native>>,
    /// What there is more of a client that shows tokens.
    pub(crate) bearer: Option<Box<Bearer>>,
    /// Which of the addresses that are counted it comes from.
    pub(crate) address: Option<u8>,
    pub(crate) gone_at: u64,
    /// Fields of its requests that say who it is.
    pub(crate) pass: String,
    /// What of compression it offers.
    offer: Option<DeflateOffer>,
    packing: Option<Packing>,
    reader: Reader,
    pub(crate) seen: Vec<u8>,
    next: u32,
}

impl Client {
    pub(crate) fn new(id: usize, shard: usize, room: usize, kind: Kind, offer: u8) -> Self {
        Self {
            offer: offer_of(offer),
            packing: None,
            id: u32::try_from(id).expect("few clients"),
            shard,
            room,
            kind,
            key: None,
            opened: false,
            wire: VecDeque::new(),
            paused: false,
            ending: Ending::No,
            kernel: Kernel::Ready,
            blocked: false,
            writable_at: None,
            ever_slow: false,
            left: false,
            responsive: true,
            heard_at: 0,
            pinged: false,
            upgraded: false,
            sent: Vec::new(),
            received: Vec::new(),
            sizes: Vec::new(),
            acks: Vec::new(),
            gaps: Vec::new(),
            pongs: 0,
            pings_sent: 0,
            close: None,
            gone: None,
            native: None,
            bearer: None,
            address: None,
            gone_at: 0,
            pass: String::new(),
            reader: Reader::default(),
            seen: Vec::new(),
            next: 0,
        }
    }

    /// Whether the broker has no reason to end it.
    pub(crate) const fn is_faithful(&self) -> bool {
        !self.left && !self.ever_slow && self.responsive
    }

    /// Whether it takes part now, as far as it can know.
    pub(crate) const fn is_present(&self) -> bool {
        !self.left && self.gone.is_none() && self.close.is_none()
    }

    pub(crate) const fn is_member(&self) -> bool {
        matches!(self.kind, Kind::Member { .. })
    }

    pub(crate) fn is_websocket(&self) -> bool {
        match self.kind {
            Kind::Member { .. } | Kind::Native => true,
            Kind::Poster => false,
            Kind::Bearer => self.bearer.as_ref().is_some_and(|bearer| bearer.way != Way::Http),
        }
    }

    pub(crate) const fn has_echo(&self) -> bool {
        matches!(self.kind, Kind::Member { echo: true })
    }

    /// Asks for the upgrade.
    pub(crate) fn push_handshake(&mut self, room: &str) {
        let target = match self.kind {
            Kind::Member { echo: false } => format!("/raw/{room}?echo=0"),
            Kind::Member { echo: true } | Kind::Native | Kind::Poster | Kind::Bearer => {
                format!("/raw/{room}")
            }
        };
        self.push_upgrade(&target, None);
    }

    /// Asks for the upgrade at `target`, and says who it is.
    pub(crate) fn push_upgrade(&mut self, target: &str, subprotocol: Option<&'static str>) {
        let mut request = Vec::new();
        let terms = (self.offer, subprotocol);
        ws::client_request_speaking(&mut request, "broker.test", target, &KEY, terms);
        request.truncate(request.len() - 2);
        request.extend(format!("{}\r\n", self.pass).bytes());
        self.wire.extend(request);
    }

    /// Sends one message of about `len` bytes to `room`, by whichever way the client has.
    pub(crate) fn push_message(&mut self, room: &str, len: usize, mask: [u8; 4], chunked: bool) {
        let (payload, kind) = self.compose(len);
        if self.is_member() {
            return self.push_data(kind, &payload, mask, chunked);
        }
        let media = if kind == DataKind::Text { "text/plain" } else { "application/octet-stream" };
        let head = format!(
            "POST /v1/rooms/{room}/messages HTTP/1.1\r\nHost: broker.test\r\n{}\
             Content-Type: {media}\r\n",
            self.pass
        );
        self.wire.extend(head.bytes());
        if chunked && !payload.is_empty() {
            self.wire.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in payload.chunks(payload.len().div_ceil(2)) {
                self.wire.extend(format!("{:x}\r\n", piece.len()).bytes());
                self.wire.extend(piece);
                self.wire.extend(b"\r\n");
            }
            self.wire.extend(b"0\r\n\r\n");
        } else {
            self.wire.extend(format!("Content-Length: {}\r\n\r\n", payload.len()).bytes());
            self.wire.extend(payload);
        }
    }

    /// Asks for the upgrade of a native client, in the name of its user.
    pub(crate) fn push_native_handshake(&mut self) {
        if self.pass.is_empty()
            && let Some(user) = self.native.as_ref().and_then(|native| native.user.as_ref())
        {
            self.pass = format!("X-User: {user}\r\n");
        }
        self.push_upgrade("/ws", self.subprotocol());
    }

    fn subprotocol(&self) -> Option<&'static str> {
        match self.native.as_ref()?.speech {
            Speech::Json => None,
            Speech::Batch => Some("fanfare.v1.json"),
            Speech::Binary => Some("fanfare.v1.bin"),
        }
    }

    /// Sends one WebSocket message, compressed if that was agreed on and `packed`.
    pub(crate) fn push_data(
        &mut self,
        kind: DataKind,
        payload: &[u8],
        mask: [u8; 4],
        packed: bool,
    ) {
        let mut frame = Vec::new();
        let packed = self
            .packing
            .as_mut()
            .filter(|_| packed)
            .map(|packing| packing.deflater.push_masked_frame(&mut frame, kind, payload, mask));
        if !matches!(packed, Some(Deflated::Smaller { .. })) {
            ws::push_masked_frame(&mut frame, kind.opcode(), payload, mask);
        }
        self.wire.extend(frame);
    }

    fn compose(&mut self, len: usize) -> (Vec<u8>, DataKind) {
        let (payload, kind, sig) = self.next_payload(len, false);
        self.sent.push(sig);
        (payload, kind)
    }

    /// The client's next message, and what it is known by.
    pub(crate) fn next_payload(&mut self, len: usize, is_text: bool) -> (Vec<u8>, DataKind, Sig) {
        self.next += u32::from(is_text) & self.next; // Texts have even numbers.
        let nth = self.next;
        self.next += 1;
        let kind = kind_of(nth);
        let mut payload = Vec::with_capacity(len);
        if len >= HEADER {
            payload.extend(format!("{:04x}{nth:06x}{len:06x}", self.id).bytes());
        }
        payload.resize(len, filler(nth));
        let sig = match len {
            HEADER.. => Sig::Known { client: self.id, nth },
            _ => Sig::tiny(len, kind),
        };
        (payload, kind, sig)
    }

    pub(crate) fn push_control(&mut self, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
        let mut frame = Vec::new();
        ws::push_masked_frame(&mut frame, opcode, payload, mask);
        self.wire.extend(frame);
    }

    /// Takes in what its kernel was given.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.seen.extend_from_slice(bytes);
        if self.bearer.is_some() && !self.receive_responses()? {
            return Ok(());
        }
        if !self.is_websocket() {
            return self.read_responses();
        }
        if !self.upgraded {
            match ws::check_response_speaking(&self.seen, &KEY, (self.offer, self.subprotocol())) {
                Ok(Decoded::Complete(accepted)) => {
                    self.upgraded = true;
                    self.packing = accepted.deflate.map(Packing::new);
                    self.seen.drain(..accepted.head_bytes);
                    if let Some(bearer) = &mut self.bearer {
                        bearer.news.push(Heard::Upgraded);
                    }
                }
                Ok(Decoded::Partial(_)) => return Ok(()),
                Err(error) => return Err(self.garbled(&format!("no upgrade: {error}"))),
            }
        }
        let mut seen = std::mem::take(&mut self.seen);
        let read = self.read_frames(&mut seen);
        seen.clear();
        self.seen = seen; // The vector is used again.
        read
    }

    fn read_frames(&mut self, seen: &mut [u8]) -> Result<(), Violation> {
        let mut at = 0;
        while at < seen.len() {
            if self.close.is_some() {
                return Err(self.garbled("bytes after the close frame"));
            }
            let rsv1 = self.packing.as_ref().map_or(Rsv1::Reserved, |_| Rsv1::Compressed);
            let step = match self.reader.read(&mut seen[at..], &Rules { rsv1, ..RULES }) {
                Ok(step) => step,
                Err(error) => return Err(Violation::garbled(self.id, &format!("{error}"))),
            };
            at += step.consumed;
            let mask = [0x5a, 1, 0xff, 0];
            match step.message {
                None => break,
                Some(Message::Data { kind, payload }) => {
                    let parts = (&mut self.native, &mut self.received, &mut self.sizes);
                    match &mut self.bearer {
                        Some(bearer) => bearer.news.push(text_of(&payload)),
                        None => take(self.id, parts, kind, &payload)?,
                    }
                }
                Some(Message::Compressed { kind, payload }) => {
                    let id = self.id;
                    let garbled = |what: &str| Violation::garbled(id, what);
                    let packing = self.packing.as_mut().ok_or_else(|| garbled("unagreed on"))?;
                    let inflated = packing.inflater.message(kind, &payload, 1 << 20);
                    let inflated = inflated.map_err(|error| garbled(&error.to_string()))?;
                    let parts = (&mut self.native, &mut self.received, &mut self.sizes);
                    match &mut self.bearer {
                        Some(bearer) => bearer.news.push(text_of(inflated)),
                        None => take(id, parts, kind, inflated)?,
                    }
                }
                Some(Message::Ping(payload)) => {
                    let payload = payload.to_vec();
                    self.pinged = true;
                    if self.responsive && self.ending == Ending::No {
                        self.push_control(Opcode::Pong, &payload, mask);
                    }
                }
                Some(Message::Pong(_)) => self.pongs += 1,
                Some(Message::Close(frame)) => {
                    self.close = Some(frame.code);
                    if self.responsive && !self.left && self.ending == Ending::No {
                        let code = frame.code.unwrap_or(1000).to_be_bytes();
                        self.push_control(Opcode::Close, &code, mask);
                    }
                }
            }
        }
        Ok(())
    }

    fn read_responses(&mut self) -> Result<(), Violation> {
        loop {
            let Some(end) = self.seen.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Ok(());
            };
            let head = String::from_utf8_lossy(&self.seen[..end]).into_owned();
            let status = head.get(9..12).and_then(|status| status.parse().ok());
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            let (Some(status), Some(length)) = (status, length) else {
                return Err(self.garbled(&format!("a response without a length: {head}")));
            };
            let length: usize = length;
            let Some(body) = self.seen.get(end + 4..end + 4 + length) else { return Ok(()) };
            let ack = read_ack(status, &String::from_utf8_lossy(body));
            let Some(ack) = ack else {
                return Err(self.garbled(&format!("an answer without its fields: {head}")));
            };
            self.acks.push(ack);
            self.seen.drain(..end + 4 + length);
        }
    }

    fn garbled(&self, what: &str) -> Violation {
        Violation::garbled(self.id, what)
    }
}

/// A data message as a client that shows tokens reads it.
fn text_of(payload: &[u8]) -> Heard {
    Heard::Text(String::from_utf8_lossy(payload).into_owned())
}

/// Takes in a data message.
fn take(
    id: u32,
    (native, received, sizes): (&mut Option<Box<Native>>, &mut Vec<Sig>, &mut Vec<usize>),
    kind: DataKind,
    payload: &[u8],
) -> Result<(), Violation> {
    if let Some(native) = native {
        return native.read(kind, payload);
    }
    received.push(read_sig(kind, payload).map_err(|what| Violation::garbled(id, &what))?);
    sizes.push(payload.len());
    Ok(())
}

/// One of the things that clients offer.
const fn offer_of(number: u8) -> Option<DeflateOffer> {
    let bare = DeflateOffer {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: None,
        client_max_window_bits: ClientWindow::Unsaid,
    };
    match number % 8 {
        0 | 1 => Some(bare),
        2 => Some(DeflateOffer { server_max_window_bits: Some(WindowBits::Twelve), ..bare }),
        3 => Some(DeflateOffer { server_no_context_takeover: true, ..bare }),
        4 => Some(DeflateOffer { client_no_context_takeover: true, ..bare }),
        _ => None,
    }
}

impl Packing {
    fn new(agreement: Agreement) -> Self {
        let context = |reset| if reset { Context::Reset } else { Context::Kept };
        let inflater = Inflater::new(context(agreement.server_no_context_takeover));
        let context = context(agreement.client_no_context_takeover);
        let deflater = Deflater::new(agreement.client_window(), Level::MIN, context);
        Self { inflater, deflater }
    }
}

fn read_ack(status: u16, body: &str) -> Option<Ack> {
    if status != 200 {
        return Some(Ack { status, seq: 0, epoch: 0, receivers: 0 });
    }
    let field = |name: &str| {
        let rest = body.split_once(&format!("\"{name}\":"))?.1;
        rest.split([',', '}']).next().map(|value| value.trim_matches('"').to_owned())
    };
    Some(Ack {
        status,
        seq: field("seq")?.parse().ok()?,
        epoch: u64::from_str_radix(&field("epoch")?, 16).ok()?,
        receivers: field("receivers")?.parse().ok()?,
    })
}

const fn kind_of(nth: u32) -> DataKind {
    if nth.is_multiple_of(2) { DataKind::Text } else { DataKind::Binary }
}

fn filler(nth: u32) -> u8 {
    b'a' + u8::try_from(nth % 26).expect("below 26")
}

/// What a payload says that it is, if it is whole.
pub(crate) fn read_sig(kind: DataKind, payload: &[u8]) -> Result<Sig, String> {
    if payload.len() < HEADER {
        let uniform = payload.windows(2).all(|two| two[0] == two[1]);
        if !uniform {
            return Err(format!("a tiny payload is mixed: {}", payload.escape_ascii()));
        }
        return Ok(Sig::tiny(payload.len(), kind));
    }
    let (header, rest) = payload.split_at(HEADER);
    let number = |from: usize, to: usize| {
        let digits = std::str::from_utf8(&header[from..to]).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let read = number(0, 4).zip(number(4, 10)).zip(number(10, 16));
    let Some(((client, nth), len)) = read else {
        return Err(format!("a payload without its name: {}", header.escape_ascii()));
    };
    if len as usize != payload.len() || kind != kind_of(nth) {
        return Err(format!("message {nth} of client {client} has another length or kind"));
    }
    if !rest.iter().all(|byte| *byte == filler(nth)) {
        return Err(format!("message {nth} of client {client} is mixed with another"));
    }
    Ok(Sig::Known { client, nth })
}
