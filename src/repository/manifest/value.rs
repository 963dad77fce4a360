//! Values of model.toml: what each key takes, in words and as a function.
//!
//! Each function gives `None` for what it does not take; the words go into the message.

use super::super::policy::VersionPolicy;
use super::unit;
use super::{DeviceChoice, Sharing};
use crate::inference::Version;
use crate::tensor::{DataType, ShapePattern};
use crate::transform::Activation;
use half::{bf16, f16};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use toml::de::DeValue;

pub(super) const FLAG: &str = "true or false";
pub(super) const SHARING: &str = "true, false or \"trust\"";
pub(super) const DIFFERENCE: &str = "a number above 0, at most 1";
pub(super) const COUNT: &str = "a whole number above 0";
pub(super) const DURATION: &str = "a duration with its unit, like \"5ms\" or \"30s\"";
pub(super) const SIZE: &str = "a number of bytes, plain or like \"16MiB\"";
pub(super) const VERSIONS: &str = "\"latest\", \"all\" or a list of version numbers";
pub(super) const DEVICE: &str = "\"auto\", \"cpu\" or \"cuda:N\"";
pub(super) const QUEUE_WAIT: &str = "\"auto\" or a duration of at most 24 h like \"500ms\"";
pub(super) const OPTIMIZE: &str = "\"auto\" or \"off\"";
pub(super) const PRECISION: &str = "\"fp32\", \"bf16\" or \"fp16\"";
pub(super) const ACTIVATION: &str = "\"none\", \"softmax\" or \"sigmoid\"";
pub(super) const DATATYPE: &str = "a datatype like \"FP32\" or \"INT64\"";
pub(super) const SHAPE: &str = "a list of sizes, where -1 means any and the first counts rows";

pub(super) const PAD: &str = "a number that the input's datatype holds";
pub(super) const BUCKETS: &str = "a list of 1 to 256 rising sizes";

pub(super) fn text(value: &DeValue<'_>) -> Option<String> {
    value.as_str().map(str::to_owned)
}

pub(super) fn flag(value: &DeValue<'_>) -> Option<bool> {
    value.as_bool()
}

pub(super) fn sharing(value: &DeValue<'_>) -> Option<Sharing> {
    match value.as_bool() {
        Some(true) => Some(Sharing::On),
        Some(false) => Some(Sharing::Off),
        None => (value.as_str()? == "trust").then_some(Sharing::Trust),
    }
}

pub(super) fn difference(value: &DeValue<'_>) -> Option<f64> {
    number(value).filter(|limit| *limit > 0.0 && *limit <= 1.0)
}

pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub(super) fn integer_in(value: &DeValue<'_>, range: RangeInclusive<usize>) -> Option<usize> {
    usize::try_from(integer(value)?).ok().filter(|number| range.contains(number))
}

pub(super) fn count(value: &DeValue<'_>) -> Option<usize> {
    integer_in(value, 1..=usize::MAX)
}

pub(super) fn duration(value: &DeValue<'_>) -> Option<Duration> {
    unit::duration(value.as_str()?)
}

pub(super) fn size(value: &DeValue<'_>) -> Option<u64> {
    match integer(value) {
        Some(bytes) => u64::try_from(bytes).ok(),
        None => unit::size(value.as_str()?),
    }
}

pub(super) fn versions(value: &DeValue<'_>) -> Option<VersionPolicy> {
    if let Some(items) = value.as_array() {
        let number = |item: &DeValue<'_>| integer(item)?.try_into().ok().map(Version);
        let versions: Option<Vec<_>> = items.iter().map(|item| number(item.get_ref())).collect();
        return versions.filter(|versions| !versions.is_empty()).map(VersionPolicy::Specific);
    }
    match value.as_str()? {
        "latest" => Some(VersionPolicy::Latest),
        "all" => Some(VersionPolicy::All),
        _ => None,
    }
}

