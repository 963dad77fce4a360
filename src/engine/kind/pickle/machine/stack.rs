//! What the machine reads and holds: the bytes of the pickle, the stack with its marks, the memo, and containers.

use super::super::PickleError;
use super::super::value::{Node, Text, Value};
use super::{MAX_DEPTH, MAX_NODES, MAX_SHOWN, Machine};

impl<'a> Machine<'a> {
    pub(super) fn starved() -> PickleError {
        PickleError::new("takes more values than there are")
    }

    pub(super) fn bytes(&mut self, n_bytes: usize) -> Result<&'a [u8], PickleError> {
        let rest = &self.pickle[self.at..];
        let bytes = rest.get(..n_bytes).ok_or_else(|| PickleError::new("ends too early"))?;
        self.at += n_bytes;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// A line: a name of Python.
    pub(super) fn name(&mut self) -> Result<Text, PickleError> {
        let start = self.at;
        let length = self.pickle[start..].iter().take_while(|byte| **byte != b'\n').count();
        let is_name =
            |byte: &u8| matches!(byte, b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z');
        let line = self.bytes(length + 1)?;
        if !line[..length].iter().all(is_name) {
            return Err(PickleError::new(format!("has a name at byte {start} that is none")));
        }
        Ok(Text { start, end: start + length })
    }

    pub(super) fn text(&self, text: Text) -> String {
        String::from_utf8_lossy(&self.pickle[text.start..text.end]).into_owned()
    }

    pub(super) fn shown(&self, text: Text) -> String {
        let end = text.end.min(text.start + MAX_SHOWN);
        self.text(Text { end, ..text })
    }

    pub(super) fn pop(&mut self) -> Result<Value, PickleError> {
        self.stack.pop().ok_or_else(Self::starved)
    }

    pub(super) fn since_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        let start =
            self.marks.pop().ok_or_else(|| PickleError::new("has no mark where one is due"))?;
        if start > self.stack.len() {
            return Err(Self::starved());
        }
        Ok(self.stack.split_off(start))
    }

    /// Numbers of the memo are given in order, so that it does not grow by one number.
    pub(super) fn remember(&mut self, place: usize) -> Result<(), PickleError> {
        let value = *self.stack.last().ok_or_else(Self::starved)?;
        let n_kept = self.memo.len();
        match self.memo.get_mut(place) {
            Some(slot) => *slot = value,
            None if place == n_kept => self.memo.push(value),
            None => return Err(PickleError::new(format!("keeps value {place} after {n_kept}"))),
        }
        Ok(())
    }

    pub(super) fn recall(&mut self, place: usize) -> Result<(), PickleError> {
        let value = self.memo.get(place).copied();
        let value = value
            .ok_or_else(|| PickleError::new(format!("asks for value {place}, which is not kept")));
        self.stack.push(value?);
        Ok(())
    }

    pub(super) fn node(&mut self, node: Node) -> Result<usize, PickleError> {
        if self.nodes.len() >= MAX_NODES {
            return Err(PickleError::new(format!("has more than {MAX_NODES} containers")));
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// How deep values go that are to be held, each of which then stays as it is.
    pub(super) fn hold(&mut self, items: &[Value]) -> Result<usize, PickleError> {
        let mut depth = 0;
        for item in items {
            if let Value::Tuple(at) | Value::List(at) | Value::Dict(at) | Value::Object(at) = *item
            {
                let node = &mut self.nodes[at];
                node.is_held = true;
                depth = depth.max(node.depth);
            }
        }
        if depth >= MAX_DEPTH {
            return Err(PickleError::new(format!("is nested more than {MAX_DEPTH} deep")));
        }
        Ok(depth + 1)
    }

    pub(super) fn container(&mut self, items: Vec<Value>) -> Result<usize, PickleError> {
        let depth = self.hold(&items)?;
        self.node(Node { items, depth, ..Node::default() })
    }

    pub(super) fn push_tuple(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        let node = if items.is_empty() { 0 } else { self.container(items)? };
        self.stack.push(Value::Tuple(node));
        Ok(())
    }

    pub(super) fn append(&mut self) -> Result<(), PickleError> {
        let items = self.since_mark()?;
        match self.stack.last() {
            Some(Value::List(at)) => self.extend(*at, items),
            _ => Err(PickleError::new("appends to what is no list")),
        }
    }

    pub(super) fn set_items(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        Self::check_pairs(&items)?;
        match self.stack.last() {
            Some(Value::Dict(at)) => self.extend(*at, items),
            _ => Err(PickleError::new("sets items of what is no dictionary")),
        }
    }

    /// libtorch would read the value of the last key behind the end of its stack.
    pub(super) fn check_pairs(items: &[Value]) -> Result<(), PickleError> {
        let is_key = |it: &Value| {
            matches!(
                it,
                Value::Text(_)
                    | Value::Int(_)
                    | Value::Bool(_)
                    | Value::Float
                    | Value::Plain
                    | Value::Tensor(_)
            )
        };
        match items.len().is_multiple_of(2) && items.iter().step_by(2).all(is_key) {
            true => Ok(()),
            false => Err(PickleError::new(
                "has a dictionary with keys that are none, or without a value",
            )),
        }
    }

    pub(super) fn extend(&mut self, at: usize, items: Vec<Value>) -> Result<(), PickleError> {
        let depth = self.hold(&items)?;
        let node = &mut self.nodes[at];
        if node.is_held {
            return Err(PickleError::new(
                "changes a list or dictionary that something else holds already",
            ));
        }
        node.items.extend(items);
        node.depth = node.depth.max(depth);
        Ok(())
    }
}
