//! What the proof knows of a value: where its rows lie, and what of it is the same for every batch.

use super::graph::Literal;
use super::number::{Known, Number, join_numbers};
use super::reason::Reason;
use super::size::Size;
use std::sync::Arc;

/// Which numbers a tensor holds, as far as indexing depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Whole,
    Truth,
    Unknown,
}

/// The dimension in which rows lie: its size is `outer` times the rows times `inner`, the index of a row in that order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) at: usize,
    pub(super) outer: Size,
    pub(super) inner: Size,
    /// Whether the dimension is missing where there is one row.
    pub(super) drops: bool,
}

impl Axis {
    /// A dimension with nothing but the rows.
    pub(super) fn plain(at: usize) -> Self {
        Self { at, outer: Size::of(1), inner: Size::of(1), drops: false }
    }

    pub(super) fn at(&self, at: usize) -> Self {
        Self { at, ..self.clone() }
    }

    /// Whether rows lie alike in both, for certain.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.at == other.at
            && self.drops == other.drops
            && self.outer.same(&other.outer)
            && self.inner.same(&other.inner)
    }

    pub(super) fn is_plain(&self) -> bool {
        self.outer.is(1) && self.inner.is(1)
    }
}

/// How a tensor hangs on the rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// Not at all: the same for every batch.
    Free,
    /// It holds one number of the program and has no dimensions.
    Number(Number),
    /// It holds each row's own place along this dimension.
    Places(usize),
    /// What stands at a row hangs on that row alone.
    Rows(Axis),
    /// Nothing is promised.
    Mixed(Reason),
}

impl State {
    /// Whether both hang on the rows in the same way, for certain.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rows(a), Self::Rows(b)) => a.same(b),
            (a, b) => a == b,
        }
    }
}

/// A tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub(super) state: State,
    /// Its sizes; `None` where not even their number is known.
    pub(super) dims: Option<Vec<Size>>,
    pub(super) kind: Kind,
    /// Whether several of its elements may lie at one place in memory.
    pub(super) is_expanded: bool,
}

impl Tensor {
    pub(super) fn free(dims: Option<Vec<Size>>, kind: Kind) -> Self {
        Self { state: State::Free, dims, kind, is_expanded: false }
    }

    pub(super) fn mixed(reason: Reason) -> Self {
        Self { state: State::Mixed(reason), dims: None, kind: Kind::Unknown, is_expanded: false }
    }

    pub(super) fn number(number: Number) -> Self {
        let kind = number.kind();
        Self { state: State::Number(number), dims: Some(Vec::new()), kind, is_expanded: false }
    }

    /// The same state over other sizes, its rows at another place.
    pub(super) fn moved(&self, dims: Vec<Size>, at: usize) -> Self {
        let state = match &self.state {
            State::Rows(axis) => State::Rows(axis.at(at)),
            State::Places(_) => State::Places(at),
            // With another shape it is no longer a number of the program.
            State::Number(number) if number.hangs().is_none() => State::Free,
            other => other.clone(),
        };
        Self { state, dims: Some(dims), kind: self.kind, is_expanded: self.is_expanded }
    }

    pub(super) fn with_dims(&self, dims: Vec<Size>) -> Self {
        self.moved(dims, self.axis().unwrap_or_default())
    }

    pub(super) fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The dimension of the rows, where it has one.
    pub(super) fn axis(&self) -> Option<usize> {
        match &self.state {
            State::Rows(axis) => Some(axis.at),
            State::Places(at) => Some(*at),
            _ => None,
        }
    }

    pub(super) fn rows(&self) -> Option<&Axis> {
        if let State::Rows(axis) = &self.state { Some(axis) } else { None }
    }

    pub(super) fn drops(&self) -> bool {
        self.rows().is_some_and(|axis| axis.drops)
    }

    /// Whether it is the same for every batch.
    pub(super) fn is_free(&self) -> bool {
        match &self.state {
            State::Free => true,
            State::Number(number) => number.hangs().is_none(),
            _ => false,
        }
    }

    /// Its sizes, or that they are not known.
    pub(super) fn sizes(&self) -> Result<&[Size], Reason> {
        self.dims.as_deref().ok_or_else(|| Reason::unknown("the rank of a tensor is not known"))
    }

    pub(super) fn rank(&self) -> Result<usize, Reason> {
        self.sizes().map(<[Size]>::len)
    }

    /// A dimension, counted from the end where it is negative.
    pub(super) fn dim(&self, dim: i64) -> Result<usize, Reason> {
        let rank = self.rank()?;
        wrapped(dim, rank).ok_or_else(|| {
            Reason::unknown(format!("dimension {dim} of a tensor with {rank} dimensions"))
        })
    }
}

/// An index into `length` things, counted from the end where it is negative.
pub(super) fn wrapped(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { index + length } else { index };
    (0..length).contains(&index).then_some(usize::try_from(index).ok()?)
}

