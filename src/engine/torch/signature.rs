//! What a TorchScript module declares, in our words.

use super::{FORWARD, convert, fault};
use crate::engine::{Argument, ArgumentKind, EngineError, Fault, Parameter, Signature};
use crate::tensor::DataType;
use std::sync::Arc;
use torch_shim::{Module, Type, Value};

/// The values of arguments that a request leaves out although later ones are given.
#[derive(Debug)]
pub(super) struct Defaults(Vec<Default>);

#[derive(Debug, Clone)]
enum Default {
    None,
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(String),
}

impl Defaults {
    pub(super) fn value(&self, position: usize) -> Value {
        match self.0.get(position) {
            Some(Default::Int(number)) => Value::Int(*number),
            Some(Default::Float(number)) => Value::Float(*number),
            Some(Default::Bool(flag)) => Value::Bool(*flag),
            Some(Default::Str(text)) => Value::Str(text.clone()),
            Some(Default::None) | None => Value::None,
        }
    }
}

pub(super) fn read(module: &Module) -> Result<(Signature, Defaults), EngineError> {
    let methods = module.methods().map_err(fault)?;
    let forward = methods.iter().find(|method| method.name == FORWARD).ok_or_else(|| {
        let names: Vec<_> = methods.iter().map(|method| &*method.name).collect();
        let message = format!("the model has no method \"forward\", only {}", names.join(", "));
        EngineError::new(Fault::Unsupported, message)
    })?;
    let mut arguments = Vec::new();
    let mut defaults = Vec::new();
    for argument in &forward.arguments {
        let (kind, nullable) = kind(&argument.name, &argument.ty)?;
        arguments.push(Argument {
            name: argument.name.as_str().into(),
            kind,
            optional: argument.optional || nullable,
        });
        defaults.push(default(argument.default.as_ref()));
    }
    let parameters = module.parameters().map_err(fault)?.into_iter().map(|parameter| Parameter {
        name: parameter.name,
        shape: parameter.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect(),
        datatype: parameter.datatype.and_then(convert::datatype),
    });
    let signature = Signature {
        arguments,
        returns: forward.returns.iter().map(type_name).collect::<Vec<_>>().join(", "),
        methods: methods.iter().map(|method| method.name.clone()).collect(),
        operators: module.operators().map_err(fault)?,
        mutates_state: module.mutates_state().map_err(fault)?,
        // Too long or nested too deep: such code is not analyzed.
        code: module.graph(FORWARD).ok().map(Arc::from),
        parameters: parameters.collect(),
    };
    Ok((signature, Defaults(defaults)))
}

/// The names of the outputs, where `forward` returns a named tuple.
pub(super) fn field_names(module: &Module) -> Result<Vec<Arc<str>>, EngineError> {
    let methods = module.methods().map_err(fault)?;
    let returns =
        methods.iter().find(|method| method.name == FORWARD).map(|forward| &forward.returns);
    Ok(match returns.map(Vec::as_slice) {
        Some([Type::NamedTuple(fields)]) => {
            fields.iter().map(|(name, _)| name.as_str().into()).collect()
        }
        _ => Vec::new(),
    })
}

/// What an argument takes, and whether it may be None.
fn kind(name: &str, ty: &Type) -> Result<(ArgumentKind, bool), EngineError> {
    Ok(match ty {
        Type::Tensor => (ArgumentKind::Tensor, false),
        Type::Int => (ArgumentKind::Scalar(DataType::Int64), false),
        Type::Float => (ArgumentKind::Scalar(DataType::Fp64), false),
        Type::Bool => (ArgumentKind::Scalar(DataType::Bool), false),
        Type::Str => (ArgumentKind::Scalar(DataType::Bytes), false),
        Type::List(inner) if matches!(**inner, Type::Str) => (ArgumentKind::Texts, false),
        Type::Optional(inner) => (kind(name, inner)?.0, true),
        other => {
            let message = format!(
                "argument {name:?} of forward is of type {}, which a request cannot carry; wrap the model so that it takes tensors and plain numbers",
                type_name(other)
            );
            return Err(EngineError::new(Fault::Unsupported, message));
        }
    })
}

fn default(value: Option<&Value>) -> Default {
    match value {
        Some(Value::Int(number)) => Default::Int(*number),
        Some(Value::Float(number)) => Default::Float(*number),
        Some(Value::Bool(flag)) => Default::Bool(*flag),
        Some(Value::Str(text)) => Default::Str(text.clone()),
        _ => Default::None,
    }
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
