//! A model that serves from a child process of its own: what its runs may do to a process, they do to that one.
//!
//! The model's instances live in one child, each with a socket of its own, so that several runs are under way at once. A child
//! that dies is followed by another with the next instance that is asked for; how often, is limited.

use super::RemoteOptions;
use super::process::{Message, Process};
use super::protocol::{self, Request, Response};
use super::regions::{News, Regions};
use super::shared::{Deadline, explain};
use super::zygote::Nursery;
use crate::engine::{
    Artifact, Batch, Death, DeathWatcher, Device, Engine, EngineError, Fault, LoadOptions, Loader,
    Model, Phases, RunOutcome, Signature,
};
use crate::tensor::{Buffer, BufferMut, Tensor};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// In how long a time deaths are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// How long the first start waits that follows two deaths with no answer between them; each further one twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long a start waits at most: a version that is unloaded meanwhile waits with it.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Starts in a row that may fail.
const MAX_STARTS: usize = 5;

/// How children that serve are started and followed.
#[derive(Debug, Clone)]
pub struct IsolationOptions {
    /// How each is started and held in check; its timeout is for loading and for whatever has no time of its own.
    pub child: RemoteOptions,
    /// Deaths of a model's children within a minute after which no other is started.
    pub max_deaths: usize,
}

/// Loads each model in a child process of its own.
#[derive(Debug)]
pub struct IsolatedLoader {
    options: IsolationOptions,
    nursery: Arc<Nursery>,
    /// Whether the log says that the sandbox is not whole.
    has_warned: Arc<AtomicBool>,
}

impl IsolatedLoader {
    /// A loader that starts a child with each load.
    #[must_use]
    pub fn new(options: IsolationOptions) -> Self {
        let nursery = Arc::new(Nursery::new(&options.child));
        let child = options.child.serving();
        let options = IsolationOptions { child, ..options };
        Self { options, nursery, has_warned: Arc::default() }
    }
}

impl Loader for IsolatedLoader {
    fn load(
        &self,
        artifact: &Artifact,
        options: &LoadOptions,
    ) -> Result<Box<dyn Model>, EngineError> {
        let child = &self.options.child;
        let child = if artifact.is_trusted { child.trusting() } else { child.clone() };
        let file = artifact.open()?;
        let facts = FileFacts::of(&file).map_err(|error| {
            EngineError::new(Fault::InvalidFile, format!("the model file cannot be read: {error}"))
        })?;
        let home = Home {
            label: artifact.label.clone(),
            is_trusted: artifact.is_trusted,
            nursery: Arc::clone(&self.nursery),
            options: IsolationOptions { child, ..self.options.clone() },
            request: Request::load(artifact.format, options),
            facts,
            file,
            state: Mutex::default(),
            watcher: Mutex::default(),
            has_warned: Arc::clone(&self.has_warned),
        };
        let loaded = home.start(options.within)?;
        let Loaded { signature, memory, child } = loaded;
        home.state().child = Some(child);
        Ok(Box::new(IsolatedModel { home: Arc::new(home), signature, memory }))
    }

    fn devices(&self) -> Vec<Device> {
        self.options.child.devices.clone()
    }
}

/// By which a file is known that was looked at before.
#[derive(Debug, PartialEq, Eq)]
struct FileFacts {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Changes with every change, and cannot be set.
    changed: (i64, i64),
}

impl FileFacts {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Ok(Self { bytes: metadata.len(), modified: metadata.modified().ok(), changed })
    }
}

/// What a model, its engines and its children have in common.
#[derive(Debug)]
struct Home {
    /// What the log calls the model.
    label: String,
    /// Whether the file is vouched for.
    is_trusted: bool,
    nursery: Arc<Nursery>,
    options: IsolationOptions,
    /// By which a child loads it.
    request: Request,
    /// Open, so that another child gets the same one.
    file: Arc<File>,
    facts: FileFacts,
    state: Mutex<State>,
    watcher: Mutex<Option<Watcher>>,
    has_warned: Arc<AtomicBool>,
}

struct Watcher(DeathWatcher);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

#[derive(Debug, Default)]
struct State {
    child: Option<Arc<ServingChild>>,
    /// When children died, within [`WINDOW`].
    deaths: VecDeque<Instant>,
    /// How many have died since one answered.
    in_a_row: u32,
}

/// A child in which the model is loaded.
#[derive(Debug)]
struct ServingChild {
    process: Process,
    model: u64,
    /// Held for as long as it is asked for something over the socket that is for everything.
    asking: Mutex<()>,
    has_answered: AtomicBool,
    /// What is known of its death.
    end: Mutex<Option<EngineError>>,
}

