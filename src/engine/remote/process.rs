//! One child process: started with nothing it does not need, limited from outside, spoken to with
//! a deadline, and always reaped.
//!
//! No thread stands behind it: one `poll` waits for the answer and drains what the child prints.

use super::RemoteOptions;
use super::inbox;
use super::protocol::{self, Request, Response};
use crate::engine::Output;
use crate::tensor::Buffer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process_group, pidfd_open, prlimit,
};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How much of what the child printed is kept.
const TAIL_BYTES: usize = 4 << 10;
/// How long a child that has hung up may take to end by itself, so that its own end is reported.
const GRACE: Duration = Duration::from_secs(3);
/// Descriptors that the child may have open: libraries, devices, one file.
const MAX_DESCRIPTORS: u64 = 256;

/// Variables that the child keeps, by prefix: where libraries lie, and how they are to behave.
const KEPT_VARIABLES: &[&str] = &[
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LD_BIND_NOW",
    "GLIBC_TUNABLES",
    "LIBTORCH",
    "TORCH_",
    "PYTORCH_",
    "C10_",
    "ATEN_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "MKL_",
    "ONEDNN_",
    "DNNL_",
    "CUDA_",
    "CUDNN_",
    "CUBLAS_",
    "NVIDIA_",
    "NVIDIA_TF32_",
    "MALLOC_",
    "RUST_BACKTRACE",
];
/// Variables that the child gets: what would otherwise write caches, which the limits forbid.
const SET_VARIABLES: &[(&str, &str)] =
    &[("CUDA_CACHE_DISABLE", "1"), ("USE_PYTORCH_KERNEL_CACHE", "0")];

/// A running child.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
    socket: UnixStream,
    /// What the child prints; `None` after it closed it.
    printed: Option<UnixStream>,
    tail: VecDeque<u8>,
}

impl Process {
    /// Starts the program of `options`.
    pub(super) fn spawn(options: &RemoteOptions) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let (printed, stderr) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        printed.set_nonblocking(true)?;
        let stdout = stderr.try_clone()?;

