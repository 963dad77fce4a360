//! Models in a child process: a loader whose models may crash or hang without harm to the caller.
//!
//! The child is the program itself, started as `engine-child`; it does as told over one socket, and
//! all policy stays with the caller, which sees a [`Loader`] like any other. One child holds all
//! models of a loader and is started anew after a death. Calls block; one is under way at a time.

mod child;
mod death;
mod inbox;
mod process;
mod protocol;
mod sandbox;

pub use child::{Confinement, run_child};

use super::{
    Artifact, Batch, Death, Device, Engine, EngineError, Fault, Format, LoadOptions, Loader, Model,
    Output, Phases, RunOutcome, Signature, kind,
};
use crate::tensor::Buffer;
use process::{Message, Process};
use protocol::{Request, Response, WireDataType, WireFormat};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a run may go on when its batch's deadline has passed: nobody waits for it any more, but ending it ends the child,
/// with all models in it.
const RUN_GRACE: Duration = Duration::from_secs(1);
/// How long giving back a model or an instance may take when its deadline has passed already.
const UNLOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How the child is started and held in check.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// The program, usually this one; an absolute path.
    pub program: PathBuf,
    /// What makes it a child: [`RemoteOptions::ARGUMENT`], and behind it the libraries that it is to load.
    pub arguments: Vec<OsString>,
    /// How long a model may take for everything together, from the start of its load.
    pub timeout: Duration,
    /// Processor time that a model may use for everything together.
    pub processor_time: Option<Duration>,
    /// Writable memory that the child may have. Not for CUDA devices, whose driver maps at will.
    pub memory_bytes: Option<u64>,
    /// What [`Loader::devices`] answers.
    pub devices: Vec<Device>,
}

impl RemoteOptions {
    /// The argument that makes the program a child.
    pub const ARGUMENT: &str = "engine-child";

    /// What makes it a child for files that are vouched for.
    pub const TRUSTING: &str = "--trusting";

    /// This program as the child, with the CPU as its device.
    ///
    /// # Errors
    ///
    /// The path of the running program is not known.
    pub fn of_this_program(timeout: Duration) -> io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            arguments: vec![Self::ARGUMENT.into()],
            timeout,
            processor_time: None,
            memory_bytes: None,
            devices: vec![Device::Cpu],
        })
    }

    /// Has the child load these shared objects before any model.
    #[must_use]
    pub fn with_libraries(mut self, libraries: &[PathBuf]) -> Self {
        // The child works in another folder. A path that cannot be made absolute is an empty one, which is no library's.
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        self.arguments.extend(libraries.iter().map(|path| absolute(path).into()));
        self
    }
}

/// Loads models in a child process.
#[derive(Debug)]
pub struct RemoteLoader {
    shared: Arc<Shared>,
    /// The same for files that are vouched for, which have a child of their own.
    trusting: Arc<Shared>,
}

impl RemoteLoader {
    /// A loader that starts its child with the first load.
    #[must_use]
    pub fn new(options: RemoteOptions) -> Self {
        let mut trusting = options.clone();
        if let Some(at) = trusting.arguments.iter().position(|it| it == RemoteOptions::ARGUMENT) {
            trusting.arguments.insert(at + 1, RemoteOptions::TRUSTING.into());
        }
        let shared = |options| {
            let (has_warned, state) = (AtomicBool::new(false), Mutex::default());
            Arc::new(Shared { options, has_warned, state })
        };
        Self { shared: shared(options), trusting: shared(trusting) }
    }
}

