//! One child process: started with nothing it does not need, limited from outside, spoken to with
//! a deadline, and always reaped.
//!
//! No thread stands behind it: whoever waits for an answer drains what the child prints meanwhile.

use super::RemoteOptions;
use super::environment::variables;
use super::inbox;
use super::printed::Printed;
use super::protocol::{self, Request, Response};
use crate::engine::Output;
use crate::tensor::Buffer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process,
    kill_process_group, pidfd_open, prlimit, waitid,
};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a child that has hung up may take to end by itself, so that its own end is reported.
const GRACE: Duration = Duration::from_secs(3);
/// Descriptors that the child may have open: libraries, devices, one file.
const MAX_DESCRIPTORS: u64 = 256;

/// A running child.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    /// Whether the kernel has forgotten it, so that its id may be another's.
    is_reaped: Mutex<bool>,
    /// Over which it is asked for everything that is not a run of an instance with a socket of its own.
    socket: UnixStream,
    /// What the child prints.
    printed: Printed,
}

impl Process {
    /// Starts the program of `options`.
    pub(super) fn spawn(options: &RemoteOptions) -> io::Result<Self> {
        let (ours, theirs) = ends()?;
        let child = Command::new(&options.program)
            .args(&options.arguments)
            .env_clear()
            .envs(variables())
            // Where no file can be made, not even an empty one, which the limit on sizes allows.
            .current_dir("/proc")
            // The socket is its standard input, and both directions go over it. What models
            // print on either output is a log, and cannot be taken for an answer.
            .stdin(OwnedFd::from(theirs.socket))
            .stdout(OwnedFd::from(theirs.printed.try_clone()?))
            .stderr(OwnedFd::from(theirs.printed))
            // Its own group: a terminal's interrupt is ours to act on, and its own children die with it.
            .process_group(0)
            .spawn()?;
        Self::of(Pid::from_child(&child), ours, options)
    }

    /// Has another process fork one, which is ours all the same. The error is `Unsupported` where it never can.
    pub(super) fn fork(
        options: &RemoteOptions,
        zygote: &Self,
        trusting: bool,
        deadline: Instant,
    ) -> io::Result<Self> {
        let (ours, theirs) = ends()?;
        let request = Request::Fork { trusting };
        let files = vec![theirs.socket.as_fd(), theirs.printed.as_fd()];
        let message = Message { request: &request, buffers: &[], files };
        let pid = match zygote.call(message, deadline)?.0 {
            Response::Forked { pid } => Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?,
            Response::Failed { fault, message } => {
                let failure = protocol::failure(fault, &message);
                return Err(io::Error::new(io::ErrorKind::Unsupported, failure));
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        // Not somebody else's: only of its own children does the kernel tell.
        let of_own = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), of_own)?;
        Self::of(pid, ours, options)
    }

    fn of(pid: Pid, ours: Ends, options: &RemoteOptions) -> io::Result<Self> {
        let Ends { socket, printed } = ours;
        let printed = Printed::new(printed);
        let process = Self { pid, is_reaped: Mutex::new(false), socket, printed };
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
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", self.id()), "500");
        Ok(())
    }

    /// Gives the child this much more processor time from now on.
    pub(super) fn allow_processor_time(&self, time: Duration) -> io::Result<()> {
        let used = processor_seconds(self.pid)?;
        let limit = used.saturating_add(time.as_secs()).saturating_add(1);
        let limit = Rlimit { current: Some(limit), maximum: None };
        Ok(prlimit(Some(self.pid), Resource::Cpu, limit).map(drop)?)
    }

    /// Asks and waits for the answer, at most until `deadline`; one at a time. After an error the process is of
    /// no use any more.
    pub(super) fn call(
        &self,
        message: Message<'_>,
        deadline: Instant,
    ) -> io::Result<(Response, Vec<Output>)> {
        self.tell(&self.socket, message, deadline)?;
        self.answer_over(&self.socket, deadline)
    }

    /// Waits for the answer to what was said there.
    pub(super) fn answer_over(
        &self,
        socket: &UnixStream,
        deadline: Instant,
    ) -> io::Result<(Response, Vec<Output>)> {
        let stream = Timed { process: self, socket, deadline, files: Vec::new() };
        // One answer comes to one request: nothing behind it can be read away.
        let mut stream = BufReader::new(stream);
        let answer = protocol::read_header(&mut stream)?;
        match answer.ok_or(io::ErrorKind::UnexpectedEof)? {
            Response::Ran { outputs, phases, processor_time } => {
                let outputs = protocol::read_outputs(&mut stream, outputs)?;
                Ok((Response::Ran { outputs: Vec::new(), phases, processor_time }, outputs))
            }
            answer => Ok((answer, Vec::new())),
        }
    }

    /// Says something that is not answered.
    pub(super) fn tell(
        &self,
        socket: &UnixStream,
        message: Message<'_>,
        deadline: Instant,
    ) -> io::Result<()> {
        let mut stream = Timed { process: self, socket, deadline, files: message.files };
        protocol::write(&mut stream, message.request, message.buffers)
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Bytes of memory of its own that it has in use.
    pub(super) fn anonymous_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    }

