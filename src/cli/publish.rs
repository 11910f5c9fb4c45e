//! `fanfare pub ROOM TEXT`: sends one message to a room and waits until it has arrived.

use super::client::{Client, ClientError};
use super::output::fail;
use super::url::{Token, URL_DEFAULT, Url, parse_room};
use crate::broker::RoomName;
use crate::limits::MESSAGE_BYTES_CEILING;
use crate::ws::DataKind;
use std::io::{self, Read};
use std::process::ExitCode;

/// Which room, where, and what.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The room to send to
    #[arg(value_parser = parse_room)]
    room: RoomName,
    /// The message; - reads it from stdin, to the end and as it is
    text: String,
    /// Where the broker is
    #[arg(long, env = "FANFARE_URL", default_value = URL_DEFAULT, value_parser = Url::parse)]
    url: Url,
    #[command(flatten)]
    token: Token,
    /// Send a binary message instead of text
    #[arg(long)]
    binary: bool,
}

/// Sends; succeeds once the broker has taken the message and closed in order.
pub(super) fn run(args: &Args) -> ExitCode {
    let payload = match payload(args) {
        Ok(payload) => payload,
        Err(reason) => return fail(reason),
    };
    let kind = if args.binary { DataKind::Binary } else { DataKind::Text };
    if kind == DataKind::Text && simdutf8::basic::from_utf8(&payload).is_err() {
        return fail("the text is not UTF-8; --binary sends it as it is");
    }
    let query = match args.token.query("echo=0") {
        Ok(query) => query,
        Err(reason) => return fail(reason),
    };
    match publish(args, (kind, &payload), &query) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

fn publish(
    args: &Args,
    (kind, payload): (DataKind, &[u8]),
    query: &str,
) -> Result<(), ClientError> {
    let mut client = Client::connect(&args.url, &args.url.raw_room(&args.room, query))?;
    client.send(kind, payload)?;
    client.close()
}

fn payload(args: &Args) -> Result<Vec<u8>, String> {
    if args.text != "-" {
        return Ok(args.text.clone().into_bytes());
    }
    let mut payload = Vec::new();
    io::stdin()
        .lock()
        .take(MESSAGE_BYTES_CEILING as u64 + 1)
        .read_to_end(&mut payload)
        .map_err(|error| format!("cannot read stdin: {error}"))?;
    if payload.len() > MESSAGE_BYTES_CEILING {
        return Err(format!("a message has at most {MESSAGE_BYTES_CEILING} bytes"));
    }
    Ok(payload)
}
