//! The child's side: answers the parent's requests with a loader of its own.
//!
//! What runs here may crash, hang or eat memory: that is what the child is for. It decides nothing.
//! The limits on it are set by the parent, from outside, before the first request.

use super::fault_of;
use super::inbox::{Inbox, ReceivedFiles};
use super::protocol::{self, Request, Response, Views, WirePackage, WireSignature};
use super::sandbox;
use crate::engine::{
    Artifact, Batch, Device, Engine, EngineError, Fault, LoadOptions, Loader, Model, RunOutcome,
    STACK_BYTES,
};
use crate::tensor::{Buffer, Tensor};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::nice;
use rustix::thread::set_no_new_privs;
use rustix::time::{ClockId, clock_gettime};
use sealed_memory::View;
use std::any::Any;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

/// How much the child steps back behind the server.
const NICENESS: i32 = 5;
/// How much more stack models have in the server than here.
const STACK_MARGIN: usize = 2 << 20;

/// What the child may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// What libtorch needs.
    Sandbox,
    /// What the server's user may: somebody vouches for the files.
    Trust,
}

/// What the child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Models are tried one after the other, behind everything else that the machine does.
    Trial,
    /// One model serves: as much stack, and as much of the processor, as in the server itself.
    Service,
}

impl Purpose {
    /// The name of the thread that loads models.
    const fn thread(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Service => "service",
        }
    }

    const fn stack(self) -> usize {
        match self {
            // Less stack than the server's threads have: what fits here, fits there.
            Self::Trial => STACK_BYTES - STACK_MARGIN,
            Self::Service => STACK_BYTES,
        }
    }
}

/// Serves the parent over the socket that is this process's standard input, until the parent
/// hangs up. Standard output already leads to standard error, so that a model may print.
///
/// The loader is made here, after the socket has been put out of its reach.
///
/// # Errors
///
/// The socket failed, or the loader cannot be made.
pub fn run_child(
    purpose: Purpose,
    confinement: Confinement,
    loader: impl FnOnce() -> Result<Arc<dyn Loader>, EngineError>,
) -> io::Result<()> {
    let socket = take_stdin()?;
    // Neither is a condition: without them the child runs as the parent does.
    if purpose == Purpose::Trial {
        let _ = nice(NICENESS);
    }
    let _ = set_no_new_privs(true);
    die_with_parent(socket.try_clone()?)?;
    live(socket, purpose, confinement, loader().map_err(io::Error::other)?)
}

/// The socket that is the standard input, out of the reach of what reads that.
pub(super) fn take_stdin() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

/// Confines this process and answers its parent until that hangs up.
pub(super) fn live(
    socket: OwnedFd,
    purpose: Purpose,
    confinement: Confinement,
    loader: Arc<dyn Loader>,
) -> io::Result<()> {
    let thread = thread::Builder::new().name(purpose.thread().into()).stack_size(purpose.stack());
    let unconfined = match confinement {
        Confinement::Sandbox => sandbox::enter(),
        Confinement::Trust => Vec::new(),
    };
    let serve = move || {
        let mut output = File::from(socket.try_clone()?);
        let received = ReceivedFiles::default();
        let inbox = Inbox::new(UnixStream::from(socket), received.clone());
        let mut session = Session::new(unconfined, received);
        if (purpose, confinement) == (Purpose::Service, Confinement::Sandbox) {
            session.to_settle = Some(Arc::new(Once::new()));
        }
        serve(&*loader, &mut BufReader::new(inbox), &mut output, session)
    };
    let served = thread.spawn(serve)?.join();
    served.unwrap_or_else(|_| Err(io::Error::other("the thread of the models panicked")))
}

