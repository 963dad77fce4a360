//! How much of the machine this process may use: cores and memory, from the cgroup (v1 and v2).
//!
//! Every function takes the root folder under which `proc` and `sys` lie, for the tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Cores that can be used at once: the strictest CPU quota above the process, rounded down, and at
/// most the cores that the process may be scheduled on. At least one.
///
/// Rounded down because a thread beyond the quota does not run in what is left of it: it makes the
/// kernel stop every thread for the rest of the period.
#[must_use]
pub fn cpu_quota(root: &Path) -> usize {
    let quota_v2 = |folder: &Path| {
        let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        ratio(quota, period)
    };
    let quota_v1 = |folder: &Path| {
        let quota = fs::read_to_string(folder.join("cpu.cfs_quota_us")).ok()?;
        let period = fs::read_to_string(folder.join("cpu.cfs_period_us")).ok()?;
        ratio(&quota, &period)
    };
    let quota = strictest(root, "cpu", quota_v1, quota_v2);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    quota.map_or(cores, |quota| cores.min(usize::try_from(quota).unwrap_or(cores))).max(1)
}

/// Bytes of memory that can be used: the strictest limit above the process, and at most what the
/// machine has.
#[must_use]
pub fn memory_limit(root: &Path) -> u64 {
    // Without any limit v1 shows a number beyond every machine's memory and v2 the word "max",
    // which is no number.
    let limit_of = |folder: &Path, file: &str| number(&fs::read_to_string(folder.join(file)).ok()?);
    let limit = strictest(
        root,
        "memory",
        |folder| limit_of(folder, "memory.limit_in_bytes"),
        |folder| limit_of(folder, "memory.max"),
    );
    limit.unwrap_or(u64::MAX).min(total_memory(root))
}

/// The smallest value along the process's cgroup and its ancestors, in both hierarchies.
///
/// Inside a container the path in `/proc/self/cgroup` can be the one that the host sees, which
/// does not exist here; the way up to the root then meets the container's own folder, which is
/// mounted as the root.
fn strictest(
    root: &Path,
    controller: &str,
    v1: impl Fn(&Path) -> Option<u64>,
    v2: impl Fn(&Path) -> Option<u64>,
) -> Option<u64> {
    let list = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mount = root.join("sys/fs/cgroup");
    let mut values = Vec::new();
    for line in list.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        if controllers.is_empty() {
            // Where both versions are in use, the second lies in a folder of its own.
            for mount in [mount.clone(), mount.join("unified")] {
                values.extend(ancestors(&mount, path).iter().filter_map(|folder| v2(folder)));
            }
        } else if controllers.split(',').any(|name| name == controller) {
            for mount in [mount.join(controller), mount.join(controllers)] {
                values.extend(ancestors(&mount, path).iter().filter_map(|folder| v1(folder)));
            }
        }
    }
    values.into_iter().min()
}

/// The folder of a cgroup and of those above it, up to the mount point.
fn ancestors(mount: &Path, path: &str) -> Vec<PathBuf> {
    // A path that leads out of the visible tree begins with "..": only the root is known then.
    let path = Path::new(path.trim_start_matches('/'));
    let inside = !path.components().any(|part| part == std::path::Component::ParentDir);
    let path = if inside { path } else { Path::new("") };
    path.ancestors().map(|ancestor| mount.join(ancestor)).collect()
}

/// Quota over period in whole cores, at least one; nothing for `max` and `-1`.
fn ratio(quota: &str, period: &str) -> Option<u64> {
    let period = number(period).filter(|period| *period > 0)?;
    Some((number(quota)? / period).max(1))
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Memory of the machine, in bytes; one GiB where even that cannot be read.
fn total_memory(root: &Path) -> u64 {
    let text = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| number(rest.trim().trim_end_matches("kB")));
    kibibytes.map_or(1 << 30, |kibibytes| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       8388608 kB\nMemFree: 1 kB\n");

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files.iter().chain([&MEMINFO]) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[track_caller]
    fn check_memory(files: &[(&str, &str)], expected: u64) {
        assert_eq!(memory_limit(tree(files).path()), expected);
    }

    #[track_caller]
    fn check_cpu(files: &[(&str, &str)], expected: usize) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(cpu_quota(tree(files).path()), expected.min(cores));
    }

    #[test]
    fn without_a_cgroup_the_machine_is_the_limit() {
        check_memory(&[], 8 << 30);
        check_cpu(&[], usize::MAX);
    }

    #[test]
    fn version_two_is_read_along_the_path() {
        let own = ("proc/self/cgroup", "0::/kubepods/pod1\n");
        check_memory(&[own, ("sys/fs/cgroup/kubepods/pod1/memory.max", "1048576\n")], 1 << 20);
        check_memory(
            &[
                own,
                ("sys/fs/cgroup/kubepods/pod1/memory.max", "max\n"),
                ("sys/fs/cgroup/kubepods/memory.max", "2097152\n"),
            ],
            2 << 20,
        );
        check_cpu(&[own, ("sys/fs/cgroup/kubepods/pod1/cpu.max", "150000 100000\n")], 1);
        check_cpu(&[own, ("sys/fs/cgroup/kubepods/pod1/cpu.max", "50000 100000\n")], 1);
        check_cpu(&[own, ("sys/fs/cgroup/kubepods/pod1/cpu.max", "200000 100000\n")], 2);
        check_cpu(&[own, ("sys/fs/cgroup/kubepods/pod1/cpu.max", "max 100000\n")], usize::MAX);
    }

    #[test]
    fn a_path_that_only_the_host_sees_leads_to_the_mounted_root() {
        for path in ["0::/docker/abc\n", "0::/../../docker/abc\n"] {
            let own = ("proc/self/cgroup", path);
            check_memory(&[own, ("sys/fs/cgroup/memory.max", "4096\n")], 4096);
        }
        let own = ("proc/self/cgroup", "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n");
        check_memory(&[own, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n")], 4096);
        check_cpu(
            &[
                own,
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ],
            1,
        );
    }

    #[test]
    fn no_limit_in_version_one_is_the_machine() {
        let own = ("proc/self/cgroup", "4:memory:/a\n2:cpu:/a\n");
        check_memory(
            &[own, ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n")],
            8 << 30,
        );
        check_cpu(
            &[
                own,
                ("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n"),
            ],
            usize::MAX,
        );
    }
}
