//! What a model says of the images that it takes.

/// To which size an image is brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSize {
    /// The shorter side has so many pixels, and the other follows.
    ShortSide(usize),
    /// Height and width.
    Exact([usize; 2]),
}

/// How pixels are weighed when an image is resized; on the way down over all pixels that are left out, as Pillow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// The nearest pixel alone.
    Nearest,
    /// All alike.
    Box,
    /// Linear.
    #[default]
    Bilinear,
    /// Linear, sharper.
    Hamming,
    /// Cubic, with a = -0.5.
    Bicubic,
    /// A sinc over three lobes.
    Lanczos,
}

/// Which channels the model takes, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Brightness alone.
    Gray,
}

impl Channels {
    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Gray => 1,
        }
    }
}

/// How images become tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageOptions {
    /// The size before the crop.
    pub resize: ImageSize,
    /// How it is reached.
    pub filter: Filter,
    /// Height and width of what is kept of its middle.
    pub crop: Option<[usize; 2]>,
    /// The channels.
    pub channels: Channels,
    /// By what each value of 0 to 255 is divided.
    pub divide_by: f64,
    /// What is taken from it then: one number for all channels or one for each.
    pub mean: Option<Vec<f64>>,
    /// By what it is divided then, in the same way.
    pub std: Option<Vec<f64>>,
    /// Most pixels of the images of a request together, as they come and as they are resized.
    pub max_pixels: usize,
}
