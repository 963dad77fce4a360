//! What every Prometheus user expects to know about a process, read from `/proc` at each scrape.
//!
//! A reader of our own, because the registry's needs another library for a few numbers and leaves
//! out sub-tick processor time. Where there is no `/proc`, these families are missing.

use super::collect::Collect;
use super::exposition::Samples;
use super::families;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs;

/// See the file's head.
pub(super) struct Process;

impl Collect for Process {
    fn collect(&self, out: &mut Samples) {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        out.number(&families::PROCESS_CPU, &[], cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            let kib = |key| field(&status, key).map(|value| value * 1024.0);
            let numbers = [
                (&families::PROCESS_RESIDENT_MEMORY, kib("VmRSS:")),
                (&families::PROCESS_VIRTUAL_MEMORY, kib("VmSize:")),
                (&families::PROCESS_THREADS, field(&status, "Threads:")),
            ];
            for (family, value) in numbers {
                if let Some(value) = value {
                    out.number(family, &[], value);
                }
            }
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // The folder that is being read is one of them.
            out.number(&families::PROCESS_OPEN_FDS, &[], entries.count().saturating_sub(1) as f64);
        }
        // No limit at all is written as the largest number.
        let limit = getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |limit| limit as f64);
        out.number(&families::PROCESS_MAX_FDS, &[], limit);
        if let Some(started) = start_time() {
            out.number(&families::PROCESS_START_TIME, &[], started);
        }
    }
}

/// Memory of the process that is in RAM, in bytes; `None` where the system does not say.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

/// Memory of this process's children that is in RAM, in bytes, what they share with others in parts; as far as the system says.
#[must_use]
pub fn children_bytes() -> u64 {
    // Whose child a process is, the kernel says by threads of the parent.
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children = threads.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    let bytes = |id: &str| {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
        field(&text, "Pss:").map_or(0, |kib| kib as u64 * 1024)
    };
    children.map(|ids| ids.split_ascii_whitespace().map(bytes).sum::<u64>()).sum()
}

/// The number after a key at the start of a line.
fn field(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Seconds since 1970 at which the process started.
fn start_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may contain anything; the start
    // time is the 22nd field of all, so the 20th after the name.
    let ticks: f64 = stat.rsplit(')').next()?.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let boot = field(&fs::read_to_string("/proc/stat").ok()?, "btime ")?;
    Some(boot + ticks / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn the_numbers_are_plausible() {
        let mut out = Samples::default();
        Process.collect(&mut out);
        let families = out.into_families();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_threads") >= 1.0);
        assert!((3.0..=value("process_max_fds")).contains(&value("process_open_fds")));
    }

    #[test]
    fn what_children_take_is_counted_where_the_kernel_says_whose_they_are() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let is_said = fs::exists("/proc/thread-self/children").unwrap();
        let bytes = children_bytes();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(bytes > 0, is_said, "{bytes} bytes");
    }
}
