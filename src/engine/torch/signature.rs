//! What a TorchScript module declares, in our words.

use super::{FORWARD, convert, fault};
use crate::engine::{Argument, ArgumentKind, EngineError, Fault, Parameter, Reach, Signature};
use crate::tensor::DataType;
use std::sync::Arc;
use torch_shim::{IValue, Module, Type};

/// Arguments that `forward` may take. Each is looked for by its name, in what is known of the model.
const MAX_ARGUMENTS: usize = 1024;

/// How what a request gives and leaves out becomes the arguments of `forward`.
#[derive(Debug)]
pub(super) struct Arguments {
    /// For each argument of `forward`, what it is when it is left out.
    defaults: Vec<Fallback>,
    /// For each argument that a request may give, its place among those of `forward`.
    places: Vec<usize>,
    /// How many arguments must be handed over whatever is given: behind them, `forward` has defaults.
    n_minimum: usize,
}

#[derive(Debug, Clone)]
enum Fallback {
    None,
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(Vec<u8>),
    List(Vec<Fallback>),
    Tuple(Vec<Fallback>),
    Dict(Vec<(Fallback, Fallback)>),
}

impl Arguments {
    /// The place in `forward` of an argument that a request may give.
    pub(super) fn place(&self, position: usize) -> Option<usize> {
        self.places.get(position).copied()
    }

    /// How many arguments are to be handed over where those at these places are given.
    pub(super) fn n_handed(&self, last_given: Option<usize>) -> usize {
        self.n_minimum.max(last_given.map_or(0, |place| place + 1))
    }

    /// What stands for an argument that is left out.
    pub(super) fn left_out(&self, place: usize) -> IValue {
        self.defaults.get(place).map_or(IValue::None, Fallback::value)
    }
}

impl Fallback {
    /// `None` for a value that is not to be had outside of the model.
    fn of(value: &IValue) -> Option<Self> {
        let all = |values: &[IValue]| values.iter().map(Self::of).collect::<Option<Vec<_>>>();
        Some(match value {
            IValue::None => Self::None,
            IValue::Int(number) => Self::Int(*number),
            IValue::Float(number) => Self::Float(*number),
            IValue::Bool(flag) => Self::Bool(*flag),
            IValue::Str(text) => Self::Str(text.clone()),
            IValue::List(values) => Self::List(all(values)?),
            IValue::Tuple(values) => Self::Tuple(all(values)?),
            IValue::Dict(entries) => {
                let entry =
                    |(key, value): &(IValue, IValue)| Some((Self::of(key)?, Self::of(value)?));
                Self::Dict(entries.iter().map(entry).collect::<Option<_>>()?)
            }
            IValue::Tensor(_) => return None,
        })
    }

    fn value(&self) -> IValue {
        let all = |values: &[Self]| values.iter().map(Self::value).collect();
        match self {
            Self::None => IValue::None,
            Self::Int(number) => IValue::Int(*number),
            Self::Float(number) => IValue::Float(*number),
            Self::Bool(flag) => IValue::Bool(*flag),
            Self::Str(text) => IValue::Str(text.clone()),
            Self::List(values) => IValue::List(all(values)),
            Self::Tuple(values) => IValue::Tuple(all(values)),
            Self::Dict(entries) => {
                let entry = |(key, value): &(Self, Self)| (key.value(), value.value());
                IValue::Dict(entries.iter().map(entry).collect())
            }
        }
    }
}

pub(super) fn read(module: &Module) -> Result<(Signature, Arguments), EngineError> {
    let methods = module.methods().map_err(fault)?;
    let forward = methods.iter().find(|method| method.name == FORWARD).ok_or_else(|| {
        let names: Vec<_> = methods.iter().map(|method| &*method.name).collect();
        let message = format!("the model has no method \"forward\", only {}", names.join(", "));
        EngineError::new(Fault::Unsupported, message)
    })?;
    let (listed, arguments) = arguments(&forward.arguments)?;
    let parameters = module.parameters().map_err(fault)?.into_iter().map(|parameter| Parameter {
        name: parameter.name,
        shape: parameter.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect(),
        datatype: parameter.datatype.and_then(convert::datatype),
    });
    let operators = module.operators().map_err(fault)?;
    // It adds gradients to what they are of.
    let adds_gradients = operators.iter().any(|it| it.starts_with("aten::backward"));
    let signature = Signature {
        arguments: listed,
        returns: forward.returns.iter().map(type_name).collect::<Vec<_>>().join(", "),
        methods: methods.iter().map(|method| method.name.clone()).collect(),
        reach: Reach::Operators(operators),
        mutates_state: adds_gradients || module.mutates_state().map_err(fault)?,
        // Too long or nested too deep: such code is not analyzed.
        code: module.graph(FORWARD).ok().map(Arc::from),
        parameters: parameters.collect(),
        interface: None,
    };
    Ok((signature, arguments))
}

