//! Which server is measured, and from which core: flags that all client subcommands have.

use super::error::BenchError;
use super::process::Process;
use core_affinity::CoreId;
use std::net::SocketAddr;

/// The server, and how results are told.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Target {
    /// Where the server listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    pub(super) addr: SocketAddr,
    /// The server's process, whose CPU time and memory are read; found by its port if it is here
    #[arg(long)]
    pid: Option<u32>,
    /// Run on this core alone
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}

impl Target {
    /// Gets ready to measure: on the core asked for, with as many descriptors as there may be.
    pub(super) fn prepare(&self) -> Result<(), BenchError> {
        crate::net::raise_descriptor_limit();
        pin(self.cpu)
    }

    /// The server's process, if it can be found.
    pub(super) fn process(&self) -> Option<Process> {
        let found = || Process::listening_on(self.addr);
        self.pid.map(Process::of).or_else(found)
    }

    /// The server's process; an error where it can't be found.
    pub(super) fn required_process(&self) -> Result<Process, BenchError> {
        self.process().ok_or(BenchError::NoProcess(self.addr))
    }
}

/// Binds this thread to a core, if one is given.
pub(super) fn pin(core: Option<usize>) -> Result<(), BenchError> {
    match core {
        Some(id) if !core_affinity::set_for_current(CoreId { id }) => Err(BenchError::Core(id)),
        Some(_) | None => Ok(()),
    }
}
