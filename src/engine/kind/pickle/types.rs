//! Whether a list or dictionary holds what its tag says. libtorch believes the tag, and reads an object of another class as
//! if it were of the one that is named.

use super::value::{Node, Value};

/// What of the machine this needs.
pub(super) struct TypeChecker<'a> {
    pub(super) pickle: &'a [u8],
    pub(super) nodes: &'a [Node],
    /// Values that may still be looked at.
    pub(super) budget: u64,
}

/// Deepest that types are nested.
const MAX_DEPTH: usize = 16;

impl TypeChecker<'_> {
    /// Whether a value is of the type that a text names. Types that are not known have no values.
    pub(super) fn is(&mut self, value: Value, of: &str) -> bool {
        self.is_at(value, of.trim(), 0)
    }

    fn is_at(&mut self, value: Value, of: &str, depth: usize) -> bool {
        if depth > MAX_DEPTH || self.budget == 0 {
            return false;
        }
        self.budget -= 1;
        let (name, inner) = match of.split_once('[') {
            Some((name, rest)) => (name, rest.strip_suffix(']')),
            None => (of, None),
        };
        let Some(inner) = inner else { return self.is_plain(value, of) };
        let parts = split(inner);
        let nodes = self.nodes;
        let mut each =
            |items: &[Value], of: &str| items.iter().all(|it| self.is_at(*it, of, depth + 1));
        match (name, value, &parts[..]) {
            ("Optional", Value::Nothing, [_]) => true,
            ("Optional", value, [of]) => each(&[value], of),
            ("List", Value::List(at), [of]) => each(&nodes[at].items, of),
            ("Dict", Value::Dict(at), [key, of]) => {
                let pairs = nodes[at].items.chunks(2);
                pairs.into_iter().all(|it| each(&it[..1], key) && each(&it[1..], of))
            }
            ("Tuple", Value::Tuple(at), [""] | ["()"]) => nodes[at].items.is_empty(),
            ("Tuple", Value::Tuple(at), parts) => {
                let items = &nodes[at].items;
                items.len() == parts.len()
                    && items.iter().zip(parts).all(|(it, of)| each(&[*it], of))
            }
            ("Union", value, parts) => parts.iter().any(|of| each(&[value], of)),
            _ => false,
        }
    }

    fn is_plain(&self, value: Value, of: &str) -> bool {
        match (value, of) {
            (_, "Any")
            | (Value::Nothing, "NoneType")
            | (Value::Bool(_), "bool")
            | (Value::Int(_), "int" | "number" | "Scalar")
            | (Value::Float, "float" | "number" | "Scalar")
            | (Value::Text(_), "str")
            // A constant datatype or layout is a number.
            | (Value::Plain, "complex" | "Device" | "number" | "Scalar")
            | (Value::Tensor(_) | Value::Storage(_), "Tensor") => true,
            (Value::Object(at), of) => self.nodes[at].class.is_some_and(|(module, name)| {
                let [module, name] = [module, name].map(|it| &self.pickle[it.start..it.end]);
                let rest = of.as_bytes().strip_prefix(module);
                rest.and_then(|it| it.strip_prefix(b".")) == Some(name)
            }),
            _ => false,
        }
    }
}

/// The parts between commas that are in no brackets.
fn split(inner: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0usize);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(inner[start..].trim());
    parts
}
