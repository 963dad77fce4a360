//! Models in a child process: a loader whose models may crash or hang without harm to the caller.
//!
//! The child is the program itself, started as `engine-child`; it does as told over sockets, and
//! all policy stays with the caller, which sees a [`Loader`] like any other. Calls block.
//!
//! One child holds all models of a [`RemoteLoader`], which tries them, and is started anew after a death; one call is
//! under way at a time. Each model of an [`IsolatedLoader`], which serves them, has a child of its own.

mod child;
mod death;
mod environment;
mod handover;
mod inbox;
mod isolated;
mod printed;
mod process;
mod protocol;
mod regions;
mod sandbox;
mod shared;
mod zygote;

pub use child::{Confinement, Purpose, run_child};
pub use isolated::{IsolatedLoader, IsolationOptions};
pub use sandbox::{LAYERS as SANDBOX_LAYERS, missing_layers};
pub use zygote::run_zygote;

use super::plain_file::open_plain;
use super::{
    Artifact, Batch, Device, Engine, EngineError, Fault, Format, LoadOptions, Loader, Model,
    Output, Phases, RunOutcome, Signature, kind, package,
};
use crate::tensor::Buffer;
use handover::Handover;
use protocol::{Request, Response};
use rustix::io::Errno;
use shared::{Deadline, Shared};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    /// Whether nothing is loaded where a part of the sandbox does not hold.
    pub needs_sandbox: bool,
    /// What [`Loader::devices`] answers.
    pub devices: Vec<Device>,
}

impl RemoteOptions {
    /// The argument that makes the program a child.
    pub const ARGUMENT: &str = "engine-child";

    /// What makes it a child for files that are vouched for.
    pub const TRUSTING: &str = "--trusting";

    /// What makes it a child that serves.
    pub const SERVING: &str = "--serving";

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
            needs_sandbox: false,
            devices: vec![Device::Cpu],
        })
    }

    /// What makes it a process from which such are forked.
    const ZYGOTE: &str = "--zygote";

    fn with_flag(&self, flag: &str) -> Self {
        let mut options = self.clone();
        if let Some(at) = options.arguments.iter().position(|it| it == Self::ARGUMENT) {
            options.arguments.insert(at + 1, flag.into());
        }
        options
    }

    /// For files that are vouched for.
    fn trusting(&self) -> Self {
        self.with_flag(Self::TRUSTING)
    }

    /// For a child that serves.
    fn serving(&self) -> Self {
        self.with_flag(Self::SERVING)
    }

    /// What it means that parts of the sandbox do not hold in a child.
    fn judge(&self, unconfined: &[String], has_warned: &AtomicBool) -> Result<(), EngineError> {
        let missing = unconfined.join("; ");
        if self.needs_sandbox && !missing.is_empty() {
            let text = format!(
                "a part of the sandbox does not hold here, and isolation.require_sandbox asks for it: {missing}"
            );
            return Err(EngineError::new(Fault::Environment, text));
        }
        if !missing.is_empty() && !has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                missing,
                "Models run without a part of their sandbox: their code can reach files or the network"
            );
        }
        Ok(())
    }

    fn cannot_start(&self, error: &io::Error) -> EngineError {
        let program = self.program.display();
        let text = format!("cannot start a child process of {program}: {error}");
        EngineError::new(fault_of(error), text)
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

/// Whether there is too little of something that others give back.
fn is_shortage(error: &io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::NOBUFS];
    Errno::from_io_error(error).is_some_and(|it| short.contains(&it))
}

/// What a process or thread that cannot be started means.
fn fault_of(error: &io::Error) -> Fault {
    if is_shortage(error) { Fault::OutOfMemory } else { Fault::Internal }
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
        let trusting = options.trusting();
        let shared = |options| {
            let (has_warned, state) = (AtomicBool::new(false), Mutex::default());
            Arc::new(Shared { options, has_warned, state })
        };
        Self { shared: shared(options), trusting: shared(trusting) }
    }

    /// The child that is to load a file. Native code has one of its own, which ends with the model: nothing unloads it, and no
    /// other model is tried behind it.
    fn child_for(&self, artifact: &Artifact) -> Arc<Shared> {
        if artifact.format.is_native() {
            let options = self.shared.options.clone();
            let has_warned = AtomicBool::new(self.shared.has_warned.load(Ordering::Relaxed));
            return Arc::new(Shared { options, has_warned, state: Mutex::default() });
        }
        Arc::clone(if artifact.is_unconfined() { &self.trusting } else { &self.shared })
    }
}

impl Loader for RemoteLoader {
    fn load(
        &self,
        artifact: &Artifact,
        options: &LoadOptions,
    ) -> Result<Box<dyn Model>, EngineError> {
        let shared = self.child_for(artifact);
        let timeout = shared.options.timeout;
        let deadline = Deadline::after(options.within.map_or(timeout, |it| it.min(timeout)));
        // The child may open no files: it gets this one as a descriptor.
        let handover = Handover::of(artifact, shared.options.memory_bytes)?;
        let request = handover.request(artifact, options);
        let (generation, answer) = shared.load(&request, handover.files(), deadline)?;
        let Response::Loaded { model, signature, memory, unconfined } = answer else {
            return Err(shared.wrong_answer(generation));
        };
        shared.options.judge(&unconfined, &shared.has_warned)?;
        let (signature, memory) = handover.facts(signature.into(), memory);
        let link = Arc::new(Link { shared, generation, model, deadline });
        Ok(Box::new(RemoteModel { link, signature, memory }))
    }

    fn damage(&self, artifact: &Artifact) -> io::Result<Option<String>> {
        let max_bytes = self.shared.options.memory_bytes.unwrap_or(u64::MAX);
        let mut file = open_plain(&artifact.path, 0)?;
        let damage = match artifact.format {
            Format::TorchScript => kind::damage(&mut file, max_bytes)?,
            Format::AotInductor => package::damage(&mut file, max_bytes)?,
        };
        Ok(damage.map(|damage| format!("the model file is no whole archive: {damage}")))
    }

    fn devices(&self) -> Vec<Device> {
        self.shared.options.devices.clone()
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
        let (request, buffers) = protocol::run_request(self.instance, &batch.inputs, |_| None);
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
