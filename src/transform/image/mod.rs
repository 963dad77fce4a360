//! The step that makes tensors of pixels of the files of images, as Pillow and torchvision do.
//!
//! In this order: decode, turn as EXIF says, convert to the channels that the model takes, resize, crop from the middle, divide,
//! normalize, lay out.

mod decode;
mod file;
mod jpeg;
mod options;
mod pixels;
mod resample;
#[cfg(test)]
mod tests;

use super::content::{Given, at, beside, elements, input};
use super::desk::Desk;
use super::error::TransformError;
use super::steps::InputStep;
use crate::inference::{Content, InferError, NamedTensor, TensorSpec};
use crate::tensor::{DataType, Dim, Shape, Tensor};
use decode::ImageFile;
pub use options::{Channels, Filter, ImageOptions, ImageSize};
use pixels::Pixels;

const STEP: &str = "preprocess.image";

/// Files of images to pixels.
#[derive(Debug, Clone)]
pub struct Decode(ImageOptions);

/// The input of the model that the step makes.
#[derive(Debug, Clone, Copy)]
struct Made<'s> {
    spec: &'s TensorSpec,
    datatype: DataType,
    /// Whether the channels come last.
    is_last: bool,
}

impl Decode {
    /// Checks what was declared.
    ///
    /// # Errors
    ///
    /// [`TransformError`] for figures that are not one for all channels or one for each, and for a crop beyond the size.
    pub fn new(options: ImageOptions) -> Result<Self, TransformError> {
        let n_channels = options.channels.count();
        for (key, values) in [("mean", &options.mean), ("std", &options.std)] {
            let len = values.as_ref().map_or(1, Vec::len);
            if len != 1 && len != n_channels {
                return Err(fault(format!(
                    "{key} has {len} numbers, expected one, or one for each of {n_channels} channels"
                )));
            }
        }
        if options.std.iter().flatten().any(|value| *value == 0.0) {
            return Err(fault("std has a 0, by which nothing can be divided".to_owned()));
        }
        let fits = |[height, width]: [usize; 2]| match options.resize {
            ImageSize::ShortSide(side) => height.max(width) <= side,
            ImageSize::Exact([rows, columns]) => height <= rows && width <= columns,
        };
        if let Some([height, width]) = options.crop.filter(|crop| !fits(*crop)) {
            return Err(fault(format!(
                "crop is {height} by {width}, which is more than what resize leaves"
            )));
        }
        Ok(Self(options))
    }

    /// Height and width of what the step makes, where that is the same for all images.
    fn size(&self) -> Option<[usize; 2]> {
        match (self.0.crop, self.0.resize) {
            (Some(crop), _) => Some(crop),
            (None, ImageSize::Exact(size)) => Some(size),
            (None, ImageSize::ShortSide(_)) => None,
        }
    }

    /// The one input that the model needs.
    fn made<'s>(&self, inner: &'s [TensorSpec]) -> Result<Made<'s>, TransformError> {
        let mut required = inner.iter().filter(|spec| !spec.optional);
        let (Some(spec), None) = (required.next(), required.next()) else {
            let names: Vec<_> = inner.iter().map(|spec| &*spec.name).collect();
            return Err(fault(format!(
                "the model takes {}, expected one input, the pixels",
                names.join(", ")
            )));
        };
        let datatype = if spec.declared { spec.datatype } else { DataType::Fp32 };
        let is_plain = self.0.mean.is_none() && self.0.std.is_none();
        match datatype {
            DataType::Fp32 => {}
            DataType::UInt8 if is_plain => {}
            DataType::UInt8 => {
                return Err(fault(format!(
                    "input {:?} is of UINT8, which takes neither mean nor std",
                    spec.name
                )));
            }
            _ => {
                return Err(fault(format!(
                    "input {:?} is of {datatype}, expected FP32 or UINT8",
                    spec.name
                )));
            }
        }
        let n_channels = self.0.channels.count();
        let is = |dim: &Dim, size: usize| match dim {
            Dim::Fixed(fixed) => *fixed == size,
            Dim::Variable => true,
        };
        let fits = |sizes: [&Dim; 2]| {
            self.size().is_none_or(|size| sizes.iter().zip(size).all(|(dim, it)| is(dim, it)))
        };
        let is_last = match spec.shape.dims().filter(|_| spec.declared) {
            None => false,
            Some([_, channels, rows, columns])
                if is(channels, n_channels) && fits([rows, columns]) =>
            {
                false
            }
            Some([_, rows, columns, channels])
                if is(channels, n_channels) && fits([rows, columns]) =>
            {
                true
            }
            Some(_) => {
                let [rows, columns] = self.size().map_or([-1, -1], |size| size.map(|it| it as i64));
                return Err(fault(format!(
                    "input {:?} has shape {}, expected what the step makes: [-1, {n_channels}, {rows}, {columns}], or the channels last",
                    spec.name, spec.shape
                )));
            }
        };
        Ok(Made { spec, datatype, is_last })
    }

    /// The pixels of one file, in the model's size and channels.
    fn pixels(
        &self,
        bytes: &[u8],
        what: &str,
        left: &mut usize,
        desk: &mut Desk<'_>,
    ) -> Result<Pixels, InferError> {
        let bytes = file::bytes_of(bytes, what)?;
        let image = ImageFile::open(&bytes, what)?;
        let [height, width] = image.size();
        self.take(left, [height, width], what, "has")?;
        desk.work.pixels += (height * width) as u64;
        let booked = image.cost();
        desk.book(booked)?;
        let pixels = image.pixels(self.0.channels, what)?;
        desk.give_back(booked.saturating_sub(pixels.bytes.len()));
        let to = pixels.target(self.0.resize);
        self.take(left, to, what, "would be resized to")?;
        // Rows are resized first, which leaves an image of the new width and the old height.
        let both = (to[0] * to[1] + pixels.size[0] * to[1]) * self.0.channels.count();
        desk.book(both)?;
        let held = pixels.bytes.len();
        let resized = resample::resized(pixels, to, self.0.filter);
        let cropped = match self.0.crop {
            Some(crop) => resized.cropped(crop),
            None => resized,
        };
        desk.give_back(held + both);
        Ok(cropped)
    }

    /// Takes the pixels of one image off what a request may have.
    fn take(
        &self,
        left: &mut usize,
        [height, width]: [usize; 2],
        what: &str,
        how: &str,
    ) -> Result<(), InferError> {
        let max = self.0.max_pixels;
        let n_pixels = height.saturating_mul(width);
        match left.checked_sub(n_pixels) {
            Some(rest) => {
                *left = rest;
                Ok(())
            }
            None => {
                let message = format!(
                    "{what} {how} {width} by {height} pixels, at most {max} are allowed for the images of a request"
                );
                Err(InferError::invalid_input(Content::Image.name(), message)
                    .with_mismatch(format_args!("at most {max} pixels"), n_pixels))
            }
        }
    }
}

