//! What the machine has on its stack: as much of each value as decides whether it may be loaded.

/// A part of the pickle, as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Copies of one value are one: what is behind a number lies in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Nothing,
    Bool(bool),
    Int(i64),
    Float,
    Text(Text),
    Global(Global),
    Storage(usize),
    Tensor(usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    /// One of the file's own classes or enums.
    Object(usize),
    /// A complex number or a device.
    Plain,
}

/// What a name stands for. In libtorch it is a number on the stack like any other, which is why here numbers are no names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// Module and name of a class of the file.
    Class(Text, Text),
    Tensor,
    QuantizedTensor,
    SparseTensor,
    Storage(Element),
    Scheme(Scheme),
    Hooks,
    TypeTag,
    ListOf(&'static str),
    Complex,
    Device,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    PerTensor,
    PerChannel,
}

/// What a storage is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) n_bytes: u64,
    /// How many elements of a tensor lie in one of the storage.
    pub(super) packed: u64,
    pub(super) numbers: Numbers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    Plain,
    Int32,
    Int64,
    Complex,
    Quantized,
}

impl Element {
    /// By the name of its storage's class, less `Storage`.
    pub(super) fn of(name: &str) -> Option<Self> {
        let (n_bytes, packed, numbers) = match name {
            "Byte" | "Char" | "Bool" | "Float8_e5m2" | "Float8_e4m3fn" | "Float8_e5m2fnuz"
            | "Float8_e4m3fnuz" | "Float8_e8m0fnu" => (1, 1, Numbers::Plain),
            "Short" | "Half" | "BFloat16" | "UInt16" => (2, 1, Numbers::Plain),
            "Float" | "UInt32" => (4, 1, Numbers::Plain),
            "Double" | "UInt64" => (8, 1, Numbers::Plain),
            "Int" => (4, 1, Numbers::Int32),
            "Long" => (8, 1, Numbers::Int64),
            "ComplexHalf" => (4, 1, Numbers::Complex),
            "ComplexFloat" => (8, 1, Numbers::Complex),
            "ComplexDouble" => (16, 1, Numbers::Complex),
            "QInt8" | "QUInt8" => (1, 1, Numbers::Quantized),
            "QInt32" => (4, 1, Numbers::Quantized),
            "QUInt4x2" => (1, 2, Numbers::Quantized),
            "QUInt2x4" => (1, 4, Numbers::Quantized),
            _ => return None,
        };
        Some(Self { n_bytes, packed, numbers })
    }
}

/// A storage that is no larger than its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage {
    pub(super) key: Text,
    pub(super) element: Element,
    pub(super) n_elements: u64,
}

/// A tensor that lies within its storage.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) storage: Storage,
    pub(super) offset: u64,
    pub(super) sizes: Vec<u64>,
    pub(super) strides: Vec<u64>,
    /// Sparse ones have no place of their own.
    pub(super) is_sparse: bool,
}

impl Tensor {
    /// Whether its elements lie one after the other in order.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut expected = 1u64;
        self.sizes.iter().zip(&self.strides).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == expected;
            expected = expected.saturating_mul(*size);
            fits
        })
    }
}

/// What holds other values.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Keys and values in turn in a dictionary, the state of an object.
    pub(super) items: Vec<Value>,
    /// How deep what is in it goes.
    pub(super) depth: usize,
    /// Whether something else holds it. Then it stays as it is, so that nothing comes to hold itself.
    pub(super) is_held: bool,
    /// Of an object.
    pub(super) class: Option<(Text, Text)>,
}