/// A list or dictionary, which may change.
pub(super) type Place = u64;

/// A value of the program.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Tensor(Tensor),
    Number(Number),
    None,
    Text(Option<Arc<str>>),
    Tuple(Vec<Value>),
    List(Place),
    Dict(Place),
    /// Something that is the same for every batch and has no parts to look at.
    Thing,
    /// Never read: what a variable holds on the ways on which it has no value.
    Never,
    /// Something of which nothing is promised.
    Mixed(Reason),
}

impl Value {
    /// What a literal is. `list` and `dict` make places for what may change.
    pub(super) fn literal(literal: &Literal, place: &mut impl FnMut(Object) -> Place) -> Self {
        let mut all = |literals: &[Literal]| -> Vec<Self> {
            literals.iter().map(|it| Self::literal(it, place)).collect()
        };
        match literal {
            Literal::None => Self::None,
            Literal::Int(value) => Self::Number(Number::int(*value)),
            Literal::Float(value) => Self::Number(Number::new(Known::Float(*value))),
            Literal::Bool(value) => Self::Number(Number::truth(*value)),
            Literal::Text(text) => Self::Text(Some(Arc::clone(text))),
            // What has fewer bits computes otherwise.
            Literal::Tensor { value: Some(value), datatype, .. } if datatype == "Long" => {
                Self::Tensor(Tensor::number(Number::int(*value)))
            }
            Literal::Tensor { datatype, dims, .. } => {
                let dims = dims.iter().map(|&size| Size::of(size)).collect();
                Self::Tensor(Tensor::free(Some(dims), kind(datatype)))
            }
            Literal::Tuple(parts) => Self::Tuple(all(parts)),
            Literal::List(parts) => {
                let parts = all(parts);
                Self::List(place(Object::List(Elements::Known(parts))))
            }
            Literal::Dict(parts) => {
                let parts = all(parts);
                let mut entries = Vec::new();
                for pair in parts.chunks_exact(2) {
                    let Self::Text(Some(key)) = &pair[0] else { return Self::Thing };
                    entries.push((Arc::clone(key), pair[1].clone()));
                }
                Self::Dict(place(Object::Dict(entries)))
            }
            Literal::Other => Self::Thing,
        }
    }

    /// Why nothing is promised of it.
    pub(super) fn mixed(&self) -> Option<&Reason> {
        match self {
            Self::Mixed(reason) | Self::Tensor(Tensor { state: State::Mixed(reason), .. }) => {
                Some(reason)
            }
            Self::Number(number) => number.taint.as_ref(),
            Self::Tensor(Tensor { state: State::Number(number), .. }) => number.taint.as_ref(),
            Self::Tuple(parts) => parts.iter().find_map(Self::mixed),
            _ => None,
        }
    }
}

/// The kind of a datatype by libtorch's name.
pub(super) fn kind(datatype: &str) -> Kind {
    match datatype {
        "Float" | "Double" | "Half" | "BFloat16" => Kind::Float,
        "Bool" => Kind::Truth,
        // Bytes may be indices or a mask.
        "Char" | "Short" | "Int" | "Long" => Kind::Whole,
        _ => Kind::Unknown,
    }
}

/// The elements of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Elements {
    Known(Vec<Value>),
    /// Any number of values like this one; `None` when there may be none at all.
    Any(Option<Box<Value>>),
}

/// What lies at a place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    List(Elements),
    Dict(Vec<(Arc<str>, Value)>),
}

/// What is known where one of two tensors stands.
pub(super) fn join_tensors(a: &Tensor, b: &Tensor) -> Tensor {
    if a == b {
        return a.clone();
    }
    let two = || Reason::unknown("a value has two forms, by what the code decides");
    let state = match (&a.state, &b.state) {
        (State::Mixed(reason), _) | (_, State::Mixed(reason)) => {
            return Tensor::mixed(reason.clone());
        }
        (State::Number(a), State::Number(b)) => State::Number(join_numbers(a, b)),
        (a_state, b_state) if a_state == b_state => a_state.clone(),
        _ if a.is_free() && b.is_free() => State::Free,
        _ => return Tensor::mixed(two()),
    };
    let kind = if a.kind == b.kind { a.kind } else { Kind::Unknown };
    let dims = match (&a.dims, &b.dims) {
        (Some(a), Some(b)) if a.len() == b.len() => {
            let mut dims = Vec::with_capacity(a.len());
            for (a, b) in a.iter().zip(b) {
                if a != b && (a.has_rows() || b.has_rows()) {
                    return Tensor::mixed(two());
                }
                dims.push(if a == b { a.clone() } else { Size::unknown() });
            }
            Some(dims)
        }
        _ if matches!(state, State::Free) => None,
        _ => return Tensor::mixed(two()),
    };
    let is_expanded = a.is_expanded || b.is_expanded;
    Tensor { state, dims, kind, is_expanded }
}
