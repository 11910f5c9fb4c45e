//! Servers and clients as processes of their own, each on its core.
//!
//! Invariants: this process itself is bound to no core; who listens or is bound elsewhere fails to
//! start; nobody outlives the value that stands for them.

use core_affinity::CoreId;
use serde_json::Value;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// The floor and the client are always of this build.
pub(crate) const TOOLS: &str = env!("CARGO_BIN_EXE_fanfare");

/// Time between two looks at something that is waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Looks after which a wait is given up: a minute.
pub(crate) const LOOKS_MAX: usize = 3_000;

/// What a client that must not wait for another one on its core is started by; where that is not
/// permitted, it says so and starts it all the same.
const AHEAD: [&str; 3] = ["nice", "-n", "-15"];

/// Where a server runs.
#[derive(Clone, Debug)]
pub(crate) enum Cores {
    One(usize),
    Several(Vec<usize>),
}

/// A server that listens, and ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts `program` and waits until it says where it listens.
    pub(crate) fn start(program: &Path, args: &[String], cores: &Cores) -> io::Result<Self> {
        let mut command = match cores {
            Cores::One(_) => Command::new(program),
            Cores::Several(cores) => {
                let list: Vec<String> = cores.iter().map(ToString::to_string).collect();
                let mut command = Command::new("taskset");
                command.args(["-c", &list.join(",")]).arg(program);
                command
            }
        };
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match cores {
            Cores::One(core) => spawn_on(*core, &mut command)?,
            Cores::Several(_) => command.spawn().map_err(|error| named(&command, &error))?,
        };
        let mut line = String::new();
        if let Some(stdout) = &mut child.stdout {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        // Owned from here on, so that it is ended also where it says something else.
        let mut server = Self { child, address: String::new() };
        let address = line.trim().strip_prefix("listening on ");
        server.address =
            address.ok_or_else(|| io::Error::other(format!("{args:?} said {line:?}")))?.to_owned();
        Ok(server)
    }

    /// Measures it by `fanfare bench` with `args` on a core.
    pub(crate) fn measure(&self, args: &[String], core: usize) -> io::Result<Value> {
        Load::start(self, args, core, Rank::Usual)?.report()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has at least so many files open, sockets among them.
    pub(crate) fn await_files(&self, files: usize) -> io::Result<()> {
        let folder = format!("/proc/{}/fd", self.child.id());
        for _ in 0..LOOKS_MAX {
            if fs::read_dir(&folder)?.count() >= files {
                return Ok(());
            }
            pause(LOOK);
        }
        Err(io::Error::other(format!("it never had {files} files open")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Who comes first on a shared core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rank {
    Usual,
    Ahead,
}

/// A client that makes its load, and ends with this value.
#[derive(Debug)]
pub(crate) struct Load {
    child: Option<Child>,
    line: String,
}

impl Load {
    /// Starts `fanfare bench` with `args` on a core.
    pub(crate) fn start(
        server: &Server,
        args: &[String],
        core: usize,
        rank: Rank,
    ) -> io::Result<Self> {
        let mut command = match rank {
            Rank::Usual => Command::new(TOOLS),
            Rank::Ahead => {
                let mut command = Command::new(AHEAD[0]);
                command.args(&AHEAD[1..]).arg(TOOLS);
                command
            }
        };
        command
            .env_remove("FANFARE_TOKEN") // Who shows a token is told so by its arguments.
            .arg("bench")
            .args(args)
            .args(["--json", "--addr", &server.address, "--pid", &server.pid().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(Self { child: Some(spawn_on(core, &mut command)?), line: args.join(" ") })
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_over(&mut self) -> io::Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(true),
        }
    }

    /// What it measured, once it ends.
    pub(crate) fn report(mut self) -> io::Result<Value> {
        let child = self.child.take().ok_or_else(|| io::Error::other("it has ended"))?;
        let output = child.wait_with_output()?;
        serde_json::from_slice(&output.stdout).map_err(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            io::Error::other(format!("`bench {}`: {error}; it said: {}", self.line, said.trim()))
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Whether a client may be put ahead of another one.
pub(crate) fn may_be_ahead() -> bool {
    let told = Command::new(AHEAD[0]).args(&AHEAD[1..]).arg(AHEAD[0]).output();
    told.is_ok_and(|output| output.stdout.starts_with(b"-15"))
}

/// The cores of two loops: the servers' one and another, the client's only where there is no third.
pub(crate) fn two_cores(server: usize, client: usize) -> Vec<usize> {
    let all = core_affinity::get_core_ids().unwrap_or_default();
    let others = all.iter().map(|core| core.id).filter(|id| ![server, client].contains(id));
    let second = others.chain([client]).next().unwrap_or(client);
    vec![server, second]
}

#[expect(clippy::disallowed_methods, reason = "what is waited for is another process")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Starts a process on a core. It is born on a thread that is bound to it, which is all it takes:
/// this thread, and who is started from it later, stay where they are.
fn spawn_on(core: usize, command: &mut Command) -> io::Result<Child> {
    let born = || {
        if !core_affinity::set_for_current(CoreId { id: core }) {
            return Err(io::Error::other(format!("cannot bind to core {core}")));
        }
        command.spawn().map_err(|error| named(command, &error))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("start".to_owned()).spawn_scoped(scope, born)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the start of a process panicked")))
    })
}

fn named(command: &Command, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", command.get_program().display()))
}
