//! Small images, written by the codecs that also read them; what Pillow makes of real ones is compared in `tests/transforms`.

use super::*;
use crate::inference::ErrorCode;
use crate::tensor::ShapePattern;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// Six pixels in two rows, each with values of its own.
const PIXELS: [u8; 18] =
    [0, 1, 2, 10, 11, 12, 20, 21, 22, 100, 101, 102, 110, 111, 112, 120, 121, 122];

fn png(bytes: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(bytes, width, height, color).unwrap();
    file
}

fn six() -> Vec<u8> {
    png(&PIXELS, 3, 2, ExtendedColorType::Rgb8)
}

fn options() -> ImageOptions {
    ImageOptions {
        resize: ImageSize::Exact([2, 3]),
        filter: Filter::Bilinear,
        crop: None,
        channels: Channels::Rgb,
        divide_by: 1.0,
        mean: None,
        std: None,
        max_pixels: 1000,
    }
}

fn input(datatype: DataType, shape: &[i64]) -> Vec<TensorSpec> {
    let shape = ShapePattern::from_wire(shape).unwrap();
    vec![TensorSpec { name: "x".into(), datatype, shape, optional: false, declared: true }]
}

fn files(files: &[&[u8]]) -> Vec<NamedTensor> {
    let element = |file: &&[u8]| [&(file.len() as u32).to_le_bytes(), *file].concat();
    let bytes: Vec<u8> = files.iter().flat_map(element).collect();
    let shape = Shape::from([files.len()]);
    let tensor = Tensor::new(DataType::Bytes, shape, bytes.into()).unwrap();
    vec![NamedTensor { name: "image".into(), tensor }]
}

fn bytes(options: ImageOptions, shape: &[i64], file: &[u8]) -> Vec<u8> {
    let step = Decode::new(options).unwrap();
    let inner = input(DataType::UInt8, shape);
    let made = step.apply(&inner, files(&[file]), &mut Desk::default()).unwrap();
    made[0].tensor.as_slice::<u8>().unwrap().to_vec()
}

#[track_caller]
fn refused(options: ImageOptions, file: &[u8], expected: &str) {
    let step = Decode::new(options).unwrap();
    let inner = input(DataType::Fp32, &[-1, 3, -1, -1]);
    let error = step.apply(&inner, files(&[file]), &mut Desk::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidInput);
    assert!(error.message.contains(expected), "{error}");
}

#[test]
fn channels_come_first_or_last_and_in_the_models_order() {
    let first = bytes(options(), &[-1, 3, 2, 3], &six());
    assert_eq!(first[..6], [0, 10, 20, 100, 110, 120]);
    assert_eq!(first[12..], [2, 12, 22, 102, 112, 122]);
    assert_eq!(bytes(options(), &[-1, 2, 3, 3], &six()), PIXELS);
    let square = ImageOptions { resize: ImageSize::Exact([2, 2]), ..options() };
    let last =
        bytes(square.clone(), &[-1, 2, 2, 3], &png(&PIXELS[..12], 2, 2, ExtendedColorType::Rgb8));
    assert_eq!(last, PIXELS[..12]);
    let bgr = ImageOptions { channels: Channels::Bgr, ..square };
    let last = bytes(bgr, &[-1, 2, 2, 3], &png(&PIXELS[..12], 2, 2, ExtendedColorType::Rgb8));
    assert_eq!(last[..6], [2, 1, 0, 12, 11, 10]);
}

#[test]
fn values_are_divided_and_normalized_as_torchvision_does() {
    let mean = Some(vec![0.485, 0.456, 0.406]);
    let std = Some(vec![0.229, 0.224, 0.225]);
    let step = Decode::new(ImageOptions { divide_by: 255.0, mean, std, ..options() }).unwrap();
    let mut desk = Desk::default();
    let made = step.apply(&input(DataType::Fp32, &[-1, 3, 2, 3]), files(&[&six()]), &mut desk);
    let made = made.unwrap();
    assert_eq!(made[0].tensor.shape().dims(), [1, 3, 2, 3]);
    let values = made[0].tensor.as_slice::<f32>().unwrap();
    assert_eq!(values[0].to_bits(), ((0.0f32 / 255.0 - 0.485) / 0.229).to_bits());
    assert_eq!(values[7].to_bits(), ((11.0f32 / 255.0 - 0.456) / 0.224).to_bits());
    assert_eq!(desk.work.pixels, 6);
}

#[test]
fn gray_alpha_and_sixteen_bits_become_what_the_model_takes() {
    let gray = png(&[5, 6, 7, 8, 9, 10], 3, 2, ExtendedColorType::L8);
    assert_eq!(bytes(options(), &[-1, 3, 2, 3], &gray)[..7], [5, 6, 7, 8, 9, 10, 5]);
    let alpha: Vec<u8> = PIXELS.chunks(3).flat_map(|it| [it, &[0]].concat()).collect();
    let alpha = png(&alpha, 3, 2, ExtendedColorType::Rgba8);
    assert_eq!(bytes(options(), &[-1, 3, 2, 3], &alpha)[..6], [0, 10, 20, 100, 110, 120]);
    let wide: Vec<u8> =
        PIXELS.iter().flat_map(|it| u16::from_be_bytes([*it, 255]).to_ne_bytes()).collect();
    let wide = png(&wide, 3, 2, ExtendedColorType::Rgb16);
    assert_eq!(bytes(options(), &[-1, 3, 2, 3], &wide)[..6], [0, 10, 20, 100, 110, 120]);
    let one = ImageOptions { channels: Channels::Gray, ..options() };
    assert_eq!(bytes(one, &[-1, 1, 2, 3], &six()), [1, 11, 21, 101, 111, 121]);
}

