//! The whole server: started, asked to drain, waited for.
//!
//! Not here: one loop's work (`event_loop`). Invariants: when [`Server::start`] returns, every
//! address is bound and every loop has its thread; a loop that fails takes the process with it,
//! because the rooms at home there would be lost without a word.

use super::accept::Acceptor;
use super::accept_rate::AcceptRate;
use super::clock::{self, Clock};
use super::deal::Dealer;
use super::descriptors::{self, LimitsInForce};
use super::errands::{SideWork, start_logins, watch_keys};
use super::event_loop::{EventLoop, Parts, Shared};
use super::link::inbox;
use super::listener::{Bound, Listener, Options, bind_all};
use super::memory::{MemoryWatch, memory_max};
use super::peer::{Parcel, Peer};
use super::seats::Seats;
use super::settings::settings_from;
use super::start_error::StartError;
use super::token::Target;
use super::wake::Countdown;
use crate::auth::Authority;
use crate::broker::LoopId;
use crate::config::{Accept, Config, ListenAddr};
use crate::engine::{HashKey, Settings, Setup, Shard};
use crate::limits::LOOPS_MAX;
use crate::side::{Desk, Watch};
use core_affinity::CoreId;
use mio::{Poll, Waker};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A running server.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<ListenAddr>,
    limits: LimitsInForce,
    pinned: bool,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Fetches keys as long as it is here.
    watch: Option<Watch>,
}

/// Asks a server to drain; may be cloned and sent to whoever gets the signal.
#[derive(Clone, Debug)]
pub struct Drainer(Arc<Shared>);

impl Drainer {
    /// Asks every loop to take no more connections, to close those it has, and to end. Asking
    /// twice is asking once.
    pub fn drain(&self) {
        for peer in &self.0.peers {
            peer.drain();
        }
    }
}

impl Server {
    /// Binds every address of `config` and starts the loops, and `side` beside them; `authority`
    /// decides who comes in.
    pub fn start(
        config: &Config,
        authority: Arc<Authority>,
        side: SideWork,
    ) -> Result<Self, StartError> {
        let loops = loops_of(config);
        let descriptors = descriptors::raise();
        let copies = match config.accept {
            Accept::ReusePort => loops,
            Accept::RoundRobin | Accept::LeastConnections | Accept::Random => 1,
        };
        let listeners = config.listen.len() * copies;
        let limits = LimitsInForce::new(config.connections_max, descriptors, loops, listeners)?;
        let bound = bind_all(&config.listen, copies, options_of(config))?;
        let addresses = bound.iter().map(|bound| bound.address.clone()).collect();
        let SideWork { keys, logins } = side;
        let mut settings = settings_from(config, limits, Arc::clone(&authority));
        settings.login = logins.is_some();
        let (shared, parts) = make_loops(config, settings, share_out(bound, loops), logins)
            .map_err(StartError::Loop)?;
        let cores = if config.pin { cores_for(loops) } else { Vec::new() };
        let (pinned, threads) = (!cores.is_empty(), Vec::with_capacity(loops));
        let watch = keys.map(|source| watch_keys(source, authority, &shared)).transpose();
        let watch = watch.map_err(StartError::Loop)?;
        let mut server = Self { addresses, limits, pinned, shared, threads, watch };
        for (index, parts) in parts.into_iter().enumerate() {
            match spawn(parts, cores.get(index).copied()) {
                Ok(thread) => server.threads.push(thread),
                Err(error) => {
                    server.drainer().drain();
                    return Err(StartError::Loop(error));
                }
            }
        }
        Ok(server)
    }

    /// Where it listens; a port 0 of the settings is the chosen port here.
    pub fn addresses(&self) -> &[ListenAddr] {
        &self.addresses
    }

    /// How many loops it has.
    pub const fn loops(&self) -> usize {
        self.threads.len()
    }

    /// Whether each loop was given a core of its own.
    pub const fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// The limits that hold for this run.
    pub const fn limits(&self) -> &LimitsInForce {
        &self.limits
    }

    /// A way to ask it to drain.
    pub fn drainer(&self) -> Drainer {
        Drainer(Arc::clone(&self.shared))
    }

