//! Packages of AOTInductor through libtorch, in a child process that has nothing else in it.
//!
//! The compiled code looks at nothing that it is given: sizes that are not what it was compiled for, or rows that do not lie one
//! after the other, and it answers from foreign memory. So all of it is checked here in front of every run, though the server
//! has done so before.

use super::{convert, fault, own_copy};
use crate::engine::package::Package;
use crate::engine::{
    Artifact, Batch, Device, Engine, EngineError, Fault, Interface, LoadOptions, Loader, Model,
    ModelForm, Output, Phases, RunOutcome, Signature, kind,
};
use crate::inference::TensorSpec;
use crate::tensor::Tensor;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;
use std::time::Instant;

/// Where a tensor has to begin, for the widest loads of compiled code.
const ALIGNMENT: usize = 64;

/// Loads packages that have been taken apart.
#[derive(Debug, Default)]
pub struct PackageLoader {
    /// Whether this process has loaded one. There is no second: nothing unloads the code of the first.
    is_used: AtomicBool,
}

impl PackageLoader {
    /// A loader that has loaded nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Loader for PackageLoader {
    fn load(
        &self,
        artifact: &Artifact,
        options: &LoadOptions,
    ) -> Result<Box<dyn Model>, EngineError> {
        let refused = |text: &str| Err(EngineError::new(Fault::Unsupported, text));
        let Some(package) = &artifact.package else {
            return refused("native code is loaded in a process of its own alone");
        };
        if options.device != Device::Cpu {
            return refused("a package of AOTInductor runs on the CPU: device = \"cpu\"");
        }
        if options.form != ModelForm::PLAIN {
            return refused("a package of AOTInductor is compiled, and has no other form");
        }
        if self.is_used.swap(true, Ordering::Relaxed) {
            return Err(EngineError::new(
                Fault::Internal,
                "this process has loaded a package before",
            ));
        }
        torch_shim::set_intra_op_threads(options.intra_op_threads).map_err(fault)?;
        let Package { library, weights, signature, call_spec, writes_inputs, bytes } = &**package;
        let runs = options.runs.max(1);
        let loaded = torch_shim::Package::load(library, weights.as_ref(), runs).map_err(fault)?;
        if loaded.call_spec().map_err(fault)? != call_spec {
            let text = "the program in the package is not the one that it was compiled from";
            return Err(EngineError::new(Fault::InvalidFile, text));
        }
        let interface = signature.interface.clone().unwrap_or_default();
        let shared = Shared {
            package: loaded,
            specs: specs(signature, &interface),
            interface,
            writes_inputs: *writes_inputs,
            intra_op_threads: options.intra_op_threads,
        };
        let (signature, memory) = (signature.clone(), *bytes);
        Ok(Box::new(PackageModel { shared: Arc::new(shared), signature, memory }))
    }

    fn other_kind(&self, artifact: &Artifact) -> io::Result<Option<String>> {
        kind::other_kind(&artifact.path, artifact.format)
    }

    fn devices(&self) -> Vec<Device> {
        vec![Device::Cpu]
    }
}

fn specs(signature: &Signature, interface: &Interface) -> Vec<TensorSpec> {
    let inputs = signature.arguments.iter().zip(&interface.inputs);
    let spec = inputs.map(|(argument, taken)| TensorSpec {
        name: argument.name.clone(),
        datatype: taken.datatype,
        shape: taken.shape.clone(),
        optional: false,
        declared: true,
    });
    spec.collect()
}

/// What a model and its engines have in common.
#[derive(Debug)]
struct Shared {
    package: torch_shim::Package,
    specs: Vec<TensorSpec>,
    interface: Arc<Interface>,
    /// Whether a run may write into its input tensors, which then must be nobody else's.
    writes_inputs: bool,
    intra_op_threads: usize,
}

#[derive(Debug)]
struct PackageModel {
    shared: Arc<Shared>,
    signature: Signature,
    memory: u64,
}

impl Model for PackageModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn instance(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(PackageEngine { shared: Arc::clone(&self.shared), prepared_on: None }))
    }
}

#[derive(Debug)]
struct PackageEngine {
    shared: Arc<Shared>,
    /// The thread for which it is set how many threads an operator may use: OpenMP counts by caller.
    prepared_on: Option<ThreadId>,
}

impl Shared {
    /// The inputs as the code takes them.
    fn inputs(&self, given: &[Option<Tensor>]) -> Result<Vec<tch::Tensor>, EngineError> {
        let refused = |text: String| EngineError::new(Fault::Raised, text);
        if given.len() != self.specs.len() {
            let (got, expected) = (given.len(), self.specs.len());
            return Err(refused(format!("there are {got} inputs, expected {expected}")));
        }
        for (spec, tensor) in self.specs.iter().zip(given) {
            let missing = || refused(format!("input {:?} is missing", spec.name));
            let tensor = tensor.as_ref().ok_or_else(missing)?;
            spec.check(tensor.datatype(), tensor.shape())
                .map_err(|it| refused(it.message.into_owned()))?;
        }
        for rule in &self.interface.sizes {
            rule.check(&self.specs, given).map_err(|it| refused(it.message.into_owned()))?;
        }
        given.iter().flatten().map(|tensor| self.input(tensor)).collect()
    }

    fn input(&self, tensor: &Tensor) -> Result<tch::Tensor, EngineError> {
        let is_aligned = tensor.buffer().as_bytes().as_ptr().addr().is_multiple_of(ALIGNMENT);
        let is_fit = is_aligned && !self.writes_inputs;
        let own = (!is_fit).then(|| own_copy(tensor)).transpose()?;
        convert::to_torch(own.as_ref().unwrap_or(tensor), Device::Cpu)
    }

    fn outputs(&self, tensors: Vec<tch::Tensor>) -> Result<Vec<Output>, EngineError> {
        let names = &self.interface.outputs;
        if tensors.len() != names.len() {
            let (got, expected) = (tensors.len(), names.len());
            let text = format!("the model returned {got} tensors, expected {expected}");
            return Err(EngineError::new(Fault::Raised, text));
        }
        let output = |(name, tensor): (&Option<Arc<str>>, _)| {
            Ok(Output { name: name.clone(), tensor: convert::from_torch(tensor)? })
        };
        names.iter().zip(tensors).map(output).collect()
    }
}

impl Engine for PackageEngine {
    fn run(&mut self, batch: Batch) -> Result<RunOutcome, EngineError> {
        let thread = std::thread::current().id();
        if self.prepared_on != Some(thread) {
            torch_shim::set_intra_op_threads(self.shared.intra_op_threads).map_err(fault)?;
            self.prepared_on = Some(thread);
        }
        let started = Instant::now();
        let inputs = self.shared.inputs(&batch.inputs)?;
        let handed_over = Instant::now();
        let tensors = self.shared.package.run(inputs).map_err(fault)?;
        let computed = Instant::now();
        let outputs = self.shared.outputs(tensors)?;
        let phases = Phases {
            input: handed_over - started,
            compute: computed - handed_over,
            output: computed.elapsed(),
        };
        Ok(RunOutcome { outputs, phases, processor_time: None })
    }
}
