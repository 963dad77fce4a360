//! What clients send of a model whose tensors are made by the server.

/// What the elements of a model's inputs are, where they are no tensor's: the steps before the run make the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// UTF-8.
    Text,
    /// A file of an image, as it is or in base64.
    Image,
    /// Rows of a table: each column is an input of its own, whose values may be missing.
    Row,
}

impl Content {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Text, Self::Image, Self::Row];

    /// The name of the input, and the member of a native body that has one row.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Row => "row",
        }
    }

    /// The member of a native body that has a list of them.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Text => "texts",
            Self::Image => "images",
            Self::Row => "rows",
        }
    }
}

/// What the steps before a run had to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Tokens of texts, with those that the tokenizer adds and without padding.
    pub tokens: u64,
    /// Pixels of images, as they came.
    pub pixels: u64,
}
