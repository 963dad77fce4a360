//! The numbers of a tensor, row by row, and what describes a row that has too many of them to watch each.

use crate::tensor::{DataType, Tensor};
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// Values of a row that are looked at to describe it, evenly spread.
const MAX_DESCRIBED: usize = 4096;

/// One figure of all the numbers in a row of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Descriptor {
    /// Their mean.
    Mean,
    /// Their standard deviation.
    Deviation,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The share of zeros.
    Zeros,
    /// Bytes of a row's texts.
    Bytes,
    /// Their words: what white space parts, of the first 4096 bytes.
    Words,
    /// The share of bytes, of these, that are not ASCII.
    NonAscii,
}

impl Descriptor {
    /// Those of numbers.
    pub const OF_NUMBERS: [Self; 5] =
        [Self::Mean, Self::Deviation, Self::Min, Self::Max, Self::Zeros];
    /// Those of texts.
    pub const OF_TEXTS: [Self; 3] = [Self::Bytes, Self::Words, Self::NonAscii];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Deviation => "deviation",
            Self::Min => "min",
            Self::Max => "max",
            Self::Zeros => "zeros",
            Self::Bytes => "bytes",
            Self::Words => "words",
            Self::NonAscii => "non_ascii",
        }
    }
}

/// The figures of a row of numbers, or of texts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Described {
    n: f64,
    sum: f64,
    squares: f64,
    min: f32,
    max: f32,
    zeros: f64,
    has_nan: bool,
    /// Of texts: all bytes, those that were looked at, the words in them, and those that are not ASCII.
    bytes: usize,
    looked_at: usize,
    words: usize,
    non_ascii: usize,
}

impl Described {
    fn add(&mut self, value: f32) {
        let is_first = self.n == 0.0;
        self.n += 1.0;
        self.sum += f64::from(value);
        self.squares += f64::from(value) * f64::from(value);
        self.min = if is_first { value } else { self.min.min(value) };
        self.max = if is_first { value } else { self.max.max(value) };
        self.zeros += if value == 0.0 { 1.0 } else { 0.0 };
        self.has_nan |= value.is_nan();
    }

    fn add_text(&mut self, text: &[u8]) {
        self.n += 1.0;
        self.bytes += text.len();
        let looked_at = &text[..text.len().min(MAX_DESCRIBED.saturating_sub(self.looked_at))];
        self.looked_at += looked_at.len();
        self.words +=
            looked_at.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
        self.non_ascii += looked_at.iter().filter(|byte| !byte.is_ascii()).count();
    }

    /// One of them; not a number where any value is none.
    pub(super) fn get(&self, descriptor: Descriptor) -> f32 {
        if self.has_nan || self.n == 0.0 {
            return f32::NAN;
        }
        let mean = self.sum / self.n;
        match descriptor {
            Descriptor::Mean => mean as f32,
            Descriptor::Deviation => (self.squares / self.n - mean * mean).max(0.0).sqrt() as f32,
            Descriptor::Min => self.min,
            Descriptor::Max => self.max,
            Descriptor::Zeros => (self.zeros / self.n) as f32,
            Descriptor::Bytes => self.bytes as f32,
            Descriptor::Words => self.words as f32,
            Descriptor::NonAscii => self.non_ascii as f32 / self.looked_at.max(1) as f32,
        }
    }
}

/// A tensor whose first dimension are the rows of a request.
#[derive(Clone, Copy)]
pub(super) struct Rows<'t> {
    tensor: &'t Tensor,
    /// Numbers of a row, or texts.
    pub(super) width: usize,
}

impl<'t> Rows<'t> {
    /// `None` for what does not divide into so many rows.
    pub(super) fn new(tensor: &'t Tensor, n_rows: usize) -> Option<Self> {
        let n = tensor.shape().elements()?;
        let divides = n_rows > 0 && n % n_rows == 0;
        divides.then_some(Self { tensor, width: n / n_rows })
    }

    /// Whether it holds texts.
    pub(super) fn are_texts(&self) -> bool {
        self.tensor.datatype() == DataType::Bytes
    }

    /// One number of each of these rows.
    pub(super) fn column(&self, element: usize, rows: &[u32], mut each: impl FnMut(f32)) {
        if element >= self.width {
            return;
        }
        // Most requests have one row of the most usual type.
        match self.tensor.as_slice::<f32>() {
            Some(values) => rows.iter().for_each(|row| {
                if let Some(value) = values.get(*row as usize * self.width + element) {
                    each(*value);
                }
            }),
            None => rows.iter().for_each(|row| {
                self.walk(*row as usize * self.width + element, 1, 1, &mut each);
            }),
        }
    }

    /// What describes a row.
    pub(super) fn describe(&self, row: usize) -> Described {
        let mut described = Described::default();
        if self.are_texts() {
            let texts = texts(self.tensor.buffer().as_bytes());
            texts.skip(row * self.width).take(self.width).for_each(|it| described.add_text(it));
            return described;
        }
        let step = self.width.div_ceil(MAX_DESCRIBED).max(1);
        let n = self.width.div_ceil(step);
        self.walk(row * self.width, step, n, |value| described.add(value));
        described
    }

    fn walk(&self, first: usize, step: usize, n: usize, mut each: impl FnMut(f32)) {
        macro_rules! by_datatype {
            ($($datatype:ident as $element:ty: $to_f32:expr,)+) => {
                match self.tensor.datatype() {
                    $(DataType::$datatype => {
                        let values = self.tensor.as_slice::<$element>().unwrap_or_default();
                        values.iter().skip(first).step_by(step).take(n).for_each(|it| each($to_f32(*it)));
                    })+
                    DataType::Bool => {
                        let bytes = self.tensor.buffer().as_bytes();
                        bytes.iter().skip(first).step_by(step).take(n).for_each(|it| each(f32::from(*it)));
                    }
                    DataType::Bytes => {}
                }
            };
        }
        by_datatype! {
            Fp32 as f32: |it| it,
            Fp64 as f64: |it| it as f32,
            Fp16 as f16: f16::to_f32,
            Bf16 as bf16: bf16::to_f32,
            Int64 as i64: |it| it as f32,
            Int32 as i32: |it| it as f32,
            Int16 as i16: f32::from,
            Int8 as i8: f32::from,
            UInt64 as u64: |it| it as f32,
            UInt32 as u32: |it| it as f32,
            UInt16 as u16: f32::from,
            UInt8 as u8: f32::from,
        }
    }
}

/// The elements of a tensor of texts: each behind its length, four bytes with the least first.
fn texts(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, others) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, others) = others.split_at_checked(length)?;
        rest = others;
        Some(text)
    })
}
