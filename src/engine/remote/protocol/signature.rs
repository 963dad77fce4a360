//! What a model file declares, as it travels.

use super::words::WireDataType;
use crate::engine::{Argument, ArgumentKind, Parameter, Reach, Signature};
use serde::{Deserialize, Serialize};
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