/// Ends this process when the parent's end of the socket is gone, even while a model is running.
///
/// The kernel's own signal for that (`PR_SET_PDEATHSIG`) follows the thread that started the child, and
/// the parent's threads come and go.
pub(super) fn die_with_parent(socket: OwnedFd) -> io::Result<()> {
    let watch = move || {
        let mut hang_up = [PollFd::new(&socket, PollFlags::empty())];
        while poll(&mut hang_up, None) == Err(rustix::io::Errno::INTR) {}
        // Not `exit`: its handlers would wait for threads of the model.
        // Nor a signal to the process, which the sandbox takes for one to any.
        std::process::abort();
    };
    thread::Builder::new().name("parent-watch".into()).spawn(watch).map(drop)
}

/// Answers requests from `input` on `output` until `input` ends.
///
/// # Errors
///
/// A stream failed, or what came is not a request.
pub(super) fn serve(
    loader: &dyn Loader,
    input: &mut dyn Read,
    output: &mut dyn Write,
    mut session: Session,
) -> io::Result<()> {
    while let Some(request) = protocol::read_header(input)? {
        let (answer, buffers) = match request {
            Request::Run { instance, inputs } => {
                let inputs = protocol::read_inputs(input, inputs, &Views::default())?;
                guarded(|| session.run(instance, inputs))
            }
            request => guarded(|| session.answer(loader, request)),
        };
        protocol::write(output, &answer, &buffers)?;
    }
    Ok(())
}

type Answered = Result<(Response, Vec<Buffer>), EngineError>;

/// Turns errors and panics into answers.
fn guarded(work: impl FnOnce() -> Answered) -> (Response, Vec<Buffer>) {
    // What a panic may have left half done is one model or instance, which the parent gives up.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let outcome = outcome.unwrap_or_else(|panic| {
        Err(EngineError::new(Fault::Internal, format!("the engine panicked: {}", text(&*panic))))
    });
    outcome.unwrap_or_else(|error| (Response::failed(error), Vec::new()))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}

/// What the parent has asked for and not yet given back.
#[derive(Default)]
pub(super) struct Session {
    /// Layers of the sandbox that do not hold, and why.
    unconfined: Vec<String>,
    /// The file that came with a request.
    received: ReceivedFiles,
    /// Done when the first run has gone well: from then on nothing is looked for any more.
    to_settle: Option<Arc<Once>>,
    models: HashMap<u64, Loaded>,
    instances: HashMap<u64, Instance>,
    last_id: u64,
}

struct Loaded {
    model: Box<dyn Model>,
    /// Whether all that a run does is done by the thread that calls it.
    single: bool,
    /// Whether it runs on the processor: the driver of a GPU opens devices whenever it likes.
    is_on_cpu: bool,
}

struct Instance {
    engine: Box<dyn Engine>,
    single: bool,
    to_settle: Option<Arc<Once>>,
}

