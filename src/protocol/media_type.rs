//! The media types that the native routes and those of TensorFlow Serving take.

use crate::inference::{Content, ErrorCode, InferError};

/// The name under which a media type accompanies a body.
pub(super) const CONTENT_TYPE: &str = "content-type";

/// The media type of a table.
pub(super) const CSV: &str = "text/csv";

/// The most of a client's words that is repeated to it.
const MAX_ECHO: usize = 32;

/// How a body is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MediaType {
    /// It says so, it says nothing, or it says what programs say of any text: `curl -d` that it is a form.
    Json,
    /// Any text, as a browser's `fetch` says also of JSON.
    Text,
    /// The elements of a tensor as they lie in memory, or a file.
    Bytes,
    /// Rows of a table.
    Csv,
    /// Something else, as short as it is repeated to its sender.
    Other(String),
}

impl MediaType {
    /// What a content type says, whatever its parameters.
    pub(super) fn parse(content_type: Option<&[u8]>) -> Self {
        let Some(content_type) = content_type else {
            return Self::Json;
        };
        if content_type == b"application/json" {
            return Self::Json;
        }
        let text = String::from_utf8_lossy(content_type).to_ascii_lowercase();
        let media_type = text.split(';').next().unwrap_or("").trim();
        match media_type {
            "" | "application/json" | "text/json" => Self::Json,
            "application/x-www-form-urlencoded" => Self::Json,
            "text/plain" => Self::Text,
            "application/octet-stream" => Self::Bytes,
            CSV => Self::Csv,
            other if other.starts_with("application/") && other.ends_with("+json") => Self::Json,
            other => Self::Other(other.chars().take(MAX_ECHO).collect()),
        }
    }

    /// The complaint about a type that the route does not take, or not for this model.
    pub(super) fn unsupported(got: &str, content: Option<Content>) -> InferError {
        let file = match content {
            Some(Content::Image) => ", \"image/jpeg\", \"image/png\" or \"image/webp\"",
            Some(Content::Text) => " or \"text/plain\"",
            Some(Content::Row) => " or \"text/csv\"",
            None => "",
        };
        let expected = format!(
            "\"application/json\", or \"application/octet-stream\" where the route takes bytes{file}"
        );
        let message = format!("the content type {got:?} is not supported, expected {expected}");
        InferError::new(ErrorCode::UnsupportedMediaType, message).with_mismatch(expected, got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_by_several_names() {
        let media_type = |content_type: &str| MediaType::parse(Some(content_type.as_bytes()));
        for json in [
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/vnd.x+json",
            "APPLICATION/JSON",
            "text/json",
            "application/x-www-form-urlencoded; charset=UTF-8",
            "",
            " ; charset=utf-8",
        ] {
            assert_eq!(media_type(json), MediaType::Json, "{json}");
        }
        for text in ["text/plain", "text/plain;charset=UTF-8", "Text/Plain; charset=utf-8"] {
            assert_eq!(media_type(text), MediaType::Text, "{text}");
        }
        assert_eq!(media_type("Application/Octet-Stream"), MediaType::Bytes);
        assert_eq!(media_type("application/octet-stream; x=y"), MediaType::Bytes);
        for other in ["text/html", "image/png", "multipart/form-data; boundary=x", "json", "\u{e9}"]
        {
            assert!(matches!(media_type(other), MediaType::Other(_)), "{other}");
        }
        assert_eq!(MediaType::parse(None), MediaType::Json);
    }
}
