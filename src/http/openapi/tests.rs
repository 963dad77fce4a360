//! The document has every route, points to nothing that is missing, and says of tensors what the
//! decoders take.

use super::tensors::{Way, row, rows, whole};
use super::*;
use crate::http::route::Side;
use crate::http::routes::described;
use crate::http::status;
use crate::inference::{ErrorCode, TensorSpec};
use crate::tensor::{DataType, ShapePattern};
use std::collections::BTreeSet;

#[test]
fn every_row_says_what_it_does() {
    for route in described(Side::Public).into_iter().chain(described(Side::Management)) {
        assert!(route.summary.ends_with('.'), "{}: say what it does", route.path);
    }
}

/// Calls `visit` with every value of the document.
fn walk<'v>(root: &'v Value, visit: &mut impl FnMut(&'v Value)) {
    let mut left = vec![root];
    while let Some(value) = left.pop() {
        visit(value);
        match value {
            Value::Object(members) => left.extend(members.values()),
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
}

#[test]
fn every_pointer_leads_somewhere_and_every_id_is_the_only_one() {
    for side in [Side::Public, Side::Management] {
        let document = describe(&[], &described(side));
        let mut used = BTreeSet::new();
        walk(&document, &mut |value| {
            if let Some(pointer) = value.get("$ref").and_then(Value::as_str) {
                let path = pointer.strip_prefix('#').unwrap();
                assert!(document.pointer(path).is_some(), "{pointer} leads nowhere");
                used.insert(pointer.to_owned());
            }
        });
        let mut ids = BTreeSet::new();
        walk(&document["paths"], &mut |value| {
            if let Some(id) = value.get("operationId").and_then(Value::as_str) {
                assert!(ids.insert(id.to_owned()), "{id} is there twice");
            }
        });
        assert!(ids.len() > 10 && used.len() > 10);
    }
}

#[test]
fn every_status_is_one_of_the_table_or_a_success() {
    let known: BTreeSet<_> =
        ErrorCode::ALL.iter().map(|code| status(*code).as_u16().to_string()).collect();
    let document = describe(&[], &described(Side::Management));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            for (code, response) in responses {
                assert!(
                    known.contains(code) || ["200", "202"].contains(&&**code),
                    "{method} {path}: {code}"
                );
                assert!(response["description"].is_string(), "{method} {path}: {code}");
            }
            for always in ["400", "431", "500"] {
                assert!(responses.contains_key(always), "{method} {path} may fail with {always}");
            }
        }
    }
}

#[test]
fn what_needs_no_model_is_refused_for_none() {
    let routes = described(Side::Public).into_iter().chain(described(Side::Management));
    for Route { path, operation, .. } in routes.filter(|it| it.path.contains("{model}")) {
        let fails: Vec<_> = operation.fails.iter().copied().flatten().collect();
        // What is not done at all is not done for any model.
        let refusals = [&ErrorCode::Unsupported, &ErrorCode::ManagementOnly];
        let never = operation.gives.is_empty() && fails.iter().all(|it| refusals.contains(it));
        let not_found = fails.contains(&&ErrorCode::ModelNotFound);
        assert!(never || not_found, "{path} may name a model that is not there");
        if path.contains("{version}") && !never {
            assert!(fails.contains(&&ErrorCode::VersionNotFound), "{path}");
        }
    }
}

fn tensor(datatype: DataType, dims: &[i64]) -> TensorSpec {
    let shape = ShapePattern::from_wire(dims).unwrap();
    TensorSpec { name: "x".into(), datatype, shape, optional: false, declared: true }
}

#[test]
fn a_tensor_is_nested_lists_of_its_sizes() {
    let spec = tensor(DataType::UInt8, &[-1, 3, -1]);
    let number = json!({"type": "integer", "minimum": 0, "maximum": 255});
    let inner = json!({"type": "array", "items": number, "minItems": 1});
    let one = json!({"type": "array", "items": inner, "minItems": 3, "maxItems": 3});
    assert_eq!(row(&spec, Way::In), one);
    let many = json!({"type": "array", "items": one, "minItems": 1, "maxItems": 9});
    assert_eq!(rows(one, Way::In, 9), many);
    assert_eq!(whole(&spec, Way::In, 9), many);
    let plain = tensor(DataType::Bool, &[]);
    assert_eq!(row(&plain, Way::In), json!({"type": "boolean"}));
    assert_eq!(whole(&plain, Way::In, 9), json!({"type": "boolean"}));
    let unknown = TensorSpec { shape: ShapePattern::Unknown, ..plain };
    assert_eq!(row(&unknown, Way::In), json!({}));
}

#[test]
fn what_comes_out_may_be_null_or_empty() {
    let spec = tensor(DataType::Fp32, &[-1, 2]);
    let number = json!({"type": "number", "nullable": true});
    let one = json!({"type": "array", "items": number, "maxItems": 2});
    assert_eq!(row(&spec, Way::Out), one);
    assert_eq!(whole(&spec, Way::Out, 9), json!({"type": "array", "items": one}));
}