impl ServingChild {
    /// Why it is gone, if it is known to be.
    fn end(&self) -> Option<EngineError> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Loaded {
    child: Arc<ServingChild>,
    signature: Signature,
    memory: u64,
}

impl Home {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a child and loads the model in it.
    fn start(&self, within: Option<Duration>) -> Result<Loaded, EngineError> {
        let options = &self.options.child;
        if !FileFacts::of(&self.file).is_ok_and(|facts| facts == self.facts) {
            let text = "the model file changed since it was loaded, and cannot be loaded again";
            return Err(EngineError::new(Fault::InvalidFile, text));
        }
        let timeout = options.timeout;
        let deadline = Deadline::after(within.map_or(timeout, |it| it.min(timeout)));
        let process = self.nursery.child(options, self.is_trusted);
        let process = process.map_err(|error| options.cannot_start(&error))?;
        let message = Message::with_file(&self.request, self.file.as_fd());
        let answer = process.call(message, deadline.at);
        let answer = answer.map_err(|error| explain(&process, &error, deadline))?.0;
        match answer {
            Response::Loaded { model, signature, memory, unconfined } => {
                options.judge(&unconfined, &self.has_warned)?;
                let child = Arc::new(ServingChild {
                    process,
                    model,
                    asking: Mutex::default(),
                    has_answered: AtomicBool::new(false),
                    end: Mutex::default(),
                });
                Ok(Loaded { child, signature: signature.into(), memory })
            }
            Response::Failed { fault, message } => Err(protocol::failure(fault, &message)),
            _ => Err(another_answer()),
        }
    }

    /// The child that serves, or another one in place of one that has died.
    fn child(&self) -> Result<Arc<ServingChild>, EngineError> {
        let mut state = self.state();
        for _ in 0..MAX_STARTS {
            if let Some(child) = &state.child
                && child.end().is_none()
            {
                if !child.process.has_ended() {
                    return Ok(Arc::clone(child));
                }
                let child = Arc::clone(child);
                let error = io::ErrorKind::UnexpectedEof.into();
                self.bury(&mut state, &child, &error, Deadline::after(Duration::ZERO));
            }
            self.may_start(&mut state)?;
            match self.start(None) {
                Ok(Loaded { child, .. }) => {
                    tracing::info!(model = %self.label, pid = child.process.id(), "A new process runs the model");
                    state.child = Some(child);
                }
                Err(error) if is_end(error.fault) => self.count_death(&mut state, &error, ""),
                Err(error) => return Err(error),
            }
        }
        let text = "the processes that were to run the model ended before they could";
        Err(EngineError::new(Fault::Died(Death::Crashed), text))
    }

    /// Waits as long as the deaths before want it; an error when there were too many.
    fn may_start(&self, state: &mut State) -> Result<(), EngineError> {
        let now = Instant::now();
        while state.deaths.front().is_some_and(|&at| now.duration_since(at) > WINDOW) {
            state.deaths.pop_front();
        }
        let (n_deaths, maximum) = (state.deaths.len(), self.options.max_deaths);
        if n_deaths > maximum {
            let text = format!(
                "the process that runs the model died {n_deaths} times within a minute, at most {maximum} times it is started again (isolation.max_deaths)"
            );
            return Err(EngineError::new(Fault::Died(Death::Crashed), text));
        }
        if let Some(doublings) = state.in_a_row.checked_sub(2) {
            std::thread::sleep((FIRST_PAUSE * (1 << doublings.min(8))).min(LONGEST_PAUSE));
        }
        Ok(())
    }

    /// What a broken exchange says of the child, which is ended if it has not ended by itself.
    fn broke_off(
        &self,
        child: &Arc<ServingChild>,
        error: &io::Error,
        deadline: Deadline,
    ) -> EngineError {
        let mut state = self.state();
        if let Some(known) = child.end() {
            // This exchange had no part in it, as far as is known.
            let fault = match known.fault {
                Fault::Died(death) => Fault::Died(death),
                _ => Fault::Died(Death::Terminated),
            };
            return EngineError::new(fault, known.message);
        }
        self.bury(&mut state, child, error, deadline)
    }

    fn bury(
        &self,
        state: &mut State,
        child: &Arc<ServingChild>,
        error: &io::Error,
        deadline: Deadline,
    ) -> EngineError {
        let end = explain(&child.process, error, deadline);
        child.process.end();
        *child.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end.clone());
        if child.has_answered.load(Ordering::Relaxed) {
            state.in_a_row = 0;
        }
        self.count_death(state, &end, &child.process.last_words());
        end
    }

    fn count_death(&self, state: &mut State, end: &EngineError, last_words: &str) {
        state.deaths.push_back(Instant::now());
        state.in_a_row = state.in_a_row.saturating_add(1);
        tracing::warn!(model = %self.label, reason = %end, last_words, "The process that runs the model is gone");
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Watcher(watcher)) = &*watcher {
            watcher(end);
        }
    }
}

/// Whether a fault is the end of the process.
const fn is_end(fault: Fault) -> bool {
    matches!(fault, Fault::Died(_) | Fault::TimedOut)
}

