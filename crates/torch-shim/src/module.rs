//! TorchScript modules: loading, running, rewriting, looking at them.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;

use tch::Kind;

use crate::device::TorchDevice;
use crate::error::{Error, ErrorClass, Stage};
use crate::ffi::{self, RawDevice, Text, call, call_for_pointer};
use crate::schema::{Method, read_method};
use crate::tensor::{kind_from_code, kind_to_code};
use crate::value::{IValue, Output, encode};

/// A loaded TorchScript module in evaluation mode.
///
/// Several threads may call [`Module::run`] on one module at once if the model does not write its own state while it
/// runs ([`Module::mutates_state`] finds most such models, not those that write into a tensor in place). For a model
/// that does, concurrent calls do not corrupt memory, but their answers mix: give each thread a
/// [`Module::deep_copy`]. Every other function only reads.
#[derive(Debug)]
pub struct Module {
    pointer: NonNull<c_void>,
}

// SAFETY: a torch::jit::Module is a reference-counted handle (atomic counts) without ties to a thread.
unsafe impl Send for Module {}
// SAFETY: running takes the executor's own lock where it must; attributes are whole values that are replaced under
// reference counts; and nothing in this crate changes a module after it was made.
unsafe impl Sync for Module {}

/// The number that stands for no datatype.
const NO_KIND: i32 = -1;

/// Files that travel inside a model file, by name.
pub type ExtraFiles = Vec<(String, Vec<u8>)>;

/// A parameter or buffer of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterInfo {
    /// Its dotted name, such as `encoder.layer.0.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// Its datatype; none for one that tch does not know.
    pub datatype: Option<Kind>,
    /// The size of its elements.
    pub bytes: u64,
    /// A buffer (state that is not trained, such as running means) and not a parameter.
    pub is_buffer: bool,
}

/// How a method runs.
#[derive(Clone, Copy)]
struct Mode {
    /// Where operators cast, if they do.
    device: RawDevice,
    /// The datatype that they cast to.
    autocast: i32,
    with_gradients: bool,
}

impl Mode {
    const PLAIN: Self =
        Self { device: RawDevice { index: -1 }, autocast: NO_KIND, with_gradients: false };
}

impl Module {
    /// Loads a TorchScript file onto a device and puts it into evaluation mode. It is read by position, while this runs.
    ///
    /// A TorchScript file is a program; load one that nobody vouches for in a process that may die.
    pub fn load(file: &File, device: TorchDevice) -> Result<Self, Error> {
        Ok(Self::load_with_extra(file, device, &[])?.0)
    }

    /// Loads the file of this name.
    pub fn load_path(path: impl AsRef<Path>, device: TorchDevice) -> Result<Self, Error> {
        let absent = |_| Error::new(ErrorClass::InvalidFile, "the model file cannot be opened");
        Self::load(&File::open(path).map_err(absent)?, device)
    }

    /// Loads a file together with the extra files of these names that lie inside it. What is not there is left out.
    pub fn load_with_extra(
        file: &File,
        device: TorchDevice,
        names: &[&str],
    ) -> Result<(Self, ExtraFiles), Error> {
        let names = texts(names);
        let mut extra = Output::new();
        let pointer = call_for_pointer(Stage::Load, |module, error| {
            // SAFETY: file and names outlive the call; module, extra and error are places of our own.
            unsafe {
                ffi::sconce_module_load(
                    file.as_raw_fd(),
                    device.raw(),
                    names.as_ptr(),
                    names.len() as u64,
                    module,
                    extra.slot(),
                    error,
                )
            }
        })?;
        let module = Self::from_pointer(pointer)?;
        let files = extra.reader().each(|reader| {
            reader.enter()?;
            Ok((reader.text()?, reader.bytes()?.to_vec()))
        })?;
        Ok((module, files.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect()))
    }

