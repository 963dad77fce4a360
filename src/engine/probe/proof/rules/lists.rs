//! Lists, tuples, dictionaries and texts, and what leaves a value as it is.

use super::numbers::place_of;
use super::{Call, RuleResult, Value, text};
use crate::engine::probe::proof::heap::Heap;
use crate::engine::probe::proof::number::Number;
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::value::{Elements, Object, State, Tensor};
use crate::engine::probe::proof::walk;
use std::sync::Arc;

pub(super) fn apply(call: &mut Call<'_, '_>) -> Option<RuleResult> {
    Some(match call.node.kind.as_str() {
        "prim::ListConstruct" => {
            let values = call.arguments.clone();
            Ok(walk::list(&mut call.walk.heap, call.node, values))
        }
        "prim::TupleConstruct" => Ok(Value::Tuple(call.arguments.clone())),
        "prim::DictConstruct" => dict(call),
        "prim::TupleUnpack" | "prim::ListUnpack" => unpack(call),
        "prim::TupleIndex" => tuple_index(call),
        "prim::TupleSlice" => Err(call.unclear("a part of a tuple")),
        "prim::unchecked_cast"
        | "prim::unchecked_unwrap_optional"
        | "aten::_unwrap_optional"
        | "aten::__list_to_tuple" => {
            call.arguments.first().cloned().ok_or_else(|| call.unclear("its argument"))
        }
        "prim::Uninitialized" => Ok(Value::Never),
        "prim::Print" | "aten::warn" => nothing(call),
        "aten::format" | "aten::str" | "aten::percentFormat" | "aten::join" => Ok(words(call)),
        "prim::device" | "prim::dtype" | "prim::layout" | "aten::device" => {
            let reason = call.arguments.iter().find_map(|it| call.mixed(it));
            Ok(reason.map_or(Value::Thing, Value::Mixed))
        }
        "aten::append" => append(call),
        "aten::__getitem__" => get(call),
        "aten::_set_item" => set(call),
        "aten::dict" => copy_dict(call),
        "aten::list" | "aten::copy" if matches!(call.arguments.first(), Some(Value::List(_))) => {
            copy(call)
        }
        "aten::add" | "aten::add_" | "aten::extend"
            if matches!(call.arguments.first(), Some(Value::List(_))) =>
        {
            extend(call)
        }
        "aten::slice" if matches!(call.arguments.first(), Some(Value::List(_))) => slice(call),
        "aten::mul" if matches!(call.arguments.first(), Some(Value::List(_))) => repeated(call),
        "aten::keys" | "aten::values" | "aten::items" => entries(call),
        "prim::min" | "prim::max" | "prim::sum"
            if matches!(call.arguments.first(), Some(Value::List(_))) =>
        {
            // Of two lists it is one of them.
            if call.arguments.len() == 1 { free_number(call) } else { Err(call.unclear("a list")) }
        }
        "aten::clear" | "aten::pop" | "aten::insert" | "aten::remove" | "aten::reverse"
        | "aten::sort" | "aten::Delete"
            if matches!(call.arguments.first(), Some(Value::List(_) | Value::Dict(_))) =>
        {
            Err(call.unclear("what is left of a list"))
        }
        _ => return None,
    })
}

/// One value for each output, of which there may be none.
fn nothing(call: &Call<'_, '_>) -> RuleResult {
    Ok(Value::Tuple(vec![Value::Thing; call.node.outputs.len()])).map(|tuple| {
        match call.node.outputs.len() {
            1 => Value::Thing,
            _ => tuple,
        }
    })
}

/// A text made of values: what one of them hangs on, it hangs on.
fn words(call: &Call<'_, '_>) -> Value {
    if call.is_free() {
        return Value::Text(None);
    }
    let reason = call.arguments.iter().find_map(|it| call.mixed(it));
    let text = "a text tells what hangs on rows or on their number";
    Value::Mixed(reason.unwrap_or_else(|| Reason::new(Doubt::Counted, text)))
}

/// Puts an entry where its key stands, or behind the others: the value that comes last counts, at the first one's place.
fn put(entries: &mut Vec<(Arc<str>, Value)>, wanted: Arc<str>, value: Value) {
    match entries.iter_mut().find(|(key, _)| *key == wanted) {
        Some((_, known)) => *known = value,
        None => entries.push((wanted, value)),
    }
}

fn dict(call: &mut Call<'_, '_>) -> RuleResult {
    let mut entries: Vec<(Arc<str>, Value)> = Vec::new();
    for pair in call.arguments.chunks_exact(2) {
        let key = key(&pair[0]).ok_or_else(|| call.unclear("a key"))?;
        put(&mut entries, key, pair[1].clone());
    }
    let site = call.node.outputs.first().copied().unwrap_or_default();
    Ok(Value::Dict(call.walk.heap.make(site, Object::Dict(entries))))
}

fn key(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Number(number) => number.as_int().map(|it| it.to_string().into()),
        value => text(value),
    }
}

