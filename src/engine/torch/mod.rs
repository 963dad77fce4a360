//! TorchScript, and packages of AOTInductor (`package`), through libtorch. With `torch-shim` the only code that names tch.
//!
//! The shim owns modules and catches what C++ throws; here its values become ours. A model without
//! state is shared by its instances, since libtorch runs one module on several threads at once; a
//! model that writes to itself is copied for each.

mod convert;
mod form;
mod generator;
mod messages;
mod package;
mod signature;

use super::probe::draws;
use super::{
    Artifact, Batch, Device, Engine, EngineError, Fault, LoadOptions, Loader, Model, Phases,
    RunOutcome, Signature, kind,
};
use crate::engine::messages::ModelMessages;
use crate::tensor::{Buffer, BufferMut, Tensor};
use generator::{Generator, Use};
pub use package::PackageLoader;
use signature::Arguments;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Instant;
pub use torch_shim::{Allocator, MemoryBounds, bound_memory, fork_as_sibling, give_back_unasked};
use torch_shim::{ErrorClass, IValue, Module, PinnedBuffer, StreamGuard, Type};

/// The method that is served.
const FORWARD: &str = "forward";

/// Compiled operators that oneDNN keeps, over all models. It compiles one for each operator and shape, and
/// keeps 1,024 of them by itself, which batches of every size fill with what is hardly asked for again: a
/// ResNet-50 in 48 batch sizes grew by 949 MiB with 1,024, by 501 with 512, by 233 with 256 and by 150 with 64, and
/// cost the processor the same with each.
const PRIMITIVES: usize = 256;

/// What has to be settled before libtorch computes anything, while the process has one thread.
pub fn prepare_process() {
    // False when threads are there already, in a test say; then oneDNN's own bound holds.
    let _ = torch_shim::limit_primitive_cache(PRIMITIVES);
    torch_shim::catch_traps();
    torch_shim::fork_in_place();
}

/// Ends the process at once, whatever runs in it.
pub fn end_process(status: u8) -> ! {
    torch_shim::end_process(status)
}

/// Loads TorchScript files.
#[derive(Debug)]
pub struct TorchLoader {
    /// Who may use libtorch's one generator of random numbers.
    generator: Arc<Generator>,
    /// Why there is no CUDA, for the log; `None` when it is there.
    no_cuda: Option<String>,
}

impl TorchLoader {
    /// Looks for libtorch's CUDA library, once for the process and before anything else asks
    /// libtorch about devices: it remembers its first answer.
    #[must_use]
    pub fn new() -> Self {
        Self { generator: Arc::default(), no_cuda: torch_shim::load_cuda_library().err() }
    }

    /// Loads a shared object whose operators models may use. A method, because such a library may need
    /// libtorch's CUDA half, which [`TorchLoader::new`] has looked for.
    ///
    /// # Errors
    ///
    /// It cannot be loaded, or what it registers is there already.
    pub fn load_library(&self, path: &Path) -> Result<(), EngineError> {
        torch_shim::load_library(path).map_err(fault)
    }

    /// Puts what models print and what libtorch warns of into the log, from now on and for the whole process.
    pub fn log_messages(&self) {
        messages::log();
    }

    /// Why models cannot run on a GPU here, if so.
    #[must_use]
    pub fn no_cuda(&self) -> Option<&str> {
        self.no_cuda.as_deref()
    }

    /// libtorch's version, as it reports itself.
    #[must_use]
    pub fn libtorch_version() -> String {
        torch_shim::libtorch_version().unwrap_or_else(|error| error.message)
    }
}

impl Default for TorchLoader {
    fn default() -> Self {
        Self::new()
    }
}

impl Loader for TorchLoader {
    fn load(
        &self,
        artifact: &Artifact,
        options: &LoadOptions,
    ) -> Result<Box<dyn Model>, EngineError> {
        let device = convert::device(options.device);
        let log = Arc::new(ModelMessages::new(artifact.label.clone()));
        let _messages = messages::attribute(&log);
        // The graph walk and the warm-up of this thread obey the limit too.
        torch_shim::set_intra_op_threads(options.intra_op_threads).map_err(fault)?;
        let module = Module::load(&*artifact.open()?, device).map_err(fault)?;
        // The weights were copied on this thread's stream; others may read them from here on.
        torch_shim::synchronize(device).map_err(fault)?;
        let (signature, arguments) = signature::read(&module)?;
        let writes_inputs = module.mutates_inputs(FORWARD).map_err(fault)?;
        let returns = signature::returns(&module)?;
        let module = form::apply(module, options.form, &signature)?;
        let memory = module.byte_size().map_err(fault)?;
        // What a pass does in place, it does to what the model itself made; the question costs little.
        let writes_inputs = writes_inputs || module.mutates_inputs(FORWARD).map_err(fault)?;
        let numbers = form::Numbers::new(options, &signature);
        let generator = use_of_generator(&signature).map(|it| (it, Arc::clone(&self.generator)));
        let options = options.clone();
        let shared = Shared {
            signature,
            arguments,
            returns,
            writes_inputs,
            numbers,
            options,
            log,
            generator,
        };
        Ok(Box::new(TorchModel { module: Arc::new(module), shared: Arc::new(shared), memory }))
    }

    fn other_kind(&self, artifact: &Artifact) -> io::Result<Option<String>> {
        kind::other_kind(&artifact.path, artifact.format)
    }

    fn devices(&self) -> Vec<Device> {
        let gpus = if self.no_cuda.is_none() { torch_shim::device_count() } else { 0 };
        (0..gpus).map(Device::Cuda).chain([Device::Cpu]).collect()
    }
}