/// A text that the type itself knows how to read.
pub(super) fn word<T: FromStr>(value: &DeValue<'_>) -> Option<T> {
    value.as_str()?.parse().ok()
}

pub(super) fn number(value: &DeValue<'_>) -> Option<f64> {
    match value.as_float() {
        Some(number) => number.as_str().parse().ok(),
        None => integer(value).map(|number| number as f64),
    }
}

pub(super) fn device(value: &DeValue<'_>) -> Option<DeviceChoice> {
    value.as_str()?.parse().ok()
}

pub(super) fn activation(value: &DeValue<'_>) -> Option<Activation> {
    value.as_str()?.parse().ok()
}

pub(super) fn datatype(value: &DeValue<'_>) -> Option<DataType> {
    value.as_str()?.parse().ok()
}

pub(super) fn shape(value: &DeValue<'_>) -> Option<ShapePattern> {
    let dims: Option<Vec<_>> =
        value.as_array()?.iter().map(|item| integer(item.get_ref())).collect();
    let dims = dims.filter(|dims| dims.len() <= 32 && !dims.contains(&0))?;
    ShapePattern::from_wire(&dims).ok()
}

/// The bytes of one element; `None` when the datatype cannot hold the number as it is written.
pub(super) fn element(value: &DeValue<'_>, datatype: DataType) -> Option<Vec<u8>> {
    let whole = || integer(value);
    let number = || match value.as_float() {
        Some(float) => float.as_str().replace('_', "").parse().ok(),
        None => whole().map(|whole| whole as f64),
    };
    Some(match datatype {
        DataType::Bool => {
            let flag =
                flag(value).or(whole().and_then(|it| [false, true].get(it as usize).copied()));
            vec![u8::from(flag?)]
        }
        DataType::UInt8 => u8::try_from(whole()?).ok()?.to_le_bytes().into(),
        DataType::UInt16 => u16::try_from(whole()?).ok()?.to_le_bytes().into(),
        DataType::UInt32 => u32::try_from(whole()?).ok()?.to_le_bytes().into(),
        DataType::UInt64 => u64::try_from(whole()?).ok()?.to_le_bytes().into(),
        DataType::Int8 => i8::try_from(whole()?).ok()?.to_le_bytes().into(),
        DataType::Int16 => i16::try_from(whole()?).ok()?.to_le_bytes().into(),
        DataType::Int32 => i32::try_from(whole()?).ok()?.to_le_bytes().into(),
        DataType::Int64 => whole()?.to_le_bytes().into(),
        DataType::Fp16 => f16::from_f64(number()?).to_le_bytes().into(),
        DataType::Bf16 => bf16::from_f64(number()?).to_le_bytes().into(),
        DataType::Fp32 => (number()? as f32).to_le_bytes().into(),
        DataType::Fp64 => number()?.to_le_bytes().into(),
        DataType::Bytes => return None,
    })
}

pub(super) fn buckets(value: &DeValue<'_>) -> Option<Vec<usize>> {
    let size = |item: &DeValue<'_>| integer_in(item, 1..=1 << 24);
    let sizes: Vec<_> =
        value.as_array()?.iter().map(|item| size(item.get_ref())).collect::<Option<_>>()?;
    ((1..=256).contains(&sizes.len()) && sizes.is_sorted_by(|a, b| a < b)).then_some(sizes)
}

pub(super) fn labels(value: &DeValue<'_>, most: usize) -> Option<Vec<Arc<str>>> {
    let items = value.as_array()?;
    let labels: Option<Vec<Arc<str>>> =
        items.iter().map(|item| item.get_ref().as_str().map(Arc::from)).collect();
    labels.filter(|labels| are_labels(labels, most))
}

/// Whether these can tell classes apart.
pub(in crate::repository) fn are_labels(labels: &[Arc<str>], most: usize) -> bool {
    let different: HashSet<_> = labels.iter().collect();
    (2..=most).contains(&labels.len()) && different.len() == labels.len()
}
