//! Nested arrays of one datatype, read into one buffer.
//!
//! Works for every datatype, behind one trait object a tensor: the call through
//! it happens once a row or once a tensor, never once a number.

use super::fault::{Fault, excerpt};
use super::number::{FromNumber, NumberFault};
use super::reader::Reader;
use crate::tensor::{Buffer, BufferVec, DataType, Dim, Element, Shape};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use half::{bf16, f16};
use std::marker::PhantomData;

/// Whether the last characters are filled up to four is left to the client.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Fewest bytes that an element takes in the text: a digit and a comma.
const MIN_TEXT: usize = 2;

/// Elements being read.
pub(super) trait Fill {
    /// Reads a value of all dimensions.
    fn whole(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault>;

    /// Reads a value that is one row: all dimensions but the first.
    fn row(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault>;

    /// Rows read one by one.
    fn n_rows(&self) -> usize;

    /// The sizes to be met: those declared and those found, `Variable` where there is neither.
    fn dims(&self) -> &[Dim];

    /// What was read.
    fn finish(self: Box<Self>) -> (Shape, Buffer);
}

/// A reader of arrays of `dims`. `remaining` bytes of text are to come, which bounds what is reserved. Those of a column of a
/// table may be missing.
pub(super) fn fill(
    (datatype, is_column): (DataType, bool),
    dims: Vec<Dim>,
    max_rows: usize,
    remaining: usize,
) -> Box<dyn Fill> {
    fn boxed<S: Scalar + 'static>(plan: Plan) -> Box<dyn Fill> {
        let values = BufferVec::with_capacity(plan.capacity);
        Box::new(Array::<S> { values, plan, scalar: PhantomData })
    }
    let plan = Plan::new(dims, max_rows, remaining);
    match datatype {
        DataType::Fp64 if is_column => boxed::<NumberCell>(plan),
        DataType::Bytes if is_column => boxed::<TextCell>(plan),
        DataType::Bool => boxed::<Flag>(plan),
        DataType::UInt8 => boxed::<u8>(plan),
        DataType::UInt16 => boxed::<u16>(plan),
        DataType::UInt32 => boxed::<u32>(plan),
        DataType::UInt64 => boxed::<u64>(plan),
        DataType::Int8 => boxed::<i8>(plan),
        DataType::Int16 => boxed::<i16>(plan),
        DataType::Int32 => boxed::<i32>(plan),
        DataType::Int64 => boxed::<i64>(plan),
        DataType::Fp16 => boxed::<f16>(plan),
        DataType::Bf16 => boxed::<bf16>(plan),
        DataType::Fp32 => boxed::<f32>(plan),
        DataType::Fp64 => boxed::<f64>(plan),
        DataType::Bytes => boxed::<Text>(plan),
    }
}

/// How one element is written.
trait Scalar {
    type Stored: Element;
    /// What an element is, in a client's words.
    const KIND: &'static str;

    /// Reads the next value to the end of `values`; `false` when it is of another kind. Faults come
    /// without their indices.
    fn read(reader: &mut Reader<'_>, values: &mut BufferVec<Self::Stored>) -> Result<bool, Fault>;
}

impl<T: FromNumber> Scalar for T {
    type Stored = T;
    const KIND: &'static str = "a number";

    #[inline(always)]
    fn read(reader: &mut Reader<'_>, values: &mut BufferVec<T>) -> Result<bool, Fault> {
        let value = match reader.quick() {
            Some(value) => value,
            None => match read_any(reader)? {
                Some(value) => value,
                None => return Ok(false),
            },
        };
        values.push(value);
        Ok(true)
    }
}

/// A number of any spelling.
#[inline(never)]
fn read_any<T: FromNumber>(reader: &mut Reader<'_>) -> Result<Option<T>, Fault> {
    if let Some((value, word)) = reader.word() {
        let fault = NumberFault::NotAnInteger;
        let refused = || Fault::Number { index: Vec::new(), text: word.to_owned(), fault };
        return T::from_non_finite(value).map(Some).ok_or_else(refused);
    }
    let Some(number) = reader.number()? else { return Ok(None) };
    T::from_number(number).map(Some).map_err(|fault| {
        let text = excerpt(number.text());
        Fault::Number { index: Vec::new(), text, fault }
    })
}

/// An element of `BOOL`: `true` or `false` and nothing else, stored as 1 and 0.
struct Flag;

impl Scalar for Flag {
    type Stored = u8;
    const KIND: &'static str = "true or false";