/// What a model and its engines know alike.
struct Shared {
    signature: Signature,
    arguments: Arguments,
    /// What `forward` returns.
    returns: Type,
    /// Whether a run may write into its input tensors, which then must be nobody else's.
    writes_inputs: bool,
    /// What is cast on the way in and out.
    numbers: form::Numbers,
    options: LoadOptions,
    log: Arc<ModelMessages>,
    /// How its runs use the generator of random numbers, if they do.
    generator: Option<(Use, Arc<Generator>)>,
}

/// How a model uses the generator of random numbers, if it does.
fn use_of_generator(signature: &Signature) -> Option<Use> {
    if signature.uses("aten::manual_seed") {
        return Some(Use::Seeds);
    }
    signature.reach.operators().iter().any(|it| draws(it)).then_some(Use::Draws)
}

struct TorchModel {
    module: Arc<Module>,
    shared: Arc<Shared>,
    memory: u64,
}

impl Model for TorchModel {
    fn signature(&self) -> &Signature {
        &self.shared.signature
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn instance(&self) -> Result<Box<dyn Engine>, EngineError> {
        let module = if self.shared.signature.mutates_state {
            Arc::new(self.module.deep_copy().map_err(fault)?)
        } else {
            Arc::clone(&self.module)
        };
        Ok(Box::new(TorchEngine { module, shared: Arc::clone(&self.shared), prepared_on: None }))
    }
}

struct TorchEngine {
    module: Arc<Module>,
    shared: Arc<Shared>,
    /// The thread for which it is set how many threads an operator may use: OpenMP counts by caller.
    prepared_on: Option<ThreadId>,
}

impl TorchEngine {
    fn arguments(&self, inputs: &[Option<Tensor>]) -> Result<Vec<IValue>, EngineError> {
        let shared = &*self.shared;
        let last_given = inputs.iter().rposition(Option::is_some);
        let last_given = last_given.map(|position| self.place(position)).transpose()?;
        let n_handed = shared.arguments.n_handed(last_given);
        let mut values: Vec<_> = (0..n_handed).map(|it| shared.arguments.left_out(it)).collect();
        for (position, (argument, input)) in
            shared.signature.arguments.iter().zip(inputs).enumerate()
        {
            let Some(tensor) = input else { continue };
            let own = shared.writes_inputs.then(|| own_copy(tensor)).transpose()?;
            let tensor = own.as_ref().unwrap_or(tensor);
            let value = convert::argument(argument, tensor, shared.options.device)?;
            values[self.place(position)?] = shared.numbers.cast_input(value)?;
        }
        Ok(values)
    }

    /// The place of an input among the arguments of `forward`.
    fn place(&self, position: usize) -> Result<usize, EngineError> {
        self.shared.arguments.place(position).ok_or_else(|| {
            let message = "there are more inputs than the model has arguments";
            EngineError::new(Fault::Internal, message)
        })
    }
}

impl Engine for TorchEngine {
    fn run(&mut self, batch: Batch) -> Result<RunOutcome, EngineError> {
        let device = self.shared.options.device;
        let thread = std::thread::current().id();
        if self.prepared_on != Some(thread) {
            torch_shim::set_intra_op_threads(self.shared.options.intra_op_threads)
                .map_err(fault)?;
            self.prepared_on = Some(thread);
        }
        let stream = match device {
            Device::Cpu => None,
            Device::Cuda(_) => Some(StreamGuard::new(convert::device(device)).map_err(fault)?),
        };
        let synchronize =
            || stream.as_ref().map_or(Ok(()), |stream| stream.synchronize().map_err(fault));

        let _messages = messages::attribute(&self.shared.log);
        let started = Instant::now();
        let arguments = self.arguments(&batch.inputs)?;
        synchronize()?;
        let handed_over = Instant::now();
        let turn = self.shared.generator.as_ref().map(|(what, it)| it.turn(*what, batch.deadline));
        let turn = turn.transpose()?;
        let value = self.shared.numbers.run(&self.module, &arguments)?;
        drop(turn);
        synchronize()?;
        let computed = Instant::now();
        drop(arguments);
        let outputs = convert::outputs(value, &self.shared.returns, &self.shared.numbers)?;
        let phases = Phases {
            input: handed_over - started,
            compute: computed - handed_over,
            output: computed.elapsed(),
        };
        Ok(RunOutcome { outputs, phases, processor_time: None })
    }

    fn buffer(&mut self, bytes: usize) -> BufferMut {
        if self.shared.options.device == Device::Cpu {
            return BufferMut::zeroed(bytes);
        }
        // Page-locked memory is a limited good; without it the copy is slower, not wrong.
        PinnedBuffer::new(bytes).map_or_else(|_| BufferMut::zeroed(bytes), BufferMut::from_memory)
    }
}

fn own_copy(tensor: &Tensor) -> Result<Tensor, EngineError> {
    let buffer = Buffer::copy_aligned(tensor.buffer().as_bytes());
    Tensor::new(tensor.datatype(), tensor.shape().clone(), buffer)
        .map_err(|error| EngineError::new(Fault::Internal, error.to_string()))
}

fn fault(error: torch_shim::Error) -> EngineError {
    let fault = match error.class {
        ErrorClass::InvalidFile => Fault::InvalidFile,
        // An argument that the interpreter refuses is, to the caller, an input that the model refuses.
        ErrorClass::Raised | ErrorClass::InvalidArgument => Fault::Raised,
        ErrorClass::Environment => Fault::Environment,
        ErrorClass::OutOfMemory => Fault::OutOfMemory,
        ErrorClass::Device => Fault::Device,
        ErrorClass::Unsupported => Fault::Unsupported,
        ErrorClass::Internal => Fault::Internal,
    };
    EngineError::new(fault, error.message)
}
