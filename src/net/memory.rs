//! How much memory there is for this process, and how much of it is used.
//!
//! Each loop looks for itself as it turns, so many times a second, and whenever what it holds has
//! grown by some: a loop that rests makes nothing grow, so it is not woken for this. Not here: what
//! is done about it (`engine`).
//! Invariants: pressure ends well below where it began; what was given up is counted as gone until
//! the allocator has had time to give it back, so that no more is given up than has to be.

use super::event_loop::EventLoop;
use crate::broker::Now;
use crate::config::MemoryMax;
use crate::engine::{MemoryUse, Pressure};
use crate::limits::{MEMORY_PERCENT_MAX, MEMORY_SAMPLE_MS};
use std::fs;

/// Pressure is over when so much less than [`MEMORY_PERCENT_MAX`] is used.
const SLACK_PERCENT: u64 = 5;
/// Longer than it takes until memory that was freed is the kernel's again (`trim`).
const RELIEF_MS: u64 = 2_500;
/// Memory is looked at whenever a loop holds such a part of it more.
const STEPS: u64 = 64;
/// What control groups of the first version say where there is no bound, or more.
const NO_BOUND_BYTES: u64 = 1 << 60;

/// What a process under `setting` may use; none is as much as there is.
pub(super) fn memory_max(setting: MemoryMax) -> Option<u64> {
    match setting {
        MemoryMax::Auto => control_group_max(|path| fs::read_to_string(path).ok()),
        MemoryMax::None => None,
        MemoryMax::Bytes(bytes) => Some(bytes),
    }
}

/// The least that a control group of this process, or one around it, may use.
fn control_group_max(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let bounds = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // Within a container the path may be that of the outside: the root is there in any case.
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let around = ends.filter_map(|end| path.get(..end));
        around.filter_map(|group| read(&format!("{root}{group}/{file}"))?.trim().parse().ok()).min()
    });
    bounds.min().filter(|bytes| *bytes < NO_BOUND_BYTES)
}

/// What the process uses now: its resident memory.
fn used_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// One loop's eye on memory.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    max_bytes: Option<u64>,
    due_ms: u64,
    /// What the loop held when it last looked.
    held_bytes: u64,
    is_high: bool,
    /// Given up, and perhaps not gone yet.
    relief_bytes: u64,
    relief_ends_ms: u64,
}

impl MemoryWatch {
    /// Of a process that may use so much; none is as much as there is.
    pub(super) const fn new(max_bytes: Option<u64>) -> Self {
        Self {
            max_bytes,
            due_ms: 0,
            held_bytes: 0,
            is_high: false,
            relief_bytes: 0,
            relief_ends_ms: 0,
        }
    }

    /// Looks, if it is time to or the loop holds a good deal more than when it last did.
    fn sample(&mut self, held_bytes: u64, now_ms: u64) -> Option<MemoryUse> {
        let step = self.max_bytes.map_or(u64::MAX, |max| max / STEPS);
        if now_ms < self.due_ms && held_bytes < self.held_bytes.saturating_add(step) {
            return None;
        }
        self.held_bytes = held_bytes;
        self.due_ms = now_ms + MEMORY_SAMPLE_MS;
        used_bytes().map(|used_bytes| self.judge(used_bytes, now_ms))
    }

    /// What it means that so much is used.
    fn judge(&mut self, used_bytes: u64, now_ms: u64) -> MemoryUse {
        if now_ms >= self.relief_ends_ms {
            self.relief_bytes = 0;
        }
        let max_bytes = self.max_bytes.unwrap_or_default();
        let percent = |percent: u64| max_bytes / 100 * percent;
        let end_bytes = percent(MEMORY_PERCENT_MAX - SLACK_PERCENT);
        let bound = if self.is_high { end_bytes } else { percent(MEMORY_PERCENT_MAX) };
        self.is_high = self.max_bytes.is_some() && used_bytes >= bound;
        let pressure = match self.is_high {
            true => {
                let left_bytes = used_bytes.saturating_sub(self.relief_bytes);
                Pressure::High { over_bytes: left_bytes.saturating_sub(end_bytes) }
            }
            false => Pressure::None,
        };
        MemoryUse { used_bytes, max_bytes, pressure }
    }

    /// Notes what was given up.
    fn note_relief(&mut self, bytes: u64, now_ms: u64) {
        self.relief_bytes = self.relief_bytes.saturating_add(bytes);
        self.relief_ends_ms = now_ms + RELIEF_MS;
    }

    /// Milliseconds until it wants a tick: only to see whether pressure is over.
    pub(super) fn poll_timeout(&self, now_ms: u64) -> Option<u64> {
        self.is_high.then(|| self.due_ms.saturating_sub(now_ms))
    }
}

