//! Listening sockets: bound with every option that their connections shall inherit.
//!
//! Not here: how many are accepted and when (`accept`). Invariants: Linux copies `TCP_NODELAY`,
//! `TCP_USER_TIMEOUT` and `TCP_NOTSENT_LOWAT` from the listener, so that no call is made
//! per connection; a port or path on which someone listens is never taken over unasked; a socket
//! file is only ever removed by who made it, or when nobody listens on it.

use super::socket::Socket;
use super::start_error::StartError;
use crate::config::ListenAddr;
use crate::limits::{LISTEN_BACKLOG, NOTSENT_LOWAT_BYTES};
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Type};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who may serve what a listener accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spread {
    /// The loop that accepted it: the kernel has spread them already.
    Here,
    /// Whichever loop is its turn.
    Dealt,
}

/// What is asked of all listeners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Options {
    /// Listen although someone else does.
    pub(super) takeover: bool,
    /// Time without an acknowledgement after which the kernel gives a peer up.
    pub(super) user_timeout: Duration,
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    source: Source,
    spread: Spread,
}

#[derive(Debug)]
enum Source {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Takes one connection off the queue, non-blocking from birth.
    pub(super) fn accept(&self) -> io::Result<Socket> {
        match &self.source {
            Source::Tcp(listener) => listener.accept().map(|(stream, _)| Socket::Tcp(stream)),
            Source::Unix(listener, _) => listener.accept().map(|(stream, _)| Socket::Unix(stream)),
        }
    }

    /// Who may serve what it accepts.
    pub(super) const fn spread(&self) -> Spread {
        self.spread
    }

    /// Registers for edges.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.source {
            Source::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Source::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// Ends listening, and removes the socket file if it is still the one that was made.
    pub(super) fn close(self, registry: &Registry) {
        // An error would say that it was not registered, and closing is what counts.
        match self.source {
            Source::Tcp(mut listener) => drop(registry.deregister(&mut listener)),
            Source::Unix(mut listener, file) => {
                drop(registry.deregister(&mut listener));
                file.remove();
            }
        }
    }
}

/// One address, bound.
#[derive(Debug)]
pub(super) struct Bound {
    /// The address, with the port that the kernel chose where 0 was asked for.
    pub(super) address: ListenAddr,
    /// One listener for each of the first loops: for all of them, or for the first.
    pub(super) listeners: Vec<Listener>,
}

/// Binds every one of `addresses`, `copies` times where the kernel can spread connections.
pub(super) fn bind_all(
    addresses: &[ListenAddr],
    copies: usize,
    options: Options,
) -> Result<Vec<Bound>, StartError> {
    let bind = |address: &ListenAddr| match address {
        ListenAddr::Tcp(tcp) => {
            let family = if is_also_bound_on_v4(*tcp, addresses) { V6::Only } else { V6::Dual };
            bind_tcp(*tcp, family, copies, options)
        }
        ListenAddr::Unix(path) => bind_unix(path, options),
    };
    addresses
        .iter()
        .map(|address| bind(address).map_err(|error| StartError::bind(address, error)))
        .collect()
}

/// Whether the IPv4 half of an IPv6 socket on all interfaces would collide with another address.
fn is_also_bound_on_v4(address: SocketAddr, all: &[ListenAddr]) -> bool {
    all.iter().any(|other| match other {
        ListenAddr::Tcp(other) => other.is_ipv4() && other.port() == address.port(),
        ListenAddr::Unix(_) => false,
    })
}

/// Whether an IPv6 socket on all interfaces takes IPv4 as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum V6 {
    Only,
    Dual,
}

fn bind_tcp(address: SocketAddr, v6: V6, copies: usize, options: Options) -> io::Result<Bound> {
    if address.port() != 0 && !options.takeover {
        // SO_REUSEPORT would share the port with whoever has it, unseen. So ask without it.
        tcp_socket(address, v6)?.bind(&address.into())?;
    }
    let spread = if copies > 1 { Spread::Here } else { Spread::Dealt };
    let mut bound = address;
    let mut listeners = Vec::with_capacity(copies);
    for _ in 0..copies {
        let listener = listen_tcp(bound, v6, options)?;
        bound = listener.local_addr()?;
        listeners.push(Listener { source: Source::Tcp(listener), spread });
    }
    Ok(Bound { address: ListenAddr::Tcp(bound), listeners })
}