fn unpack(call: &Call<'_, '_>) -> RuleResult {
    let count = call.node.outputs.len();
    let values = match call.arguments.first() {
        Some(Value::Tuple(values)) => values.clone(),
        Some(Value::List(place)) => match call.walk.heap.list(*place)? {
            Elements::Known(values) => values.clone(),
            // As many as are asked for, or the model raises.
            Elements::Any(Some(value)) => vec![(**value).clone(); count],
            Elements::Any(None) => Vec::new(),
        },
        Some(other) => return Err(call.mixed(other).unwrap_or_else(|| call.unclear("a tuple"))),
        None => return Err(call.unclear("a tuple")),
    };
    if values.len() != count {
        return Err(call.unclear("the number of values"));
    }
    Ok(if count == 1 {
        values.into_iter().next().unwrap_or(Value::None)
    } else {
        Value::Tuple(values)
    })
}

fn tuple_index(call: &Call<'_, '_>) -> RuleResult {
    match &call.arguments[..] {
        [Value::Tuple(values), Value::Number(number)] => {
            let at = place_of(number, values.len()).ok_or_else(|| call.unclear("an index"))?;
            Ok(values[at].clone())
        }
        [other, ..] => Err(call.mixed(other).unwrap_or_else(|| call.unclear("an index"))),
        [] => Err(call.unclear("an index")),
    }
}

fn append(call: &mut Call<'_, '_>) -> RuleResult {
    let [Value::List(place), value] = &call.arguments[..] else {
        return Err(call.unclear("a list"));
    };
    let (place, value) = (*place, value.clone());
    call.walk.heap.append(place, value)?;
    Ok(Value::List(place))
}

fn get(call: &Call<'_, '_>) -> RuleResult {
    match &call.arguments[..] {
        [Value::List(place), Value::Number(number)] => {
            if let Some(reason) = number.hangs() {
                return Err(reason);
            }
            match call.walk.heap.list(*place)? {
                Elements::Known(values) => match place_of(number, values.len()) {
                    Some(at) => Ok(values[at].clone()),
                    None => one_of(call, values),
                },
                Elements::Any(Some(value)) => Ok((**value).clone()),
                Elements::Any(None) => Err(call.unclear("an element")),
            }
        }
        [Value::Dict(place), wanted] => {
            let wanted = key(wanted).ok_or_else(|| call.unclear("a key"))?;
            let entries = call.walk.heap.dict(*place)?;
            let found = entries.iter().rev().find(|(key, _)| *key == wanted);
            found.map(|(_, value)| value.clone()).ok_or_else(|| call.unclear("a key"))
        }
        [Value::Text(_), _] => Ok(words(call)),
        [other, ..] => Err(call.mixed(other).unwrap_or_else(|| call.unclear("an element"))),
        [] => Err(call.unclear("an element")),
    }
}

/// An element whose index is the same for every batch but not known.
fn one_of(call: &Call<'_, '_>, values: &[Value]) -> RuleResult {
    match values {
        [first, rest @ ..] if rest.iter().all(|it| it == first) => Ok(first.clone()),
        _ if values
            .iter()
            .all(|it| matches!(it, Value::Number(number) if number.hangs().is_none())) =>
        {
            Ok(Value::Number(Number::unknown()))
        }
        _ => Err(call.unclear("an element")),
    }
}

fn set(call: &mut Call<'_, '_>) -> RuleResult {
    match &call.arguments[..] {
        [Value::List(place), Value::Number(number), value] => {
            let (place, value) = (*place, value.clone());
            let Elements::Known(mut values) = call.walk.heap.list(place)?.clone() else {
                return Err(call.unclear("an index"));
            };
            let at = place_of(number, values.len()).ok_or_else(|| call.unclear("an index"))?;
            values[at] = value;
            call.walk.heap.set(place, Object::List(Elements::Known(values)))?;
            Ok(Value::List(place))
        }
        [Value::Dict(place), wanted, value] => {
            let (place, value) = (*place, value.clone());
            let wanted = key(wanted).ok_or_else(|| call.unclear("a key"))?;
            let mut entries = call.walk.heap.dict(place)?.to_vec();
            put(&mut entries, wanted, value);
            call.walk.heap.set(place, Object::Dict(entries))?;
            Ok(Value::Dict(place))
        }
        _ => Err(call.unclear("an index")),
    }
    .map(|value| match call.node.outputs.len() {
        1 => value,
        _ => Value::Tuple(Vec::new()),
    })
}

fn copy(call: &mut Call<'_, '_>) -> RuleResult {
    let Some(Value::List(place)) = call.arguments.first() else {
        return Err(call.unclear("a list"));
    };
    let object = Object::List(call.walk.heap.list(*place)?.clone());
    let site = call.node.outputs.first().copied().unwrap_or_default();
    Ok(Value::List(call.walk.heap.make(site, object)))
}

