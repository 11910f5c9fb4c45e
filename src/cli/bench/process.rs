//! What the kernel says about processes: their CPU time and resident memory, from `/proc`.
//!
//! Not here: which processes (`listening`), and what is made of the numbers. CPU time in all is
//! exact to the last switch between tasks, or to a tick where threads have ended; how it divides
//! into user and system is sampled by the kernel's tick.

use super::error::BenchError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The processes of one server, at least one.
#[derive(Clone, Debug)]
pub(super) struct Server {
    first: Process,
    others: Vec<Process>,
}

/// A process that can be looked at.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pid: u32,
    folder: PathBuf,
}

/// CPU time since a process began.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct CpuTime {
    user_ticks: u64,
    system_ticks: u64,
    /// Time on a core, by the scheduler's account; where that is missing, the ticks have to do.
    run_ns: Option<u64>,
}

/// CPU time between two moments.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct CpuSpent {
    /// In our code, in µs.
    pub(super) user_us: f64,
    /// In the kernel, in µs.
    pub(super) system_us: f64,
}

/// How far the ticks may be above the scheduler's account of threads that are all still there: a
/// share, and what is lost by rounding, in ticks.
const TICKS_MORE_MAX: f64 = 1.05;
const TICKS_ROUNDED: f64 = 2.0;

impl CpuSpent {
    /// Both together.
    pub(super) fn total_us(self) -> f64 {
        self.user_us + self.system_us
    }
}

impl Server {
    /// The processes of those ids, if there are any.
    pub(super) fn of(pids: &[u32]) -> Option<Self> {
        let (first, others) = pids.split_first()?;
        let others = others.iter().copied().map(Process::of).collect();
        Some(Self { first: Process::of(*first), others })
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Their ids.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.processes().map(Process::pid).collect()
    }

    /// The CPU time of each.
    pub(super) fn cpu_time(&self) -> Result<Vec<CpuTime>, BenchError> {
        self.processes().map(Process::cpu_time).collect()
    }

    /// Their bytes of memory that are resident, what they share counted once.
    pub(super) fn resident_bytes(&self) -> Result<u64, BenchError> {
        if self.others.is_empty() {
            return self.first.resident_bytes();
        }
        self.processes().map(Process::proportional_bytes).sum()
    }
}

impl std::iter::Sum for CpuSpent {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            user_us: sum.user_us + one.user_us,
            system_us: sum.system_us + one.system_us,
        })
    }
}

impl Process {
    /// The process of that id.
    pub(super) fn of(pid: u32) -> Self {
        Self { pid, folder: Path::new("/proc").join(pid.to_string()) }
    }

    /// This process.
    pub(super) fn own() -> Self {
        Self::of(std::process::id())
    }

    /// Its id.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// The CPU time of all its threads.
    pub(super) fn cpu_time(&self) -> Result<CpuTime, BenchError> {
        let stat = self.read("stat")?;
        let (user_ticks, system_ticks) = ticks(&stat).ok_or_else(|| self.odd("stat"))?;
        Ok(CpuTime { user_ticks, system_ticks, run_ns: self.run_ns() })
    }

