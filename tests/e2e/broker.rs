//! The real binary as a process: started, asked, signalled, and gone at the end of the test.
//!
//! Invariants: it reads nothing of the tester's own environment; it is killed when dropped; when
//! the test fails its log is shown, and when it has ended unasked the test fails.

use super::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{env, thread};
use tempfile::TempDir;

/// The binary with these arguments. `FANFARE_BIN` names another build of it.
pub(crate) fn fanfare(args: &[&str]) -> Command {
    let built = || env!("CARGO_BIN_EXE_fanfare").into();
    let mut command = Command::new(env::var_os("FANFARE_BIN").unwrap_or_else(built));
    command.args(args);
    clean(&mut command);
    command
}

/// The same, begun by another program, which takes the binary and its arguments as its last ones.
pub(crate) fn fanfare_under(program: &[&str], args: &[&str]) -> Command {
    let ours = fanfare(args);
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(ours.get_program()).args(ours.get_args());
    clean(&mut command);
    command
}

fn clean(command: &mut Command) {
    for (name, _) in env::vars() {
        if name.starts_with("FANFARE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("PORT").env_remove("RUST_LOG").stdin(Stdio::null());
}

/// A running broker.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    folder: TempDir,
    addresses: Vec<String>,
    ended: bool,
}

impl Broker {
    /// Serves on a free port, with these further arguments.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--no-pin"];
        all.extend(args);
        Self::run(fanfare(&all), 1)
    }

    /// The same, with a configuration file of this text.
    pub(crate) fn start_with_file(text: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("fanfare.toml");
        fs::write(&file, text).expect("a file");
        let mut all = vec!["--config", file.to_str().expect("a path that is text")];
        all.extend(args);
        Self::start(&all)
    }

    /// Runs `command` and waits until it says of so many addresses that it listens there.
    pub(crate) fn run(mut command: Command, addresses: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name| File::create(folder.path().join(name)).expect("a file");
        let child = command.stdout(file("stdout")).stderr(file("stderr")).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut broker = Self { child, folder, addresses: Vec::new(), ended: false };
        broker.addresses = until("the broker to listen", || {
            broker.check();
            let said = broker.said("stdout");
            let (lines, _) = said.rsplit_once('\n')?;
            let found = lines.lines().filter_map(|line| line.strip_prefix("listening on "));
            let found: Vec<String> = found.map(str::to_owned).collect();
            (found.len() >= addresses).then_some(found)
        });
        broker
    }

    /// Fails when the process has ended by itself.
    fn check(&mut self) {
        if !self.ended
            && let Some(status) = self.child.try_wait().expect("a process has a status")
        {
            self.ended = true;
            panic!("the broker has ended by itself: {status}");
        }
    }

    fn said(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path().join(name)).expect("its output");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it said on stderr until now.
    pub(crate) fn log(&self) -> String {
        self.said("stderr")
    }

    /// Its addresses, as it said them.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Its first address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0].parse().expect("an address and a port")
    }

    /// The URL of a raw room; `room` may have a query.
    pub(crate) fn room_url(&self, room: &str) -> String {
        format!("ws://{}/raw/{room}", self.address())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it can be signalled");
    }

    /// Waits until it has ended; its exit code, none where a signal killed it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let status = until("the broker to end", || child.try_wait().expect("it has a status"));
        self.ended = true;
        status.code()
    }

    /// Drains it and checks that it ends well.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait(), Some(0), "a drain ends with exit code 0");
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.child.id()))
    }

    /// Descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).expect("its descriptors").count()
    }

    /// Its resident memory in KiB: to be told, not to be judged.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// CPU time it has used, in ticks of a hundredth of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(self.proc("stat")).expect("its stat");
        // The name in parentheses may hold blanks; user and system time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
        ticks(11) + ticks(12)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let alive = self.child.try_wait().is_ok_and(|status| status.is_none());
        self.child.kill().ok();
        let status = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the broker's log ({status:?}):\n{}---", self.log());
        } else {
            assert!(alive || self.ended, "the broker ended by itself: {status:?}\n{}", self.log());
        }
    }
}
