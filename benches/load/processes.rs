//! Servers and clients as processes of their own, each on its core.

use core_affinity::CoreId;
use serde_json::Value;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server that listens, and ends with this value.
pub(crate) struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts `program` on a core and waits until it says where it listens.
    pub(crate) fn start(program: &Path, args: &[String], core: usize) -> io::Result<Self> {
        pin(core)?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
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
    pub(crate) fn measure(
        &self,
        program: &Path,
        args: &[String],
        core: usize,
    ) -> io::Result<Value> {
        pin(core)?;
        let output = Command::new(program)
            .arg("bench")
            .args(args)
            .args(["--json", "--addr", &self.address, "--pid", &self.child.id().to_string()])
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout)
            .map_err(|error| io::Error::other(format!("{args:?}: {error}; it said {said}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Binds this thread to a core: what it starts from then on is born there.
fn pin(core: usize) -> io::Result<()> {
    if core_affinity::set_for_current(CoreId { id: core }) {
        Ok(())
    } else {
        Err(io::Error::other(format!("cannot bind to core {core}")))
    }
}
