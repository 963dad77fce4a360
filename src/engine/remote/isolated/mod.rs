//! A model that serves from a child process of its own: what its runs may do to a process, they do to that one.
//!
//! The model's instances live in one child, each with a socket of its own, so that several runs are under way at once. A child
//! that dies is followed by another with the next instance that is asked for; how often, is limited.

mod home;
#[cfg(test)]
mod tests;

use super::RemoteOptions;
use super::process::Message;
use super::protocol::{self, Request, Response};
use super::regions::{News, Regions};
use super::shared::Deadline;
use super::zygote::Nursery;
use crate::engine::{
    Artifact, Batch, Death, DeathWatcher, Device, Engine, EngineError, Fault, LoadOptions, Loader,
    MAX_RUN_BYTES, Model, Phases, RunOutcome, Signature,
};
use crate::tensor::{Buffer, BufferMut, Tensor};
use home::{Home, Loaded, ServingChild, is_end};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

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
        let (home, loaded) = Home::with_first_child(self, artifact, options)?;
        let Loaded { signature, memory, .. } = loaded;
        Ok(Box::new(IsolatedModel { home, signature, memory }))
    }

    fn devices(&self) -> Vec<Device> {
        self.options.child.devices.clone()
    }
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

    fn notice_ends(&self) {
        self.home.notice_end();
    }

    fn watch_deaths(&self, watcher: DeathWatcher) {
        self.home.watch(watcher);
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
        let given = batch.inputs.iter().flatten().map(|tensor| tensor.buffer().len());
        let n_bytes: usize = given.sum();
        if n_bytes > MAX_RUN_BYTES {
            let message = format!(
                "the inputs take {n_bytes} bytes, at most {MAX_RUN_BYTES} are given to a run in a process of its own"
            );
            return Err(EngineError::new(Fault::OutOfMemory, message));
        }
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
                self.child.n_refused.store(0, Ordering::Relaxed);
                let phases = Phases { input, compute, output };
                return Ok(RunOutcome { outputs, phases, processor_time });
            }
            Ok((Response::Failed { fault, message }, _)) => {
                let error = protocol::failure(fault, &message);
                if error.fault != Fault::Device {
                    self.child.has_answered.store(true, Ordering::Relaxed);
                    if error.fault == Fault::OutOfMemory {
                        self.home.look_for_leaks(&self.child);
                    }
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