        let is_kept = |name: &OsStr| {
            name.to_str()
                .is_some_and(|name| KEPT_VARIABLES.iter().any(|kept| name.starts_with(kept)))
        };
        let child = Command::new(&options.program)
            .args(&options.arguments)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| is_kept(name)))
            .envs(SET_VARIABLES.iter().copied())
            // Where no file can be made, not even an empty one, which the limit on sizes allows.
            .current_dir("/proc")
            // The socket is its standard input, and both directions go over it. What models
            // print on either output is a log, and cannot be taken for an answer.
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(stdout))
            .stderr(OwnedFd::from(stderr))
            // Its own group: a terminal's interrupt is ours to act on, and its own children die with it.
            .process_group(0)
            .spawn()?;
        let pid = Pid::from_child(&child);
        let process = Self { child, pid, socket, printed: Some(printed), tail: VecDeque::new() };
        process.limit(options)?;
        Ok(process)
    }

    /// Sets what holds for the child's whole life. It does nothing risky before its first request.
    fn limit(&self, options: &RemoteOptions) -> io::Result<()> {
        let set = |resource, limit: u64| {
            let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
            prlimit(Some(self.pid), resource, limit).map(drop)
        };
        set(Resource::Core, 0)?;
        // Nothing can be written to any file: the attempt ends the process with SIGXFSZ.
        set(Resource::Fsize, 0)?;
        let may_have = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        set(Resource::Nofile, MAX_DESCRIPTORS.min(may_have))?;
        if let Some(bytes) = options.memory_bytes {
            // Not the address space: libraries map, and CUDA reserves, far more than they use.
            set(Resource::Data, bytes)?;
        }
        // Where the machine runs out of memory all the same, the kernel is to take the child and not the server.
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", self.child.id()), "500");
        Ok(())
    }

    /// Gives the child this much more processor time from now on.
    pub(super) fn allow_processor_time(&self, time: Duration) -> io::Result<()> {
        let used = processor_seconds(self.pid)?;
        let limit = used.saturating_add(time.as_secs()).saturating_add(1);
        let limit = Rlimit { current: Some(limit), maximum: None };
        Ok(prlimit(Some(self.pid), Resource::Cpu, limit).map(drop)?)
    }

    /// Asks and waits for the answer, at most until `deadline`. After an error the process is of
    /// no use any more.
    pub(super) fn call(
        &mut self,
        message: Message<'_>,
        deadline: Instant,
    ) -> io::Result<(Response, Vec<Output>)> {
        let mut stream = Timed { process: self, deadline, file: message.file };
        protocol::write(&mut stream, message.request, message.buffers)?;
        let answer = protocol::read_header(&mut stream)?;
        match answer.ok_or(io::ErrorKind::UnexpectedEof)? {
            Response::Ran { outputs, phases, processor_time } => {
                let outputs = protocol::read_outputs(&mut stream, outputs)?;
                Ok((Response::Ran { outputs: Vec::new(), phases, processor_time }, outputs))
            }
            answer => Ok((answer, Vec::new())),
        }
    }

    /// Its process id.
    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended since it was last asked for something.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits shortly for the process to end by itself; says how it ended, `None` when it did not.
    pub(super) fn ended_by_itself(&mut self) -> Option<ExitStatus> {
        let timeout = Timespec::try_from(GRACE).ok();
        // Without pidfd (kernels before 5.3) a process that is slow to end is taken for one that did not.
        if let Ok(pidfd) = pidfd_open(self.pid, PidfdFlags::empty()) {
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], timeout.as_ref());
        }
        self.child.try_wait().ok().flatten()
    }

    /// The last lines that the child printed, bounded, for the log.
    pub(super) fn last_words(&mut self) -> String {
        self.drain();
        String::from_utf8_lossy(self.tail.make_contiguous()).trim().to_owned()
    }

    /// Takes what the child has printed so far.
    fn drain(&mut self) {
        let mut chunk = [0; TAIL_BYTES];
        // Bounded, so that a child that prints without end cannot hold the caller here.
        for _ in 0..16 {
            let Some(printed) = &mut self.printed else { return };
            match printed.read(&mut chunk) {
                Ok(0) => self.printed = None,
                Ok(length) => {
                    self.tail.extend(&chunk[..length]);
                    let excess = self.tail.len().saturating_sub(TAIL_BYTES);
                    self.tail.drain(..excess);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.printed = None,
            }
        }
    }

    /// Waits until the socket is ready for `flags`, reading meanwhile what the child prints.
    fn wait(&mut self, flags: PollFlags, deadline: Instant) -> io::Result<()> {
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let timeout = Timespec::try_from(remaining).map_err(io::Error::other)?;
            let mut waited = vec![PollFd::new(&self.socket, flags)];
            waited.extend(self.printed.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
            match poll(&mut waited, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let is_ready = !waited[0].revents().is_empty();
            let has_printed = waited.get(1).is_some_and(|fd| !fd.revents().is_empty());
            if has_printed {
                self.drain();
            }
            if is_ready {
                return Ok(());
            }
        }
    }
}

impl Drop for Process {
    /// Kills and reaps: no process outlives its handle, and none is left as a zombie.
    fn drop(&mut self) {
        // The group goes before the leader is reaped: until then its id cannot be another's.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is asked of the child.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) request: &'a Request,
    pub(super) buffers: &'a [Buffer],
    /// A file that goes with it.
    pub(super) file: Option<&'a File>,
}

impl<'a> Message<'a> {
    pub(super) fn with_file(request: &'a Request, file: &'a File) -> Self {
        Self { request, buffers: &[], file: Some(file) }
    }
}

/// The child's socket until a deadline.
struct Timed<'a> {
    process: &'a mut Process,
    deadline: Instant,
    /// Goes with the first bytes that are written.
    file: Option<&'a File>,
}

impl Timed<'_> {
    /// Repeats `attempt` until it no longer would block, or until the deadline.
    fn retry(
        &mut self,
        flags: PollFlags,
        mut attempt: impl FnMut(&mut UnixStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            // Waiting first checks the deadline also for a child that answers byte by byte.
            self.process.wait(flags, self.deadline)?;
            match attempt(&mut self.process.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retry(PollFlags::IN, |socket| socket.read(buffer))
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = self.file else {
            return self.retry(PollFlags::OUT, |socket| socket.write(bytes));
        };
        let written = self.retry(PollFlags::OUT, |socket| inbox::send(socket, bytes, file))?;
        self.file = None;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Processor time that a process has used, in seconds.
fn processor_seconds(pid: Pid) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    // The name, the second field, may hold anything; its closing parenthesis is the last one. User and
    // system time are fields 14 and 15 of proc(5).
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Ok(ticks / rustix::param::clock_ticks_per_second().max(1))
}
