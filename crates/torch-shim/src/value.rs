//! Values that go into and come out of a model, and their flat form at the border.

use tch::Tensor;

use crate::error::{Error, ErrorClass};
use crate::ffi::{self, Node, Payload, RawOutput, tag};

/// As deep as the C++ side goes; both recurse over values.
const MAX_DEPTH: usize = 64;

/// A TorchScript value.
#[derive(Debug)]
pub enum IValue {
    /// A tensor on any device.
    Tensor(Tensor),
    /// An integer; it becomes a float where the model declares one.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text: what it holds is bytes, which need not be UTF-8.
    Str(Vec<u8>),
    /// None; an undefined tensor comes out as this too.
    None,
    /// A list. Its element type is the one that the model declares.
    List(Vec<IValue>),
    /// A tuple; the names of a named tuple's fields are in the schema ([`crate::Type::NamedTuple`]).
    Tuple(Vec<IValue>),
    /// A dictionary, in its own order.
    Dict(Vec<(IValue, IValue)>),
}

/// Writes `values` flat, parents before children. The nodes borrow from `values`.
pub(crate) fn encode(values: &[IValue]) -> Result<Vec<Node>, Error> {
    let mut nodes = Vec::with_capacity(values.len());
    for value in values {
        encode_one(value, &mut nodes, 0)?;
    }
    Ok(nodes)
}

fn encode_one(value: &IValue, nodes: &mut Vec<Node>, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    let mut push =
        |tag, length: usize, payload| nodes.push(Node { tag, length: length as u64, payload });
    match value {
        // The other side only copies the handle it finds there, hence the cast to mutable is never used as such.
        IValue::Tensor(tensor) => {
            push(tag::TENSOR, 0, Payload { tensor: tensor.as_ptr().cast_mut().cast() })
        }
        IValue::Int(integer) => push(tag::INT, 0, Payload { integer: *integer }),
        IValue::Float(real) => push(tag::FLOAT, 0, Payload { real: *real }),
        IValue::Bool(truth) => push(tag::BOOL, 0, Payload { integer: i64::from(*truth) }),
        IValue::Str(text) => push(tag::STRING, text.len(), Payload { text: text.as_ptr() }),
        IValue::None => push(tag::NONE, 0, Payload { integer: 0 }),
        IValue::List(elements) | IValue::Tuple(elements) => {
            let tag = if matches!(value, IValue::List(_)) { tag::LIST } else { tag::TUPLE };
            push(tag, elements.len(), Payload { integer: 0 });
            for element in elements {
                encode_one(element, nodes, depth + 1)?;
            }
        }
        IValue::Dict(pairs) => {
            push(tag::DICT, pairs.len(), Payload { integer: 0 });
            for (key, value) in pairs {
                encode_one(key, nodes, depth + 1)?;
                encode_one(value, nodes, depth + 1)?;
            }
        }
    }
    Ok(())
}

fn too_deep() -> Error {
    Error::new(ErrorClass::Unsupported, format!("a value is nested deeper than {MAX_DEPTH} levels"))
}

/// An answer of the C++ side; frees what is not taken out of it.
pub(crate) struct Output {
    raw: RawOutput,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { raw: RawOutput::empty() }
    }

    /// Where a call writes its answer; used for one call only.
    pub(crate) fn slot(&mut self) -> *mut RawOutput {
        &raw mut self.raw
    }

    /// Takes the whole value.
    pub(crate) fn into_value(mut self) -> Result<IValue, Error> {
        self.reader().value(0)
    }

    /// Reads the value piece by piece.
    pub(crate) fn reader(&mut self) -> Reader<'_> {
        if self.raw.nodes.is_null() {
            return Reader { nodes: std::slice::from_mut(&mut self.raw.first), next: 0 };
        }
        let count = usize::try_from(self.raw.count).unwrap_or(0);
        // SAFETY: `nodes` points to `count` nodes that `owner` keeps in place until `drop`, and `self` is borrowed
        // mutably for as long as the slice lives.
        let nodes = unsafe { std::slice::from_raw_parts_mut(self.raw.nodes, count) };
        Reader { nodes, next: 0 }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.raw.nodes.is_null() {
            // A tensor in `first` has no other owner.
            drop(take_tensor(&mut self.raw.first));
        } else {
            // SAFETY: `owner` came from the other side together with `nodes`, and nothing borrows from them anymore.
            unsafe { ffi::sconce_output_free(self.raw.owner) };
        }
    }
}

