//! Resizing as Pillow does it, to the bit: each new pixel is a weighted sum of those under it, first along rows and then along
//! columns, in whole numbers of 22 fractional bits and with 8 bits kept in between.
//!
//! Source: the description of Pillow's filters (pillow.readthedocs.io, concepts, filters) and its results, to which
//! `tests/inputs/pixels.py` holds this.

use super::options::Filter;
use super::pixels::Pixels;
use std::f64::consts::PI;

/// Fractional bits of a weight: a sum of weighted bytes, with one bit for overshoot and one for the sign, fits 32 bits.
const PRECISION: u32 = 32 - 8 - 2;

/// The pixels that make one new pixel of a row or column, and their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// The same image in another size.
pub(super) fn resized(image: Pixels, [height, width]: [usize; 2], filter: Filter) -> Pixels {
    if filter == Filter::Nearest {
        return nearest(&image, [height, width]);
    }
    let mut image = image;
    if width != image.size[1] {
        let windows = windows(image.size[1], width, filter);
        image = if image.n_channels == 1 {
            along_rows::<1>(&image, &windows)
        } else {
            along_rows::<3>(&image, &windows)
        };
    }
    if height != image.size[0] {
        image = along_columns(&image, &windows(image.size[0], height, filter));
    }
    image
}

/// Which pixels of `from` make each of `to`.
fn windows(from: usize, to: usize, filter: Filter) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    // On the way up the filter keeps its width, on the way down it covers all that falls together.
    let width = scale.max(1.0);
    let support = support(filter) * width;
    let window = |place: usize| {
        let center = (place as f64 + 0.5) * scale;
        let start = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let weight = |at: usize| weight(filter, (at as f64 - center + 0.5) / width);
        let mut weights: Vec<f64> = (start..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        if sum != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        let fixed = |weight: f64| (weight * f64::from(1u32 << PRECISION)).round() as i32;
        Window { start, weights: weights.into_iter().map(fixed).collect() }
    };
    (0..to).map(window).collect()
}

/// How far a filter reaches, in pixels of what comes out or, on the way up, of what goes in.
fn support(filter: Filter) -> f64 {
    match filter {
        Filter::Nearest => 0.0,
        Filter::Box => 0.5,
        Filter::Bilinear | Filter::Hamming => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos => 3.0,
    }
}

fn weight(filter: Filter, x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    match filter {
        Filter::Nearest => 0.0,
        Filter::Box => f64::from(x > -0.5 && x <= 0.5),
        Filter::Bilinear => (1.0 - x.abs()).max(0.0),
        Filter::Hamming if x.abs() < 1.0 => sinc(x.abs()) * (0.54 + 0.46 * (x.abs() * PI).cos()),
        Filter::Bicubic => {
            // Keys' cubic with a = -0.5.
            const A: f64 = -0.5;
            let x = x.abs();
            if x < 1.0 {
                ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
            } else if x < 2.0 {
                (((x - 5.0) * x + 8.0) * x - 4.0) * A
            } else {
                0.0
            }
        }
        Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        Filter::Hamming | Filter::Lanczos => 0.0,
    }
}

/// A sum of weighted bytes as a byte.
fn byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION - 1);

fn along_rows<const N: usize>(image: &Pixels, windows: &[Window]) -> Pixels {
    let [height, width] = image.size;
    let mut bytes = Vec::with_capacity(height * windows.len() * N);
    for row in image.bytes.chunks_exact(width * N) {
        for Window { start, weights } in windows {
            let mut sums = [HALF; N];
            let pixels = row[start * N..].chunks_exact(N);
            for (pixel, weight) in pixels.zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
                }
            }
            bytes.extend(sums.map(byte));
        }
    }
    Pixels { bytes, size: [height, windows.len()], n_channels: N }
}

fn along_columns(image: &Pixels, windows: &[Window]) -> Pixels {
    let stride = image.size[1] * image.n_channels;
    let mut bytes = Vec::with_capacity(windows.len() * stride);
    let mut sums = vec![HALF; stride];
    for Window { start, weights } in windows {
        sums.fill(HALF);
        let rows = image.bytes[start * stride..].chunks_exact(stride);
        for (row, weight) in rows.zip(weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
            }
        }
        bytes.extend(sums.iter().map(|sum| byte(*sum)));
    }
    Pixels { bytes, size: [windows.len(), image.size[1]], n_channels: image.n_channels }
}

