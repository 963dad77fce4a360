//! The bodies of predictions of one model, in the words of each protocol.

use super::schemas::{nullable, object, prediction};
use super::served::Served;
use super::tensors::{Way, evidence, row, rows, whole};
use super::{instances, open_inference};
use crate::http::route::Protocol;
use crate::inference::{AnswerForm, Content, MAX_TOP, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::predict;
use crate::repository::LoadedStatus;
use crate::tensor::{DataType, Dim};
use serde_json::{Map, Value, json};

/// Longest example in the document, in bytes of text: an image would be most of it.
const MAX_EXAMPLE_BYTES: usize = 16 * 1024;

/// Schemas of request and answer, and a request that is answered.
pub(super) struct Bodies {
    pub(super) request: Value,
    pub(super) example: Option<Value>,
    pub(super) answer: Value,
}

pub(super) fn of(protocol: Protocol, model: Served<'_>) -> Bodies {
    match protocol {
        Protocol::Native => Bodies {
            request: request(model.loaded),
            example: sample(model.loaded),
            answer: answer(model.loaded),
        },
        Protocol::OpenInference => Bodies {
            request: open_inference::request(tensor_request(&model.loaded.spec)),
            example: tensor_example(model.loaded),
            answer: open_inference::answer(&output_name(&model.loaded.spec)),
        },
        Protocol::Instances => instances(model.loaded),
        Protocol::OpenAi | Protocol::PlainEmbeddings => {
            Bodies { request: json!({}), example: None, answer: json!({}) }
        }
        Protocol::TorchServe => Bodies {
            // What a handler takes is said by its content type and its nesting; what is native is
            // taken as well.
            request: json!({}),
            example: sample(model.loaded),
            answer: json!({}),
        },
    }
}

/// The model's own sample, or zeros.
fn sample(loaded: &LoadedStatus) -> Option<Value> {
    let made_up = || predict::example(&loaded.spec).and_then(|body| String::from_utf8(body).ok());
    let text = loaded.sample.clone().or_else(made_up)?;
    let short = text.len() <= MAX_EXAMPLE_BYTES;
    short.then(|| serde_json::from_str(&text).ok()).flatten()
}

/// The same with the words for rows that all models have.
fn plain_sample(loaded: &LoadedStatus) -> Option<Value> {
    let body = sample(loaded)?;
    let Some(content) = loaded.spec.contract.content else { return Some(body) };
    let words = [(content.name(), "features"), (content.plural(), "instances")];
    let plain = words.iter().find_map(|(own, key)| Some(json!({*key: body.get(own)?})));
    Some(plain.unwrap_or(body))
}

fn request(loaded: &LoadedStatus) -> Value {
    let spec = &*loaded.spec;
    let (inputs, max_rows) = (&spec.inputs, spec.max_rows);
    let form = |key: &str, value: Value| {
        let members = [(key, value), ("parameters", parameters())];
        let is_told_apart = usize::from(!loaded.extras.is_empty());
        object(&members[..1 + is_told_apart], &["parameters"])
    };
    // Tensors take the place of what they are made from, and the other way round.
    let is_optional = |it: &&TensorSpec| it.optional || spec.contract.content.is_some();
    let optional: Vec<_> = inputs.iter().filter(is_optional).map(|it| &*it.name).collect();
    let content = spec.contract.content;
    let one = || content.map(Content::name).into_iter().chain(["features"]);
    let many = || content.map(Content::plural).into_iter().chain(["instances"]);
    let mut forms = Vec::new();
    if !spec.contract.inputs_have_rows {
        // Nothing can be asked row by row.
    } else if content == Some(Content::Row) {
        let columns = inputs.iter().filter(|it| spec.is_column(it));
        let columns: Vec<_> = columns.map(|it| (&*it.name, cell(it.datatype))).collect();
        let row = object(&columns, &optional);
        forms.extend(one().map(|key| form(key, row.clone())));
        let rows = rows(row, Way::In, max_rows);
        forms.extend(many().map(|key| form(key, rows.clone())));
    } else if let Some(sole) = spec.sole_input() {
        let row = row(sole, Way::In);
        forms.extend(one().map(|key| form(key, row.clone())));
        if !sole.is_scalar() {
            let rows = rows(row, Way::In, max_rows);
            forms.extend(many().map(|key| form(key, rows.clone())));
        }
    } else if !inputs.iter().any(|it| it.is_scalar() && !it.optional) {
        // A plain value holds for all rows, so it is in no row.
        let members = inputs.iter().filter(|it| !it.is_scalar());
        let members: Vec<_> = members.map(|it| (&*it.name, row(it, Way::In))).collect();
        let instances = rows(object(&members, &optional), Way::In, max_rows);
        forms.push(form("instances", instances));
    }
    let whole_of = |it: &TensorSpec| match spec.is_column(it) {
        true => rows(cell(it.datatype), Way::In, max_rows),
        false => whole(it, Way::In, max_rows),
    };
    let members: Vec<_> = inputs.iter().map(|it| (&*it.name, whole_of(it))).collect();
    forms.push(form("inputs", object(&members, &optional)));
    json!({"oneOf": forms})
}

/// A value of a column, which may be missing.
fn cell(datatype: DataType) -> Value {
    let kinds = match datatype {
        DataType::Bytes => json!([{"type": "string"}, {"type": "number"}, {"type": "boolean"}]),
        _ => json!([{"type": "number"}, {"type": "boolean"}]),
    };
    json!({"nullable": true, "anyOf": kinds})
}

/// What a request may set of the labels in its answer.
fn parameters() -> Value {
    let top_k = json!({"type": "integer", "minimum": 1, "maximum": MAX_TOP});
    let members = [("top_k", top_k), ("threshold", json!({"type": "number"}))];
    object(&members, &["top_k", "threshold"])
}

fn answer(loaded: &LoadedStatus) -> Value {
    let spec = &*loaded.spec;
    let by_name = |part: &dyn Fn(&TensorSpec) -> Value| match &spec.outputs[..] {
        [] => json!({}),
        _ if spec.contract.may_have_more => json!({"type": "object"}),
        [output] => part(output),
        outputs => {
            let part = |it: &TensorSpec| if it.optional { nullable(part(it)) } else { part(it) };
            let members: Vec<_> = outputs.iter().map(|it| (&*it.name, part(it))).collect();
            object(&members, &[])
        }
    };
    let one = by_name(&|it| row(it, Way::Out));
    let many = rows(one.clone(), Way::Out, spec.max_rows);
    let part = |it: &TensorSpec| match it.optional {
        true => nullable(whole(it, Way::Out, spec.max_rows)),
        false => whole(it, Way::Out, spec.max_rows),
    };
    let named: Map<_, _> = spec.outputs.iter().map(|it| (it.name.to_string(), part(it))).collect();
    let named = match (spec.contract.form, &spec.outputs[..]) {
        // As many as the data has, all of one kind, named by position.
        (AnswerForm::List, [each]) => {
            json!({"type": "object", "additionalProperties": whole(each, Way::Out, spec.max_rows)})
        }
        (_, []) => json!({"type": "object"}),
        _ if spec.contract.may_have_more => json!({"type": "object", "properties": named}),
        _ => json!({"type": "object", "properties": named, "additionalProperties": false}),
    };
    let extras = &loaded.extras[..];
    match spec.contract.form {
        AnswerForm::Rows => {
            prediction(&[("prediction", one), ("predictions", many), ("outputs", named)], extras)
        }
        AnswerForm::Whole | AnswerForm::List => prediction(&[("outputs", named)], extras),
    }
}

/// Rows without a word around them, of one input or by name. Elements may be written in more ways
/// here than in ours, so that only the lists are described.
fn instances(loaded: &LoadedStatus) -> Bodies {
    let sized = |minimum: usize| json!({"type": "array", "items": {}, "minItems": minimum, "maxItems": loaded.spec.max_rows});
    let example = plain_sample(loaded).map(|body| {
        let rows = match (body.get("features"), body.get("instances")) {
            (Some(row), _) => json!([row]),
            (None, Some(rows)) => rows.clone(),
            (None, None) => return body,
        };
        json!({"instances": rows})
    });
    Bodies {
        request: instances::request([sized(1), json!({})]),
        example,
        answer: instances::answer([json!({}), json!({})]),
    }
}

/// One of the inputs, with its name and type beside it.
fn tensor_request(spec: &ModelSpec) -> Value {
    let input = |it: &TensorSpec| {
        let sizes = |dims: &[Dim]| json!({"type": "array", "minItems": dims.len(), "maxItems": dims.len(), "items": {"type": "integer", "minimum": 0}});
        let dims = it.shape.dims().filter(|_| it.declared);
        let shape =
            dims.map_or_else(|| json!({"type": "array", "items": {"type": "integer"}}), sizes);
        let datatype = match it.declared {
            true => json!({"type": "string", "enum": [it.datatype.name()]}),
            false => json!({"type": "string", "description": evidence(it)}),
        };
        json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "enum": [&*it.name]},
                "datatype": datatype,
                "shape": shape,
                "data": {"type": "array", "items": {}},
                "parameters": {"type": "object"},
            },
            "required": ["name", "datatype", "shape"],
        })
    };
    match &spec.inputs[..] {
        [only] => input(only),
        inputs => json!({"oneOf": inputs.iter().map(input).collect::<Vec<_>>()}),
    }
}