    /// Waits until every loop has ended, which takes a [`Drainer::drain`].
    ///
    /// # Panics
    /// When a loop did, where panics unwind.
    pub fn join(self) {
        let Self { threads, watch: _fetching, .. } = self;
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

fn loops_of(config: &Config) -> usize {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let wanted = if config.loops == 0 { cores() } else { config.loops };
    wanted.clamp(1, LOOPS_MAX)
}

fn options_of(config: &Config) -> Options {
    // A peer that vanished is our heartbeat's to notice, which says so in the log; the kernel
    // gives up when that must have happened, so that nothing of ours can keep a dead peer.
    let patience_ms = config
        .heartbeat_interval_ms
        .saturating_add(config.heartbeat_timeout_ms)
        .saturating_add(config.close_timeout_ms)
        .min(u64::from(u32::MAX / 2)); // The kernel counts milliseconds in an int.
    let user_timeout = Duration::from_millis(patience_ms);
    Options { takeover: config.takeover, user_timeout }
}

/// Gives the first loop the first listener of every address, and so on.
fn share_out(bound: Vec<Bound>, loops: usize) -> Vec<Vec<Listener>> {
    let mut shares: Vec<Vec<Listener>> = (0..loops).map(|_| Vec::new()).collect();
    for Bound { listeners, .. } in bound {
        for (share, listener) in shares.iter_mut().zip(listeners) {
            share.push(listener);
        }
    }
    shares
}

/// Makes all that the loops are put together from, so that what can fail does before any thread.
fn make_loops(
    config: &Config,
    settings: Settings,
    shares: Vec<Vec<Listener>>,
    logins: Option<Desk>,
) -> io::Result<(Arc<Shared>, Vec<Parts>)> {
    let loops = shares.len();
    let mut peers = Vec::with_capacity(loops);
    let mut halves = Vec::with_capacity(loops);
    for mut listeners in shares {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Target::Wake.token())?;
        for (place, listener) in (0..).zip(&mut listeners) {
            listener.register(poll.registry(), Target::Listener(place).token())?;
        }
        let (link, inbox) = inbox::<Parcel>();
        peers.push(Peer::new(link, waker));
        halves.push((poll, inbox, Acceptor::new(listeners)));
    }
    let shared = Arc::new(Shared {
        clock: Clock::start(),
        peers,
        seats: Seats::new(settings.connections_max, loops),
        serving: Countdown::new(loops),
        asks_for_peers: settings.needs_addresses || !settings.trusted_proxies.is_empty(),
        trusted_proxies: settings.trusted_proxies.clone(),
        drain_timeout_ms: config.drain_timeout_ms,
    });
    let logins = logins.map(|desk| start_logins(desk, &shared)).transpose()?;
    let settings = Arc::new(settings);
    let (room_key, epoch_key) = (random_key()?, random_key()?);
    let count = u8::try_from(loops).expect("LOOPS_MAX fits a byte");
    let memory_max = memory_max(config.memory_max);
    let accepting = if config.accept == Accept::ReusePort { loops } else { 1 };
    let mut parts = Vec::with_capacity(loops);
    for (id, (poll, inbox, acceptor)) in (0..).map(LoopId).zip(halves) {
        let settings = Arc::clone(&settings);
        let stopwatch = clock::stopwatch;
        let setup = Setup { id, loops: count, room_key, epoch_key, settings, stopwatch };
        parts.push(Parts {
            id,
            shared: Arc::clone(&shared),
            shard: Shard::new(setup, shared.clock.now()),
            poll,
            acceptor,
            accept_rate: AcceptRate::new(config.accepts_per_second, accepting),
            dealer: Dealer::new(config.accept, count, fastrand::Rng::new()),
            memory: MemoryWatch::new(memory_max),
            inbox,
            logins: logins.clone(),
        });
    }
    Ok((shared, parts))
}

fn random_key() -> io::Result<HashKey> {
    let number = || getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
    Ok(HashKey([number()?, number()?]))
}

/// A core for each loop; none at all where there are more loops than usable cores, since two loops
/// on one core while another idles is worse than what the scheduler does, nor where there are
/// fewer: a second process would choose the same ones.
fn cores_for(loops: usize) -> Vec<CoreId> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.len() == loops {
        return cores;
    }
    tracing::info!(loops, cores = cores.len(), "loops are not pinned: not one for each core");
    Vec::new()
}

