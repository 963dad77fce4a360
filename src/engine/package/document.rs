//! The documents in a package, as torch writes them (`torch/_export/serde/schema.py`): what of them is read. The one place
//! beside the protocol of the child that reads a format of somebody else's.

use super::Refusal;
use crate::engine::Fault;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::{BTreeMap, HashMap};

/// For what a library was compiled.
#[derive(Debug, Deserialize)]
pub(super) struct Target {
    #[serde(rename = "AOTI_DEVICE_KEY")]
    pub(super) device: String,
    #[serde(rename = "AOTI_MACHINE")]
    pub(super) machine: String,
    #[serde(rename = "AOTI_PLATFORM")]
    pub(super) platform: String,
    #[serde(rename = "AOTI_CPU_ISA", default)]
    pub(super) isa: String,
}

/// An exported program.
#[derive(Debug, Deserialize)]
pub(super) struct Program {
    pub(super) graph_module: GraphModule,
    pub(super) range_constraints: HashMap<String, Range>,
    /// Conditions on inputs that the code relies on, as Python.
    #[serde(default)]
    pub(super) guards_code: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GraphModule {
    pub(super) graph: Graph,
    pub(super) signature: GraphSignature,
    pub(super) module_call_graph: Vec<ModuleCall>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Graph {
    #[serde(default)]
    pub(super) nodes: Vec<Node>,
    pub(super) tensor_values: HashMap<String, TensorMeta>,
}

/// A call of an operator.
#[derive(Debug, Deserialize)]
pub(super) struct Node {
    /// Like `torch.ops.aten.add_.Tensor`.
    pub(super) target: String,
    #[serde(default)]
    pub(super) inputs: Vec<NamedArgument>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NamedArgument {
    pub(super) arg: Argument,
}

/// A value, of which there are many kinds: only tensors are of interest.
#[derive(Debug, Deserialize)]
pub(super) struct Argument {
    pub(super) as_tensor: Option<Named>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct TensorMeta {
    pub(super) dtype: i64,
    pub(super) sizes: Vec<Size>,
    pub(super) strides: Vec<Size>,
    pub(super) device: Device,
}

#[derive(Debug, Deserialize)]
pub(super) struct Device {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Size {
    AsInt(i64),
    AsExpr(Expression),
}

#[derive(Debug, Deserialize)]
pub(super) struct Expression {
    /// Like `Symbol('s31', positive=True, integer=True)`.
    pub(super) expr_str: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Range {
    pub(super) min_val: Option<i64>,
    pub(super) max_val: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GraphSignature {
    pub(super) input_specs: Vec<InputSpec>,
    /// Each with one key, which says what it is.
    pub(super) output_specs: Vec<BTreeMap<String, OutputSpec>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum InputSpec {
    UserInput { arg: Argument },
    Parameter { arg: Named, parameter_name: String },
    Buffer { arg: Named, buffer_name: String },
    TensorConstant(IgnoredAny),
    ConstantInput(IgnoredAny),
    CustomObj(IgnoredAny),
    Token(IgnoredAny),
}

#[derive(Debug, Deserialize)]
pub(super) struct OutputSpec {
    pub(super) arg: Option<Argument>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ModuleCall {
    pub(super) fqn: String,
    pub(super) signature: Option<CallSignature>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CallSignature {
    pub(super) in_spec: String,
    pub(super) out_spec: String,
}

/// How values are nested in one another.
#[derive(Debug, Deserialize)]
pub(super) struct TreeSpec {
    /// `None` for a single value.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// What sets it apart from others of its kind: of a dictionary its keys, as JSON.
    pub(super) context: Option<String>,
    pub(super) children_spec: Vec<TreeSpec>,
}

pub(super) fn target(bytes: &[u8]) -> Result<Target, Refusal> {
    parsed(bytes, "what it was compiled for")
}

pub(super) fn program(bytes: &[u8]) -> Result<Program, Refusal> {
    parsed(bytes, "its exported program")
}

pub(super) fn tree_spec(text: &str) -> Result<TreeSpec, Refusal> {
    let (_version, spec): (u32, TreeSpec) = parsed(text.as_bytes(), "the nesting of its values")?;
    Ok(spec)
}

/// The keys in a context, if it is a list of keys.
pub(super) fn keys(context: &str) -> Option<Vec<String>> {
    serde_json::from_str(context).ok()
}

fn parsed<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = format!("the package does not say {what} in a form that is known: {error}");
        (Fault::Unsupported, text)
    })
}
