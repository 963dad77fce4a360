//! What a pickle says of storages and tensors, held against the records that they are of.

use super::super::PickleError;
use super::super::layout;
use super::super::value::{Global, Numbers, Storage, Tensor, Value};
use super::{MAX_NODES, Machine};

/// Layouts of sparse tensors, as libtorch numbers them.
const COORDINATES: i64 = 1;
const COMPRESSED_ROWS: i64 = 2;

impl Machine<'_> {
    /// A storage, held against its record.
    pub(super) fn storage(&mut self) -> Result<(), PickleError> {
        let Value::Tuple(at) = self.pop()? else {
            return Err(PickleError::new("has a storage without figures"));
        };
        let [
            Value::Text(word),
            Value::Global(Global::Storage(element)),
            Value::Text(key),
            Value::Text(_),
            Value::Int(count),
        ] = self.nodes[at].items[..]
        else {
            return Err(PickleError::new("has a storage with other figures than it should"));
        };
        if self.pickle[word.start..word.end] != *b"storage" {
            return Err(PickleError::new("has something else in place of a storage"));
        }
        let n_elements = u64::try_from(count).ok();
        let n_bytes = n_elements.and_then(|it| it.checked_mul(element.n_bytes));
        let (Some(n_elements), Some(n_bytes)) = (n_elements, n_bytes) else {
            return Err(PickleError::new(format!("has a storage of {count} elements")));
        };
        let name = self.text(key).to_ascii_lowercase();
        // What is empty has no record that would be read.
        if n_bytes > 0 {
            match self.records.get(&name) {
                None => {
                    return Err(PickleError::new(format!(
                        "names record {:?}, which is not there",
                        self.shown(key)
                    )));
                }
                Some(has) if *has < n_bytes => {
                    let text = format!(
                        "says that storage {:?} has {n_bytes} bytes, and its record has {has}",
                        self.shown(key)
                    );
                    return Err(PickleError::new(text));
                }
                Some(_) => {}
            }
        }
        if *self.seen.entry(name).or_insert(n_bytes) != n_bytes {
            return Err(PickleError::new(format!("gives storage {:?} two sizes", self.shown(key))));
        }
        if self.storages.len() >= MAX_NODES {
            return Err(PickleError::new(format!("has more than {MAX_NODES} storages")));
        }
        self.storages.push(Storage { key, element, n_elements });
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    fn numbers(&self, value: Value) -> Option<Vec<i64>> {
        let Value::Tuple(at) = value else { return None };
        let number = |it: &Value| if let Value::Int(number) = it { Some(*number) } else { None };
        self.nodes[at].items.iter().map(number).collect()
    }

    /// The first four arguments of every tensor that has a place.
    fn placed(&self, arguments: &[Value]) -> Result<Tensor, PickleError> {
        let &[Value::Storage(storage), Value::Int(offset), sizes, strides] = arguments else {
            return Err(PickleError::new("has a tensor without a storage"));
        };
        let (Some(sizes), Some(strides)) = (self.numbers(sizes), self.numbers(strides)) else {
            return Err(PickleError::new("has a tensor whose sizes are no numbers"));
        };
        layout::place(self.storages[storage], offset, &sizes, &strides)
    }

    fn keep(&mut self, tensor: Tensor) -> Result<Value, PickleError> {
        if self.tensors.len() >= MAX_NODES {
            return Err(PickleError::new(format!("has more than {MAX_NODES} tensors")));
        }
        self.tensors.push(tensor);
        Ok(Value::Tensor(self.tensors.len() - 1))
    }

    pub(super) fn tensor(&mut self, at: usize) -> Result<Value, PickleError> {
        let items = &self.nodes[at].items;
        let (is_whole, metadata) = match items[..] {
            [_, _, _, _, Value::Bool(_), Value::Nothing] => (true, None),
            [_, _, _, _, Value::Bool(_), Value::Nothing, Value::Dict(metadata)] => {
                (true, Some(metadata))
            }
            _ => (false, None),
        };
        if !is_whole {
            return Err(PickleError::new("has a tensor with other arguments than it should"));
        }
        let tensor = self.placed(&items[..4])?;
        if tensor.storage.element.numbers == Numbers::Quantized {
            return Err(PickleError::new("has a quantized tensor without a scale"));
        }
        // Whether it is to be read as the conjugate or the negative.
        let is_complex = tensor.storage.element.numbers == Numbers::Complex;
        let is_bit = |it: &[Value]| match it {
            [Value::Text(name), Value::Bool(_)] => match &self.pickle[name.start..name.end] {
                b"conj" => is_complex,
                name => name == b"neg",
            },
            _ => false,
        };
        if !metadata.is_none_or(|it| self.nodes[it].items.chunks(2).all(is_bit)) {
            return Err(PickleError::new("has a tensor with marks that it cannot have"));
        }
        self.keep(tensor)
    }

    pub(super) fn quantized_tensor(&mut self, at: usize) -> Result<Value, PickleError> {
        let items = &self.nodes[at].items;
        let [_, _, _, _, Value::Tuple(params), Value::Bool(_), Value::Nothing] = items[..] else {
            return Err(PickleError::new(
                "has a quantized tensor with other arguments than it should",
            ));
        };
        let tensor = self.placed(&items[..4])?;
        let [Value::Global(Global::Scheme(scheme)), params @ ..] = &self.nodes[params].items[..]
        else {
            return Err(PickleError::new("has a quantized tensor of a scheme that is not known"));
        };
        layout::check_scales(&tensor, *scheme, params, &self.tensors)?;
        self.keep(tensor)
    }

    pub(super) fn sparse_tensor(&mut self, at: usize) -> Result<Value, PickleError> {
        let items = &self.nodes[at].items;
        let [Value::Int(layout), size, Value::Bool(_), parts @ ..] = &items[..] else {
            return Err(PickleError::new(
                "has a sparse tensor with other arguments than it should",
            ));
        };
        let n_parts = match *layout {
            COORDINATES => 2,
            COMPRESSED_ROWS => 3,
            _ => {
                return Err(PickleError::new(format!(
                    "has a sparse tensor of layout {layout}, which is not known"
                )));
            }
        };
        let part =
            |it: &Value| if let Value::Tensor(at) = it { Some(&self.tensors[*at]) } else { None };
        // Behind the parts stand hooks, and with newer writers whether it is coalesced.
        let (parts, rest) = parts.split_at(n_parts.min(parts.len()));
        let is_whole = parts.len() == n_parts
            && rest.iter().all(|it| matches!(it, Value::Bool(_) | Value::Nothing));
        let parts = parts.iter().map(part).collect::<Option<Vec<_>>>().filter(|_| is_whole);
        let (Some(parts), Some(size)) = (parts, self.numbers(*size)) else {
            return Err(PickleError::new(
                "has a sparse tensor with other arguments than it should",
            ));
        };
        let (tensor, indices) = layout::sparse(&size, &parts, |text| self.text(text))?;
        if self.indices.len().saturating_add(indices.len()) > MAX_NODES {
            return Err(PickleError::new("has too many sparse tensors"));
        }
        self.indices.extend(indices);
        self.keep(tensor)
    }
}