/// Moves the tensor out of a node, so that nobody frees it a second time.
fn take_tensor(node: &mut Node) -> Option<Tensor> {
    if node.tag != tag::TENSOR {
        return None;
    }
    // SAFETY: the tag says which member of the union is set.
    let pointer = unsafe { node.payload.tensor };
    node.payload.tensor = std::ptr::null_mut();
    // SAFETY: the pointer is a heap-allocated at::Tensor, which is what tch's handle is, and nobody else frees it.
    (!pointer.is_null()).then(|| unsafe { Tensor::from_ptr(pointer.cast()) })
}

/// Walks over the nodes of an answer.
pub(crate) struct Reader<'a> {
    nodes: &'a mut [Node],
    next: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Result<&mut Node, Error> {
        let node = self.nodes.get_mut(self.next).ok_or_else(malformed)?;
        self.next += 1;
        Ok(node)
    }

    pub(crate) fn value(&mut self, depth: usize) -> Result<IValue, Error> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        let node = self.take()?;
        let length = usize::try_from(node.length).unwrap_or(0);
        Ok(match node.tag {
            tag::NONE => IValue::None,
            tag::TENSOR => IValue::Tensor(take_tensor(node).ok_or_else(malformed)?),
            // SAFETY: the tag says which member of the union is set.
            tag::INT => IValue::Int(unsafe { node.payload.integer }),
            // SAFETY: as above.
            tag::FLOAT => IValue::Float(unsafe { node.payload.real }),
            // SAFETY: as above; a truth value is stored as an integer.
            tag::BOOL => IValue::Bool(unsafe { node.payload.integer } != 0),
            tag::STRING => {
                let node = *node;
                IValue::Str(self.bytes_of(&node).to_owned())
            }
            tag::LIST => IValue::List(self.values(length, depth)?),
            tag::TUPLE => IValue::Tuple(self.values(length, depth)?),
            tag::DICT => {
                let mut pairs = Vec::with_capacity(length);
                for _ in 0..length {
                    pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
                }
                IValue::Dict(pairs)
            }
            _ => return Err(malformed()),
        })
    }

    fn values(&mut self, length: usize, depth: usize) -> Result<Vec<IValue>, Error> {
        // Every element takes a node, so the length is bounded by what is there.
        let mut values = Vec::with_capacity(length);
        for _ in 0..length {
            values.push(self.value(depth + 1)?);
        }
        Ok(values)
    }

    fn bytes_of(&self, node: &Node) -> &'a [u8] {
        let length = usize::try_from(node.length).unwrap_or(0);
        // SAFETY: a string node points to `length` bytes that live as long as the answer, which `'a` borrows.
        unsafe { std::slice::from_raw_parts(node.payload.text, length) }
    }

    /// The bytes of a string.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let node = *self.take()?;
        if node.tag != tag::STRING { Err(malformed()) } else { Ok(self.bytes_of(&node)) }
    }

    pub(crate) fn text(&mut self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    pub(crate) fn integer(&mut self) -> Result<i64, Error> {
        let node = *self.take()?;
        if node.tag != tag::INT {
            return Err(malformed());
        }
        // SAFETY: the tag says which member of the union is set.
        Ok(unsafe { node.payload.integer })
    }

    pub(crate) fn truth(&mut self) -> Result<bool, Error> {
        match self.value(0)? {
            IValue::Bool(truth) => Ok(truth),
            _ => Err(malformed()),
        }
    }

    /// Enters a list or a tuple: how many elements follow.
    pub(crate) fn enter(&mut self) -> Result<usize, Error> {
        let node = *self.take()?;
        match node.tag {
            tag::LIST | tag::TUPLE => Ok(usize::try_from(node.length).unwrap_or(0)),
            _ => Err(malformed()),
        }
    }

    /// Enters a list and reads each of its elements.
    pub(crate) fn each<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let length = self.enter()?;
        let mut elements = Vec::with_capacity(length);
        for _ in 0..length {
            elements.push(read(self)?);
        }
        Ok(elements)
    }
}

fn malformed() -> Error {
    Error::new(ErrorClass::Internal, "the two halves of the shim disagree on the form of an answer")
}

/// Takes over a tensor pointer that the C++ side made.
///
/// # Safety
///
/// `pointer` must be an `at::Tensor*` on the heap that nobody else frees.
pub(crate) unsafe fn tensor_from_raw(pointer: *mut std::ffi::c_void) -> Tensor {
    // SAFETY: the caller's promise.
    unsafe { Tensor::from_ptr(pointer.cast()) }
}

impl From<Tensor> for IValue {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}
