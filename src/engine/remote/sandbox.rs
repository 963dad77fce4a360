//! What the child may not do, whatever code of a file runs in it: open files, but for libraries and what the system tells of
//! the machine; open sockets; start programs; look into other processes.
//!
//! Two layers of Linux, each of which may be missing: landlock for files, TCP and signals (kernels from 5.13 on), seccomp for
//! system calls. Both hold for the thread that enters and for all that it starts. Model files come as open descriptors.
//!
//! That much holds while libraries still look around. Once a model that serves has run, [`settle`] leaves it the calls alone
//! that computing takes.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
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
use std::thread;

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

/// All that a model which has run once goes on to ask for: memory, time, waiting, threads, and talking over what is open.
const NEEDED: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_write,
    libc::SYS_writev,
];

const LANDLOCK: &str = "landlock";
const SECCOMP: &str = "seccomp";

/// The layers by name.
pub const LAYERS: &[&str] = &[LANDLOCK, SECCOMP];

/// The layers that this kernel does not have, or that whoever runs the container denies.
#[must_use]
pub fn missing_layers() -> Vec<&'static str> {
    // Nothing is restricted by it yet.
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = ruleset.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create);
    let layers = [(LANDLOCK, ruleset.is_ok()), (SECCOMP, may_filter_calls())];
    layers.into_iter().filter(|(_, is_there)| !is_there).map(|(name, _)| name).collect()
}

/// Tried by a thread that ends with it: a filter holds for the thread that installs it, and here it forbids what nobody asks for.
fn may_filter_calls() -> bool {
    let filter = || install(BTreeMap::from([(libc::SYS_acct, Vec::new())]), Errno::PERM).is_ok();
    let tried = thread::Builder::new().name("sandbox".into()).spawn(filter);
    tried.is_ok_and(|thread| thread.join().unwrap_or(false))
}

/// Enters it; says what does not hold.
pub(super) fn enter() -> Vec<String> {
    let layers = [(LANDLOCK, restrict_files as fn() -> _), (SECCOMP, restrict_calls)];
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
    Ok(seccompiler::apply_filter(&program(rules, SeccompAction::Allow, error(answer)?)?)?)
}

/// Leaves all threads of this process only what is [`NEEDED`]. Whatever else is asked for is answered as by a kernel that does
/// not have it: libraries do without, where a kill would end a model for what a newer one of them tries first.
pub(super) fn settle() -> Result<(), Box<dyn Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        NEEDED.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    rules.extend([libc::SYS_dup2, libc::SYS_poll].map(|call| (call, Vec::new())));
    let thread = u64::try_from(libc::CLONE_THREAD)?;
    let starts_thread =
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), thread)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![starts_thread])?]);
    let program = program(rules, error(Errno::NOSYS)?, SeccompAction::Allow)?;
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}

fn error(answer: Errno) -> Result<SeccompAction, Box<dyn Error>> {
    Ok(SeccompAction::Errno(u32::try_from(answer.raw_os_error())?))
}

/// `matched` for the calls of `rules`, `otherwise` for all others.
fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, Box<dyn Error>> {
    let architecture = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, otherwise, matched, architecture)?.try_into()?)
}
