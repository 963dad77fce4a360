//! The machine: its opcodes, and what they call. Its stack, marks and memo stand in `stack`, what it makes of storages and
//! tensors in `rebuild`.

mod rebuild;
mod stack;

use super::layout::Indices;
use super::types::TypeChecker;
use super::value::{Element, Global, Node, Scheme, Storage, Tensor, Text, Value};
use super::{PickleError, Records};
use std::collections::HashMap;

/// Most opcodes of a pickle.
const MAX_STEPS: usize = 16 << 20;
/// Most containers, and storages or tensors, in it.
const MAX_NODES: usize = 4 << 20;
/// Deepest that values hold each other: libtorch frees them by recursion.
const MAX_DEPTH: usize = 512;
/// Most values that are compared with types.
const MAX_COMPARED: u64 = 64 << 20;
/// Longest name that a reason shows, in bytes.
const MAX_SHOWN: usize = 80;

pub(super) struct Machine<'a> {
    pickle: &'a [u8],
    at: usize,
    records: &'a Records,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Value>,
    nodes: Vec<Node>,
    storages: Vec<Storage>,
    tensors: Vec<Tensor>,
    /// Bytes of each storage that was named: libtorch may read it once for all.
    seen: HashMap<String, u64>,
    indices: Vec<Indices>,
    /// Values that may still be compared with types.
    budget: u64,
}

impl<'a> Machine<'a> {
    pub(super) fn new(pickle: &'a [u8], records: &'a Records) -> Self {
        Self {
            pickle,
            at: 0,
            records,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            // All empty tuples are one.
            nodes: vec![Node { is_held: true, ..Node::default() }],
            storages: Vec::new(),
            tensors: Vec::new(),
            seen: HashMap::new(),
            indices: Vec::new(),
            budget: MAX_COMPARED,
        }
    }

