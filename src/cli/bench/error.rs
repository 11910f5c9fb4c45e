//! Why a measurement could not be made.

use super::bounds::UNDER_WAY_BYTES_MAX;
use super::client::Ending;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What went wrong, in words for the person at the terminal.
#[derive(Debug)]
pub(super) enum BenchError {
    /// A socket could not be made; often there are no descriptors or ports left.
    Dial(SocketAddr, io::Error),
    /// A connection failed before all stood.
    Opening {
        /// Connections that stand.
        opened: usize,
        /// Connections that were wanted.
        wanted: usize,
        /// What became of the one that failed.
        ending: Ending,
    },
    /// A connection did not become a member of its room before all were.
    Joining {
        /// Members there are.
        joined: usize,
        /// Members that were wanted.
        wanted: usize,
        /// What the server said, or that it said nothing.
        why: String,
    },
    /// A connection ended while nothing but rest was measured.
    Ended(Ending),
    /// The process may not open as many connections.
    Descriptors {
        /// Connections that were wanted.
        connections: usize,
        /// Descriptors that there may be in all.
        allowed: u64,
    },
    /// The server takes messages more slowly than they are due, and memory is running out.
    Backlog,
    /// The address of the floor can't be listened on.
    Listen(SocketAddr, io::Error),
    /// The server's process can't be found or read.
    Process(PathBuf, io::Error),
    /// No process of ours listens there.
    NoProcess(SocketAddr),
    /// The thread can't be bound to that core.
    Core(usize),
    /// The tokens that connections are to show can't be had.
    Tokens(String),
    /// The poll or a timer failed.
    Io(io::Error),
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(address, error) => write!(f, "cannot connect to {address}: {error}"),
            Self::Opening { opened, wanted, ending } => write!(
                f,
                "only {opened} of {wanted} connections could be opened: {ending}; is the server \
                 running, and may it have so many (--connections-max, descriptors)?"
            ),
            Self::Joining { joined, wanted, why } => {
                write!(f, "only {joined} of {wanted} connections are members: {why}")
            }
            Self::Ended(ending) => {
                write!(f, "a connection ended while memory was measured: {ending}")
            }
            Self::Descriptors { connections, allowed } => write!(
                f,
                "{connections} connections do not fit into the limit of {allowed} descriptors \
                 (ulimit -n)"
            ),
            Self::Backlog => write!(
                f,
                "the server reads more slowly than messages are due: for one publisher more waits \
                 to be sent than its share of {UNDER_WAY_BYTES_MAX} bytes (--rate, --size, --pubs)"
            ),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Process(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::NoProcess(address) => {
                write!(f, "no process that we may look at listens on {address}: name it (--pid)")
            }
            Self::Core(core) => write!(f, "cannot bind to core {core}"),
            Self::Tokens(lack) => f.write_str(lack),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for BenchError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
