//! TorchScript through libtorch. With `torch-shim` the only code that names tch.
//!
//! The shim owns modules and catches what C++ throws; here its values become ours. A model without
//! state is shared by its instances, since libtorch runs one module on several threads at once; a
//! model that writes to itself is copied for each.

mod convert;
mod signature;

use super::{
    Argument, Artifact, Batch, Device, Engine, EngineError, Fault, LoadOptions, Loader, Model,
    Outcome, Phases, Signature,
};
use crate::tensor::{Buffer, BufferMut, Tensor};
use signature::Defaults;
use std::sync::Arc;
use std::time::Instant;
use torch_shim::{ErrorClass, Module, PinnedBuffer, StreamGuard, Value};

/// The method that is served.
const FORWARD: &str = "forward";

/// Loads TorchScript files.
#[derive(Debug)]
pub struct TorchLoader {
    /// Why there is no CUDA, for the log; `None` when it is there.
    no_cuda: Option<String>,
}

impl TorchLoader {
    /// Looks for libtorch's CUDA library, once for the process and before anything else asks
    /// libtorch about devices: it remembers its first answer.
    #[must_use]
    pub fn new() -> Self {
        Self { no_cuda: torch_shim::load_cuda_library().err() }
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
        // The graph walk and the warm-up of this thread obey the limit too.
        torch_shim::set_intra_op_threads(options.intra_op_threads).map_err(fault)?;
        let module = Module::load(&artifact.path, device).map_err(fault)?;
        // The weights were copied on this thread's stream; others may read them from here on.
        torch_shim::synchronize(device).map_err(fault)?;
        let (signature, defaults) = signature::read(&module)?;
        let memory = module.byte_size().map_err(fault)?;
        let writes_inputs = module.mutates_inputs(FORWARD).map_err(fault)?;
        let field_names = signature::field_names(&module)?;
        let shared =
            Shared { signature, defaults, field_names, writes_inputs, options: options.clone() };
        Ok(Box::new(TorchModel { module: Arc::new(module), shared: Arc::new(shared), memory }))
    }

    fn devices(&self) -> Vec<Device> {
        let gpus = if self.no_cuda.is_none() { torch_shim::device_count() } else { 0 };
        (0..gpus).map(Device::Cuda).chain([Device::Cpu]).collect()
    }
}

/// What a model and its engines know alike.
struct Shared {
    signature: Signature,
    defaults: Defaults,
    /// Names of the outputs, where the return type is a named tuple.
    field_names: Vec<Arc<str>>,
    /// Whether a run may write into its input tensors, which then must be nobody else's.
    writes_inputs: bool,
    options: LoadOptions,
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
        Ok(Box::new(TorchEngine { module, shared: Arc::clone(&self.shared), prepared: false }))
    }
}

struct TorchEngine {
    module: Arc<Module>,
    shared: Arc<Shared>,
    /// Whether the thread that owns this engine has been told how many threads it may use.
    prepared: bool,
}

impl TorchEngine {
    fn arguments(&self, inputs: &[Option<Tensor>]) -> Result<Vec<Value>, EngineError> {
        let shared = &*self.shared;
        let given = inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let mut values = Vec::with_capacity(given);
        for (position, input) in inputs.iter().enumerate().take(given) {
            let argument: &Argument =
                shared.signature.arguments.get(position).ok_or_else(|| {
                    EngineError::new(
                        Fault::Internal,
                        "there are more inputs than the model has arguments",
                    )
                })?;
            values.push(match input {
                Some(tensor) if shared.writes_inputs => {
                    convert::argument(argument, &own_copy(tensor)?, shared.options.device)?
                }
                Some(tensor) => convert::argument(argument, tensor, shared.options.device)?,
                None => shared.defaults.value(position),
            });
        }
        Ok(values)
    }
}

impl Engine for TorchEngine {
    fn run(&mut self, batch: Batch) -> Result<Outcome, EngineError> {
        let device = self.shared.options.device;
        if !self.prepared {
            // OpenMP counts by calling thread, so each instance says it for itself.
            torch_shim::set_intra_op_threads(self.shared.options.intra_op_threads)
                .map_err(fault)?;
            self.prepared = true;
        }
        let stream = match device {
            Device::Cpu => None,
            Device::Cuda(_) => Some(StreamGuard::new(convert::device(device)).map_err(fault)?),
        };
        let synchronize =
            || stream.as_ref().map_or(Ok(()), |stream| stream.synchronize().map_err(fault));

        let started = Instant::now();
        let arguments = self.arguments(&batch.inputs)?;
        synchronize()?;
        let handed_over = Instant::now();
        let value = self.module.run(FORWARD, &arguments).map_err(fault)?;
        synchronize()?;
        let computed = Instant::now();
        drop(arguments);
        let outputs = convert::outputs(value, &self.shared.field_names)?;
        let phases = Phases {
            input: handed_over - started,
            compute: computed - handed_over,
            output: computed.elapsed(),
        };
        Ok(Outcome { outputs, phases })
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
        ErrorClass::OutOfMemory => Fault::OutOfMemory,
        ErrorClass::Device => Fault::Device,
        ErrorClass::Unsupported => Fault::Unsupported,
        ErrorClass::Internal => Fault::Internal,
    };
    EngineError::new(fault, error.message)
}
