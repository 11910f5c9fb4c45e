//! What a number is worth nothing without, for the head of every table.

use std::fs;
use std::process::Command;

/// Commit, processor, kernel, and the command: `program` and this process's arguments.
pub(crate) fn setting(program: &str) -> String {
    let said = |name: &str, args: &[&str]| {
        let output = Command::new(name).args(args).output().ok();
        let text = output.filter(|output| output.status.success()).map(|output| output.stdout);
        text.map(|text| String::from_utf8_lossy(&text).trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let commit = said("git", &["describe", "--always", "--dirty"]).unwrap_or_else(unknown);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown());
    let command: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    format!(
        "- Commit: {commit}\n- CPU: {}, {cores} cores\n- Kernel: {}\n- Command: `{program} {}`",
        model.unwrap_or("unknown"),
        kernel.trim(),
        command.join(" ")
    )
}