/// Whatever runs there, it is not our program.
fn another_answer() -> EngineError {
    let text = "the process that ran the model gave another call's answer";
    EngineError::new(Fault::Died(Death::Crashed), text)
}

/// A model in a child of its own.
#[derive(Debug)]
struct IsolatedModel {
    home: Arc<Home>,
    signature: Signature,
    memory: u64,
}

impl IsolatedModel {
    fn instance_of(&self, child: Arc<ServingChild>) -> Result<IsolatedEngine, EngineError> {
        let deadline = Deadline::after(self.home.options.child.timeout);
        let failed = |error: io::Error| EngineError::new(Fault::Internal, error.to_string());
        let (socket, theirs) = UnixStream::pair().map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let request = Request::Instance { model: child.model };
        let message = Message::with_file(&request, theirs.as_fd());
        let answer = {
            let _turn = child.asking.lock().unwrap_or_else(PoisonError::into_inner);
            child.process.call(message, deadline.at)
        };
        match answer {
            Ok((Response::Instance { .. }, _)) => {}
            Ok((Response::Failed { fault, message }, _)) => {
                return Err(protocol::failure(fault, &message));
            }
            Ok(_) => return Err(self.home.broke_off(&child, &foreign(), deadline)),
            Err(error) => return Err(self.home.broke_off(&child, &error, deadline)),
        }
        let regions = Regions::default();
        Ok(IsolatedEngine { home: Arc::clone(&self.home), child, socket, regions })
    }
}

/// As an error of a stream.
fn foreign() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "another call's answer")
}

impl Model for IsolatedModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn instance(&self) -> Result<Box<dyn Engine>, EngineError> {
        for _ in 1..MAX_STARTS {
            match self.instance_of(self.home.child()?) {
                Err(error) if is_end(error.fault) => {}
                outcome => return Ok(Box::new(outcome?)),
            }
        }
        Ok(Box::new(self.instance_of(self.home.child()?)?))
    }

    fn watch_deaths(&self, watcher: DeathWatcher) {
        let mut first = self.home.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(Watcher(watcher));
    }

    fn is_isolated(&self) -> bool {
        true
    }
}

/// An instance in that child. When the child has died it is of no more use.
#[derive(Debug)]
struct IsolatedEngine {
    home: Arc<Home>,
    child: Arc<ServingChild>,
    socket: UnixStream,
    /// In which its inputs lie.
    regions: Regions,
}

impl Engine for IsolatedEngine {
    fn run(&mut self, batch: Batch) -> Result<RunOutcome, EngineError> {
        let deadline = match batch.until {
            Some(at) => Deadline::of_requests(at),
            None => Deadline::after(self.home.options.child.timeout),
        };
        let place = |input: Option<Tensor>| input.map(|tensor| self.regions.placed(tensor));
        let inputs: Vec<_> = batch.inputs.into_iter().map(place).collect();
        let place = |buffer: &Buffer| self.regions.place(buffer);
        let (request, buffers) = protocol::run_request(0, &inputs, place);
        let message = Message { request: &request, buffers: &buffers, files: Vec::new() };
        let process = &self.child.process;
        let told =
            self.tell(deadline).and_then(|()| process.tell(&self.socket, message, deadline.at));
        if let Err(error) = told {
            // What does not have the whole of a run does not run it.
            let end = self.home.broke_off(&self.child, &error, deadline);
            return Err(EngineError::new(Fault::Died(Death::Before), end.message));
        }
        let broken = match process.answer_over(&self.socket, deadline.at) {
            Ok((
                Response::Ran { phases: [input, compute, output], processor_time, .. },
                outputs,
            )) => {
                self.child.has_answered.store(true, Ordering::Relaxed);
                let phases = Phases { input, compute, output };
                return Ok(RunOutcome { outputs, phases, processor_time });
            }
            Ok((Response::Failed { fault, message }, _)) => {
                let error = protocol::failure(fault, &message);
                if error.fault != Fault::Device {
                    self.child.has_answered.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                // Only a new process recovers from this one.
                io::Error::new(io::ErrorKind::InvalidData, error.message)
            }
            Ok(_) => foreign(),
            Err(error) => error,
        };
        Err(self.home.broke_off(&self.child, &broken, deadline))
    }

    fn buffer(&mut self, bytes: usize) -> BufferMut {
        self.regions.buffer(bytes)
    }
}

impl IsolatedEngine {
    /// Tells the child of regions that are new or gone.
    fn tell(&self, deadline: Deadline) -> io::Result<()> {
        let News { new, gone: regions } = self.regions.news();
        let tell =
            |message: Message<'_>| self.child.process.tell(&self.socket, message, deadline.at);
        if !regions.is_empty() {
            let request = Request::Forget { regions };
            tell(Message { request: &request, buffers: &[], files: Vec::new() })?;
        }
        for (region, file) in new {
            tell(Message::with_file(&Request::Region { region }, file.as_fd()))?;
        }
        Ok(())
    }
}
