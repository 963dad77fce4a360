//! Pixels of 8 bits: turned, resized, cropped, and laid out as the model takes them.

use super::options::{Channels, ImageOptions, ImageSize};
use image::metadata::Orientation;

/// An image in memory, row by row, the channels of a pixel beside each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pixels {
    pub(super) bytes: Vec<u8>,
    /// Height and width.
    pub(super) size: [usize; 2],
    pub(super) n_channels: usize,
}

impl Pixels {
    /// Turned and mirrored as the camera says.
    pub(super) fn turned(self, orientation: Orientation) -> Self {
        let [height, width] = self.size;
        let is_on_its_side = matches!(
            orientation,
            Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH
        );
        let size = if is_on_its_side { [width, height] } else { [height, width] };
        // Where a pixel of the result comes from.
        let from = |row: usize, column: usize| match orientation {
            Orientation::NoTransforms => [row, column],
            Orientation::FlipHorizontal => [row, width - 1 - column],
            Orientation::Rotate180 => [height - 1 - row, width - 1 - column],
            Orientation::FlipVertical => [height - 1 - row, column],
            Orientation::Rotate90 => [height - 1 - column, row],
            Orientation::Rotate270 => [column, width - 1 - row],
            Orientation::Rotate90FlipH => [column, row],
            Orientation::Rotate270FlipH => [height - 1 - column, width - 1 - row],
        };
        if orientation == Orientation::NoTransforms {
            return self;
        }
        let n = self.n_channels;
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for row in 0..size[0] {
            for column in 0..size[1] {
                let [row, column] = from(row, column);
                let at = (row * width + column) * n;
                bytes.extend_from_slice(&self.bytes[at..at + n]);
            }
        }
        Self { bytes, size, n_channels: n }
    }

    /// Height and width after resizing. The longer side is rounded down, as torchvision does.
    pub(super) fn target(&self, resize: ImageSize) -> [usize; 2] {
        let [height, width] = self.size;
        match resize {
            ImageSize::Exact(size) => size,
            ImageSize::ShortSide(side) if height <= width => [side, (side * width / height).max(1)],
            ImageSize::ShortSide(side) => [(side * height / width).max(1), side],
        }
    }

    /// The middle of it, which is no larger. Of an odd rest, half is rounded to even, as Python and torchvision do.
    pub(super) fn cropped(self, [height, width]: [usize; 2]) -> Self {
        let half = |rest: usize| if rest % 4 == 3 { rest / 2 + 1 } else { rest / 2 };
        let (top, left) = (half(self.size[0] - height), half(self.size[1] - width));
        let n = self.n_channels;
        let row = |row: usize| {
            let start = ((top + row) * self.size[1] + left) * n;
            &self.bytes[start..start + width * n]
        };
        let bytes = (0..height).flat_map(row).copied().collect();
        Self { bytes, size: [height, width], n_channels: n }
    }

    /// Calls `put` with each value and its channel, in the order in which the model has them.
    pub(super) fn lay_out(
        &self,
        channels: Channels,
        is_last: bool,
        mut put: impl FnMut(usize, u8),
    ) {
        let n = self.n_channels;
        // Where the model's channel lies in a pixel.
        let place =
            |channel: usize| if channels == Channels::Bgr { n - 1 - channel } else { channel };
        if is_last {
            for pixel in self.bytes.chunks_exact(n) {
                (0..n).for_each(|channel| put(channel, pixel[place(channel)]));
            }
        } else {
            for channel in 0..n {
                let place = place(channel);
                self.bytes.chunks_exact(n).for_each(|pixel| put(channel, pixel[place]));
            }
        }
    }
}

/// What each of the 256 values becomes, in each of the model's channels: in `f32` and in the order of torchvision, so that
/// the bits are the same.
pub(super) fn normalized(options: &ImageOptions) -> Vec<[f32; 256]> {
    let of = |values: &Option<Vec<f64>>, channel: usize, without: f64| {
        let values = values.as_deref().unwrap_or_default();
        values.get(channel).or(values.first()).copied().unwrap_or(without) as f32
    };
    let table = |channel| {
        let (mean, std) = (of(&options.mean, channel, 0.0), of(&options.std, channel, 1.0));
        let divide_by = options.divide_by as f32;
        std::array::from_fn(|value| (value as f32 / divide_by - mean) / std)
    };
    (0..options.channels.count()).map(table).collect()
}