/// A dictionary of another one, or of a list of pairs.
fn copy_dict(call: &mut Call<'_, '_>) -> RuleResult {
    let entries = match call.arguments.first() {
        Some(Value::Dict(place)) => call.walk.heap.dict(*place)?.to_vec(),
        Some(Value::List(place)) => {
            let Elements::Known(pairs) = call.walk.heap.list(*place)? else {
                return Err(call.unclear("the length of a list"));
            };
            let entry = |pair: &Value| match pair {
                Value::Tuple(parts) if parts.len() == 2 => {
                    Some((key(&parts[0])?, parts[1].clone()))
                }
                _ => None,
            };
            let pairs: Option<Vec<_>> = pairs.iter().map(entry).collect();
            let mut entries = Vec::new();
            for (key, value) in pairs.ok_or_else(|| call.unclear("a key"))? {
                put(&mut entries, key, value);
            }
            entries
        }
        None => Vec::new(),
        Some(_) => return Err(call.unclear("a dictionary")),
    };
    let site = call.node.outputs.first().copied().unwrap_or_default();
    Ok(Value::Dict(call.walk.heap.make(site, Object::Dict(entries))))
}

/// Two lists behind each other: a new one, or the first made longer.
fn extend(call: &mut Call<'_, '_>) -> RuleResult {
    let [Value::List(a), Value::List(b), ..] = &call.arguments[..] else {
        return Err(call.unclear("a list"));
    };
    let (a, b) = (*a, *b);
    let (Elements::Known(first), Elements::Known(second)) =
        (call.walk.heap.list(a)?.clone(), call.walk.heap.list(b)?.clone())
    else {
        return Err(call.unclear("the length of a list"));
    };
    if Heap::is_too_long(first.len() + second.len()) {
        return Err(call.unclear("the length of a list"));
    }
    let object = Object::List(Elements::Known([first, second].concat()));
    if call.node.kind == "aten::add" {
        let site = call.node.outputs.first().copied().unwrap_or_default();
        return Ok(Value::List(call.walk.heap.make(site, object)));
    }
    call.walk.heap.set(a, object)?;
    Ok(match call.node.outputs.len() {
        1 => Value::List(a),
        _ => Value::Tuple(Vec::new()),
    })
}

fn slice(call: &mut Call<'_, '_>) -> RuleResult {
    let Some(Value::List(place)) = call.arguments.first() else {
        return Err(call.unclear("a list"));
    };
    let Elements::Known(values) = call.walk.heap.list(*place)?.clone() else {
        return Err(call.unclear("the length of a list"));
    };
    let length = values.len() as i64;
    let end = |at: usize, missing: i64| match call.arguments.get(at) {
        None | Some(Value::None) => Ok(missing),
        Some(Value::Number(number)) => number.as_int().ok_or_else(|| call.unclear("an index")),
        Some(_) => Err(call.unclear("an index")),
    };
    let (start, end, step) = (end(1, 0)?, end(2, length)?, end(3, 1)?);
    let place = |at: i64| if at < 0 { (at + length).max(0) } else { at.min(length) };
    let (start, end) = (place(start), place(end));
    if step != 1 {
        return Err(call.unclear("a step"));
    }
    let part = values.get(start as usize..end.max(start) as usize).unwrap_or_default().to_vec();
    Ok(walk::list(&mut call.walk.heap, call.node, part))
}

fn repeated(call: &mut Call<'_, '_>) -> RuleResult {
    let [Value::List(place), Value::Number(times)] = &call.arguments[..] else {
        return Err(call.unclear("a list"));
    };
    let values = match (call.walk.heap.list(*place)?, times.as_int()) {
        (Elements::Known(values), Some(times)) if (0..=64).contains(&times) => {
            let n = values.len() * times as usize;
            if Heap::is_too_long(n) {
                return Err(call.unclear("the length of a list"));
            }
            values.iter().cycle().take(n).cloned().collect()
        }
        _ => return Err(call.unclear("the length of a list")),
    };
    Ok(walk::list(&mut call.walk.heap, call.node, values))
}

fn entries(call: &mut Call<'_, '_>) -> RuleResult {
    let Some(Value::Dict(place)) = call.arguments.first() else {
        return Err(call.unclear("a dictionary"));
    };
    let entries = call.walk.heap.dict(*place)?.to_vec();
    let values = entries.into_iter().map(|(key, value)| match call.node.kind.as_str() {
        "aten::keys" => Value::Text(Some(key)),
        "aten::values" => value,
        _ => Value::Tuple(vec![Value::Text(Some(key)), value]),
    });
    let values = values.collect();
    Ok(walk::list(&mut call.walk.heap, call.node, values))
}

/// A number from a list of numbers.
fn free_number(call: &Call<'_, '_>) -> RuleResult {
    let Some(Value::List(place)) = call.arguments.first() else {
        return Err(call.unclear("a list"));
    };
    let hangs = |value: &Value| match value {
        Value::Number(number) => number.hangs(),
        Value::Tensor(Tensor { state: State::Number(number), .. }) => number.hangs(),
        other => Some(call.mixed(other).unwrap_or_else(|| call.unclear("an element"))),
    };
    let reason = match call.walk.heap.list(*place)? {
        Elements::Known(values) => values.iter().find_map(hangs),
        Elements::Any(value) => value.as_ref().and_then(|it| hangs(it)),
    };
    Ok(Value::Number(reason.map_or_else(Number::unknown, Number::tainted)))
}