    pub(super) fn run(mut self) -> Result<Vec<Indices>, PickleError> {
        if self.bytes(2)? != b"\x80\x02" {
            return Err(PickleError::new("does not begin as a pickle of protocol 2"));
        }
        for _ in 0..MAX_STEPS {
            let opcode = self.bytes(1)?[0];
            if opcode == b'.' {
                return match self.stack.len() {
                    1 => Ok(self.indices),
                    n => Err(PickleError::new(format!("ends with {n} values, expected one"))),
                };
            }
            self.step(opcode)?;
        }
        Err(PickleError::new(format!("has more than {MAX_STEPS} opcodes")))
    }

    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.stack.push(Value::Tuple(0)),
            b'N' => self.stack.push(Value::Nothing),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => {
                let [byte] = self.array()?;
                self.stack.push(Value::Int(byte.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => {
                let [length] = self.array()?;
                if length != 8 {
                    return Err(PickleError::new(format!(
                        "has a number of {length} bytes, expected 8"
                    )));
                }
                let value = i64::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value));
            }
            b'G' => {
                self.bytes(8)?;
                self.stack.push(Value::Float);
            }
            b'X' => {
                let length = u32::from_le_bytes(self.array()?) as usize;
                let start = self.at;
                self.bytes(length)?;
                self.stack.push(Value::Text(Text { start, end: start + length }));
            }
            b'q' => {
                let [place] = self.array()?;
                self.remember(place.into())?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.array()?);
                self.remember(place as usize)?;
            }
            b'h' => {
                let [place] = self.array()?;
                self.recall(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.array()?);
                self.recall(place as usize)?;
            }
            b't' => {
                let items = self.since_mark()?;
                self.push_tuple(items)?;
            }
            0x85..=0x87 => {
                let n_items = usize::from(opcode - 0x84);
                let start = self.stack.len().checked_sub(n_items).ok_or_else(Self::starved)?;
                let items = self.stack.split_off(start);
                self.push_tuple(items)?;
            }
            b']' => {
                let node = self.node(Node::default())?;
                self.stack.push(Value::List(node));
            }
            b'}' => {
                let node = self.node(Node::default())?;
                self.stack.push(Value::Dict(node));
            }
            b'l' => {
                let items = self.since_mark()?;
                let node = self.container(items)?;
                self.stack.push(Value::List(node));
            }
            b'd' => {
                let items = self.since_mark()?;
                Self::check_pairs(&items)?;
                let node = self.container(items)?;
                self.stack.push(Value::Dict(node));
            }
            b'e' => self.append()?,
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(items)?;
            }
            b's' => {
                let start = self.stack.len().checked_sub(2).ok_or_else(Self::starved)?;
                let items = self.stack.split_off(start);
                self.set_items(items)?;
            }
            b'c' => {
                let (module, name) = (self.name()?, self.name()?);
                let global = self.global(module, name)?;
                self.stack.push(Value::Global(global));
            }
            // The object is made when its state comes.
            0x81 => match (self.pop()?, self.stack.last()) {
                (Value::Tuple(0), Some(Value::Global(Global::Class(..)))) => {}
                _ => return Err(PickleError::new("makes an object of what is no class")),
            },
            b'b' | b'R' => self.call()?,
            b'Q' => self.storage()?,
            _ => {
                let text =
                    format!("has opcode {opcode:#04x} at byte {}, which is not known", self.at - 1);
                return Err(PickleError::new(text));
            }
        }
        Ok(())
    }

    fn global(&self, module: Text, name: Text) -> Result<Global, PickleError> {
        let [of, it] = [module, name].map(|it| &self.pickle[it.start..it.end]);
        let global = match (of, it) {
            (b"torch._utils", b"_rebuild_tensor_v2") => Some(Global::Tensor),
            (b"torch._utils", b"_rebuild_qtensor") => Some(Global::QuantizedTensor),
            (b"torch._utils", b"_rebuild_sparse_tensor") => Some(Global::SparseTensor),
            (b"collections", b"OrderedDict") => Some(Global::Hooks),
            (b"torch.jit._pickle", b"restore_type_tag") => Some(Global::TypeTag),
            (b"torch.jit._pickle", b"build_intlist") => Some(Global::ListOf("List[int]")),
            (b"torch.jit._pickle", b"build_doublelist") => Some(Global::ListOf("List[float]")),
            (b"torch.jit._pickle", b"build_boollist") => Some(Global::ListOf("List[bool]")),
            (b"torch.jit._pickle", b"build_tensorlist") => Some(Global::ListOf("List[Tensor]")),
            (b"builtins", b"complex") => Some(Global::Complex),
            (b"torch", b"device") => Some(Global::Device),
            (b"torch", b"per_tensor_affine") => Some(Global::Scheme(Scheme::PerTensor)),
            (b"torch", b"per_channel_affine" | b"per_channel_affine_float_qparams") => {
                Some(Global::Scheme(Scheme::PerChannel))
            }
            (b"torch", it) => {
                let element =
                    it.strip_suffix(b"Storage").and_then(|it| std::str::from_utf8(it).ok());
                element.and_then(Element::of).map(Global::Storage)
            }
            // Every name of the code begins so.
            (of, _) if of == b"__torch__" || of.starts_with(b"__torch__.") => {
                Some(Global::Class(module, name))
            }
            _ => None,
        };
        global.ok_or_else(|| {
            PickleError::new(format!(
                "asks for {}.{}, which is not known",
                self.shown(module),
                self.shown(name)
            ))
        })
    }

    /// Calls what lies below the top with the top.
    fn call(&mut self) -> Result<(), PickleError> {
        let argument = self.pop()?;
        let Value::Global(global) = self.pop()? else {
            return Err(PickleError::new("calls what cannot be called"));
        };
        let value = match (global, argument) {
            (Global::Class(module, name), state) => {
                let depth = self.hold(&[state])?;
                let class = Some((module, name));
                let node = Node { items: vec![state], depth, is_held: true, class };
                Value::Object(self.node(node)?)
            }
            (Global::Hooks, Value::Tuple(0)) => Value::Nothing,
            (Global::Tensor, Value::Tuple(at)) => self.tensor(at)?,
            (Global::QuantizedTensor, Value::Tuple(at)) => self.quantized_tensor(at)?,
            (Global::SparseTensor, Value::Tuple(at)) => self.sparse_tensor(at)?,
            (Global::TypeTag, Value::Tuple(at)) => match self.nodes[at].items[..] {
                [container @ (Value::List(_) | Value::Dict(_)), Value::Text(tag)] => {
                    self.check_tag(container, &self.text(tag))?;
                    container
                }
                _ => return Err(PickleError::new("has a type without a list or dictionary")),
            },
            (Global::ListOf(tag), Value::Tuple(at)) => match self.nodes[at].items[..] {
                [list @ Value::List(_)] => {
                    self.check_tag(list, tag)?;
                    list
                }
                _ => return Err(PickleError::new("has a type without a list")),
            },
            (Global::Complex, Value::Tuple(at)) => match self.nodes[at].items[..] {
                [Value::Float, Value::Float] => Value::Plain,
                _ => return Err(PickleError::new("has a complex number of other parts")),
            },
            (Global::Device, Value::Tuple(at)) => match self.nodes[at].items[..] {
                [Value::Text(_)] => Value::Plain,
                _ => return Err(PickleError::new("has a device without a name")),
            },
            _ => {
                return Err(PickleError::new("calls something with other arguments than it takes"));
            }
        };
        self.stack.push(value);
        Ok(())
    }

    /// A tag also says that the container stays as it is: what is added later is not compared.
    fn check_tag(&mut self, container: Value, tag: &str) -> Result<(), PickleError> {
        if let Value::List(at) | Value::Dict(at) = container {
            self.nodes[at].is_held = true;
        }
        let mut held = TypeChecker { pickle: self.pickle, nodes: &self.nodes, budget: self.budget };
        let is_true = held.is(container, tag);
        self.budget = held.budget;
        if is_true {
            return Ok(());
        }
        let tag: String = tag.chars().take(MAX_SHOWN).collect();
        Err(PickleError::new(format!(
            "has a list or dictionary that is not the {tag} which it is said to be"
        )))
    }
}
