//! One node with its arguments, and what the rules ask of them.

use crate::engine::probe::proof::graph::Node;
use crate::engine::probe::proof::number::{Known, Number};
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Elements, Kind, State, Tensor, Value};
use crate::engine::probe::proof::walk::{Walk, known_elements, plain_name};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// Most values in containers that one node may be looked at for.
const MAX_LOOKS: usize = 50_000;
/// Deepest nesting of containers that is looked into.
const MAX_DEPTH: usize = 24;

/// A node and its arguments.
pub(in crate::engine::probe::proof) struct Call<'n, 'w> {
    pub(in crate::engine::probe::proof) node: &'n Node,
    /// The operator without namespace, and without the `_` of one that writes in place.
    pub(in crate::engine::probe::proof) name: &'n str,
    pub(in crate::engine::probe::proof) arguments: Vec<Value>,
    pub(in crate::engine::probe::proof) walk: &'w mut Walk,
    /// Places of arguments that the rule has asked for.
    asked: RefCell<BTreeSet<usize>>,
    /// How many values may still be looked at.
    looks: Cell<usize>,
}

impl<'n, 'w> Call<'n, 'w> {
    pub(in crate::engine::probe::proof) fn new(
        node: &'n Node,
        arguments: Vec<Value>,
        walk: &'w mut Walk,
    ) -> Self {
        let name = node.kind.rsplit("::").next().unwrap_or_default();
        let name = match name.strip_suffix('_') {
            // Names such as `__getitem__` are no writes.
            Some(base) if !name.starts_with("__") && !node.writes.is_empty() => base,
            _ => name,
        };
        let (asked, looks) = (RefCell::default(), Cell::new(MAX_LOOKS));
        Self { node, name, arguments, walk, asked, looks }
    }

    /// Says that the rule has looked at all arguments.
    pub(super) fn asked_for_all(&self) {
        self.asked.borrow_mut().extend(0..self.arguments.len());
    }

    /// That no tensor was given which the rule did not ask for: it may change shapes, or bring rows in.
    pub(super) fn check_asked(&self) -> Result<(), Reason> {
        let asked = self.asked.borrow();
        let unasked = self.arguments.iter().enumerate().filter(|(at, _)| !asked.contains(at));
        for (at, value) in unasked {
            if self.has_tensor(value, 0) {
                let name = self.node.arguments.get(at).map_or("an argument", String::as_str);
                return Err(self.unclear(&format!("what {name}")));
            }
        }
        Ok(())
    }

    fn has_tensor(&self, value: &Value, depth: usize) -> bool {
        matches!(value, Value::Tensor(_) | Value::Mixed(_))
            || self
                .parts(value, depth)
                .is_some_and(|parts| parts.into_iter().any(|it| self.has_tensor(it, depth + 1)))
    }

    /// Whether an argument is a tensor that loses its rows' dimension where there is one row, or holds one.
    pub(super) fn has_squeezed(&self) -> bool {
        self.arguments.iter().any(|value| self.is_squeezed(value, 0))
    }

    fn is_squeezed(&self, value: &Value, depth: usize) -> bool {
        matches!(value, Value::Tensor(tensor) if tensor.drops())
            || self
                .parts(value, depth)
                .is_some_and(|parts| parts.into_iter().any(|it| self.is_squeezed(it, depth + 1)))
    }

    /// One value for each output.
    pub(super) fn spread(&self, value: Value) -> Vec<Value> {
        match value {
            Value::Tuple(values) if self.node.outputs.len() != 1 => values,
            value => vec![value],
        }
    }

    /// The argument that the schema calls so; `None` where it has no such.
    pub(super) fn find(&self, name: &str) -> Option<&Value> {
        let place = self.node.arguments.iter().position(|it| it == name)?;
        self.asked.borrow_mut().insert(place);
        self.arguments.get(place)
    }

    fn get(&self, name: &str) -> Result<&Value, Reason> {
        self.find(name)
            .ok_or_else(|| Reason::unknown(format!("{} has no argument {name}", self.node.kind)))
    }

    pub(super) fn first(&self) -> Result<Tensor, Reason> {
        self.asked.borrow_mut().insert(0);
        let value = self.arguments.first();
        value.and_then(as_tensor).ok_or_else(|| self.unclear("its first argument"))
    }

    /// A tensor; a number stands for a tensor that holds it.
    pub(super) fn tensor(&self, name: &str) -> Result<Tensor, Reason> {
        let value = self.get(name)?;
        if let Some(reason) = value.mixed() {
            return Err(reason.clone());
        }
        as_tensor(value).ok_or_else(|| self.unclear(name))
    }

