//! `[preprocess]` and `[postprocess]`: what the server makes of texts and images before a run, and of outputs behind it.

use super::types::FolderFile;
use crate::settings::{Above, ByteSize, Key, Reader, Setting, Table, Value, section, words};
use crate::transform::{Channels, Filter, ImageSize, Pool};

words! {
    Pool, "\"mean\" or \"first\"", Mean = "mean", First = "first";
    TooLong, "\"error\" or \"truncate\"", Error = "error", Truncate = "truncate";
    Channels, "\"rgb\", \"bgr\" or \"gray\"", Rgb = "rgb", Bgr = "bgr", Gray = "gray";
    Filter, "\"nearest\", \"box\", \"bilinear\", \"hamming\", \"bicubic\" or \"lanczos\"",
        Nearest = "nearest", Box = "box", Bilinear = "bilinear", Hamming = "hamming",
        Bicubic = "bicubic", Lanczos = "lanczos";
}

/// Longest side of an image as a model takes it.
const MAX_SIDE: usize = 16_384;

section! {
    /// What `[preprocess.text]` says.
    #[derive(Default)]
    pub struct TextKeys("preprocess.text.") {
        /// A Hugging Face `tokenizer.json` in the model's folder. Clients then send texts, see Texts.
        tokenizer: Option<FolderFile> = (else "none: clients send tensors");
        /// Maximum number of tokens of a text, or of both of a pair, with those that the tokenizer adds. What tokenizer.json says of truncation and padding does not hold.
        max_tokens: Option<usize> = (else "required with `tokenizer`"), range 1..=1_000_000;
        /// What becomes of longer texts: they are refused, or cut at the end.
        too_long: TooLong = "error";
        /// Maximum number of bytes of a text; longer ones are refused in any case.
        max_bytes: Option<ByteSize> = (else "`\"256KiB\"`"), range ByteSize(1)..=ByteSize(64 << 20);
        /// Whether a row is two texts, `text` and `text_pair`.
        pairs: bool = false;
    }
}

section! {
    /// What `[preprocess.image]` says.
    #[derive(Default)]
    pub struct ImageKeys("preprocess.image.") {
        /// The size that images are brought to: a number for the shorter side, or `[height, width]`. Clients then send files of images, see Images.
        resize: Option<ImageSize> = (else "none: clients send tensors");
        /// How pixels are weighed on the way, as Pillow does.
        filter: Filter = "bilinear";
        /// What is kept of the middle: a number for both sides, or `[height, width]`.
        crop: Option<Sides> = (else "all of it");
        /// The channels that the model takes, in their order.
        channels: Channels = "rgb";
        /// What values from 0 to 255 are divided by. With `UINT8` inputs they stay as they are.
        divide_by: Option<f64> = (else "255"), range Above(0.0, 1e9);
        /// What is taken from them then: a number, or a list of one for each channel.
        mean: Option<Numbers> = (else "nothing");
        /// What they are divided by then, in the same way.
        std: Option<Numbers> = (else "nothing");
        /// Maximum number of pixels of the images of one request together, as they come and as they are resized.
        max_pixels: Option<usize> = (else "25000000"), range 1..=1_000_000_000;
    }
}

section! {
    /// What `[postprocess]` says.
    #[derive(Default)]
    pub struct PostprocessKeys("postprocess.") {
        /// One vector for each row from those of its tokens: their mean without padding, or the first. See Texts.
        pool: Option<Pool> = (else "none");
        /// Whether each row's vector is divided by its length.
        normalize: bool = false;
    }
}

/// What becomes of texts that are too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TooLong {
    /// They are refused.
    #[default]
    Error,
    /// They are cut.
    Truncate,
}

/// Height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides(pub [usize; 2]);

impl Setting for Sides {
    const EXPECTED: &'static str = "a number from 1 to 16384, or [height, width]";

    fn read(value: &Value) -> Option<Self> {
        let side = |value: &Value| value.integer().filter(|side| (1..=MAX_SIDE).contains(side));
        match value.items() {
            None => side(value).map(|both| Self([both; 2])),
            Some(items) => match &items[..] {
                [height, width] => Some(Self([side(height)?, side(width)?])),
                _ => None,
            },
        }
    }
}

impl Setting for ImageSize {
    const EXPECTED: &'static str = Sides::EXPECTED;

    fn read(value: &Value) -> Option<Self> {
        let Sides(sides) = Sides::read(value)?;
        Some(if value.items().is_some() { Self::Exact(sides) } else { Self::ShortSide(sides[0]) })
    }
}

/// One number, or some.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers(pub Vec<f64>);

impl Setting for Numbers {
    const EXPECTED: &'static str = "a number, or a list of one for each channel";

    fn read(value: &Value) -> Option<Self> {
        let number = |value: &Value| value.number().filter(|number| number.is_finite());
        match value.items() {
            None => number(value).map(|number| Self(vec![number])),
            Some(items) => {
                let numbers: Option<Vec<_>> = items.iter().map(|item| number(item)).collect();
                numbers.filter(|numbers| !numbers.is_empty()).map(Self)
            }
        }
    }
}

/// Reads the tables of the steps. Keys of a table that lacks the one which makes it a step say nothing, and somebody wanted
/// something.
pub(super) fn read(reader: &mut Reader) -> (TextKeys, ImageKeys, PostprocessKeys) {
    let text = TextKeys::read(reader, &Table::of(TextKeys::KEYS));
    let image = ImageKeys::read(reader, &Table::of(ImageKeys::KEYS));
    let postprocess = PostprocessKeys::read(reader, &Table::of(PostprocessKeys::KEYS));
    let lacks = |keys: &'static [Key], key: &str| {
        let others: Vec<_> = keys.iter().map(|it| it.path).filter(|it| *it != key).collect();
        (others, format!("it says nothing without {key}"))
    };
    if text.tokenizer.is_none() {
        let (keys, message) = lacks(TextKeys::KEYS, "preprocess.text.tokenizer");
        reader.conflict(&keys, message);
    } else if text.max_tokens.is_none() {
        let message = "it needs preprocess.text.max_tokens beside it";
        reader.conflict(&["preprocess.text.tokenizer"], message.into());
    }
    if image.resize.is_none() {
        let (keys, message) = lacks(ImageKeys::KEYS, "preprocess.image.resize");
        reader.conflict(&keys, message);
    } else if text.tokenizer.is_some() {
        let message = "the model has a tokenizer already, expected one of both";
        reader.conflict(&["preprocess.image.resize"], message.into());
    }
    (text, image, postprocess)
}
