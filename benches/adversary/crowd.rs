//! A room of ten thousand with a few members that never read.
//!
//! The healthy ones are the load tester's own, in a process of its own, which accounts for every
//! message of each.

use crate::attacks::{MEMBERS, STALLED};
use crate::e2e::broker::{Broker, fanfare};
use crate::e2e::http::Http;
use crate::e2e::raw::Raw;
use crate::e2e::scrape::Scraper;
use crate::e2e::wait::DEADLINE;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Messages a second, and bytes of each.
const RATE: &str = "10";
const SIZE: &str = "1024";

/// What the healthy members do before and after the attack, in seconds.
const AROUND: u64 = 3;

/// Those who stall, and the process of those who don't.
#[derive(Debug)]
pub(crate) struct Crowd {
    members: Child,
    stalled: Vec<Raw>,
}

impl Crowd {
    /// Waits until everyone has joined. The members go on until a little after the attack.
    pub(crate) fn start(
        broker: &Broker,
        scraper: &mut Scraper,
        time: Duration,
    ) -> Result<Self, String> {
        let stalled: io::Result<Vec<Raw>> = (0..STALLED).map(|_| stall(broker.address())).collect();
        let stalled = stalled.map_err(|error| error.to_string())?;
        let (address, secs) = (broker.address().to_string(), (time.as_secs() + AROUND).to_string());
        let members = (MEMBERS - STALLED).to_string();
        let args = ["bench", "--addr", &address, "--subs", &members, "--room", "large"];
        let load = ["--rate", RATE, "--size", SIZE, "--secs", &secs, "--warm-up", "1", "--json"];
        let mut command = fanfare(&[&args[..], &load[..]].concat());
        let members = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let members = members.map_err(|error| error.to_string())?;
        scraper.until("the crowd to join", |now| now.value("members") >= MEMBERS as u64);
        Ok(Self { members, stalled })
    }

    /// Messages that healthy members lost, and their connections that ended.
    pub(crate) fn lost(self) -> Result<u64, String> {
        let Self { members, stalled } = self;
        let output = members.wait_with_output().map_err(|error| error.to_string())?;
        let report: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        drop(stalled);
        let number =
            |name: &str| report[name].as_u64().ok_or_else(|| format!("no {name}: {report}"));
        if number("deliveries")? == 0 {
            return Err("the crowd got nothing".to_owned());
        }
        Ok(number("lost")? + number("connections_ended")?)
    }
}

/// Joins the large room, with as small a window as the kernel allows.
fn stall(address: SocketAddr) -> io::Result<Raw> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(4_096)?;
    socket.connect(&address.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(Raw::over(Http::over(stream), "/raw/large"))
}
