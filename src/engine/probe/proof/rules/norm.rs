//! Layers that normalize: their statistics must not be taken over the rows.

use super::layers::input_before;
use super::{Call, RuleResult, Value, one};
use crate::engine::probe::proof::reason::Reason;
use crate::engine::probe::proof::value::Kind;

pub(super) fn batch_norm(call: &mut Call<'_, '_>) -> RuleResult {
    let input = call.first()?;
    let has_statistics = call.optional_tensor("running_mean")?.is_some();
    let in_training = call.flag("training")?;
    for name in ["weight", "bias", "running_mean", "running_var"] {
        if call.optional_tensor(name)?.is_some_and(|it| !it.is_free()) {
            return Err(call.meets("has weights that hang on rows"));
        }
    }
    if in_training && has_statistics {
        let text =
            "batch_norm updates its statistics: exported in training mode? call eval() first";
        return Err(Reason::coupled(text));
    }
    if input.is_free() {
        return one(input);
    }
    if in_training || !has_statistics {
        let text = "batch_norm takes its statistics over the rows: exported in training mode? call eval() first";
        return Err(Reason::coupled(text));
    }
    match input.axis() {
        Some(1) => Err(call.meets("has a statistic for each row")),
        _ if input.drops() => Err(call.unclear("the rank of its input")),
        _ => one(input.of(Kind::Float)),
    }
}

pub(super) fn instance_norm(call: &mut Call<'_, '_>) -> RuleResult {
    let input = call.first()?;
    let own = call.flag("use_input_stats")?;
    if own && call.optional_tensor("running_mean")?.is_some() {
        let text =
            "instance_norm updates its statistics: exported in training mode? call eval() first";
        return Err(Reason::coupled(text));
    }
    for name in ["weight", "bias", "running_mean", "running_var"] {
        if call.optional_tensor(name)?.is_some_and(|it| !it.is_free() || it.rank() != Ok(1)) {
            return Err(call.meets("has weights that hang on rows"));
        }
    }
    if input.axis() != Some(0) || input.drops() || input.rank()? < 3 {
        return Err(call.meets("works across the rows"));
    }
    one(input.of(Kind::Float))
}

pub(super) fn layer_norm(call: &mut Call<'_, '_>) -> RuleResult {
    let n = match call.find("normalized_shape") {
        Some(Value::List(_) | Value::Tuple(_)) => call.elements("normalized_shape")?.len(),
        _ => 1,
    };
    let (input, _) = input_before(call, n)?;
    for name in ["weight", "bias"] {
        if call.optional_tensor(name)?.is_some_and(|it| !it.is_free()) {
            return Err(call.meets("has weights that hang on rows"));
        }
    }
    let result = input.of(Kind::Float);
    match call.node.outputs.len() {
        1 => one(result),
        _ => Err(call.unclear("an output")),
    }
}

pub(super) fn group_norm(call: &mut Call<'_, '_>) -> RuleResult {
    let input = call.first()?;
    if input.axis().is_some_and(|at| at != 0) || input.drops() || call.node.outputs.len() != 1 {
        return Err(call.meets("works across the rows"));
    }
    for name in ["weight", "bias"] {
        if call.optional_tensor(name)?.is_some_and(|it| !it.is_free()) {
            return Err(call.meets("has weights that hang on rows"));
        }
    }
    one(input.of(Kind::Float))
}
