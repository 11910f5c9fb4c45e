//! A slow reader: a member that joins and never reads, until its outbox is at its bound.
//!
//! Not here: what is made of it. Invariants: the broker drops what is newest and cuts nobody, so
//! the first drop says that the bound is reached; the same load was made before the first look at
//! the memory, so that what is made once is not counted.

use crate::Args;
use crate::figures::{Asked, Run};
use crate::processes::{Cores, LOOK, LOOKS_MAX, Server, pause};
use crate::shapes::Shape;
use crate::table::Backlog;
use fanfare::ws;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The bound of an outbox: the default one.
const BOUND_BYTES: f64 = 8.0 * 1024.0 * 1024.0;

/// Least share of it that counts as full: the next message has no room.
const FULL: f64 = 0.95;

/// More messages than there could be in it, so that bytes are what is bounded.
const CONFIG: &str = r#"
[[rooms]]
pattern = "**"
overflow = "drop-newest"
raw_drops = "silent"
outbox_bytes_max = "8MiB"
outbox_messages_max = 1_000_000
"#;

/// Loads of a second each, after which the bound must have been reached.
const LOADS_MAX: usize = 60;

/// Looks at the memory that must see the same.
const SAME_LOOKS: usize = 10;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Fills one outbox, and weighs it.
pub(crate) fn measure(args: &Args, shape: &Shape) -> io::Result<Backlog> {
    let file = tempfile::Builder::new().suffix(".toml").tempfile()?;
    fs::write(file.path(), CONFIG)?;
    // Who says nothing for minutes is what is looked for here.
    let line = "serve --listen 127.0.0.1:0 --loops 1 --heartbeat-interval 1h --config";
    let mut line: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    line.push(file.path().display().to_string());
    let server = Server::start(&args.broker, &line, &Cores::One(args.server_cpu))?;

    let mut faults = load(args, shape, &server, "warm")?;
    if metric(&server, "dropped_messages_total")? > 0.0 {
        return Err(io::Error::other("messages were dropped before there was a slow reader"));
    }
    let before = settled_bytes(&server)?;
    let reader = join(&server)?;
    let mut loads = 0;
    while metric(&server, "dropped_messages_total")? == 0.0 {
        loads += 1;
        if loads > LOADS_MAX {
            return Err(io::Error::other("the outbox never came to its bound"));
        }
        faults.extend(load(args, shape, &server, "slow")?);
    }
    let resident = settled_bytes(&server)? - before;
    let queued = metric(&server, "outbox_bytes")?;
    await_member(&server).map_err(|_| io::Error::other("the slow reader was cut"))?;
    drop(reader);
    let queued = queued / BOUND_BYTES;
    if queued < FULL {
        return Err(io::Error::other(format!("messages were dropped at {queued:.3} of the bound")));
    }
    Ok(Backlog { queued, resident: resident / BOUND_BYTES, faults })
}

/// Messages for a second, to their publisher as the one member that reads. Their faults.
fn load(
    args: &Args,
    shape: &Shape,
    server: &Server,
    room: &str,
) -> io::Result<Vec<(&'static str, f64)>> {
    let more = format!("--subs 1 --room {room} --secs 1 --warm-up 0.1");
    let more: Vec<String> = more.split_whitespace().map(str::to_owned).collect();
    let report = server.measure(&[&shape.client[..], &more].concat(), args.client_cpu)?;
    Ok(Run::of(&report, Asked::Deliveries).map_err(io::Error::other)?.faults)
}

/// A member that never reads what comes.
fn join(server: &Server) -> io::Result<TcpStream> {
    let mut request = Vec::new();
    ws::client_request(&mut request, server.address(), "/raw/slow", b"the sample nonce", None);
    let mut stream = connect(server)?;
    stream.write_all(&request)?;
    let mut status = String::new();
    BufReader::with_capacity(1_024, &stream).read_line(&mut status)?;
    if !status.contains(" 101 ") {
        return Err(io::Error::other(format!("it answered the handshake with {status:?}")));
    }
    await_member(server)?;
    Ok(stream)
}

/// Waits until one member is left: the one that does not read, since loads take theirs with them.
fn await_member(server: &Server) -> io::Result<()> {
    for _ in 0..LOOKS_MAX {
        if metric(server, "members")? == 1.0 {
            return Ok(());
        }
        pause(LOOK);
    }
    Err(io::Error::other("the slow reader never joined"))
}

fn connect(server: &Server) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(stream)
}

/// What the broker itself says.
fn metric(server: &Server, name: &str) -> io::Result<f64> {
    let mut stream = connect(server)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let line = format!("fanfare_{name} ");
    let value = text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok());
    value.ok_or_else(|| io::Error::other(format!("/metrics has no `{}`", line.trim())))
}

/// The server's resident bytes once they stand still.
fn settled_bytes(server: &Server) -> io::Result<f64> {
    let path = format!("/proc/{}/smaps_rollup", server.pid());
    let (mut last, mut same) = (0.0, 0);
    for _ in 0..LOOKS_MAX {
        let text = fs::read_to_string(&path)?;
        let rss =
            text.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix("kB"));
        let kib: Option<f64> = rss.and_then(|kib| kib.trim().parse().ok());
        let bytes = kib.ok_or_else(|| io::Error::other(format!("no Rss in {path}")))? * 1024.0;
        same = if bytes == last { same + 1 } else { 0 };
        if same == SAME_LOOKS {
            return Ok(bytes);
        }
        last = bytes;
        pause(LOOK);
    }
    Err(io::Error::other("its memory never stood still"))
}