fn tcp_socket(address: SocketAddr, v6: V6) -> io::Result<socket2::Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier run may linger in TIME_WAIT; a listener still conflicts.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(v6 == V6::Only)?;
    }
    Ok(socket)
}

fn listen_tcp(address: SocketAddr, v6: V6, options: Options) -> io::Result<TcpListener> {
    let socket = tcp_socket(address, v6)?;
    // Also where there is one loop: who has it unset can't be relieved by `--takeover`.
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG.into())?;
    Ok(TcpListener::from_std(socket.into()))
}

fn bind_unix(path: &Path, options: Options) -> io::Result<Bound> {
    clear_path(path, options)?;
    let socket = unix_socket()?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(LISTEN_BACKLOG.into())?;
    let listener = UnixListener::from_std(socket.into());
    let source = Source::Unix(listener, SocketFile::of(path)?);
    let listeners = vec![Listener { source, spread: Spread::Dealt }];
    Ok(Bound { address: ListenAddr::Unix(path.into()), listeners })
}

fn unix_socket() -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Makes way for a socket file: removes one on which nobody listens, or any that shall be taken
/// over.
fn clear_path(path: &Path, options: Options) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(Errno::NOTSOCK.into());
    }
    let is_stale = match unix_socket()?.connect(&SockAddr::unix(path)?) {
        Ok(()) => false,
        // A full queue (EAGAIN) has an owner too; only a refusal proves that there is none.
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    };
    if is_stale || options.takeover { fs::remove_file(path) } else { Err(Errno::ADDRINUSE.into()) }
}

