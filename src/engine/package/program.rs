//! What the exported program of a package says of its inputs and outputs: all that the compiled code takes on trust. Pure.

use super::Refusal;
use super::document::{
    self, GraphModule, InputSpec, Node, Program, Range, Size, TensorMeta, TreeSpec,
};
use super::strides::{is_contiguous, symbol};
use crate::engine::{
    Argument, ArgumentKind, Fault, Interface, Parameter, Reach, Signature, TensorType,
};
use crate::inference::SizeRule;
use crate::tensor::{DataType, Dim, ShapePattern};
use std::collections::HashMap;
use std::sync::Arc;

/// Inputs and outputs that a package may have.
const MAX_VALUES: usize = 1024;

/// The numbers that torch gives datatypes in exported programs, which are not those that it gives them elsewhere.
const DATATYPES: &[(i64, DataType)] = &[
    (1, DataType::UInt8),
    (2, DataType::Int8),
    (3, DataType::Int16),
    (4, DataType::Int32),
    (5, DataType::Int64),
    (6, DataType::Fp16),
    (7, DataType::Fp32),
    (8, DataType::Fp64),
    (12, DataType::Bool),
    (13, DataType::Bf16),
];

/// What an exported program says.
#[derive(Debug)]
pub(super) struct Exported {
    pub(super) signature: Signature,
    /// How its arguments and results are nested.
    pub(super) call_spec: [String; 2],
    /// Whether a run may write to what it is given.
    pub(super) writes_inputs: bool,
}

/// Reads an exported program.
pub(super) fn read(bytes: &[u8]) -> Result<Exported, Refusal> {
    let Program { graph_module, range_constraints, guards_code } = document::program(bytes)?;
    if let Some(guard) = guards_code.iter().find(|guard| !is_covered(guard)) {
        return Err(refused(format!("it relies on {guard}, which is not checked here")));
    }
    let root = graph_module.module_call_graph.iter().find(|call| call.fqn.is_empty());
    let call = root.and_then(|call| call.signature.as_ref());
    let call = call.ok_or_else(|| refused("it does not say how it is called".to_owned()))?;
    let mut inputs = Inputs { ranges: &range_constraints, types: Vec::new(), symbols: Vec::new() };
    let mut arguments = Vec::new();
    for name in input_names(&graph_module)? {
        inputs.add(name, tensor(&graph_module, name)?)?;
        arguments.push(Argument { name: name.into(), kind: ArgumentKind::Tensor, optional: false });
    }
    let outputs = output_names(&graph_module, &call.out_spec)?;
    let n_given = n_leaves(&document::tree_spec(&call.in_spec)?);
    if n_given != arguments.len() || arguments.is_empty() || n_given.max(outputs.len()) > MAX_VALUES
    {
        let text = format!(
            "it takes {n_given} values, {} of them tensors, and returns {}; expected 1 to {MAX_VALUES} tensors",
            arguments.len(),
            outputs.len()
        );
        return Err(refused(text));
    }
    let returns = if outputs.len() == 1 {
        "Tensor".to_owned()
    } else {
        format!("Tuple[{}]", vec!["Tensor"; outputs.len()].join(", "))
    };
    let sizes = inputs.symbols.into_iter().map(|(_, rule)| rule).collect();
    let interface = Interface { inputs: inputs.types, sizes, outputs };
    let signature = Signature {
        arguments,
        returns,
        methods: vec!["forward".to_owned()],
        reach: Reach::Native,
        mutates_state: mutates_state(&graph_module),
        code: None,
        parameters: parameters(&graph_module),
        interface: Some(Arc::new(interface)),
    };
    let call_spec = [call.in_spec.clone(), call.out_spec.clone()];
    Ok(Exported { signature, call_spec, writes_inputs: writes_inputs(&graph_module) })
}

fn refused(text: String) -> Refusal {
    (Fault::Unsupported, format!("the package cannot be served: {text}"))
}