impl Session {
    pub(super) fn new(unconfined: Vec<String>, received: ReceivedFiles) -> Self {
        Self { unconfined, received, ..Self::default() }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn answer(&mut self, loader: &dyn Loader, request: Request) -> Answered {
        let answer = match request {
            Request::Load { format, device, intra_op_threads, form, outputs, runs, package } => {
                let unknown = |text| EngineError::new(Fault::Internal, text);
                let options = LoadOptions {
                    form: form.parse().map_err(unknown)?,
                    outputs: outputs.into_iter().map(|it| it.0).collect(),
                    runs,
                    ..LoadOptions::plain(device.parse().map_err(unknown)?, intra_op_threads)
                };
                let artifact = Artifact::new(format.0, PathBuf::new(), String::new());
                let package = package.map(|it| *it);
                let model = loader.load(&self.received(artifact, package)?, &options)?;
                let is_on_cpu = options.device == Device::Cpu;
                let single = is_on_cpu && options.intra_op_threads == 1;
                let id = self.next_id();
                let signature = WireSignature::from(model.signature());
                let memory = model.memory();
                self.models.insert(id, Loaded { model, single, is_on_cpu });
                let unconfined = self.unconfined.clone();
                Response::Loaded { model: id, signature, memory, unconfined }
            }
            Request::Instance { model } => {
                let model = self.models.get(&model).ok_or_else(|| unknown("model", model))?;
                let (engine, single) = (model.model.instance()?, model.single);
                let to_settle = self.to_settle.clone().filter(|_| model.is_on_cpu);
                let instance = Instance { engine, single, to_settle };
                let id = self.next_id();
                match self.received.take() {
                    None => drop(self.instances.insert(id, instance)),
                    Some(socket) => serve_apart(UnixStream::from(OwnedFd::from(socket)), instance)?,
                }
                Response::Instance { instance: id }
            }
            Request::Discard { instance } => {
                self.instances.remove(&instance);
                Response::Done
            }
            Request::Unload { model } => {
                self.models.remove(&model);
                Response::Done
            }
            Request::Run { instance, .. } => return Err(unknown("run of instance", instance)),
            Request::Region { region } => return Err(unknown("reader of region", region)),
            Request::Forget { .. } => return Err(unknown("region of", 0)),
            Request::Fork { .. } => return Err(unknown("zygote", 0)),
        };
        Ok((answer, Vec::new()))
    }

    /// What came with the request to load it.
    fn received(
        &self,
        artifact: Artifact,
        package: Option<WirePackage>,
    ) -> Result<Artifact, EngineError> {
        let file = || {
            let file = self.received.take();
            file.ok_or_else(|| EngineError::new(Fault::Internal, "no file came with the request"))
        };
        let Some(package) = package else {
            return Ok(Artifact { file: Some(Arc::new(file()?)), ..artifact });
        };
        let library = file()?;
        let weights = package.has_weights.then(file).transpose()?;
        let package = Some(Arc::new(package.with_files(library, weights)));
        Ok(Artifact { package, ..artifact })
    }

    fn run(&mut self, instance: u64, inputs: Vec<Option<Tensor>>) -> Answered {
        let found = self.instances.get_mut(&instance);
        found.ok_or_else(|| unknown("instance", instance))?.run(inputs)
    }
}

impl Instance {
    fn run(&mut self, inputs: Vec<Option<Tensor>>) -> Answered {
        let before = processor_time();
        let outcome = self.engine.run(Batch::without_deadline(inputs))?;
        if let Some(to_settle) = &self.to_settle {
            // Where it cannot be, what does not hold was reported when the model was loaded.
            to_settle.call_once(|| drop(sandbox::settle()));
        }
        let processor_time = self.single.then(|| processor_time().saturating_sub(before));
        Ok(protocol::ran(RunOutcome { processor_time, ..outcome }))
    }
}

/// Has an instance answer what comes over a socket of its own, on a thread of its own, until the parent hangs up there.
fn serve_apart(socket: UnixStream, mut instance: Instance) -> Result<(), EngineError> {
    let serve = move || -> io::Result<()> {
        let (received, mut views) = (ReceivedFiles::default(), Views::default());
        let mut output = socket.try_clone()?;
        let mut input = BufReader::new(Inbox::new(socket, received.clone()));
        while let Some(request) = protocol::read_header(&mut input)? {
            match request {
                Request::Run { inputs, .. } => {
                    let inputs = protocol::read_inputs(&mut input, inputs, &views)?;
                    let (answer, buffers) = guarded(|| instance.run(inputs));
                    protocol::write(&mut output, &answer, &buffers)?;
                }
                Request::Region { region } => {
                    let file = received.take().ok_or(io::ErrorKind::InvalidData)?;
                    views.insert(region, Arc::new(View::new(&file)?));
                }
                Request::Forget { regions } => regions.iter().for_each(|it| drop(views.remove(it))),
                _ => break,
            }
        }
        Ok(())
    };
    // Where the parent is gone or sends what is no request, nobody is left who could be told.
    let thread = thread::Builder::new().name("instance".into()).stack_size(STACK_BYTES);
    thread.spawn(move || drop(serve())).map(drop).map_err(|error| {
        EngineError::new(fault_of(&error), format!("cannot start a thread: {error}"))
    })
}

/// What this thread has cost the processor so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

fn unknown(what: &str, id: u64) -> EngineError {
    EngineError::new(Fault::Internal, format!("there is no {what} {id} in this process"))
}
