//! From the bytes of a file to pixels: what it is, what it will take, and the pixels the right way up.

use super::file::unreadable;
use super::jpeg::Markers;
use super::options::Channels;
use super::pixels::Pixels;
use crate::inference::InferError;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, Limits};
use std::io::Cursor;

/// Scans of a progressive JPEG that are read. Encoders write 6 to 12; each may go over the whole image, however few bytes it has.
const MAX_SCANS: usize = 100;
/// What a progressive JPEG keeps for each pixel until its last scan: three coefficients of two bytes.
const COEFFICIENT_BYTES: usize = 6;
/// Room for what stands in a file beside pixels: profiles, texts.
const OTHER_BYTES: u64 = 1 << 20;
/// Longest side: what JPEG can hold. Weights for resizing are kept for a whole side.
const MAX_SIDE: u32 = 65_535;
const EXPECTED: &str = "a JPEG, PNG or WebP file, or one in base64";

/// A file whose head has been read, and nothing else.
pub(super) struct ImageFile<'b> {
    decoder: Box<dyn ImageDecoder + 'b>,
    file_bytes: usize,
    is_progressive: bool,
}

impl<'b> ImageFile<'b> {
    /// Reads the head.
    pub(super) fn open(bytes: &'b [u8], what: &str) -> Result<Self, InferError> {
        let file_bytes = bytes.len();
        let refused = |error: ImageError| unreadable(what, &format!("damaged: {error}"), EXPECTED);
        let cursor = Cursor::new(bytes);
        let mut is_progressive = false;
        let mut decoder: Box<dyn ImageDecoder + 'b> = if bytes.starts_with(b"\xff\xd8\xff") {
            let markers = Markers::read(bytes);
            if !markers.is_whole {
                return Err(unreadable(what, "a JPEG file that is cut off", "all of it"));
            }
            if markers.n_scans > MAX_SCANS {
                let (n, most) = (markers.n_scans, MAX_SCANS);
                return Err(unreadable(
                    what,
                    &format!("a JPEG file of {n} scans"),
                    &format!("at most {most}"),
                ));
            }
            is_progressive = markers.is_progressive;
            Box::new(JpegDecoder::new(cursor).map_err(refused)?)
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Box::new(PngDecoder::new(cursor).map_err(refused)?)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Box::new(WebPDecoder::new(cursor).map_err(refused)?)
        } else {
            return Err(unreadable(what, &kind(bytes), EXPECTED));
        };
        let (width, height) = decoder.dimensions();
        if width == 0 || height == 0 {
            return Err(unreadable(what, &format!("{width} by {height} pixels"), "at least one"));
        }
        if width.max(height) > MAX_SIDE {
            let got = format!("{width} by {height} pixels");
            return Err(unreadable(what, &got, &format!("sides of at most {MAX_SIDE}")));
        }
        let mut limits = Limits::no_limits();
        limits.max_alloc =
            Some(decoder.total_bytes().saturating_mul(2).saturating_add(OTHER_BYTES));
        decoder.set_limits(limits).map_err(refused)?;
        Ok(Self { decoder, file_bytes, is_progressive })
    }

    /// Height and width, as they lie in the file.
    pub(super) fn size(&self) -> [usize; 2] {
        let (width, height) = self.decoder.dimensions();
        [height as usize, width as usize]
    }

    /// Bytes that decoding takes at most, with its result.
    pub(super) fn cost(&self) -> usize {
        let [height, width] = self.size();
        let n_pixels = height.saturating_mul(width);
        let kept = if self.is_progressive { COEFFICIENT_BYTES } else { 0 };
        let decoded = usize::try_from(self.decoder.total_bytes()).unwrap_or(usize::MAX);
        // The decoder's copy of the file, the pixels as they are, and two of them in the model's channels: as they lie, and
        // turned.
        decoded
            .saturating_add(n_pixels.saturating_mul(kept + 2 * 3))
            .saturating_add(self.file_bytes)
    }

    /// All pixels, the right way up.
    pub(super) fn pixels(self, channels: Channels, what: &str) -> Result<Pixels, InferError> {
        let refused = |error: ImageError| unreadable(what, &format!("damaged: {error}"), EXPECTED);
        let size = self.size();
        let Self { mut decoder, .. } = self;
        // What EXIF says that cannot be read says nothing, as in Pillow.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let color = decoder.color_type();
        let n_bytes = usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; n_bytes];
        decoder.read_image_boxed(&mut bytes).map_err(refused)?;
        let n_channels = channels.count();
        let bytes = match color {
            ColorType::Rgb8 if n_channels == 3 => bytes,
            ColorType::L8 if n_channels == 1 => bytes,
            _ => converted(&bytes, color, n_channels).ok_or_else(|| {
                unreadable(what, "of a kind that has no 8 or 16 bits a channel", EXPECTED)
            })?,
        };
        Ok(Pixels { bytes, size, n_channels }.turned(orientation))
    }
}

/// Pixels of 8 or 16 bits with or without colour and alpha, as three channels or one of 8 bits. Alpha is dropped, and of 16
/// bits the upper eight are kept, as Pillow does.
fn converted(bytes: &[u8], color: ColorType, n_channels: usize) -> Option<Vec<u8>> {
    let is_gray = !color.has_color();
    let n = usize::from(color.channel_count());
    let n_bytes = usize::from(color.bytes_per_pixel()) / n;
    // Samples of 16 bits come as numbers of this machine.
    let upper = if cfg!(target_endian = "little") { n_bytes - 1 } else { 0 };
    if n_bytes > 2 {
        return None;
    }
    let sample = |pixel: &[u8], channel: usize| pixel[channel * n_bytes + upper];
    let pixels = bytes.chunks_exact(n * n_bytes);
    let mut converted = Vec::with_capacity(pixels.len() * n_channels);
    for pixel in pixels {
        let rgb = [0, 1, 2].map(|channel| sample(pixel, if is_gray { 0 } else { channel }));
        match n_channels {
            1 if is_gray => converted.push(rgb[0]),
            1 => converted.push(brightness(rgb)),
            _ => converted.extend_from_slice(&rgb),
        }
    }
    Some(converted)
}

/// Brightness by ITU-R BT.601, in whole numbers as Pillow computes it.
fn brightness([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    ((sum + 0x8000) >> 16) as u8
}

/// What a file is that cannot be read, as far as its beginning says.
fn kind(bytes: &[u8]) -> String {
    const KINDS: &[(&[u8], &str)] = &[
        (b"GIF8", "a GIF file"),
        (b"BM", "a BMP file"),
        (b"II*\0", "a TIFF file"),
        (b"MM\0*", "a TIFF file"),
        (b"%PDF", "a PDF file"),
        (b"<svg", "an SVG file"),
        (b"<?xml", "an XML file"),
    ];
    if bytes.is_empty() {
        return "empty".to_owned();
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return "a HEIF or AVIF file, or a video".to_owned();
    }
    let known = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic));
    known.map_or_else(|| "no image that can be read".to_owned(), |(_, kind)| (*kind).to_owned())
}
