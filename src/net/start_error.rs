//! Why a server did not start, in words for who started it.

use crate::config::ListenAddr;
use rustix::io::Errno;
use std::fmt;
use std::io;

/// Why a server did not start. Its text names the mend where there is one.
#[derive(Debug)]
pub enum StartError {
    /// Another process, or another of our own addresses, listens there.
    InUse(ListenAddr),
    /// The address can't be listened on, for another reason.
    Bind(ListenAddr, io::Error),
    /// So few descriptors are allowed that no connection could be served.
    Descriptors(u64),
    /// A loop, its poll or its keys can't be had.
    Loop(io::Error),
}

impl StartError {
    /// What a failure to listen on `address` means.
    pub(super) fn bind(address: &ListenAddr, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::AddrInUse {
            Self::InUse(address.clone())
        } else {
            Self::Bind(address.clone(), error)
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(address) => write!(
                f,
                "{address} is in use; stop the other process, choose another --listen, \
                 or pass --takeover"
            ),
            Self::Bind(address, error) => {
                write!(f, "cannot listen on {address}: {error}")?;
                match Errno::from_io_error(error) {
                    Some(Errno::ACCESS | Errno::PERM) => f.write_str(
                        "; ports below 1024 need CAP_NET_BIND_SERVICE, a path needs a directory \
                         that may be written",
                    ),
                    Some(Errno::ADDRNOTAVAIL) => {
                        f.write_str("; no interface of this machine has that address")
                    }
                    Some(Errno::NOTSOCK) => {
                        f.write_str("; the file is no socket, so it was left alone")
                    }
                    Some(Errno::NOENT) => f.write_str("; the directory does not exist"),
                    Some(_) | None => Ok(()),
                }
            }
            Self::Descriptors(limit) => write!(
                f,
                "only {limit} file descriptors are allowed, too few to serve anyone; \
                 raise the limit (ulimit -Hn, LimitNOFILE=) or run fewer --loops"
            ),
            Self::Loop(error) => write!(f, "cannot start an event loop: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(_, error) | Self::Loop(error) => Some(error),
            Self::InUse(_) | Self::Descriptors(_) => None,
        }
    }
}
