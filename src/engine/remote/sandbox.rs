//! What the child may not do, whatever code of a file runs in it: open files, but for libraries and what the system tells of
//! the machine; open sockets; start programs; look into other processes.
//!
//! Two layers of Linux, each of which may be missing: landlock for files, TCP and signals (kernels from 5.13 on), seccomp for
//! system calls. Both hold for the thread that enters and for all that it starts. Model files come as open descriptors.

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The newest of landlock's interfaces that is used; older kernels do what they can.
const NEWEST: ABI = ABI::V6;

/// Where libraries lie, and what libtorch asks of the machine.
const READABLE: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/cuda",
    "/etc/ld.so.cache",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/driver",
    "/sys/devices",
    "/sys/fs/cgroup",
    "/dev/null",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
];

/// System calls that no computation needs. The others of their kind answer for the sockets that are open already.
const FORBIDDEN: &[i64] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_add_key,
    libc::SYS_bind,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_connect,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_listen,
    libc::SYS_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_kill,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_mq_open,
    libc::SYS_msgctl,
    libc::SYS_msgget,
    libc::SYS_removexattr,
    libc::SYS_semctl,
    libc::SYS_semget,
    libc::SYS_setpriority,
    libc::SYS_setxattr,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmget,
    libc::SYS_utimensat,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Enters it; says what does not hold.
pub(super) fn enter() -> Vec<String> {
    let layers = [("landlock", restrict_files as fn() -> _), ("seccomp", restrict_calls)];
    let missing = layers.into_iter().filter_map(|(name, enter)| {
        let error: Box<dyn Error> = enter().err()?;
        Some(format!("{name}: {error}"))
    });
    missing.collect()
}

fn restrict_files() -> Result<(), Box<dyn Error>> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let mut ruleset = ruleset;
    let paths: BTreeSet<PathBuf> =
        READABLE.iter().map(PathBuf::from).chain(library_folders()).collect();
    for path in paths {
        // What is not there needs no rule.
        let Ok(place) = PathFd::new(&path) else { continue };
        let access = if path.is_dir() { read } else { AccessFs::ReadFile.into() };
        ruleset = ruleset.add_rule(PathBeneath::new(place, access))?;
    }
    for device in devices() {
        if let Ok(place) = PathFd::new(&device) {
            let access = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
            ruleset = ruleset.add_rule(PathBeneath::new(place, access))?;
        }
    }
    match ruleset.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => Err("this kernel does not have it".into()),
        _ => Ok(()),
    }
}

/// The folders of the libraries that are loaded, and of those that may be.
fn library_folders() -> Vec<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let files = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    let of_libraries =
        files.filter(|file| file.to_string_lossy().contains(".so")).filter_map(Path::parent);
    let mut folders: Vec<PathBuf> = of_libraries.map(Path::to_owned).collect();
    folders.sort_unstable();
    folders.dedup();
    let listed = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&listed).filter(|path| path.is_absolute()));
    folders
}

/// The devices of a GPU, and the shared memory that its driver wants.
fn devices() -> Vec<PathBuf> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("nvidia"))
        .map(|entry| entry.path())
        .collect()
}

fn restrict_calls() -> Result<(), Box<dyn Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    rules.extend(
        [libc::SYS_chmod, libc::SYS_chown, libc::SYS_fork, libc::SYS_lchown, libc::SYS_vfork]
            .map(|call| (call, Vec::new())),
    );
    // Threads may be started, processes may not.
    let thread = u64::try_from(libc::CLONE_THREAD)?;
    let starts_process =
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![starts_process])?]);
    // Limits and cores of others.
    for call in [libc::SYS_prlimit64, libc::SYS_sched_setaffinity] {
        let of_others = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
        rules.insert(call, vec![SeccompRule::new(vec![of_others])?]);
    }
    install(rules, Errno::PERM)?;
    // Its flags lie in memory, where no filter can look: without it the C library uses the other one.
    install(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), Errno::NOSYS)
}

fn install(rules: BTreeMap<i64, Vec<SeccompRule>>, answer: Errno) -> Result<(), Box<dyn Error>> {
    let answer = SeccompAction::Errno(u32::try_from(answer.raw_os_error())?);
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}
