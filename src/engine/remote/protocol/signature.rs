//! What a model file declares, as it travels.

use super::words::WireDataType;
use crate::engine::package::Package;
use crate::engine::{Argument, ArgumentKind, Interface, Parameter, Reach, Signature, TensorType};
use crate::inference::SizeRule;
use crate::tensor::ShapePattern;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::sync::Arc;

/// [`Signature`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::engine::remote) struct WireSignature {
    arguments: Vec<WireArgument>,
    returns: String,
    methods: Vec<String>,
    /// Absent for native code.
    operators: Option<Vec<String>>,
    mutates_state: bool,
    code: Option<String>,
    parameters: Vec<WireParameter>,
    interface: Option<WireInterface>,
}

/// [`Interface`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct WireInterface {
    /// Datatypes and shapes, -1 for sizes that vary.
    inputs: Vec<(WireDataType, Vec<i64>)>,
    sizes: Vec<WireSize>,
    outputs: Vec<Option<String>>,
}

/// [`SizeRule`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct WireSize {
    places: Vec<(usize, usize)>,
    min: usize,
    max: Option<usize>,
}

/// [`Package`] as it travels: its files come beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::engine::remote) struct WirePackage {
    signature: WireSignature,
    call_spec: [String; 2],
    writes_inputs: bool,
    bytes: u64,
    pub(in crate::engine::remote) has_weights: bool,
}

impl WirePackage {
    /// The package, with the files that came.
    pub(in crate::engine::remote) fn with_files(
        self,
        library: File,
        weights: Option<File>,
    ) -> Package {
        let Self { signature, call_spec, writes_inputs, bytes, .. } = self;
        Package { library, weights, signature: signature.into(), call_spec, writes_inputs, bytes }
    }
}

impl From<&Package> for WirePackage {
    fn from(package: &Package) -> Self {
        Self {
            signature: WireSignature::from(&package.signature),
            call_spec: package.call_spec.clone(),
            writes_inputs: package.writes_inputs,
            bytes: package.bytes,
            has_weights: package.weights.is_some(),
        }
    }
}

impl From<&Interface> for WireInterface {
    fn from(interface: &Interface) -> Self {
        let input =
            |it: &TensorType| (WireDataType(it.datatype), it.shape.to_wire().unwrap_or_default());
        let size = |it: &SizeRule| WireSize { places: it.places.clone(), min: it.min, max: it.max };
        Self {
            inputs: interface.inputs.iter().map(input).collect(),
            sizes: interface.sizes.iter().map(size).collect(),
            outputs: interface.outputs.iter().map(|it| it.as_deref().map(str::to_owned)).collect(),
        }
    }
}

impl From<WireInterface> for Interface {
    fn from(wire: WireInterface) -> Self {
        let input = |(datatype, dims): (WireDataType, Vec<i64>)| TensorType {
            datatype: datatype.0,
            shape: ShapePattern::from_wire(&dims).unwrap_or(ShapePattern::Unknown),
        };
        let size = |WireSize { places, min, max }| SizeRule { places, min, max };
        Self {
            inputs: wire.inputs.into_iter().map(input).collect(),
            sizes: wire.sizes.into_iter().map(size).collect(),
            outputs: wire.outputs.into_iter().map(|it| it.map(Arc::from)).collect(),
        }
    }
}

/// [`Argument`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct WireArgument {
    name: String,
    kind: WireArgumentKind,
    optional: bool,
}

/// [`ArgumentKind`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
enum WireArgumentKind {
    Tensor,
    Texts,
    Scalar(WireDataType),
}

/// [`Parameter`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct WireParameter {
    name: String,
    shape: Vec<usize>,
    datatype: Option<WireDataType>,
}

impl From<&Signature> for WireSignature {
    fn from(signature: &Signature) -> Self {
        let argument = |argument: &Argument| WireArgument {
            name: argument.name.to_string(),
            kind: match argument.kind {
                ArgumentKind::Tensor => WireArgumentKind::Tensor,
                ArgumentKind::Texts => WireArgumentKind::Texts,
                ArgumentKind::Scalar(datatype) => WireArgumentKind::Scalar(WireDataType(datatype)),
            },
            optional: argument.optional,
        };
        let parameter = |parameter: &Parameter| WireParameter {
            name: parameter.name.clone(),
            shape: parameter.shape.clone(),
            datatype: parameter.datatype.map(WireDataType),
        };
        Self {
            arguments: signature.arguments.iter().map(argument).collect(),
            returns: signature.returns.clone(),
            methods: signature.methods.clone(),
            operators: match &signature.reach {
                Reach::Operators(operators) => Some(operators.clone()),
                Reach::Native => None,
            },
            mutates_state: signature.mutates_state,
            code: signature.code.as_deref().map(str::to_owned),
            parameters: signature.parameters.iter().map(parameter).collect(),
            interface: signature.interface.as_deref().map(WireInterface::from),
        }
    }
}

impl From<WireSignature> for Signature {
    fn from(wire: WireSignature) -> Self {
        let argument = |argument: WireArgument| Argument {
            name: argument.name.into(),
            kind: match argument.kind {
                WireArgumentKind::Tensor => ArgumentKind::Tensor,
                WireArgumentKind::Texts => ArgumentKind::Texts,
                WireArgumentKind::Scalar(datatype) => ArgumentKind::Scalar(datatype.0),
            },
            optional: argument.optional,
        };
        let parameter = |parameter: WireParameter| Parameter {
            name: parameter.name,
            shape: parameter.shape,
            datatype: parameter.datatype.map(|datatype| datatype.0),
        };
        Self {
            arguments: wire.arguments.into_iter().map(argument).collect(),
            returns: wire.returns,
            methods: wire.methods,
            reach: wire.operators.map_or(Reach::Native, Reach::Operators),
            mutates_state: wire.mutates_state,
            code: wire.code.map(Arc::from),
            parameters: wire.parameters.into_iter().map(parameter).collect(),
            interface: wire.interface.map(|it| Arc::new(it.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reach: Reach, json: &str) {
        let signature = Signature { reach, ..Signature::default() };
        let text = serde_json::to_string(&WireSignature::from(&signature)).unwrap();
        assert!(text.contains(json), "{text}");
        let wire: WireSignature = serde_json::from_str(&text).unwrap();
        assert_eq!(Signature::from(wire), signature);
    }

    #[test]
    fn native_code_is_told_from_code_without_operators() {
        check(Reach::Operators(vec!["aten::add".into()]), r#""operators":["aten::add"]"#);
        check(Reach::Operators(Vec::new()), r#""operators":[]"#);
        check(Reach::Native, r#""operators":null"#);
    }
}
