//! A small blocking WebSocket client for `sub` and `pub`.
//!
//! Not here: what is sent and shown. Invariants: pings and closes are answered before a message is
//! handed out; a close is waited for, so that what was sent before it is known to have arrived.

use super::url::Url;
use crate::limits::MESSAGE_BYTES_CEILING;
use crate::ws::{
    self, ClientHandshakeError, CloseFrame, DataKind, Decoded, Message, Opcode, ProtocolError,
    Reader, Role, Rsv1, Rules,
};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::time::Duration;

/// Time to connect, for the handshake, and for the broker's half of a close.
const PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which the kernel asks whether the broker's machine is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Bytes read at once; a handshake's answer must fit.
const INPUT_BYTES: usize = 64 * 1024;
/// The broker decides how large a message may be; this bounds what a broker may make us hold.
const RULES: Rules =
    Rules { role: Role::Client, rsv1: Rsv1::Reserved, message_bytes_max: MESSAGE_BYTES_CEILING };
/// RFC 6455 §7.4.1: the purpose of the connection is fulfilled.
const CLOSE_NORMAL: u16 = 1000;

/// An open connection to one raw room.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    reader: Reader,
    input: Box<[u8]>,
    unread: Range<usize>,
    close_sent: bool,
}

/// What the broker sent.
#[derive(Debug)]
pub(super) enum Received {
    /// A message of the room.
    Message(DataKind, Vec<u8>),
    /// The end; `None` where the connection ended without a close frame.
    Closed(Option<CloseFrame>),
}