fn spawn(parts: Parts, core: Option<CoreId>) -> io::Result<JoinHandle<()>> {
    let id = parts.id;
    thread::Builder::new().name(format!("fanfare-loop-{id}")).spawn(move || {
        if let Some(core) = core
            && !core_affinity::set_for_current(core)
        {
            tracing::warn!(loop_id = id.0, core = core.id, "loop could not be pinned");
        }
        if let Err(error) = EventLoop::new(parts).run() {
            abort(id, &error);
        }
    })
}

#[cold]
fn abort(id: LoopId, error: &io::Error) -> ! {
    // Not through the log, whose writer would not get to it any more.
    eprintln!("fanfare: loop {id} failed and the process with it: {error}");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};

    fn config(loops: usize, accept: Accept) -> Config {
        let listen = vec![ListenAddr::Tcp((Ipv4Addr::LOCALHOST, 0).into())];
        Config { listen, loops, accept, pin: false, ..Config::default() }
    }

    fn start(config: &Config) -> Result<Server, StartError> {
        Server::start(config, Arc::default(), SideWork::default())
    }

    #[test]
    fn a_server_starts_drains_and_ends_however_it_spreads_connections() {
        let all = [Accept::ReusePort, Accept::RoundRobin, Accept::LeastConnections, Accept::Random];
        for (accept, loops) in all.into_iter().flat_map(|accept| [(accept, 1), (accept, 3)]) {
            let server = start(&config(loops, accept)).expect("a free port");
            let [ListenAddr::Tcp(address)] = server.addresses() else { panic!("one address") };
            let address = *address;
            assert_eq!(server.loops(), loops);
            assert!(server.limits().connections_max > 0);
            assert!(TcpStream::connect(address).is_ok(), "{accept:?}");
            let drainer = server.drainer();
            drainer.drain();
            drainer.clone().drain();
            server.join();
            assert!(TcpStream::connect(address).is_err(), "{accept:?}: nobody listens");
        }
    }

    #[test]
    fn a_server_can_be_asked_to_drain_before_its_loops_have_turned_once() {
        for _ in 0..20 {
            let server = start(&config(4, Accept::ReusePort)).expect("a free port");
            server.drainer().drain();
            server.join();
        }
    }

    #[test]
    fn a_second_server_on_the_same_port_says_what_to_do() {
        let server = start(&config(2, Accept::ReusePort)).expect("a free port");
        let mut second = config(2, Accept::ReusePort);
        second.listen = server.addresses().to_vec();
        let refused = start(&second).expect_err("it is taken");
        assert!(matches!(refused, StartError::InUse(_)), "{refused}");
        second.takeover = true;
        let successor = start(&second).expect("taken over");
        for server in [server, successor] {
            server.drainer().drain();
            server.join();
        }
    }

    #[test]
    fn loops_default_to_the_cores_and_stay_within_their_bound() {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(loops_of(&config(0, Accept::ReusePort)), cores.min(LOOPS_MAX));
        assert_eq!(loops_of(&config(LOOPS_MAX + 1, Accept::ReusePort)), LOOPS_MAX);
    }

    #[test]
    fn loops_are_pinned_where_they_are_asked_to_be_and_each_core_has_one() {
        let cores = core_affinity::get_core_ids().map_or(0, |cores| cores.len());
        for (pin, loops, pinned) in
            [(true, cores, true), (true, cores + 1, false), (false, cores, false)]
        {
            let mut config = config(loops, Accept::ReusePort);
            config.pin = pin;
            let server = start(&config).expect("a free port");
            assert_eq!(server.is_pinned(), pinned, "{loops} loops");
            server.drainer().drain();
            server.join();
        }
    }

    #[test]
    fn the_kernel_gives_a_peer_up_later_than_the_heartbeat_and_not_never() {
        let mut config = config(1, Accept::ReusePort);
        let options = options_of(&config);
        assert_eq!(options.user_timeout, Duration::from_secs(45));
        config.heartbeat_interval_ms = u64::MAX;
        assert!(bind_all(&config.listen, 1, options_of(&config)).is_ok(), "the kernel takes it");
    }
}