impl EventLoop {
    /// Looks at memory now and then, and has the shard do something about it.
    pub(super) fn watch_memory(&mut self, now: Now) {
        let Some(memory) = self.memory.sample(self.shard.held_bytes(), now.mono_ms) else { return };
        let was_short = self.shard.is_short_of_memory();
        let relief = self.shard.handle_memory(memory, now);
        self.act();
        if relief.bytes > 0 || relief.members > 0 {
            self.memory.note_relief(relief.bytes, now.mono_ms);
        }
        let is_short = self.shard.is_short_of_memory();
        if is_short {
            // Whoever let go of it: what is free is to be the kernel's again.
            self.trim.handle_relief(now.mono_ms);
        }
        if was_short != is_short || relief.members > 0 {
            self.log.memory(&memory, relief, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn over(memory: &MemoryUse) -> Option<u64> {
        match memory.pressure {
            Pressure::None => None,
            Pressure::High { over_bytes } => Some(over_bytes),
        }
    }

    #[test]
    fn pressure_begins_at_90_percent_and_ends_below_85() {
        let mut watch = MemoryWatch::new(Some(1_000));
        let mut judged = |used| over(&watch.judge(used, 0));
        assert_eq!([judged(899), judged(900), judged(851)], [None, Some(50), Some(1)]);
        assert_eq!([judged(850), judged(849), judged(899)], [Some(0), None, None]);
    }

    #[test]
    fn what_was_given_up_is_not_asked_for_again_until_it_must_be_gone() {
        let mut watch = MemoryWatch::new(Some(1_000));
        assert_eq!(over(&watch.judge(950, 0)), Some(100));
        watch.note_relief(60, 0);
        assert_eq!(over(&watch.judge(950, 250)), Some(40));
        watch.note_relief(40, 250);
        assert_eq!(over(&watch.judge(950, 500)), Some(0), "still short, and nothing more to do");
        assert_eq!(over(&watch.judge(950, 250 + RELIEF_MS)), Some(100), "it was not enough");
    }

    #[test]
    fn without_a_bound_there_is_no_pressure_and_no_waking_up() {
        let mut watch = MemoryWatch::new(None);
        let memory = watch.sample(0, 0).expect("a first look");
        assert!(memory.used_bytes > 100_000, "{memory:?}");
        assert_eq!((over(&memory), memory.max_bytes), (None, 0));
        assert_eq!(over(&watch.judge(u64::MAX, 0)), None);
        assert_eq!((watch.sample(9, MEMORY_SAMPLE_MS - 1), watch.poll_timeout(0)), (None, None));
        let mut watch = MemoryWatch::new(Some(64));
        assert!(watch.sample(0, 0).is_some_and(|memory| over(&memory).is_some()));
        assert_eq!(watch.poll_timeout(100), Some(MEMORY_SAMPLE_MS - 100));
    }

    #[test]
    fn what_grows_is_looked_at_sooner() {
        let mut watch = MemoryWatch::new(Some(64_000));
        assert!(watch.sample(500, 0).is_some());
        assert!(watch.sample(1_499, 1).is_none());
        assert!(watch.sample(1_500, 1).is_some());
        assert!(watch.sample(0, 2).is_none() && watch.sample(2_499, 2).is_none());
        assert!(watch.sample(0, 1 + MEMORY_SAMPLE_MS).is_some());
    }

    #[test]
    fn the_bound_is_the_least_of_the_groups_that_the_process_is_in() {
        let found = |files: &[(&str, &str)]| {
            let files: BTreeMap<&str, &str> = files.iter().copied().collect();
            control_group_max(|path| files.get(path).map(|text| (*text).to_owned()))
        };
        let own = "/proc/self/cgroup";
        for (files, bound) in [
            (&[][..], None),
            (&[(own, "0::/\n")], None),
            (&[(own, "0::/\n"), ("/sys/fs/cgroup/memory.max", "max\n")], None),
            (&[(own, "0::/\n"), ("/sys/fs/cgroup/memory.max", "5000\n")], Some(5_000)),
            (
                &[
                    (own, "0::/a.slice/b.service\n"),
                    ("/sys/fs/cgroup/a.slice/memory.max", "4000\n"),
                    ("/sys/fs/cgroup/a.slice/b.service/memory.max", "max\n"),
                ],
                Some(4_000),
            ),
            (
                &[
                    (own, "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/docker/1\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "3000\n"),
                ],
                Some(3_000),
            ),
            (
                &[
                    (own, "4:memory:/\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                None,
            ),
        ] {
            assert_eq!(found(files), bound, "{files:?}");
        }
        assert_eq!(memory_max(MemoryMax::Bytes(7)), Some(7));
        assert_eq!(memory_max(MemoryMax::None), None);
    }
}
