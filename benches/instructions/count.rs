//! Counting: this program once more, under valgrind, with few rounds and with many.
//!
//! The difference is what a round costs, whatever it costs to get ready. Invariant: nothing is
//! counted that failed.

use crate::names;
use crate::work::{NAMES, Work};
use std::env;
use std::io::Write;
use std::process::Command;
use tempfile::NamedTempFile;

/// What the process under valgrind is told: `WORKxROUNDS`.
pub(crate) const ROUNDS: &str = "FANFARE_ROUNDS";

/// Counts, and gives the processes what they need.
pub(crate) struct Counter {
    names: Option<NamedTempFile>,
}

impl Counter {
    /// Ready to count any of `works`.
    pub(crate) fn new(works: &[Work]) -> Option<Self> {
        let count = works.iter().map(|work| work.names()).max().unwrap_or_default();
        if count == 0 {
            return Some(Self { names: None });
        }
        let mut file = NamedTempFile::new().ok()?;
        let names = names::chosen(count);
        file.write_all(names.join("\n").as_bytes()).ok()?;
        Some(Self { names: Some(file) })
    }

    /// Instructions of one unit of that work.
    pub(crate) fn each(&self, work: Work) -> Option<f64> {
        let (few, many) = work.rounds();
        let units = (many - few) * work.units() as u64;
        Some(self.more(work)? as f64 / units as f64)
    }

    /// Instructions that many rounds take more than few.
    pub(crate) fn more(&self, work: Work) -> Option<u64> {
        let (few, many) = work.rounds();
        let (few, many) = self.count(work, few).zip(self.count(work, many))?;
        many.checked_sub(few)
    }

    /// Instructions of this program when it makes so many rounds.
    fn count(&self, work: Work, rounds: u64) -> Option<u64> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(env::current_exe().ok()?);
        // Always as long, so that the stack begins at the same place.
        command.env(ROUNDS, format!("{:>20}x{rounds:>6}", work.name()));
        if let Some(names) = &self.names {
            command.env(NAMES, names.path());
        }
        let output = command.output().ok()?;
        if !output.status.success() {
            return None;
        }
        // `==123== Collected : 456`
        let text = String::from_utf8_lossy(&output.stderr);
        let (_, after) = text.split_once("Collected :")?;
        after.split_whitespace().next()?.parse().ok()
    }
}
