//! Recurrent layers: each row has a state of its own, in a dimension that the layout names.

use super::{Call, RuleResult, Value};
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Axis, Kind, State, Tensor};

pub(super) const OPERATORS: &[&str] = &[
    "gru",
    "gru_cell",
    "lstm",
    "lstm_cell",
    "rnn_relu",
    "rnn_relu_cell",
    "rnn_tanh",
    "rnn_tanh_cell",
    "quantized_lstm",
    "quantized_gru",
];

pub(super) fn apply(call: &mut Call<'_, '_>) -> RuleResult {
    match call.name {
        "lstm" | "gru" | "rnn_tanh" | "rnn_relu" => layers(call),
        "lstm_cell" | "gru_cell" | "rnn_tanh_cell" | "rnn_relu_cell" => cell(call),
        // Their weights are packed and scaled over what comes.
        _ => Err(Reason::new(
            Doubt::Scaled,
            format!("{} takes its scale over all rows", call.node.kind),
        )),
    }
}

fn layers(call: &mut Call<'_, '_>) -> RuleResult {
    // Packed sequences of different lengths say in a tensor of theirs where rows begin.
    let input = call.tensor("input").map_err(|_| call.unclear("its packed input"))?;
    if call.find("batch_sizes").is_some() {
        return Err(call.unclear("its packed input"));
    }
    // Whether it drops was judged before; a mode that is not known is not followed.
    call.flag("train")?;
    let batch_at = if call.flag("batch_first")? { 0 } else { 1 };
    let is_batch = input.rank()? == 3
        && input.rows().is_some_and(|axis| *axis == Axis::plain(axis.at) && !axis.drops);
    if !is_batch || input.axis() != Some(batch_at) {
        if input.axis() == Some(1 - batch_at) {
            return Err(call.meets("takes the rows for time"));
        }
        return Err(call.unclear("the rank of its input"));
    }
    let states = match call.name {
        "lstm" => call.tensors("hx")?,
        _ => vec![call.tensor("hx")?],
    };
    let weights = call.tensors("params")?;
    if !weights.iter().all(Tensor::is_free) {
        return Err(call.meets("has weights that hang on rows"));
    }
    for state in &states {
        let has_rows =
            state.rows().is_some_and(|axis| axis.at == 1 && axis.is_plain() && !axis.drops);
        if !has_rows || state.rank()? != 3 {
            return Err(call.unclear("where the rows of its state lie"));
        }
    }
    // Each gate is as wide as the state that it makes, or a run of one step would be wider.
    let gates = match call.name {
        "lstm" => 4,
        "gru" => 3,
        _ => 1,
    };
    let own = states.first().and_then(|state| state.dims.as_ref()?.last().cloned());
    let own =
        own.and_then(|it| it.value()).ok_or_else(|| call.unclear("the width of its state"))?;
    let is_of_gates = |weight: &Tensor| {
        let first = weight.dims.as_ref().and_then(|dims| dims.first()?.value());
        first == Some(own * gates)
    };
    // A projection has a weight more of each layer, and another width.
    let directions = if call.flag("bidirectional")? { 2 } else { 1 };
    let each = if call.flag("has_biases")? { 4 } else { 2 };
    let n_weights = call.int("num_layers")?.checked_mul(directions * each);
    let is_plain = n_weights == i64::try_from(weights.len()).ok()
        && states
            .iter()
            .all(|state| state.dims.as_ref().and_then(|dims| dims.last()?.value()) == Some(own));
    if !is_plain || !weights.iter().all(is_of_gates) {
        return Err(call.unclear("the width of its weights"));
    }
    let width = states.first().and_then(|state| state.dims.as_ref()?.last().cloned());
    let width = width.unwrap_or_else(Size::unknown).times(&Size::of(directions));
    let mut dims = input.sizes()?.to_vec();
    dims[2] = width;
    let mut outputs = vec![Value::Tensor(input.with_dims(dims).of(Kind::Float))];
    outputs.extend(states.into_iter().map(Value::Tensor));
    Ok(Value::Tuple(outputs))
}

fn cell(call: &mut Call<'_, '_>) -> RuleResult {
    let input = call.tensor("input")?;
    let states = match call.name {
        "lstm_cell" => call.tensors("hx")?,
        _ => vec![call.tensor("hx")?],
    };
    for name in ["w_ih", "w_hh", "b_ih", "b_hh"] {
        if call.optional_tensor(name)?.is_some_and(|it| !it.is_free()) {
            return Err(call.meets("has weights that hang on rows"));
        }
    }
    let is_row =
        |tensor: &Tensor| matches!(&tensor.state, State::Rows(axis) if *axis == Axis::plain(0));
    if !is_row(&input) || input.rank()? != 2 || !states.iter().all(is_row) {
        return Err(call.unclear("where the rows of its state lie"));
    }
    let mut states = states.into_iter().map(Value::Tensor);
    Ok(match call.node.outputs.len() {
        1 => states.next().ok_or_else(|| call.unclear("its state"))?,
        _ => Value::Tuple(states.collect()),
    })
}