/// Whether a condition says no more than sizes and ranges do: sizes that are equal, or that lie on one side of a number.
fn is_covered(guard: &str) -> bool {
    let is_size =
        |word: &str| word.starts_with("L[") && word.contains(".size()[") && word.ends_with(']');
    let is_term = |word: &str| is_size(word) || word.bytes().all(|it| it.is_ascii_digit());
    let is_plain = |condition: &str| {
        let words: Vec<_> = condition.split(' ').collect();
        let (terms, relations): (Vec<_>, Vec<_>) =
            words.iter().enumerate().partition(|(place, _)| place % 2 == 0);
        // Of two sizes, only that they are the same is looked at when a request comes.
        let n_sizes = terms.iter().filter(|(_, word)| is_size(word)).count();
        let are_equal = relations.iter().all(|(_, word)| **word == "==");
        terms.len() == relations.len() + 1
            && (n_sizes <= 1 || are_equal)
            && terms.iter().all(|(_, word)| is_term(word))
            && relations.iter().all(|(_, word)| matches!(**word, "==" | "<=" | ">=" | "<" | ">"))
    };
    guard.split(" and ").all(is_plain)
}

fn input_names(module: &GraphModule) -> Result<Vec<&str>, Refusal> {
    let mut names = Vec::new();
    for spec in &module.signature.input_specs {
        match spec {
            InputSpec::UserInput { arg } => match &arg.as_tensor {
                Some(tensor) => names.push(tensor.name.as_str()),
                None => return Err(refused("an argument of it is no tensor".to_owned())),
            },
            InputSpec::ConstantInput(_) => {
                return Err(refused("an argument of it is no tensor".to_owned()));
            }
            InputSpec::CustomObj(_) | InputSpec::Token(_) => {
                return Err(refused("it keeps objects beside its weights".to_owned()));
            }
            InputSpec::Parameter { .. }
            | InputSpec::Buffer { .. }
            | InputSpec::TensorConstant(_) => {}
        }
    }
    Ok(names)
}

fn tensor<'m>(module: &'m GraphModule, name: &str) -> Result<&'m TensorMeta, Refusal> {
    let found = module.graph.tensor_values.get(name);
    found.ok_or_else(|| refused(format!("it does not say what {name:?} is")))
}

fn datatype(meta: &TensorMeta) -> Option<DataType> {
    DATATYPES.iter().find(|(number, _)| *number == meta.dtype).map(|(_, datatype)| *datatype)
}

/// What is known of the inputs so far.
struct Inputs<'p> {
    ranges: &'p HashMap<String, Range>,
    types: Vec<TensorType>,
    /// In the order in which they come first.
    symbols: Vec<(&'p str, SizeRule)>,
}

impl<'p> Inputs<'p> {
    fn add(&mut self, name: &str, meta: &'p TensorMeta) -> Result<(), Refusal> {
        let datatype = datatype(meta).ok_or_else(|| {
            refused(format!(
                "input {name:?} has the datatype {} of torch, which no request can carry",
                meta.dtype
            ))
        })?;
        if meta.device.kind != "cpu" {
            let device = &meta.device.kind;
            return Err(refused(format!(
                "input {name:?} lies on the device {device:?}, expected \"cpu\""
            )));
        }
        if !is_contiguous(&meta.sizes, &meta.strides) {
            return Err(refused(format!(
                "input {name:?} has rows that do not lie one after the other: export it with contiguous inputs"
            )));
        }
        let place = self.types.len();
        let mut dims = Vec::with_capacity(meta.sizes.len());
        for (axis, size) in meta.sizes.iter().enumerate() {
            dims.push(match size {
                Size::AsInt(size) => Dim::Fixed(usize::try_from(*size).unwrap_or(0)),
                Size::AsExpr(it) => {
                    let symbol = symbol(&it.expr_str).ok_or_else(|| refused(format!(
                        "input {name:?} has the size {} in dimension {axis}, which is computed from others", it.expr_str
                    )))?;
                    self.note(symbol, place, axis);
                    Dim::Variable
                }
            });
        }
        self.types.push(TensorType { datatype, shape: ShapePattern::Dims(dims) });
        Ok(())
    }

    fn note(&mut self, symbol: &'p str, place: usize, axis: usize) {
        if let Some((_, rule)) = self.symbols.iter_mut().find(|(known, _)| *known == symbol) {
            rule.places.push((place, axis));
            return;
        }
        let range = self.ranges.get(symbol);
        let bound = |bound: Option<i64>| bound.and_then(|it| usize::try_from(it).ok());
        let min = bound(range.and_then(|it| it.min_val)).unwrap_or(1).max(1);
        let max = bound(range.and_then(|it| it.max_val));
        self.symbols.push((symbol, SizeRule { places: vec![(place, axis)], min, max }));
    }
}