/// The pixel under the middle of each new one.
fn nearest(image: &Pixels, [height, width]: [usize; 2]) -> Pixels {
    let places = |from: usize, to: usize| {
        let scale = from as f64 / to as f64;
        // Added up as Pillow does, whose roundings decide where the middle falls between two pixels.
        let middles = std::iter::successors(Some(scale * 0.5), move |middle| Some(middle + scale));
        middles.take(to).map(move |middle| (middle as usize).min(from - 1)).collect::<Vec<_>>()
    };
    let (rows, columns) = (places(image.size[0], height), places(image.size[1], width));
    let n = image.n_channels;
    let mut bytes = Vec::with_capacity(height * width * n);
    for row in rows {
        for column in &columns {
            let at = (row * image.size[1] + column) * n;
            bytes.extend_from_slice(&image.bytes[at..at + n]);
        }
    }
    Pixels { bytes, size: [height, width], n_channels: n }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Filter; 6] = [
        Filter::Nearest,
        Filter::Box,
        Filter::Bilinear,
        Filter::Hamming,
        Filter::Bicubic,
        Filter::Lanczos,
    ];

    fn gray(size: [usize; 2], bytes: Vec<u8>) -> Pixels {
        Pixels { bytes, size, n_channels: 1 }
    }

    #[test]
    fn weights_add_up_to_one_and_windows_lie_within() {
        for filter in &ALL[1..] {
            for (from, to) in [(1, 7), (7, 1), (100, 33), (33, 100), (3, 3), (65_500, 2)] {
                for Window { start, weights } in windows(from, to, *filter) {
                    let sum: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
                    let one = 1i64 << PRECISION;
                    assert!((sum - one).abs() < 1 + weights.len() as i64, "{filter:?} {from} {to}");
                    assert!(start + weights.len() <= from);
                }
            }
        }
    }

    #[test]
    fn an_even_image_stays_even() {
        for filter in ALL {
            for level in [0, 1, 127, 254, 255] {
                let image = Pixels { bytes: vec![level; 5 * 4 * 3], size: [5, 4], n_channels: 3 };
                for size in [[2, 9], [5, 4], [11, 1], [1, 1]] {
                    let resized = resized(image.clone(), size, filter);
                    assert_eq!(resized.size, size);
                    assert_eq!(resized.bytes, vec![level; size[0] * size[1] * 3], "{filter:?}");
                }
            }
        }
    }

    /// What Pillow 13 makes of these rows.
    #[test]
    fn rows_are_what_pillow_makes_of_them() {
        let row = || gray([1, 8], vec![0, 10, 20, 200, 255, 0, 90, 30]);
        let of = |filter, width| resized(row(), [1, width], filter).bytes;
        for (filter, small, large) in PILLOW {
            assert_eq!(of(*filter, 3), *small, "{filter:?}");
            assert_eq!(of(*filter, 11), *large, "{filter:?}");
            let column = gray([8, 1], row().bytes);
            assert_eq!(resized(column, [3, 1], *filter).bytes, *small, "{filter:?}");
        }
    }

    const PILLOW: &[(Filter, [u8; 3], [u8; 11])] = &[
        (Filter::Nearest, [10, 255, 90], [0, 10, 10, 20, 200, 255, 255, 0, 90, 90, 30]),
        (Filter::Box, [10, 228, 40], [0, 10, 10, 20, 200, 255, 255, 0, 90, 90, 30]),
        (Filter::Bilinear, [24, 147, 64], [0, 6, 13, 28, 159, 228, 197, 12, 61, 65, 30]),
        (Filter::Hamming, [12, 178, 55], [0, 7, 11, 21, 189, 228, 240, 1, 77, 72, 30]),
        (Filter::Bicubic, [15, 158, 56], [0, 5, 7, 25, 164, 255, 211, 5, 61, 71, 27]),
        (Filter::Lanczos, [13, 160, 56], [0, 9, 1, 25, 154, 255, 202, 5, 52, 80, 23]),
    ];
}
