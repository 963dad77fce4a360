//! The types of model.toml's keys that no other file has.

use super::super::policy::VersionPolicy;
use crate::engine::Precision;
use crate::inference::{InputPadding, Version};
use crate::settings::{Setting, ToToml, Value, parsed, quote, words};
use crate::tensor::{DataType, ShapePattern};
use crate::transform::Activation;
use half::{bf16, f16};
use std::collections::HashSet;
use std::path::{Component, Path};
use std::sync::Arc;

/// Maximum number of the latest versions that are served.
const MAX_LATEST: usize = 1000;

/// Elements of one row: 256 MiB of FP32.
const MAX_ROW_ELEMENTS: i64 = 1 << 26;

/// Longest name of an input or output, in bytes.
const MAX_TENSOR_NAME: usize = 128;
/// Maximum number of dimensions of a declared shape.
const MAX_DIMS: usize = 32;
/// Maximum number of padded sizes, and the largest of them.
const MAX_BUCKETS: usize = 256;
const MAX_BUCKET: usize = 1 << 24;

words! {
    Precision, "\"fp32\", \"bf16\" or \"fp16\"", Fp32 = "fp32", Bf16 = "bf16", Fp16 = "fp16";
    Activation, "\"none\", \"softmax\" or \"sigmoid\"",
        None = "none", Softmax = "softmax", Sigmoid = "sigmoid";
}

parsed! { DataType, "a datatype like \"FP32\" or \"INT64\""; }

/// Whether requests may share runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Where that is proved or probed.
    On,
    /// Never.
    Off,
    /// Also where it is not proved, as long as no probe finds otherwise.
    Trust,
}

impl Setting for Sharing {
    const EXPECTED: &'static str = "true, false or \"trust\"";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(true) => Some(Self::On),
            Value::Boolean(false) => Some(Self::Off),
            _ => (value.text()? == "trust").then_some(Self::Trust),
        }
    }
}

impl Setting for VersionPolicy {
    const EXPECTED: &'static str =
        "\"latest\", \"latest N\" with N from 1 to 1000, \"all\" or a list of version numbers";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::List(items) if items.is_empty() => None,
            Value::List(items) => {
                let versions = items.iter().map(|item| item.integer().map(Version));
                versions.collect::<Option<_>>().map(Self::Specific)
            }
            _ => match value.text()? {
                "latest" => Some(Self::Latest(1)),
                "all" => Some(Self::All),
                text => {
                    let n = text.strip_prefix("latest ")?.trim().parse().ok()?;
                    (1..=MAX_LATEST).contains(&n).then_some(Self::Latest(n))
                }
            },
        }
    }
}

impl ToToml for VersionPolicy {
    fn to_toml(&self) -> String {
        match self {
            Self::Latest(1) => quote("latest"),
            Self::Latest(n) => quote(&format!("latest {n}")),
            Self::All => quote("all"),
            Self::Specific(versions) => {
                let numbers: Vec<_> =
                    versions.iter().map(|version| version.0.to_string()).collect();
                format!("[{}]", numbers.join(", "))
            }
        }
    }
}

impl Setting for ShapePattern {
    const EXPECTED: &'static str = "a list of sizes, where -1 means any and the first counts rows, of at most 67108864 elements a row";

    fn read(value: &Value) -> Option<Self> {
        let dims: Vec<i64> =
            value.items()?.iter().map(|item| item.integer()).collect::<Option<_>>()?;
        // A trial makes rows of it. A dimension of any size counts as one.
        let elements = dims.iter().try_fold(1i64, |all, &dim| all.checked_mul(dim.max(1)));
        let is_small = elements.is_some_and(|elements| elements <= MAX_ROW_ELEMENTS);
        let is_allowed = dims.len() <= MAX_DIMS && !dims.contains(&0) && is_small;
        is_allowed.then(|| Self::from_wire(&dims).ok()).flatten()
    }
}

/// Sizes that dimensions are padded to: the only list of numbers that there is.
impl Setting for Vec<usize> {
    const EXPECTED: &'static str = "a list of 1 to 256 rising sizes";

