//! Children that are forked from a process which has the libraries in its memory, and are not started anew: that saves the
//! third of a second of processor time that linking them takes, and what each start makes of them, 56 MiB.
//!
//! The zygote has one thread and loads no model. What it forks belongs to the server and not to it (`CLONE_PARENT`), so that a
//! child is waited for and ended like any other. All children of one have the same places in their address spaces.

use super::child::{Confinement, Purpose, die_with_parent, live, take_stdin};
use super::inbox::{Inbox, ReceivedFiles};
use super::process::Process;
use super::protocol::{self, Request, Response};
use super::{RemoteOptions, is_shortage};
use crate::engine::{Device, EngineError, Fault, Loader};
use rustix::process::setpgid;
use rustix::thread::set_no_new_privs;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long forking may take, which takes milliseconds: a zygote that was stopped must not hold up what a new one does.
const LONGEST_FORK: Duration = Duration::from_secs(5);
/// How long the first try waits that follows a shortage; each further one twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where children come from.
#[derive(Debug)]
pub(super) struct Nursery {
    /// How the zygote is started.
    options: RemoteOptions,
    zygote: Mutex<Zygote>,
}

#[derive(Debug)]
enum Zygote {
    /// Not started yet, or it is gone.
    Absent,
    There(Process),
    /// Nothing can be forked here: each child is started anew.
    Unfit,
}

impl Nursery {
    /// One of this program, for the options of its children.
    pub(super) fn new(child: &RemoteOptions) -> Self {
        // CUDA does not survive a fork.
        let is_fit = child.devices == [Device::Cpu];
        let zygote = if is_fit { Zygote::Absent } else { Zygote::Unfit };
        Self { options: child.with_flag(RemoteOptions::ZYGOTE), zygote: Mutex::new(zygote) }
    }

    /// A child, forked or started. Where descriptors, processes or memory are short for it, it is tried again until
    /// `deadline`: others give theirs back.
    pub(super) fn child_by(
        &self,
        options: &RemoteOptions,
        trusting: bool,
        deadline: Instant,
    ) -> io::Result<Process> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.child(options, trusting) {
                Err(error) if is_shortage(&error) => error,
                outcome => return outcome,
            };
            if pause == FIRST_PAUSE {
                tracing::warn!(%error, "A process that is to serve a model cannot be started yet and is tried again");
            }
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn child(&self, options: &RemoteOptions, trusting: bool) -> io::Result<Process> {
        match self.forked(options, trusting) {
            Some(child) => Ok(child),
            None => Process::spawn(options),
        }
    }

    fn forked(&self, options: &RemoteOptions, trusting: bool) -> Option<Process> {
        let mut zygote = self.zygote.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = matches!(&*zygote, Zygote::There(process) if !process.has_ended());
        if !is_there && !matches!(*zygote, Zygote::Unfit) {
            *zygote = Zygote::There(Process::spawn(&self.options).ok()?);
        }
        let Zygote::There(process) = &*zygote else { return None };
        let deadline = Instant::now() + options.timeout.min(LONGEST_FORK);
        let error = match Process::fork(options, process, trusting, deadline) {
            Ok(child) => return Some(child),
            Err(error) => error,
        };
        let last_words = process.last_words();
        tracing::warn!(%error, last_words, "A process that is to serve a model could not be forked and is started anew");
        // One that was killed is no reason to do without another.
        let is_fit = error.kind() != io::ErrorKind::Unsupported;
        *zygote = if is_fit { Zygote::Absent } else { Zygote::Unfit };
        None
    }
}

/// Serves the parent over the socket that is this process's standard input by forking children, until the parent hangs up.
/// `fork` forks a sibling of this process and says its id, or nothing in that one.
///
/// # Errors
///
/// The socket failed, or the loader cannot be made.
pub fn run_zygote(
    loader: impl FnOnce() -> Result<Arc<dyn Loader>, EngineError>,
    fork: impl Fn() -> io::Result<Option<i32>>,
) -> io::Result<()> {
    let socket = UnixStream::from(take_stdin()?);
    let _ = set_no_new_privs(true);
    let loader = loader().map_err(io::Error::other)?;
    let received = ReceivedFiles::default();
    let mut input = Inbox::new(socket.try_clone()?, received.clone());
    while let Some(request) = protocol::read_header(&mut input)? {
        let forked = match request {
            Request::Fork { trusting } => fork_child(&received, trusting, &fork),
            _ => Err(EngineError::new(Fault::Internal, "a zygote only forks")),
        };
        let answer = match forked {
            Ok(Child::Ours(child)) => {
                drop((socket, input));
                return child.live(loader);
            }
            Ok(Child::Forked(pid)) => Response::Forked { pid },
            Err(error) => Response::failed(error),
        };
        protocol::write(&mut &socket, &answer, &[])?;
    }
    Ok(())
}

/// What comes of a fork.
enum Child {
    /// This process is the child.
    Ours(Newborn),
    /// This process is the zygote, and that the id of the child.
    Forked(i32),
}

/// What a child begins with.
struct Newborn {
    socket: OwnedFd,
    printed: OwnedFd,
    confinement: Confinement,
}

fn fork_child(
    received: &ReceivedFiles,
    trusting: bool,
    fork: impl Fn() -> io::Result<Option<i32>>,
) -> Result<Child, EngineError> {
    let failed = |text: String| EngineError::new(Fault::Unsupported, text);
    let (Some(socket), Some(printed)) = (received.take(), received.take()) else {
        return Err(failed("a child needs two sockets".to_owned()));
    };
    let n_threads = fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if n_threads != 1 {
        return Err(failed(format!("there are {n_threads} threads, and only one would be forked")));
    }
    Ok(match fork().map_err(|error| failed(error.to_string()))? {
        Some(pid) => Child::Forked(pid),
        None => Child::Ours(Newborn {
            socket: socket.into(),
            printed: printed.into(),
            confinement: if trusting { Confinement::Trust } else { Confinement::Sandbox },
        }),
    })
}

impl Newborn {
    fn live(self, loader: Arc<dyn Loader>) -> io::Result<()> {
        // As when it is started anew: a group of its own, and what it prints goes to whoever asked for it.
        setpgid(None, None)?;
        rustix::stdio::dup2_stdout(&self.printed)?;
        rustix::stdio::dup2_stderr(&self.printed)?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        drop(self.printed);
        die_with_parent(self.socket.try_clone()?)?;
        live(self.socket, Purpose::Service, self.confinement, loader)
    }
}
