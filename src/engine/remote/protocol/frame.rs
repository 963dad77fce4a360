//! Frames on a stream: a little-endian `u32`, a JSON header of that many bytes, and then the bytes of the tensors that the
//! header lists.
//!
//! Neither side believes the other's lengths: a frame over the limits is an error, and memory grows with what has
//! arrived, never with what was announced.

use super::super::regions::Place;
use super::words::WireDataType;
use crate::engine::{MAX_RUN_BYTES, Output};
use crate::tensor::{Buffer, DataType, Shape, Tensor};
use sealed_memory::View;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Bytes of a header at most: the signature of a model with tens of thousands of parameters fits.
const MAX_HEADER_BYTES: usize = 16 << 20;
/// Bytes of tensors that are copied behind the header, so that one call of the system writes all.
const MAX_APPENDED_BYTES: usize = 16 << 10;

/// A tensor without its bytes, which follow the header.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::engine::remote) struct TensorHeader {
    datatype: WireDataType,
    shape: Vec<usize>,
    bytes: usize,
    /// Region and offset of an input that does not follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<(u64, usize)>,
}

/// An output without its bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::engine::remote) struct OutputHeader {
    name: Option<String>,
    tensor: TensorHeader,
}

impl TensorHeader {
    pub(super) fn of(tensor: &Tensor) -> Self {
        Self::at(tensor, None)
    }

    pub(super) fn at(tensor: &Tensor, place: Option<Place>) -> Self {
        Self {
            place: place.map(|it| (it.region, it.offset)),
            datatype: WireDataType(tensor.datatype()),
            shape: tensor.shape().dims().to_vec(),
            bytes: tensor.buffer().len(),
        }
    }
}

impl OutputHeader {
    pub(super) fn of(output: &Output) -> Self {
        let name = output.name.as_deref().map(str::to_owned);
        Self { name, tensor: TensorHeader::of(&output.tensor) }
    }
}