    #[inline]
    fn read(reader: &mut Reader<'_>, values: &mut BufferVec<u8>) -> Result<bool, Fault> {
        let Some(flag) = reader.boolean() else { return Ok(false) };
        values.push(u8::from(flag));
        Ok(true)
    }
}

/// An element of `BYTES`: a text, stored as its length in four bytes and then its UTF-8.
struct Text;

impl Scalar for Text {
    type Stored = u8;
    const KIND: &'static str = "a string";

    fn read(reader: &mut Reader<'_>, values: &mut BufferVec<u8>) -> Result<bool, Fault> {
        let decoded = read_base64(reader)?;
        let text;
        let bytes = match &decoded {
            Some(decoded) => decoded,
            None => {
                text = reader.text()?;
                let Some(text) = &text else { return Ok(false) };
                text.as_bytes()
            }
        };
        let Ok(len) = u32::try_from(bytes.len()) else {
            let (expected, got) = ("a string of at most 4294967295 bytes", "a longer one");
            return Err(Fault::Kind { index: Vec::new(), expected, got });
        };
        values.extend_from_slice(&len.to_le_bytes());
        values.extend_from_slice(bytes);
        Ok(true)
    }
}

/// A number of a column: what is missing is NaN, and flags are 1 and 0.
struct NumberCell;

impl Scalar for NumberCell {
    type Stored = f64;
    const KIND: &'static str = "a number";

    fn read(reader: &mut Reader<'_>, values: &mut BufferVec<f64>) -> Result<bool, Fault> {
        if reader.null() {
            values.push(f64::NAN);
        } else if let Some(flag) = reader.boolean() {
            values.push(f64::from(u8::from(flag)));
        } else {
            return f64::read(reader, values);
        }
        Ok(true)
    }
}

/// A text of a column: what is missing is empty, and numbers and flags are what is written.
struct TextCell;

impl Scalar for TextCell {
    type Stored = u8;
    const KIND: &'static str = "a string";

