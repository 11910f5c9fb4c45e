//! Which server is measured, and from which core: flags that all client subcommands have.

use super::error::BenchError;
use super::listening::listening_on;
use super::process::Server;
use super::tokens::{Shown, Tokens};
use core_affinity::CoreId;
use std::net::{SocketAddr, ToSocketAddrs};

/// Descriptors that are no connections: standard streams, poll, timer, files of `/proc`.
const DESCRIPTORS_OWN: u64 = 32;
/// Cores that the kernel can be asked for by a set of the usual size.
const CORES_MAX: usize = 1_024;

/// The server, and how results are told.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Target {
    /// Where the server listens; a name is looked up, and IPv4 preferred
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(super) addr: SocketAddr,
    /// The server's processes, whose CPU time and memory are read; found by the address if here
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    pid: Vec<u32>,
    #[command(flatten)]
    shown: Shown,
    /// Run on this core alone
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}

impl Target {
    /// Gets ready to measure with so many connections at once: on the core asked for, with as many
    /// descriptors as there may be, and an error where those are too few.
    pub(super) fn prepare(&self, connections: usize) -> Result<(), BenchError> {
        enough(crate::net::raise_descriptor_limit(), connections)?;
        pin(self.cpu)
    }

    /// What connections show at the door.
    pub(super) fn tokens(&self) -> Result<Tokens, BenchError> {
        self.shown.read()
    }

    /// The server's processes, if they can be found.
    pub(super) fn server(&self) -> Option<Server> {
        let mut named = self.pid.clone();
        named.sort_unstable();
        named.dedup();
        Server::of(&named).or_else(|| Server::of(&listening_on(self.addr)))
    }

    /// The server's processes; an error where they can't be found.
    pub(super) fn required_server(&self) -> Result<Server, BenchError> {
        self.server().ok_or(BenchError::NoProcess(self.addr))
    }
}

/// Whether so many connections fit below that limit of descriptors.
fn enough(allowed: u64, connections: usize) -> Result<(), BenchError> {
    match allowed.checked_sub(DESCRIPTORS_OWN) {
        Some(left) if connections as u64 <= left => Ok(()),
        Some(_) | None => Err(BenchError::Descriptors { connections, allowed }),
    }
}

/// Reads `HOST:PORT`, where the host is an address or a name that is looked up.
fn address(raw: &str) -> Result<SocketAddr, String> {
    let checked = |address: SocketAddr| match address.port() {
        0 => Err("nobody listens on port 0".to_owned()),
        _ => Ok(address),
    };
    if let Ok(address) = raw.parse() {
        return checked(address);
    }
    let (host, port) = raw.rsplit_once(':').ok_or("a port is missing: HOST:PORT")?;
    let port: u16 = port.parse().map_err(|_| format!("`{port}` is no port: a number to 65535"))?;
    if host.is_empty() {
        return Err("a host is missing: HOST:PORT".to_owned());
    }
    let found = (host, port).to_socket_addrs().map_err(|error| format!("`{host}`: {error}"))?;
    let found = found.min_by_key(SocketAddr::is_ipv6); // The first of equals.
    checked(found.ok_or_else(|| format!("`{host}` has no address"))?)
}

/// Binds this thread to a core, if one is given.
pub(super) fn pin(core: Option<usize>) -> Result<(), BenchError> {
    match core {
        Some(id) if id >= CORES_MAX => Err(BenchError::Core(id)),
        Some(id) if !core_affinity::set_for_current(CoreId { id }) => Err(BenchError::Core(id)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_taken() {
        for (raw, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("localhost:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(address(raw).map(|address| address.to_string()), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_named() {
        for (raw, said) in [
            ("localhost", "a port is missing"),
            ("localhost:http", "`http` is no port"),
            ("localhost:65536", "`65536` is no port"),
            (":80", "a host is missing"),
            ("127.0.0.1:0", "port 0"),
            ("localhost:0", "port 0"),
            ("no such host:80", "`no such host`: "),
        ] {
            let wrong = address(raw).expect_err(raw);
            assert!(wrong.contains(said), "{raw}: {wrong}");
        }
    }

    #[test]
    fn a_core_that_can_not_be_is_an_error() {
        for id in [1_024, 5_000, usize::MAX] {
            assert!(matches!(pin(Some(id)), Err(BenchError::Core(wrong)) if wrong == id), "{id}");
        }
    }

    #[test]
    fn as_many_connections_as_descriptors_are_left_may_be_asked_for() {
        assert!(enough(1_024, 1_024 - 32).is_ok());
        assert!(enough(1_024, 1_024 - 31).is_err() && enough(10, 1).is_err());
        assert!(enough(u64::MAX, 1_000_000).is_ok());
    }
}