#[test]
fn all_eight_orientations_are_turned_upright() {
    // Turned by what a camera says, each comes out as the same image.
    let upright = Pixels { bytes: (0..6).collect(), size: [2, 3], n_channels: 1 };
    let turns: [(u8, [usize; 2], [u8; 6]); 8] = [
        (1, [2, 3], [0, 1, 2, 3, 4, 5]),
        (2, [2, 3], [2, 1, 0, 5, 4, 3]),
        (3, [2, 3], [5, 4, 3, 2, 1, 0]),
        (4, [2, 3], [3, 4, 5, 0, 1, 2]),
        (5, [3, 2], [0, 3, 1, 4, 2, 5]),
        (6, [3, 2], [2, 5, 1, 4, 0, 3]),
        (7, [3, 2], [5, 2, 4, 1, 3, 0]),
        (8, [3, 2], [3, 0, 4, 1, 5, 2]),
    ];
    for (exif, size, stored) in turns {
        let stored = Pixels { bytes: stored.to_vec(), size, n_channels: 1 };
        let orientation = image::metadata::Orientation::from_exif(exif).unwrap();
        assert_eq!(stored.turned(orientation), upright, "{exif}");
    }
}

#[test]
fn base64_and_data_urls_are_files_too() {
    let plain = bytes(options(), &[-1, 3, 2, 3], &six());
    let text = STANDARD.encode(six());
    let broken: Vec<_> = text.as_bytes().chunks(19).collect();
    let url = format!("data:image/png;base64,{text}");
    for file in [text.as_bytes(), url.as_bytes(), &broken.join(&b"\r\n"[..])] {
        assert_eq!(bytes(options(), &[-1, 3, 2, 3], file), plain);
    }
    refused(
        options(),
        b"data:image/png,abc",
        "the image is a data URL without base64, expected data:",
    );
    refused(options(), b"iVBORw0KGg", "is base64 that cannot be read");
}

#[test]
fn the_middle_is_kept_and_half_a_pixel_is_rounded_to_even() {
    let pixels =
        |width: u8| Pixels { bytes: (0..width).collect(), size: [1, width.into()], n_channels: 1 };
    for (width, expected) in [(5, 1), (6, 2), (7, 2), (8, 2), (10, 4)] {
        assert_eq!(pixels(width).cropped([1, 3]).bytes[0], expected, "{width} to 3");
    }
}

#[test]
fn the_longer_side_follows() {
    let image = |height, width| Pixels { bytes: vec![], size: [height, width], n_channels: 3 };
    assert_eq!(image(480, 641).target(ImageSize::ShortSide(256)), [256, 341]);
    assert_eq!(image(641, 480).target(ImageSize::ShortSide(256)), [341, 256]);
    assert_eq!(image(641, 480).target(ImageSize::Exact([4, 5])), [4, 5]);
}

#[test]
fn what_is_no_image_or_too_large_is_refused_before_it_is_decoded() {
    refused(options(), b"", "the image is empty, expected a JPEG, PNG or WebP file");
    refused(options(), b"GIF89a..", "the image is a GIF file, expected a JPEG");
    refused(options(), &six()[..60], "the image is damaged: ");
    let mut jpeg = Vec::new();
    JpegEncoder::new(&mut jpeg).write_image(&PIXELS, 3, 2, ExtendedColorType::Rgb8).unwrap();
    assert_eq!(bytes(options(), &[-1, 3, 2, 3], &jpeg).len(), 18);
    refused(options(), &jpeg[..jpeg.len() - 2], "a JPEG file that is cut off");
    // A head that claims 60,000 by 60,000 pixels, with nothing behind it.
    let mut bomb = six();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let sum = crc(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&sum.to_be_bytes());
    refused(options(), &bomb, "the image has 60000 by 60000 pixels, at most 1000 are allowed");
    let long = png(&vec![0; 70_000], 70_000, 1, ExtendedColorType::L8);
    refused(options(), &long, "the image is 70000 by 1 pixels, expected sides of at most 65535");
    let wide = ImageOptions { resize: ImageSize::ShortSide(400), ..options() };
    refused(wide, &six(), "the image would be resized to 600 by 400 pixels, at most 1000");
    let step = Decode::new(ImageOptions { max_pixels: 20, ..options() }).unwrap();
    let inner = input(DataType::Fp32, &[-1, 3, 2, 3]);
    let two = files(&[&six(), &six()]);
    let error = step.apply(&inner, two, &mut Desk::default()).unwrap_err();
    assert!(error.message.starts_with("image 1 "), "of both together: {error}");
}

/// The check sum of a chunk of a PNG file.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn declarations_that_do_not_fit_are_refused() {
    let error = |options| Decode::new(options).unwrap_err().to_string();
    let two = ImageOptions { mean: Some(vec![1.0, 2.0]), ..options() };
    assert!(error(two).contains("mean has 2 numbers, expected one, or one for each of 3"));
    assert!(error(ImageOptions { std: Some(vec![0.0]), ..options() }).contains("std has a 0"));
    let crop = ImageOptions { crop: Some([3, 3]), ..options() };
    assert!(error(crop).contains("crop is 3 by 3, which is more than what resize leaves"));
    let unfit = |datatype, shape: &[i64]| {
        Decode::new(options()).unwrap().specs(&input(datatype, shape)).unwrap_err().to_string()
    };
    assert!(
        unfit(DataType::Fp32, &[-1, 3, 4, 4])
            .contains("expected what the step makes: [-1, 3, 2, 3]")
    );
    assert!(unfit(DataType::Fp64, &[-1, 3, 2, 3]).contains("is of FP64, expected FP32 or UINT8"));
}