impl InputStep for Decode {
    fn content(&self) -> Option<Content> {
        Some(Content::Image)
    }

    fn specs(&self, inner: &[TensorSpec]) -> Result<Vec<TensorSpec>, TransformError> {
        self.made(inner)?;
        Ok(beside(vec![input(Content::Image.name())], inner))
    }

    fn is_quick(&self, inputs: &[NamedTensor]) -> bool {
        !inputs.iter().any(|input| &*input.name == Content::Image.name())
    }

    fn apply(
        &self,
        inner: &[TensorSpec],
        inputs: Vec<NamedTensor>,
        desk: &mut Desk<'_>,
    ) -> Result<Vec<NamedTensor>, InferError> {
        let name = Content::Image.name();
        let content = match Given::of(inputs, &[name])? {
            Given::Tensors(tensors) => return Ok(tensors),
            Given::Content(content) => content,
        };
        let made = self.made(inner).map_err(|error| error.at_run())?;
        let files = elements(name, &content[0].tensor)?;
        let n_rows = files.len();
        let mut left = self.0.max_pixels;
        let mut size = self.size();
        let mut all = Vec::new();
        let values = pixels::normalized(&self.0);
        for (row, file) in files.iter().enumerate() {
            desk.go_on()?;
            let what = at(Content::Image, row, n_rows);
            // What it is in base64, which is a copy.
            desk.book(file.len())?;
            let pixels = self.pixels(file, &what, &mut left, desk)?;
            desk.give_back(file.len());
            let expected = *size.get_or_insert(pixels.size);
            if pixels.size != expected {
                let message = format!(
                    "{what} is {} by {} pixels when it is resized, the first {} by {}: send them one by one, or declare crop in model.toml",
                    pixels.size[1], pixels.size[0], expected[1], expected[0]
                );
                return Err(InferError::invalid_input(name, message));
            }
            let row_bytes = pixels.bytes.len() * made.datatype.byte_size().unwrap_or(1);
            if row == 0 {
                desk.book(row_bytes * n_rows)?;
                all.reserve_exact(row_bytes * n_rows);
            }
            match made.datatype {
                DataType::UInt8 => pixels.lay_out(self.0.channels, made.is_last, |_, value| {
                    all.push(value);
                }),
                _ => {
                    pixels.lay_out(self.0.channels, made.is_last, |channel, value| {
                        all.extend_from_slice(&values[channel][usize::from(value)].to_le_bytes());
                    });
                }
            }
        }
        let [rows, columns] = size.unwrap_or_default();
        let channels = self.0.channels.count();
        let dims = match made.is_last {
            true => [n_rows, rows, columns, channels],
            false => [n_rows, channels, rows, columns],
        };
        let tensor = Tensor::new(made.datatype, Shape::from(dims), all.into())
            .map_err(|error| fault(error.to_string()).at_run())?;
        Ok(vec![NamedTensor { name: made.spec.name.clone(), tensor }])
    }
}

fn fault(reason: String) -> TransformError {
    TransformError::Step { step: STEP, reason }
}