    fn from_pointer(pointer: *mut c_void) -> Result<Self, Error> {
        let pointer = NonNull::new(pointer)
            .ok_or_else(|| Error::new(ErrorClass::Internal, "the shim returned no module"))?;
        Ok(Self { pointer })
    }

    /// Runs a method in inference mode on the calling thread.
    ///
    /// Arguments that the model gives defaults may be left out from the end. Tensors must lie on the model's device. A
    /// model that works in place writes into the tensors that it is given: see [`Module::mutates_inputs`].
    pub fn run(&self, method: &str, arguments: &[IValue]) -> Result<IValue, Error> {
        self.run_in(method, arguments, Mode::PLAIN)
    }

    /// As [`Module::run`], and what is computed can be differentiated, for code that asks for gradients.
    pub fn run_with_gradients(&self, method: &str, arguments: &[IValue]) -> Result<IValue, Error> {
        self.run_in(method, arguments, Mode { with_gradients: true, ..Mode::PLAIN })
    }

    /// As [`Module::run`], with the operators that gain from it (matrix products, convolutions) computing in `kind` on
    /// this device, a floating-point datatype of two bytes. Weights are cast in each call; the answer may be of `kind`.
    pub fn run_with_autocast(
        &self,
        method: &str,
        arguments: &[IValue],
        device: TorchDevice,
        kind: Kind,
    ) -> Result<IValue, Error> {
        if !matches!(kind, Kind::BFloat16 | Kind::Half) {
            let text = format!("operators can be cast to BFloat16 or Half, not to {kind:?}");
            return Err(Error::new(ErrorClass::InvalidArgument, text));
        }
        let autocast = kind_to_code(kind);
        self.run_in(method, arguments, Mode { device: device.raw(), autocast, ..Mode::PLAIN })
    }

    fn run_in(&self, method: &str, arguments: &[IValue], mode: Mode) -> Result<IValue, Error> {
        let nodes = encode(arguments)?;
        let mut output = Output::new();
        call(Stage::Run, |error| {
            // SAFETY: the module lives; method, and what the nodes point to, outlive the call.
            unsafe {
                ffi::sconce_module_run(
                    self.pointer.as_ptr(),
                    Text::new(method.as_bytes()),
                    nodes.as_ptr(),
                    nodes.len() as u64,
                    arguments.len() as u64,
                    mode.device,
                    mode.autocast,
                    i32::from(mode.with_gradients),
                    output.slot(),
                    error,
                )
            }
        })?;
        output.into_value()
    }

    /// The methods that can be run, in the order of their definition.
    pub fn methods(&self) -> Result<Vec<Method>, Error> {
        let mut output = Output::new();
        // SAFETY: the module lives; the answer and the error are places of our own.
        call(Stage::Other, |error| unsafe {
            ffi::sconce_module_methods(self.pointer.as_ptr(), output.slot(), error)
        })?;
        output.reader().each(read_method)
    }

    /// Every operator that any code in the file uses, whether or not a call reaches it: sorted, each once, with its
    /// namespace (`aten::linear`). C++ methods of custom classes are `foreign::…`.
    pub fn operators(&self) -> Result<Vec<String>, Error> {
        let mut output = Output::new();
        // SAFETY: as in `methods`.
        call(Stage::Other, |error| unsafe {
            ffi::sconce_module_operators(self.pointer.as_ptr(), output.slot(), error)
        })?;
        output.reader().each(|reader| reader.text())
    }

    /// Whether any method (but those that only make or restore the module) sets an attribute, or `forward` may write
    /// into a tensor, list or dictionary that the module holds. Assignments in branches that only training takes count
    /// too; a frozen module has lost those.
    pub fn mutates_state(&self) -> Result<bool, Error> {
        let mut answer = 0;
        // SAFETY: as in `methods`.
        call(Stage::Other, |error| unsafe {
            ffi::sconce_module_mutates_state(self.pointer.as_ptr(), &raw mut answer, error)
        })?;
        Ok(answer != 0)
    }