/// The file of a Unix socket, told apart from a successor's by its inode.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: path.into(), inode: (found.dev(), found.ino()) })
    }

    fn remove(self) {
        if Self::of(&self.path).is_ok_and(|found| found.inode == self.inode) {
            // Should it fail, the next start finds the file stale.
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use socket2::SockRef;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    const OPTIONS: Options = Options { takeover: false, user_timeout: Duration::from_secs(44) };

    const TAKEOVER: Options = Options { takeover: true, ..OPTIONS };

    fn local() -> ListenAddr {
        ListenAddr::Tcp((Ipv4Addr::LOCALHOST, 0).into())
    }

    fn bind(address: &ListenAddr, copies: usize, options: Options) -> Result<Bound, StartError> {
        let mut bound = bind_all(std::slice::from_ref(address), copies, options)?;
        Ok(bound.pop().expect("one address"))
    }

    fn socket_address(bound: &Bound) -> SocketAddr {
        match &bound.address {
            ListenAddr::Tcp(address) => *address,
            ListenAddr::Unix(path) => panic!("{}", path.display()),
        }
    }

    /// A listener on a port of its own.
    pub(in crate::net) fn loopback() -> (Listener, SocketAddr) {
        let mut bound = bind(&local(), 1, OPTIONS).expect("a free port");
        let address = socket_address(&bound);
        (bound.listeners.pop().expect("one listener"), address)
    }

    #[test]
    fn an_accepted_socket_has_every_option_without_a_call() {
        let (listener, address) = loopback();
        let _client = TcpStream::connect(address).expect("a connection");
        let Socket::Tcp(stream) = listener.accept().expect("it is in the queue") else {
            panic!("not TCP");
        };
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().expect("TCP_NODELAY"));
        assert!(!socket.keepalive().expect("SO_KEEPALIVE"), "heartbeats of our own see more");
        assert!(socket.nonblocking().expect("O_NONBLOCK"));
        let user_timeout = socket.tcp_user_timeout().expect("TCP_USER_TIMEOUT");
        assert_eq!(user_timeout, Some(OPTIONS.user_timeout));
        let lowat = socket.tcp_notsent_lowat().expect("TCP_NOTSENT_LOWAT");
        assert_eq!(lowat, NOTSENT_LOWAT_BYTES);
    }

    #[test]
    fn port_0_is_chosen_once_for_all_loops() {
        let bound = bind(&local(), 3, OPTIONS).expect("a free port");
        let address = socket_address(&bound);
        assert_ne!(address.port(), 0);
        let ports = bound.listeners.iter().map(|listener| match &listener.source {
            Source::Tcp(listener) => listener.local_addr().expect("bound").port(),
            Source::Unix(..) => panic!("not TCP"),
        });
        assert_eq!(ports.collect::<Vec<_>>(), [address.port(); 3]);
        assert!(bound.listeners.iter().all(|listener| listener.spread() == Spread::Here));
    }

    #[test]
    fn a_port_in_use_is_an_error_unless_it_is_to_be_taken_over() {
        let first = bind(&local(), 2, OPTIONS).expect("a free port");
        let refused = bind(&first.address, 2, OPTIONS).expect_err("it is taken");
        let text = refused.to_string();
        assert!(matches!(refused, StartError::InUse(_)), "{text}");
        assert!(text.contains(&first.address.to_string()) && text.contains("--takeover"), "{text}");
        assert!(bind(&first.address, 2, TAKEOVER).is_ok());
        drop(first);
    }

    #[test]
    fn a_port_is_free_again_while_old_connections_linger() {
        let (listener, address) = loopback();
        let client = TcpStream::connect(address).expect("a connection");
        drop(listener.accept().expect("it is in the queue")); // We close first: TIME_WAIT is ours.
        drop((client, listener));
        assert!(bind(&ListenAddr::Tcp(address), 1, OPTIONS).is_ok());
    }

    #[test]
    fn ipv6_is_listened_on_beside_ipv4_on_the_same_port() {
        if let Err(error) = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            eprintln!("not tested: this machine has no IPv6 ({error})");
            return;
        }
        let six = bind(&ListenAddr::Tcp((Ipv6Addr::LOCALHOST, 0).into()), 1, OPTIONS);
        let address = socket_address(&six.expect("a free port"));
        assert!(address.is_ipv6());
        // Below the ports that connections leave from: other tests have thousands of those.
        let bind_both = || {
            let port = fastrand::u16(10_000..30_000);
            let both = [
                ListenAddr::Tcp((Ipv4Addr::UNSPECIFIED, port).into()),
                ListenAddr::Tcp((Ipv6Addr::UNSPECIFIED, port).into()),
            ];
            bind_all(&both, 1, OPTIONS)
        };
        let bound = (0..100).find_map(|_| bind_both().ok()).expect("they don't collide");
        assert_eq!(bound.len(), 2);
    }

    #[test]
    fn an_address_of_nobody_is_an_error_that_says_so() {
        let elsewhere = ListenAddr::Tcp("192.0.2.1:80".parse().expect("RFC 5737"));
        let error = bind(&elsewhere, 1, OPTIONS).expect_err("not ours").to_string();
        assert!(error.contains("192.0.2.1:80"), "{error}");
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fanfare.sock");
        let address = ListenAddr::Unix(path.clone());
        drop(bind(&address, 1, OPTIONS).expect("a free path")); // Dropped, not closed: as a crash.
        assert!(path.exists());
        let live = bind(&address, 1, OPTIONS).expect("nobody listens");
        let refused = bind(&address, 1, OPTIONS).expect_err("somebody listens");
        assert!(matches!(refused, StartError::InUse(_)), "{refused}");
        let client = UnixStream::connect(&path);
        assert!(client.is_ok());
        assert!(bind(&address, 1, TAKEOVER).is_ok());
        drop(live);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notes.txt");
        fs::write(&path, "precious").expect("a file");
        for options in [OPTIONS, TAKEOVER] {
            let refused = bind(&ListenAddr::Unix(path.clone()), 1, options).expect_err("no socket");
            assert!(refused.to_string().contains("no socket"), "{refused}");
        }
        assert_eq!(fs::read(&path).expect("still there"), b"precious");
    }

    #[test]
    fn closing_removes_our_socket_file_and_not_a_successors() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fanfare.sock");
        let address = ListenAddr::Unix(path.clone());
        let poll = mio::Poll::new().expect("a poll");
        let close = |mut bound: Bound| {
            bound.listeners.pop().expect("one listener").close(poll.registry());
        };
        let ours = bind(&address, 1, OPTIONS).expect("a free path");
        let successor = bind(&address, 1, TAKEOVER).expect("taken over");
        close(ours);
        assert!(path.exists(), "the successor's");
        close(successor);
        assert!(!path.exists());
    }
}