    fn read(reader: &mut Reader<'_>, values: &mut BufferVec<u8>) -> Result<bool, Fault> {
        let mut push = |text: &str| {
            // No longer than the body.
            values.extend_from_slice(&(text.len() as u32).to_le_bytes());
            values.extend_from_slice(text.as_bytes());
        };
        if reader.null() {
            push("");
        } else if let Some(flag) = reader.boolean() {
            push(if flag { "true" } else { "false" });
        } else if let Some(number) = reader.number()? {
            push(number.text());
        } else {
            return Text::read(reader, values);
        }
        Ok(true)
    }
}

/// The bytes of an object that stands for them, where the dialect has that.
fn read_base64(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, Fault> {
    let fault = |expected, got| Fault::Kind { index: Vec::new(), expected, got };
    if !reader.is_at_base64() {
        return Ok(None);
    }
    reader.take(b'{');
    reader.key()?;
    let text = reader.text()?.unwrap_or_default();
    if reader.goes_on(b'}')? {
        return Err(fault("\"b64\" alone in its object", "another member"));
    }
    BASE64.decode(&*text).map(Some).map_err(|_| fault("base64", "another text"))
}

/// Which shape is to come and what of it has been seen.
struct Plan {
    dims: Vec<Dim>,
    max_rows: usize,
    capacity: usize,
    n_rows: usize,
}

impl Plan {
    fn new(dims: Vec<Dim>, max_rows: usize, remaining: usize) -> Self {
        let fixed = |dim: &Dim| match *dim {
            Dim::Fixed(size) => size,
            Dim::Variable => 1,
        };
        // One row of the declared size, if the text can hold it: the common case grows no further.
        let one_row = dims.iter().map(fixed).try_fold(1usize, usize::checked_mul);
        let capacity = one_row.unwrap_or(usize::MAX).min(remaining / MIN_TEXT + 1);
        Self { dims, max_rows, capacity, n_rows: 0 }
    }
}

struct Array<S: Scalar> {
    plan: Plan,
    values: BufferVec<S::Stored>,
    scalar: PhantomData<S>,
}

impl<S: Scalar> Array<S> {
    /// The value of the dimensions from `axis` on.
    fn value(&mut self, reader: &mut Reader<'_>, axis: usize) -> Result<(), Fault> {
        if axis < self.plan.dims.len() { self.list(reader, axis) } else { self.element(reader) }
    }

    #[inline(always)]
    fn element(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if S::read(reader, &mut self.values)? {
            Ok(())
        } else {
            Err(wrong_kind::<S>(reader, S::KIND))
        }
    }

    fn list(&mut self, reader: &mut Reader<'_>, axis: usize) -> Result<(), Fault> {
        if !reader.take(b'[') {
            return Err(wrong_kind::<S>(reader, "an array"));
        }
        if reader.take(b']') {
            return Err(Fault::Shape);
        }
        let len = if axis + 1 == self.plan.dims.len() {
            self.items(reader, axis, |array, reader| array.element(reader))?
        } else {
            self.items(reader, axis, |array, reader| array.list(reader, axis + 1))?
        };
        match self.plan.dims[axis] {
            Dim::Fixed(size) if size != len => return Err(Fault::Shape),
            _ => self.plan.dims[axis] = Dim::Fixed(len),
        }
        Ok(())
    }

    /// The items of a list that has some, and how many there are.
    #[inline(always)]
    fn items(
        &mut self,
        reader: &mut Reader<'_>,
        axis: usize,
        item: impl Fn(&mut Self, &mut Reader<'_>) -> Result<(), Fault>,
    ) -> Result<usize, Fault> {
        let limit = match self.plan.dims[axis] {
            Dim::Fixed(size) => size,
            Dim::Variable if axis == 0 => self.plan.max_rows,
            Dim::Variable => usize::MAX,
        };
        let mut len = 0;
        loop {
            if len == limit {
                let is_rows = axis == 0 && self.plan.dims[axis] == Dim::Variable;
                return Err(if is_rows { Fault::TooManyRows } else { Fault::Shape });
            }
            // The indices of a fault are put together on the way out: most values have none.
            item(self, reader).map_err(|fault| fault.inside(len))?;
            len += 1;
            if !reader.goes_on(b']')? {
                return Ok(len);
            }
        }
    }
}

/// What to say of a value that is not of the kind expected.
#[cold]
fn wrong_kind<S: Scalar>(reader: &mut Reader<'_>, expected: &'static str) -> Fault {
    match reader.kind() {
        Err(error) => error.into(),
        // Too many or too few brackets: a matter of shape.
        Ok("an array") => Fault::Shape,
        Ok(got) if got == S::KIND && expected == "an array" => Fault::Shape,
        Ok(got) => Fault::Kind { index: Vec::new(), expected, got },
    }
}

impl<S: Scalar> Fill for Array<S> {
    fn whole(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        self.value(reader, 0)
    }

    fn row(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let limit = match self.plan.dims.first() {
            // A scalar has no rows: its value is the whole.
            None => return self.value(reader, 0),
            Some(_) => self.plan.max_rows,
        };
        if self.plan.n_rows == limit {
            return Err(Fault::TooManyRows);
        }
        let row = self.plan.n_rows;
        self.value(reader, 1).map_err(|fault| fault.inside(row))?;
        self.plan.n_rows += 1;
        Ok(())
    }

    fn n_rows(&self) -> usize {
        self.plan.n_rows
    }

    fn dims(&self) -> &[Dim] {
        &self.plan.dims
    }

    fn finish(self: Box<Self>) -> (Shape, Buffer) {
        let mut sizes: Vec<usize> = Vec::with_capacity(self.plan.dims.len());
        for dim in &self.plan.dims {
            sizes.push(if let Dim::Fixed(size) = *dim { size } else { 0 });
        }
        if let Some(rows) = sizes.first_mut().filter(|_| self.plan.n_rows > 0) {
            *rows = self.plan.n_rows;
        }
        (Shape::new(sizes), self.values.freeze())
    }
}
