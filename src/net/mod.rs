//! A stand-in for the room that owns sockets and loops: binds, and waits for the drain.

pub mod link;
pub mod wake;

use crate::config::{Config, ListenAddr};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{fmt, io, net::TcpListener};

/// A started broker.
#[derive(Debug)]
pub struct Server {
    _listeners: Vec<TcpListener>,
    addresses: Vec<ListenAddr>,
    loops: usize,
    limits: LimitsInForce,
    drained: Receiver<()>,
    drain: SyncSender<()>,
}

/// Limits after the descriptor limit had its say.
#[derive(Clone, Debug)]
pub struct LimitsInForce {
    /// Descriptors the process may have.
    pub descriptors: u64,
    /// Connections it will hold.
    pub connections_max: usize,
}

/// Starts the drain, from any thread.
#[derive(Clone, Debug)]
pub struct Drainer(SyncSender<()>);

/// Why the broker did not start.
#[derive(Debug)]
pub struct StartError(ListenAddr, io::Error);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1.kind() == io::ErrorKind::AddrInUse {
            return write!(
                f,
                "{} is in use; stop the other process, choose another --listen, or pass --takeover",
                self.0
            );
        }
        write!(f, "cannot listen on {}: {}", self.0, self.1)
    }
}

impl Server {
    /// Binds the addresses.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let (drain, drained) = sync_channel(1);
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in &config.listen {
            if let ListenAddr::Tcp(tcp) = address {
                let bound = TcpListener::bind(tcp).and_then(|l| Ok((l.local_addr()?, l)));
                let (local, listener) =
                    bound.map_err(|error| StartError(address.clone(), error))?;
                listeners.push(listener);
                addresses.push(ListenAddr::Tcp(local));
            }
        }
        Ok(Self {
            _listeners: listeners,
            addresses,
            loops: config.loops.max(1),
            limits: LimitsInForce { descriptors: 1024, connections_max: config.connections_max },
            drained,
            drain,
        })
    }

    /// The addresses in use, port 0 resolved.
    pub fn addresses(&self) -> &[ListenAddr] {
        &self.addresses
    }

    /// Loops running.
    pub fn loops(&self) -> usize {
        self.loops
    }

    /// Limits in force.
    pub fn limits(&self) -> &LimitsInForce {
        &self.limits
    }

    /// What starts the drain.
    pub fn drainer(&self) -> Drainer {
        Drainer(self.drain.clone())
    }

    /// Waits until all loops have ended.
    pub fn join(self) {
        let _ = self.drained.recv();
    }
}

impl Drainer {
    /// Starts the drain.
    pub fn drain(&self) {
        let _ = self.0.try_send(());
    }
}
