//! `fanfare sub ROOM`: joins a room and prints each message.

use super::client::{Client, ClientError, Received};
use super::output::{fail, note};
use super::url::{Token, URL_DEFAULT, Url, parse_room};
use crate::broker::RoomName;
use crate::ws::DataKind;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Which room, where, and how to print.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The room to join
    #[arg(value_parser = parse_room)]
    room: RoomName,
    /// Where the broker is
    #[arg(long, env = "FANFARE_URL", default_value = URL_DEFAULT, value_parser = Url::parse)]
    url: Url,
    #[command(flatten)]
    token: Token,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print binary messages as they are, with nothing added, instead of a line of hex
    #[arg(long)]
    raw: bool,
}

/// How messages are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// Text as a line, binary as a line of hex.
    Lines,
    /// As lines, with escapes for what would command a terminal: publishers are not the user.
    Screen,
    /// Text as a line, binary with nothing added.
    Raw,
}

/// Why it ended.
enum End {
    /// As many messages as asked for.
    Counted,
    /// Nobody reads our output any more.
    Unread,
}

/// Prints until the count is reached, stdout is closed, or the broker goes.
pub(super) fn run(args: &Args) -> ExitCode {
    let query = match args.token.query("") {
        Ok(query) => query,
        Err(reason) => return fail(reason),
    };
    match subscribe(args, &query) {
        Ok(End::Counted | End::Unread) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

fn subscribe(args: &Args, query: &str) -> Result<End, ClientError> {
    let mut client = Client::connect(&args.url, &args.url.raw_room(&args.room, query))?;
    note(format_args!("joined {} at {}", args.room, args.url));
    let form = match (args.raw, io::stdout().is_terminal()) {
        (true, _) => Form::Raw,
        (false, true) => Form::Screen,
        (false, false) => Form::Lines,
    };
    let mut left = args.count;
    loop {
        match client.receive()? {
            Received::Message(kind, payload) => {
                match print(&mut io::stdout().lock(), kind, &payload, form) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        return Ok(End::Unread);
                    }
                    other => other?,
                }
            }
            Received::Closed(close) => return Err(ClientError::Closed(close)),
        }
        left = left.map(|left| left - 1);
        if left == Some(0) {
            // All that was asked for is printed, however the broker takes our leave.
            client.close().ok();
            return Ok(End::Counted);
        }
    }
}

fn print(out: &mut impl Write, kind: DataKind, payload: &[u8], form: Form) -> io::Result<()> {
    match kind {
        DataKind::Text if form == Form::Screen => {
            for char in String::from_utf8_lossy(payload).chars() {
                match char {
                    '\n' | '\t' => write!(out, "{char}")?,
                    control if control.is_control() => write!(out, "{}", control.escape_default())?,
                    printable => write!(out, "{printable}")?,
                }
            }
            out.write_all(b"\n")?;
        }
        DataKind::Text => {
            out.write_all(payload)?;
            out.write_all(b"\n")?;
        }
        DataKind::Binary if form == Form::Raw => out.write_all(payload)?,
        DataKind::Binary => {
            let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(out, "{hex}")?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_line_and_binary_is_hex_or_itself() {
        for (kind, form, printed) in [
            (DataKind::Text, Form::Lines, &b"\x01ab\n"[..]),
            (DataKind::Text, Form::Screen, b"\\u{1}ab\n"),
            (DataKind::Text, Form::Raw, b"\x01ab\n"),
            (DataKind::Binary, Form::Lines, b"016162\n"),
            (DataKind::Binary, Form::Screen, b"016162\n"),
            (DataKind::Binary, Form::Raw, b"\x01ab"),
        ] {
            let mut out = Vec::new();
            print(&mut out, kind, b"\x01ab", form).expect("a vector takes all");
            assert_eq!(out, printed, "{kind:?} {form:?}");
        }
    }
}
