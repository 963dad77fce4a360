//! What a model file declares: arguments, parameters, and what its code can reach. Nothing here has been run.

use crate::inference::SizeRule;
use crate::tensor::{DataType, ShapePattern};
use std::sync::Arc;

/// What kind of value an argument of a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A tensor, whose datatype and shape the file does not say.
    Tensor,
    /// A list of texts, which travels as a `BYTES` tensor of one dimension.
    Texts,
    /// A plain number, flag or text of this datatype (`INT64`, `FP64`, `BOOL`, `BYTES`).
    Scalar(DataType),
}

/// An argument of a model, as its file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name in the model's source.
    pub name: Arc<str>,
    /// What it takes.
    pub kind: ArgumentKind,
    /// Whether the model has a default for it.
    pub optional: bool,
}

/// A parameter or buffer that the file carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its qualified name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its element type; `None` for types that the protocol has no word for.
    pub datatype: Option<DataType>,
}

/// What a model's code can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// What these operators do and nothing else: every one that any method can reach, sorted.
    Operators(Vec<String>),
    /// Whatever its process may: it is native code, and no list says what that does.
    Native,
}

impl Default for Reach {
    fn default() -> Self {
        Self::Operators(Vec::new())
    }
}

impl Reach {
    /// The operators that are known; none of native code.
    #[must_use]
    pub fn operators(&self) -> &[String] {
        match self {
            Self::Operators(operators) => operators,
            Self::Native => &[],
        }
    }
}

/// What a model's inputs and outputs are, where the file says it and takes nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// The tensor that each argument takes.
    pub inputs: Vec<TensorType>,
    /// The sizes of them that vary.
    pub sizes: Vec<SizeRule>,
    /// Names of the outputs, in the order in which the model returns them; `None` for one that has none.
    pub outputs: Vec<Option<Arc<str>>>,
}

/// The datatype and the shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorType {
    /// Its element type.
    pub datatype: DataType,
    /// Its dimensions.
    pub shape: ShapePattern,
}

impl Interface {
    /// The most rows that a run may have; `None` where there is no such limit.
    #[must_use]
    pub fn max_rows(&self) -> Option<usize> {
        let of_rows = |rule: &&SizeRule| rule.places.iter().any(|(_, axis)| *axis == 0);
        self.sizes.iter().filter(of_rows).filter_map(|rule| rule.max).min()
    }
}

/// What can be read from a model file without running it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    /// The arguments of `forward`.
    pub arguments: Vec<Argument>,
    /// The return type, in the words of the file's language.
    pub returns: String,
    /// Every method, `forward` among them.
    pub methods: Vec<String>,
    /// What its methods can do.
    pub reach: Reach,
    /// Whether a method writes to what the model holds.
    pub mutates_state: bool,
    /// The code of `forward` as data, which `probe::proof` reads; `None` where there is none to be had.
    pub code: Option<Arc<str>>,
    /// Parameters and buffers, in the order of definition.
    pub parameters: Vec<Parameter>,
    /// What its inputs and outputs are, where the file says that too.
    pub interface: Option<Arc<Interface>>,
}

/// An operator's name without its overload.
#[must_use]
pub fn without_overload(operator: &str) -> &str {
    operator.split_once('.').map_or(operator, |(base, _)| base)
}

impl Signature {
    /// Whether it may use an operator of that name, in any overload. Native code may use any.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        match &self.reach {
            Reach::Operators(operators) => operators.iter().any(|it| without_overload(it) == name),
            Reach::Native => true,
        }
    }

    /// Whether its code may ask for gradients, which are computed only where it runs for them.
    #[must_use]
    pub fn takes_gradients(&self) -> bool {
        self.uses("aten::grad") || self.uses("aten::backward")
    }
}
