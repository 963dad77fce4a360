//! Tensors to JSON text, printed straight from their buffers.
//!
//! Floats are printed with the fewest digits that read back as the same value of their own type
//! (`0.1` for an FP32; FP16 and BF16 as the FP32 of equal value). JSON has no word for NaN and the
//! infinities: they become `null`, or what the [`Dialect`] has for them. A tensor without elements is
//! `[]`, whatever its shape.

use super::Dialect;
use crate::tensor::{DataType, Element, Tensor};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use half::{bf16, f16};

/// Bytes to set aside for one printed element: more than most take.
const TYPICAL_TEXT: usize = 14;

/// A tensor being printed, part by part, in the order of its elements.
#[derive(Debug)]
pub(crate) struct Printer<'t> {
    datatype: DataType,
    /// What is not printed yet.
    rest: &'t [u8],
    dialect: Dialect,
    /// Whether elements of `BYTES` are printed in base64, though they be texts.
    base64: bool,
}

impl<'t> Printer<'t> {
    pub(crate) fn new(tensor: &'t Tensor) -> Self {
        let rest = tensor.buffer().as_bytes();
        Self { datatype: tensor.datatype(), rest, dialect: Dialect::Strict, base64: false }
    }

    /// The same in this dialect.
    pub(crate) fn in_dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// The same with `BYTES` in base64, where the dialect has that.
    pub(crate) fn with_base64(self) -> Self {
        Self { base64: self.dialect == Dialect::Extended, ..self }
    }

    /// Prints the next elements as nested arrays of `dims`.
    pub(crate) fn next(&mut self, out: &mut Vec<u8>, dims: &[usize]) {
        let dialect = self.dialect;
        match self.datatype {
            DataType::Bool => self.typed(out, dims, print_flag),
            DataType::UInt8 => self.typed::<u8>(out, dims, write_integer),
            DataType::UInt16 => self.typed::<u16>(out, dims, write_integer),
            DataType::UInt32 => self.typed::<u32>(out, dims, write_integer),
            DataType::UInt64 => self.typed::<u64>(out, dims, write_integer),
            DataType::Int8 => self.typed::<i8>(out, dims, write_integer),
            DataType::Int16 => self.typed::<i16>(out, dims, write_integer),
            DataType::Int32 => self.typed::<i32>(out, dims, write_integer),
            DataType::Int64 => self.typed::<i64>(out, dims, write_integer),
            DataType::Fp16 => self
                .typed(out, dims, |out, value: f16| write_float_in(out, value.to_f32(), dialect)),
            DataType::Bf16 => self
                .typed(out, dims, |out, value: bf16| write_float_in(out, value.to_f32(), dialect)),
            DataType::Fp32 => {
                self.typed(out, dims, |out, value: f32| write_float_in(out, value, dialect))
            }
            DataType::Fp64 => {
                self.typed(out, dims, |out, value: f64| write_float_in(out, value, dialect))
            }
            DataType::Bytes => self.texts(out, dims),
        }
    }

    fn typed<T: Element>(
        &mut self,
        out: &mut Vec<u8>,
        dims: &[usize],
        print: impl Fn(&mut Vec<u8>, T) + Copy,
    ) {
        let part = self.cut(dims.iter().product::<usize>() * size_of::<T>());
        // A slice of a wire's buffer need not be aligned, so elements are read as bytes.
        let elements = part.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned);
        write_nested(out, elements, dims, print);
    }

    /// Elements of `BYTES`: a length of four bytes and then that many.
    fn texts(&mut self, out: &mut Vec<u8>, dims: &[usize]) {
        let mut texts = Vec::new();
        for _ in 0..dims.iter().product() {
            let Ok(prefix) = <[u8; 4]>::try_from(self.cut(4)) else { break };
            texts.push(self.cut(u32::from_le_bytes(prefix) as usize));
        }
        let (dialect, base64) = (self.dialect, self.base64);
        write_nested(out, texts.into_iter(), dims, |out, bytes| match std::str::from_utf8(bytes) {
            Ok(text) if !base64 => write_string(out, text),
            Err(_) if dialect == Dialect::Strict => {
                write_string(out, &String::from_utf8_lossy(bytes));
            }
            _ => write_base64(out, bytes),
        });
    }

    /// Takes the next bytes off; fewer where the buffer ends.
    fn cut(&mut self, len: usize) -> &'t [u8] {
        let (part, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        part
    }
}

/// About how many bytes the text of a tensor takes, rather more than fewer.
pub(crate) fn text_len(tensor: &Tensor) -> usize {
    let Some(size) = tensor.datatype().byte_size() else { return tensor.buffer().len() * 2 };
    (tensor.buffer().len() / size).saturating_mul(TYPICAL_TEXT)
}

/// Prints a float; `null` for what JSON has no word for.
#[inline]
pub(crate) fn write_float<F: zmij::Float + Into<f64>>(out: &mut Vec<u8>, value: F) {
    write_float_in(out, value, Dialect::Strict);
}

/// Prints a float in a dialect.
#[inline]
pub(crate) fn write_float_in<F: zmij::Float + Into<f64>>(
    out: &mut Vec<u8>,
    value: F,
    dialect: Dialect,
) {
    let number: f64 = value.into();
    if number.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(dialect.word_for(number).as_bytes());
    }
}

/// Bytes that are no text, as TensorFlow Serving writes them.
fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"{\"b64\":\"");
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    out.truncate(start + written.expect("base64 takes four characters for three bytes"));
    out.extend_from_slice(b"\"}");
}