    fn run_ns(&self) -> Option<u64> {
        let threads = fs::read_dir(self.folder.join("task")).ok()?.flatten();
        let run_ns = |path: PathBuf| -> Option<u64> {
            let text = fs::read_to_string(path.join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse().ok()
        };
        threads.map(|thread| run_ns(thread.path())).sum()
    }

    /// The bytes of memory that are resident.
    pub(super) fn resident_bytes(&self) -> Result<u64, BenchError> {
        // The roll-up is exact; the status may lag behind by some pages per thread.
        let text = self.read("smaps_rollup").or_else(|_| self.read("status"))?;
        let bytes = field_bytes(&text, "Rss:").or_else(|| field_bytes(&text, "VmRSS:"));
        bytes.ok_or_else(|| self.odd("status"))
    }

    /// The resident bytes, pages that several processes share divided between them.
    fn proportional_bytes(&self) -> Result<u64, BenchError> {
        let text = self.read("smaps_rollup")?;
        field_bytes(&text, "Pss:").ok_or_else(|| self.odd("smaps_rollup"))
    }

    fn read(&self, file: &str) -> Result<String, BenchError> {
        let path = self.folder.join(file);
        fs::read_to_string(&path).map_err(|error| BenchError::Process(path, error))
    }

    fn odd(&self, file: &str) -> BenchError {
        BenchError::Process(self.folder.join(file), io::ErrorKind::InvalidData.into())
    }
}

impl CpuTime {
    /// What was spent since `before`.
    #[expect(clippy::cast_precision_loss, reason = "years of µs before a digit is lost")]
    pub(super) fn since(self, before: Self) -> CpuSpent {
        let tick_us = 1e6 / rustix::param::clock_ticks_per_second() as f64;
        let user_us = self.user_ticks.saturating_sub(before.user_ticks) as f64 * tick_us;
        let system_us = self.system_ticks.saturating_sub(before.system_ticks) as f64 * tick_us;
        let exact = self.run_ns.zip(before.run_ns);
        let exact_us = exact.map(|(now, before)| now.saturating_sub(before) as f64 / 1e3);
        // Threads that ended took their account with them; the ticks have what they spent.
        let whole = |exact_us: &f64| {
            user_us + system_us <= exact_us * TICKS_MORE_MAX + TICKS_ROUNDED * tick_us
        };
        match exact_us.filter(whole) {
            Some(total_us) if user_us + system_us > 0.0 => {
                let scale = total_us / (user_us + system_us);
                CpuSpent { user_us: user_us * scale, system_us: system_us * scale }
            }
            Some(total_us) => CpuSpent { user_us: 0.0, system_us: total_us },
            None => CpuSpent { user_us, system_us },
        }
    }
}

/// `utime` and `stime` of a `/proc/PID/stat`: the 14th and 15th field, the second in parentheses.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The bytes of a line such as `Rss:  12 kB`.
fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_past_any_name() {
        let stat = "12 (a) (b) c) R 1 2 3 4 5 6 7 8 9 10 111 222 0 0";
        assert_eq!(ticks(stat), Some((111, 222)));
        assert_eq!(ticks("12 (short) R 1"), None);
    }

    #[test]
    fn several_processes_are_summed_and_share_their_pages() {
        let text = "5500-5600 ---p [rollup]\nRss:    2048 kB\nPss:     100 kB\nPss_Dirty: 7 kB\n";
        assert_eq!(field_bytes(text, "Pss:"), Some(100 * 1024));
        assert_eq!(field_bytes(text, "Rss:"), Some(2048 * 1024));
        assert_eq!(field_bytes(text, "VmRSS:"), None);
        let own = std::process::id();
        let twice = Server::of(&[own, own]).expect("two");
        assert_eq!((twice.pids(), twice.cpu_time().expect("our own").len()), (vec![own; 2], 2));
        assert!(twice.resident_bytes().expect("our own") > 100_000);
        assert!(Server::of(&[]).is_none());
        let spent = [CpuSpent { user_us: 1.0, system_us: 2.0 }; 3];
        assert_eq!(spent.into_iter().sum::<CpuSpent>().total_us(), 9.0);
    }

    #[test]
    fn working_costs_time_and_memory_is_resident() {
        let own = Process::own();
        let before = own.cpu_time().expect("our own");
        let mut spent = CpuSpent::default();
        for round in 0..100_000_u64 {
            std::hint::black_box((0..10_000_u64).fold(round, |sum, n| sum ^ n.wrapping_mul(sum)));
            spent = own.cpu_time().expect("our own").since(before);
            if spent.total_us() > 0.0 {
                break;
            }
        }
        assert!(spent.total_us() > 0.0);
        assert!(own.resident_bytes().expect("our own") > 100_000);
    }

    #[test]
    fn threads_that_have_ended_count_with_what_they_spent() {
        // 40 ticks passed, of which the threads that are left had but 10.
        let before = CpuTime { user_ticks: 10, system_ticks: 10, run_ns: Some(200_000_000) };
        let after = CpuTime { user_ticks: 40, system_ticks: 20, run_ns: Some(300_000_000) };
        let expected = CpuSpent { user_us: 300_000.0, system_us: 100_000.0 };
        assert_eq!(after.since(before), expected);
    }

    #[test]
    fn the_schedulers_account_is_divided_as_the_ticks_are() {
        let before = CpuTime { user_ticks: 10, system_ticks: 10, run_ns: Some(5_000_000) };
        let after = CpuTime { user_ticks: 11, system_ticks: 13, run_ns: Some(35_000_000) };
        let expected = CpuSpent { user_us: 7_500.0, system_us: 22_500.0 };
        assert_eq!(after.since(before), expected);
        let untold = CpuTime { run_ns: None, ..after };
        let tick_us = 1e6 / 100.0;
        let expected = CpuSpent { user_us: tick_us, system_us: 3.0 * tick_us };
        assert_eq!(untold.since(before), expected);
    }
}