    /// Whether a method may write into the tensors that it is given. Errs on the side of yes: a method that writes into
    /// a tensor of the module counts too, since the two might share memory.
    pub fn mutates_inputs(&self, method: &str) -> Result<bool, Error> {
        let mut answer = 0;
        // SAFETY: as in `methods`; `method` outlives the call.
        call(Stage::Other, |error| unsafe {
            let method = Text::new(method.as_bytes());
            ffi::sconce_module_mutates_inputs(self.pointer.as_ptr(), method, &raw mut answer, error)
        })?;
        Ok(answer != 0)
    }

    /// The code of a method as text to be analyzed, its calls inlined; `cpp/graph.cpp` says what stands where.
    ///
    /// # Errors
    ///
    /// There is no such method, or its code is too long or nested too deep.
    pub fn graph(&self, method: &str) -> Result<String, Error> {
        let mut output = Output::new();
        // SAFETY: as in `methods`; `method` outlives the call.
        call(Stage::Other, |error| unsafe {
            let method = Text::new(method.as_bytes());
            ffi::sconce_module_graph(self.pointer.as_ptr(), method, output.slot(), error)
        })?;
        output.reader().text()
    }

    /// Parameters, then buffers, each in the order of definition. A frozen module has none: its weights are constants.
    pub fn parameters(&self) -> Result<Vec<ParameterInfo>, Error> {
        let mut output = Output::new();
        // SAFETY: as in `methods`.
        call(Stage::Other, |error| unsafe {
            ffi::sconce_module_parameters(self.pointer.as_ptr(), output.slot(), error)
        })?;
        output.reader().each(|reader| {
            reader.enter()?;
            Ok(ParameterInfo {
                name: reader.text()?,
                shape: reader.each(|reader| reader.integer())?,
                datatype: i32::try_from(reader.integer()?).ok().and_then(kind_from_code),
                bytes: u64::try_from(reader.integer()?).unwrap_or(0),
                is_buffer: reader.truth()?,
            })
        })
    }

    /// The memory of all tensors of the module, the constants of its code among them; what is shared counts once.
    pub fn byte_size(&self) -> Result<u64, Error> {
        let mut bytes = 0;
        // SAFETY: as in `methods`.
        call(Stage::Other, |error| unsafe {
            ffi::sconce_module_byte_size(self.pointer.as_ptr(), &raw mut bytes, error)
        })?;
        Ok(bytes)
    }

    /// A module with its weights folded into its code; it shares them with this one. Methods other than `forward` are
    /// dropped unless they are named.
    ///
    /// This runs operators whose arguments are all constant, those that read files among them: look at
    /// [`Module::operators`] first. The code of all forms that were made of one loaded module is freed when the last of
    /// them is dropped; load the file anew for a form that shall stand alone.
    pub fn freeze(&self, preserved: &[&str]) -> Result<Self, Error> {
        let names = texts(preserved);
        Self::from_pointer(call_for_pointer(Stage::Other, |module, error| {
            // SAFETY: the module lives, the names outlive the call.
            unsafe {
                let count = names.len() as u64;
                ffi::sconce_module_freeze(
                    self.pointer.as_ptr(),
                    names.as_ptr(),
                    count,
                    module,
                    error,
                )
            }
        })?)
    }

    /// A frozen module, rewritten for speed on its device (convolutions joined with what follows, oneDNN layouts); all
    /// that [`Module::freeze`] says holds here. Its answers differ in the last digits.
    pub fn optimize_for_inference(&self, preserved: &[&str]) -> Result<Self, Error> {
        let names = texts(preserved);
        Self::from_pointer(call_for_pointer(Stage::Other, |module, error| {
            // SAFETY: the module lives, the names outlive the call.
            unsafe {
                let count = names.len() as u64;
                ffi::sconce_module_optimize(
                    self.pointer.as_ptr(),
                    names.as_ptr(),
                    count,
                    module,
                    error,
                )
            }
        })?)
    }