/// The arguments that a request may give, and the way to those of `forward`. What a request cannot carry
/// stays at its default, if it has one.
fn arguments(
    forward: &[torch_shim::SchemaArgument],
) -> Result<(Vec<Argument>, Arguments), EngineError> {
    if forward.len() > MAX_ARGUMENTS {
        let n = forward.len();
        let message = format!("forward takes {n} arguments, at most {MAX_ARGUMENTS} are served");
        return Err(EngineError::new(Fault::Unsupported, message));
    }
    let mut listed = Vec::new();
    let mut arguments = Arguments { defaults: Vec::new(), places: Vec::new(), n_minimum: 0 };
    // Behind a default that is not to be had, nothing can be given: it would have to be handed over.
    let mut is_reachable = true;
    for (place, argument) in forward.iter().enumerate() {
        let nullable = matches!(argument.ty, Type::Optional(_));
        let optional = argument.optional || nullable;
        match kind(&argument.ty) {
            Some(kind) if is_reachable || !optional => {
                let name = argument.name.as_str().into();
                listed.push(Argument { name, kind, optional });
                arguments.places.push(place);
            }
            _ if optional => {}
            _ => return Err(not_carried(argument)),
        }
        if !argument.optional {
            arguments.n_minimum = place + 1;
        }
        let default = argument.default.as_ref().and_then(Fallback::of);
        is_reachable &= !argument.optional || default.is_some();
        arguments.defaults.push(default.unwrap_or(Fallback::None));
    }
    Ok((listed, arguments))
}

/// What `forward` returns.
pub(super) fn returns(module: &Module) -> Result<Type, EngineError> {
    let methods = module.methods().map_err(fault)?;
    let forward = methods.into_iter().find(|method| method.name == FORWARD);
    let mut returns = forward.map_or_else(Vec::new, |forward| forward.returns);
    Ok(if returns.len() == 1 { returns.remove(0) } else { Type::Tuple(returns) })
}

/// What an argument of this type takes; `None` for one that a request cannot carry.
fn kind(ty: &Type) -> Option<ArgumentKind> {
    Some(match ty {
        Type::Tensor => ArgumentKind::Tensor,
        Type::Int => ArgumentKind::Scalar(DataType::Int64),
        Type::Float => ArgumentKind::Scalar(DataType::Fp64),
        Type::Bool => ArgumentKind::Scalar(DataType::Bool),
        Type::Str => ArgumentKind::Scalar(DataType::Bytes),
        Type::List(inner) if matches!(**inner, Type::Str) => ArgumentKind::Texts,
        Type::Optional(inner) => kind(inner)?,
        _ => return None,
    })
}

fn not_carried(argument: &torch_shim::SchemaArgument) -> EngineError {
    let message = format!(
        "argument {:?} of forward is of type {}, which a request cannot carry, and has no default; wrap the model so that it takes tensors and plain numbers",
        argument.name,
        type_name(&argument.ty)
    );
    EngineError::new(Fault::Unsupported, message)
}

fn type_name(ty: &Type) -> String {
    let list = |types: &[Type]| types.iter().map(type_name).collect::<Vec<_>>().join(", ");
    match ty {
        Type::Tensor => "Tensor".to_owned(),
        Type::Int => "int".to_owned(),
        Type::Float => "float".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Str => "str".to_owned(),
        Type::None => "None".to_owned(),
        Type::List(inner) => format!("List[{}]", type_name(inner)),
        Type::Tuple(types) => format!("Tuple[{}]", list(types)),
        Type::NamedTuple(fields) => {
            let field = |(name, ty): &(String, Type)| format!("{name}: {}", type_name(ty));
            format!("NamedTuple[{}]", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Type::Dict(key, value) => format!("Dict[{}, {}]", type_name(key), type_name(value)),
        Type::Optional(inner) => format!("Optional[{}]", type_name(inner)),
        Type::Other(text) => text.clone(),
    }
}