/// Writes one frame.
pub(in crate::engine::remote) fn write(
    stream: &mut dyn Write,
    header: &impl Serialize,
    buffers: &[Buffer],
) -> io::Result<()> {
    let mut frame = vec![0; size_of::<u32>()];
    serde_json::to_writer(&mut frame, header)?;
    let header_bytes = frame.len() - size_of::<u32>();
    if header_bytes > MAX_HEADER_BYTES {
        return Err(invalid(format!(
            "a header of {header_bytes} bytes, at most {MAX_HEADER_BYTES} are allowed"
        )));
    }
    let length = u32::try_from(header_bytes).map_err(io::Error::other)?;
    frame[..size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
    let is_small = buffers.iter().map(Buffer::len).sum::<usize>() <= MAX_APPENDED_BYTES;
    if is_small {
        buffers.iter().for_each(|buffer| frame.extend_from_slice(buffer.as_bytes()));
    }
    stream.write_all(&frame)?;
    for buffer in buffers.iter().filter(|_| !is_small) {
        stream.write_all(buffer.as_bytes())?;
    }
    stream.flush()
}

/// Reads the header of the next frame; `None` when the stream ends before it.
pub(in crate::engine::remote) fn read_header<H: DeserializeOwned>(
    stream: &mut dyn Read,
) -> io::Result<Option<H>> {
    let mut length = Vec::with_capacity(size_of::<u32>());
    stream.take(4).read_to_end(&mut length)?;
    let Ok(length) = <[u8; 4]>::try_from(length.as_slice()) else {
        return if length.is_empty() { Ok(None) } else { Err(cut_off()) };
    };
    let header_bytes = u32::from_le_bytes(length) as usize;
    if header_bytes > MAX_HEADER_BYTES {
        return Err(invalid(format!(
            "a header of {header_bytes} bytes, at most {MAX_HEADER_BYTES} are allowed"
        )));
    }
    let header = read_bytes(stream, header_bytes)?;
    serde_json::from_slice(&header).map(Some).map_err(|error| invalid(error.to_string()))
}

/// The regions in which inputs may lie, as their reader sees them.
pub(in crate::engine::remote) type Views = HashMap<u64, Arc<View>>;

/// Reads the tensors that a request lists.
pub(in crate::engine::remote) fn read_inputs(
    stream: &mut dyn Read,
    headers: Vec<Option<TensorHeader>>,
    views: &Views,
) -> io::Result<Vec<Option<Tensor>>> {
    check_total(headers.iter().flatten())?;
    let mut read = |header: TensorHeader| match header.place {
        None => read_tensor(stream, header),
        Some((region, offset)) => {
            let view = views.get(&region).ok_or_else(|| invalid(format!("no region {region}")))?;
            let view = ViewOfRegion(Arc::clone(view));
            let end = offset.saturating_add(header.bytes);
            if end > view.as_ref().len() {
                return Err(invalid(format!("{end} bytes of a region that has fewer")));
            }
            tensor(header, Buffer::from_owner(view).slice(offset..end))
        }
    };
    headers.into_iter().map(|header| header.map(&mut read).transpose()).collect()
}

/// As the owner of a buffer.
struct ViewOfRegion(Arc<View>);

impl AsRef<[u8]> for ViewOfRegion {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// Reads the tensors that an answer lists.
pub(in crate::engine::remote) fn read_outputs(
    stream: &mut dyn Read,
    headers: Vec<OutputHeader>,
) -> io::Result<Vec<Output>> {
    check_total(headers.iter().map(|output| &output.tensor))?;
    let read = |output: OutputHeader| {
        if output.tensor.place.is_some() {
            return Err(invalid("an output in a region".to_owned()));
        }
        let tensor = read_tensor(stream, output.tensor)?;
        Ok(Output { name: output.name.map(Arc::from), tensor })
    };
    headers.into_iter().map(read).collect()
}

fn check_total<'a>(headers: impl Iterator<Item = &'a TensorHeader>) -> io::Result<()> {
    let total = headers.fold(0usize, |total, header| total.saturating_add(header.bytes));
    if total > MAX_RUN_BYTES {
        return Err(invalid(format!(
            "tensors of {total} bytes, at most {MAX_RUN_BYTES} are allowed"
        )));
    }
    Ok(())
}

fn read_tensor(stream: &mut dyn Read, header: TensorHeader) -> io::Result<Tensor> {
    let bytes = read_bytes(stream, header.bytes)?;
    tensor(header, Buffer::copy_aligned(&bytes))
}

fn tensor(header: TensorHeader, bytes: Buffer) -> io::Result<Tensor> {
    let tensor = Tensor::new(header.datatype.0, Shape::new(header.shape), bytes)
        .map_err(|error| invalid(error.to_string()))?;
    if tensor.datatype() == DataType::Bytes && !holds_its_elements(&tensor) {
        return Err(invalid(format!("{} of BYTES whose lengths do not add up", tensor.shape())));
    }
    Ok(tensor)
}

/// Whether a `BYTES` tensor's lengths lead exactly through its buffer.
fn holds_its_elements(tensor: &Tensor) -> bool {
    let mut rest = tensor.buffer().as_bytes();
    for _ in 0..tensor.shape().elements().unwrap_or(0) {
        let Some((length, after)) = rest.split_first_chunk() else { return false };
        let Some(after) = after.get(u32::from_le_bytes(*length) as usize..) else { return false };
        rest = after;
    }
    rest.is_empty()
}

/// Reads exactly `length` bytes into memory that grows as they come.
fn read_bytes(stream: &mut dyn Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length { Err(cut_off()) } else { Ok(bytes) }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a frame was cut off")
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::super::Response;
    use super::*;

    #[track_caller]
    fn refused(bytes: &[u8], expected: &str) {
        let error = read_header::<Response>(&mut &*bytes).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn bad_headers_are_refused() {
        refused(&u32::MAX.to_le_bytes(), "a header of 4294967295 bytes");
        refused(&[1, 0], "cut off");
        refused(&[5, 0, 0, 0, b'{'], "cut off");
        refused(&[2, 0, 0, 0, b'{', b'}'], "expected");
        assert!(read_header::<Response>(&mut &[][..]).unwrap().is_none());
    }

    #[track_caller]
    fn tensor_refused(tensor: &str, bytes: &[u8], expected: &str) {
        let header: TensorHeader = serde_json::from_str(tensor).unwrap();
        let output = OutputHeader { name: None, tensor: header };
        let error = read_outputs(&mut &*bytes, vec![output]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn tensors_that_lie_are_refused() {
        let big = r#"{"datatype":"FP32","shape":[1],"bytes":1073741825}"#;
        tensor_refused(big, &[], "at most 1073741824");
        tensor_refused(r#"{"datatype":"FP32","shape":[1],"bytes":4}"#, &[0; 3], "cut off");
        tensor_refused(r#"{"datatype":"FP32","shape":[2],"bytes":4}"#, &[0; 4], "takes 8 bytes");
        let huge = r#"{"datatype":"FP32","shape":[0,4611686018427387904],"bytes":0}"#;
        tensor_refused(huge, &[], "more elements");
        let text = r#"{"datatype":"BYTES","shape":[1],"bytes":5}"#;
        tensor_refused(text, &[2, 0, 0, 0, b'a'], "do not add up");
    }
}