    /// A tensor, or `None` where None or nothing is given.
    pub(super) fn optional_tensor(&self, name: &str) -> Result<Option<Tensor>, Reason> {
        match self.find(name) {
            None | Some(Value::None) => Ok(None),
            Some(_) => self.tensor(name).map(Some),
        }
    }

    pub(super) fn tensors(&self, name: &str) -> Result<Vec<Tensor>, Reason> {
        let values = self.elements(name)?;
        values.iter().map(|value| as_tensor(value).ok_or_else(|| self.unclear(name))).collect()
    }

    pub(super) fn elements(&self, name: &str) -> Result<Vec<Value>, Reason> {
        match self.get(name)? {
            Value::List(place) => {
                let elements = known_elements(self.walk.heap.list(*place)?);
                let elements = elements.ok_or_else(|| self.unclear(name))?.to_vec();
                Ok(match self.walk.are_numbers_stale {
                    true => elements.into_iter().map(without_number).collect(),
                    false => elements,
                })
            }
            Value::Tuple(values) => Ok(values.clone()),
            _ => Err(self.unclear(name)),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Number, Reason> {
        match self.get(name)? {
            Value::Number(number) => Ok(number.clone()),
            Value::Tensor(Tensor { state: State::Number(number), .. }) => Ok(number.clone()),
            other => Err(other.mixed().cloned().unwrap_or_else(|| self.unclear(name))),
        }
    }

    /// A whole number that is known before the code runs.
    pub(super) fn int(&self, name: &str) -> Result<i64, Reason> {
        self.number(name)?.as_int().ok_or_else(|| self.unclear(name))
    }

    /// The same, or `None` where None or nothing is given.
    pub(super) fn optional_int(&self, name: &str) -> Result<Option<i64>, Reason> {
        match self.find(name) {
            None | Some(Value::None) => Ok(None),
            Some(_) => self.int(name).map(Some),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Reason> {
        self.number(name)?.as_truth().ok_or_else(|| self.unclear(name))
    }

    /// Numbers that are known before the code runs; a single one stands for a list of it.
    pub(super) fn ints(&self, name: &str) -> Result<Vec<i64>, Reason> {
        if let Ok(number) = self.number(name) {
            return Ok(vec![number.as_int().ok_or_else(|| self.unclear(name))?]);
        }
        let int = |value: &Value| match value {
            Value::Number(number) => number.as_int(),
            Value::Tensor(Tensor { state: State::Number(number), .. }) => number.as_int(),
            _ => None,
        };
        self.elements(name)?.iter().map(|it| int(it).ok_or_else(|| self.unclear(name))).collect()
    }

    /// Sizes, each the same for every batch but for the number of rows.
    pub(super) fn sizes(&self, name: &str) -> Result<Vec<Size>, Reason> {
        let values = match self.get(name)? {
            value @ Value::Number(_) => vec![value.clone()],
            _ => self.elements(name)?,
        };
        values.iter().map(|value| self.size(value)).collect()
    }

    pub(super) fn size(&self, value: &Value) -> Result<Size, Reason> {
        let number = match value {
            Value::Number(number) => number,
            Value::Tensor(Tensor { state: State::Number(number), .. }) => number,
            other => return Err(other.mixed().cloned().unwrap_or_else(|| self.unclear("a size"))),
        };
        match (&number.taint, &number.known) {
            (Some(reason), _) => Err(Reason::new(
                if reason.doubt == Doubt::Counted { Doubt::Counted } else { Doubt::Values },
                format!("a size of {} hangs on values or on the number of rows", self.node.kind),
            )),
            (None, Known::Int(size)) => Ok(size.clone()),
            (None, _) => Ok(Size::unknown()),
        }
    }

    /// A reason that names this operator.
    pub(super) fn unclear(&self, what: &str) -> Reason {
        Reason::unknown(format!("{} of {} is not known", what, self.node.kind))
    }

    pub(super) fn meets(&self, how: &str) -> Reason {
        Reason::coupled(format!("{} {how}", plain_name(&self.node.kind)))
    }

    /// The reason of an output that values decide; the walk remembers that there was one.
    pub(super) fn by_values(&mut self) -> Reason {
        let text = format!("{} makes values of rows decide a number or a shape", self.node.kind);
        let reason = Reason::new(Doubt::Values, text);
        self.walk.values_seen.get_or_insert_with(|| reason.clone());
        reason
    }

    /// The same of an output whose size values decide.
    pub(super) fn shaped_by_values(&mut self) -> Reason {
        let reason = Reason { doubt: Doubt::Shapes, ..self.by_values() };
        if let Some(seen) = &mut self.walk.values_seen
            && seen.text == reason.text
        {
            *seen = reason.clone();
        }
        reason
    }

    /// What lies in a value, down to some depth: a container may hold itself.
    pub(super) fn parts<'v>(&'v self, value: &'v Value, depth: usize) -> Option<Vec<&'v Value>> {
        if depth > MAX_DEPTH || self.looks.get() == 0 {
            return None;
        }
        self.looks.set(self.looks.get() - 1);
        match value {
            Value::Tuple(values) => Some(values.iter().collect()),
            Value::List(place) => match self.walk.heap.list(*place).ok()? {
                Elements::Known(values) => Some(values.iter().collect()),
                Elements::Any(value) => Some(value.iter().map(|it| &**it).collect()),
            },
            Value::Dict(place) => {
                Some(self.walk.heap.dict(*place).ok()?.iter().map(|(_, value)| value).collect())
            }
            _ => None,
        }
    }

    /// The kinds of the tensors in a list; where not all are known, or it holds other things, one that is unknown.
    pub(super) fn tensor_kinds(&self, value: &Value) -> Vec<Kind> {
        let Some(parts) = self.parts(value, 0) else { return vec![Kind::Unknown] };
        let kind = |value: &Value| match value {
            Value::Tensor(tensor) => Some(tensor.kind),
            Value::Number(_) | Value::None => None,
            _ => Some(Kind::Unknown),
        };
        parts.into_iter().filter_map(kind).collect()
    }

    /// Why nothing is promised of a value or of what lies in it.
    pub(super) fn mixed(&self, value: &Value) -> Option<Reason> {
        self.mixed_within(value, 0)
    }

    fn mixed_within(&self, value: &Value, depth: usize) -> Option<Reason> {
        if depth > MAX_DEPTH || self.looks.get() == 0 {
            return Some(Reason::unknown(
                "a container is nested too deep, holds too much, or itself",
            ));
        }
        if let Some(reason) = value.mixed() {
            return Some(reason.clone());
        }
        self.parts(value, depth)?.into_iter().find_map(|it| self.mixed_within(it, depth + 1))
    }

    /// Whether all that it is given is the same for every batch.
    pub(super) fn is_free(&self) -> bool {
        self.arguments.iter().all(|value| self.is_free_value(value, 0))
    }

    /// Whether a value, and what lies in it, is the same for every batch.
    pub(super) fn is_same_for_all(&self, value: &Value) -> bool {
        self.is_free_value(value, 0)
    }

    fn is_free_value(&self, value: &Value, depth: usize) -> bool {
        match value {
            Value::Tensor(tensor) => tensor.is_free(),
            Value::Number(number) => number.hangs().is_none(),
            Value::None | Value::Text(_) | Value::Thing | Value::Never => true,
            Value::Mixed(_) => false,
            Value::Tuple(_) | Value::List(_) | Value::Dict(_) => match self.parts(value, depth) {
                Some(parts) => parts.into_iter().all(|it| self.is_free_value(it, depth + 1)),
                None => false,
            },
        }
    }

    /// Outputs of which only the type is known, and that they are the same for every batch.
    pub(super) fn free_outputs(&self) -> Result<Vec<Value>, Reason> {
        let output = |ty: &String| match ty.as_str() {
            "Tensor" => Ok(Value::Tensor(Tensor::free(None, Kind::Unknown))),
            "int" | "float" | "bool" | "number" => Ok(Value::Number(Number::unknown())),
            "str" => Ok(Value::Text(None)),
            "NoneType" => Ok(Value::None),
            _ => Err(Reason::unknown(format!("the operator {} is not known", self.node.kind))),
        };
        self.node.types.iter().map(output).collect()
    }
}

/// The value without what a tensor in it held, which may have been written over.
pub(in crate::engine::probe::proof) fn without_number(value: Value) -> Value {
    match value {
        Value::Tensor(Tensor { state: State::Number(number), .. }) if number.hangs().is_some() => {
            Value::Mixed(number.hangs().unwrap_or_else(|| Reason::unknown("a number")))
        }
        Value::Tensor(Tensor { state: State::Number(_), dims, kind, is_expanded }) => {
            Value::Tensor(Tensor { state: State::Free, dims, kind, is_expanded })
        }
        Value::Tuple(parts) => Value::Tuple(parts.into_iter().map(without_number).collect()),
        other => other,
    }
}

fn as_tensor(value: &Value) -> Option<Tensor> {
    match value {
        Value::Tensor(tensor) => Some(tensor.clone()),
        Value::Number(number) => Some(Tensor::number(number.clone())),
        _ => None,
    }
}