impl Loader for RemoteLoader {
    fn load(
        &self,
        artifact: &Artifact,
        options: &LoadOptions,
    ) -> Result<Box<dyn Model>, EngineError> {
        let shared = if artifact.is_trusted { &self.trusting } else { &self.shared };
        let timeout = shared.options.timeout;
        let deadline = Deadline::after(options.within.map_or(timeout, |it| it.min(timeout)));
        // The child may open no files: it gets this one as a descriptor.
        let file = artifact.open()?;
        let request = Request::Load {
            format: WireFormat(artifact.format),
            device: options.device.to_string(),
            intra_op_threads: options.intra_op_threads,
            form: options.form.to_string(),
            outputs: options.outputs.iter().map(|&it| WireDataType(it)).collect(),
        };
        let (generation, answer) = shared.load(&request, &file, deadline)?;
        let Response::Loaded { model, signature, memory, unconfined } = answer else {
            return Err(shared.wrong_answer(generation));
        };
        if !unconfined.is_empty() && !shared.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                missing = unconfined.join("; "),
                "The trial of models runs without a part of its sandbox: their code can reach files or the network"
            );
        }
        let link = Arc::new(Link { shared: Arc::clone(shared), generation, model, deadline });
        Ok(Box::new(RemoteModel { link, signature: signature.into(), memory }))
    }

    fn damage(&self, artifact: &Artifact) -> io::Result<Option<String>> {
        let max_bytes = self.shared.options.memory_bytes.unwrap_or(u64::MAX);
        match artifact.format {
            Format::TorchScript => kind::damage(&mut File::open(&artifact.path)?, max_bytes),
        }
    }

    fn devices(&self) -> Vec<Device> {
        self.shared.options.devices.clone()
    }
}

/// When the time for something is up.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    /// How long that was at first; `None` where it is that of the requests of a batch.
    limit: Option<Duration>,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit: Some(limit) }
    }

    /// The earlier of this one and that of a run whose batch has such a deadline.
    fn of_run(self, batch: Option<Instant>) -> Self {
        match batch.map(|deadline| deadline + RUN_GRACE) {
            Some(at) if at < self.at => Self { at, limit: None },
            _ => self,
        }
    }

    /// The later of this one and `limit` from now.
    fn or_after(self, limit: Duration) -> Self {
        let other = Self::after(limit);
        if other.at > self.at { other } else { self }
    }
}

/// What the loader, its models and their engines share: the child.
#[derive(Debug)]
struct Shared {
    options: RemoteOptions,
    /// Whether the log says that the sandbox is not whole.
    has_warned: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    /// Counts the children. Ids of a model are worth nothing in another child.
    generation: u64,
}

impl Shared {
    /// Loads in the running child, or in a new one.
    fn load(
        &self,
        request: &Request,
        file: &File,
        deadline: Deadline,
    ) -> Result<(u64, Response), EngineError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.process.as_mut().is_none_or(Process::has_ended) {
            let process = Process::spawn(&self.options).map_err(|error| {
                let program = self.options.program.display();
                EngineError::new(
                    Fault::Internal,
                    format!("cannot start a child process of {program}: {error}"),
                )
            })?;
            state.generation += 1;
            state.process = Some(process);
        }
        if let (Some(process), Some(time)) = (&state.process, self.options.processor_time)
            && let Err(error) = process.allow_processor_time(time)
        {
            tracing::warn!(%error, "the child's processor time cannot be limited");
        }
        let generation = state.generation;
        let (answer, _) = self.exchange(&mut state, Message::with_file(request, file), deadline)?;
        Ok((generation, answer))
    }

    /// One exchange with the child of that generation.
    fn call(
        &self,
        generation: u64,
        request: &Request,
        buffers: &[Buffer],
        deadline: Deadline,
    ) -> Result<(Response, Vec<Output>), EngineError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation {
            return Err(gone());
        }
        self.exchange(&mut state, Message { request, buffers, file: None }, deadline)
    }

    fn exchange(
        &self,
        state: &mut State,
        message: Message<'_>,
        deadline: Deadline,
    ) -> Result<(Response, Vec<Output>), EngineError> {
        let Some(process) = &mut state.process else {
            return Err(gone());
        };
        let error = match process.call(message, deadline.at) {
            Ok((Response::Failed { fault, message }, _)) => {
                let error = protocol::failure(fault, &message);
                if error.fault != Fault::Device {
                    return Err(error);
                }
                // Only a new process recovers from this one.
                error
            }
            Ok(answer) => return Ok(answer),
            Err(error) => {
                let error = explain(process, &error, deadline);
                let last_words = process.last_words();
                tracing::warn!(%error, last_words, "the child process was given up");
                error
            }
        };
        state.process = None;
        Err(error)
    }

    /// An answer that does not belong to its request: whatever runs there, it is not our program.
    fn wrong_answer(&self, generation: u64) -> EngineError {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.generation == generation {
            state.process = None;
        }
        EngineError::new(
            Fault::Died(Death::Crashed),
            "the process that ran the model gave another call's answer",
        )
    }
}