    fn read(value: &Value) -> Option<Self> {
        let items = value.items()?;
        let size = |item: &Value| item.integer().filter(|size| (1..=MAX_BUCKET).contains(size));
        let sizes: Self = items.iter().map(|item| size(item)).collect::<Option<_>>()?;
        let is_allowed = (1..=MAX_BUCKETS).contains(&sizes.len());
        (is_allowed && sizes.is_sorted_by(|a, b| a < b)).then_some(sizes)
    }
}

/// The name of an input or output.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorName(pub(super) Arc<str>);

impl Setting for TensorName {
    const EXPECTED: &'static str = "1 to 128 visible ASCII characters";

    fn read(value: &Value) -> Option<Self> {
        let name = value.text()?;
        let is_allowed = (1..=MAX_TENSOR_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic());
        is_allowed.then(|| Self(name.into()))
    }
}

/// Where labels come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSource {
    /// They stand in model.toml.
    Listed(Vec<Arc<str>>),
    /// They stand in this file of the model's folder, one a line.
    File(String),
}

impl Setting for LabelSource {
    const EXPECTED: &'static str = "a list of two or more different texts";

    fn read(value: &Value) -> Option<Self> {
        let items = value.items()?;
        let labels: Option<Vec<Arc<str>>> =
            items.iter().map(|item| item.text().map(Arc::from)).collect();
        labels.filter(|labels| are_labels(labels)).map(Self::Listed)
    }
}

/// Whether these can tell classes apart.
pub(in crate::repository) fn are_labels(labels: &[Arc<str>]) -> bool {
    let different: HashSet<_> = labels.iter().collect();
    labels.len() >= 2 && different.len() == labels.len()
}

/// The path of a file in the model's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFile(pub(in crate::repository) String);

impl Setting for FolderFile {
    const EXPECTED: &'static str = "a path inside the model's folder";

    fn read(value: &Value) -> Option<Self> {
        let path = value.text()?;
        let mut parts = Path::new(path).components();
        let stays_inside = !path.contains('\0')
            && !path.is_empty()
            && parts.all(|part| matches!(part, Component::Normal(_)));
        stays_inside.then(|| Self(path.into()))
    }
}

/// An input whose variable dimension may be padded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pad {
    /// The input's name.
    pub input: Arc<str>,
    /// Where and with what.
    pub padding: InputPadding,
}

/// What an input is padded with. Whether its datatype has such a value is seen later.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PadValue(Value);

impl Setting for PadValue {
    const EXPECTED: &'static str = "a number that the input's datatype holds";

    fn read(value: &Value) -> Option<Self> {
        Some(Self(value.clone()))
    }
}

impl PadValue {
    /// The bytes of one element.
    pub(super) fn element(&self, datatype: DataType) -> Result<Vec<u8>, String> {
        let Self(value) = self;
        if datatype == DataType::Bytes {
            return Err("texts cannot be padded".into());
        }
        let wrong = || format!("expected {}, got {value}", Self::EXPECTED);
        element(value, datatype).ok_or_else(wrong)
    }
}

/// The bytes of one element; `None` when the datatype cannot hold the number as it is written.
fn element(value: &Value, datatype: DataType) -> Option<Vec<u8>> {
    Some(match datatype {
        DataType::Bool => {
            let flag = match value {
                Value::Boolean(flag) => *flag,
                _ => *[false, true].get(value.integer::<usize>()?)?,
            };
            vec![u8::from(flag)]
        }
        DataType::UInt8 => value.integer::<u8>()?.to_le_bytes().into(),
        DataType::UInt16 => value.integer::<u16>()?.to_le_bytes().into(),
        DataType::UInt32 => value.integer::<u32>()?.to_le_bytes().into(),
        DataType::UInt64 => value.integer::<u64>()?.to_le_bytes().into(),
        DataType::Int8 => value.integer::<i8>()?.to_le_bytes().into(),
        DataType::Int16 => value.integer::<i16>()?.to_le_bytes().into(),
        DataType::Int32 => value.integer::<i32>()?.to_le_bytes().into(),
        DataType::Int64 => value.integer::<i64>()?.to_le_bytes().into(),
        DataType::Fp16 => f16::from_f64(value.number()?).to_le_bytes().into(),
        DataType::Bf16 => bf16::from_f64(value.number()?).to_le_bytes().into(),
        DataType::Fp32 => (value.number()? as f32).to_le_bytes().into(),
        DataType::Fp64 => value.number()?.to_le_bytes().into(),
        DataType::Bytes => return None,
    })
}