/// Names of the outputs, each of which is a tensor.
fn output_names(module: &GraphModule, spec: &str) -> Result<Vec<Option<Arc<str>>>, Refusal> {
    let mut n_outputs = 0;
    for output in &module.signature.output_specs {
        for (kind, output) in output {
            match &**kind {
                "user_output" => n_outputs += 1,
                // It is computed with them, and written where it came from.
                "buffer_mutation" | "user_input_mutation" => continue,
                _ => return Err(refused(format!("it has a result of the kind {kind}"))),
            }
            if output.arg.as_ref().is_none_or(|arg| arg.as_tensor.is_none()) {
                return Err(refused("a result of it is no tensor".to_owned()));
            }
        }
    }
    let mut names = Vec::new();
    name_leaves(&document::tree_spec(spec)?, None, &mut names);
    if names.len() != n_outputs {
        let text =
            format!("it returns {n_outputs} tensors, and says that they are {}", names.len());
        return Err(refused(text));
    }
    Ok(names)
}

/// Names what is nested: as the outputs of other models, by keys, and by places where that is nested itself.
fn name_leaves(spec: &TreeSpec, own: Option<&str>, names: &mut Vec<Option<Arc<str>>>) {
    if spec.kind.is_none() {
        names.push(own.map(Arc::from));
        return;
    }
    let children = &spec.children_spec;
    let keys = spec.context.as_deref().and_then(document::keys);
    let keys = keys.filter(|keys| keys.len() == children.len());
    let is_plain = own.is_none() && keys.is_none() && children.iter().all(|it| it.kind.is_none());
    for (place, child) in children.iter().enumerate() {
        let name = match (&keys, own) {
            _ if is_plain => None,
            (Some(keys), None) => Some(keys[place].clone()),
            (Some(keys), Some(own)) => Some(format!("{own}_{}", keys[place])),
            (None, own) => Some(format!("{}_{place}", own.unwrap_or("output"))),
        };
        name_leaves(child, name.as_deref(), names);
    }
}

fn n_leaves(spec: &TreeSpec) -> usize {
    match spec.kind {
        None => 1,
        Some(_) => spec.children_spec.iter().map(n_leaves).sum(),
    }
}

/// Whether it writes to its buffers, as far as the program says so plainly; the trial compares calls.
fn mutates_state(module: &GraphModule) -> bool {
    let outputs = &module.signature.output_specs;
    let buffers = module.signature.input_specs.iter().filter_map(|spec| match spec {
        InputSpec::Buffer { arg, .. } => Some(arg.name.as_str()),
        _ => None,
    });
    let buffers: Vec<_> = buffers.collect();
    let writes = |node: &Node| {
        let written = node.inputs.first().and_then(|it| it.arg.as_tensor.as_ref());
        is_in_place(&node.target) && written.is_some_and(|it| buffers.contains(&it.name.as_str()))
    };
    outputs.iter().any(|output| output.contains_key("buffer_mutation"))
        || module.graph.nodes.iter().any(writes)
}

/// Whether it may write to its inputs. What operators that work in place are given may be a view of one.
fn writes_inputs(module: &GraphModule) -> bool {
    let nodes = &module.graph.nodes;
    let outputs = &module.signature.output_specs;
    nodes.is_empty()
        || nodes.iter().any(|node| is_in_place(&node.target))
        || outputs.iter().any(|output| output.contains_key("user_input_mutation"))
}

/// Whether an operator writes to what it is given: `torch.ops.aten.add_.Tensor`.
fn is_in_place(target: &str) -> bool {
    let name = target.strip_prefix("torch.ops.").and_then(|it| it.split('.').nth(1));
    name.is_some_and(|name| name.ends_with('_') && !name.ends_with("__"))
}

fn parameters(module: &GraphModule) -> Vec<Parameter> {
    let parameter = |(arg, name): (&str, &str)| {
        let meta = module.graph.tensor_values.get(arg)?;
        let size = |size: &Size| match size {
            Size::AsInt(size) => usize::try_from(*size).unwrap_or(0),
            Size::AsExpr(_) => 0,
        };
        let shape = meta.sizes.iter().map(size).collect();
        Some(Parameter { name: name.to_owned(), shape, datatype: datatype(meta) })
    };
    let named = module.signature.input_specs.iter().filter_map(|spec| match spec {
        InputSpec::Parameter { arg, parameter_name: name }
        | InputSpec::Buffer { arg, buffer_name: name } => Some((arg.name.as_str(), name.as_str())),
        _ => None,
    });
    named.filter_map(parameter).collect()
}
