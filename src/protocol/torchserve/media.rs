//! What a body is, by its content type.

use crate::inference::{ErrorCode, InferError};
use crate::protocol::json::{MARK, excerpt};
use crate::protocol::media_type::CSV;

/// How a body is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// JSON, or what `curl -d` says of everything.
    Json,
    /// The elements of the one input.
    Plain,
    /// No type, or one that says no more than that it is a text: what it is shows its beginning.
    Unstated,
    /// Rows of a table.
    Csv,
    /// Parts, with this line between them.
    Form {
        /// The line.
        boundary: String,
    },
}

impl Media {
    /// Reads a content type.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a form that does not say what lies between its parts,
    /// `unsupported_media_type` for parts that are not those of a form.
    pub fn parse(content_type: Option<&str>) -> Result<Self, InferError> {
        let Some(content_type) = content_type else { return Ok(Self::Unstated) };
        let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        Ok(match &*essence {
            "" | "text/plain" => Self::Unstated,
            "application/json" | "text/json" | "application/x-www-form-urlencoded" => Self::Json,
            CSV => Self::Csv,
            "multipart/form-data" => Self::Form { boundary: boundary(content_type)? },
            other if other.starts_with("multipart/") => {
                let (expected, got) = ("\"multipart/form-data\"", format!("{:?}", excerpt(other)));
                let message =
                    format!("the content type {got} is not supported, expected {expected}");
                return Err(InferError::new(ErrorCode::UnsupportedMediaType, message)
                    .with_mismatch(expected, got));
            }
            other if other.ends_with("+json") => Self::Json,
            _ => Self::Plain,
        })
    }

    /// Whether a body of this type is JSON. Without a type that is what begins as an array or an
    /// object and is a text to its end: plain numbers of more than a few elements never are.
    pub(super) fn is_json(&self, body: &[u8]) -> bool {
        let text = body.strip_prefix(MARK).unwrap_or(body);
        let begins = || matches!(text.trim_ascii_start().first(), Some(b'[' | b'{'));
        match self {
            Self::Json => true,
            Self::Unstated => begins() && std::str::from_utf8(body).is_ok(),
            Self::Plain | Self::Csv | Self::Form { .. } => false,
        }
    }
}

fn boundary(content_type: &str) -> Result<String, InferError> {
    let boundary = multer::parse_boundary(content_type).ok();
    boundary.filter(|boundary| !boundary.is_empty()).ok_or_else(|| {
        let message = "the content type \"multipart/form-data\" has no boundary";
        InferError::new(ErrorCode::InvalidRequest, message)
    })
}