/// A model whose child has died before.
fn gone() -> EngineError {
    EngineError::new(Fault::Died(Death::Crashed), "the process that held the model is gone")
}

/// What a broken exchange says about the child, which is about to be dropped.
fn explain(process: &mut Process, error: &io::Error, deadline: Deadline) -> EngineError {
    match error.kind() {
        io::ErrorKind::TimedOut => {
            let message = match deadline.limit {
                Some(limit) => format!("did not answer within {} s", limit.as_secs_f64()),
                None => "did not answer before the deadline of its requests".to_owned(),
            };
            EngineError::new(Fault::TimedOut, message)
        }
        io::ErrorKind::InvalidData => EngineError::new(
            Fault::Died(Death::Crashed),
            format!("the process that ran the model sent no answer but {error}"),
        ),
        _ => {
            let status = process.ended_by_itself();
            let how = status
                .map_or_else(|| "closed its connection and was ended".to_owned(), death::describe);
            let death = status.map_or(Death::Crashed, death::death);
            EngineError::new(Fault::Died(death), format!("the process that ran the model {how}"))
        }
    }
}

/// A model's place in the child; held by the model and its engines, and given back by the last.
#[derive(Debug)]
struct Link {
    shared: Arc<Shared>,
    generation: u64,
    model: u64,
    deadline: Deadline,
}

impl Link {
    fn call(
        &self,
        request: &Request,
        buffers: &[Buffer],
        deadline: Deadline,
    ) -> Result<(Response, Vec<Output>), EngineError> {
        self.shared.call(self.generation, request, buffers, deadline)
    }

    fn give_back(&self, request: &Request) {
        let deadline = self.deadline.or_after(UNLOAD_TIMEOUT);
        // A child that fails here is ended, and then it holds nothing either.
        let _ = self.shared.call(self.generation, request, &[], deadline);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.give_back(&Request::Unload { model: self.model });
    }
}

/// A model that lives in the child.
#[derive(Debug)]
struct RemoteModel {
    link: Arc<Link>,
    signature: Signature,
    memory: u64,
}

impl Model for RemoteModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn instance(&self) -> Result<Box<dyn Engine>, EngineError> {
        let request = Request::Instance { model: self.link.model };
        let (Response::Instance { instance }, _) =
            self.link.call(&request, &[], self.link.deadline)?
        else {
            return Err(self.link.shared.wrong_answer(self.link.generation));
        };
        Ok(Box::new(RemoteEngine { link: Arc::clone(&self.link), instance }))
    }
}

/// An instance that lives in the child.
#[derive(Debug)]
struct RemoteEngine {
    link: Arc<Link>,
    instance: u64,
}

impl Engine for RemoteEngine {
    fn run(&mut self, batch: Batch) -> Result<RunOutcome, EngineError> {
        let (request, buffers) = protocol::run_request(self.instance, &batch.inputs);
        let (answer, outputs) =
            self.link.call(&request, &buffers, self.link.deadline.of_run(batch.deadline))?;
        let Response::Ran { phases: [input, compute, output], processor_time, .. } = answer else {
            return Err(self.link.shared.wrong_answer(self.link.generation));
        };
        Ok(RunOutcome { outputs, phases: Phases { input, compute, output }, processor_time })
    }
}

impl Drop for RemoteEngine {
    fn drop(&mut self) {
        self.link.give_back(&Request::Discard { instance: self.instance });
    }
}

#[cfg(test)]
mod tests;
