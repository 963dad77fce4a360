//! What stands beside a request in a file of requests: a label, say.

use crate::inference::{ErrorCode, InferError};
use crate::protocol::json::{Dialect, open};

/// Takes the member `name` out of a body: gives the text of its value, and leaves spaces in its place, so that what is
/// said of the rest names the places that it has in the file. Whatever is no object is left to [`super::decode`].
///
/// # Errors
///
/// `invalid_json` for text that is not one JSON document, `invalid_body` where the member is given twice.
pub fn take_member(body: &mut [u8], name: &str) -> Result<Option<Vec<u8>>, InferError> {
    let mut reader = open(body, Dialect::Extended, "an object")?;
    let at = |remaining: usize| body.len() - remaining;
    let (mut member, mut value) = (0..0, None);
    if !reader.take(b'{') {
        return Ok(None);
    }
    let mut goes_on = !reader.take(b'}');
    let (mut start, mut is_first) = (at(reader.remaining()), true);
    while goes_on {
        let is_meant = reader.key()? == name;
        let from = at(reader.remaining());
        reader.skip(1)?;
        let end = at(reader.remaining());
        goes_on = reader.goes_on(b'}')?;
        if is_meant {
            let text = body[from..end].trim_ascii().to_vec();
            if value.replace(text).is_some() {
                let message = format!("member {name:?} is given twice");
                return Err(InferError::new(ErrorCode::InvalidBody, message));
            }
            // Its comma goes with it: the one before it, or else the one behind.
            member = match (is_first, goes_on) {
                (false, _) => start - 1..end,
                (true, true) => start..at(reader.remaining()),
                (true, false) => start..end,
            };
        }
        (start, is_first) = (at(reader.remaining()), false);
    }
    reader.end()?;
    body[member].fill(b' ');
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, rest: &str, value: Option<&str>) {
        let mut body = text.as_bytes().to_vec();
        let taken = take_member(&mut body, "label").unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), rest);
        assert_eq!(taken.as_deref(), value.map(str::as_bytes));
    }

    #[test]
    fn a_member_is_taken_and_the_rest_stays_in_its_place() {
        check(r#"{"a":1,"label":"x"}"#, r#"{"a":1            }"#, Some("\"x\""));
        check(r#"{"label": 7 ,"a":1}"#, r#"{            "a":1}"#, Some("7"));
        check(
            r#"{"b":[{"label":1}],"label":[2],"a":1}"#,
            r#"{"b":[{"label":1}]            ,"a":1}"#,
            Some("[2]"),
        );
        check(r#"{"label":1}"#, r#"{         }"#, Some("1"));
        check(r#"{"a":1}"#, r#"{"a":1}"#, None);
        check("[1]", "[1]", None);
        let refused = |text: &str| {
            take_member(&mut text.as_bytes().to_vec(), "label").unwrap_err().to_string()
        };
        assert_eq!(refused(r#"{"label":1,"label":1}"#), "member \"label\" is given twice");
        assert!(refused(r#"{"label":1,}"#).starts_with("the body is not valid JSON"));
        assert!(refused(r#"{"label":1} x"#).starts_with("the body is not valid JSON"));
    }
}