    /// Whether it has ended since it was last asked for something.
    pub(super) fn has_ended(&self) -> bool {
        *self.is_reaped() || self.status().is_some()
    }

    /// Whether somebody has stopped it (SIGSTOP, a debugger): it neither runs nor ends.
    pub(super) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        // The state comes behind the name, which may hold anything.
        let state = stat.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next());
        matches!(state, Some('T' | 't'))
    }

    /// Waits shortly for the process to end by itself; says how it ended, `None` when it did not.
    pub(super) fn ended_by_itself(&self) -> Option<ExitStatus> {
        let timeout = Timespec::try_from(GRACE).ok();
        // Without pidfd (kernels before 5.3) a process that is slow to end is taken for one that did not.
        if let Ok(pidfd) = pidfd_open(self.pid, PidfdFlags::empty()) {
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], timeout.as_ref());
        }
        self.status()
    }

    /// How it has ended, if it has. It is not reaped by that.
    fn status(&self) -> Option<ExitStatus> {
        if *self.is_reaped() {
            return None;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.pid), options).ok().flatten()?;
        let code = status.exit_status().map(|code| code << 8);
        code.or_else(|| status.terminating_signal()).map(ExitStatus::from_raw)
    }

    /// Kills and reaps it, and what it has started.
    pub(super) fn end(&self) {
        let mut is_reaped = self.is_reaped();
        if !*is_reaped {
            // The group goes before the leader is reaped: until then its id cannot be another's. One that was just forked
            // has none yet.
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = kill_process(self.pid, Signal::KILL);
            let reap = || waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
            while reap().err() == Some(Errno::INTR) {}
            *is_reaped = true;
        }
    }

    fn is_reaped(&self) -> MutexGuard<'_, bool> {
        self.is_reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what the child prints from now on be lines of the log, by the name of its model.
    pub(super) fn log_as(&self, label: &str) {
        self.printed.log_as(label);
    }

    /// The last lines that the child printed, bounded, for the log.
    pub(super) fn last_words(&self) -> String {
        self.printed.last_words()
    }

    /// Waits until a socket is ready for `flags`, reading meanwhile what the child prints.
    fn wait(&self, socket: &UnixStream, flags: PollFlags, deadline: Instant) -> io::Result<()> {
        let mut may_print = self.printed.is_open();
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let timeout = Timespec::try_from(remaining).map_err(io::Error::other)?;
            let mut waited =
                [PollFd::new(socket, flags), PollFd::new(self.printed.stream(), PollFlags::IN)];
            let waited = if may_print { &mut waited[..] } else { &mut waited[..1] };
            match poll(waited, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let is_ready = !waited[0].revents().is_empty();
            let has_printed = waited.get(1).is_some_and(|fd| !fd.revents().is_empty());
            if has_printed {
                self.printed.drain();
                may_print = self.printed.is_open();
            }
            if is_ready {
                return Ok(());
            }
        }
    }
}

impl Drop for Process {
    /// No process outlives its handle, and none is left as a zombie.
    fn drop(&mut self) {
        self.end();
    }
}

/// One side of what leads to a child: the socket, and what is printed.
struct Ends {
    socket: UnixStream,
    printed: UnixStream,
}

/// Both sides, ours first.
fn ends() -> io::Result<(Ends, Ends)> {
    let (socket, their_socket) = UnixStream::pair()?;
    let (printed, their_printed) = UnixStream::pair()?;
    socket.set_nonblocking(true)?;
    printed.set_nonblocking(true)?;
    let theirs = Ends { socket: their_socket, printed: their_printed };
    Ok((Ends { socket, printed }, theirs))
}

/// What is asked of the child.
#[derive(Clone)]
pub(super) struct Message<'a> {
    pub(super) request: &'a Request,
    pub(super) buffers: &'a [Buffer],
    /// Descriptors that go with it.
    pub(super) files: Vec<BorrowedFd<'a>>,
}

impl<'a> Message<'a> {
    pub(super) fn with_file(request: &'a Request, file: BorrowedFd<'a>) -> Self {
        Self { request, buffers: &[], files: vec![file] }
    }
}

/// A socket of the child until a deadline.
struct Timed<'a> {
    process: &'a Process,
    socket: &'a UnixStream,
    deadline: Instant,
    /// Go with the first bytes that are written.
    files: Vec<BorrowedFd<'a>>,
}

impl Timed<'_> {
    /// Repeats `attempt` until it no longer would block, or until the deadline.
    fn retry(
        &mut self,
        flags: PollFlags,
        mut attempt: impl FnMut(&UnixStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            // Waiting first checks the deadline also for a child that answers byte by byte.
            self.process.wait(self.socket, flags, self.deadline)?;
            match attempt(self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retry(PollFlags::IN, |mut socket| socket.read(buffer))
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.files.is_empty() {
            return self.retry(PollFlags::OUT, |mut socket| socket.write(bytes));
        }
        let files = std::mem::take(&mut self.files);
        self.retry(PollFlags::OUT, |socket| inbox::send(socket, bytes, &files))
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
