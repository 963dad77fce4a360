//! The media types that the native routes and those of TensorFlow Serving take.

use crate::inference::{ErrorCode, InferError};

/// The name under which a media type accompanies a body.
pub(super) const CONTENT_TYPE: &str = "content-type";

/// The most of a client's words that is repeated to it.
const MAX_ECHO: usize = 32;

/// How a body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    /// It says so, it says nothing, or it says what programs say of any text: `curl -d` that it is a form,
    /// a browser's `fetch` that it is plain text.
    Json,
    /// The elements of a tensor, as they lie in memory.
    Bytes,
}

impl MediaType {
    /// What a content type says, whatever its parameters.
    pub(super) fn parse(content_type: Option<&[u8]>) -> Result<Self, InferError> {
        let Some(content_type) = content_type else {
            return Ok(Self::Json);
        };
        if content_type == b"application/json" {
            return Ok(Self::Json);
        }
        let text = String::from_utf8_lossy(content_type).to_ascii_lowercase();
        let media_type = text.split(';').next().unwrap_or("").trim();
        match media_type {
            "" | "application/json" | "text/json" | "text/plain" => return Ok(Self::Json),
            "application/x-www-form-urlencoded" => return Ok(Self::Json),
            "application/octet-stream" => return Ok(Self::Bytes),
            other if other.starts_with("application/") && other.ends_with("+json") => {
                return Ok(Self::Json);
            }
            _ => {}
        }
        let got: String = media_type.chars().take(MAX_ECHO).collect();
        let expected =
            "\"application/json\", or \"application/octet-stream\" where the route takes bytes";
        let message = format!("the content type {got:?} is not supported, expected {expected}");
        Err(InferError::new(ErrorCode::UnsupportedMediaType, message).with_mismatch(expected, got))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_by_several_names() {
        let media_type = |content_type: &str| {
            MediaType::parse(Some(content_type.as_bytes())).map_err(|error| error.code)
        };
        for json in [
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/vnd.x+json",
            "APPLICATION/JSON",
            "text/plain",
            "text/plain;charset=UTF-8",
            "Text/Plain; charset=utf-8",
            "text/json",
            "application/x-www-form-urlencoded; charset=UTF-8",
            "",
            " ; charset=utf-8",
        ] {
            assert_eq!(media_type(json), Ok(MediaType::Json), "{json}");
        }
        assert_eq!(media_type("Application/Octet-Stream"), Ok(MediaType::Bytes));
        assert_eq!(media_type("application/octet-stream; x=y"), Ok(MediaType::Bytes));
        for bad in ["text/html", "image/png", "multipart/form-data; boundary=x", "json", "\u{e9}"] {
            assert_eq!(media_type(bad), Err(ErrorCode::UnsupportedMediaType), "{bad}");
        }
        assert_eq!(MediaType::parse(None), Ok(MediaType::Json));
    }
}