    /// A copy that shares nothing with this module.
    pub fn deep_copy(&self) -> Result<Self, Error> {
        Self::from_pointer(call_for_pointer(Stage::Other, |module, error| {
            // SAFETY: the module lives.
            unsafe { ffi::sconce_module_copy(self.pointer.as_ptr(), module, error) }
        })?)
    }

    /// A copy whose floating-point weights have another datatype; integer buffers stay as they are. Constants of the
    /// code stay too, so cast before freezing.
    pub fn to_kind(&self, kind: Kind) -> Result<Self, Error> {
        self.recast(Some(kind), false)
    }

    /// As [`Module::to_kind`], where a kind is given; with `channels_last`, weights of four dimensions lie in memory
    /// with their channels innermost, and convolutions compute in that layout from there on: the same numbers, up to
    /// rounding, whatever the layout of the input.
    pub fn recast(&self, kind: Option<Kind>, channels_last: bool) -> Result<Self, Error> {
        let kind = kind.map_or(NO_KIND, kind_to_code);
        Self::from_pointer(call_for_pointer(Stage::Other, |module, error| {
            // SAFETY: the module lives.
            unsafe {
                let channels_last = i32::from(channels_last);
                ffi::sconce_module_recast(self.pointer.as_ptr(), kind, channels_last, module, error)
            }
        })?)
    }

    /// Writes the module as a TorchScript file. For tests.
    #[doc(hidden)]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref().as_os_str().as_encoded_bytes();
        // SAFETY: the module lives, the path outlives the call.
        call(Stage::Other, |error| unsafe {
            ffi::sconce_module_save(self.pointer.as_ptr(), Text::new(path), error)
        })
    }

    /// Compiles a module from the source of its methods. For tests, which then need no Python.
    ///
    /// `torch.…` names operators; `prim.RaiseException(text, "builtins.RuntimeError")` raises.
    #[doc(hidden)]
    pub fn define(methods: &str) -> Result<Self, Error> {
        Self::define_with("", methods, Vec::new())
    }

    /// As [`Module::define`], with free functions that the methods may call, and attributes.
    #[doc(hidden)]
    pub fn define_with(
        functions: &str,
        methods: &str,
        slots: Vec<(&str, Slot)>,
    ) -> Result<Self, Error> {
        let slots: Vec<IValue> = slots
            .into_iter()
            .map(|(name, slot)| {
                let (what, value) = match slot {
                    Slot::Parameter(tensor) => (0, IValue::Tensor(tensor)),
                    Slot::Buffer(tensor) => (1, IValue::Tensor(tensor)),
                    Slot::Attribute(value) => (2, value),
                };
                IValue::Tuple(vec![
                    IValue::Str(name.as_bytes().to_owned()),
                    IValue::Int(what),
                    value,
                ])
            })
            .collect();
        let nodes = encode(&slots)?;
        Self::from_pointer(call_for_pointer(Stage::Other, |module, error| {
            // SAFETY: the sources, and what the nodes point to, outlive the call.
            unsafe {
                let (functions, methods) =
                    (Text::new(functions.as_bytes()), Text::new(methods.as_bytes()));
                ffi::sconce_module_define(
                    functions,
                    methods,
                    nodes.as_ptr(),
                    nodes.len() as u64,
                    module,
                    error,
                )
            }
        })?)
    }
}

/// An attribute of a module made by [`Module::define_with`].
#[doc(hidden)]
#[derive(Debug)]
pub enum Slot {
    Parameter(tch::Tensor),
    Buffer(tch::Tensor),
    Attribute(IValue),
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the shim, is owned by us alone, and is not used afterwards.
        unsafe { ffi::sconce_module_free(self.pointer.as_ptr()) };
    }
}

fn texts(names: &[&str]) -> Vec<Text> {
    names.iter().map(|name| Text::new(name.as_bytes())).collect()
}