/// Prints a string with its quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Names and ids: nothing in them is escaped.
    if text.bytes().all(|byte| (b' '..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\')) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    serde_json::to_writer(out, text).expect("writing to memory does not fail");
}

/// Prints an integer.
#[inline]
pub(crate) fn write_integer<T: itoa::Integer>(out: &mut Vec<u8>, value: T) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn print_flag(out: &mut Vec<u8>, value: u8) {
    out.extend_from_slice(if value == 0 { b"false" } else { b"true" });
}

/// Prints elements as nested arrays of `dims`; `null` where one is missing.
fn write_nested<T>(
    out: &mut Vec<u8>,
    mut elements: impl ExactSizeIterator<Item = T>,
    dims: &[usize],
    print: impl Fn(&mut Vec<u8>, T) + Copy,
) {
    match dims {
        [] => match elements.next() {
            Some(element) => print(out, element),
            None => out.extend_from_slice(b"null"),
        },
        _ if elements.len() == 0 => out.extend_from_slice(b"[]"),
        _ => write_axis(out, &mut elements, dims, print),
    }
}

fn write_axis<T>(
    out: &mut Vec<u8>,
    elements: &mut impl ExactSizeIterator<Item = T>,
    dims: &[usize],
    print: impl Fn(&mut Vec<u8>, T) + Copy,
) {
    let Some((&len, inner)) = dims.split_first() else { return };
    out.push(b'[');
    // Bounded by what is there: dimensions alone do not make an answer long.
    for position in 0..len {
        if elements.len() == 0 {
            break;
        }
        if position > 0 {
            out.push(b',');
        }
        if !inner.is_empty() {
            write_axis(out, elements, inner, print);
        } else if let Some(element) = elements.next() {
            print(out, element);
        }
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Buffer, Shape};

    fn print(tensor: &Tensor) -> String {
        let mut out = Vec::new();
        Printer::new(tensor).next(&mut out, tensor.shape().dims());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn elements_print_as_their_own_type() {
        let floats = Tensor::from_vec(
            Shape::from([2, 4]),
            vec![0.1f32, 1.0, -0.0, 1e-7, f32::MAX, f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
        );
        let expected = "[[0.1,1.0,-0.0,1e-7],[3.4028235e+38,null,null,null]]";
        assert_eq!(print(&floats.unwrap()), expected);
        let integers = Tensor::from_vec(Shape::from([2]), vec![u64::MAX, 0]).unwrap();
        assert_eq!(print(&integers), "[18446744073709551615,0]");
        let flags = Tensor::new(DataType::Bool, Shape::from([2]), vec![1u8, 0].into()).unwrap();
        assert_eq!(print(&flags), "[true,false]");
        let text = b"\x02\0\0\0a\"\x00\0\0\0".to_vec();
        let texts = Tensor::new(DataType::Bytes, Shape::from([2]), text.into()).unwrap();
        assert_eq!(print(&texts), r#"["a\"",""]"#);
        let half = Tensor::from_vec(Shape::from([]), vec![f16::from_f32(0.1)]).unwrap();
        assert_eq!(print(&half), "0.099975586");
    }

    #[test]
    fn the_extended_dialect_has_words_and_base64() {
        let extended = |printer: Printer<'_>, dims: &[usize]| {
            let mut out = Vec::new();
            printer.in_dialect(Dialect::Extended).next(&mut out, dims);
            String::from_utf8(out).unwrap()
        };
        let floats = [0.5f64, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].to_vec();
        let floats = Tensor::from_vec(Shape::from([4]), floats).unwrap();
        assert_eq!(extended(Printer::new(&floats), &[4]), "[0.5,NaN,Infinity,-Infinity]");
        let text = b"\x02\0\0\0ab\x01\0\0\0\xff\0\0\0\0".to_vec();
        let texts = Tensor::new(DataType::Bytes, Shape::from([3]), text.into()).unwrap();
        let printed = r#"["ab",{"b64":"/w=="},""]"#;
        assert_eq!(extended(Printer::new(&texts), &[3]), printed);
        assert_eq!(print(&texts), "[\"ab\",\"\u{fffd}\",\"\"]", "strict JSON has no bytes");
        let mut out = Vec::new();
        Printer::new(&texts).in_dialect(Dialect::Extended).with_base64().next(&mut out, &[3]);
        assert_eq!(out, br#"[{"b64":"YWI="},{"b64":"/w=="},{"b64":""}]"#);
    }

    #[test]
    fn a_tensor_without_elements_prints_short() {
        let empty = Tensor::from_vec(Shape::from([1_000_000_000, 0]), Vec::<f32>::new()).unwrap();
        assert_eq!(print(&empty), "[]", "an answer must not grow with a shape of no elements");
    }

    #[test]
    fn texts_that_end_too_early_print_as_far_as_they_go() {
        let text = b"\x01\0\0\0a\x01\0\0\0".to_vec();
        let shape = Shape::from([2, 1_000_000, 1_000_000]);
        let texts = Tensor::new(DataType::Bytes, shape, text.into()).unwrap();
        let printed = print(&texts);
        assert_eq!(printed, r#"[[["a",""]]]"#, "an answer must not grow with its shape alone");
    }

    #[test]
    fn an_unaligned_buffer_is_printed_all_the_same() {
        let bytes = [&[0u8][..], bytemuck::bytes_of(&[1.5f32, 2.5])].concat();
        let buffer = Buffer::from(bytes).slice(1..9);
        let tensor = Tensor::new(DataType::Fp32, Shape::from([2]), buffer).unwrap();
        assert_eq!(print(&tensor), "[1.5,2.5]");
    }
}