fn output_name(spec: &ModelSpec) -> Value {
    let names: Vec<_> = spec.outputs.iter().map(|it| &*it.name).collect();
    let may_have_more = spec.contract.may_have_more || spec.contract.form == AnswerForm::List;
    if names.is_empty() || may_have_more {
        json!({"type": "string"})
    } else {
        json!({"type": "string", "enum": names})
    }
}

/// The sample with the name, type and shape of each tensor beside it.
fn tensor_example(loaded: &LoadedStatus) -> Option<Value> {
    let body = plain_sample(loaded)?;
    let decoded = predict::decode(body.to_string().as_bytes(), &loaded.spec).ok()?;
    let inputs = decoded.inputs.iter().map(|NamedTensor { name, tensor }| {
        let data = match by_name(&body, name)? {
            Value::Array(items) => Value::Array(items),
            plain => json!([plain]),
        };
        Some(json!({
            "name": &**name,
            "datatype": tensor.datatype().name(),
            "shape": tensor.shape().dims(),
            "data": data,
        }))
    });
    Some(json!({"inputs": inputs.collect::<Option<Vec<_>>>()?}))
}

/// The whole tensor of that name in a body of the native protocol.
fn by_name(body: &Value, name: &str) -> Option<Value> {
    if let Some(row) = body.get("features") {
        return Some(json!([row]));
    }
    if let Some(rows) = body.get("instances") {
        let named: Option<Vec<_>> = rows.as_array()?.iter().map(|row| row.get(name)).collect();
        return Some(named.map_or_else(|| rows.clone(), |rows| json!(rows)));
    }
    body.get("inputs")?.get(name).cloned()
}