/// Why there is no connection, or no more.
#[derive(Debug)]
pub(super) enum ClientError {
    /// No connection to the broker's address.
    Unreachable(String, io::Error),
    /// Whoever answered opened no WebSocket.
    Handshake(ClientHandshakeError),
    /// The broker broke RFC 6455.
    Protocol(ProtocolError),
    /// The connection failed.
    Io(io::Error),
    /// The broker closed, and not because we asked for it.
    Closed(Option<CloseFrame>),
    /// The system has no random bytes.
    Random(getrandom::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(url, error) => write!(
                f,
                "cannot reach the broker at {url}: {error}; is it running (fanfare serve), or \
                 elsewhere (--url)?"
            ),
            Self::Handshake(error) => write!(f, "no WebSocket at this URL: {error}"),
            Self::Protocol(error) => write!(f, "the broker broke the protocol: {error}"),
            Self::Io(error) if is_timeout(error) => {
                f.write_str("the broker did not answer in time")
            }
            Self::Io(error) => write!(f, "the connection failed: {error}"),
            Self::Closed(None) => f.write_str("the connection ended without a close"),
            Self::Closed(Some(CloseFrame { code, reason })) => {
                f.write_str("the broker closed the connection")?;
                code.map_or(Ok(()), |code| write!(f, ": {code}"))?;
                if reason.is_empty() { Ok(()) } else { write!(f, " ({reason:?})") }
            }
            Self::Random(error) => write!(f, "no random bytes: {error}"),
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Client {
    /// Opens a WebSocket to `target` at `url`. Reads wait for ever, writes for a while.
    pub(super) fn connect(url: &Url, target: &str) -> Result<Self, ClientError> {
        let stream = dial(url).map_err(|error| ClientError::Unreachable(url.to_string(), error))?;
        let mut client = Self {
            stream,
            reader: Reader::default(),
            input: vec![0; INPUT_BYTES].into_boxed_slice(),
            unread: 0..0,
            close_sent: false,
        };
        let key = random()?;
        let mut request = Vec::new();
        ws::client_request(&mut request, &url.authority, target, &key, None);
        client.stream.write_all(&request)?;
        client.unread.start = client.read_response(&key)?;
        client.stream.set_read_timeout(None)?;
        Ok(client)
    }

    /// Reads until the answer is whole; where it ends.
    fn read_response(&mut self, key: &[u8; 16]) -> Result<usize, ClientError> {
        loop {
            let free = self.input.get_mut(self.unread.end..).unwrap_or_default();
            let read = read_some(&mut self.stream, free)?;
            self.unread.end += read;
            let arrived = self.input.get(..self.unread.end).unwrap_or_default();
            match ws::check_response(arrived, key, None).map_err(ClientError::Handshake)? {
                Decoded::Complete(accepted) => return Ok(accepted.head_bytes),
                Decoded::Partial(_) if read == 0 => {
                    return Err(ClientError::Handshake(ClientHandshakeError::NotHttp));
                }
                Decoded::Partial(_) => {}
            }
        }
    }

    /// Sends one message.
    ///
    /// Where that fails because the broker closed first, its reason is the error.
    pub(super) fn send(&mut self, kind: DataKind, payload: &[u8]) -> Result<(), ClientError> {
        let opcode = match kind {
            DataKind::Text => Opcode::Text,
            DataKind::Binary => Opcode::Binary,
        };
        send(&mut self.stream, opcode, payload).map_err(|failed| self.reason(failed))
    }

    /// Why the broker does not take what we send: its close, if it sent one, else `failed`.
    fn reason(&mut self, failed: ClientError) -> ClientError {
        self.stream.set_read_timeout(Some(PATIENCE)).ok();
        loop {
            match self.receive() {
                Ok(Received::Message(..)) => {}
                Ok(Received::Closed(Some(close))) => return ClientError::Closed(Some(close)),
                Ok(Received::Closed(None)) | Err(_) => return failed,
            }
        }
    }

    /// Waits for the next message, or the end.
    pub(super) fn receive(&mut self) -> Result<Received, ClientError> {
        loop {
            if self.unread.is_empty() {
                let read = read_some(&mut self.stream, &mut self.input)?;
                if read == 0 {
                    return Ok(Received::Closed(None));
                }
                self.unread = 0..read;
            }
            let input = self.input.get_mut(self.unread.clone()).unwrap_or_default();
            let step = match self.reader.read(input, &RULES) {
                Ok(step) => step,
                Err(error) => {
                    // RFC 6455 §7.1.7: fail the connection, and say why where that still helps.
                    let code = error.close_code().to_be_bytes();
                    send(&mut self.stream, Opcode::Close, &code).ok();
                    return Err(ClientError::Protocol(error));
                }
            };
            self.unread.start += step.consumed;
            match step.message {
                Some(Message::Data { kind, payload }) => {
                    return Ok(Received::Message(kind, payload.to_vec()));
                }
                Some(Message::Ping(payload)) => send(&mut self.stream, Opcode::Pong, &payload)?,
                Some(Message::Close(close)) => {
                    self.echo_close(&close);
                    return Ok(Received::Closed(Some(close)));
                }
                // Without an offer of ours there is nothing compressed.
                Some(Message::Compressed { .. } | Message::Pong(_)) | None => {}
            }
        }
    }

    /// Answers a close with its own code, unless ours was first (RFC 6455 §5.5.1).
    fn echo_close(&mut self, close: &CloseFrame) {
        if !self.close_sent {
            let code = close.code.map(u16::to_be_bytes);
            let payload = code.as_ref().map_or(&[][..], |code| code);
            send(&mut self.stream, Opcode::Close, payload).ok(); // The broker may have gone.
        }
    }

    /// Closes, and waits for the broker's close: everything sent before has arrived then.
    pub(super) fn close(mut self) -> Result<(), ClientError> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let sent = send(&mut self.stream, Opcode::Close, &CLOSE_NORMAL.to_be_bytes());
        self.close_sent = true;
        sent.map_err(|failed| self.reason(failed))?;
        loop {
            match self.receive()? {
                Received::Message(..) => {}
                Received::Closed(Some(CloseFrame { code: None | Some(CLOSE_NORMAL), .. })) => {
                    return Ok(());
                }
                Received::Closed(other) => return Err(ClientError::Closed(other)),
            }
        }
    }
}

/// Connects to the first address of the host that answers.
fn dial(url: &Url) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (url.host.as_str(), url.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
                socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Reads what is there; 0 is the end. A signal does not count.
fn read_some(stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Sends one frame under a fresh mask.
fn send(stream: &mut TcpStream, opcode: Opcode, payload: &[u8]) -> Result<(), ClientError> {
    let mut frame = Vec::with_capacity(ws::frame_bytes(payload.len()) + size_of::<u32>());
    ws::push_masked_frame(&mut frame, opcode, payload, random()?);
    Ok(stream.write_all(&frame)?)
}

/// RFC 6455 §10.3: masks and keys that nobody can foresee.
fn random<const N: usize>() -> Result<[u8; N], ClientError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(ClientError::Random)?;
    Ok(bytes)
}
