//! What Linux says of a process.

use std::io;

/// The CPU time that its threads have taken, in microseconds.
///
/// # Errors
///
/// When there is no such process.
pub fn cpu_of(pid: u32) -> io::Result<f64> {
    let mut nanoseconds = 0_u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let spent = stat.split(' ').next().unwrap_or_default();
        nanoseconds += spent.parse::<u64>().map_err(io::Error::other)?;
    }
    Ok(nanoseconds as f64 / 1000.0)
}

/// Its resident memory, in KiB.
///
/// # Errors
///
/// When there is no such process.
pub fn memory_of(pid: u32) -> io::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim_end_matches("kB").trim().parse().map_err(io::Error::other)
}
